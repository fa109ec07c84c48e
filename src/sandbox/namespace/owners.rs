//! Owners, recorded: PID 1 answers the calls about them (seccomp_unotify(2)), and those about the kernel where it is to
//! seem another.
//!
//! In a namespace of one id a file can belong to nobody else. So `chown` writes `user.nodeimg.owner` =
//! `<uid>:<gid>` onto the file and `stat` gives what is written there. The state lives in the file system: it
//! is renamed, copied and removed with its file. As the kernel does, a `chown` takes the set-id bits off a regular
//! file. Symbolic links take no such attribute: their owner is always root. What is made in a set-group-id directory gets
//! group 0, not the directory's: that would take a look at every file that is opened.

use std::ffi::{CString, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::sandbox::OTHER_KERNEL;

/// The attribute that holds an owner; [`crate::store`] reads it.
const ATTRIBUTE: &std::ffi::CStr = c"user.nodeimg.owner";

// ioctls of linux/seccomp.h.
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const NOTIF_ID_VALID: libc::c_ulong = 0x4008_2102;
const NOTIF_SET_FLAGS: libc::c_ulong = 0x4008_2104;
/// Wakes the answered process on this processor (Linux 6.6): much faster, never needed.
const SYNC_WAKE_UP: u64 = 1;

type Answer = Result<i64, i32>;

/// Prepares the descriptor that [`answer`] reads.
pub(super) fn prepare(listener: i32) {
    // SAFETY: takes the flags by value; older kernels refuse, which changes nothing but speed.
    unsafe { libc::ioctl(listener, NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// Answers calls until nobody is left who could make one.
pub(super) fn serve(listener: &OwnedFd) {
    loop {
        if answer(listener.as_raw_fd()) {
            continue;
        }
        // The caller was killed before it was heard, or all are gone.
        let mut waiting = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) if waiting[0].revents().contains(PollFlags::HUP) => return,
            _ => {}
        }
    }
}

/// Waits for one call and answers it. False: there was none after all.
pub(super) fn answer(listener: i32) -> bool {
    // SAFETY: the kernel wants the struct zeroed and fills it.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: `call` is a `struct seccomp_notif`.
    if unsafe { libc::ioctl(listener, NOTIF_RECV, &raw mut call) } != 0 {
        return false;
    }
    let caller = Caller { listener, id: call.id, pid: call.pid as libc::pid_t };
    let (val, error) = match caller.serve(&call.data) {
        Ok(value) => (value, 0),
        Err(errno) => (0, -errno),
    };
    let mut reply = libc::seccomp_notif_resp { id: call.id, val, error, flags: 0 };
    // SAFETY: `reply` is a `struct seccomp_notif_resp`. A caller that is gone needs no reply.
    unsafe { libc::ioctl(listener, NOTIF_SEND, &raw mut reply) };
    true
}

/// A process that waits for an answer.
struct Caller {
    listener: i32,
    id: u64,
    pid: libc::pid_t,
}

/// Where a call points, as a path that PID 1 can use, and whether a last link is followed.
struct Place {
    path: CString,
    follow: bool,
    /// What it means if nothing is there: a descriptor that is not open is another error than a path.
    absent: i32,
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

impl Caller {
    fn serve(&self, data: &libc::seccomp_data) -> Answer {
        let call = libc::c_long::from(data.nr);
        let [a, b, c, d, e, _] = data.args;
        let here = libc::AT_FDCWD;
        match call {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => self.chown(&self.place(here, a, 0)?, b as u32, c as u32),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => {
                self.chown(&self.place(here, a, libc::AT_SYMLINK_NOFOLLOW)?, b as u32, c as u32)
            }
            libc::SYS_fchown => self.chown(&self.descriptor(a as i32)?, b as u32, c as u32),
            libc::SYS_fchownat => self.chown(&self.place(a as i32, b, e as i32)?, c as u32, d as u32),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => self.stat(&self.place(here, a, 0)?, b),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => self.stat(&self.place(here, a, libc::AT_SYMLINK_NOFOLLOW)?, b),
            libc::SYS_fstat => self.stat(&self.descriptor(a as i32)?, b),
            libc::SYS_newfstatat => self.stat(&self.place(a as i32, b, d as i32)?, c),
            libc::SYS_statx => self.statx(&self.place(a as i32, b, c as i32)?, c as i32, d as u32, e),
            libc::SYS_uname => self.uname(a),
            _ => Err(libc::ENOSYS),
        }
    }

    fn descriptor(&self, number: i32) -> Result<Place, i32> {
        if number < 0 {
            return Err(libc::EBADF);
        }
        let path = format!("/proc/{}/fd/{number}", self.pid);
        Ok(Place { path: CString::new(path).map_err(|_| libc::EINVAL)?, follow: true, absent: libc::EBADF })
    }

    /// Resolves the path argument at `address`. PID 1 has the caller's root, so absolute paths are the same.
    fn place(&self, directory: i32, address: u64, flags: i32) -> Result<Place, i32> {
        let text = if address == 0 { Vec::new() } else { self.text(address)? };
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        if text.is_empty() {
            if flags & libc::AT_EMPTY_PATH == 0 {
                return Err(libc::ENOENT);
            }
            return if directory == libc::AT_FDCWD {
                let path = CString::new(format!("/proc/{}/cwd", self.pid)).map_err(|_| libc::EINVAL)?;
                Ok(Place { path, follow: true, absent: libc::ENOENT })
            } else {
                self.descriptor(directory)
            };
        }
        if text.starts_with(b"/") {
            let own = b"/proc/self/";
            let path = match text.strip_prefix(own) {
                // The caller's own folder of /proc, not PID 1's.
                Some(rest) => [format!("/proc/{}/", self.pid).as_bytes(), rest].concat(),
                None => text,
            };
            return Ok(Place {
                path: CString::new(path).map_err(|_| libc::EINVAL)?,
                follow,
                absent: libc::ENOENT,
            });
        }
        let base = if directory == libc::AT_FDCWD {
            format!("/proc/{}/cwd/", self.pid)
        } else {
            self.descriptor(directory)?.stat()?;
            format!("/proc/{}/fd/{directory}/", self.pid)
        };
        let path = CString::new([base.as_bytes(), &text].concat()).map_err(|_| libc::EINVAL)?;
        Ok(Place { path, follow, absent: libc::ENOENT })
    }

    /// Reads a path from the caller's memory, page by page: what lies behind its end may not be there.
    fn text(&self, address: u64) -> Result<Vec<u8>, i32> {
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < libc::PATH_MAX as usize {
            let mut buffer = [0; 4096];
            let length = 4096 - (at % 4096) as usize;
            let to = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: length };
            let from = libc::iovec { iov_base: at as *mut c_void, iov_len: length };
            // SAFETY: `to` describes `buffer`; the kernel checks the caller's side.
            let read = unsafe { libc::process_vm_readv(self.pid, &raw const to, 1, &raw const from, 1, 0) };
            if read <= 0 {
                return Err(libc::EFAULT);
            }
            let part = &buffer[..read as usize];
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                text.extend_from_slice(&part[..end]);
                return Ok(text);
            }
            text.extend_from_slice(part);
            at += read as u64;
        }
        Err(libc::ENAMETOOLONG)
    }

    fn give<T>(&self, address: u64, value: &T) -> Answer {
        // The process could be gone and its number another's by now (seccomp_unotify(2), "Caveats").
        // SAFETY: takes a pointer to the id.
        if unsafe { libc::ioctl(self.listener, NOTIF_ID_VALID, &raw const self.id) } != 0 {
            return Err(libc::ESRCH);
        }
        let from =
            libc::iovec { iov_base: std::ptr::from_ref(value) as *mut c_void, iov_len: size_of::<T>() };
        let to = libc::iovec { iov_base: address as *mut c_void, iov_len: size_of::<T>() };
        // SAFETY: `from` describes `value`; the kernel checks the caller's side.
        let written = unsafe { libc::process_vm_writev(self.pid, &raw const from, 1, &raw const to, 1, 0) };
        if written == size_of::<T>() as isize { Ok(0) } else { Err(libc::EFAULT) }
    }

    /// Tells of another kernel, on the machine and under the host name that there are.
    fn uname(&self, to: u64) -> Answer {
        // SAFETY: all zeros is a right `struct utsname`, which the call fills.
        let mut name = unsafe {
            let mut name: libc::utsname = std::mem::zeroed();
            libc::uname(&raw mut name);
            name
        };
        for (field, text) in
            [(&mut name.release, OTHER_KERNEL), (&mut name.version, "#1 SMP Thu Jan  1 00:00:00 UTC 2099")]
        {
            field.fill(0);
            for (to, from) in field.iter_mut().zip(text.bytes()) {
                *to = from as libc::c_char;
            }
        }
        self.give(to, &name)
    }

    fn chown(&self, place: &Place, uid: u32, gid: u32) -> Answer {
        let stat = place.stat()?;
        let kind = stat.st_mode & libc::S_IFMT;
        if kind != libc::S_IFREG && kind != libc::S_IFDIR {
            return Ok(0);
        }
        let (old_uid, old_gid) = place.owner();
        // -1 leaves an id as it is (chown(2)).
        let uid = if uid == u32::MAX { old_uid } else { uid };
        let gid = if gid == u32::MAX { old_gid } else { gid };
        place.set_owner(uid, gid)?;
        if kind == libc::S_IFREG && stat.st_mode & (libc::S_ISUID | libc::S_ISGID) != 0 {
            let mode = stat.st_mode & 0o7777 & !(libc::S_ISUID | libc::S_ISGID);
            // SAFETY: the path is a C string.
            if unsafe { libc::chmod(place.path.as_ptr(), mode) } != 0 {
                return Err(last_errno());
            }
        }
        Ok(0)
    }

    fn stat(&self, place: &Place, address: u64) -> Answer {
        let mut stat = place.stat()?;
        let (uid, gid) = place.owner_of(stat.st_mode);
        (stat.st_uid, stat.st_gid) = (uid, gid);
        self.give(address, &stat)
    }

    fn statx(&self, place: &Place, flags: i32, mask: u32, address: u64) -> Answer {
        let mut stat = MaybeUninit::<libc::statx>::uninit();
        let follow = if place.follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        let flags = (flags & libc::AT_STATX_SYNC_TYPE) | follow;
        // SAFETY: the path is a C string and `stat` has room for the answer.
        let result =
            unsafe { libc::statx(libc::AT_FDCWD, place.path.as_ptr(), flags, mask, stat.as_mut_ptr()) };
        if result != 0 {
            return Err(place.failure());
        }
        // SAFETY: statx succeeded, so it filled the struct.
        let mut stat = unsafe { stat.assume_init() };
        (stat.stx_uid, stat.stx_gid) = place.owner_of(u32::from(stat.stx_mode));
        self.give(address, &stat)
    }
}

impl Place {
    /// The error of the last call about this place, as its caller would have got it.
    fn failure(&self) -> i32 {
        match last_errno() {
            libc::ENOENT => self.absent,
            errno => errno,
        }
    }

    fn stat(&self) -> Result<libc::stat, i32> {
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        let flags = if self.follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        // SAFETY: the path is a C string and `stat` has room for the answer.
        if unsafe { libc::fstatat(libc::AT_FDCWD, self.path.as_ptr(), stat.as_mut_ptr(), flags) } != 0 {
            return Err(self.failure());
        }
        // SAFETY: fstatat succeeded, so it filled the struct.
        Ok(unsafe { stat.assume_init() })
    }

    fn owner_of(&self, mode: u32) -> (u32, u32) {
        match mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFDIR => self.owner(),
            _ => (0, 0),
        }
    }

    /// Reads the recorded owner of a regular file or directory: root where nothing is recorded.
    fn owner(&self) -> (u32, u32) {
        let mut value = [0u8; 32];
        // SAFETY: the names are C strings and `value` has the size given.
        let length = unsafe {
            libc::getxattr(
                self.path.as_ptr(),
                ATTRIBUTE.as_ptr(),
                value.as_mut_ptr().cast::<c_void>(),
                value.len(),
            )
        };
        let text = usize::try_from(length).ok().and_then(|length| std::str::from_utf8(&value[..length]).ok());
        let parts = text.and_then(|text| text.split_once(':'));
        parts.and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?))).unwrap_or((0, 0))
    }

    fn set_owner(&self, uid: u32, gid: u32) -> Result<(), i32> {
        if (uid, gid) == (0, 0) {
            // SAFETY: both are C strings.
            let result = unsafe { libc::removexattr(self.path.as_ptr(), ATTRIBUTE.as_ptr()) };
            return match (result, last_errno()) {
                (0, _) | (_, libc::ENODATA) => Ok(()),
                (_, errno) => Err(errno),
            };
        }
        let value = format!("{uid}:{gid}");
        // SAFETY: the names are C strings and `value` has the length given.
        let result = unsafe {
            libc::setxattr(
                self.path.as_ptr(),
                ATTRIBUTE.as_ptr(),
                value.as_ptr().cast::<c_void>(),
                value.len(),
                0,
            )
        };
        if result == 0 { Ok(()) } else { Err(last_errno()) }
    }
}

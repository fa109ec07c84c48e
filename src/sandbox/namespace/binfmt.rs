//! Which programs the kernel hands to an interpreter in the job's user namespace: those of the machine that the job's
//! emulator is for, and no others.
//!
//! Since Linux 6.7 each user namespace can have handlers of its own (`binfmt_misc`); where it has none, its parents'
//! count. So every job gets an instance, mounted nowhere: what the host registered does not reach it, and the job sees
//! nothing of its own. The kernel opens the emulator when it is registered (flag `F`), so the job's root need not hold it.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::enter::map_ids;
use crate::base::Arch;
use crate::sandbox::Emulator;

/// What an ELF program of a machine begins with, and which bits of that count, as the kernel wants it: class, order and
/// version are given, the ABI is not, the type is `ET_EXEC` or `ET_DYN`, then the machine.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00";
const MASK: &str = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// The ELF header's `e_machine` (elf.h: `EM_X86_64`, `EM_AARCH64`).
fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => r"\x3e\x00",
        Arch::Arm64 => r"\xb7\x00",
    }
}

/// Leaves this user namespace without any handler until this process ends. Where the kernel can't, it has none but the
/// host's, and nobody misses it.
pub(super) fn shield() {
    // Handlers go when the last one who holds the mount does.
    let _ = mount().map(std::mem::forget);
}

/// Enters a user namespace in which programs of another machine run until this process ends, and those that it begets.
///
/// It is another one than the job's, which is made inside it: only whoever is root in a namespace can register a handler
/// there, and a builder is not.
pub(super) fn enter(emulator: &Emulator) -> Result<(), i32> {
    let failed = |errno: rustix::io::Errno| errno.raw_os_error();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: the process has one thread and shares nothing that these namespaces split.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    map_ids((0, 0), (uid, gid)).map_err(|error| error.raw_os_error().unwrap_or(0))?;
    let instance = mount()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let program = rustix::fs::open(emulator.program(), flags, Mode::empty()).map_err(failed)?;
    // The path of a store may be longer than the kernel takes.
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    // `P` keeps `argv[0]`, `O` hands the program over opened: what a job sees is as without an emulator.
    let handler = format!(":nodeimg:M::{MAGIC}{}:{MASK}:{path}:FPO", machine(emulator.arch));
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = rustix::fs::openat(&instance, "register", flags, Mode::empty()).map_err(failed)?;
    rustix::io::write(&register, handler.as_bytes()).map_err(failed)?;
    std::mem::forget(instance);
    Ok(())
}

/// Mounts an instance that is attached nowhere (fsopen(2), fsmount(2)).
fn mount() -> Result<OwnedFd, i32> {
    let descriptor = |result: libc::c_long| match i32::try_from(result) {
        // SAFETY: the call has just given it, and nobody else has it.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
    };
    /// linux/mount.h: `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC`, `FSCONFIG_CMD_CREATE`.
    const CLOEXEC: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    let name: &CStr = c"binfmt_misc";
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: `name` is a C string.
    let file_system = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), CLOEXEC) })?;
    // SAFETY: this command takes no key and no value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, file_system.as_raw_fd(), CREATE, none, none, 0) };
    if made != 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    // SAFETY: plain numbers.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, file_system.as_raw_fd(), CLOEXEC, 0) })
}

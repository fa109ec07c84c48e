//! The sandbox's side, stage one: new namespaces, and the fork that becomes PID 1.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, WaitOptions, getgid, getuid, waitpid};

use super::{MARK, Order, Report, binfmt, init};
use crate::sandbox::Identity;

/// What failed while the sandbox was set up.
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) errno: i32,
}

/// Names what is being done, for when it fails.
pub(super) trait During<T> {
    fn during(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<std::io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| {
            let error: std::io::Error = error.into();
            Failure { what: what.into(), errno: error.raw_os_error().unwrap_or(0) }
        })
    }
}

/// Turns this process into the sandbox's side if that is what it was started for; else returns.
pub(in crate::sandbox) fn enter_if_asked() {
    if std::env::args_os().next().is_some_and(|name| name == MARK) {
        // SAFETY: descriptor 0 is the socket that `Namespace::start` put there, and nothing else uses it.
        let socket = unsafe { <UnixStream as std::os::fd::FromRawFd>::from_raw_fd(0) };
        let code = stage_one(socket).unwrap_or(1);
        std::process::exit(code);
    }
}

/// Sends the last word. Where nodeimg is gone nobody waits for it.
pub(super) fn send(socket: &mut UnixStream, report: &Report) {
    let _ = socket.write_all(&serde_json::to_vec(report).expect("a report is plain data"));
}

fn stage_one(socket: UnixStream) -> Option<i32> {
    // Away from descriptor 0, which becomes the job's standard input.
    let mut socket = socket.try_clone().ok()?;
    let order = receive(&mut socket)?;
    if let Err(failure) = die_with_parent() {
        send(&mut socket, &Report::Setup { what: failure.what, errno: failure.errno });
        return None;
    }
    if let Some(emulator) = &order.job.emulator
        && let Err(errno) = binfmt::enter(emulator)
    {
        send(&mut socket, &Report::NoEmulator { arch: emulator.arch, errno });
        return None;
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    // SAFETY: the process has one thread and shares nothing that these namespaces split.
    if unsafe { libc::unshare(NAMESPACES) } != 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        send(&mut socket, &Report::NoNamespaces { errno });
        return None;
    }
    let inside = match order.job.identity {
        Identity::Builder => order.job.surroundings.user,
        Identity::Administrator => 0,
    };
    if let Err(error) = map_ids((inside, inside), (uid, gid)) {
        send(&mut socket, &Report::NoNamespaces { errno: error.raw_os_error().unwrap_or(0) });
        return None;
    }
    if let Err(failure) = shift_clocks(order.job.surroundings.uptime) {
        send(&mut socket, &Report::Setup { what: failure.what, errno: failure.errno });
        return None;
    }
    // SAFETY: the process has one thread, so the child may go on as if it were the only one.
    match unsafe { libc::fork() } {
        0 => std::process::exit(init::run(&order, socket)),
        -1 => {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            send(&mut socket, &Report::Setup { what: "start PID 1".to_owned(), errno });
            None
        }
        pid => {
            drop(socket);
            // The output pipe must end with the job, not with this process.
            for descriptor in 0..3 {
                // SAFETY: nothing here uses standard streams any more.
                unsafe { libc::close(descriptor) };
            }
            while let Err(rustix::io::Errno::INTR) = waitpid(Pid::from_raw(pid), WaitOptions::empty()) {}
            Some(0)
        }
    }
}

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Has the children of this process see a machine that was started earlier, by so many seconds.
fn shift_clocks(seconds: u64) -> Result<(), Failure> {
    if seconds == 0 {
        return Ok(());
    }
    // SAFETY: it is children that enter the new namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        return Err(std::io::Error::last_os_error()).during("shift its clocks");
    }
    write("/proc/self/timens_offsets", &format!("monotonic {seconds} 0\nboottime {seconds} 0\n"))
        .during("shift its clocks")
}

/// Makes one user and one group of a new user namespace those of the one that it was made in.
pub(super) fn map_ids(inside: (u32, u32), outside: (u32, u32)) -> std::io::Result<()> {
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{} {} 1", inside.0, outside.0))?;
    write("/proc/self/gid_map", &format!("{} {} 1", inside.1, outside.1))
}

/// Has the kernel kill this process when its parent dies.
pub(super) fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during("watch its parent")
}

fn receive(socket: &mut UnixStream) -> Option<Order> {
    let mut length = [0; 8];
    socket.read_exact(&mut length).ok()?;
    let mut text = Vec::new();
    socket.take(u64::from_le_bytes(length)).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes a kernel file, which wants the whole text in one call.
fn write(path: &str, text: &str) -> std::io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

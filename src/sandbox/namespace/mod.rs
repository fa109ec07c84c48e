//! The Linux namespace sandbox: no daemon, no root, no setuid program.
//!
//! `unshare(CLONE_NEWUSER)` wants a process of one thread, so the program runs itself again ([`enter_if_asked`])
//! with the job on a socket:
//!
//! ```text
//! nodeimg ──socket: job →, ← report── stage one (new namespaces) ── PID 1 (mounts, limits, owners) ── the job
//! ```
//!
//! The caller's one user id is 1000 inside (Builder) or 0 (Administrator), for root and ordinary users alike, so the
//! same job gives the same bytes. If nodeimg dies, stage one and PID 1 die with it (`PR_SET_PDEATHSIG`), and with PID 1
//! the kernel kills every process of the namespace.

mod binfmt;
mod enter;
mod filter;
mod init;
mod mounts;
mod owners;
mod watch;

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::error::{Error, Limit};
use super::{Finished, Job, Sandbox};
use crate::base::{Arch, Cancel};

pub(super) use enter::enter_if_asked;

/// What stands in `argv[0]` of a program that is to be the sandbox's side.
const MARK: &str = "nodeimg-sandbox";

/// What PID 1 or stage one reports. `errno` is the kernel's.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Finished(Finished),
    Limit { limit: Limit, detail: String },
    NoSpace { left: u64 },
    NoNamespaces { errno: i32 },
    NoOverlay { errno: i32 },
    NoEmulator { arch: Arch, errno: i32 },
    Setup { what: String, errno: i32 },
}

/// The job with how it is shown.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    job: Job,
    /// The descriptor that becomes its standard input; none for jobs that nobody talks to.
    stdin: Option<RawFd>,
}

/// Runs jobs in namespaces of this machine.
#[derive(Debug, Clone)]
pub struct Namespace {
    program: PathBuf,
}

impl Default for Namespace {
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }
}

impl Namespace {
    /// Uses another program for the sandbox's side; its `main` must begin with [`enter_if_asked`].
    pub fn with_program(program: PathBuf) -> Self {
        Self { program }
    }

    fn start(&self, order: &Order, output: Option<&OwnedFd>) -> Result<(Child, UnixStream), Error> {
        let failed = |what| move |source| Error::Io { what, source };
        let (mut ours, theirs) = UnixStream::pair().map_err(failed("making a socket"))?;
        let stream = || match output {
            Some(pipe) => pipe.try_clone().map(Stdio::from),
            None => Ok(Stdio::inherit()),
        };
        #[expect(clippy::disallowed_methods, reason = "it is this program itself")]
        let mut command = std::process::Command::new(&self.program);
        let child = command
            .arg0(MARK)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stream().map_err(failed("making a pipe"))?)
            .stderr(stream().map_err(failed("making a pipe"))?)
            .spawn()
            .map_err(failed("starting the sandbox"))?;
        let text = serde_json::to_vec(order).expect("a job is plain data");
        // Where the other side is gone already, its report says why.
        let _ = ours.write_all(&(text.len() as u64).to_le_bytes()).and_then(|()| ours.write_all(&text));
        Ok((child, ours))
    }
}

impl Sandbox for Namespace {
    fn run(&self, job: &Job, output: &mut dyn FnMut(&[u8]), cancel: &Cancel) -> Result<Finished, Error> {
        let failed = |what| move |errno: rustix::io::Errno| Error::Io { what, source: errno.into() };
        let (read, write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("making a pipe"))?;
        let order = Order { job: job.clone(), stdin: None };
        let (mut child, socket) = self.start(&order, Some(&write))?;
        drop(write);
        let mut buffer = vec![0; 64 << 10];
        loop {
            if cancel.is_cancelled() {
                // Kills stage one; PID 1 and all others go with it.
                let _ = child.kill();
            }
            let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            match poll(&mut [PollFd::new(&read, PollFlags::IN)], Some(&tick)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(failed("waiting for the sandbox")(errno)),
            }
            match rustix::io::read(read.as_fd(), &mut *buffer) {
                // Every process that could write is gone.
                Ok(0) => break,
                Ok(count) => output(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed("reading the step's output")(errno)),
            }
        }
        let report = receive(socket);
        let _ = child.wait();
        if cancel.is_cancelled() { Err(Error::Cancelled) } else { conclude(report) }
    }

    fn shell(&self, job: &Job) -> Result<Finished, Error> {
        // Without CLOEXEC: the sandbox's side inherits it under the same number.
        let stdin = rustix::io::dup(rustix::stdio::stdin())
            .map_err(|errno| Error::Io { what: "reading standard input", source: errno.into() })?;
        let order = Order { job: job.clone(), stdin: Some(stdin.as_raw_fd()) };
        let (mut child, socket) = self.start(&order, None)?;
        let report = receive(socket);
        let _ = child.wait();
        conclude(report)
    }
}

fn receive(mut socket: UnixStream) -> Option<Report> {
    let mut text = Vec::new();
    socket.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn conclude(report: Option<Report>) -> Result<Finished, Error> {
    let reason = std::io::Error::from_raw_os_error;
    match report {
        Some(Report::Finished(finished)) => Ok(finished),
        Some(Report::Limit { limit, detail }) => Err(Error::Limit { limit, detail }),
        Some(Report::NoSpace { left }) => Err(Error::NoSpace { left }),
        Some(Report::NoNamespaces { errno }) => {
            let reason = match errno {
                // Not a full disk (unshare(2)).
                libc::ENOSPC => std::io::Error::other("it has as many as it may have"),
                _ => reason(errno),
            };
            Err(Error::NoNamespaces { reason, fix: namespace_fix() })
        }
        Some(Report::NoOverlay { errno }) => Err(Error::NoOverlay { reason: reason(errno) }),
        Some(Report::NoEmulator { arch, errno }) => {
            Err(Error::NoEmulator { arch, reason: reason(errno), fix: emulator_fix(errno, arch) })
        }
        Some(Report::Setup { what, errno }) => Err(Error::Setup { what, reason: reason(errno) }),
        None => Err(Error::Lost),
    }
}

/// Says what lets this host run programs of another machine.
fn emulator_fix(errno: i32, arch: Arch) -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let elsewhere = format!("or build on a machine that is {arch}");
    match errno {
        libc::ENODEV => format!("run `sudo modprobe binfmt_misc`, {elsewhere}"),
        _ => format!(
            "nodeimg uses the project's own emulator and no handler that the host has: that takes Linux 6.7 or newer \
             with binfmt_misc, and this is {release}; build on such a host, {elsewhere}"
        ),
    }
}

/// Finds what on this host forbids user namespaces, and the command that allows them.
fn namespace_fix() -> String {
    let value = |path: &str| fs_err::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let sysctl = |setting: &str| format!("run `sudo sysctl -w {setting}`");
    if value("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return sysctl("user.max_user_namespaces=15000");
    }
    if value("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return sysctl("kernel.unprivileged_userns_clone=1");
    }
    if value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return sysctl("kernel.apparmor_restrict_unprivileged_userns=0");
    }
    "inside a container, start it with `--security-opt seccomp=unconfined`; else ask who runs this machine"
        .to_owned()
}

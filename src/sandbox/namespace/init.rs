//! PID 1 of the sandbox: sets it up, starts the job, reaps, watches limits, answers for owners, reports.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, pidfd_open, setrlimit, wait};

use super::enter::{During as _, Failure, die_with_parent, send};
use super::watch::Watch;
use super::{Order, Report, binfmt, filter, mounts, owners};
use crate::sandbox::{Exit, Finished, Identity, Job, Surroundings};

/// Capabilities that an administrator keeps (linux/capability.h): those that act on the files it sees.
const KEPT: [u64; 8] = [
    0, // CHOWN
    1, // DAC_OVERRIDE
    2, // DAC_READ_SEARCH
    3, // FOWNER
    4, // FSETID
    5, // KILL
    6, // SETGID
    7, // SETUID
];

/// Runs a job as PID 1 of new namespaces; gives this process's exit status.
pub(super) fn run(order: &Order, mut socket: UnixStream) -> i32 {
    match set_up(&order.job).and_then(|()| start(order).map_err(mounts::Trouble::Other)) {
        Ok((main, listener)) => {
            let report = attend(&order.job, main, listener, &socket);
            send(&mut socket, &report);
            0
        }
        Err(mounts::Trouble::Overlay(errno)) => {
            send(&mut socket, &Report::NoOverlay { errno });
            1
        }
        Err(mounts::Trouble::Other(failure)) => {
            send(&mut socket, &Report::Setup { what: failure.what, errno: failure.errno });
            1
        }
    }
}

fn set_up(job: &Job) -> Result<(), mounts::Trouble> {
    die_with_parent()?;
    rustix::process::umask(rustix::fs::Mode::from(0o022));
    rustix::system::sethostname(job.surroundings.host_name.as_bytes()).during("set its host name")?;
    rustix::system::setdomainname(b"(none)").during("set its domain name")?;
    loopback()?;
    if job.emulator.is_none() {
        binfmt::shield();
    }
    mounts::build(job)?;
    let nofile = rustix::process::getrlimit(Resource::Nofile).maximum.map_or(65536, |most| most.min(65536));
    for (resource, value) in [
        (Resource::Core, 0),
        (Resource::Nofile, nofile),
        (Resource::Fsize, job.limits.disk),
        (Resource::Nproc, most_processes(job)),
    ] {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        setrlimit(resource, limit).during(format!("set its limit of {resource:?}"))?;
    }
    bound_numbers(most_processes(job));
    Ok(())
}

/// How many processes the kernel lets a job have: few enough that a fork bomb does not take the process numbers from
/// everybody, but many more than the watch allows, which says why a step ended: a bomb whose forks fail too soon dies
/// out before the watch looks.
fn most_processes(job: &Job) -> u64 {
    u64::from(job.limits.processes) + 4096
}

/// Bounds the process numbers of this namespace: the host's root is not held to `RLIMIT_NPROC` (kernel/fork.c). Each
/// PID namespace has its own bound since Linux 6.14; before, the file is the whole machine's and must be left alone.
fn bound_numbers(most: u64) {
    /// The kernel hands out numbers below this once only (`RESERVED_PIDS`).
    const RESERVED: u64 = 300;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 14) {
        // Where it can't be set the watch is what there is.
        let _ = fs_err::write("/proc/sys/kernel/pid_max", (most + RESERVED).to_string());
    }
}

/// Brings up `lo`, the only interface: builds test servers on it.
fn loopback() -> Result<(), Failure> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .during("bring up its loopback")?;
    // SAFETY: all zeros is a right `struct ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a `struct ifreq` with name and flags set.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(std::io::Error::last_os_error()).during("bring up its loopback");
    }
    Ok(())
}

/// Starts the job's main process; gives it and who listens to those of its calls that PID 1 answers.
fn start(order: &Order) -> Result<(Pid, Option<OwnedFd>), Failure> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during("make a pipe")?;
    // SAFETY: the process has one thread, so the child may go on as if it were the only one.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error()).during("start the step"),
        0 => {
            drop(read);
            let Err(failure) = become_job(order, &write);
            let text = format!("{}\n{}", failure.errno, failure.what);
            let _ = rustix::io::write(&write, text.as_bytes());
            std::process::exit(127);
        }
        pid => Pid::from_raw(pid).expect("fork gives no 0 here"),
    };
    drop(write);
    let listener = if diverts(&order.job) { Some(take_listener(pid, &read)?) } else { None };
    // Ends when exec closes it, or says why there was no exec.
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(count @ 1..) =
        answering(listener.as_ref(), &read).and_then(|()| rustix::io::read(&read, &mut buffer))
    {
        text.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.split_once('\n') {
        None => Ok((pid, listener)),
        Some((errno, what)) => Err(Failure { what: what.to_owned(), errno: errno.parse().unwrap_or(0) }),
    }
}

/// Tells whether PID 1 answers some of a job's calls.
fn diverts(job: &Job) -> bool {
    job.identity == Identity::Administrator || job.surroundings.other_kernel
}

/// Answers calls about owners until `other` has something to read.
fn answering(listener: Option<&OwnedFd>, other: &OwnedFd) -> rustix::io::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    loop {
        let mut waiting = [PollFd::new(listener, PollFlags::IN), PollFd::new(other, PollFlags::IN)];
        poll(&mut waiting, None)?;
        if waiting[0].revents().contains(PollFlags::IN) {
            owners::answer(listener.as_raw_fd());
        }
        if !waiting[1].revents().is_empty() {
            return Ok(());
        }
    }
}

/// Takes over the descriptor whose number the job's process sends first.
fn take_listener(pid: Pid, from: &OwnedFd) -> Result<OwnedFd, Failure> {
    let mut number = [0; 4];
    if rustix::io::read(from, &mut number).during("watch owners")? != 4 {
        return Err(std::io::Error::from_raw_os_error(libc::EPIPE)).during("watch owners");
    }
    let process = pidfd_open(pid, PidfdFlags::empty()).during("watch owners")?;
    let number = i32::from_ne_bytes(number);
    // SAFETY: plain numbers; the result is a new descriptor that nobody else has.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    if taken < 0 {
        return Err(std::io::Error::last_os_error()).during("watch owners");
    }
    owners::prepare(taken as i32);
    // SAFETY: see above.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as i32) })
}

/// Turns this process into the job. Returns only if that fails.
fn become_job(order: &Order, say: &OwnedFd) -> Result<std::convert::Infallible, Failure> {
    let job = &order.job;
    if let Some(stdin) = order.stdin {
        // SAFETY: `Namespace::shell` opened it for this process, and nothing closes it before.
        let stdin = unsafe { std::os::fd::BorrowedFd::borrow_raw(stdin) };
        rustix::stdio::dup2_stdin(stdin).during("take its input")?;
    } else {
        rustix::process::setsid().during("start a session")?;
        let null = fs_err::File::open("/dev/null").during("open /dev/null")?;
        rustix::stdio::dup2_stdin(&null).during("open /dev/null")?;
    }
    rustix::process::chdir(job.cwd.as_str()).during(format!("enter {}", job.cwd))?;
    let text = |text: &str| CString::new(text).map_err(std::io::Error::from).during("pass its arguments");
    let argv = job.argv.iter().map(|argument| text(argument)).collect::<Result<Vec<_>, _>>()?;
    let env = job.env.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect::<Result<Vec<_>, _>>()?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    seem_other(&job.surroundings)?;
    rustix::thread::set_no_new_privs(true).during("give up privileges")?;
    drop_capabilities(job.identity)?;
    // SAFETY: closes nothing that this process still needs: `say` is kept and closes itself on exec.
    unsafe {
        let keep = say.as_raw_fd() as libc::c_uint;
        libc::syscall(libc::SYS_close_range, 3, keep - 1, 0);
        libc::syscall(libc::SYS_close_range, keep + 1, libc::c_uint::MAX, 0);
    }
    if diverts(job) {
        let listener = filter::divert(job)?;
        rustix::io::write(say, &listener.to_ne_bytes()).during("watch owners")?;
        // PID 1 must have its copy before exec closes this one; it has when it goes on to answer.
        wait_until_answered();
    }
    filter::forbid()?;
    // SAFETY: null-terminated arrays of C strings that live until the call.
    unsafe { libc::execve(argv_pointers[0], argv_pointers.as_ptr(), env_pointers.as_ptr()) };
    Err(std::io::Error::last_os_error()).during(format!("start {}", job.argv[0]))
}

/// Shows the job another machine where it is to have one.
fn seem_other(surroundings: &Surroundings) -> Result<(), Failure> {
    rustix::process::umask(rustix::fs::Mode::from(surroundings.umask));
    if surroundings.one_processor {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let all = sched_getaffinity(None).during("count its processors")?;
        let mut one = CpuSet::new();
        (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).into_iter().for_each(|cpu| one.set(cpu));
        sched_setaffinity(None, &one).during("choose a processor")?;
    }
    Ok(())
}

/// Makes calls of which PID 1 answers at least one, so that it returns only when PID 1 listens.
fn wait_until_answered() {
    let _ = rustix::fs::stat("/");
    let _ = rustix::system::uname();
}

fn drop_capabilities(identity: Identity) -> Result<(), Failure> {
    let kept: u64 = match identity {
        Identity::Builder => 0,
        Identity::Administrator => KEPT.iter().map(|number| 1 << number).sum(),
    };
    for number in (0..64).filter(|number| kept & (1 << number) == 0) {
        // SAFETY: plain numbers. Numbers past the kernel's last capability fail with EINVAL, rightly.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    }
    // struct __user_cap_header_struct and two of __user_cap_data_struct (capget(2), version 3).
    let header: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (kept as u32, (kept >> 32) as u32);
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: both are laid out as the kernel wants them.
    if unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error()).during("give up capabilities");
    }
    Ok(())
}

/// Stays with the job until it ends or oversteps a limit.
fn attend(job: &Job, main: Pid, listener: Option<OwnedFd>, parent: &UnixStream) -> Report {
    let lost = |errno: rustix::io::Errno| Report::Setup {
        what: "watch the step".to_owned(),
        errno: errno.raw_os_error(),
    };
    let process = match pidfd_open(main, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(errno) => return lost(errno),
    };
    if let Some(listener) = listener {
        // A thread of its own, which waits for nothing else: a step makes hundreds of thousands of these calls. It
        // ends with this process.
        let serving = std::thread::Builder::new().spawn(move || owners::serve(&listener));
        if let Err(error) = serving {
            let errno = error.raw_os_error().unwrap_or(0);
            return Report::Setup { what: "watch owners".to_owned(), errno };
        }
    }
    // The scheduler shares processors between sessions first (sched(7), autogroups): in one of its own this process is
    // not crowded out by what it watches. Where it leads a session already, that is as good.
    let _ = rustix::process::setsid();
    let mut watch = Watch::new(job);
    let mut look_at = std::time::Instant::now();
    loop {
        let mut waiting = [PollFd::new(&process, PollFlags::IN), PollFd::new(parent, PollFlags::empty())];
        let tick = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        match poll(&mut waiting, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return lost(errno),
        }
        // Orphans become this process's children and are reaped with the main one.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => continue,
                };
                // A script that could not fork any more may end before the next look is due.
                if let Some(report) = watch.look() {
                    return report;
                }
                let cpu = children_cpu();
                return Report::Finished(Finished { exit, peak_memory: watch.peak_memory, cpu });
            }
        }
        if std::time::Instant::now() >= look_at {
            if let Some(report) = watch.look() {
                return report;
            }
            look_at = std::time::Instant::now() + Duration::from_millis(20);
        }
    }
}

fn children_cpu() -> Duration {
    // SAFETY: all zeros is a right `struct rusage`, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let time =
        |t: libc::timeval| Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

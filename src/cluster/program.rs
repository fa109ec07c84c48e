//! Programs that run on this machine: kind, kubectl and Docker's client.
//!
//! They see a folder of the trial as their home, the engine's address and each other, and nothing of the user's
//! settings. Each has its process group, so that Ctrl-C reaches nodeimg alone and a program is stopped as a whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Error, Tools};
use crate::base::Cancel;

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a program that is asked to stop may take.
const STOP: Duration = Duration::from_secs(5);
/// How many of its last lines an error shows.
const TAIL: usize = 20;

/// The programs of a trial.
pub(super) struct Programs<'a> {
    tools: &'a Tools,
    env: Vec<(&'static str, OsString)>,
    kubeconfig: PathBuf,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Program {
    Kind,
    Kubectl,
    Docker,
}

/// What a program is given, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) program: Program,
    pub(super) arguments: &'a [&'a str],
    pub(super) input: &'a str,
    pub(super) limit: Duration,
}

impl<'a> Programs<'a> {
    pub(super) fn new(tools: &'a Tools, engine: &[(&'static str, OsString)], scratch: &Path) -> Self {
        let kubeconfig = scratch.join("kubeconfig");
        let path = tools.docker.parent().unwrap_or(Path::new("/")).as_os_str().to_owned();
        let mut env = vec![
            ("PATH", path),
            ("HOME", scratch.into()),
            ("KUBECONFIG", kubeconfig.clone().into()),
            ("KIND_EXPERIMENTAL_PROVIDER", "docker".into()),
        ];
        env.extend_from_slice(engine);
        Self { tools, env, kubeconfig }
    }

    /// Where a cluster's address and keys are.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where kind is.
    pub(super) fn kind(&self) -> &Path {
        &self.tools.kind
    }

    /// Runs a program to its end; gives what it printed if it went well.
    pub(super) fn run(&self, call: Call<'_>, cancel: &Cancel) -> Result<String, Error> {
        let program = match call.program {
            Program::Kind => &self.tools.kind,
            Program::Kubectl => &self.tools.kubectl,
            Program::Docker => &self.tools.docker,
        };
        run(program, &self.env, call.arguments, call.input, Limits { time: call.limit, cancel })
    }
}

/// When a program is stopped.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) time: Duration,
    pub(super) cancel: &'a Cancel,
}

/// Runs a program to its end; gives what it printed if it went well.
pub(super) fn run(
    program: &Path,
    env: &[(&str, OsString)],
    arguments: &[&str],
    input: &str,
    limits: Limits<'_>,
) -> Result<String, Error> {
    let start = |source| Error::Start { program: program.to_owned(), source };
    let mut output = tempfile::tempfile().map_err(Error::scratch)?;
    let mut errors = tempfile::tempfile().map_err(Error::scratch)?;
    let mut child = spawn(program, env, arguments, input, &output, &errors).map_err(start)?;
    let ended = wait(&mut child, limits.time, limits.cancel).map_err(start)?;
    let command = || {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} {}", arguments.join(" "))
    };
    let text = read(&mut output).map_err(Error::scratch)?;
    let mut tail = || -> Result<String, Error> {
        let all = format!("{}{text}", read(&mut errors).map_err(Error::scratch)?);
        let lines: Vec<&str> = all.lines().collect();
        Ok(lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    };
    match ended {
        End::Exit(status) if status.success() => Ok(text),
        End::Exit(_) => Err(Error::Failed { command: command(), tail: tail()? }),
        End::Limit => Err(Error::Slow { command: command(), seconds: limits.time.as_secs(), tail: tail()? }),
        End::Cancelled => Err(Error::Cancelled),
    }
}

/// Starts a program.
#[expect(clippy::disallowed_methods, reason = "a cluster is made on this machine, so its programs run here")]
fn spawn(
    program: &Path,
    env: &[(&str, OsString)],
    arguments: &[&str],
    text: &str,
    output: &File,
    errors: &File,
) -> io::Result<Child> {
    let mut input = tempfile::tempfile()?;
    input.write_all(text.as_bytes())?;
    input.rewind()?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(name, text)| (name, text)))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(errors.try_clone()?))
        .process_group(0)
        .spawn()
}

enum End {
    Exit(ExitStatus),
    Limit,
    Cancelled,
}

fn wait(child: &mut Child, limit: Duration, cancel: &Cancel) -> io::Result<End> {
    let since = Instant::now();
    let why = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exit(status));
        }
        if cancel.is_cancelled() {
            break End::Cancelled;
        }
        if since.elapsed() >= limit {
            break End::Limit;
        }
        std::thread::sleep(LOOK);
    };
    let group = Pid::from_child(child);
    // A group that is gone is what is wanted.
    let _ = kill_process_group(group, Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < STOP {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    Ok(why)
}

fn read(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

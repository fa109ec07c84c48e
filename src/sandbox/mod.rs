//! Runs a job where it can see its inputs and nothing else.
//!
//! A [`Job`] is plain data; a [`Sandbox`] runs it. Every member of the family gives the same bytes for
//! the same job. Network is never there. Isolation never weakens by itself: where a host can't, the error says
//! why and what to do.

mod docker;
mod error;
mod namespace;
mod surroundings;

pub use docker::Docker;
pub use error::{Error, Limit};
pub use namespace::Namespace;
pub use surroundings::{OTHER_KERNEL, Surroundings};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Arch, Cancel, Digest, GuestPath};

/// A process to run, as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program (absolute guest path) and arguments.
    pub argv: Vec<String>,
    /// The whole environment; nothing of the host's is added.
    pub env: BTreeMap<String, String>,
    /// Where the process starts.
    pub cwd: GuestPath,
    /// The root file system.
    pub root: Root,
    /// What else is mounted, in order, parents before children.
    pub mounts: Vec<Mount>,
    /// Who the process is.
    pub identity: Identity,
    /// What runs programs of another machine than this one.
    pub emulator: Option<Emulator>,
    /// When the job is stopped.
    pub limits: Limits,
    /// Which of the folders above that are only read hold which tree, as far as that is known: where they have to be sent
    /// somewhere, they may be there already.
    pub known: BTreeMap<PathBuf, Digest>,
    /// What is around it; the default, but for builds that are done again.
    pub surroundings: Surroundings,
}

/// What stands at `/`. Paths are this machine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Root {
    /// The host directory, seen read-only. Mount points that it lacks are made beside its entries
    /// (the top level is a small tmpfs onto which its entries are bound).
    ReadOnly { dir: PathBuf },
    /// The host directory `lower`, changeable: what changes lands in `changes` (an empty directory on the
    /// same file system as the store, which afterwards holds overlayfs's upper layer in `changes/upper`).
    Changeable { lower: PathBuf, changes: PathBuf },
    /// The host directory itself, a private copy: for hosts where overlayfs can't be mounted.
    Writable { dir: PathBuf },
}

/// Runs a job's programs where they are for another machine. The job doesn't see it, and sees the same as on a machine
/// of that kind, but for time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The machine that the programs are for.
    pub arch: Arch,
    /// A folder of this machine with the static program `bin/qemu-<machine>`.
    pub dir: PathBuf,
}

impl Emulator {
    /// Gives the program.
    pub fn program(&self) -> PathBuf {
        self.dir.join(format!("bin/qemu-{}", self.arch.machine()))
    }
}

/// A host path made visible to the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// File or directory of this machine.
    pub source: PathBuf,
    /// Where the job sees it.
    pub target: GuestPath,
    /// What the job may do there.
    pub access: Access,
}

/// What a job may do with a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read only, whatever the modes say.
    ReadOnly,
    /// Read and write.
    Writable,
    /// Read and write; what is left there nobody needs, and it may not be at `source` afterwards.
    Scratch,
}

/// Who a job's processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// uid and gid 1000 ([`Surroundings::user`]), no capability: compiles things.
    Builder,
    /// uid and gid 0 that may give files to anyone: owners are recorded (see `namespace`), so that
    /// a host's root, an ordinary user and Docker see the same tree. Configures Debian packages.
    Administrator,
}

/// When a job is stopped, with an error that names the limit. A recipe can raise each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall-clock time.
    pub time: Duration,
    /// Processes and threads at once.
    pub processes: u32,
    /// Resident memory of all processes together, in bytes.
    pub memory: u64,
    /// Bytes written below writable places (mounts and changeable root) together.
    pub disk: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(3600), processes: 4096, memory: 8 << 30, disk: 16 << 30 }
    }
}

/// How a job's main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
}

impl Exit {
    /// Tells whether it exited with 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

/// A job that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// How.
    pub exit: Exit,
    /// The most memory that its processes had together, as sampled, in bytes.
    pub peak_memory: u64,
    /// Processor time of all its processes.
    pub cpu: Duration,
}

/// Turns this process into a sandbox's own side if that is what it was started for; else returns. Must come first in
/// `main`, before any thread.
pub fn enter_if_asked() {
    namespace::enter_if_asked();
    docker::enter_if_asked();
}

/// Runs jobs. When `run` returns, no process of the job is left.
pub trait Sandbox: Sync {
    /// Runs a job; `output` takes what it prints, as it comes.
    fn run(&self, job: &Job, output: &mut dyn FnMut(&[u8]), cancel: &Cancel) -> Result<Finished, Error>;

    /// Runs a job at the terminal that this program has.
    fn shell(&self, job: &Job) -> Result<Finished, Error>;
}

//! Runs a job where it can see its inputs and nothing else.
//!
//! A [`Job`] is plain data; a [`Sandbox`] runs it. Every member of the family gives the same bytes for
//! the same job. Network is never there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::GuestPath;

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
    /// When the job is stopped.
    pub limits: Limits,
}

/// What stands at `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The host directory, seen read-only. Mount points that it lacks are made beside its entries
    /// (the top level is a small tmpfs onto which its entries are bound).
    ReadOnly { dir: PathBuf },
    /// The host directory `lower`, changeable: what changes lands in `changes` (an empty directory on the
    /// same file system as the store, which afterwards holds overlayfs's upper layer in `changes/upper`).
    Changeable { lower: PathBuf, changes: PathBuf },
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
}

/// Who a job's processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// uid and gid 1000, no capability: compiles things.
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

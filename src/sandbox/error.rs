//! What can go wrong with a sandbox.

use std::io;

use serde::{Deserialize, Serialize};

use crate::base::Blame;

/// A limit that a job ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// Wall-clock time.
    Time,
    /// Processes and threads.
    Processes,
    /// Memory.
    Memory,
    /// Bytes written.
    Disk,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Time => "time",
            Limit::Processes => "processes",
            Limit::Memory => "memory",
            Limit::Disk => "disk",
        })
    }
}

/// Says why a job did not end by itself.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("the step used more than its limit of {limit}: {detail}")]
    #[diagnostic(help("if it rightly needs more, raise `{limit}` under `[build] limits` in its recipe"))]
    Limit { limit: Limit, detail: String },

    #[error("the file system of the store has only {left} MiB left; the step was stopped")]
    #[diagnostic(help(
        "run `nodeimg store gc`, or set `NODEIMG_STORE` to a directory on a larger file system"
    ))]
    NoSpace { left: u64 },

    #[error("this host does not let nodeimg make a user namespace: {reason}")]
    #[diagnostic(help("{fix}"))]
    NoNamespaces { reason: io::Error, fix: String },

    #[error("this host runs no programs of {arch} for nodeimg: {reason}")]
    #[diagnostic(help("{fix}"))]
    NoEmulator { arch: crate::base::Arch, reason: io::Error, fix: String },

    #[error("overlayfs can't be mounted in a user namespace here: {reason}")]
    NoOverlay { reason: io::Error },

    #[error("the sandbox could not {what}: {reason}")]
    #[diagnostic(help(
        "inside a container, allow what the sandbox needs: `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
    ))]
    Setup { what: String, reason: io::Error },

    #[error("the file system of the engine at `{host}` has only {left} MiB left; the step was stopped")]
    #[diagnostic(help("free some space there: `docker system df` shows what uses it"))]
    EngineFull { host: String, left: u64 },

    #[error("the container could not {what}: {reason}")]
    #[diagnostic(help(
        "the engine, or what guards its machine, forbids something that the sandbox needs; the namespace sandbox runs without an engine"
    ))]
    Container { what: String, reason: String },

    #[error("the container ended without saying how\n  {detail}")]
    ContainerLost { detail: String },

    #[error("the engine at `{host}` runs programs for {theirs}, this nodeimg is one for {ours}")]
    #[diagnostic(help("name another engine with `DOCKER_HOST`"))]
    OtherMachine { host: String, theirs: String, ours: &'static str },

    #[error("a container has no terminal to open a shell at")]
    #[diagnostic(help("leave out `--sandbox docker`: the namespace sandbox shows a step the same"))]
    NoShell,

    #[error("Docker did not {what}")]
    Docker { what: &'static str, source: Box<bollard::errors::Error> },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] crate::engine::Error),

    #[error("the sandbox ended without saying how")]
    Lost,

    #[error("stopped")]
    Cancelled,

    #[error("{what} failed")]
    Io { what: &'static str, source: io::Error },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Limit { .. } => Blame::Build,
            Error::Cancelled => Blame::Cancelled,
            Error::Engine(error) => error.blame(),
            _ => Blame::Machine,
        }
    }
}

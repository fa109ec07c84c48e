//! What can go wrong with a trial besides what it is about.

use std::io;
use std::path::PathBuf;

use crate::base::Blame;

/// Says why a trial has no result.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// A program could not be started.
    #[error("cannot run `{program}`")]
    #[diagnostic(help("`nodeimg build kind kubectl docker-cli` makes what a trial runs"))]
    Start { program: PathBuf, source: io::Error },

    /// A program said no.
    #[error("`{command}` failed\n{tail}")]
    Failed { command: String, tail: String },

    /// A program went on for too long.
    #[error("`{command}` did not end within {seconds} s\n{tail}")]
    Slow { command: String, seconds: u64, tail: String },

    /// containerd by itself wants more than this user may do.
    #[error("a node's containerd by itself wants root")]
    #[diagnostic(help("run the command as root, or leave `--no-cluster` away where Docker is"))]
    NotRoot,

    /// The host does not let a node's containerd have what it needs.
    #[error("this host does not let a node's containerd run by itself\n{tail}")]
    #[diagnostic(help(
        "it needs `unshare` and mounts of its own, which containers are most often refused; leave `--no-cluster` away \
         where Docker is"
    ))]
    Host { tail: String },

    /// A program answered something else than it should.
    #[error("`{command}` answered what nodeimg does not understand: {reason}")]
    Answer { command: String, reason: String },

    /// The cluster has no account for pods.
    #[error("the cluster made no ServiceAccount `default` within {seconds} s")]
    NoAccount { seconds: u64 },

    /// A file could not be written.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Cancelled => Blame::Cancelled,
            Error::Start { .. } | Error::NotRoot | Error::Host { .. } | Error::Io { .. } => Blame::Machine,
            Error::Failed { .. } | Error::Slow { .. } | Error::Answer { .. } | Error::NoAccount { .. } => {
                Blame::Build
            }
        }
    }

    pub(super) fn scratch(source: io::Error) -> Self {
        Error::Io { action: "create a folder in", path: std::env::temp_dir(), source }
    }
}

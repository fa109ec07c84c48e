//! What can be wrong with a Debian root.

use crate::base::{Blame, GuestPath};
use crate::sandbox::{self, Exit};
use crate::{store, unpack};

/// Says why a root was not made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// A package is a whole archive and no package that dpkg would take.
    #[error("package `{file}` {why}")]
    #[diagnostic(help("such a package can't be installed; choose another version of it"))]
    Control { file: String, why: String },

    /// One package is named twice.
    #[error("`{one}` and `{other}` are the same package")]
    #[diagnostic(help("keep one of them"))]
    Twice { one: String, other: String },

    /// Two packages bring one path, and none says that it may.
    #[error("packages `{one}` and `{other}` both have `{path}`")]
    #[diagnostic(help("they can't be installed together: leave one of them out"))]
    Overlap { one: String, other: String, path: GuestPath },

    /// A package puts something where the layout of `/usr` wants a link.
    #[error("package `{file}` has `{path}`, which is to be a link into `/usr`")]
    #[diagnostic(help("such a package can't be installed on a system with one `/usr`; leave it out"))]
    NotMerged { file: String, path: GuestPath },

    /// The root has nothing that could configure it.
    #[error("no package of the root brings `{tool}`, which configuring it needs")]
    #[diagnostic(help("the essential packages must be in the root: lock it again"))]
    NoTool { tool: &'static str },

    /// The script ended with something else than 0.
    #[error("the script ended with {exit}")]
    Failed { exit: Exit },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,

    /// A package is no whole archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unpack(unpack::Error),

    /// The sandbox refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(sandbox::Error),

    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(store::Error),
}

impl From<unpack::Error> for Error {
    fn from(error: unpack::Error) -> Self {
        match error {
            unpack::Error::Cancelled => Error::Cancelled,
            unpack::Error::Store(error) => error.into(),
            other => Error::Unpack(other),
        }
    }
}

impl From<sandbox::Error> for Error {
    fn from(error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Cancelled => Error::Cancelled,
            other => Error::Sandbox(other),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Cancelled => Error::Cancelled,
            other => Error::Store(other),
        }
    }
}

impl Error {
    /// Tells whose fault the error is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Failed { .. } => Blame::Build,
            Error::Cancelled => Blame::Cancelled,
            Error::Unpack(error) => error.blame(),
            Error::Sandbox(error) => error.blame(),
            Error::Store(error) => error.blame(),
            _ => Blame::Input,
        }
    }
}

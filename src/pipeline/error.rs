//! What can go wrong on the way: the errors of the stages, passed on.

use miette::Diagnostic;

use super::{library, lint, rebuild};
use crate::base::Blame;
use crate::{attest, cluster, export, fetch, gate, image, lock, realise, recipe, store, unpack};

/// A stage's error, or what stands between two of them.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error(transparent)]
#[allow(missing_docs, reason = "each variant is the error of the folder it is named after")]
pub enum Error {
    #[diagnostic(transparent)]
    Recipe(#[from] recipe::Error),
    #[diagnostic(transparent)]
    Lock(#[from] lock::Error),
    #[diagnostic(transparent)]
    Fetch(#[from] fetch::Error),
    #[diagnostic(transparent)]
    Unpack(#[from] unpack::Error),
    #[diagnostic(transparent)]
    Realise(#[from] realise::Error),
    #[diagnostic(transparent)]
    Image(#[from] image::Error),
    #[diagnostic(transparent)]
    Export(#[from] export::Error),
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
    #[diagnostic(transparent)]
    Cluster(#[from] cluster::Error),
    #[diagnostic(transparent)]
    Gate(#[from] gate::Error),
    #[diagnostic(transparent)]
    Attest(#[from] attest::Error),
    #[diagnostic(transparent)]
    Lint(#[from] lint::Error),
    #[diagnostic(transparent)]
    Library(#[from] library::Error),
    #[diagnostic(transparent)]
    Rebuild(#[from] rebuild::Error),
    #[diagnostic(transparent)]
    Bundle(#[from] crate::bundle::Error),
    #[diagnostic(transparent)]
    Bundled(#[from] super::bundle::Error),
    #[diagnostic(transparent)]
    Outdated(#[from] super::outdated::Nobody),
    #[error("package `{package}` is not there for {arch}: its recipe says so")]
    #[diagnostic(help(
        "build for another `--platform`, or leave the package out; `architecture` in its recipe says for which machines it is"
    ))]
    NotFor { package: crate::base::Name, arch: crate::base::Arch },
}

impl Error {
    /// Tells whether something of the store is gone that can be made again.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Error::Realise(error) => error.is_lost(),
            Error::Export(export::Error::Store(error))
            | Error::Image(image::Error::Store(error))
            | Error::Store(error) => error.is_lost(),
            _ => false,
        }
    }

    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Recipe(error) => error.blame(),
            Error::Attest(error) => error.blame(),
            Error::Lock(error) => error.blame(),
            Error::Fetch(error) => error.blame(),
            Error::Unpack(error) => error.blame(),
            Error::Realise(error) => error.blame(),
            Error::Image(error) => error.blame(),
            Error::Export(error) => error.blame(),
            Error::Store(error) => error.blame(),
            Error::Cluster(error) => error.blame(),
            Error::Gate(error) => error.blame(),
            Error::Lint(error) => error.blame(),
            Error::Library(error) => error.blame(),
            Error::Rebuild(error) => error.blame(),
            Error::Bundle(error) => error.blame(),
            Error::Bundled(error) => error.blame(),
            Error::Outdated(_) => Blame::Machine,
            Error::NotFor { .. } => Blame::Input,
        }
    }
}

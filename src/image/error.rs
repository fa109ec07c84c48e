//! What can be wrong with an image.

use std::io;

use crate::base::{Blame, GuestPath};
use crate::store;

/// Says why an image could not be assembled, read or archived.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// A lock asks for an algorithm of another release.
    #[error("assembly `{found}` is not known; this nodeimg knows `{known}`")]
    #[diagnostic(help("use the nodeimg that wrote the lock, or lock again and review the new digests"))]
    Assembly { found: u32, known: u32 },

    /// The image's name is none that a registry or an engine takes.
    #[error("`{reference}` is no image name: {why}")]
    #[diagnostic(help("write it as `repository:tag`, such as `kindest/node:v1.32.2`"))]
    Reference { reference: String, why: &'static str },

    /// There is nothing in the image.
    #[error("image `{reference}` has no layer")]
    #[diagnostic(help("add `[system]` or a `[[layers]]` to its recipe"))]
    NoLayer { reference: String },

    /// A layer would put a directory in place of a link or file, or the other way round.
    #[error("layer `{layer}` has a {ours} at `{path}`, where a layer below has a {theirs}")]
    #[diagnostic(help(
        "a layer can't turn one into the other: put its files where the lower layers expect them, such as below `/usr/lib` and not `/lib`"
    ))]
    Kind { layer: String, path: GuestPath, ours: &'static str, theirs: &'static str },

    /// The base does not run where the image shall.
    #[error("the base is no image for {wanted}")]
    #[diagnostic(help("name an image of that platform as `base`, or an index that has one"))]
    BasePlatform { wanted: String },

    /// A file name that means something else in a layer.
    #[error("layer `{layer}` has `{path}`, which would hide a file of the layers below")]
    #[diagnostic(help("rename it: OCI reserves names that begin with `.wh.`"))]
    Whiteout { layer: String, path: GuestPath },

    /// A tree that was to be read as an image is none.
    #[error("tree is no image: `{file}` {why}")]
    NotAnImage { file: String, why: String },

    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write { source: io::Error },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,

    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells whose fault the error is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Cancelled => Blame::Cancelled,
            Error::Store(error) => error.blame(),
            Error::Write { .. } => Blame::Machine,
            _ => Blame::Input,
        }
    }

    /// Takes the store's own error out of an I/O error; what is left was met while writing.
    pub(super) fn from_io(source: io::Error) -> Self {
        match source.downcast::<store::Error>() {
            Ok(error) => error.into(),
            Err(source) => Error::Write { source },
        }
    }
}

//! Why an image could not be opened.

use std::path::PathBuf;

use crate::base::{Blame, Digest};
use crate::engine;

/// Says why there was no image to look at.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Nothing is called that.
    #[error("no image `{image}`: no recipe of this project, no file and no folder")]
    #[diagnostic(help(
        "name an archive, an OCI layout, `docker:NAME` or `registry:NAME`; `nodeimg lint --help` says more"
    ))]
    Nowhere { image: String },

    /// What is there is no image.
    #[error("`{image}` is no image: {why}")]
    #[diagnostic(help("`docker save -o FILE NAME` writes one, and `skopeo copy … oci:FOLDER`"))]
    NotAnImage { image: String, why: String },

    /// There are several, and none is meant more than the others.
    #[error("`{image}` has several images: {names}")]
    #[diagnostic(help("save one of them by itself"))]
    Several { image: String, names: String },

    /// A blob is not what its name says.
    #[error("`{image}` has other bytes as `{name}`: {found}")]
    #[diagnostic(help("the copy is damaged; save the image again"))]
    Damaged { image: String, name: String, found: Digest },

    /// The file could not be read.
    #[error("can't read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },

    /// The engine has no such image.
    #[error("no image `{image}` in the engine at `{host}`")]
    #[diagnostic(help("`docker images` lists those that it has"))]
    NotInEngine { image: String, host: String },

    /// The engine did not hand the image out.
    #[error("the engine at `{host}` did not hand `{image}` out")]
    Engine { image: String, host: String, source: bollard::errors::Error },

    /// There is no engine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoEngine(#[from] engine::Error),

    /// What was written names no image of a registry.
    #[error("`{image}` names no image of a registry: {why}")]
    #[diagnostic(help("write it as `registry.example/repository:tag`"))]
    Reference { image: String, why: String },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Nowhere { .. } | Error::Reference { .. } => Blame::Usage,
            Error::NotAnImage { .. } | Error::Several { .. } | Error::Damaged { .. } => Blame::Input,
            Error::Read { .. } | Error::NotInEngine { .. } | Error::Engine { .. } => Blame::Machine,
            Error::NoEngine(error) => error.blame(),
        }
    }
}

//! What can go wrong when two things are compared.

use std::path::PathBuf;

use crate::base::{Blame, Digest, Sha256};
use crate::{image, store, unpack};

/// Says why two things could not be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Nothing is called that.
    #[error(
        "nothing is called `{name}`: no recipe of this project, no file, no folder and no digest of the store"
    )]
    #[diagnostic(help(
        "name an OCI layout, an archive, a folder, an image or package of the project, or a digest; `nodeimg diff --help` says more"
    ))]
    Nowhere { name: String },

    /// The store has nothing of that digest.
    #[error("`{name}` is not in the store")]
    #[diagnostic(help("build what it names again, or name the file or folder where it lies"))]
    NotInStore { name: String },

    /// What is there is no image.
    #[error("`{name}` is no image: {why}")]
    #[diagnostic(help("`docker save -o FILE NAME` writes one, and `skopeo copy … oci:FOLDER`"))]
    NotAnImage { name: String, why: String },

    /// Apples and oranges.
    #[error("`{before}` is {is}, and `{now}` is {other}")]
    #[diagnostic(help("name two images, or two packages, folders or archives"))]
    Mixed { before: String, is: &'static str, now: String, other: &'static str },

    /// Two images for other machines each.
    #[error("`{before}` is for {one}, and `{now}` is for {other}")]
    #[diagnostic(help("name two images for one machine"))]
    Platforms { before: String, one: String, now: String, other: String },

    /// A layer that must be read is in neither the store nor the image's place.
    #[error("layer `{layer}` of `{name}` is not there")]
    #[diagnostic(help(
        "`nodeimg build` brings what the store lacks; another copy of the image may be whole"
    ))]
    NoLayer { name: String, layer: String },

    /// A layer is not what the configuration says.
    #[error(
        "layer `{layer}` of `{name}` is another archive than its configuration says\nexpected: sha256:{wanted}\nreceived: sha256:{found}"
    )]
    #[diagnostic(help("the copy is damaged; save the image again"))]
    OtherLayer { name: String, layer: String, wanted: Sha256, found: Sha256 },

    /// A blob is not what its name says.
    #[error("`{name}` has other bytes as `{blob}`: {found}")]
    #[diagnostic(help("the copy is damaged; save the image again"))]
    Damaged { name: String, blob: String, found: Digest },

    /// A file could not be read.
    #[error("can't read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,

    /// An archive could not be unpacked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unpack(#[from] unpack::Error),

    /// What was assembled here can't be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Image(#[from] image::Error),

    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Nowhere { .. }
            | Error::NotInStore { .. }
            | Error::Mixed { .. }
            | Error::Platforms { .. } => Blame::Usage,
            Error::NotAnImage { .. }
            | Error::Damaged { .. }
            | Error::OtherLayer { .. }
            | Error::NoLayer { .. } => Blame::Input,
            Error::Read { .. } => Blame::Machine,
            Error::Cancelled => Blame::Cancelled,
            Error::Image(error) => error.blame(),
            Error::Unpack(error) => error.blame(),
            Error::Store(error) => error.blame(),
        }
    }
}

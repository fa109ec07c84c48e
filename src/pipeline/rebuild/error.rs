//! Why an image could not be made again.

use std::path::PathBuf;

use crate::base::{Blame, Sha256};

/// Says why an image could not be made again, or that another one came out.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Nothing is called that.
    #[error("no image `{image}`: no folder, no file and no name of a registry's image")]
    #[diagnostic(help(
        "name an OCI layout (`out/NAME/oci`), an archive (`out/NAME/image.tar`), an image of a registry, or the digest \
         of an image below `out`"
    ))]
    Nowhere { image: String },

    /// What is there is no image.
    #[error("`{image}` {why}")]
    #[diagnostic(help("`nodeimg build` leaves an OCI layout and an archive of each image below `out`"))]
    NotAnImage { image: String, why: String },

    /// It names no image of a registry.
    #[error("`{image}` names no image of a registry: {why}")]
    #[diagnostic(help("write it as `registry.example/repository:tag`"))]
    Reference { image: String, why: String },

    /// The file can't be read.
    #[error("can't read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },

    /// A blob is not what its name says.
    #[error("`{image}` is damaged\n  expected: {expected}\n  received: {received}")]
    #[diagnostic(help("get it again from where it was built"))]
    Damaged { image: String, expected: Sha256, received: Sha256 },

    /// A blob is missing.
    #[error("`{image}` lacks `{}`", digest.oci())]
    #[diagnostic(help("get it again from where it was built"))]
    Lacks { image: String, digest: Sha256 },

    /// It does not say what it was made from.
    #[error("`{image}` carries no recipes\n  nothing of nodeimg's is attached to {}", digest.oci())]
    #[diagnostic(help(
        "an OCI layout or an archive that `nodeimg build` wrote has them; copies of a registry have them if the \
         referrers were copied too (`oras copy -r`)"
    ))]
    CarriesNothing { image: String, digest: Sha256 },

    /// The recipes are not those of the image.
    #[error(
        "`{image}` is not what its recipes and locks give\n  expected: {expected}\n  received: {received}"
    )]
    #[diagnostic(help(
        "do not trust it: somebody changed the image or what it carries, or a step of it is not reproducible, which `nodeimg verify --vary` finds"
    ))]
    Other { image: String, expected: Sha256, received: Sha256 },

    /// Nothing of that name was built.
    #[error("nothing was built yet of `{target}`")]
    #[diagnostic(help("run `nodeimg build --lock {target}`"))]
    NotBuilt { target: String },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Nowhere { .. } | Error::Reference { .. } | Error::NotBuilt { .. } => Blame::Usage,
            Error::Read { .. } => Blame::Machine,
            Error::NotAnImage { .. }
            | Error::Damaged { .. }
            | Error::Lacks { .. }
            | Error::CarriesNothing { .. }
            | Error::Other { .. } => Blame::Input,
        }
    }
}

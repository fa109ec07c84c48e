//! What can be wrong with a git repository whose packages a `Cargo.lock` lists.

use crate::base::Blame;

/// Says why a package of a git repository can't be given to cargo.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{repository}` has no package `{package}`, which `Cargo.lock` says is there")]
    #[diagnostic(help("let cargo write the lock anew: `cargo update {package_name}`, then `nodeimg lock`"))]
    NoPackage { repository: String, package: String, package_name: String },

    #[error("`{path}` in `{repository}` can't be used: {reason}")]
    #[diagnostic(help("lock another commit of the repository, one that cargo builds"))]
    Manifest { repository: String, path: String, reason: String },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        Blame::Input
    }
}

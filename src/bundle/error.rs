//! What can be wrong with a bundle.

use std::io;
use std::path::PathBuf;

use crate::base::{Arch, Blame, Sha256};
use crate::store;

/// Says why a bundle was not written, or is refused.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{bundle}` is no bundle: {why}")]
    #[diagnostic(help("`nodeimg bundle create -o FILE` makes one"))]
    NotABundle { bundle: String, why: String },

    #[error("`{bundle}` ends in the middle of `{member}`")]
    #[diagnostic(help("it was not copied to its end: copy it again"))]
    Truncated { bundle: String, member: String },

    #[error("the listing of `{bundle}` is wrong: {why}")]
    #[diagnostic(help("do not trust this file"))]
    Listing { bundle: String, why: String },

    #[error("`{bundle}`: `{member}` is missing, `{found}` stands in its place")]
    #[diagnostic(help("a member was removed, added or renamed: do not trust this file"))]
    Misplaced { bundle: String, member: String, found: String },

    #[error("`{bundle}`: `{member}` is missing: the bundle ends before it")]
    #[diagnostic(help("it was not copied to its end, or somebody took it out: do not trust this file"))]
    Missing { bundle: String, member: String },

    #[error("`{bundle}`: the header of `{member}` is altered")]
    #[diagnostic(help("do not trust this file"))]
    Header { bundle: String, member: String },

    #[error("`{bundle}`: `{member}` is altered\n  expected: {expected}\n  received: {received}")]
    #[diagnostic(help("do not trust this file"))]
    Content { bundle: String, member: String, expected: Sha256, received: Sha256 },

    #[error("`{bundle}`: what fills the last record of `{member}` is altered")]
    #[diagnostic(help("do not trust this file"))]
    Padding { bundle: String, member: String },

    #[error("`{bundle}`: `{member}` is not in the listing")]
    #[diagnostic(help("a member was added: do not trust this file"))]
    Extra { bundle: String, member: String },

    #[error("`{bundle}` goes on behind its end")]
    #[diagnostic(help("something was added to it: do not trust this file"))]
    Trailing { bundle: String },

    #[error("`{bundle}`: its end is altered")]
    #[diagnostic(help("do not trust this file"))]
    End { bundle: String },

    #[error("`{bundle}`: the signature of its listing is wrong: {why}")]
    #[diagnostic(help("do not trust this file"))]
    Signature { bundle: String, why: String },

    #[error("`{path}` is no program that runs on its own: {why}")]
    #[diagnostic(help(
        "a static nodeimg is made by\n`RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target \
         x86_64-unknown-linux-gnu`\nand lies in `target/x86_64-unknown-linux-gnu/release`; name it with `--program`"
    ))]
    Program { path: PathBuf, why: String },

    #[error("two programs are for {arch}: `{one}` and `{other}`")]
    #[diagnostic(help("name one for each machine"))]
    Programs { arch: Arch, one: PathBuf, other: PathBuf },

    #[error("`{path}` is too long for a bundle")]
    #[diagnostic(help("give the file a shorter name"))]
    TooLong { path: String },

    #[error("`{member}` changed while it was read")]
    #[diagnostic(help("run the same again"))]
    Changed { member: String },

    #[error("`{path}` is being written by another nodeimg")]
    #[diagnostic(help("wait until it is done"))]
    Busy { path: PathBuf },

    #[error("no space left to write `{path}`")]
    #[diagnostic(help("free some space and run the same again: it goes on where it stopped"))]
    NoSpace { path: PathBuf, source: io::Error },

    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("stopped")]
    Cancelled,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Program { .. } | Error::Programs { .. } => Blame::Usage,
            Error::NoSpace { .. } | Error::Io { .. } | Error::Busy { .. } => Blame::Machine,
            Error::Cancelled => Blame::Cancelled,
            Error::Store(error) => error.blame(),
            _ => Blame::Input,
        }
    }

    pub(super) fn from_io(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path, source },
            _ => Error::Io { action, path, source },
        }
    }

    /// Takes the store's own error out of an I/O error that was met while storing a member.
    pub(super) fn from_store(source: io::Error, member: &super::Member) -> Self {
        match source.downcast::<store::Error>() {
            Ok(error) => error.into(),
            Err(source) => Error::from_io("store", member.path.as_ref(), source),
        }
    }
}

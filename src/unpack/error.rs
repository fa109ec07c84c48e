//! What can be wrong with an archive or a patch.

use std::io;

use crate::base::Blame;
use crate::store;

/// Says why an archive was not unpacked or a patch not applied.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// The first bytes are of no format that is known.
    #[error("`{archive}` is no archive that nodeimg knows")]
    #[diagnostic(help(
        "tar (plain, gzip, xz, zstd), zip and deb can be unpacked; set `unpack = false` to get the file as it is"
    ))]
    Unknown { archive: String },

    /// The content breaks its format, ends too early or fails its checksum.
    #[error("`{archive}` is damaged at {place}")]
    #[diagnostic(help(
        "compare the download with upstream's checksum; if upstream's file is like this, it can't be used"
    ))]
    Damaged { archive: String, place: String, source: io::Error },

    /// An entry that could do harm or that a tree can't hold.
    #[error("`{archive}` has the entry `{entry}`, which {why}")]
    #[diagnostic(help("such an archive is not unpacked; use another release, or set `unpack = false`"))]
    Refused { archive: String, entry: String, why: String },

    /// More comes out than anybody would expect.
    #[error("`{archive}` unpacks to more than {limit}")]
    #[diagnostic(help("it looks like a decompression bomb; no entry of it is used"))]
    Bomb { archive: String, limit: String },

    /// A patch is named that does not exist.
    #[error("patch `{patch}` is missing")]
    #[diagnostic(help("add the file, or remove its name from `patches` in the recipe"))]
    NoPatch { patch: String, source: io::Error },

    /// A patch is no unified diff.
    #[error("patch `{patch}` is no unified diff: {why}")]
    #[diagnostic(help("write it with `git diff` or `diff -Naur old new`"))]
    BadPatch { patch: String, why: String },

    /// A patch names a file that is not there, or makes one that is.
    #[error("patch `{patch}` does not apply: `{file}` {why}")]
    #[diagnostic(help(
        "paths are taken without their first component (`-p1`); compare them with the source"
    ))]
    PatchFile { patch: String, file: String, why: String },

    /// A hunk's lines are not in the file.
    #[error(
        "patch `{patch}` does not apply: `{file}`, hunk {hunk}, line {line}\n  expected: {expected}\n  found:    {found}"
    )]
    #[diagnostic(help(
        "make the patch anew against this version of the source, or remove it if upstream has it"
    ))]
    PatchHunk { patch: String, file: String, hunk: usize, line: usize, expected: String, found: String },

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
            _ => Blame::Input,
        }
    }
}

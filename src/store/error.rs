//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::{Blame, Digest};

/// Says why the store could not do what was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Something that is no directory stands where the store should be.
    #[error("store `{path}` is not a directory")]
    #[diagnostic(help("set `NODEIMG_STORE` to a new directory"))]
    NotADirectory { path: PathBuf },

    /// The directory holds other things and no store.
    #[error("`{path}` is not empty and is no nodeimg store")]
    #[diagnostic(help("set `NODEIMG_STORE` to a new or empty directory"))]
    NotAStore { path: PathBuf },

    /// A newer release laid the store out.
    #[error("store `{path}` has layout {found}; this nodeimg knows layout {known}")]
    #[diagnostic(help(
        "use the newer nodeimg that made the store, or set `NODEIMG_STORE` to another directory"
    ))]
    NewerLayout { path: PathBuf, found: u64, known: u64 },

    /// The layout number can't be read.
    #[error("`{path}` does not hold a layout number")]
    #[diagnostic(help("the store is damaged: remove its directory, everything in it can be made again"))]
    NoLayout { path: PathBuf },

    /// The store can't be written to.
    #[error("store `{path}` is not writable")]
    #[diagnostic(help("set `NODEIMG_STORE` to a directory that you own on a writable file system"))]
    NotWritable { path: PathBuf, source: io::Error },

    /// The file system is full, or the user's share of it.
    #[error("no space left to write `{path}`")]
    #[diagnostic(help(
        "run `nodeimg store gc`, or set `NODEIMG_STORE` to a directory on a larger file system"
    ))]
    NoSpace { path: PathBuf, source: io::Error },

    /// The file system can't record who owns a file.
    #[error("file system of `{path}` has no user extended attributes")]
    #[diagnostic(help("set `NODEIMG_STORE` to a directory on ext4, xfs or btrfs"))]
    NoAttributes { path: PathBuf, source: io::Error },

    /// A file below `roots/` makes no sense, so nobody knows what must be kept.
    #[error("`{path}` does not say what to keep")]
    #[diagnostic(help("remove the file, then build the project again so that its images are kept"))]
    BadRoot { path: PathBuf },

    /// The object is not in the store.
    #[error("`{digest}` is not in the store")]
    #[diagnostic(help("run the command again: what is missing will be fetched or built again"))]
    Missing { digest: Digest },

    /// The object in the store is not what its name says. It has been removed.
    #[error("{what} `{digest}` in the store was damaged and has been removed")]
    #[diagnostic(help("run the command again: what is missing will be fetched or built again"))]
    Damaged { what: &'static str, digest: Digest },

    /// What was written is not what was expected. Nothing has been stored.
    #[error("received `{received}` instead of `{expected}`")]
    Mismatch { expected: Digest, received: Digest },

    /// A file name or link target is not UTF-8.
    #[error("{what} `{path}` is not UTF-8")]
    #[diagnostic(help("rename it: trees hold UTF-8 only, so that they mean the same everywhere"))]
    NotUtf8 { what: &'static str, path: PathBuf },

    /// A directory holds something that a tree can't.
    #[error("`{path}` is {kind}; a tree holds files, directories and symbolic links only")]
    #[diagnostic(help("remove it before the step ends"))]
    Unsupported { path: PathBuf, kind: &'static str },

    /// A path is too deep.
    #[error("`{path}` is more than {limit} directories deep")]
    TooDeep { path: PathBuf, limit: usize },

    /// The recorded owner of a file makes no sense.
    #[error("`{path}` has the recorded owner `{text}`, which is not `uid:gid`")]
    BadOwner { path: PathBuf, text: String },

    /// An overlay uses a feature that would be misread.
    #[error("`{path}` carries the overlay attribute `{attribute}`, which is not supported")]
    #[diagnostic(help("mount the overlay with `userxattr` and neither `redirect_dir` nor `metacopy`"))]
    OverlayFeature { path: PathBuf, attribute: &'static str },

    /// A tree breaks the rules of its format.
    #[error("tree is not well formed: {why}")]
    BadTree { why: String },

    /// The place for a copy holds something already.
    #[error("`{path}` is not empty")]
    NotEmpty { path: PathBuf },

    /// Others work with the store, so nothing can be removed from it.
    #[error("store `{path}` is in use by another nodeimg")]
    #[diagnostic(help("wait until it ends, then run the command again"))]
    InUse { path: PathBuf },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,

    /// Anything else the operating system refused.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    /// Tells whose fault the error is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Mismatch { .. }
            | Error::NotUtf8 { .. }
            | Error::Unsupported { .. }
            | Error::TooDeep { .. }
            | Error::BadOwner { .. }
            | Error::BadTree { .. } => Blame::Input,
            Error::Cancelled => Blame::Cancelled,
            _ => Blame::Machine,
        }
    }

    /// Tells whether making the object again would help.
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Missing { .. } | Error::Damaged { .. })
    }

    /// Sorts an error of the operating system.
    pub(crate) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // What `fs-err` and `tempfile` pass on has a kind and no number.
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path, source },
            io::ErrorKind::ReadOnlyFilesystem => Error::NotWritable { path, source },
            _ => Error::Io { action, path, source },
        }
    }

    /// The same as an I/O error, for the traits of `std::io`.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Error::NoSpace { source, .. } | Error::NotWritable { source, .. } | Error::Io { source, .. } => {
                source.kind()
            }
            Error::Damaged { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

/// Says what was being done, and where, when the operating system refused.
pub(super) trait At<T> {
    /// Turns the error into the store's; `action` completes "cannot … `path`".
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|error| Error::from_io(action, path.as_ref(), error.into()))
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;
    use rustix::io::Errno;

    use super::*;

    /// What a person reads: message and hint.
    fn shown(error: &Error) -> String {
        format!("{error} / {}", error.help().map(|help| help.to_string()).unwrap_or_default())
    }

    fn refused(errno: Errno) -> Error {
        Err::<(), _>(errno).at("write", "/s/tmp/1").unwrap_err()
    }

    #[test]
    fn texts() {
        let digest = Digest::of(b"");
        let hash = digest.hash;
        let again = "run the command again: what is missing will be fetched or built again";
        let space = "run `nodeimg store gc`, or set `NODEIMG_STORE` to a directory on a larger file system";
        for (error, want) in [
            (refused(Errno::NOSPC), format!("no space left to write `/s/tmp/1` / {space}")),
            (refused(Errno::DQUOT), format!("no space left to write `/s/tmp/1` / {space}")),
            (
                refused(Errno::ROFS),
                "store `/s/tmp/1` is not writable / set `NODEIMG_STORE` to a directory that you own on a \
                 writable file system"
                    .into(),
            ),
            (refused(Errno::IO), "cannot write `/s/tmp/1` / ".into()),
            (Error::Missing { digest }, format!("`{hash}/0` is not in the store / {again}")),
            (
                Error::Damaged { what: "blob", digest },
                format!("blob `{hash}/0` in the store was damaged and has been removed / {again}"),
            ),
            (
                Error::Mismatch { expected: digest, received: Digest::of(b"x") },
                format!("received `{}/1` instead of `{hash}/0` / ", Digest::of(b"x").hash),
            ),
            (
                Error::InUse { path: "/s".into() },
                "store `/s` is in use by another nodeimg / wait until it ends, then run the command again"
                    .into(),
            ),
            (
                Error::NotUtf8 { what: "file name", path: "/d".into() },
                "file name `/d` is not UTF-8 / rename it: trees hold UTF-8 only, so that they mean the same \
                 everywhere"
                    .into(),
            ),
        ] {
            assert_eq!(shown(&error), want);
        }
        assert_eq!(refused(Errno::NOSPC).blame(), Blame::Machine);
        assert_eq!(Error::Cancelled.blame(), Blame::Cancelled);
        assert_eq!(refused(Errno::NOSPC).into_io().kind(), io::ErrorKind::StorageFull);
    }
}

//! What can be wrong with leaving something on this machine.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::Blame;
use crate::{engine, image, store};

/// Says why an output was not written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Something that nodeimg did not write stands where the output should be.
    #[error("`{path}` is in the way: it is {what}")]
    #[diagnostic(help("remove it or move it away, or name another folder with `--out`"))]
    InTheWay { path: PathBuf, what: &'static str },

    /// The path has no last component.
    #[error("`{path}` is no place for an output")]
    #[diagnostic(help("name another folder with `--out`"))]
    NoPlace { path: PathBuf },

    /// The file system is full, or the user's share of it.
    #[error("no space left to write `{path}`")]
    #[diagnostic(help("free some space, or name a folder on a larger file system with `--out`"))]
    NoSpace { path: PathBuf, source: io::Error },

    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,

    /// Anything else the operating system refused.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// There is no engine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] engine::Error),

    /// Docker refused an image, or went away.
    #[error("Docker did not load `{reference}`")]
    DockerLoad { reference: String, source: bollard::errors::Error },

    /// Docker took an image for another one.
    #[error("Docker has `{found}` as `{reference}` after loading `{expected}`")]
    #[diagnostic(help("does something else load or tag images of this name now?"))]
    DockerImage { reference: String, expected: String, found: String },

    /// The image could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Image(image::Error),

    /// The store refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells whose fault the error is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NoPlace { .. } => Blame::Usage,
            Error::Engine(error) => error.blame(),
            Error::Cancelled => Blame::Cancelled,
            Error::Image(error) => error.blame(),
            Error::Store(error) => error.blame(),
            _ => Blame::Machine,
        }
    }

    /// Sorts an error of the operating system.
    pub(super) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // What `fs-err` and `tempfile` pass on has a kind and no number.
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path, source },
            _ => Error::Io { action, path, source },
        }
    }

    /// Takes the store's own error out of an I/O error that was met while reading a blob for a file.
    pub(super) fn from_blob(source: io::Error, path: &Path) -> Self {
        match source.downcast::<store::Error>() {
            Ok(error) => error.into(),
            Err(source) => Error::from_io("write", path, source),
        }
    }

    /// Says which file could not be written.
    pub(super) fn from_image(error: image::Error, path: &Path) -> Self {
        match error {
            image::Error::Write { source } => Error::from_io("write", path, source),
            image::Error::Cancelled => Error::Cancelled,
            image::Error::Store(error) => Error::Store(error),
            other => Error::Image(other),
        }
    }
}

/// Says what was being done, and where, when the operating system refused.
pub(super) trait At<T> {
    /// Turns the error into the folder's; `action` completes "cannot … `path`".
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|error| Error::from_io(action, path.as_ref(), error.into()))
    }
}

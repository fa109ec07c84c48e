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

    /// Docker answers, but does not say what runs.
    #[error("the Docker at `{host}` does not list its containers")]
    DockerList { host: String, source: bollard::errors::Error },

    /// Docker refused an image, or went away.
    #[error("Docker did not load `{reference}`")]
    DockerLoad { reference: String, source: bollard::errors::Error },

    /// Docker took an image for another one.
    #[error("Docker has `{found}` as `{reference}` after loading `{expected}`")]
    #[diagnostic(help("does something else load or tag images of this name now?"))]
    DockerImage { reference: String, expected: String, found: String },

    /// The form is unknown.
    #[error("`{name}` is no form that an image can leave in")]
    #[diagnostic(help("forms are {}", forms()))]
    NoForm { name: String },

    /// The form's place is empty.
    #[error("`{form}=` names no place")]
    #[diagnostic(help("write `{form}={place}`, or `{form}` for the usual place"))]
    NoFormPlace { form: &'static str, place: &'static str },

    /// Nothing of the cluster runs.
    #[error("no node of a kind cluster `{name}` runs in the Docker at `{host}`")]
    #[diagnostic(help("{}", clusters(others)))]
    NoCluster { name: String, host: String, others: Vec<String> },

    /// Docker did not run a program in a node.
    #[error("Docker did not run `ctr` in node `{node}`")]
    Node { node: String, source: bollard::errors::Error },

    /// A program in a node failed.
    #[error("`{command}` failed in node `{node}`\n{said}")]
    NodeSaid { node: String, command: String, said: String },

    /// A node took an image and does not have it.
    #[error("node `{node}` lacks `{reference}` after its import")]
    #[diagnostic(help("does something else import or remove images of this name now?"))]
    NodeImage { node: String, reference: String },

    /// No containerd answers.
    #[error("no containerd answers at `{address}`")]
    #[diagnostic(help(
        "start containerd and be allowed to use its socket (most often as root), or name another with \
         `CONTAINERD_ADDRESS` or `containerd=NAMESPACE@SOCKET`"
    ))]
    NoContainerd { address: String, source: Box<tonic::Status> },

    /// The namespace has no name that containerd takes.
    #[error("`{namespace}` is no namespace of containerd")]
    #[diagnostic(help("Kubernetes uses `k8s.io`, `ctr` uses `default`"))]
    Namespace { namespace: String },

    /// containerd refused, or went away.
    #[error("cannot {action} containerd")]
    Containerd { action: &'static str, source: Box<tonic::Status> },

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
            Error::NoPlace { .. }
            | Error::NoForm { .. }
            | Error::NoFormPlace { .. }
            | Error::Namespace { .. } => Blame::Usage,
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

    /// Says what containerd refused; `action` completes "cannot … containerd".
    pub(super) fn containerd(action: &'static str, source: tonic::Status) -> Self {
        Error::Containerd { action, source: source.into() }
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

fn forms() -> String {
    super::FORMS.map(|form| format!("`{}`", form.name)).join(", ")
}

fn clusters(others: &[String]) -> String {
    match others {
        [] => "`kind create cluster` makes one, `nodeimg try --keep` leaves one up".to_owned(),
        others => format!("clusters there: `{}`", others.join("`, `")),
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

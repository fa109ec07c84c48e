//! Any error of the library with who is to act, as it is shown.

use miette::Diagnostic;

use crate::base::Blame;
use crate::{attest, diff, engine, export, fetch, lock, pipeline, realise, recipe, sandbox, store};

/// Why a command did not do what it was asked.
pub(super) struct Failure {
    pub(super) blame: Blame,
    pub(super) error: Box<dyn Diagnostic + Send + Sync>,
}

macro_rules! failures {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { blame: error.blame(), error: Box::new(error) }
            }
        })+
    };
}

failures!(
    attest::Error,
    diff::Error,
    crate::bundle::Error,
    engine::Error,
    export::Error,
    fetch::Error,
    lock::Error,
    pipeline::Error,
    pipeline::library::Error,
    realise::Error,
    recipe::Error,
    sandbox::Error,
    store::Error,
    Problem
);

/// What is wrong with what the command line asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Problem {
    #[error("no step `{name}` runs in the project")]
    #[diagnostic(help("{}", near.as_ref().map_or_else(
        || "`nodeimg plan -v` lists the steps".to_owned(), |near| format!("did you mean `{near}`?"))))]
    NoStep { name: String, near: Option<String> },

    #[error("step `{0}` has printed nothing yet")]
    #[diagnostic(help("`nodeimg build` runs it"))]
    NoLog(String),

    #[error("this machine is neither amd64 nor arm64")]
    Architecture,

    #[error("no platform is called `{asked}`")]
    #[diagnostic(help("{source}"))]
    Platform { asked: String, source: crate::base::NotAPlatform },

    #[error("no folder for the store: neither `NODEIMG_STORE`, `XDG_CACHE_HOME` nor `HOME` is set")]
    #[diagnostic(help("set `NODEIMG_STORE` to a directory that you own"))]
    NoStore,

    #[error("`{0}` is no lock file and no folder with lock files")]
    #[diagnostic(help(
        "`--lock=FILE` names the lock of one target, `--lock=DIR` a folder like `lockfiles/`"
    ))]
    NoLock(String),

    #[error("`--lock=FILE` does not go with `--bundle`")]
    #[diagnostic(help("the locks are in `{0}`"))]
    OwnLock(String),

    #[error("the system does not say where nodeimg itself lies")]
    #[diagnostic(help("is `/proc` there?"))]
    NoProgram,

    #[error("`--lock=FILE` goes with one target, {0} are given")]
    #[diagnostic(help("name a folder like `lockfiles/` for several"))]
    OneLock(usize),

    #[error("`--output {output}` has room for one image, {images} are built")]
    #[diagnostic(help("leave the place away: each image has a folder of its own"))]
    OneImage { output: String, images: usize },

    #[error("`{0}` is no node image")]
    #[diagnostic(help("name an image whose recipe has `[node]`"))]
    NoNode(String),

    #[error("what `{0}` is now is not in the store")]
    #[diagnostic(help("`nodeimg build {0}` makes it; what was built before lies below `out`"))]
    NotBuilt(String),

    #[error("what `{0}` was before it was last made is not in the store")]
    #[diagnostic(help(
        "name two things to compare; `nodeimg diff NAME` compares with the time before, when it was made here"
    ))]
    NoBefore(String),
    #[error("`--signature` is about an image, and none is named")]
    #[diagnostic(help(
        "name an image of this project that was attested, an OCI layout such as `out/NAME/attest/oci`, or a registry's image"
    ))]
    NoSigned,

    #[error("`{0}` is no image")]
    #[diagnostic(help("what is attested is an image: name one of `recipes/images/`"))]
    NoImage(String),

    #[error("no catalog of node images at `{0}`")]
    #[diagnostic(help("`nodeimg build` of a node image writes it"))]
    NoCatalog(String),

    #[error("can't read the diff on stdin")]
    #[diagnostic(help("write `git diff | nodeimg lock --from-diff`"))]
    Diff(#[source] std::io::Error),

    #[error("can't write the report")]
    Report(#[source] std::io::Error),

    #[error("can't write to stdout")]
    Output(#[source] std::io::Error),
}

impl Problem {
    fn blame(&self) -> Blame {
        match self {
            Problem::NoStep { .. }
            | Problem::NoLog(_)
            | Problem::NoLock(_)
            | Problem::OneLock(_)
            | Problem::OwnLock(_)
            | Problem::OneImage { .. }
            | Problem::Platform { .. }
            | Problem::NoCatalog(_)
            | Problem::NotBuilt(_)
            | Problem::Diff(_)
            | Problem::NoBefore(_)
            | Problem::NoImage(_)
            | Problem::NoSigned
            | Problem::NoNode(_) => Blame::Usage,
            Problem::Architecture
            | Problem::NoStore
            | Problem::NoProgram
            | Problem::Report(_)
            | Problem::Output(_) => Blame::Machine,
        }
    }
}

//! Why no project can be made of the library's recipes.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::base::{Blame, Name};
use crate::recipe;

/// Says why nothing was written.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The recipes would not fit each other.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Recipe(#[from] recipe::Error),
    /// The folder has a project already.
    #[error("`{}` has recipes already", .0.display())]
    #[diagnostic(help("`nodeimg add runtime` changes a project; a new one wants another folder"))]
    Project(PathBuf),
    /// The library has no such node image.
    #[error("no node image `{name}` comes with nodeimg")]
    #[diagnostic(help("{}", choice(near.as_ref(), known)))]
    NoBase {
        /// What was asked for.
        name: String,
        /// The nearest name.
        near: Option<String>,
        /// Those that there are.
        known: String,
    },
    /// Neither the project nor the library has such a runtime.
    #[error("no runtime `{name}` comes with nodeimg")]
    #[diagnostic(help("{}", choice(near.as_ref(), known)))]
    NoRuntime {
        /// What was asked for.
        name: String,
        /// The nearest name.
        near: Option<String>,
        /// Those that there are.
        known: String,
    },
    /// The image is no kind node.
    #[error("image `{0}` is no node, so it has no runtimes")]
    #[diagnostic(help("name an image whose recipe has `[node]` with `--image`"))]
    NoNode(Name),
    /// Two runtimes bring different files to one path.
    #[error("runtime `{new}` brings its own `{binary}`, as `{old}` does")]
    #[diagnostic(help("take `{old}` out of the image's `runtimes` first: a node has one of the two"))]
    Binary {
        /// The runtime that was to be added.
        new: Name,
        /// The one that is there.
        old: Name,
        /// What both are.
        binary: String,
    },
    /// The image's recipe can't be edited.
    #[error("`runtimes` of `[node]` in `{file}` is no array of names")]
    #[diagnostic(help("write it as `runtimes = [\"crun-wasmtime\"]`"))]
    Shape {
        /// The recipe.
        file: String,
    },
    /// A file can't be read.
    #[error("can't read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("can't write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn choice(near: Option<&String>, known: &str) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {known}"),
    }
}

fn named<'a>(name: &str, known: impl Iterator<Item = &'a Name> + Clone) -> (Option<String>, String) {
    let near = recipe::near(name, known.clone().map(Name::as_str));
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    (near, known.join(", "))
}

impl Error {
    pub(super) fn no_runtime<'a>(name: &str, known: impl Iterator<Item = &'a Name> + Clone) -> Self {
        let (near, known) = named(name, known);
        Error::NoRuntime { name: name.to_owned(), near, known }
    }

    pub(super) fn no_base<'a>(name: &str, known: impl Iterator<Item = &'a Name> + Clone) -> Self {
        let (near, known) = named(name, known);
        Error::NoBase { name: name.to_owned(), near, known }
    }

    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Recipe(error) => error.blame(),
            Error::Read { .. } | Error::Write { .. } => Blame::Machine,
            Error::Shape { .. } | Error::Binary { .. } => Blame::Input,
            Error::Project(_) | Error::NoBase { .. } | Error::NoRuntime { .. } | Error::NoNode(_) => {
                Blame::Usage
            }
        }
    }
}

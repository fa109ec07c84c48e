//! What can be wrong with a project's recipes, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use crate::base::{Blame, Name};
use crate::fetch::cargo;

/// Says why a project can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has no recipes.
    #[error("no `recipes` folder in `{}`", .0.display())]
    NoProject(PathBuf),
    /// A file of the project can't be read.
    #[error("can't read the recipes")]
    Read(#[source] std::io::Error),
    /// The recipes are wrong; holds everything that was found, sorted by file and place.
    #[error("{} in the recipes", if .0.len() == 1 { "a problem".to_owned() } else { format!("{} problems", .0.len()) })]
    Problems(Vec<Problem>),
    /// No recipe has the name that was asked for.
    #[error("no recipe `{name}` in the project")]
    NoTarget {
        /// What was asked for.
        name: String,
        /// The nearest name that exists, else how to see them.
        near: Option<String>,
    },
    /// No target was given and no image is the default one.
    #[error("no image of the project is the default one")]
    NoDefault,
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Read(_) => Blame::Machine,
            Error::NoTarget { .. } | Error::NoDefault => Blame::Usage,
            Error::NoProject(_) | Error::Problems(_) => Blame::Input,
        }
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Error::NoProject(_) => Some(Box::new("change to a project's folder or name it with `--project`")),
            Error::NoTarget { near: Some(near), .. } => Some(Box::new(format!("did you mean `{near}`?"))),
            Error::NoDefault => Some(Box::new("name a target, or set `default = true` in one image recipe")),
            _ => None,
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Error::Problems(problems) => {
                Some(Box::new(problems.iter().map(|problem| problem as &dyn Diagnostic)))
            }
            _ => None,
        }
    }
}

/// Something wrong at one place of a recipe.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is wrong.
    pub fault: Fault,
    source: NamedSource<Arc<str>>,
    span: Range<usize>,
}

impl Problem {
    pub(super) fn new(fault: Fault, file: &str, text: &Arc<str>, span: Range<usize>) -> Self {
        Self { fault, source: NamedSource::new(file, Arc::clone(text)), span }
    }

    /// Names the file, relative to the project.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Gives the place in the file, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.fault.hint().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.fault.label()), self.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The ways in which a recipe can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file is no TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The file is no UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// The schema has no such key.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that looks most like it.
        near: Option<String>,
        /// Every key that may stand there.
        known: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("key `{0}` is missing")]
    MissingKey(String),
    /// A value is of another type.
    #[error("`{key}` is {found}, it should be {wanted}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: &'static str,
    },
    /// A value is not one of those that are allowed.
    #[error("`{value}` is no value for `{key}`")]
    NotOneOf {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The nearest allowed value.
        near: Option<String>,
        /// Every allowed value.
        allowed: Vec<String>,
    },
    /// A value can't be read as what it stands for; the text says what it should look like.
    #[error("{0}")]
    Value(String),
    /// The name in the file is not the file's name.
    #[error("the recipe is named `{name}`, its file `{file}`")]
    NotTheFile {
        /// The name in the file.
        name: String,
        /// The file's name without `.toml`.
        file: String,
    },
    /// A recipe's name holds something that is not allowed.
    #[error("`{0}` can't be a recipe's name")]
    BadName(String),
    /// A reference leads to no recipe.
    #[error("no {kind} `{name}` in the project")]
    UnknownReference {
        /// What was looked for: `package`, `suite`, …
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name that exists.
        near: Option<String>,
    },
    /// A list holds something twice.
    #[error("`{0}` is there twice")]
    Duplicate(String),
    /// A file that a recipe names does not exist.
    #[error("no file `{path}`")]
    NoFile {
        /// The file, relative to the project.
        path: String,
        /// The nearest file that exists in that folder.
        near: Option<String>,
    },
    /// A path leads out of the folder that it is relative to.
    #[error("`{path}` leads out of `{folder}`")]
    Escapes {
        /// The path as written.
        path: String,
        /// The folder it is relative to.
        folder: String,
    },
    /// A string asks for a value that does not exist.
    #[error("nothing is called `{{{name}}}` here")]
    UnknownVariable {
        /// What stands between the braces.
        name: String,
        /// The nearest name that exists.
        near: Option<String>,
        /// Every name that may stand there, if they are few.
        known: Vec<String>,
    },
    /// Recipes need each other in a circle.
    #[error("these recipes need each other: {}", .0.iter().map(Name::to_string).collect::<Vec<_>>().join(" → "))]
    Cycle(Vec<Name>),
    /// Two images are the default one.
    #[error("image `{0}` is the default one already")]
    TwoDefaults(Name),
    /// Two runtimes have one handler or one RuntimeClass.
    #[error("{what} `{name}` is the one of runtime `{other}` already")]
    Taken {
        /// `handler` or `RuntimeClass`.
        what: &'static str,
        /// The name that both have.
        name: Name,
        /// The runtime that has it too.
        other: Name,
    },
    /// A package has both `[source]` and `[sources.…]`.
    #[error("both `source` and `sources` are given")]
    SourceTwice,
    /// Patches are given, but there is no source to apply them to.
    #[error("there is no source to patch")]
    NothingToPatch,
    /// Files with calls are named, but there is no source that they are in.
    #[error("there is no source with these files")]
    NothingToRead,
    /// A variant is like another variant.
    #[error("package `{0}` is itself like another one")]
    LikeAVariant(Name),
    /// A variant puts something in the place of an input that is none.
    #[error("`{name}` is no input of `{of}`")]
    NoInput {
        /// The package that the variant is like.
        of: Name,
        /// What was taken for its input.
        name: Name,
        /// The input that looks most like it.
        near: Option<String>,
    },
    /// A package has two sources that are lists of crates.
    #[error("there is another `cargo` source already")]
    CratesTwice,
    /// An image starts from two things.
    #[error("an image has a `base` or a `system`")]
    BaseAndSystem,
    /// A version of Kubernetes is said to be of a base, and there is none.
    #[error("an image without `base` gets Kubernetes from a package")]
    NoBase,
    /// A `Cargo.lock` can't be used.
    #[error(transparent)]
    CargoLock(cargo::Fault),
}

impl Fault {
    /// Says what to do.
    pub fn hint(&self) -> Option<String> {
        let mean = |near: &String| format!("did you mean `{near}`?");
        let list = |all: &[String]| all.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        match self {
            Fault::UnknownKey { near: Some(near), .. } | Fault::NotOneOf { near: Some(near), .. } => {
                Some(mean(near))
            }
            Fault::UnknownKey { known, .. } if known.is_empty() => None,
            Fault::UnknownKey { known, .. } => Some(format!("known keys: {}", list(known))),
            Fault::NotOneOf { allowed, .. } => Some(format!("one of {}", list(allowed))),
            Fault::NotTheFile { name, file } => {
                Some(format!("set `name = \"{file}\"`, or rename the file to `{name}.toml`"))
            }
            Fault::BadName(_) => Some(
                "use lower-case letters, digits, `.`, `_` and `-`; start with a letter or digit".to_owned(),
            ),
            Fault::UnknownReference { near: Some(near), .. }
            | Fault::NoFile { near: Some(near), .. }
            | Fault::NoInput { near: Some(near), .. } => Some(mean(near)),
            Fault::LikeAVariant(_) => Some("name the whole recipe that both are like".to_owned()),
            Fault::UnknownReference { kind, name, .. } => {
                Some(format!("write `recipes/{kind}s/{name}.toml`"))
            }
            Fault::UnknownVariable { near: Some(near), .. } => Some(format!("did you mean `{{{near}}}`?")),
            Fault::UnknownVariable { known, .. } if !known.is_empty() => {
                let names: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
                Some(format!("known here: {}", list(&names)))
            }
            Fault::Cycle(_) => Some("take one of these references out".to_owned()),
            Fault::TwoDefaults(_) => Some("leave `default = true` in one image only".to_owned()),
            Fault::Taken { .. } => Some("give one of the two another name".to_owned()),
            Fault::SourceTwice => Some("move `[source]` to `[sources.NAME]`".to_owned()),
            Fault::NothingToPatch => {
                Some("put the source that they are for first, or take `patches` out".to_owned())
            }
            Fault::NothingToRead => {
                Some("put the source that has them first, unpacked, or take `calls` out".to_owned())
            }
            Fault::CratesTwice => Some("list the crates of both in one workspace's `Cargo.lock`".to_owned()),
            Fault::BaseAndSystem => Some("what a base lacks comes as a package in `[[layers]]`".to_owned()),
            Fault::NoBase => Some("write `kubernetes = \"NAME\"`, the package that brings it".to_owned()),
            Fault::CargoLock(fault) => fault.hint(),
            _ => None,
        }
    }

    /// Says in a few words what the marked place is.
    fn label(&self) -> String {
        match self {
            Fault::Syntax(_) | Fault::Encoding => "here".to_owned(),
            Fault::UnknownKey { .. } => "not a key of this table".to_owned(),
            Fault::MissingKey(key) => format!("`{key}` belongs here"),
            Fault::WrongType { wanted, .. } => format!("should be {wanted}"),
            Fault::NotOneOf { .. } | Fault::Value(_) | Fault::BadName(_) => "not valid".to_owned(),
            Fault::NotTheFile { .. } => "not the file's name".to_owned(),
            Fault::UnknownReference { kind, .. } => format!("no such {kind}"),
            Fault::Duplicate(_) => "the second one".to_owned(),
            Fault::NoFile { .. } => "no such file".to_owned(),
            Fault::Escapes { .. } => "leads out".to_owned(),
            Fault::UnknownVariable { .. } => "in this string".to_owned(),
            Fault::Cycle(_) => "closes the circle".to_owned(),
            Fault::TwoDefaults(_) => "the second default".to_owned(),
            Fault::Taken { .. } => "taken".to_owned(),
            Fault::SourceTwice => "the second form".to_owned(),
            Fault::NothingToPatch => "for no source".to_owned(),
            Fault::NothingToRead => "in no source".to_owned(),
            Fault::LikeAVariant(_) => "no whole recipe".to_owned(),
            Fault::NoInput { .. } => "no input".to_owned(),
            Fault::CratesTwice => "the second one".to_owned(),
            Fault::BaseAndSystem => "the second one".to_owned(),
            Fault::NoBase => "needs a base".to_owned(),
            Fault::CargoLock(fault) => fault.label().to_owned(),
        }
    }
}

/// Finds the name that looks most like `wanted`, if one looks like it at all.
pub(crate) fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = names.into_iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name));
    let limit = 1 + wanted.chars().count() / 4;
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name.to_owned())
}

//! What can be wrong with locks.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::Difference;
use super::file::{VERSION, shown};
use crate::base::Blame;
use crate::fetch;
use crate::recipe::Id;

/// Says why recipes can't be taken as locked, or can't be locked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Locks are missing or don't fit their recipes.
    #[error("{}", stale(.0))]
    Stale(Vec<Stale>),
    /// A lock file can't be understood.
    #[error("lock `{}` is damaged: {}", .0.source.name(), .0.reason)]
    Broken(Box<Place>),
    /// A lock file is not as nodeimg wrote it.
    #[error("lock `{}` was edited by hand", .0.source.name())]
    Edited(Box<Place>),
    /// A lock file has a version that this program does not know.
    #[error("lock `{}` is from a newer nodeimg\nit has version {}, this one knows {VERSION}", .0.source.name(), .0.reason)]
    Newer(Box<Place>),
    /// A lock file can't be read.
    #[error("can't read the locks")]
    Read(#[source] std::io::Error),
    /// A lock file can't be written.
    #[error("can't write the locks")]
    Write(#[source] std::io::Error),
    /// Several lock files are wrong.
    #[error("{} locks can't be used", .0.len())]
    Several(Vec<Error>),
    /// A source of a recipe makes no request.
    #[error("source `{source_name}` of recipe `{recipe}` can't be asked for: {reason}")]
    Request {
        /// The package.
        recipe: Id,
        /// The source.
        source_name: String,
        /// Why.
        reason: String,
    },
    /// A source can't be resolved.
    #[error("can't resolve source `{source_name}` of recipe `{recipe}`")]
    Source {
        /// The package.
        recipe: Id,
        /// The source.
        source_name: String,
        /// What the fetcher says.
        #[source]
        error: Unanswered,
    },
    /// What an image is built on can't be resolved.
    #[error("can't resolve the base of recipe `{recipe}`")]
    Base {
        /// The image.
        recipe: Id,
        /// What the fetcher says.
        #[source]
        error: Unanswered,
    },
    /// A suite can't be pinned.
    #[error("can't resolve suite `{recipe}`")]
    Suite {
        /// The suite.
        recipe: Id,
        /// What the fetcher says.
        #[source]
        error: Unanswered,
    },
    /// A root's packages can't be resolved.
    #[error("can't resolve the {root} root of recipe `{recipe}` on {arch}")]
    Root {
        /// The package or image.
        recipe: Id,
        /// Which of its roots.
        root: super::RootName,
        /// The architecture.
        arch: crate::base::Arch,
        /// What the fetcher says.
        #[source]
        error: Unanswered,
    },
    /// Stopped before the end.
    #[error("stopped")]
    Cancelled,
}

/// Why a request has no answer: a fetcher's error, with who is to act.
#[derive(Debug)]
pub struct Unanswered {
    /// Who is to act.
    pub blame: Blame,
    /// What the fetcher says, with its hints.
    pub error: Box<dyn Diagnostic + Send + Sync>,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<fetch::Error> for Unanswered {
    fn from(error: fetch::Error) -> Self {
        let blame = error.blame();
        match error {
            fetch::Error::Offline { who } => Self { blame, error: Box::new(Offline { who }) },
            error => Self { blame, error: Box::new(error) },
        }
    }
}

/// The network is off, and only it knows: fetching would not help.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{who}` is not in the store, and the network is off")]
#[diagnostic(help(
    "run `nodeimg lock` where there is a network and bring its `lockfiles/` here, or leave out `--offline`"
))]
struct Offline {
    who: String,
}

/// A recipe whose lock does not fit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The recipe.
    pub recipe: Id,
    /// What differs; never empty.
    pub differences: Vec<Difference>,
}

/// A place in a lock file.
#[derive(Debug)]
pub struct Place {
    recipe: Id,
    reason: String,
    source: NamedSource<String>,
    span: Range<usize>,
}

fn stale(recipes: &[Stale]) -> String {
    let missing = |stale: &Stale| stale.differences == [Difference::NoLock];
    match recipes {
        [one] if missing(one) => format!("recipe `{}` has no lock", one.recipe.name),
        [one] => {
            let lines: String = one.differences.iter().map(|difference| format!("\n{difference}")).collect();
            format!("lock is out of date for recipe `{}`{lines}", one.recipe.name)
        }
        all => {
            let title = if all.iter().all(missing) {
                format!("{} recipes have no lock", all.len())
            } else {
                format!("locks are out of date for {} recipes", all.len())
            };
            let one = |stale: &Stale| -> String {
                let line = |difference| format!("\n`{}`: {difference}", stale.recipe);
                stale.differences.iter().map(line).collect()
            };
            all.iter().fold(title, |text, stale| text + &one(stale))
        }
    }
}

impl Error {
    pub(super) fn broken(id: &Id, text: &str, reason: &str, span: Option<Range<usize>>) -> Self {
        let reason = reason.lines().collect::<Vec<_>>().join(", ");
        let span = span.map(|span| narrowed(text, &reason, span));
        Error::Broken(Place::new(id, text, reason, span.unwrap_or(0..0)))
    }

    pub(super) fn edited(id: &Id, text: &str) -> Self {
        let start = text.find("integrity").unwrap_or(0);
        let length = text[start..].lines().next().map_or(0, str::len);
        Error::Edited(Place::new(
            id,
            text,
            "does not fit what stands below".to_owned(),
            start..start + length,
        ))
    }

    pub(super) fn newer(id: &Id, text: &str, version: i64) -> Self {
        let start = text.find("version").unwrap_or(0);
        let length = text[start..].lines().next().map_or(0, str::len);
        Error::Newer(Place::new(id, text, version.to_string(), start..start + length))
    }

    fn place(&self) -> Option<&Place> {
        match self {
            Error::Broken(place) | Error::Edited(place) | Error::Newer(place) => Some(place),
            _ => None,
        }
    }

    fn cause(&self) -> Option<&Unanswered> {
        match self {
            Error::Source { error, .. }
            | Error::Base { error, .. }
            | Error::Suite { error, .. }
            | Error::Root { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Read(_) | Error::Write(_) => Blame::Machine,
            Error::Cancelled => Blame::Cancelled,
            Error::Source { error, .. }
            | Error::Base { error, .. }
            | Error::Suite { error, .. }
            | Error::Root { error, .. } => error.blame,
            _ => Blame::Input,
        }
    }
}

impl Place {
    fn new(id: &Id, text: &str, reason: String, span: Range<usize>) -> Box<Self> {
        let end = span.end.min(text.len());
        let span = span.start.min(end)..end;
        Box::new(Self {
            recipe: id.clone(),
            reason,
            source: NamedSource::new(shown(id), text.to_owned()),
            span,
        })
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let hint = match self {
            Error::Stale(recipes) => {
                let is_orphan = |difference: &Difference| matches!(difference, Difference::NoRecipe(_));
                let orphans = recipes.iter().filter(|stale| stale.differences.iter().all(is_orphan)).count();
                if orphans == recipes.len() {
                    format!("run `nodeimg lock`, which removes {}", if orphans == 1 { "it" } else { "them" })
                } else if orphans > 0 {
                    "run `nodeimg lock` and review the diff".to_owned()
                } else {
                    let names: Vec<_> = recipes.iter().map(|stale| target(&stale.recipe, recipes)).collect();
                    format!("run `nodeimg lock {}` and review the diff", names.join(" "))
                }
            }
            Error::Edited(place) | Error::Broken(place) => {
                let name = &place.recipe.name;
                format!(
                    "take the edit back, or run `nodeimg lock {name}` to resolve it anew and review the diff"
                )
            }
            Error::Newer(_) => "use the nodeimg that wrote it, or a newer one".to_owned(),
            _ => return self.cause().and_then(|cause| cause.error.help()),
        };
        Some(Box::new(hint))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place().map(|place| &place.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place()?;
        let label = match self {
            Error::Broken(_) => "here",
            Error::Newer(_) => "not known",
            _ => "does not fit what stands below",
        };
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            Some(label.to_owned()),
            place.span.clone(),
        ))))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Error::Several(errors) => Some(Box::new(errors.iter().map(|error| error as &dyn Diagnostic))),
            _ => None,
        }
    }
}

/// Narrows a list's place down to the value in it that the reason quotes.
fn narrowed(text: &str, reason: &str, span: Range<usize>) -> Range<usize> {
    let quoted = reason.split('`').nth(1).filter(|quoted| !quoted.is_empty());
    let found = quoted.and_then(|quoted| Some((text.get(span.clone())?.find(quoted)?, quoted.len())));
    found.map_or(span.clone(), |(at, length)| span.start + at..span.start + at + length)
}

/// Names a recipe for the command line; with its role where the name alone says too little.
fn target(id: &Id, all: &[Stale]) -> String {
    let twice = all.iter().any(|other| other.recipe != *id && other.recipe.name == id.name);
    if twice { id.to_string() } else { id.name.to_string() }
}

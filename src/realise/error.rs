//! Why a step did not give its artifact.

use std::fmt;

use miette::Diagnostic;

use crate::base::Blame;
use crate::gate::abi;
use crate::plan::Label;
use crate::sandbox::Exit;
use crate::{fetch, gate, image, node, root, sandbox, store, unpack};

/// Says why a plan was not realised.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// A script ended with something else than 0. `tail` is what it printed last.
    #[error("step `{step}` failed: {exit}{}", tail.iter().map(|line| format!("\n{line}")).collect::<String>())]
    Failed { step: String, exit: Exit, tail: Vec<String> },

    /// A script was stopped, or could not be started.
    #[error("step `{step}` did not end by itself{}", tail.iter().map(|line| format!("\n{line}")).collect::<String>())]
    Sandbox { step: String, tail: Vec<String>, source: sandbox::Error },

    /// The layers' parts disagree about a file.
    #[error("`{one}` and `{other}` don't go into one layer: {conflict}\n  layer: {step}")]
    Conflict { step: String, conflict: Box<store::Conflict>, one: String, other: String },

    /// A step is for a machine that this one is not.
    #[error("step `{step}` runs programs of {arch}, this machine is another")]
    OtherMachine { step: String, arch: crate::base::Arch },

    /// A program's calls don't fit a library that it loads.
    #[error("{}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("\n"))]
    Calls(Vec<abi::Fault>),

    /// A file with calls is not in the source.
    #[error("the source of `{program}` has no `{file}`")]
    NoCalls { program: String, file: String },

    /// What should be a library is none.
    #[error("`{library}` of {of} can't be read as a library: {reason}")]
    NoLibrary { library: String, of: String, reason: String },

    /// A step needs what is not there, and the network is off.
    #[error("step `{step}` needs `{what}`, which is not in the store, and the network is off")]
    Offline { step: String, recipe: String, what: String },

    /// Several steps failed.
    #[error("{} steps failed", .0.len())]
    Several(Vec<Error>),

    /// The image would fail in pods.
    #[error(transparent)]
    Gates(#[from] gate::Faulty),

    #[error("stopped")]
    Cancelled,

    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    #[error(transparent)]
    Root(#[from] root::Error),
    #[error(transparent)]
    Gate(#[from] gate::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Failed { .. } => Blame::Build,
            Error::Sandbox { source, .. } => source.blame(),
            Error::Conflict { .. } | Error::Calls(_) | Error::NoCalls { .. } | Error::NoLibrary { .. } => {
                Blame::Input
            }
            Error::OtherMachine { .. } | Error::Offline { .. } => Blame::Machine,
            Error::Several(errors) => errors.first().map_or(Blame::Build, Error::blame),
            Error::Cancelled => Blame::Cancelled,
            Error::Fetch(error) => error.blame(),
            Error::Unpack(error) => error.blame(),
            Error::Root(error) => error.blame(),
            Error::Gates(_) => Blame::Input,
            Error::Gate(error) => error.blame(),
            Error::Node(error) => error.blame(),
            Error::Image(error) => error.blame(),
            Error::Store(error) => error.blame(),
        }
    }

    /// Names the step that asked, where the network was asked in vain.
    pub(super) fn asked_by(self, step: &Label) -> Self {
        match self {
            Error::Fetch(fetch::Error::Offline { who }) => {
                let (step, recipe) = (step.to_string(), step.recipe.name.to_string());
                Error::Offline { step, recipe, what: who }
            }
            other => other,
        }
    }

    /// Tells whether making the lost object again would help.
    pub fn is_lost(&self) -> bool {
        match self {
            Error::Fetch(fetch::Error::Store(error))
            | Error::Unpack(unpack::Error::Store(error))
            | Error::Root(root::Error::Store(error))
            | Error::Gate(gate::Error::Store(error))
            | Error::Image(image::Error::Store(error))
            | Error::Store(error) => error.is_lost(),
            Error::Several(errors) => errors.iter().any(Error::is_lost),
            _ => false,
        }
    }

    /// The part's own diagnostic, where this error only passes it on.
    fn inner(&self) -> Option<&dyn Diagnostic> {
        match self {
            Error::Fetch(error) => Some(error),
            Error::Unpack(error) => Some(error),
            Error::Root(error) => Some(error),
            Error::Gates(error) => Some(error),
            Error::Gate(error) => Some(error),
            Error::Node(error) => Some(error),
            Error::Image(error) => Some(error),
            Error::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let look = |step: &str| {
            format!(
                "see all it printed with `nodeimg log {step}`, look around in its sandbox with `nodeimg shell {step}`"
            )
        };
        match self {
            Error::Failed { step, .. } => Some(Box::new(look(step))),
            Error::Sandbox { source, .. } => source.help(),
            Error::Conflict { .. } => {
                Some(Box::new("leave the path out of one package, or put the packages into two layers"))
            }
            Error::OtherMachine { arch, .. } => Some(Box::new(format!(
                "build on a machine that is {arch}, or give the project the package `{}`, whose `bin/qemu-{}` runs such \
                 programs here",
                crate::plan::EMULATOR,
                arch.machine()
            ))),
            Error::Offline { recipe, .. } => Some(Box::new(format!(
                "run `nodeimg fetch {recipe}` where there is a network, or leave out `--offline`"
            ))),
            Error::Calls(faults) => {
                faults.first().map(|fault| Box::new(&fault.hint) as Box<dyn fmt::Display>)
            }
            Error::NoCalls { .. } => Some(Box::new(
                "name its files in `calls` of `[build]` as they lie in the source: `/src/handler.c`",
            )),
            _ => self.inner().and_then(Diagnostic::help),
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Error::Several(errors) => Some(Box::new(errors.iter().map(|error| error as &dyn Diagnostic))),
            _ => self.inner().and_then(Diagnostic::related),
        }
    }
}

//! Gates: what would only fail in a pod is found in the image's files, and said in one sentence.
//!
//! In goes an [`Image`]: the tree that its containers see, where containerd's configuration is, and its description
//! ([`crate::node::Node`]) where there is one. Out comes a [`Report`]: which gates ran, which were left out
//! and why, and what each found. A build runs the gates as a step of its plan and fails; `nodeimg lint` shows the report
//! for any image.
//!
//! A gate is a pure function over a [`View`] of the image and stands in a file of its own; [`GATES`] is the only list.
//! One thing is run: the image's own containerd prints the configuration that it makes of its files ([`mod@dump`]), in the
//! sandbox, in a root of the image's own files. Never: network, a link followed out of the image, a program of the image
//! outside of the sandbox.

pub mod abi;
mod annotations;
mod classes;
mod config;
mod containerd;
mod dbus;
mod dump;
mod elf;
mod libraries;
mod loader;
mod programs;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Arch, Blame, Cancel, GuestPath};
use crate::node;
use crate::node::Node;
use crate::sandbox::{self, Sandbox};
use crate::store::{self, Store, Tree};
pub use view::View;

/// The version of the gates: a change of what they find raises it.
pub const RULES: u32 = 1;

/// Where containerd's configuration is, if nobody says otherwise.
pub const CONFIG: &str = "/etc/containerd/config.toml";

/// One gate.
pub struct Gate {
    /// Its name.
    pub name: &'static str,
    /// What it is about, for people.
    pub about: &'static str,
    /// What looks.
    check: fn(&View<'_>) -> Result<Checked, Error>,
}

/// Every gate, in the order that findings are shown.
pub const GATES: [&Gate; 7] = [
    &config::GATE,
    &containerd::GATE,
    &programs::GATE,
    &libraries::GATE,
    &dbus::GATE,
    &annotations::GATE,
    &classes::GATE,
];

/// What a gate came to.
enum Checked {
    Found(Vec<Finding>),
    /// It could not look, and why.
    LeftOut(String),
}

impl Checked {
    /// Gives a finding for each of these.
    fn all(gate: &Gate, found: impl IntoIterator<Item = (String, String, String)>) -> Self {
        let finding =
            |(subject, message, hint)| Finding { gate: gate.name.to_owned(), subject, message, hint };
        Checked::Found(found.into_iter().map(finding).collect())
    }
}

/// What would fail, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(help("{hint}"))]
pub struct Finding {
    /// The gate that found it.
    pub gate: String,
    /// What it is about: a handler, or a file.
    pub subject: String,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A gate that ran, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ran {
    /// Its name.
    pub gate: String,
    /// Why it was left out.
    pub left_out: Option<String>,
}

/// What the gates came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The handlers of the image.
    pub handlers: Vec<String>,
    /// The gates.
    pub gates: Vec<Ran>,
    /// What was found, gate by gate.
    pub findings: Vec<Finding>,
}

/// An image that is looked at.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// What its containers see.
    pub tree: &'a Tree,
    /// The machine that it is for, where that is known.
    pub arch: Option<Arch>,
    /// containerd's configuration.
    pub config: &'a GuestPath,
    /// What it is to be, for images of a recipe.
    pub node: Option<&'a Node>,
}

/// Runs every gate.
pub fn run(
    image: &Image<'_>,
    store: &Store,
    sandbox: &dyn Sandbox,
    cancel: &Cancel,
) -> Result<Report, Error> {
    let view = View::new(image, store, |view| dump::dump(view, sandbox, cancel))?;
    report(&view)
}

fn report(view: &View<'_>) -> Result<Report, Error> {
    let (mut gates, mut findings) = (Vec::new(), Vec::new());
    for gate in GATES {
        let left_out = match (gate.check)(view)? {
            Checked::Found(found) => {
                findings.extend(found);
                None
            }
            Checked::LeftOut(why) => Some(why),
        };
        gates.push(Ran { gate: gate.name.to_owned(), left_out });
    }
    Ok(Report { handlers: view.handlers().keys().cloned().collect(), gates, findings })
}

/// Says why an image could not be looked at.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// There is nothing for the gates to look at.
    #[error("the image is no node: it has no `{config}`")]
    #[diagnostic(help("gates are for images that run containerd"))]
    NoNode { config: GuestPath },

    /// Printing the configuration was stopped, or could not be started.
    #[error("the image's containerd could not be asked for its configuration")]
    Sandbox { source: sandbox::Error },

    #[error("stopped")]
    Cancelled,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NoNode { .. } => Blame::Input,
            Error::Sandbox { source } => source.blame(),
            Error::Cancelled => Blame::Cancelled,
            Error::Node(error) => error.blame(),
            Error::Store(error) => error.blame(),
        }
    }
}

/// A node image that would fail in pods.
#[derive(Debug)]
pub struct Faulty {
    /// Its name.
    pub image: String,
    /// What the gates found.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image `{}` has {} faults that pods would meet", self.image, self.findings.len())
    }
}

impl std::error::Error for Faulty {}

impl miette::Diagnostic for Faulty {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.findings.iter().map(|finding| finding as &dyn miette::Diagnostic)))
    }
}

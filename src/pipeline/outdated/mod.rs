//! What could be newer: upstreams' releases, images that others are built on, Debian packages; and which of what is
//! there has known holes.
//!
//! Nothing is changed and nothing is downloaded but lists ([`upstream`], [`base`], [`system`]). Each question is by
//! itself: what has no answer is told ([`Unasked`]) and takes nothing from the others. Without the network what
//! files of Debian's tracker say is left ([`security`]): of packages by their own word, of sources by where Debian keeps them.

mod base;
mod security;
mod system;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Error, registry};
use crate::base::{Arch, Blame, Name, Sha256};
use crate::fetch::debian::{Finding, PackagePin};
use crate::fetch::{self, Context};
use crate::lock::{self, Elsewhere, Locked, LockedRoot};
use crate::recipe::{Id, Project};

/// Questions that are asked at once.
const THREADS: usize = 4;

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The recipes.
    pub project: &'a Project,
    /// Those of them that count, with all that they need.
    pub targets: &'a [Id],
    /// The machine whose packages are looked at.
    pub arch: Arch,
    /// Files of Debian's security tracker.
    pub tracker: &'a [PathBuf],
}

/// What could be newer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outdated {
    /// Sources, in the order of the first recipe that has each.
    pub sources: Vec<NewerSource>,
    /// Images that others are built on.
    pub bases: Vec<NewerBase>,
    /// Suites with newer packages.
    pub suites: Vec<NewerSuite>,
    /// Source packages with known holes that a newer version has not.
    pub security: Vec<Vulnerable>,
    /// What was not asked or has no answer.
    pub unasked: Vec<Unasked>,
}

/// A source of which upstream has newer versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerSource {
    /// The packages that have it.
    pub recipes: Vec<Id>,
    /// The package, the source or the crate.
    pub name: String,
    /// What has the version.
    pub kind: Kind,
    /// The version that there is.
    pub current: String,
    /// The newest.
    pub newest: String,
    /// The newest that differs in its last number only, where that is another one.
    pub patch: Option<String>,
    /// Where upstream lists them.
    pub place: String,
}

/// Where a source's version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// In the recipe's `version`.
    Recipe,
    /// In the source itself.
    Source,
    /// In a `Cargo.lock` beside the recipe.
    Crate,
}

/// An image that others are built on, of which its registry has a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerBase {
    /// The images that are built on it.
    pub recipes: Vec<Id>,
    /// Registry, repository and tag.
    pub name: String,
    /// The newest tag.
    pub newest: Option<String>,
    /// The newest that differs in its last number only, where that is another one.
    pub patch: Option<String>,
    /// What the tag names now, where that is another image than the locked one.
    pub moved: Option<Sha256>,
}

/// A suite that has newer packages than a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerSuite {
    /// The suite's recipe.
    pub suite: Name,
    /// Its moment.
    pub snapshot: String,
    /// A moment that has them.
    pub newest: String,
    /// The packages, by source package.
    pub packages: Vec<NewerPackage>,
}

/// Debian packages of one source package, of which their suite has another version now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerPackage {
    /// The source package.
    pub source: String,
    /// The packages' names.
    pub packages: BTreeSet<String>,
    /// The locked version, without its epoch.
    pub locked: String,
    /// The newest, without its epoch; nothing where the suite has the package no more.
    pub newest: Option<String>,
    /// What it is a part of.
    pub places: BTreeSet<Place>,
}

/// A source package, or an upstream's source, with known holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vulnerable {
    /// The source package.
    pub source: String,
    /// The version that there is.
    pub version: String,
    /// The release that has the fixes; nothing for an upstream's source.
    pub release: Option<String>,
    /// The issues. Those without a fix are there as well.
    pub findings: Vec<Finding>,
    /// The Debian packages, by name, that were built from it.
    pub packages: BTreeSet<String>,
    /// What it is a part of.
    pub places: BTreeSet<Place>,
}

/// What a file is a part of. Orders images first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An image's first layer.
    System(Name),
    /// A package, by its own source.
    Source(Name),
    /// A root that a package is built or tested in.
    Root(Name),
}

impl Place {
    /// Tells whether it is in what is made, not in what makes it.
    pub fn is_shipped(&self) -> bool {
        !matches!(self, Place::Root(_))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::System(name) | Place::Source(name) => name.fmt(f),
            Place::Root(name) => write!(f, "{name} (build)"),
        }
    }
}

/// Something that was not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    /// What it is: `crun`, `etcd: files`, `suites/bookworm`.
    pub who: String,
    /// Why.
    pub why: String,
    /// Whether an answer was expected: the network or a server failed.
    pub is_failure: bool,
}

impl Outdated {
    /// Tells whether something could be newer.
    pub fn is_found(&self) -> bool {
        let is_fixed =
            |vulnerable: &Vulnerable| vulnerable.findings.iter().any(|finding| finding.fixed.is_some());
        !self.sources.is_empty()
            || !self.bases.is_empty()
            || !self.suites.is_empty()
            || self.security.iter().any(is_fixed)
    }
}

/// Says why nothing could be asked at all.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("without the network nobody says what is newer")]
#[diagnostic(help(
    "leave out `--offline`, or name files of Debian's security tracker: `nodeimg outdated --offline --tracker FILE`"
))]
pub struct Nobody;

/// The Debian packages of all roots of one suite.
struct Used<'a> {
    snapshot: &'a str,
    files: BTreeMap<&'a PackagePin, BTreeSet<Place>>,
}

/// Finds out what could be newer.
pub fn outdated(question: &Question<'_>, context: &Context<'_>) -> Result<Outdated, Error> {
    let Question { project, arch, .. } = *question;
    let is_online = context.network.is_allowed();
    if !is_online && question.tracker.is_empty() {
        return Err(Nobody.into());
    }
    let targets = lock::used(project, question.targets);
    let locked = lock::load(project, &targets, &Elsewhere::new())?;
    let used = used(&locked, arch);
    let mut outdated = Outdated::default();
    if is_online {
        match registry::find_pypi(|| Ok(registry::is_asked(project, question.targets)), context) {
            Err(error) if error.blame() == Blame::Cancelled => return Err(error),
            // Whoever needs it says that it is not there.
            _ => {}
        }
        upstream::ask(question, &mut outdated, context)?;
        base::ask(&locked, &mut outdated, context)?;
        system::ask(project, &used, arch, &mut outdated, context)?;
    }
    if !question.tracker.is_empty() {
        let tracker = security::Asked { question, locked: &locked, used: &used };
        outdated.security = tracker.vulnerable(&mut outdated.unasked, context)?;
    }
    Ok(outdated)
}

/// Gathers the packages of all roots by suite.
fn used(locked: &Locked, arch: Arch) -> BTreeMap<&Name, Used<'_>> {
    let systems = locked
        .images
        .iter()
        .filter_map(|(name, image)| Some((Place::System(name.clone()), image.system.as_ref()?)));
    let roots = locked.packages.iter().flat_map(|(name, package)| {
        let others = [&package.cross, &package.target, &package.test].into_iter().flatten();
        std::iter::once(&package.build).chain(others).map(|root| (Place::Root(name.clone()), root))
    });
    let mut used: BTreeMap<&Name, Used<'_>> = BTreeMap::new();
    for (place, root) in systems.chain(roots) {
        let LockedRoot { suite, snapshot, .. } = root;
        let suite = used.entry(suite).or_insert_with(|| Used { snapshot, files: BTreeMap::new() });
        for file in root.on(arch) {
            suite.files.entry(file).or_default().insert(place.clone());
        }
    }
    used
}

/// Keeps an answer, or says why there is none. A stop is no answer.
fn kept<T>(
    answer: Result<T, fetch::Error>,
    who: impl FnOnce() -> String,
    unasked: &mut Vec<Unasked>,
) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.blame() == Blame::Cancelled => Err(error.into()),
        Err(error) => {
            unasked.push(Unasked { who: who(), why: told(error), is_failure: true });
            Ok(None)
        }
    }
}

/// Says why there is no answer; where no place has given one, what each said, a line each.
fn told(error: fetch::Error) -> String {
    match error {
        fetch::Error::Nowhere { tried, .. } if !tried.is_empty() => {
            let tried: Vec<_> = tried.into_iter().map(|(place, why)| format!("{place}: {why}")).collect();
            tried.join("\n")
        }
        error => error.to_string(),
    }
}

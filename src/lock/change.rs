//! What locking changed, one line each.

use std::collections::BTreeMap;
use std::fmt;

use super::Republished;
use super::file::{File, Platform, SourceEntry};
use crate::fetch::debian::PackagePin;
use crate::recipe::{Id, Role};

/// One thing that a new lock has and the old one had not, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The recipe.
    pub recipe: Id,
    /// What changed: "source `crun`", "build root amd64"; empty for the lock as a whole.
    pub what: String,
    /// How.
    pub step: Step,
}

/// How something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is new; the text says what it is now.
    Added(String),
    /// It is gone; the text says what it was.
    Removed(String),
    /// It went from the first to the second.
    Changed(String, String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.recipe.name)?;
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        match &self.step {
            Step::Added(now) => write!(f, "added {now}"),
            Step::Removed(before) => write!(f, "removed {before}"),
            Step::Changed(before, now) => write!(f, "{before} → {now}"),
        }
    }
}

/// Tells that a recipe's lock goes, because the recipe is gone.
pub(super) fn gone(recipe: Id) -> Change {
    Change { recipe, what: String::new(), step: Step::Removed("lock, its recipe is gone".to_owned()) }
}

/// Compares two locks of a recipe.
pub(super) fn changes(recipe: &Id, old: Option<&File>, new: &File) -> Vec<Change> {
    let change = |what: String, step| Change { recipe: recipe.clone(), what, step };
    let Some(old) = old else { return vec![change(String::new(), Step::Added(summary(recipe, new)))] };
    let mut found = Vec::new();
    if let (Some(before), Some(now)) = (&old.suite, &new.suite) {
        if before.request.snapshot != now.request.snapshot {
            let step = Step::Changed(before.request.snapshot.clone(), now.request.snapshot.clone());
            found.push(change("snapshot".to_owned(), step));
        } else if before != now {
            let release =
                |entry: &super::file::SuiteEntry| short(&super::suite_release(&entry.pin).to_string());
            found.push(change("release".to_owned(), Step::Changed(release(before), release(now))));
        }
    }
    let base = |file: &File| file.base.as_ref().map(|base| short(&base.pin.digest.oci()));
    if old.base.as_ref().map(|base| &base.pin) != new.base.as_ref().map(|base| &base.pin) {
        found.push(change(
            "base".to_owned(),
            match (base(old), base(new)) {
                (Some(before), Some(now)) if before == now => {
                    Step::Changed(before, "with platforms".to_owned())
                }
                (Some(before), Some(now)) => Step::Changed(before, now),
                (Some(before), None) => Step::Removed(before),
                (None, now) => Step::Added(now.unwrap_or_default()),
            },
        ));
    }
    let (before, now) = (sources(old), sources(new));
    for key in before.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (name, platform) = key;
        let what = if *platform == Platform::All {
            format!("source {name}")
        } else {
            format!("source {name} {}", platform.name())
        };
        match (before.get(key), now.get(key)) {
            (None, Some(now)) => found.push(change(what, Step::Added(source(now)))),
            (Some(before), None) => found.push(change(what, Step::Removed(source(before)))),
            (Some(before), Some(now)) if before != now => {
                let step = match (source(before), source(now)) {
                    // The same bytes, on another word.
                    (same, other) if same == other => Step::Changed(vouched(before), vouched(now)),
                    (before, now) => Step::Changed(before, now),
                };
                found.push(change(what, step));
            }
            _ => {}
        }
    }
    for name in old.root.keys().chain(new.root.keys()).collect::<std::collections::BTreeSet<_>>() {
        for arch in crate::base::Arch::ALL {
            let packages = |file: &File| -> BTreeMap<String, String> {
                let pins = file.root.get(name).and_then(|root| root.pin.get(&arch));
                let name = |pin: &PackagePin| (pin.package().to_owned(), pin.version().to_owned());
                pins.into_iter().flatten().map(name).collect()
            };
            let (before, now) = (packages(old), packages(new));
            let what = format!("{name} root {arch}");
            for package in before.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>() {
                let step = match (before.get(package), now.get(package)) {
                    (None, Some(now)) => Step::Added(format!("{package} {now}")),
                    (Some(before), None) => Step::Removed(format!("{package} {before}")),
                    (Some(before), Some(now)) if before != now => {
                        Step::Changed(format!("{package} {before}"), now.clone())
                    }
                    _ => continue,
                };
                found.push(change(what.clone(), step));
            }
        }
    }
    if old.assembly != new.assembly {
        let text = |assembly: Option<u32>| assembly.map_or("none".to_owned(), |number| number.to_string());
        found.push(change("assembly".to_owned(), Step::Changed(text(old.assembly), text(new.assembly))));
    }
    if found.is_empty() {
        found.push(change(String::new(), Step::Changed("requests".to_owned(), "same pins".to_owned())));
    }
    found
}

/// Finds the sources that are asked for as before and are other bytes.
pub(super) fn republished(recipe: &Id, old: Option<&File>, new: &File) -> Vec<Republished> {
    let before = old.map(sources).unwrap_or_default();
    let other = |(key, now): (&(String, Platform), &&SourceEntry)| {
        let before = before.get(key).filter(|before| before.request == now.request)?;
        let (before, request) = (before.pin.sha256, now.request.clone());
        let now = now.pin.sha256;
        (before != now).then(|| Republished { recipe: recipe.clone(), request, before, now })
    };
    let mut found: Vec<_> = sources(new).iter().filter_map(other).collect();
    // One file for several machines is told once.
    found.dedup();
    found
}

fn sources(file: &File) -> BTreeMap<(String, Platform), &SourceEntry> {
    let platforms = file.source.iter().flat_map(|(name, platforms)| {
        platforms.iter().map(move |(platform, entry)| ((name.to_string(), *platform), entry))
    });
    platforms.collect()
}

/// Says what a new lock holds.
fn summary(recipe: &Id, file: &File) -> String {
    let mut parts = Vec::new();
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    if let Some(suite) = &file.suite {
        parts.push(format!("snapshot {}", suite.request.snapshot));
    }
    if recipe.role == Role::Package {
        parts.push(count(file.source.len(), "source"));
    }
    for (name, root) in &file.root {
        let packages = root.pin.iter().map(|(arch, pins)| format!("{} on {arch}", pins.len()));
        parts.push(format!("{name} root with {} packages", packages.collect::<Vec<_>>().join(", ")));
    }
    if let Some(base) = &file.base {
        parts.push(format!("base {} at {}", base.request.oci, short(&base.pin.digest.oci())));
    }
    if let Some(assembly) = file.assembly {
        parts.push(format!("assembly {assembly}"));
    }
    format!("lock: {}", parts.join(", "))
}

/// Says what a source is pinned to: its version where it has one, and the start of its hash.
fn source(entry: &SourceEntry) -> String {
    let hash = format!("sha256 {}", short(&entry.pin.sha256.to_string()));
    entry.version.as_ref().map_or(hash.clone(), |version| format!("{version} ({hash})"))
}

/// Says on whose word a source is what it is.
fn vouched(entry: &SourceEntry) -> String {
    match (entry.pin.signer, entry.pin.trust) {
        (Some(key), _) => format!("signed by {key}"),
        (None, Some(_)) => "trusted on first use".to_owned(),
        (None, None) => source(entry),
    }
}

fn short(hash: &str) -> String {
    format!("{}…", hash.get(..12).unwrap_or(hash))
}

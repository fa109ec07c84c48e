//! How a lock differs from its recipe, told without the network.

use std::collections::BTreeSet;
use std::fmt;

use super::Error;
use super::file::{File, Platform, RootName};
use super::wanted::{Asked, Wanted, requests};
use crate::base::{Arch, Name, Sha256};
use crate::recipe::{Id, Project};

/// One thing that a recipe says and its lock does not, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The recipe has no lock file.
    NoLock,
    /// A key has another value.
    Field {
        /// What the key belongs to: "source `crun`", or nothing for the recipe itself.
        of: Option<String>,
        /// The key.
        key: String,
        /// The value in the recipe.
        recipe: Option<String>,
        /// The value in the lock.
        lock: Option<String>,
    },
    /// The recipe has something that the lock has not.
    NotInLock(String),
    /// The lock has something that the recipe has not.
    NotInRecipe(String),
    /// A Debian package was added to a root's list.
    Added(RootName, String),
    /// A Debian package was taken off a root's list.
    Removed(RootName, String),
    /// A suite has moved to another moment.
    OtherSnapshot(Name),
    /// A suite was locked anew, so that its packages may be others.
    OtherRelease(Name),
    /// The recipe of a lock file is gone.
    NoRecipe(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |root: &RootName| match root {
            RootName::Test => "test packages",
            RootName::Cross => "cross packages",
            RootName::Target => "cross libraries",
            RootName::Build | RootName::System => "packages",
        };
        match self {
            Difference::NoLock => f.write_str("not locked yet"),
            Difference::Field { of, key, recipe, lock } => {
                if let Some(of) = of {
                    write!(f, "{of}: ")?;
                }
                match (recipe, lock) {
                    (Some(recipe), Some(lock)) => {
                        write!(f, "`{key}` is `{recipe}` in the recipe, `{lock}` in the lock")
                    }
                    (Some(recipe), None) => write!(f, "`{key}` is `{recipe}` in the recipe, not in the lock"),
                    (None, lock) => {
                        write!(
                            f,
                            "`{key}` is `{}` in the lock, not in the recipe",
                            lock.as_deref().unwrap_or("")
                        )
                    }
                }
            }
            Difference::NotInLock(what) => write!(f, "{what}: not in the lock"),
            Difference::NotInRecipe(what) => write!(f, "{what}: no longer in the recipe"),
            Difference::Added(root, package) => write!(f, "{}: `{package}` added", list(root)),
            Difference::Removed(root, package) => write!(f, "{}: `{package}` removed", list(root)),
            Difference::OtherSnapshot(suite) => write!(f, "suite `{suite}` is at another snapshot"),
            Difference::OtherRelease(suite) => write!(f, "suite `{suite}` was locked anew"),
            Difference::NoRecipe(file) => write!(f, "`{file}` has no recipe any more"),
        }
    }
}

/// Compares a lock with what its recipe wants. `release` gives the hash of a suite's pin, if it is locked.
pub(super) fn compare(
    project: &Project,
    id: &Id,
    wanted: &Wanted,
    lock: Option<&File>,
    release: &dyn Fn(&Name) -> Option<Sha256>,
) -> Result<Vec<Difference>, Error> {
    let Some(lock) = lock else { return Ok(vec![Difference::NoLock]) };
    let mut found = Vec::new();
    suite(wanted, lock, &mut found);
    sources(project, id, wanted, lock, &mut found)?;
    roots(wanted, lock, release, &mut found);
    match (&wanted.base, &lock.base) {
        (Some(wanted), Some(locked)) => {
            fields(Some("base"), &table(wanted), &table(&locked.request), &mut found);
        }
        (Some(_), None) => found.push(Difference::NotInLock("base".to_owned())),
        (None, Some(_)) => found.push(Difference::NotInRecipe("base".to_owned())),
        (None, None) => {}
    }
    if wanted.image && lock.assembly.is_none() {
        found.push(Difference::NotInLock("`assembly`".to_owned()));
    }
    Ok(found)
}

fn suite(wanted: &Wanted, lock: &File, found: &mut Vec<Difference>) {
    let (wanted, locked) = (wanted.suite.as_ref(), lock.suite.as_ref().map(|suite| &suite.request));
    let (Some(wanted), Some(locked)) = (wanted, locked) else {
        if wanted.is_some() {
            found.push(Difference::NotInLock("suite".to_owned()));
        }
        return;
    };
    fields(None, &table(wanted), &table(locked), found);
}

fn sources(
    project: &Project,
    id: &Id,
    wanted: &Wanted,
    lock: &File,
    found: &mut Vec<Difference>,
) -> Result<(), Error> {
    for (name, platforms) in &wanted.sources {
        let what = format!("source `{name}`");
        let Some(locked) = lock.source.get(name) else {
            found.push(Difference::NotInLock(what));
            continue;
        };
        if !platforms.keys().eq(locked.keys()) {
            let list =
                |keys: Vec<&Platform>| keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ");
            found.push(Difference::Field {
                of: Some(what),
                key: "platforms".to_owned(),
                recipe: Some(list(platforms.keys().collect())),
                lock: Some(list(locked.keys().collect())),
            });
            continue;
        }
        for (platform, asked) in platforms {
            let entry = &locked[platform];
            if asked.request == entry.request {
                continue;
            }
            let what = if *platform == Platform::All {
                what.clone()
            } else {
                format!("{what} on {}", platform.name())
            };
            // What would the recipe ask for, if it had the lock's version still?
            let then = then(project, id, name, *platform, asked, entry.version.as_deref())?;
            if let Some(before) =
                entry.version.as_ref().filter(|before| asked.version.as_ref() != Some(before))
            {
                found.push(Difference::Field {
                    of: Some(what.clone()),
                    key: "version".to_owned(),
                    recipe: Some(project.packages[&id.name].version.clone()),
                    lock: Some(before.clone()),
                });
            }
            fields(Some(&what), &table(&then.request), &table(&entry.request), found);
        }
    }
    for name in lock.source.keys().filter(|name| !wanted.sources.contains_key(*name)) {
        found.push(Difference::NotInRecipe(format!("source `{name}`")));
    }
    Ok(())
}

fn then(
    project: &Project,
    id: &Id,
    name: &Name,
    platform: Platform,
    asked: &Asked,
    version: Option<&str>,
) -> Result<Asked, Error> {
    let package = &project.packages[&id.name];
    let source = package.sources().find(|(source, _)| *source == name).map(|(_, source)| source);
    let (Some(source), Some(version)) = (source, version) else { return Ok(asked.clone()) };
    let mut then = requests(package, name, &source.fetch, version)?;
    Ok(then.remove(&platform).unwrap_or_else(|| asked.clone()))
}

fn roots(
    wanted: &Wanted,
    lock: &File,
    release: &dyn Fn(&Name) -> Option<Sha256>,
    found: &mut Vec<Difference>,
) {
    let mut suites = BTreeSet::new();
    for (name, root) in &wanted.roots {
        let Some(entry) = lock.root.get(name) else {
            found.push(Difference::NotInLock(format!("{name} root")));
            continue;
        };
        let locked = &entry.request;
        let missing = |of: &[String], from: &[String]| -> Vec<String> {
            of.iter().filter(|package| !from.contains(package)).cloned().collect()
        };
        let build = wanted.roots.get(&RootName::Build).filter(|_| *name == RootName::Test);
        // What the build's list tells already is not told again for the test's.
        let told = |package: &String| {
            build.is_none_or(|_| {
                let before = lock.root.get(&RootName::Build).map_or(&[][..], |entry| &entry.request.packages);
                let now = build.map_or(&[][..], |build| &build.packages);
                before.contains(package) == now.contains(package)
            })
        };
        let added = missing(&root.packages, &locked.packages);
        found.extend(added.into_iter().filter(told).map(|package| Difference::Added(*name, package)));
        let removed = missing(&locked.packages, &root.packages);
        found.extend(removed.into_iter().filter(told).map(|package| Difference::Removed(*name, package)));
        if locked.suite != root.suite {
            found.push(Difference::Field {
                of: Some(format!("{name} root")),
                key: "suite".to_owned(),
                recipe: Some(root.suite.to_string()),
                lock: Some(locked.suite.to_string()),
            });
        } else if !entry.pin.keys().eq(&root.archs) {
            let list =
                |archs: Vec<&Arch>| archs.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ");
            found.push(Difference::Field {
                of: Some(format!("{name} root")),
                key: "platforms".to_owned(),
                recipe: Some(list(root.archs.iter().collect())),
                lock: Some(list(entry.pin.keys().collect())),
            });
        } else if locked.snapshot != root.snapshot {
            suites.insert(Difference::OtherSnapshot(root.suite.clone()));
        } else if release(&root.suite).is_some_and(|release| release != locked.release) {
            suites.insert(Difference::OtherRelease(root.suite.clone()));
        }
    }
    found.extend(suites);
    for name in lock.root.keys().filter(|name| !wanted.roots.contains_key(name)) {
        found.push(Difference::NotInRecipe(format!("{name} root")));
    }
}

/// Compares two requests key by key; tables inside are gone into.
fn fields(of: Option<&str>, recipe: &toml::Table, lock: &toml::Table, found: &mut Vec<Difference>) {
    fn flatten(table: &toml::Table, prefix: &str, out: &mut std::collections::BTreeMap<String, String>) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                toml::Value::Table(inner) => flatten(inner, &key, out),
                toml::Value::String(text) => _ = out.insert(key, text.clone()),
                other => _ = out.insert(key, other.to_string()),
            }
        }
    }
    let (mut now, mut before) = Default::default();
    flatten(recipe, "", &mut now);
    flatten(lock, "", &mut before);
    let keys: BTreeSet<_> = now.keys().chain(before.keys()).collect();
    for key in keys.into_iter().filter(|key| now.get(*key) != before.get(*key)) {
        found.push(Difference::Field {
            of: of.map(str::to_owned),
            key: key.clone(),
            recipe: now.get(key).cloned(),
            lock: before.get(key).cloned(),
        });
    }
}

fn table<T: serde::Serialize>(request: &T) -> toml::Table {
    toml::Table::try_from(request).expect("a request is a table")
}

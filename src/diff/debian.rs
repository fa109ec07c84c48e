//! Debian packages of two roots, out of dpkg's own list.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Detail;
use crate::base::GuestPath;
use crate::store::{self, Node, Store, Tree};

/// dpkg's list.
pub const STATUS: &str = "/var/lib/dpkg/status";

/// Where dpkg notes whose a file is.
const INFO: &str = "/var/lib/dpkg/info";

/// Where roots without dpkg have a file for each package.
const PARTS: &str = "/var/lib/dpkg/status.d/";

/// A package that two roots have in different ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name, with the architecture where it is another one than most have.
    pub name: String,
    /// The version before; nothing where it is new.
    pub before: Option<String>,
    /// The version now; nothing where it is gone.
    pub now: Option<String>,
}

/// Tells whether a file lists packages.
pub(super) fn is_status(path: &str) -> bool {
    path == STATUS || path.strip_prefix(PARTS).is_some_and(|name| !name.ends_with(".md5sums"))
}

/// Finds the lists of a root.
pub(super) fn lists(tree: &Tree) -> Vec<GuestPath> {
    let path = |text: &str| GuestPath::new(text).expect("a constant path");
    let folder = path(PARTS.trim_end_matches('/'));
    let parts = tree.dir(&folder).into_iter().flat_map(|dir| dir.entries.keys());
    let parts = parts.map(|name| folder.join(name)).filter(|path| is_status(path.as_str()));
    [path(STATUS)].into_iter().chain(parts).collect()
}

/// Tells which files belong to packages that came, went or changed: path to package.
pub(super) fn owners(
    store: &Store,
    packages: &[Package],
    trees: [&Tree; 2],
) -> Result<BTreeMap<String, String>, store::Error> {
    let mut owners = BTreeMap::new();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let folder = GuestPath::new(INFO).expect("a constant path");
    for tree in trees {
        let Some(info) = tree.dir(&folder) else { continue };
        for (file, node) in &info.entries {
            let Some((stem, kind)) = file.as_str().rsplit_once('.') else { continue };
            let package = stem.split(':').next().unwrap_or(stem);
            if !names.contains(package) && !names.contains(stem) {
                continue;
            }
            owners.insert(folder.join(file).to_string(), package.to_owned());
            let Node::File { digest, .. } = node else { continue };
            if kind != "list" {
                continue;
            }
            let list = match store.read_blob(digest) {
                Ok(list) => list,
                Err(error) if error.is_lost() => continue,
                Err(error) => return Err(error),
            };
            for path in String::from_utf8_lossy(&list).lines() {
                // Packages of before the union of `/` and `/usr` name a link's side.
                let is_moved = ["/bin/", "/sbin/", "/lib"].iter().any(|dir| path.starts_with(dir));
                if is_moved {
                    owners.entry(format!("/usr{path}")).or_insert_with(|| package.to_owned());
                }
                owners.entry(path.to_owned()).or_insert_with(|| package.to_owned());
            }
        }
    }
    Ok(owners)
}

/// Compares two lists.
pub fn packages(before: &[u8], now: &[u8]) -> Vec<Package> {
    let (mut before, now) = (installed(before), installed(now));
    let mut found = Vec::new();
    for (name, version) in &now {
        let old = before.remove(name);
        if old.as_ref() != Some(version) {
            found.push(Package { name: name.clone(), before: old, now: Some(version.clone()) });
        }
    }
    found.extend(before.into_iter().map(|(name, old)| Package { name, before: Some(old), now: None }));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Reads the installed packages: name to version.
fn installed(status: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(status);
    let mut found = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            let mut lines = paragraph.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        // Files of `status.d` say nothing of that.
        let is_there = field("Status").is_none_or(|status| status.ends_with(" installed"));
        if is_there {
            // The same package may be there for two machines.
            let name = match found.contains_key(name) {
                true => format!("{name}:{}", field("Architecture").unwrap_or("?")),
                false => name.to_owned(),
            };
            found.insert(name, version.to_owned());
        }
    }
    found
}

pub(super) fn details(before: &[u8], now: &[u8]) -> Vec<Detail> {
    let detail = |package: Package| Detail::value(package.name, package.before, package.now);
    packages(before, now).into_iter().map(detail).collect()
}

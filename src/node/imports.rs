//! The files that containerd's configuration imports: whether runtimes in the importing file still count.
//!
//! containerd reads imported files after the importing one (`LoadConfig`). 1.x lets a plugin's section of an imported
//! file replace the whole section, 2.x merges the two. So an imported file may say what it likes as long as it is
//! silent about the CRI plugin.

use std::collections::BTreeSet;

use super::containerd::{Config, Imported};
use super::pattern::matches;
use super::{Below, Error};
use crate::base::{GuestPath, Name};

/// Errs if what `config`, the content of `path`, imports would hide its runtimes or keep containerd from starting.
pub(super) fn check(path: &GuestPath, config: &Config, below: Below<'_>) -> Result<(), Error> {
    let mut seen = BTreeSet::from([path.clone()]);
    let mut open = vec![(path.clone(), config.imports()?)];
    while let Some((parent, patterns)) = open.pop() {
        for pattern in patterns {
            let missing = || Error::NoImport { path: parent.to_string(), import: pattern.clone() };
            for import in files(&parent, &pattern, below) {
                let import = import.ok_or_else(missing)?;
                if !seen.insert(import.clone()) {
                    continue;
                }
                let text = (below.read)(&import).ok_or_else(missing)?;
                let imported = Imported::parse(import.as_str(), &text)?;
                let (path, import_name) = (path.to_string(), import.to_string());
                if imported.sets_cri {
                    return Err(Error::ImportedRuntimes { path, import: import_name });
                }
                if imported.version > config.version() {
                    let version = imported.version;
                    return Err(Error::ImportedVersion { path, import: import_name, version });
                }
                open.push((import, imported.imports));
            }
        }
    }
    Ok(())
}

/// Finds the files that an import names: one, which may be missing, or all that a pattern with a `*` matches. Nothing
/// in the place of a path that leads nowhere. (`resolveImports`: cleaned, relative to the importing file's folder.)
fn files(parent: &GuestPath, import: &str, below: Below<'_>) -> Vec<Option<GuestPath>> {
    let folder = parent.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if import.starts_with('/') { import.to_owned() } else { format!("{folder}/{import}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    if !path.contains('*') {
        return vec![GuestPath::new(&format!("/{}", parts.join("/"))).ok()];
    }
    let mut found = vec![GuestPath::root()];
    for (depth, part) in parts.iter().enumerate() {
        let is_last = depth + 1 == parts.len();
        found = found
            .iter()
            .flat_map(|folder| {
                let names = (below.list)(folder).into_iter().filter(|name| matches(part, name) == Some(true));
                names.filter_map(|name| Some(folder.join(&Name::new(&name).ok()?))).collect::<Vec<_>>()
            })
            .filter(|path| !is_last || (below.read)(path).is_some())
            .collect();
    }
    found.into_iter().map(Some).collect()
}

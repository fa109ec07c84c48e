//! Unpacked crates as one tree of cargo's directory sources.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use toml::{Table, Value};

use super::manifest::{alone, package_key};
use super::{Error, REGISTRY, Vendored};
use crate::base::{Digest, GuestPath, Name};
use crate::fetch;
use crate::store::{Meta, Node, Store, Tree};

/// What cargo looks for in each crate of a directory source.
const CHECKSUM: &str = ".cargo-checksum.json";
/// A manifest that is larger is none.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// Puts unpacked crates where cargo finds them, each with its checksum. Of a git repository the package is taken, with
/// a manifest that stands for itself. A crate's own file of cargo's name gives way.
pub fn vendor<'a>(
    store: &Store,
    crates: impl Iterator<Item = (&'a Vendored, Digest)>,
) -> Result<Tree, fetch::Error> {
    let mut all = Tree::default();
    all.entries.insert(name(REGISTRY), Node::Dir(Tree::default()));
    let mut repositories = BTreeMap::new();
    for (vendored, digest) in crates {
        let (mut tree, package) = match vendored.checksum {
            Some(checksum) => (store.tree(&digest)?, format!("\"{checksum}\"")),
            None => {
                let repository = match repositories.entry(digest) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert(Repository::read(store, vendored, store.tree(&digest)?)?)
                    }
                };
                (repository.package(store, vendored)?, "null".to_owned())
            }
        };
        // Files can be left out: who may change them here could change this list as well.
        let text = format!("{{\"files\":{{}},\"package\":{package}}}");
        tree.entries.insert(name(CHECKSUM), file(store, text.as_bytes())?);
        let folder =
            GuestPath::new(&format!("/{}", vendored.folder)).expect("names of crates make good paths");
        all.insert(&folder, Node::Dir(tree)).expect("each crate has its own");
    }
    Ok(all)
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a constant name")
}

fn file(store: &Store, bytes: &[u8]) -> Result<Node, fetch::Error> {
    Ok(Node::File { digest: store.put_bytes(bytes)?, meta: Meta::root(0o644) })
}

/// A commit's tree and the manifests in it, by folder.
struct Repository {
    tree: Tree,
    manifests: BTreeMap<GuestPath, Table>,
}

impl Repository {
    fn read(store: &Store, vendored: &Vendored, tree: Tree) -> Result<Self, fetch::Error> {
        let mut manifests = BTreeMap::new();
        for (path, digest, _) in tree.files() {
            let Some(folder) = path.as_str().strip_suffix("/Cargo.toml") else { continue };
            if digest.size > LARGEST_MANIFEST {
                continue;
            }
            // Tests of tools have broken ones lie about.
            let text = String::from_utf8(store.read_blob(&digest)?).ok();
            let Some(table) = text.and_then(|text| text.parse().ok()) else { continue };
            let folder = if folder.is_empty() { "/" } else { folder };
            let folder = GuestPath::new(folder).map_err(|error| Error::Manifest {
                repository: vendored.source.clone(),
                path: path.to_string(),
                reason: error.to_string(),
            })?;
            manifests.insert(folder, table);
        }
        Ok(Self { tree, manifests })
    }

    /// Gives a package's folder. Where several have its name and version, the one nearest to the top is meant.
    fn package(&self, store: &Store, wanted: &Vendored) -> Result<Tree, fetch::Error> {
        let mut found: Vec<_> =
            self.manifests.iter().filter(|(at, table)| self.is(at, table, wanted)).collect();
        found.sort_by_key(|(at, _)| at.components().count());
        let Some((at, table)) = found.first() else {
            return Err(Error::NoPackage {
                repository: wanted.source.clone(),
                package: format!("{} {}", wanted.name, wanted.version),
                package_name: wanted.name.clone(),
            }
            .into());
        };
        let text = alone((*table).clone(), self.workspace(at, table)).map_err(|reason| Error::Manifest {
            repository: wanted.source.clone(),
            path: format!("{}Cargo.toml", format!("{}/", at.relative()).trim_start_matches('/')),
            reason,
        })?;
        let mut tree = self.tree.dir(at).cloned().unwrap_or_default();
        tree.entries.insert(name("Cargo.toml"), file(store, text.as_bytes())?);
        Ok(tree)
    }

    fn is(&self, at: &GuestPath, table: &Table, wanted: &Vendored) -> bool {
        let workspace = self.workspace(at, table);
        // A package without a version has this one.
        let version = match table.get("package").and_then(|package| package.get("version")) {
            Some(_) => package_key(table, workspace, "version"),
            None => Some("0.0.0"),
        };
        package_key(table, workspace, "name") == Some(&wanted.name) && version == Some(&wanted.version)
    }

    /// Finds the `[workspace]` that a package belongs to: the one that it names, else the nearest at or above it.
    fn workspace(&self, at: &GuestPath, table: &Table) -> Option<&Table> {
        let of = |folder: &GuestPath| self.manifests.get(folder)?.get("workspace")?.as_table();
        let named = table.get("package").and_then(|package| package.get("workspace")).and_then(Value::as_str);
        if let Some(named) = named {
            return of(&below(at, named)?);
        }
        let parts: Vec<_> = at.components().collect();
        (0..=parts.len()).rev().find_map(|count| of(&folder(&parts[..count])?))
    }
}

fn folder(parts: &[&str]) -> Option<GuestPath> {
    GuestPath::new(&format!("/{}", parts.join("/"))).ok()
}

/// Follows a relative path inside the repository; nothing where it leads out.
fn below(at: &GuestPath, path: &str) -> Option<GuestPath> {
    let mut parts: Vec<_> = at.components().collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    folder(&parts)
}

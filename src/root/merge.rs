//! Parts become one root, by dpkg's rules for who may have which path.
//!
//! | in two packages | becomes |
//! | --- | --- |
//! | a directory | one; its mode and owner are those of the first package that has it, `base-files` before all |
//! | a file or link, one package of another architecture | one, if both are the same (`Multi-Arch: same`) |
//! | a file or link, one `Replaces` the other | that one's; the other's list does not have it |
//! | anything else | an error that names both |
//!
//! `/usr` is one with the root: `/bin`, `/sbin` and `/lib` are links into it, `/lib64` and its like where a
//! package has something there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Error;
use super::package::Part;
use crate::base::{GuestPath, Name};
use crate::store::{Dir, Meta, Node, Tree};

/// Directories of the root that stand below `/usr`, and whether their link is always there.
const MERGED: [(&str, bool); 7] = [
    ("bin", true),
    ("sbin", true),
    ("lib", true),
    ("lib32", false),
    ("lib64", false),
    ("libo32", false),
    ("libx32", false),
];

/// A root, and which paths which part lost to another.
pub(super) struct Merged {
    pub(super) tree: Tree,
    pub(super) lost: BTreeMap<usize, Vec<GuestPath>>,
}

/// Who has a path that is no directory, and under which path of its own.
struct Owner {
    part: usize,
    path: GuestPath,
}

struct Merging<'a> {
    parts: &'a [Part],
    owners: BTreeMap<GuestPath, Owner>,
    dirs: BTreeMap<GuestPath, usize>,
    lost: BTreeMap<usize, Vec<GuestPath>>,
}

/// Merges parts, whose order decides about the directories that several have.
pub(super) fn merge(parts: &[Part]) -> Result<Merged, Error> {
    let mut merging =
        Merging { parts, owners: BTreeMap::new(), dirs: BTreeMap::new(), lost: BTreeMap::new() };
    let mut tree = Tree::default();
    for (index, part) in parts.iter().enumerate() {
        if index == 0 {
            tree.meta = part.data.meta;
        }
        for (name, node) in &part.data.entries {
            let path = GuestPath::root().join(name);
            match MERGED.iter().find(|(merged, _)| *merged == name.as_str()) {
                None => merging.add(index, &mut tree, name, node, &path, &path)?,
                Some(_) => {
                    let usr = below(&mut tree, &component("usr"), Dir::ORDINARY);
                    let Some(usr) = usr else { return Err(not_merged(part, &path)) };
                    match node {
                        Node::Dir(_) => {
                            let real = GuestPath::new(&format!("/usr{path}")).expect("two names");
                            merging.add(index, usr, name, node, &real, &path)?;
                        }
                        Node::Symlink { target } if target.trim_start_matches('/') == real_target(name) => {}
                        _ => return Err(not_merged(part, &path)),
                    }
                }
            }
        }
    }
    for (name, always) in MERGED {
        let name = component(name);
        let usr = below(&mut tree, &component("usr"), Dir::ORDINARY);
        let Some(usr) = usr else { continue };
        if always {
            below(usr, &name, Dir::ORDINARY);
        }
        if usr.entries.contains_key(&name) {
            let target = real_target(&name).into();
            tree.entries.insert(name, Node::Symlink { target });
        }
    }
    Ok(Merged { tree, lost: merging.lost })
}

impl Merging<'_> {
    /// Adds one node of a part. `real` is its path in the root, `own` the one that its package says.
    fn add(
        &mut self,
        part: usize,
        parent: &mut Dir,
        name: &Name,
        node: &Node,
        real: &GuestPath,
        own: &GuestPath,
    ) -> Result<(), Error> {
        let Node::Dir(dir) = node else {
            return self.add_leaf(part, parent, name, node, real, own);
        };
        if let Some(owner) = self.owners.get(real) {
            return Err(self.overlap(owner.part, part, own));
        }
        self.dirs.entry(real.clone()).or_insert(part);
        let Some(child) = below(parent, name, dir.meta) else {
            unreachable!("what is no directory has an owner")
        };
        for (name, node) in &dir.entries {
            self.add(part, child, name, node, &real.join(name), &own.join(name))?;
        }
        Ok(())
    }

    fn add_leaf(
        &mut self,
        part: usize,
        parent: &mut Dir,
        name: &Name,
        node: &Node,
        real: &GuestPath,
        own: &GuestPath,
    ) -> Result<(), Error> {
        if let Some(&other) = self.dirs.get(real) {
            return Err(self.overlap(other, part, own));
        }
        match self.owners.entry(real.clone()) {
            Entry::Vacant(free) => {
                free.insert(Owner { part, path: own.clone() });
                parent.entries.insert(name.clone(), node.clone());
                Ok(())
            }
            Entry::Occupied(mut taken) => {
                let (old, new) = (&self.parts[taken.get().part], &self.parts[part]);
                let same = old.name == new.name && old.is_shared && parent.entries.get(name) == Some(node);
                if same {
                    return Ok(());
                }
                match (old.may_replace(new), new.may_replace(old)) {
                    (true, false) => self.lost.entry(part).or_default().push(own.clone()),
                    (false, true) => {
                        let loser = std::mem::replace(taken.get_mut(), Owner { part, path: own.clone() });
                        self.lost.entry(loser.part).or_default().push(loser.path);
                        parent.entries.insert(name.clone(), node.clone());
                    }
                    _ => {
                        let old = taken.get().part;
                        return Err(self.overlap(old, part, own));
                    }
                }
                Ok(())
            }
        }
    }

    fn overlap(&self, one: usize, other: usize, path: &GuestPath) -> Error {
        let label = |part: usize| self.parts[part].label();
        Error::Overlap { one: label(one), other: label(other), path: path.clone() }
    }
}

fn not_merged(part: &Part, path: &GuestPath) -> Error {
    Error::NotMerged { file: part.file.clone(), path: path.clone() }
}

fn real_target(name: &Name) -> String {
    format!("usr/{name}")
}

fn component(name: &str) -> Name {
    Name::new(name).expect("a constant")
}

/// The directory of a name, made if nothing is there. Nothing if something else is.
fn below<'a>(parent: &'a mut Dir, name: &Name, meta: Meta) -> Option<&'a mut Dir> {
    let make = || Node::Dir(Dir { meta, entries: BTreeMap::new() });
    match parent.entries.entry(name.clone()).or_insert_with(make) {
        Node::Dir(dir) => Some(dir),
        _ => None,
    }
}

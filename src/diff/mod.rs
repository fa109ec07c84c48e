//! What two trees, or two images, differ in.
//!
//! In go two [`Tree`]s of the store ([`trees`], [`compare`]), or two images' documents and layers ([`image`]); out come
//! [`Change`]s: a path, what stood there before and now, and [`Detail`]s that say what of it differs. Two trees are gone
//! down side by side, and a file is opened only if its digest differs. What a file is, is found by its content:
//!
//! | content | is compared by |
//! | --- | --- |
//! | ELF | what it needs, its names, exported and imported symbols with versions, build ID, sections |
//! | JSON, TOML | field |
//! | `/var/lib/dpkg/status` | package and version ([`debian`]) |
//! | other text | line |
//! | gzip | what is inside |
//! | anything else | where the first byte differs, and how many do |
//!
//! *Bounds.* Files may be hostile: one of more than [`MAX_FILE`] is not opened, nor any after [`MAX_READ`] bytes; lines,
//! fields and symbols are counted where there are too many to show. Nothing that is said is a clock's or a thread's: the
//! same two trees always give the same changes.
//!
//! Never: network, a file outside of the store, a link followed, a program of an image run.

pub mod content;
pub mod debian;
mod elf;
mod error;
mod fields;
mod find;
pub mod image;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::base::{Digest, GuestPath, Name, Sha256};
use crate::store::{self, Dir, Meta, Node, Store, Tree};
pub use debian::Package;
pub use error::Error;
pub use fields::fields;
pub use find::{Content, Thing, What, image_folder, things};
pub use lines::{Hunk, Line, Lines, Sign, lines};

/// The largest file that is opened.
pub const MAX_FILE: u64 = 256 << 20;

/// How much is read of all files together, of either side.
pub const MAX_READ: u64 = 2 << 30;

/// One path that two trees have in different ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where.
    pub path: String,
    /// What stood there; nothing where it is new.
    pub before: Option<Entry>,
    /// What stands there; nothing where it is gone.
    pub now: Option<Entry>,
    /// The Debian package whose it is, where that came, went, or changed its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// What of it differs, where it stood there before too.
    pub details: Vec<Detail>,
}

/// How closely is looked at files of Debian packages that are there in another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// They are not opened: that they differ is no wonder.
    #[default]
    Packages,
    /// They are, as all others.
    Everything,
}

/// One entry of a tree, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Entry {
    /// A file: its content, and permission bits and owner as people write them.
    File {
        #[serde(flatten, serialize_with = "told_digest")]
        digest: Digest,
        mode: String,
        owner: String,
    },
    /// A symbolic link.
    Link { target: String },
    /// A directory.
    Folder { mode: String, owner: String },
    /// What a layer holds there that was not read.
    Below,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// A value: a mode, a field, a section.
    Value(Value),
    /// A set of names: libraries, symbols.
    List(List),
    /// Lines of text.
    Lines(Lines),
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Its name.
    pub what: String,
    /// What it was; nothing where it is new.
    pub before: Option<String>,
    /// What it is; nothing where it is gone.
    pub now: Option<String>,
}

/// A set of names that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List {
    /// What is listed.
    pub what: String,
    /// What is no longer in it, at most [`LISTED`].
    pub gone: Vec<String>,
    /// What is in it now, at most [`LISTED`].
    pub new: Vec<String>,
    /// How many are gone.
    pub gone_count: usize,
    /// How many are new.
    pub new_count: usize,
}

/// So many names of a list are kept; the others are counted.
pub const LISTED: usize = 200;

impl Detail {
    fn value(what: impl Into<String>, before: Option<String>, now: Option<String>) -> Self {
        Detail::Value(Value { what: what.into(), before, now })
    }

    fn changed(what: impl Into<String>, before: impl fmt::Display, now: impl fmt::Display) -> Self {
        Detail::value(what, Some(before.to_string()), Some(now.to_string()))
    }

    /// Says what is only in one of two sorted sets, or nothing.
    fn sets<'a, I>(what: impl Into<String>, before: I, now: I) -> Option<Self>
    where
        I: IntoIterator<Item = &'a String>,
    {
        let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
        before.into_iter().for_each(|name| *counts.entry(name).or_default() -= 1);
        now.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
        let side = |gone: bool| {
            let of = counts.iter().filter(move |(_, count)| if gone { **count < 0 } else { **count > 0 });
            of.map(|(name, _)| (*name).clone()).collect::<Vec<_>>()
        };
        let (mut gone, mut new) = (side(true), side(false));
        let (gone_count, new_count) = (gone.len(), new.len());
        gone.truncate(LISTED);
        new.truncate(LISTED);
        (gone_count + new_count > 0)
            .then(|| Detail::List(List { what: what.into(), gone, new, gone_count, new_count }))
    }
}

impl Entry {
    fn of(node: &Node) -> Self {
        match node {
            Node::File { digest, meta } => {
                Entry::File { digest: *digest, mode: mode(meta), owner: owner(meta) }
            }
            Node::Symlink { target } => Entry::Link { target: target.to_string() },
            Node::Dir(dir) => Entry::Folder { mode: mode(&dir.meta), owner: owner(&dir.meta) },
        }
    }

    /// Says what it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Entry::File { .. } => "file",
            Entry::Link { .. } => "symbolic link",
            Entry::Folder { .. } => "directory",
            Entry::Below => "something",
        }
    }
}

/// Writes a digest as OCI's descriptors have it.
fn told_digest<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap as _;
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("digest", &digest.hash.oci())?;
    map.serialize_entry("size", &digest.size)?;
    map.end()
}

fn told_hash<S: serde::Serializer>(hash: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hash.oci())
}

fn told_option<S: serde::Serializer>(hash: &Option<Sha256>, serializer: S) -> Result<S::Ok, S::Error> {
    hash.map(|hash| hash.oci()).serialize(serializer)
}

/// The same where there may be none.
fn told_blob<S: serde::Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => told_digest(digest, serializer),
        None => serializer.serialize_none(),
    }
}

fn mode(meta: &Meta) -> String {
    format!("{:04o}", meta.mode)
}

fn owner(meta: &Meta) -> String {
    format!("{}:{}", meta.uid, meta.gid)
}

impl fmt::Display for Detail {
    /// In one line, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detail::Value(Value { what, before: Some(before), now: Some(now) }) => {
                write!(f, "{what} {before} → {now}")
            }
            Detail::Value(Value { what, now: Some(now), .. }) => write!(f, "{what} + {now}"),
            Detail::Value(Value { what, before: Some(before), .. }) => write!(f, "{what} − {before}"),
            Detail::Value(Value { what, .. }) => f.write_str(what),
            Detail::List(list) => write!(f, "{} +{} −{}", list.what, list.new_count, list.gone_count),
            Detail::Lines(lines) => write!(f, "lines +{} −{}", lines.new, lines.gone),
        }
    }
}

impl fmt::Display for Change {
    /// In one line, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.now) {
            (None, _) => write!(f, "+ {}", self.path),
            (_, None) => write!(f, "− {}", self.path),
            _ => {
                write!(f, "~ {}", self.path)?;
                for (at, detail) in self.details.iter().enumerate() {
                    write!(f, "{}{detail}", if at == 0 { ": " } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// Compares two trees of the store by their names, and what is in files that differ.
pub fn trees(store: &Store, before: &Digest, now: &Digest) -> Result<Vec<Change>, store::Error> {
    if before == now {
        return Ok(Vec::new());
    }
    compare(store, &store.tree(before)?, &store.tree(now)?)
}

/// Compares two trees, sorted by path, and what is in files that differ.
pub fn compare(store: &Store, before: &Tree, now: &Tree) -> Result<Vec<Change>, store::Error> {
    compare_around(store, before, now, &BTreeMap::new(), Depth::Everything)
}

/// The same, with the packages whose files are known: path to package.
fn compare_around(
    store: &Store,
    before: &Tree,
    now: &Tree,
    owners: &BTreeMap<String, String>,
    depth: Depth,
) -> Result<Vec<Change>, store::Error> {
    let mut walk = Walk { changes: Vec::new(), opened: content::Reader::new(store), owners, depth };
    if before.meta != now.meta {
        let folder = |meta| Entry::Folder { mode: mode(meta), owner: owner(meta) };
        let details = metas(&before.meta, &now.meta);
        let (before, now) = (Some(folder(&before.meta)), Some(folder(&now.meta)));
        walk.changes.push(Change { path: "/".to_owned(), before, now, package: None, details });
    }
    walk.entries(&GuestPath::root(), before, now)?;
    Ok(walk.changes)
}

/// Two trees, gone down side by side.
struct Walk<'a> {
    changes: Vec<Change>,
    opened: content::Reader<'a>,
    owners: &'a BTreeMap<String, String>,
    depth: Depth,
}

impl Walk<'_> {
    fn entries(&mut self, at: &GuestPath, before: &Dir, now: &Dir) -> Result<(), store::Error> {
        let mut names: Vec<&Name> = before.entries.keys().chain(now.entries.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = at.join(name);
            match (before.entries.get(name), now.entries.get(name)) {
                (Some(before), Some(now)) => self.both(&path, before, now)?,
                (before, now) => self.one(&path, before, now),
            }
        }
        Ok(())
    }

    /// Tells of a node that only one side has, and of all below it.
    fn one(&mut self, path: &GuestPath, before: Option<&Node>, now: Option<&Node>) {
        let entry = |node: Option<&Node>| node.map(Entry::of);
        let change = Change {
            path: path.to_string(),
            before: entry(before),
            now: entry(now),
            package: self.owners.get(path.as_str()).cloned(),
            details: Vec::new(),
        };
        self.changes.push(change);
        let is_gone = now.is_none();
        let Some(Node::Dir(dir)) = before.or(now) else { return };
        for (name, node) in &dir.entries {
            let (before, now) = if is_gone { (Some(node), None) } else { (None, Some(node)) };
            self.one(&path.join(name), before, now);
        }
    }

    fn both(&mut self, path: &GuestPath, before: &Node, now: &Node) -> Result<(), store::Error> {
        let mut details = Vec::new();
        let package = self.owners.get(path.as_str()).cloned();
        match (before, now) {
            (Node::Dir(old), Node::Dir(new)) => details = metas(&old.meta, &new.meta),
            (Node::Symlink { target: old }, Node::Symlink { target: new }) if old != new => {
                details.push(Detail::changed("target", old, new));
            }
            (Node::File { digest: old, meta: was }, Node::File { digest: new, meta }) => {
                details = metas(was, meta);
                if old != new && package.is_some() && self.depth == Depth::Packages {
                    details.push(Detail::value("content", None, None));
                } else if old != new {
                    details.append(&mut self.opened.details(path.as_str(), old, new)?);
                }
            }
            (old, new) if old.kind() != new.kind() => {
                details.push(Detail::changed("kind", old.kind(), new.kind()));
            }
            _ => {}
        }
        if !details.is_empty() {
            let (before, now) = (Some(Entry::of(before)), Some(Entry::of(now)));
            self.changes.push(Change { path: path.to_string(), before, now, package, details });
        }
        // What was or is below a directory that became something else is gone or new.
        let empty = Dir::default();
        match (before, now) {
            (Node::Dir(before), Node::Dir(now)) => self.entries(path, before, now),
            (Node::Dir(before), _) => self.entries(path, before, &empty),
            (_, Node::Dir(now)) => self.entries(path, &empty, now),
            _ => Ok(()),
        }
    }
}

fn metas(before: &Meta, now: &Meta) -> Vec<Detail> {
    let mut details = Vec::new();
    if before.mode != now.mode {
        details.push(Detail::changed("mode", mode(before), mode(now)));
    }
    if (before.uid, before.gid) != (now.uid, now.gid) {
        details.push(Detail::changed("owner", owner(before), owner(now)));
    }
    details
}

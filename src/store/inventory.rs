//! What is in the store: counted for `ls`, enumerated for GC and verification.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::At;
use super::{Error, Root, Store};
use crate::base::Sha256;

/// What an object is. In the order in which GC removes: what points before what is pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What an action gave.
    Action,
    /// Which artifact a key stands for.
    Memo,
    /// A tree as a directory.
    Checkout,
    /// A tree.
    Tree,
    /// A file's content.
    Blob,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] = [Kind::Action, Kind::Memo, Kind::Checkout, Kind::Tree, Kind::Blob];

    /// The folder of the store that holds the kind.
    pub fn folder(self) -> &'static str {
        match self {
            Kind::Action => "actions",
            Kind::Memo => "memo",
            Kind::Checkout => "checkouts",
            Kind::Tree => "trees",
            Kind::Blob => "blobs",
        }
    }
}

/// How many objects, and how much space they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Objects.
    pub objects: u64,
    /// Bytes of content; for checkouts, of what they don't share with blobs.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Every kind.
    pub kinds: BTreeMap<Kind, Count>,
    /// What projects keep.
    pub roots: Vec<Root>,
}

/// One object.
#[derive(Debug)]
pub(super) struct Object {
    pub kind: Kind,
    pub hash: Sha256,
    pub path: PathBuf,
    pub bytes: u64,
    /// When it was last used, in nanoseconds of the file system's clock.
    pub used: i128,
}

impl Store {
    /// Counts what is in the store.
    pub fn list(&self) -> Result<Listing, Error> {
        let mut kinds = BTreeMap::new();
        for kind in Kind::ALL {
            let mut count = Count::default();
            self.objects(kind)?.iter().for_each(|object| count.add(object.bytes));
            kinds.insert(kind, count);
        }
        Ok(Listing { kinds, roots: self.roots()? })
    }

    /// Enumerates the objects of one kind, by path.
    pub(super) fn objects(&self, kind: Kind) -> Result<Vec<Object>, Error> {
        let top = self.path.join(kind.folder());
        let mut objects = Vec::new();
        for name in names(&top)? {
            if kind == Kind::Checkout {
                objects.extend(object(kind, &name, top.join(&name)));
                continue;
            }
            let shard = top.join(&name);
            for rest in names(&shard)? {
                let hex = format!("{name}{}", rest.strip_suffix(".x").unwrap_or(&rest));
                objects.extend(object(kind, &hex, shard.join(&rest)));
            }
        }
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }
}

fn names(dir: &std::path::Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir).at("read", dir)? {
        names.push(entry.at("read", dir)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// An object, unless it is gone meanwhile or never was one.
fn object(kind: Kind, hex: &str, path: PathBuf) -> Option<Object> {
    let hash = hex.parse().ok()?;
    let stat = rustix::fs::lstat(&path).ok()?;
    let used = i128::from(stat.st_atime) * 1_000_000_000 + i128::from(stat.st_atime_nsec);
    let bytes = match kind {
        Kind::Checkout => own_bytes(&path),
        _ => stat.st_size as u64,
    };
    Some(Object { kind, hash, path, bytes, used })
}

/// Adds up the files below a directory that have no other name. What can't be read counts nothing.
fn own_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = fs_err::read_dir(dir) else { return 0 };
    entries.filter_map(Result::ok).fold(0, |sum, entry| {
        let path = entry.path();
        let Ok(stat) = rustix::fs::lstat(&path) else { return sum };
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        sum + match () {
            () if kind.is_dir() => own_bytes(&path),
            () if kind.is_file() && stat.st_nlink == 1 => stat.st_size as u64,
            () => 0,
        }
    })
}

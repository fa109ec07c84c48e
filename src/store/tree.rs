//! A tree of files as plain values, the way a layer or a sandbox root needs it.
//!
//! In the store a tree is a REAPI v2 `Tree` message (a root `Directory` and its children, canonical
//! encoding) and its identity is the digest of its root `Directory`. Modes are `NodeProperties.unix_mode`,
//! owners are the node properties `uid` and `gid`, written only where they are not 0. There are no
//! times in it: everything in nodeimg is at the epoch. A hard link is two files of one digest.

use std::collections::BTreeMap;

use crate::base::{Digest, Name};

/// Mode and owner of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Meta {
    /// The permission bits, at most `0o7777`.
    pub mode: u32,
    /// The owner's number as it is in the image.
    pub uid: u32,
    /// The group's number as it is in the image.
    pub gid: u32,
}

impl Meta {
    /// `root:root` with these permission bits.
    pub const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file, its content a blob of the store.
    File { digest: Digest, meta: Meta },
    /// A symbolic link (its mode is always 0777, its owner root).
    Symlink { target: Box<str> },
    /// A directory.
    Dir(Dir),
}

/// A directory: its own metadata and its entries, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir {
    /// Mode and owner of the directory itself.
    pub meta: Meta,
    /// What is in it.
    pub entries: BTreeMap<Name, Node>,
}

impl Default for Dir {
    fn default() -> Self {
        Self { meta: Meta::root(0o755), entries: BTreeMap::new() }
    }
}

/// A whole tree: its root directory.
pub type Tree = Dir;

//! Puts entries into a tree, by rules that no name can get around.

use crate::base::{Digest, GuestPath, Name};
use crate::store::{Dir, Meta, Node, Tree};

use super::Error;

/// Directories deep: trees are walked recursively, and no honest archive comes near.
pub(super) const MAX_DEPTH: usize = 200;

/// What an entry is.
#[derive(Clone)]
pub(super) enum Entry {
    File {
        digest: Digest,
        meta: Meta,
    },
    Dir {
        meta: Meta,
    },
    Symlink {
        target: String,
    },
    HardLink {
        target: Vec<u8>,
    },
    /// What no tree holds.
    Special {
        what: &'static str,
    },
}

/// A tree that grows entry by entry.
pub(super) struct Place<'a> {
    archive: &'a str,
    strip: usize,
    tree: Tree,
}

impl<'a> Place<'a> {
    pub(super) fn new(archive: &'a str, strip: usize) -> Self {
        Self { archive, strip, tree: Tree::default() }
    }

    pub(super) fn into_tree(self) -> Tree {
        self.tree
    }

    pub(super) fn refuse(&self, name: &[u8], why: impl Into<String>) -> Error {
        let entry = String::from_utf8_lossy(name).into_owned();
        Error::Refused { archive: self.archive.to_owned(), entry, why: why.into() }
    }

    /// Gives the path that an entry's name means; nothing if stripping leaves nothing of it.
    pub(super) fn path(&self, name: &[u8]) -> Result<Option<GuestPath>, Error> {
        let text =
            std::str::from_utf8(name).map_err(|_| self.refuse(name, "has a name that is not UTF-8"))?;
        if text.starts_with('/') {
            return Err(self.refuse(name, "has an absolute name"));
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(self.refuse(name, "goes up with `..`"));
        }
        if parts.len() > MAX_DEPTH {
            return Err(self.refuse(name, format!("is more than {MAX_DEPTH} directories deep")));
        }
        if parts.iter().any(|part| Name::new(part).is_err()) {
            return Err(self.refuse(name, "has a name that no file can have"));
        }
        if parts.is_empty() {
            return Ok((self.strip == 0).then(GuestPath::root));
        }
        if parts.len() <= self.strip {
            return Ok((parts.len() == self.strip).then(GuestPath::root));
        }
        let path = GuestPath::new(&format!("/{}", parts[self.strip..].join("/")));
        path.map(Some).map_err(|_| self.refuse(name, "has a name that no file can have"))
    }

    pub(super) fn add(&mut self, name: &[u8], entry: Entry) -> Result<(), Error> {
        let Some(path) = self.path(name)? else { return Ok(()) };
        let node = match entry {
            Entry::Dir { meta } => return self.add_dir(name, &path, meta),
            _ if path == GuestPath::root() => {
                // tar leaves out a top-level file that stripping leaves no name for.
                return if self.strip > 0 {
                    Ok(())
                } else {
                    Err(self.refuse(name, "is no directory at the root"))
                };
            }
            Entry::File { digest, meta } => Node::File { digest, meta },
            Entry::Symlink { target } => {
                if target.is_empty() || target.contains('\0') {
                    return Err(self.refuse(name, "is a symbolic link to nothing"));
                }
                Node::Symlink { target: target.into() }
            }
            Entry::Special { what } => return Err(self.refuse(name, format!("is a {what}"))),
            Entry::HardLink { target } => {
                let to = String::from_utf8_lossy(&target).into_owned();
                let escapes = self.path(&target).map_err(|_| {
                    self.refuse(name, format!("is a hard link to `{to}`, outside of the archive"))
                })?;
                match escapes.as_ref().and_then(|target| self.tree.get(target)) {
                    Some(node @ (Node::File { .. } | Node::Symlink { .. })) => node.clone(),
                    _ => return Err(self.refuse(name, format!("is a hard link to `{to}`, no earlier file"))),
                }
            }
        };
        if matches!(self.tree.get(&path), Some(Node::Dir(_))) {
            return Err(self.refuse(name, "stands in the place of a directory"));
        }
        self.tree.insert(&path, node).map_err(|_| self.refuse(name, "is below a file or a link"))
    }

    fn add_dir(&mut self, name: &[u8], path: &GuestPath, meta: Meta) -> Result<(), Error> {
        if *path == GuestPath::root() {
            self.tree.meta = meta;
            return Ok(());
        }
        let mut dir = match self.tree.get(path) {
            None => Dir::default(),
            Some(Node::Dir(_)) => match self.tree.remove(path) {
                Some(Node::Dir(dir)) => dir,
                _ => Dir::default(),
            },
            Some(_) => return Err(self.refuse(name, "is a directory in the place of a file or a link")),
        };
        dir.meta = meta;
        self.tree.insert(path, Node::Dir(dir)).map_err(|_| self.refuse(name, "is below a file or a link"))
    }
}

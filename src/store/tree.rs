//! A tree of files as plain values, the way a layer or a sandbox root needs it.
//!
//! In the store a tree is a REAPI v2 `Tree` message (see [`super::encode`]) and its identity is the digest
//! of its root `Directory`. There are no times in it: everything in nodeimg is at the epoch. A hard link is
//! two files of one digest.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::encode::MAX_DEPTH;
use crate::base::{Digest, GuestPath, Name};

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
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Node {
    /// A regular file, its content a blob of the store.
    File { digest: Digest, meta: Meta },
    /// A symbolic link (its mode is always 0777, its owner root).
    Symlink { target: Box<str> },
    /// A directory.
    Dir(Dir),
}

impl Node {
    /// Says what the node is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::File { .. } => "file",
            Node::Symlink { .. } => "symbolic link",
            Node::Dir(_) => "directory",
        }
    }
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
        Self { meta: Dir::ORDINARY, entries: BTreeMap::new() }
    }
}

/// A whole tree: its root directory.
pub type Tree = Dir;

/// Says which path two trees disagree about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Conflict {
    /// Both have it, as different kinds of thing.
    #[error("`{path}` is a {ours} and a {theirs}")]
    Kind { path: GuestPath, ours: &'static str, theirs: &'static str },
    /// Both have it as a file or link, with different content, mode or owner.
    #[error("{what} `{path}` differs")]
    Differs { path: GuestPath, what: &'static str },
    /// The path has too many components for a tree.
    #[error("`{path}` is more than {MAX_DEPTH} directories deep")]
    TooDeep { path: GuestPath },
}

impl Dir {
    /// What a directory has that nobody said anything about: `root:root`, 0755.
    pub const ORDINARY: Meta = Meta::root(0o755);

    /// Finds what stands at a path. The root itself is no node: `/` finds nothing. Links are not followed.
    pub fn get(&self, path: &GuestPath) -> Option<&Node> {
        let (last, parents) = split(path)?;
        let mut dir = self;
        for part in parents {
            dir = match dir.entries.get(part)? {
                Node::Dir(child) => child,
                _ => return None,
            };
        }
        dir.entries.get(last)
    }

    /// Finds the directory at a path; `/` is this one. Links are not followed.
    pub fn dir(&self, path: &GuestPath) -> Option<&Dir> {
        path.components().try_fold(self, |dir, part| match dir.entries.get(part)? {
            Node::Dir(child) => Some(child),
            _ => None,
        })
    }

    /// Puts a node at a path, in place of what stands there. Parents that are missing are made, ordinary ones.
    ///
    /// A parent that is a file or a link is a conflict, as is anything but a directory at `/`.
    pub fn insert(&mut self, path: &GuestPath, node: Node) -> Result<(), Conflict> {
        let Some((last, parents)) = split(path) else {
            return match node {
                Node::Dir(dir) => {
                    *self = dir;
                    Ok(())
                }
                other => Err(Conflict::Kind { path: path.clone(), ours: "directory", theirs: other.kind() }),
            };
        };
        if path.components().count() > MAX_DEPTH {
            return Err(Conflict::TooDeep { path: path.clone() });
        }
        let mut dir = self;
        let mut at = GuestPath::root();
        for part in parents {
            let name = component(part);
            at = at.join(&name);
            dir = match dir.entries.entry(name).or_insert_with(|| Node::Dir(Dir::default())) {
                Node::Dir(child) => child,
                other => {
                    return Err(Conflict::Kind { path: at, ours: other.kind(), theirs: "directory" });
                }
            };
        }
        dir.entries.insert(component(last), node);
        Ok(())
    }

    /// Takes away what stands at a path, with everything below, and gives it.
    pub fn remove(&mut self, path: &GuestPath) -> Option<Node> {
        let (last, parents) = split(path)?;
        let mut dir = self;
        for part in parents {
            dir = match dir.entries.get_mut(part)? {
                Node::Dir(child) => child,
                _ => return None,
            };
        }
        dir.entries.remove(last)
    }

    /// Unites two trees that must agree where both have something: equal files and links are one, directories
    /// are united, and a directory's metadata may be ordinary in one of them. The order of merges does not
    /// matter. After a conflict this tree is half merged.
    pub fn merge(&mut self, other: Dir) -> Result<(), Conflict> {
        self.merge_at(other, &GuestPath::root())
    }

    fn merge_at(&mut self, other: Dir, at: &GuestPath) -> Result<(), Conflict> {
        if self.meta == Dir::ORDINARY {
            self.meta = other.meta;
        } else if other.meta != Dir::ORDINARY && other.meta != self.meta {
            return Err(Conflict::Differs { path: at.clone(), what: "mode or owner of directory" });
        }
        for (name, theirs) in other.entries {
            let path = at.join(&name);
            match self.entries.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(theirs);
                }
                Entry::Occupied(mut taken) => match (taken.get_mut(), theirs) {
                    (Node::Dir(ours), Node::Dir(theirs)) => ours.merge_at(theirs, &path)?,
                    (ours, theirs) if *ours == theirs => {}
                    (ours, theirs) if ours.kind() == theirs.kind() => {
                        return Err(Conflict::Differs { path, what: ours.kind() });
                    }
                    (ours, theirs) => {
                        return Err(Conflict::Kind { path, ours: ours.kind(), theirs: theirs.kind() });
                    }
                },
            }
        }
        Ok(())
    }

    /// Lays another tree over this one: directories are united and get the other's metadata, anything else
    /// of the other replaces what was there.
    pub fn lay(&mut self, over: Dir) {
        self.meta = over.meta;
        for (name, theirs) in over.entries {
            match self.entries.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(theirs);
                }
                Entry::Occupied(mut taken) => match (taken.get_mut(), theirs) {
                    (Node::Dir(ours), Node::Dir(theirs)) => ours.lay(theirs),
                    (ours, theirs) => *ours = theirs,
                },
            }
        }
    }

    /// Goes through everything below this directory, a directory before what is in it, siblings by name.
    pub fn walk(&self) -> Walk<'_> {
        Walk { open: vec![(GuestPath::root(), self.entries.iter())] }
    }

    /// Goes through the regular files.
    pub fn files(&self) -> impl Iterator<Item = (GuestPath, Digest, Meta)> {
        self.walk().filter_map(|(path, node)| match node {
            Node::File { digest, meta } => Some((path, *digest, *meta)),
            _ => None,
        })
    }

    /// Adds up the sizes of the regular files.
    pub fn size(&self) -> u64 {
        self.entries.values().fold(0, |sum, node| match node {
            Node::File { digest, .. } => sum.saturating_add(digest.size),
            Node::Symlink { .. } => sum,
            Node::Dir(dir) => sum.saturating_add(dir.size()),
        })
    }
}

/// Goes through a tree; see [`Dir::walk`].
pub struct Walk<'a> {
    open: Vec<(GuestPath, std::collections::btree_map::Iter<'a, Name, Node>)>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (GuestPath, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (at, entries) = self.open.last_mut()?;
            if let Some((name, node)) = entries.next() {
                let path = at.join(name);
                if let Node::Dir(dir) = node {
                    self.open.push((path.clone(), dir.entries.iter()));
                }
                return Some((path, node));
            }
            self.open.pop();
        }
    }
}

/// Splits a path into its last component and those above it; nothing for the root.
fn split(path: &GuestPath) -> Option<(&str, impl Iterator<Item = &str>)> {
    let (parents, last) = path.relative().rsplit_once('/').unwrap_or(("", path.relative()));
    (!last.is_empty()).then(|| (last, parents.split('/').filter(|part| !part.is_empty())))
}

fn component(part: &str) -> Name {
    Name::new(part).expect("a guest path is made of names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::new(text).unwrap()
    }

    fn file(text: &str) -> Node {
        Node::File { digest: Digest::of(text.as_bytes()), meta: Meta::root(0o644) }
    }

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Tree::default();
        files.iter().for_each(|at| tree.insert(&path(at), file(at)).unwrap());
        tree
    }

    #[test]
    fn nodes_are_found_put_and_taken() {
        let mut tree = tree(&["/usr/bin/a", "/usr/lib/b", "/c"]);
        assert_eq!(tree.get(&path("/usr/bin/a")), Some(&file("/usr/bin/a")));
        assert_eq!(tree.get(&path("/usr/bin/a/b")), None);
        assert_eq!(tree.get(&path("/")), None);
        assert_eq!(tree.dir(&path("/usr/lib")).unwrap().entries.len(), 1);
        assert_eq!(tree.dir(&path("/")), Some(&tree));
        let walked: Vec<_> = tree.walk().map(|(at, _)| at.to_string()).collect();
        assert_eq!(walked, ["/c", "/usr", "/usr/bin", "/usr/bin/a", "/usr/lib", "/usr/lib/b"]);
        assert_eq!(tree.files().count(), 3);
        assert_eq!(tree.size(), 2 + 10 + 10);
        assert_eq!(tree.remove(&path("/c")), Some(file("/c")));
        assert_eq!(tree.remove(&path("/c")), None);
        assert!(matches!(tree.remove(&path("/usr")), Some(Node::Dir(_))));
        assert_eq!(tree, Tree::default());
    }

    #[test]
    fn a_link_is_no_parent() {
        let mut tree = Tree::default();
        tree.insert(&path("/lib"), Node::Symlink { target: "usr/lib".into() }).unwrap();
        let error = tree.insert(&path("/lib/x/y"), file("")).unwrap_err();
        assert_eq!(error.to_string(), "`/lib` is a symbolic link and a directory");
        let error = tree.insert(&path("/"), file("")).unwrap_err();
        assert_eq!(error.to_string(), "`/` is a directory and a file");
        let deep = path(&"/d".repeat(MAX_DEPTH + 1));
        let error = tree.insert(&deep, file("")).unwrap_err();
        assert_eq!(error.to_string(), format!("`{deep}` is more than 256 directories deep"));
    }

    #[test]
    fn conflicts_name_the_path() {
        let conflict = |change: fn(&mut Tree)| {
            let mut other = tree(&["/usr/bin/a"]);
            change(&mut other);
            tree(&["/usr/bin/a"]).merge(other).unwrap_err().to_string()
        };
        assert_eq!(
            conflict(|other| other.insert(&path("/usr/bin/a"), file("other")).unwrap()),
            "file `/usr/bin/a` differs"
        );
        assert_eq!(
            conflict(|other| other.insert(&path("/usr/bin"), file("")).unwrap()),
            "`/usr/bin` is a directory and a file"
        );
        let mut one = Tree { meta: Meta::root(0o700), ..Tree::default() };
        let error = one.merge(Tree { meta: Meta::root(0o711), ..Tree::default() }).unwrap_err();
        assert_eq!(error.to_string(), "mode or owner of directory `/` differs");
    }

    #[test]
    fn what_is_laid_over_wins() {
        let mut below = tree(&["/keep", "/dir/keep", "/dir/change", "/file"]);
        let mut over = tree(&["/dir/change/d", "/dir/new"]);
        over.insert(&path("/file"), file("new")).unwrap();
        below.lay(over);
        let walked: Vec<_> = below.files().map(|(at, ..)| at.to_string()).collect();
        assert_eq!(walked, ["/dir/change/d", "/dir/keep", "/dir/new", "/file", "/keep"]);
        assert_eq!(below.get(&path("/file")), Some(&file("new")));
    }
}

//! Symbolic links of a tree, followed as a process sees them whose root the tree is.

use std::collections::VecDeque;

use super::tree::{Dir, Node};
use crate::base::{GuestPath, Name};

/// Links that are followed for one path, as Linux has it (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

impl Dir {
    /// Finds where a directory really is. What is missing stays as it is named. Nothing: the links never end.
    pub fn resolve(&self, parts: &[Name]) -> Option<Vec<Name>> {
        self.resolve_by(parts, &mut |_, _| true)
    }

    /// The same, and tells each link that is met, with its own path; ends with nothing where that is answered with no.
    pub fn resolve_by(
        &self,
        parts: &[Name],
        met: &mut dyn FnMut(&GuestPath, &Node) -> bool,
    ) -> Option<Vec<Name>> {
        let mut open: VecDeque<String> = parts.iter().map(|part| part.as_str().to_owned()).collect();
        let mut at: Vec<Name> = Vec::new();
        let mut links = 0;
        while let Some(part) = open.pop_front() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    continue;
                }
                _ => {}
            }
            let name = Name::new(&part).ok()?;
            match self.at(&at).and_then(|dir| dir.entries.get(&name)) {
                Some(node @ Node::Symlink { target }) => {
                    links += 1;
                    if links > MAX_LINKS || !met(&joined(at.iter().chain([&name])), node) {
                        return None;
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    target.split('/').rev().for_each(|part| open.push_front(part.to_owned()));
                }
                _ => at.push(name),
            }
        }
        Some(at)
    }

    /// Finds a path, links followed, its last component too: the path without links, and what stands there.
    pub fn follow(&self, path: &GuestPath) -> Option<(GuestPath, &Node)> {
        self.follow_by(path, &mut |_, _| true)
    }

    /// The same, and tells each link that is met, as [`Dir::resolve_by`] does.
    pub fn follow_by(
        &self,
        path: &GuestPath,
        met: &mut dyn FnMut(&GuestPath, &Node) -> bool,
    ) -> Option<(GuestPath, &Node)> {
        let name = |part| Name::new(part).expect("a guest path is made of names");
        let at = self.resolve_by(&path.components().map(name).collect::<Vec<_>>(), met)?;
        let (last, parents) = at.split_last()?;
        let node = self.at(parents)?.entries.get(last)?;
        Some((joined(&at), node))
    }

    /// Finds a directory, links not followed.
    pub fn at(&self, parts: &[Name]) -> Option<&Dir> {
        parts.iter().try_fold(self, |dir, part| match dir.entries.get(part)? {
            Node::Dir(child) => Some(child),
            _ => None,
        })
    }
}

fn joined<'a>(parts: impl IntoIterator<Item = &'a Name>) -> GuestPath {
    parts.into_iter().fold(GuestPath::root(), |path, part| path.join(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::store::{Meta, Tree};

    fn path(text: &str) -> GuestPath {
        GuestPath::new(text).unwrap()
    }

    #[test]
    fn links_are_followed_inside_the_tree_only() {
        let mut tree = Tree::default();
        let mut put = |at: &str, node| tree.insert(&path(at), node).unwrap();
        put("/usr/lib/a", Node::File { digest: Digest::of(b""), meta: Meta::root(0o644) });
        for (at, target) in [
            ("/lib", "usr/lib"),
            ("/up", "../../../lib/a"),
            ("/usr/absolute", "/lib/./a"),
            ("/loop", "loop"),
            ("/nowhere", "/x"),
            ("/through", "usr/lib/a/b"),
        ] {
            put(at, Node::Symlink { target: target.into() });
        }
        let found = |at: &str| tree.follow(&path(at)).map(|(at, _)| at.to_string());
        for at in ["/lib/a", "/up", "/usr/absolute", "/usr/lib/a"] {
            assert_eq!(found(at).as_deref(), Some("/usr/lib/a"), "{at}");
        }
        for at in ["/loop", "/loop/x", "/nowhere", "/through", "/lib/b", "/"] {
            assert_eq!(found(at), None, "{at}");
        }
        assert_eq!(found("/lib").as_deref(), Some("/usr/lib"));
    }
}

//! Layers laid over each other.
//!
//! A directory that a layer merely passes through (`root:root` 0755) takes what the layers below say about
//! it, so that `/tmp` stays 1777 whoever puts a file there. A file or link may replace a file or link. What
//! is a directory in one layer and none in another is an error: put over `/lib` → `usr/lib`, a directory
//! `/lib` would take the dynamic linker away.

use super::{Error, Layer};
use crate::base::GuestPath;
use crate::store::{Dir, Node, Store, Tree};

/// The layers so far.
#[derive(Debug, Default)]
pub(super) struct Stack {
    union: Option<Tree>,
}

impl Stack {
    /// Starts on what is there already.
    pub(super) fn on(base: Tree) -> Self {
        Self { union: Some(base) }
    }

    /// Lays a tree on top; gives it with the metadata that it takes from below.
    pub(super) fn push(&mut self, layer: &str, mut tree: Tree) -> Result<Tree, Error> {
        settle(layer, self.union.as_ref(), &mut tree, &GuestPath::root())?;
        match &mut self.union {
            Some(union) => union.lay(tree.clone()),
            None => self.union = Some(tree.clone()),
        }
        Ok(tree)
    }

    /// Gives the tree that a container sees.
    pub(super) fn union(self) -> Tree {
        self.union.unwrap_or_default()
    }
}

/// Gives the tree that a container of these layers sees.
pub fn union(store: &Store, layers: &[Layer]) -> Result<Tree, Error> {
    let mut stack = Stack::default();
    for layer in layers {
        stack.push(&layer.name, store.tree(&layer.tree)?)?;
    }
    Ok(stack.union())
}

fn settle(layer: &str, below: Option<&Dir>, over: &mut Dir, at: &GuestPath) -> Result<(), Error> {
    if let Some(below) = below
        && over.meta == Dir::ORDINARY
    {
        over.meta = below.meta;
    }
    for (name, node) in &mut over.entries {
        if name.as_str().starts_with(".wh.") {
            return Err(Error::Whiteout { layer: layer.to_owned(), path: at.join(name) });
        }
        let under = below.and_then(|below| below.entries.get(name));
        match (under, node) {
            (None, Node::Dir(over)) => settle(layer, None, over, &at.join(name))?,
            (Some(Node::Dir(below)), Node::Dir(over)) => settle(layer, Some(below), over, &at.join(name))?,
            (Some(below), over) if matches!(below, Node::Dir(_)) || matches!(over, Node::Dir(_)) => {
                return Err(Error::Kind {
                    layer: layer.to_owned(),
                    path: at.join(name),
                    ours: over.kind(),
                    theirs: below.kind(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::store::Meta;

    fn path(text: &str) -> GuestPath {
        GuestPath::new(text).unwrap()
    }

    fn dir(mode: u32) -> Node {
        Node::Dir(Dir { meta: Meta::root(mode), ..Dir::default() })
    }

    fn link(target: &str) -> Node {
        Node::Symlink { target: target.into() }
    }

    fn file() -> Node {
        Node::File { digest: Digest::of(b""), meta: Meta::root(0o644) }
    }

    fn tree<const N: usize>(nodes: [(&str, Node); N]) -> Tree {
        let mut tree = Tree::default();
        nodes.into_iter().for_each(|(at, node)| tree.insert(&path(at), node).unwrap());
        tree
    }

    #[test]
    fn passing_through_a_directory_keeps_what_it_is() {
        let mut stack = Stack::default();
        stack
            .push("system", tree([("/tmp", dir(0o1777)), ("/root", dir(0o700)), ("/lib", link("usr/lib"))]))
            .unwrap();
        let over = tree([("/tmp/a", file()), ("/root", dir(0o750)), ("/lib", link("usr/lib64"))]);
        let layer = stack.push("over", over).unwrap();
        let third = stack.push("third", tree([("/tmp/b", file()), ("/root/b", file())])).unwrap();
        assert_eq!(layer.dir(&path("/tmp")).unwrap().meta, Meta::root(0o1777));
        assert_eq!(layer.dir(&path("/root")).unwrap().meta, Meta::root(0o750));
        assert_eq!(third.dir(&path("/root")).unwrap().meta, Meta::root(0o750));
        let union = stack.union();
        assert_eq!(union.dir(&path("/tmp")).unwrap().meta, Meta::root(0o1777));
        let all: Vec<_> = union.walk().map(|(at, _)| at.to_string()).collect();
        assert_eq!(all, ["/lib", "/root", "/root/b", "/tmp", "/tmp/a", "/tmp/b"]);
        assert_eq!(union.get(&path("/lib")), Some(&link("usr/lib64")));
    }

    #[test]
    fn what_would_break_the_image_is_named() {
        let refused = |below: Tree, over: Tree| {
            let mut stack = Stack::default();
            stack.push("system", below).unwrap();
            stack.push("crun", over).unwrap_err().to_string()
        };
        assert_eq!(
            refused(tree([("/lib", link("usr/lib"))]), tree([("/lib/x", file())])),
            "layer `crun` has a directory at `/lib`, where a layer below has a symbolic link"
        );
        assert_eq!(
            refused(tree([("/usr/lib/x", file())]), tree([("/usr/lib", link("lib64"))])),
            "layer `crun` has a symbolic link at `/usr/lib`, where a layer below has a directory"
        );
        assert_eq!(
            refused(tree([("/a", file())]), tree([("/a/b", file())])),
            "layer `crun` has a directory at `/a`, where a layer below has a file"
        );
        assert_eq!(
            refused(Tree::default(), tree([("/new/deep/.wh.passwd", file())])),
            "layer `crun` has `/new/deep/.wh.passwd`, which would hide a file of the layers below"
        );
    }
}

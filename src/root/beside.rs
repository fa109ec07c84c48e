//! A root that is looked into from outside, as a compiler looks into its `--sysroot`.

use crate::store::{Dir, Node, Tree};

/// The version of what [`beside`] does.
pub const BESIDE: u32 = 1;

/// Makes absolute links relative, so that they lead to the root's own files wherever it is mounted: Debian's
/// `/usr/lib/<triplet>/libcap.so` names `/lib/<triplet>/libcap.so.2`.
pub fn beside(mut tree: Tree) -> Tree {
    relative(&mut tree, 0);
    tree
}

fn relative(dir: &mut Dir, depth: usize) {
    for node in dir.entries.values_mut() {
        match node {
            Node::Dir(child) => relative(child, depth + 1),
            Node::Symlink { target } => {
                if let Some(path) = target.strip_prefix('/') {
                    let up = "../".repeat(depth);
                    let to = format!("{up}{}", path.trim_start_matches('/'));
                    *target = if to.is_empty() { ".".into() } else { to.into() };
                }
            }
            Node::File { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::GuestPath;

    #[test]
    fn links_stay_in_the_root() {
        let path = |text: &str| GuestPath::new(text).unwrap();
        let mut tree = Tree::default();
        for (at, to) in [
            ("/usr/lib/x/libcap.so", "/lib/x/libcap.so.2"),
            ("/lib", "usr/lib"),
            ("/top", "/"),
            ("/usr/double", "//etc/x"),
        ] {
            tree.insert(&path(at), Node::Symlink { target: to.into() }).unwrap();
        }
        let tree = beside(tree);
        for (at, to) in [
            ("/usr/lib/x/libcap.so", "../../../lib/x/libcap.so.2"),
            ("/lib", "usr/lib"),
            ("/top", "."),
            ("/usr/double", "../etc/x"),
        ] {
            assert_eq!(tree.get(&path(at)), Some(&Node::Symlink { target: to.into() }), "{at}");
        }
    }
}

//! Unpacked crates as one tree of cargo's directory sources.

use super::Vendored;
use crate::base::{Digest, GuestPath};
use crate::store::{self, Meta, Node, Store, Tree};

/// What cargo looks for in each crate of a directory source.
const CHECKSUM: &str = ".cargo-checksum.json";

/// Puts unpacked crates where cargo finds them, each with its checksum. A crate's own file of that name gives way.
pub fn vendor<'a>(
    store: &Store,
    crates: impl Iterator<Item = (&'a Vendored, Digest)>,
) -> Result<Tree, store::Error> {
    let mut all = Tree::default();
    for (vendored, tree) in crates {
        let mut tree = store.tree(&tree)?;
        // Files can be left out: who may change them here could change this list as well.
        let text = format!("{{\"files\":{{}},\"package\":\"{}\"}}", vendored.checksum);
        let file = Node::File { digest: store.put_bytes(text.as_bytes())?, meta: Meta::root(0o644) };
        let at = |path: &str| GuestPath::new(path).expect("names of crates make good paths");
        tree.insert(&at(&format!("/{CHECKSUM}")), file).expect("the root is a folder");
        all.insert(&at(&format!("/{}", vendored.folder)), Node::Dir(tree)).expect("each crate has its own");
    }
    Ok(all)
}

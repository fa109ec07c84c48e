//! One layer: a tree as a gzip-compressed tar archive, made once.

use super::gzip::{self, Compressed};
use super::{ASSEMBLY, Error, tar};
use crate::base::{Cancel, Digest, GuestPath, Sha256};
use crate::store::{Meta, Node, Store, Tree};

/// What a finished layer is kept as: a tree, so that whatever keeps it keeps both.
const BLOB: &str = "/layer.tar.gz";
const DIFF_ID: &str = "/diff-id";

/// Gives a tree as a gzip-compressed tar archive, by itself, in the form that layers have; made once.
pub fn tarball(store: &Store, tree: &Digest, cancel: &Cancel) -> Result<Digest, Error> {
    let made = match made(store, tree)? {
        Some(made) => made,
        None => {
            let made = make(store, &store.tree(tree)?, gzip::cores(), &|_| {}, cancel)?;
            note(store, tree, &made)?;
            made
        }
    };
    Ok(made.blob)
}

/// Finds the layer that was made from a tree.
pub(super) fn made(store: &Store, tree: &Digest) -> Result<Option<Compressed>, Error> {
    let Some(kept) = store.memo(&key(tree))? else { return Ok(None) };
    let read = || -> Result<Option<Compressed>, crate::store::Error> {
        let kept = store.tree(&kept)?;
        let digest = |at: &str| match kept.get(&path(at)) {
            Some(Node::File { digest, .. }) => Some(*digest),
            _ => None,
        };
        let (Some(blob), Some(diff_id)) = (digest(BLOB), digest(DIFF_ID)) else { return Ok(None) };
        let diff_id = String::from_utf8(store.read_blob(&diff_id)?).ok().and_then(|text| text.parse().ok());
        if let Some(diff_id) = &diff_id {
            // Layers of earlier releases were made without.
            store.put_memo(&content_key(diff_id), tree)?;
        }
        Ok(diff_id.filter(|_| store.has_blob(&blob)).map(|content| Compressed { blob, content }))
    };
    match read() {
        Err(error) if error.is_lost() => Ok(None),
        other => Ok(other?),
    }
}

/// Makes the layer of a tree.
pub(super) fn make(
    store: &Store,
    tree: &Tree,
    workers: usize,
    progress: &(dyn Fn(u64) + Sync),
    cancel: &Cancel,
) -> Result<Compressed, Error> {
    gzip::compress(store, workers, progress, |blocks| {
        let mut writer = tar::Writer::new(store, cancel, blocks);
        writer.entries("", tree)?;
        writer.finish().map(drop)
    })
}

/// Notes the layer that was made of a tree.
pub(super) fn note(store: &Store, tree: &Digest, made: &Compressed) -> Result<(), Error> {
    let mut kept = Tree::default();
    let diff_id = store.put_bytes(made.content.oci().as_bytes())?;
    for (at, digest) in [(BLOB, made.blob), (DIFF_ID, diff_id)] {
        kept.insert(&path(at), Node::File { digest, meta: Meta::root(0o644) })
            .expect("two files at the root");
    }
    store.put_memo(&key(tree), &store.put_tree(&kept)?)?;
    Ok(store.put_memo(&content_key(&made.content), tree)?)
}

/// Finds the tree that a layer was made from, by the hash of the archive inside. Layers that were made elsewhere are not
/// found.
pub fn layer_tree(store: &Store, diff_id: &Sha256) -> Result<Option<Digest>, Error> {
    Ok(store.memo(&content_key(diff_id))?.filter(|tree| store.has_tree(tree)))
}

fn content_key(diff_id: &Sha256) -> Sha256 {
    Sha256::of(format!("layer of {diff_id}").as_bytes())
}

fn key(tree: &Digest) -> Sha256 {
    Sha256::of(format!("layer {ASSEMBLY} {tree}").as_bytes())
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).expect("a constant path")
}

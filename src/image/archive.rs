//! An image as one file, for `docker load`, `ctr images import`, `kind load image-archive` and `skopeo`.
//!
//! It is the image's tree as a tar archive: an OCI layout and a docker-archive in one. The files that say
//! what is where come first.

use std::io::Write;

use super::{Error, tar};
use crate::base::{Cancel, Digest};
use crate::store::{Node, Store, Tree};

/// Writes an image as an archive. Every blob is verified on the way; if one is damaged, the archive is
/// incomplete and must not be used.
pub fn archive(store: &Store, image: &Tree, out: impl Write, cancel: &Cancel) -> Result<(), Error> {
    let mut writer = tar::Writer::new(store, cancel, out);
    let is_dir = |node: &Node| matches!(node, Node::Dir(_));
    for dirs in [false, true] {
        for (name, node) in image.entries.iter().filter(|(_, node)| is_dir(node) == dirs) {
            writer.entry("", name, node)?;
        }
    }
    writer.finish().map(drop)
}

/// Writes an image as an archive into the store: a blob to be preloaded into another image.
pub fn archive_blob(store: &Store, image: &Tree, cancel: &Cancel) -> Result<Digest, Error> {
    let mut blob = store.blob_writer()?;
    archive(store, image, &mut blob, cancel)?;
    Ok(blob.finish()?)
}

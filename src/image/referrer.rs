//! What is attached to an image: OCI referrers (image-spec 1.1, manifest.md and image-layout.md).
//!
//! A referrer is a manifest that names the image as its `subject`. In a layout it stands in `index.json` behind the
//! image, where `oras`, `regctl` and the like look; skopeo then wants to hear the tag. An archive is loaded by engines
//! that take every entry of `index.json` for an image (containerd, and so `kind load`), so there the same index with
//! the referrers alone is a file of its own, [`REFERRERS`], which they pass over. The image is the same in both.

use std::collections::BTreeMap;

use super::oci::{self, Descriptor, Index, Manifest};
use super::read::load;
use super::{Error, blob_path};
use crate::base::{Digest, GuestPath};
use crate::store::{Meta, Node, Store, Tree};

/// The list of an archive's referrers: what a registry answers that is asked for them (distribution-spec 1.1).
pub const REFERRERS: &str = "/referrers.json";

/// One document about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// What it is, such as `application/spdx+json`.
    pub artifact_type: String,
    /// The media type of its one blob.
    pub media_type: String,
    /// The blob.
    pub blob: Digest,
    /// What a reader learns without the blob.
    pub annotations: BTreeMap<String, String>,
}

/// An image with its referrers, in both of the forms that files have; trees of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// For a layout.
    pub layout: Digest,
    /// For one file.
    pub archive: Digest,
}

/// Attaches documents to an image that [`super::assemble`] or [`super::join`] gave.
pub fn attach(store: &Store, image: &Tree, referrers: &[Referrer]) -> Result<Attached, Error> {
    let mut index: Index = load(store, image, "/index.json")?;
    let subject = match index.manifests.as_slice() {
        [subject] => Descriptor::new(&subject.media_type, subject.name()),
        _ => {
            let why = "does not name one manifest".to_owned();
            return Err(Error::NotAnImage { file: "/index.json".to_owned(), why });
        }
    };
    let mut tree = image.clone();
    let mut put = |path: &str, digest: Digest| {
        let path = GuestPath::new(path).expect("made of constants and a hash");
        tree.insert(&path, Node::File { digest, meta: Meta::root(0o644) }).expect("no file is a directory");
    };
    let mut entries = Vec::new();
    for referrer in referrers {
        let nothing = store.put_bytes(b"{}")?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: oci::MANIFEST.to_owned(),
            artifact_type: Some(referrer.artifact_type.clone()),
            config: Descriptor::new(oci::EMPTY, nothing),
            layers: vec![Descriptor::new(&referrer.media_type, referrer.blob)],
            subject: Some(subject.clone()),
            annotations: referrer.annotations.clone(),
        };
        let manifest = store.put_bytes(&oci::json(&manifest))?;
        for blob in [nothing, referrer.blob, manifest] {
            put(&blob_path(&blob), blob);
        }
        let mut entry = Descriptor::new(oci::MANIFEST, manifest);
        entry.artifact_type = Some(referrer.artifact_type.clone());
        entry.annotations = referrer.annotations.clone();
        entries.push(entry);
    }
    let alone = Index { manifests: entries.clone(), ..Index::default() };
    let alone = store.put_bytes(&oci::json(&alone))?;
    index.manifests.append(&mut entries);
    let index = store.put_bytes(&oci::json(&index))?;
    let mut archive = tree.clone();
    let file = |digest| Node::File { digest, meta: Meta::root(0o644) };
    let path = |text| GuestPath::new(text).expect("a constant path");
    archive.insert(&path(REFERRERS), file(alone)).expect("a file at the top");
    tree.insert(&path("/index.json"), file(index)).expect("a file in a file's place");
    Ok(Attached { layout: store.put_tree(&tree)?, archive: store.put_tree(&archive)? })
}

//! One image out of the same one for several platforms.

use std::collections::BTreeMap;

use super::oci::{self, Descriptor, Index};
use super::read::load;
use super::{Error, blob_path};
use crate::base::{Digest, GuestPath};
use crate::store::{Meta, Node, Store, Tree};

/// Puts images together that [`super::assemble`] gave, in this order: an OCI layout whose one entry is an index with a
/// manifest for each platform, under the images' name. `main` is the one that a reader of docker-archives gets, which
/// knows no index.
pub fn join(store: &Store, images: &[Tree], main: usize) -> Result<Tree, Error> {
    let mut joined = Tree::default();
    let mut manifests = Vec::new();
    let mut annotations = BTreeMap::new();
    let mut put = |path: &str, node: Node| {
        let path = GuestPath::new(path).expect("made of constants and a hash");
        joined.insert(&path, node).expect("no file is a directory");
    };
    let file = |digest| Node::File { digest, meta: Meta::root(0o644) };
    let blobs = GuestPath::new("/blobs/sha256").expect("a constant path");
    for image in images {
        let Index { manifests: own, .. } = load(store, image, "/index.json")?;
        for mut manifest in own {
            annotations = std::mem::take(&mut manifest.annotations);
            manifests.push(manifest);
        }
        for (name, node) in image.dir(&blobs).iter().flat_map(|dir| &dir.entries) {
            put(&format!("{blobs}/{name}"), node.clone());
        }
    }
    let index = Index { manifests, ..Index::default() };
    let index = store.put_bytes(&oci::json(&index))?;
    put(&blob_path(&index), file(index));
    let mut entry = Descriptor::new(oci::INDEX, index);
    entry.annotations = annotations;
    let top = Index { manifests: vec![entry], ..Index::default() };
    put("/index.json", file(store.put_bytes(&oci::json(&top))?));
    for name in ["/manifest.json", "/oci-layout"] {
        let path = GuestPath::new(name).expect("a constant path");
        let own = images.get(main).and_then(|image| image.get(&path));
        let own =
            own.ok_or_else(|| Error::NotAnImage { file: name.to_owned(), why: "is missing".to_owned() })?;
        put(name, own.clone());
    }
    Ok(joined)
}

/// Gives what is known as the digest of an image, whether it is for one platform or has an index.
pub fn digest(store: &Store, image: &Tree) -> Result<Digest, Error> {
    let index: Index = load(store, image, "/index.json")?;
    let why = || Error::NotAnImage { file: "/index.json".to_owned(), why: "names no manifest".to_owned() };
    index.manifests.first().map(Descriptor::name).ok_or_else(why)
}

//! What is in an image, for people and for `--json`.

use serde::de::DeserializeOwned;

use super::oci::{self, Index, Layers, Manifest};
use super::{Error, blob_path};
use crate::base::{Digest, GuestPath, Sha256};
use crate::store::{Node, Store, Tree};

/// What is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its full name, such as `docker.io/kindest/node:v1.32.2`.
    pub reference: String,
    /// The manifest: what is known as the image's digest.
    pub manifest: Digest,
    /// The configuration: the image's ID for Docker.
    pub config: Digest,
    /// The layers, lowest first.
    pub layers: Vec<LayerSummary>,
}

impl Summary {
    /// Adds up what a registry has to store: manifest, configuration and layers.
    pub fn size(&self) -> u64 {
        self.manifest.size + self.config.size + self.layers.iter().map(|layer| layer.blob.size).sum::<u64>()
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// The layer's name.
    pub name: String,
    /// The compressed archive.
    pub blob: Digest,
    /// The hash of the archive inside.
    pub diff_id: Sha256,
}

/// Reads an image that [`super::assemble`] gave.
pub fn read(store: &Store, image: &Tree) -> Result<Summary, Error> {
    let wrong = |file: &str, why: &str| Error::NotAnImage { file: file.to_owned(), why: why.to_owned() };
    let index: Index = load(store, image, "/index.json")?;
    let [manifest] = index.manifests.as_slice() else {
        return Err(wrong("/index.json", "does not name one manifest"));
    };
    let reference = manifest
        .annotations
        .get(oci::IMAGE_NAME)
        .ok_or_else(|| wrong("/index.json", "does not name the image"))?
        .clone();
    let manifest = manifest.name();
    let content: Manifest = load(store, image, &blob_path(&manifest))?;
    let config = content.config.name();
    let Layers { rootfs, mut history } = load(store, image, &blob_path(&config))?;
    history.retain(|entry| !entry.empty_layer);
    if rootfs.diff_ids.len() != content.layers.len() || history.len() != content.layers.len() {
        return Err(wrong(&blob_path(&config), "has other layers than the manifest"));
    }
    let layers =
        content.layers.iter().zip(rootfs.diff_ids).zip(history).map(|((layer, diff_id), history)| {
            LayerSummary { name: history.created_by, blob: layer.name(), diff_id: diff_id.0 }
        });
    Ok(Summary { reference, manifest, config, layers: layers.collect() })
}

pub(super) fn load<T: DeserializeOwned>(store: &Store, image: &Tree, file: &str) -> Result<T, Error> {
    let wrong = |why: String| Error::NotAnImage { file: file.to_owned(), why };
    let path = GuestPath::new(file).expect("made of constants and a hash");
    let Some(Node::File { digest, .. }) = image.get(&path) else {
        return Err(wrong("is missing".to_owned()));
    };
    serde_json::from_slice(&store.read_blob(digest)?)
        .map_err(|error| wrong(format!("does not parse: {error}")))
}

//! Trees become an OCI image, the same bytes everywhere.
//!
//! In goes a [`Spec`]: a name, a platform, a configuration and trees of the store, lowest first. Out comes the
//! image as a [`Tree`] of the store, which is an OCI image layout and, as one file ([`archive()`]), both an OCI
//! archive and a docker-archive:
//!
//! ```text
//! oci-layout             the layout's version
//! index.json             one manifest, under the image's full name (containerd) and tag (OCI)
//! manifest.json          the docker-archive's list: name, configuration, layers
//! blobs/sha256/<hex>     layers, configuration, manifest
//! ```
//!
//! [`join`] makes one of the same image for several platforms: `index.json` names an index among the blobs, which names a
//! manifest for each; `manifest.json`, which knows no platforms, is one platform's.
//!
//! [`attach`] adds documents about an image, which leave its digest as it is.
//!
//! Whatever keeps that tree keeps the whole image. A layer is made once ([`Store::memo`]). Of an image that is built on
//! another one the tree names the base's layers, whose blobs need not be there yet.
//!
//! # Assembly 1
//!
//! What follows decides digests, and [`ASSEMBLY`] numbers it: a lock pins the number, so that a later
//! release which assembles otherwise still knows this way.
//!
//! | of | is |
//! | --- | --- |
//! | stacking | a directory `root:root` 0755 takes what the layers below say ([`union`]) |
//! | tar | `ustar`, `pax` where needed; sorted; times 0; numeric owners; no hard links; no entry for the root |
//! | gzip | one member; blocks of 1 MiB of the archive, each deflated by itself at level 5, or stored |
//! | base | its layers and configuration as they are, ours behind them |
//! | JSON | compact; fields in a fixed order; `created` is the epoch; a history entry per layer |
//! | media types | `application/vnd.oci.image.*.v1`, layers `tar+gzip`: Docker 20.10 knows no zstd |
//!
//! Never: network, a file outside the store, a clock, a thread count in a byte of output.

mod archive;
mod base;
mod error;
mod gzip;
mod index;
mod layer;
mod oci;
mod read;
mod reference;
mod referrer;
mod stack;
mod tar;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::event::{self, Activity, Event, Outcome, Sink};
use crate::base::{Cancel, Digest, GuestPath};
use crate::store::{Meta, Node, Store, Tree};
use gzip::Compressed;
use reference::Reference;

pub use archive::{archive, archive_blob};
pub use base::{BaseLayer, base, base_layers};
pub use error::Error;
pub use index::{digest, join};
pub use layer::layer_tree;
pub use layer::tarball;
pub use oci::Platform;
pub use read::{LayerSummary, Summary, read};
pub use referrer::{Attached, REFERRERS, Referrer, attach};
pub use stack::union;

/// The number of the algorithm that this release assembles by; see the module doc.
pub const ASSEMBLY: u32 = 1;

/// All that an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The algorithm's number, from the lock.
    pub assembly: u32,
    /// The platform that manifest and configuration name.
    pub platform: Platform,
    /// The image's name, `repository:tag`.
    pub reference: String,
    /// How a container of it runs.
    pub config: Config,
    /// What it is built on.
    pub base: Option<BaseImage>,
    /// The layers that are added, lowest first.
    pub layers: Vec<Layer>,
}

/// What an image is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// Its manifest and configuration: [`base()`].
    pub image: Digest,
    /// What is in it, a tree of the store.
    pub tree: Digest,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The layer's name, for people: it stands in the image's history.
    pub name: String,
    /// What is in it, a tree of the store.
    pub tree: Digest,
}

/// How a container of the image runs (image-spec, config.md).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// The command that always runs.
    pub entrypoint: Vec<String>,
    /// The default arguments.
    pub cmd: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The user, `uid` or `uid:gid` or a name of the image.
    pub user: Option<String>,
    /// The working directory.
    pub working_dir: Option<GuestPath>,
    /// The signal that stops a container, such as `SIGINT`.
    pub stop_signal: Option<String>,
    /// Ports that a container listens on, such as `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Makes an image. Its blobs are in the store, the tree itself is not yet.
pub fn assemble(store: &Store, spec: &Spec, events: &dyn Sink, cancel: &Cancel) -> Result<Tree, Error> {
    assemble_on(gzip::cores(), true, store, spec, events, cancel)
}

/// Makes an image and every layer that is added as if for the first time, with that many threads: to see whether the
/// same comes out.
pub fn assemble_again(
    workers: usize,
    store: &Store,
    spec: &Spec,
    events: &dyn Sink,
    cancel: &Cancel,
) -> Result<Tree, Error> {
    assemble_on(workers, false, store, spec, events, cancel)
}

fn assemble_on(
    workers: usize,
    recall: bool,
    store: &Store,
    spec: &Spec,
    events: &dyn Sink,
    cancel: &Cancel,
) -> Result<Tree, Error> {
    if spec.assembly != ASSEMBLY {
        return Err(Error::Assembly { found: spec.assembly, known: ASSEMBLY });
    }
    let reference = Reference::parse(&spec.reference)?;
    if spec.layers.is_empty() && spec.base.is_none() {
        return Err(Error::NoLayer { reference: spec.reference.clone() });
    }
    let mut stack = match &spec.base {
        Some(base) => stack::Stack::on(store.tree(&base.tree)?),
        None => stack::Stack::default(),
    };
    let mut trees = Vec::new();
    for layer in &spec.layers {
        trees.push(stack.push(&layer.name, store.tree(&layer.tree)?)?);
    }
    let mut layers = Vec::new();
    for (layer, tree) in spec.layers.iter().zip(&trees) {
        layers.push(told(&layer.name, tree.size(), events, |progress| {
            let digest = store.put_tree(tree)?;
            if let Some(made) = if recall { layer::made(store, &digest)? } else { None } {
                return Ok((made, Outcome::Reused));
            }
            let made = layer::make(store, tree, workers, progress, cancel)?;
            if recall {
                layer::note(store, &digest, &made)?;
            }
            Ok((made, Outcome::Done))
        })?);
    }
    describe(store, spec, &reference, &layers)
}

/// Runs a layer's making between the events that tell of it.
fn told(
    name: &str,
    total: u64,
    events: &dyn Sink,
    make: impl FnOnce(&(dyn Fn(u64) + Sync)) -> Result<(Compressed, Outcome), Error>,
) -> Result<Compressed, Error> {
    let id = event::next_id();
    events.emit(Event::Started {
        id,
        kind: Activity::Assemble,
        name: format!("layer {name}"),
        total: Some(total),
    });
    let made = make(&|done| events.emit(Event::Progress { id, done: done.min(total) }));
    let (outcome, detail) = match &made {
        Ok((made, outcome)) => {
            let size = |bytes: u64| match bytes {
                0..1_000 => format!("{bytes} B"),
                1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
                _ => format!("{:.1} MB", bytes as f64 / 1e6),
            };
            (*outcome, format!("{}, {} compressed", size(total), size(made.blob.size)))
        }
        Err(Error::Cancelled) => (Outcome::Stopped, String::new()),
        Err(_) => (Outcome::Failed, String::new()),
    };
    events.emit(Event::Finished { id, outcome, detail });
    made.map(|(made, _)| made)
}

/// Writes configuration, manifest and index around finished layers.
fn describe(store: &Store, spec: &Spec, reference: &Reference, layers: &[Compressed]) -> Result<Tree, Error> {
    let mut image = Tree::default();
    let mut put = |path: &str, digest: Digest| {
        let path = GuestPath::new(path).expect("made of constants and a hash");
        image.insert(&path, Node::File { digest, meta: Meta::root(0o644) }).expect("no file is a directory");
    };
    let descriptor = |kind: &str, json: &[u8]| -> Result<oci::Descriptor, Error> {
        Ok(oci::Descriptor::new(kind, store.put_bytes(json)?))
    };
    let named: Vec<_> =
        spec.layers.iter().zip(layers).map(|(layer, made)| (layer.name.as_str(), made.content)).collect();
    let base = spec.base.map(|base| base::Base::read(store, &base.image)).transpose()?;
    let config = match &base {
        Some(base) => base.configure(&spec.platform, &spec.config, &named)?,
        None => oci::json(&oci::Image::new(&spec.platform, &spec.config, &named)),
    };
    let config = descriptor(oci::CONFIG, &config)?;
    let below = base.iter().flat_map(|base| &base.layers);
    let below = below.map(|layer| oci::Descriptor::new(&layer.media_type, layer.blob));
    let all: Vec<_> =
        below.chain(layers.iter().map(|made| oci::Descriptor::new(oci::LAYER, made.blob))).collect();
    let archived = oci::Archived {
        config: blob_path(&config.name())[1..].to_owned(),
        repo_tags: vec![reference.full().to_owned()],
        layers: all.iter().map(|layer| blob_path(&layer.name())[1..].to_owned()).collect(),
    };
    put(&blob_path(&config.name()), config.name());
    all.iter().for_each(|layer| put(&blob_path(&layer.name()), layer.name()));
    let manifest = oci::Manifest {
        schema_version: 2,
        media_type: oci::MANIFEST.to_owned(),
        artifact_type: None,
        config,
        layers: all,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let mut manifest = descriptor(oci::MANIFEST, &oci::json(&manifest))?;
    put(&blob_path(&manifest.name()), manifest.name());
    manifest.annotations = BTreeMap::from([
        (oci::IMAGE_NAME.to_owned(), reference.full().to_owned()),
        (oci::REF_NAME.to_owned(), reference.tag().to_owned()),
    ]);
    manifest.platform = Some(spec.platform.clone());
    let index = oci::Index { manifests: vec![manifest], ..oci::Index::default() };
    put("/index.json", store.put_bytes(&oci::json(&index))?);
    put("/manifest.json", store.put_bytes(&oci::json(&[archived]))?);
    put("/oci-layout", store.put_bytes(oci::LAYOUT.as_bytes())?);
    Ok(image)
}

/// Where a blob is in an image's tree.
fn blob_path(digest: &Digest) -> String {
    format!("/blobs/sha256/{}", digest.hash)
}

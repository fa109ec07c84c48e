//! Images of registries (OCI distribution; Docker's registry API v2): what a name stands for now, and the bytes
//! that a digest names.
//!
//! [`resolve`] asks; [`manifest`] and [`layer`] must match a digest and ask nobody, neither a registry nor a
//! credential helper, for what the store has. All bytes go into the store as they come: a manifest's bytes are
//! what its digest names, so they are never written anew.
//!
//! A registry is asked at its mirrors first (`[mirrors]` in nodeimg's `config.toml`):
//!
//! ```toml
//! [mirrors]
//! "docker.io" = ["https://mirror.example/"]              # docker.io/a/b is asked at mirror.example/v2/a/b
//! "docker.io/kindest" = ["http://127.0.0.1:5000/kind/"]  # docker.io/kindest/node: 127.0.0.1:5000/v2/kind/node
//! ```
//!
//! Without TLS only a mirror that is written with `http://` is asked, and registries on this machine
//! (`localhost:5000/…`).
//!
//! Who asks is told only after a registry wanted to know (401). Credentials are those of `docker login`; they go
//! to the registry that they are for, and to the place where it says that its
//! tokens are, over TLS or within this machine; never to where a redirect leads.

mod challenge;
mod credentials;
mod document;
mod error;
mod reference;
mod referrers;
mod remote;
mod tags;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use reference::Reference;
pub use referrers::{by_digest, named, referrers, tagged};
pub(super) use remote::Access;
pub use tags::{at_tag, tags};

use std::collections::BTreeMap;

use super::{Context, Error as FetchError};
use crate::base::{Arch, Digest, Sha256};
use document::{Configuration, Document, Fault, Manifest};
use remote::Remote;

/// What a name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The index, or the manifest if there is no index.
    pub digest: Digest,
    /// The manifest of each platform that nodeimg builds for and the image has.
    pub platforms: BTreeMap<Arch, Sha256>,
}

/// An image for one platform. Its manifest and its configuration are in the store, its layers maybe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The manifest's bytes.
    pub manifest: Digest,
    /// The configuration's bytes.
    pub config: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The hash of each layer's tar, as the configuration has them.
    pub diff_ids: Vec<Sha256>,
}

/// A layer as its manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// OCI's or Docker's, as it stands in the manifest.
    pub media_type: &'static str,
    /// What the media type says about the bytes.
    pub compression: Compression,
    /// The bytes as a registry has them.
    pub digest: Digest,
}

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Asks the registry what a reference names now. Its manifests come into the store.
pub fn resolve(reference: &Reference, context: &Context<'_>) -> Result<Resolved, FetchError> {
    let remote = Remote::new(reference, context)?;
    let digest = match reference.digest() {
        Some(hash) => remote.manifest(hash)?,
        None => remote.tagged()?,
    };
    let mut platforms = BTreeMap::new();
    match document(reference, &digest, context)? {
        Document::Index(index) => {
            for arch in Arch::ALL {
                if let Some(picked) = index.pick(arch) {
                    image(&reference.content(picked.hash), &picked, context)?;
                    platforms.insert(arch, picked.hash);
                }
            }
            if platforms.is_empty() {
                let (what, why) = (reference.to_string(), "neither linux/amd64 nor linux/arm64");
                let why = format!("it is for {why}; it is for {}", index.platforms());
                return Err(Error::Unsuitable { what, why }.into());
            }
        }
        Document::Manifest(manifest) => {
            let (config, _) = configuration(reference, &manifest, context)?;
            let fitting = Arch::ALL.into_iter().filter(|arch| config.platform.fits(*arch));
            platforms.extend(fitting.map(|arch| (arch, digest.hash)));
            if platforms.is_empty() {
                let why = format!("it is for {}, neither linux/amd64 nor linux/arm64", config.platform);
                return Err(Error::Unsuitable { what: reference.to_string(), why }.into());
            }
        }
    }
    Ok(Resolved { digest, platforms })
}

/// Gives the image for a platform that `digest`, an index or a manifest, names. What the store has is not
/// asked for.
pub fn manifest(
    reference: &Reference,
    digest: &Sha256,
    arch: Arch,
    context: &Context<'_>,
) -> Result<Base, FetchError> {
    let what = reference.at(*digest);
    let brought = bring(&what, digest, context)?;
    let (what, brought, manifest) = match document(&what, &brought, context)? {
        Document::Manifest(manifest) => (what, brought, manifest),
        Document::Index(index) => {
            let Some(picked) = index.pick(arch) else {
                let (what, has) = (what.to_string(), index.platforms());
                return Err(Error::Platform { what, wanted: arch, has }.into());
            };
            let what = reference.content(picked.hash);
            let manifest = image(&what, &picked, context)?;
            (what, picked, manifest)
        }
    };
    let (config, bytes) = configuration(&what, &manifest, context)?;
    if !config.platform.fits(arch) {
        let (what, has) = (what.to_string(), config.platform.to_string());
        return Err(Error::Platform { what, wanted: arch, has }.into());
    }
    if config.diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
        let reason = format!("its manifest has {layers} layers and its configuration {diff_ids}");
        return Err(Error::Malformed { what: what.to_string(), reason }.into());
    }
    Ok(Base { manifest: brought, config: bytes, layers: manifest.layers, diff_ids: config.diff_ids })
}

/// Brings a layer into the store. Several may be asked for at once.
pub fn layer(reference: &Reference, layer: &Digest, context: &Context<'_>) -> Result<Digest, FetchError> {
    blob(reference, layer, context)
}

fn blob(reference: &Reference, digest: &Digest, context: &Context<'_>) -> Result<Digest, FetchError> {
    let what = reference.content(digest.hash);
    match context.store.find_blob(&digest.hash) {
        Some(found) => sized(&what, digest, found),
        None => Remote::new(&what, context)?.blob(digest),
    }
}

/// Compares what came with what it should be: the size that a document gives may be a lie, and no blob of the
/// store may be asked for by it.
fn sized(what: &Reference, expected: &Digest, found: Digest) -> Result<Digest, FetchError> {
    if found.size == expected.size {
        return Ok(found);
    }
    let reason = format!("it has {} bytes, not the {} that are said of it", found.size, expected.size);
    Err(Error::Malformed { what: what.to_string(), reason }.into())
}

/// Gives a manifest that the store has, else the registry's.
fn bring(what: &Reference, hash: &Sha256, context: &Context<'_>) -> Result<Digest, FetchError> {
    match context.store.find_blob(hash) {
        Some(digest) => Ok(digest),
        None => Remote::new(what, context)?.manifest(hash),
    }
}

/// Reads a document of the store.
fn document(what: &Reference, digest: &Digest, context: &Context<'_>) -> Result<Document, FetchError> {
    Ok(document::read(&bytes(what, digest, context)?).map_err(|fault| fault.about(what))?)
}

/// Brings and reads what an index names, which must be an image.
fn image(what: &Reference, digest: &Digest, context: &Context<'_>) -> Result<Manifest, FetchError> {
    let brought = sized(what, digest, bring(what, &digest.hash, context)?)?;
    match document(what, &brought, context)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => {
            let reason = "its index names an index as an image".to_owned();
            Err(Error::Malformed { what: what.to_string(), reason }.into())
        }
    }
}

/// Brings and reads an image's configuration.
fn configuration(
    what: &Reference,
    manifest: &Manifest,
    context: &Context<'_>,
) -> Result<(Configuration, Digest), FetchError> {
    let digest = blob(what, &manifest.config, context)?;
    let bytes = bytes(what, &digest, context)?;
    Ok((document::configuration(&bytes).map_err(|fault| fault.about(what))?, digest))
}

fn bytes(what: &Reference, digest: &Digest, context: &Context<'_>) -> Result<Vec<u8>, FetchError> {
    if digest.size > document::LARGEST {
        let reason = format!("more than {} bytes", document::LARGEST);
        return Err(Error::Malformed { what: what.to_string(), reason }.into());
    }
    Ok(context.store.read_blob(digest)?)
}

impl Fault {
    fn about(self, what: &Reference) -> Error {
        let what = what.to_string();
        match self {
            Fault::Unsuitable(why) => Error::Unsuitable { what, why },
            Fault::Malformed(reason) => Error::Malformed { what, reason },
        }
    }
}

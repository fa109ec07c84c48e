//! Signatures and documents beside an image in an OCI layout, where cosign and readers of OCI referrers find them.
//!
//! In goes an image's tree, an OCI layout; out comes one that has more in it, the image as it was. What is added:
//!
//! | entry of `index.json` | for |
//! | --- | --- |
//! | a manifest per document with the image as its `subject`, `artifactType` the document's media type (image-spec 1.1) | `oras discover`, registries' referrers API |
//! | `kind: dev.cosignproject.cosign/sigs`, named `sha256-<hex>.sig`: a layer per signature, its payload cosign's "simple signing" | `cosign verify` |
//! | `kind: dev.cosignproject.cosign/atts`, named `sha256-<hex>.att`: a layer per signed statement, a DSSE envelope | `cosign verify-attestation` |
//!
//! The image's own entry gets `kind: dev.cosignproject.cosign/image` (or `imageIndex`). This is what `cosign save`
//! writes, so `cosign verify --local-image` takes the folder and `cosign load` brings all of it into a registry, under
//! those names as tags.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::dsse::{self, Envelope};
use super::{Error, SigningKey};
use crate::base::{Digest, GuestPath, Sha256};
use crate::store::{Meta, Node, Store, Tree};

const KIND: &str = "kind";
const IMAGE: &str = "dev.cosignproject.cosign/image";
const IMAGE_INDEX: &str = "dev.cosignproject.cosign/imageIndex";
/// The kind of the image whose layers are signatures.
pub const SIGNATURES: &str = "dev.cosignproject.cosign/sigs";
/// The kind of the image whose layers are signed statements.
pub const ATTESTATIONS: &str = "dev.cosignproject.cosign/atts";

/// The annotation with a layer's signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The media type of a signature's payload.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A document about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its file's name.
    pub name: String,
    /// What it is, such as `application/spdx+json`.
    pub media_type: String,
    /// What kind of predicate it is, in a statement.
    pub predicate: String,
    /// The document.
    pub content: Vec<u8>,
    /// The statement that is signed; the document itself, or one that has it as its predicate.
    pub statement: Vec<u8>,
}

/// Says which image is signed, in cosign's form of containers' "simple signing".
fn payload(repository: &str, digest: &Sha256) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": repository },
            "image": { "docker-manifest-digest": digest.oci() },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    bytes(&payload)
}

/// An image's tree, to which things are added.
pub struct Layout<'a> {
    store: &'a Store,
    tree: Tree,
    index: Value,
    /// The image.
    subject: Value,
    digest: Sha256,
}

impl<'a> Layout<'a> {
    /// Takes a tree whose `index.json` names one image first.
    pub fn open(store: &'a Store, tree: Tree) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Layout { what: "the image".to_owned(), reason: reason.to_owned() };
        let Some(Node::File { digest, .. }) = tree.get(&path("/index.json")) else {
            return Err(wrong("it has no `index.json`"));
        };
        let index: Value = serde_json::from_slice(&store.read_blob(digest)?)
            .map_err(|error| wrong(&format!("its `index.json` does not parse: {error}")))?;
        let image = &index["manifests"][0];
        let digest = image["digest"].as_str().and_then(|digest| digest.parse().ok());
        let digest = digest.ok_or_else(|| wrong("its `index.json` names no image"))?;
        let subject = json!({
            "mediaType": image["mediaType"],
            "digest": image["digest"],
            "size": image["size"],
        });
        Ok(Self { store, tree, index, subject, digest })
    }

    /// The image's digest.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// Attaches documents as referrers.
    pub fn attach(&mut self, documents: &[Document]) -> Result<(), Error> {
        for document in documents {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": document.media_type,
                "config": self.put(EMPTY, b"{}")?,
                "layers": [self.put(&document.media_type, &document.content)?],
                "subject": self.subject,
                "annotations": { "org.opencontainers.image.title": document.name },
            });
            let mut entry = self.put(MANIFEST, &bytes(&manifest))?;
            entry["artifactType"] = document.media_type.as_str().into();
            entry["annotations"] = manifest["annotations"].clone();
            self.add(entry);
        }
        Ok(())
    }

    /// Signs the image and the statements; gives the envelopes, in the documents' order. `repository` is the image's
    /// name without its tag.
    pub fn sign(
        &mut self,
        repository: &str,
        documents: &[Document],
        key: &SigningKey,
    ) -> Result<Vec<Envelope>, Error> {
        let payload = payload(repository, &self.digest);
        let mut layer = self.put(SIMPLE_SIGNING, &payload)?;
        layer["annotations"] = json!({ SIGNATURE: STANDARD.encode(key.sign(&payload)) });
        let is_index = self.subject["mediaType"] == INDEX;
        self.index["manifests"][0]["annotations"][KIND] = if is_index { IMAGE_INDEX } else { IMAGE }.into();
        self.cosign(SIGNATURES, "sig", vec![layer])?;
        let (mut envelopes, mut layers) = (Vec::new(), Vec::new());
        for document in documents {
            let envelope = dsse::sign(dsse::IN_TOTO, document.statement.clone(), key);
            let mut layer = self.put(dsse::MEDIA_TYPE, &envelope.to_json())?;
            // cosign looks for the first of them, and reads the signature in the envelope.
            layer["annotations"] = json!({ SIGNATURE: "", "predicateType": document.predicate });
            layers.push(layer);
            envelopes.push(envelope);
        }
        self.cosign(ATTESTATIONS, "att", layers)?;
        Ok(envelopes)
    }

    /// Adds an image of cosign's, whose layers are signatures.
    fn cosign(&mut self, kind: &str, suffix: &str, layers: Vec<Value>) -> Result<(), Error> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(CONFIG, &bytes(&config))?,
            "layers": layers,
        });
        let mut entry = self.put(MANIFEST, &bytes(&manifest))?;
        let name = format!("sha256-{}.{suffix}", self.digest);
        entry["annotations"] = json!({ KIND: kind, REF_NAME: name });
        // In cosign's words; whoever looks for the image among the entries passes over what says what it is.
        entry["artifactType"] = format!("application/vnd.dev.cosign.artifact.{suffix}.v1+json").into();
        self.add(entry);
        Ok(())
    }

    /// Gives the tree with all that was added.
    pub fn finish(mut self) -> Result<Tree, Error> {
        let index = self.store.put_bytes(&bytes(&self.index))?;
        self.insert(&path("/index.json"), index);
        Ok(self.tree)
    }

    fn add(&mut self, entry: Value) {
        if let Some(entries) = self.index["manifests"].as_array_mut() {
            entries.push(entry);
        }
    }

    /// Puts a blob into the layout and gives its descriptor.
    fn put(&mut self, media_type: &str, content: &[u8]) -> Result<Value, Error> {
        let digest = self.store.put_bytes(content)?;
        self.insert(&path(&format!("/blobs/sha256/{}", digest.hash)), digest);
        let mut descriptor = Map::new();
        descriptor.insert("mediaType".to_owned(), media_type.into());
        descriptor.insert("digest".to_owned(), digest.hash.oci().into());
        descriptor.insert("size".to_owned(), digest.size.into());
        Ok(descriptor.into())
    }

    fn insert(&mut self, path: &GuestPath, digest: Digest) {
        let file = Node::File { digest, meta: Meta::root(0o644) };
        self.tree.insert(path, file).expect("a layout has files in these places");
    }
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).expect("made of constants and a hash")
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain values are JSON")
}

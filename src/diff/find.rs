//! What is compared: found by a path of this machine or by a digest of the store.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::image::{self, Differences, Image, Place};
use super::{Change, Depth, Detail, Error, Package, compare_around, content, debian};
use crate::base::{Cancel, Digest, Sha256};
use crate::store::{Node, Owners, Store, Tree};
use crate::unpack;

/// A name and what it stands for.
pub struct Thing<'a> {
    /// What it was called.
    pub name: String,
    /// What it is.
    pub what: What<'a>,
}

/// What can be compared.
pub enum What<'a> {
    /// Images, one for each machine.
    Images(Vec<Image<'a>>),
    /// Files, a tree of the store.
    Tree(Digest),
    /// One file, a blob of the store.
    File(Digest),
}

impl What<'_> {
    fn kind(&self) -> &'static str {
        match self {
            What::Images(_) => "an image",
            What::Tree(_) => "a folder of files",
            What::File(_) => "a file",
        }
    }
}

/// What two things differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Content {
    /// Images, machine by machine, and the machines that only one of them is for.
    Images { images: Vec<Differences>, alone: Vec<Detail> },
    /// Files.
    Files { packages: Vec<Package>, files: Vec<Change> },
    /// One file.
    File { details: Vec<Detail> },
}

impl Content {
    /// Tells whether nothing differs.
    pub fn is_equal(&self) -> bool {
        match self {
            Content::Images { images, alone } => alone.is_empty() && images.iter().all(|image| image.equal),
            Content::Files { files, .. } => files.is_empty(),
            Content::File { details } => details.is_empty(),
        }
    }
}

impl<'a> Thing<'a> {
    /// Finds a file or folder of this machine; nothing if there is none of that name.
    pub fn at(store: &'a Store, name: &str, path: &Path, cancel: &Cancel) -> Result<Option<Self>, Error> {
        let thing = |what| Ok(Some(Self { name: name.to_owned(), what }));
        if path.is_dir() {
            let folder = image_folder(path);
            let is_image = ["index.json", "manifest.json"].iter().any(|file| folder.join(file).is_file());
            if is_image && let Some(images) = image::open(store, name, &Place::Folder(folder))? {
                return thing(What::Images(images));
            }
            let tree = store.ingest(path, Owners::AllRoot)?;
            return thing(What::Tree(store.put_tree(&tree)?));
        }
        if !path.is_file() {
            return Ok(None);
        }
        if let Some(images) = image::open(store, name, &Place::Archive(path.to_owned()))? {
            return thing(What::Images(images));
        }
        let failed = |source: io::Error| Error::Read { path: path.to_owned(), source };
        let mut writer = store.blob_writer()?;
        let mut file = fs_err::File::open(path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                count => io::Write::write_all(&mut writer, &buffer[..count]).map_err(failed)?,
            }
        }
        let blob = writer.finish()?;
        thing(of_blob(store, name, &blob, cancel)?)
    }

    /// Finds what has a digest in the store; nothing if the text is no digest.
    pub fn of_digest(store: &'a Store, text: &str, cancel: &Cancel) -> Result<Option<Self>, Error> {
        let hex = text.split_once('/').map_or(text, |(hex, _)| hex);
        let Ok(hash) = hex.parse::<Sha256>() else { return Ok(None) };
        if let Some(tree) = store.find_tree(&hash) {
            return Self::of_tree(store, text, tree).map(Some);
        }
        if let Some(blob) = store.find_blob(&hash) {
            let what = of_blob(store, text, &blob, cancel)?;
            return Ok(Some(Self { name: text.to_owned(), what }));
        }
        // The size of an action is no part of what it is found by.
        if let Some(result) = store.action_result(&Digest { hash, size: 0 })? {
            return Self::of_tree(store, text, result.tree).map(Some);
        }
        Err(Error::NotInStore { name: text.to_owned() })
    }

    /// Gives the digest that the store knows its making by: an image's manifest, a tree, a blob.
    pub fn digest(&self) -> Option<Sha256> {
        match &self.what {
            What::Images(images) => images.first()?.manifest.map(|digest| digest.hash),
            What::Tree(digest) | What::File(digest) => Some(digest.hash),
        }
    }

    /// Takes a tree of the store, which may be an image.
    pub fn of_tree(store: &'a Store, name: &str, digest: Digest) -> Result<Self, Error> {
        let what = what(store, name, &store.tree(&digest)?, digest)?;
        Ok(Self { name: name.to_owned(), what })
    }
}

/// Gives the layout of an image whose folder a build has left, of anything else the path itself.
pub fn image_folder(path: &Path) -> PathBuf {
    let layout = path.join("oci");
    if layout.join("index.json").is_file() { layout } else { path.to_owned() }
}

fn what<'a>(store: &'a Store, name: &str, tree: &Tree, digest: Digest) -> Result<What<'a>, Error> {
    let has = |file: &str| matches!(tree.entries.get(file), Some(Node::File { .. }));
    // An image's tree is a layout; a base's, which is a manifest and a configuration, is none.
    if has("index.json") && has("oci-layout") {
        return Ok(What::Images(image::open(store, name, &Place::Tree(digest))?.unwrap_or_default()));
    }
    Ok(What::Tree(digest))
}

fn of_blob<'a>(store: &'a Store, name: &str, blob: &Digest, cancel: &Cancel) -> Result<What<'a>, Error> {
    let mut head = Vec::new();
    let failed = |source| Error::Read { path: name.into(), source };
    store.open_blob(blob)?.take(512).read_to_end(&mut head).map_err(failed)?;
    if head.trim_ascii_start().starts_with(b"{") && blob.size < (8 << 20) {
        let document: Option<serde_json::Value> = serde_json::from_slice(&store.read_blob(blob)?).ok();
        let is_image = |document: &serde_json::Value| {
            document["schemaVersion"] == 2
                && (document["manifests"].is_array() || document["layers"].is_array())
        };
        if document.is_some_and(|document| is_image(&document)) {
            let images = image::open(store, name, &Place::Manifest(*blob))?;
            return Ok(What::Images(images.unwrap_or_default()));
        }
    }
    let options = unpack::Options { strip: Some(0), ..unpack::Options::default() };
    match unpack::archive(store, blob, name, &options, cancel) {
        Ok(tree) => what(store, name, &tree, store.put_tree(&tree)?),
        Err(unpack::Error::Unknown { .. }) => Ok(What::File(*blob)),
        Err(error) => Err(error.into()),
    }
}

/// Compares two things of one kind.
pub fn things(
    store: &Store,
    before: &Thing<'_>,
    now: &Thing<'_>,
    depth: Depth,
    cancel: &Cancel,
) -> Result<Content, Error> {
    match (&before.what, &now.what) {
        (What::Images(old), What::Images(new)) => {
            let (images, alone) = image::compare(store, old, new, depth, cancel)?;
            if images.is_empty() {
                let platforms = |images: &[Image<'_>]| {
                    images.iter().map(|image| image.platform.clone()).collect::<Vec<_>>().join(", ")
                };
                let (one, other) = (platforms(old), platforms(new));
                let (before, now) = (before.name.clone(), now.name.clone());
                return Err(Error::Platforms { before, one, now, other });
            }
            Ok(Content::Images { images, alone })
        }
        (What::Tree(old), What::Tree(new)) if old == new => {
            Ok(Content::Files { packages: Vec::new(), files: Vec::new() })
        }
        (What::Tree(old), What::Tree(new)) => {
            let (old, new) = (store.tree(old)?, store.tree(new)?);
            let packages = image::packages(store, &old, &new)?;
            let owners = debian::owners(store, &packages, [&old, &new])?;
            let files = compare_around(store, &old, &new, &owners, depth)?;
            Ok(Content::Files { packages, files })
        }
        (What::File(old), What::File(new)) => {
            Ok(Content::File { details: content::files(store, &now.name, old, new)? })
        }
        (old, new) => Err(Error::Mixed {
            before: before.name.clone(),
            is: old.kind(),
            now: now.name.clone(),
            other: new.kind(),
        }),
    }
}

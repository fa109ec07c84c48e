//! Images that are to be made again, and what they carry: a layout, an archive, a registry.

use std::io::{Read as _, Seek as _};
use std::path::Path;

use serde_json::Value;
use sha2::Digest as _;

use super::super::Error as PipelineError;
use super::super::closure::{ARTIFACT, MEDIA_TYPE, PLATFORMS, TARGET};
use super::Error;
use crate::base::{Digest, Sha256};
use crate::fetch::Context;
use crate::fetch::oci::{self, Reference};
use crate::image::REFERRERS;

/// Larger ones are no documents.
const MAX_DOCUMENT: u64 = 8 << 20;

/// Larger ones are no recipes: a project of this size has sources in it that should be fetched.
const MAX_PROJECT: u64 = 1 << 30;

/// What an image says of how it was made.
#[derive(Debug)]
pub(super) struct Carried {
    /// The digest of the image: of its manifest, or of its index.
    pub digest: Sha256,
    /// The recipes, locks and patches, as an archive in the store.
    pub project: Digest,
    /// The recipe.
    pub target: String,
    /// The platforms.
    pub platforms: Vec<String>,
}

/// Where an image's documents and blobs are.
enum Place<'a> {
    Layout(&'a Path),
    Archive(&'a Path),
    Registry(Reference),
}

/// Opens an image.
pub(super) fn open(name: &str, context: &Context<'_>) -> Result<Carried, PipelineError> {
    Image { name, place: place(name)?, context }.read()
}

/// Reads every blob of an image in a file or a folder; gives how many bytes they have.
pub(super) fn check(name: &str, context: &Context<'_>) -> Result<u64, PipelineError> {
    let image = Image { name, place: place(name)?, context };
    if matches!(image.place, Place::Registry(_)) {
        return Ok(0);
    }
    let subject = image.subject(&image.named_file("index.json")?)?;
    let mut size = 0;
    let mut open = vec![subject];
    while let Some(hash) = open.pop() {
        let manifest = image.manifest(hash)?;
        for one in manifest["manifests"].as_array().into_iter().flatten() {
            open.push(image.hash(one)?);
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for blob in layers.chain(manifest.get("config")) {
            size += image.verified(image.hash(blob)?)?;
        }
    }
    Ok(size)
}

fn place(name: &str) -> Result<Place<'_>, Error> {
    let path = Path::new(name);
    Ok(if path.is_dir() {
        Place::Layout(path)
    } else if path.is_file() {
        Place::Archive(path)
    } else {
        let text = name.strip_prefix("registry:").unwrap_or(name);
        if !text.contains('/') || text.starts_with(['/', '.']) {
            return Err(Error::Nowhere { image: name.to_owned() });
        }
        let wrong = |why: String| Error::Reference { image: name.to_owned(), why };
        Place::Registry(text.parse().map_err(wrong)?)
    })
}

/// An image somewhere.
pub(super) struct Image<'a> {
    name: &'a str,
    place: Place<'a>,
    context: &'a Context<'a>,
}

impl<'a> Image<'a> {
    /// Finds an image.
    pub(super) fn open(name: &'a str, context: &'a Context<'a>) -> Result<Self, Error> {
        Ok(Self { name, place: place(name)?, context })
    }

    /// Gives the image's digest.
    pub(super) fn digest(&self) -> Result<Sha256, PipelineError> {
        match &self.place {
            Place::Registry(reference) => Ok(oci::named(reference, self.context)?.hash),
            _ => self.subject(&self.named_file("index.json")?),
        }
    }

    /// Reads the manifests of cosign's that lie beside the image: of a layout by their kind or name, of a registry by
    /// the tag that is their name. An archive has none.
    pub(super) fn beside(&self, kind: &str, name: &str) -> Result<Vec<Value>, PipelineError> {
        if let Place::Registry(reference) = &self.place {
            let Some(found) = oci::tagged(reference, name, self.context)? else { return Ok(Vec::new()) };
            return Ok(vec![self.parse(&self.context.store.read_blob(&found)?, "a manifest")?]);
        }
        let index = self.named_file("index.json")?;
        let mut found = Vec::new();
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let annotations = &entry["annotations"];
            let named = annotations["org.opencontainers.image.ref.name"].as_str();
            // A layout may hold what is about another image; what has no name is about the only one.
            if named == Some(name) || (named.is_none() && annotations["kind"] == kind) {
                found.push(self.manifest(self.hash(entry)?)?);
            }
        }
        Ok(found)
    }
}

impl Image<'_> {
    fn read(&self) -> Result<Carried, PipelineError> {
        let (subject, list) = match &self.place {
            Place::Layout(_) => {
                let index = self.named_file("index.json")?;
                (self.subject(&index)?, index)
            }
            Place::Archive(_) => {
                let index = self.named_file("index.json")?;
                let list = self.file(REFERRERS.trim_start_matches('/'))?;
                let list = match list {
                    Some(text) => self.parse(&text, "its list of what is attached")?,
                    None => Value::Null,
                };
                (self.subject(&index)?, list)
            }
            Place::Registry(reference) => {
                let image = oci::named(reference, self.context)?;
                let list = match oci::referrers(reference, &image.hash, self.context)? {
                    Some(list) => {
                        self.parse(&self.context.store.read_blob(&list)?, "its list of what is attached")?
                    }
                    None => Value::Null,
                };
                (image.hash, list)
            }
        };
        let all = list["manifests"].as_array().into_iter().flatten();
        for one in all.filter(|one| one["artifactType"] == ARTIFACT) {
            let manifest = self.manifest(self.hash(one)?)?;
            // A layout may hold what was attached to another image.
            if self.hash(&manifest["subject"])? != subject {
                continue;
            }
            let layer = &manifest["layers"][0];
            if layer["mediaType"] != MEDIA_TYPE {
                return Err(self
                    .wrong("carries its recipes in a form that this nodeimg does not know")
                    .into());
            }
            let size = layer["size"].as_u64().filter(|size| *size <= MAX_PROJECT);
            let size = size.ok_or_else(|| self.wrong("says that its recipes take more than 1 GiB"))?;
            let project = self.blob(&Digest { hash: self.hash(layer)?, size })?;
            let annotation = |name: &str| {
                let text = manifest["annotations"][name].as_str();
                text.ok_or_else(|| self.wrong(&format!("does not say its `{name}`")))
            };
            let platforms = annotation(PLATFORMS)?.split(',').map(str::to_owned).collect();
            let target = annotation(TARGET)?.to_owned();
            return Ok(Carried { digest: subject, project, target, platforms });
        }
        Err(Error::CarriesNothing { image: self.name.to_owned(), digest: subject }.into())
    }

    pub(super) fn wrong(&self, why: &str) -> Error {
        Error::NotAnImage { image: self.name.to_owned(), why: why.to_owned() }
    }

    /// Finds the one image that `index.json` names besides what is attached to it.
    fn subject(&self, index: &Value) -> Result<Sha256, PipelineError> {
        let all = index["manifests"].as_array().into_iter().flatten();
        let images: Vec<_> = all.filter(|one| one["artifactType"].is_null()).collect();
        match images.as_slice() {
            [image] => Ok(self.hash(image)?),
            [] => Err(self.wrong("is empty: `index.json` names nothing").into()),
            _ => Err(self.wrong("has several images; save one of them by itself").into()),
        }
    }

    pub(super) fn hash(&self, descriptor: &Value) -> Result<Sha256, Error> {
        let text = descriptor["digest"].as_str().and_then(|text| text.strip_prefix("sha256:"));
        let hash = text.and_then(|text| text.parse().ok());
        hash.ok_or_else(|| self.wrong("has a descriptor without a SHA-256 digest"))
    }

    fn parse(&self, text: &[u8], what: &str) -> Result<Value, Error> {
        serde_json::from_slice(text)
            .map_err(|error| self.wrong(&format!("has {what} that does not parse: {error}")))
    }

    /// Reads a document of a layout or an archive.
    fn named_file(&self, name: &str) -> Result<Value, PipelineError> {
        let text = self.file(name)?.ok_or_else(|| self.wrong(&format!("has no `{name}`")))?;
        Ok(self.parse(&text, &format!("`{name}`"))?)
    }

    fn file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut text = Vec::new();
        let found = self.with_file(name, &mut |input| input.take(MAX_DOCUMENT + 1).read_to_end(&mut text))?;
        if text.len() as u64 > MAX_DOCUMENT {
            return Err(self.wrong(&format!("has a `{name}` of more than {MAX_DOCUMENT} bytes")));
        }
        Ok(found.map(|_| text))
    }

    /// Opens a file of a layout or an archive; no link is followed.
    fn with_file<T>(
        &self,
        name: &str,
        read: &mut dyn FnMut(&mut dyn std::io::Read) -> std::io::Result<T>,
    ) -> Result<Option<T>, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Read { path, source }
        };
        match &self.place {
            Place::Layout(folder) => {
                let path = folder.join(name);
                match fs_err::symlink_metadata(&path) {
                    Ok(meta) if meta.is_file() => {}
                    Ok(_) => return Err(self.wrong(&format!("has a `{name}` that is no file"))),
                    Err(_) => return Ok(None),
                }
                let mut file = fs_err::File::open(&path).map_err(failed(&path))?;
                read(&mut file).map(Some).map_err(failed(&path))
            }
            Place::Archive(path) => {
                let mut file = fs_err::File::open(path).map_err(failed(path))?;
                file.rewind().map_err(failed(path))?;
                let mut archive = tar::Archive::new(file);
                for entry in archive.entries_with_seek().map_err(failed(path))? {
                    let mut entry = entry.map_err(failed(path))?;
                    let is_it = entry.path_bytes().strip_prefix(b"./").unwrap_or(&entry.path_bytes())
                        == name.as_bytes();
                    if is_it && entry.header().entry_type().is_file() {
                        return read(&mut entry).map(Some).map_err(failed(path));
                    }
                }
                Ok(None)
            }
            Place::Registry(_) => unreachable!("a registry has no files"),
        }
    }

    /// Reads a manifest.
    fn manifest(&self, hash: Sha256) -> Result<Value, PipelineError> {
        let text = match &self.place {
            Place::Registry(reference) => {
                let digest = oci::by_digest(reference, &hash, self.context)?;
                self.context.store.read_blob(&digest)?
            }
            _ => {
                let path = format!("blobs/sha256/{hash}");
                let text = self.file(&path)?.ok_or_else(|| self.wrong(&format!("has no `{path}`")))?;
                let received = Sha256::of(&text);
                if received != hash {
                    return Err(
                        Error::Damaged { image: self.name.to_owned(), expected: hash, received }.into()
                    );
                }
                text
            }
        };
        Ok(self.parse(&text, "a manifest")?)
    }

    /// Reads a blob whole, without keeping it; gives its size.
    fn verified(&self, hash: Sha256) -> Result<u64, PipelineError> {
        let mut hasher = sha2::Sha256::new();
        let path = format!("blobs/sha256/{hash}");
        let read = self.with_file(&path, &mut |input| {
            let (mut buffer, mut size) = (vec![0; 256 << 10], 0);
            loop {
                if self.context.cancel.is_cancelled() {
                    return Err(std::io::ErrorKind::Interrupted.into());
                }
                match input.read(&mut buffer)? {
                    0 => return Ok(size),
                    count => {
                        hasher.update(&buffer[..count]);
                        size += count as u64;
                    }
                }
            }
        });
        if self.context.cancel.is_cancelled() {
            return Err(crate::realise::Error::Cancelled.into());
        }
        let size = read?.ok_or_else(|| Error::Lacks { image: self.name.to_owned(), digest: hash })?;
        let received = Sha256(hasher.finalize().into());
        if received != hash {
            return Err(Error::Damaged { image: self.name.to_owned(), expected: hash, received }.into());
        }
        Ok(size)
    }

    /// Brings a blob into the store.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Digest, PipelineError> {
        let store = self.context.store;
        if let Place::Registry(reference) = &self.place {
            return Ok(oci::layer(reference, digest, self.context)?);
        }
        if store.has_blob(digest) {
            return Ok(*digest);
        }
        let path = format!("blobs/sha256/{}", digest.hash);
        let mut writer = store.blob_writer()?;
        let copied =
            self.with_file(&path, &mut |input| std::io::copy(&mut input.take(digest.size + 1), &mut writer))?;
        copied.ok_or_else(|| self.wrong(&format!("has no `{path}`")))?;
        let received = writer.finish()?;
        if received != *digest {
            let (expected, received) = (digest.hash, received.hash);
            return Err(Error::Damaged { image: self.name.to_owned(), expected, received }.into());
        }
        Ok(received)
    }
}

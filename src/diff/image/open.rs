//! Finds the images in an OCI layout, a docker-archive or the store.

use std::io::Read;

use serde_json::Value;

use super::files::Files;
use crate::base::{Digest, Sha256};
use crate::diff::Error;

/// How deep indexes name indexes.
const MAX_DEPTH: usize = 3;

/// More is no image that anybody runs.
const MAX_LAYERS: usize = 1_000;

/// An image, for one machine.
pub struct Image<'a> {
    /// The machine: `linux/amd64`.
    pub platform: String,
    /// The manifest's digest; a docker-archive of the old kind has none.
    pub manifest: Option<Digest>,
    /// The configuration's.
    pub config: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// The manifest, without what it says of layers and configuration.
    pub(super) manifest_rest: Value,
    /// The configuration, without what it says of layers.
    pub(super) config_rest: Value,
    pub(super) files: std::rc::Rc<Files<'a>>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name: what made it.
    pub name: String,
    /// The hash of the archive inside, as the configuration says.
    pub diff_id: Sha256,
    /// The blob, as the manifest says; a docker-archive of the old kind says none.
    pub blob: Option<Digest>,
    /// Its media type, as the manifest says.
    pub media_type: Option<String>,
    /// Its file in a docker-archive.
    file: Option<String>,
}

impl Image<'_> {
    /// Opens a layer's bytes, compressed as they are.
    pub(super) fn open(&self, layer: &Layer) -> Result<Box<dyn Read>, Error> {
        let open = match (&layer.file, &layer.blob) {
            (Some(file), _) => self.files.open(file)?,
            (None, Some(blob)) => self.files.open_blob(blob)?,
            (None, None) => None,
        };
        let missing = || Error::NoLayer { name: self.files.name.clone(), layer: layer.name.clone() };
        Ok(open.ok_or_else(missing)?.0)
    }
}

/// Finds the images in files.
pub(super) fn images(files: Files<'_>) -> Result<Vec<Image<'_>>, Error> {
    let files = std::rc::Rc::new(files);
    if let Some(index) = files.read("index.json")? {
        let index = parse(&files, &index, "`index.json`")?;
        return found(indexed(&files, &index, 0)?, &files);
    }
    let list = files.read("manifest.json")?;
    let list = list.ok_or_else(|| files.wrong("it has neither `index.json` nor `manifest.json`"))?;
    docker(&files, &parse(&files, &list, "`manifest.json`")?)
}

/// Finds the images that a manifest or index of the store is.
pub(super) fn of_manifest<'a>(files: Files<'a>, digest: &Digest) -> Result<Vec<Image<'a>>, Error> {
    let files = std::rc::Rc::new(files);
    let document = parse(&files, &files.read_blob(digest)?, "it")?;
    let images = match document["layers"].is_array() {
        true => vec![manifest(&files, digest, &document)?].into_iter().flatten().collect(),
        false => indexed(&files, &document, 0)?,
    };
    found(images, &files)
}

fn found<'a>(images: Vec<Image<'a>>, files: &Files<'_>) -> Result<Vec<Image<'a>>, Error> {
    let mut platforms: Vec<_> = images.iter().map(|image| image.platform.as_str()).collect();
    platforms.sort_unstable();
    platforms.dedup();
    match images.len() {
        0 => Err(files.wrong("its index names none")),
        count if count != platforms.len() => Err(files.wrong("it has several for one machine")),
        _ => Ok(images),
    }
}

fn parse(files: &Files<'_>, text: &[u8], what: &str) -> Result<Value, Error> {
    serde_json::from_slice(text).map_err(|error| files.wrong(format!("{what} does not parse: {error}")))
}

fn indexed<'a>(files: &std::rc::Rc<Files<'a>>, index: &Value, depth: usize) -> Result<Vec<Image<'a>>, Error> {
    if depth > MAX_DEPTH {
        return Err(files.wrong("its indexes don't end"));
    }
    let mut images = Vec::new();
    let all = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Attestations are for no machine, and what is about an image is none.
    let is_image = |one: &&Value| one["platform"]["os"] != "unknown" && one.get("artifactType").is_none();
    for descriptor in all.iter().filter(is_image) {
        let digest = blob(files, descriptor)?;
        let document = parse(files, &files.read_blob(&digest)?, "an index or manifest of it")?;
        match document["layers"].is_array() {
            true => images.extend(manifest(files, &digest, &document)?),
            false => images.append(&mut indexed(files, &document, depth + 1)?),
        }
        if images.len() > MAX_LAYERS {
            return Err(files.wrong("it has too many"));
        }
    }
    Ok(images)
}

/// Reads what a descriptor names.
fn blob(files: &Files<'_>, descriptor: &Value) -> Result<Digest, Error> {
    let name =
        descriptor["digest"].as_str().ok_or_else(|| files.wrong("a descriptor of it has no digest"))?;
    let hash = name.strip_prefix("sha256:").and_then(|hex| hex.parse::<Sha256>().ok());
    let hash = hash.ok_or_else(|| files.wrong(format!("`{name}` is no SHA-256 digest")))?;
    let size = descriptor["size"].as_u64().ok_or_else(|| files.wrong(format!("`{name}` has no size")))?;
    Ok(Digest { hash, size })
}

/// Reads a manifest; nothing if it is one of something else than an image.
fn manifest<'a>(
    files: &std::rc::Rc<Files<'a>>,
    digest: &Digest,
    document: &Value,
) -> Result<Option<Image<'a>>, Error> {
    let kind = document["config"]["mediaType"].as_str().unwrap_or_default();
    let is_image = matches!(
        kind,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    );
    if !is_image || document.get("subject").is_some() {
        return Ok(None);
    }
    let config = blob(files, &document["config"])?;
    let listed = document["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let layer =
        |layer: &Value| Ok((Some(blob(files, layer)?), layer["mediaType"].as_str().map(str::to_owned), None));
    let layers = listed.iter().map(layer).collect::<Result<Vec<_>, Error>>()?;
    let mut rest = document.clone();
    if let Some(rest) = rest.as_object_mut() {
        rest.shift_remove("layers");
        rest.shift_remove("config");
    }
    let text = parse(files, &files.read_blob(&config)?, "its configuration")?;
    image(files, Some(*digest), config, text, layers, rest).map(Some)
}

/// What is known of a layer before the configuration is read: blob, media type, file.
type Listed = (Option<Digest>, Option<String>, Option<String>);

fn image<'a>(
    files: &std::rc::Rc<Files<'a>>,
    manifest: Option<Digest>,
    config: Digest,
    mut document: Value,
    listed: Vec<Listed>,
    manifest_rest: Value,
) -> Result<Image<'a>, Error> {
    let ids = document["rootfs"]["diff_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids: Option<Vec<Sha256>> = ids.iter().map(|id| id.as_str()?.parse().ok()).collect();
    let ids = ids.filter(|ids| ids.len() == listed.len() && ids.len() <= MAX_LAYERS);
    let ids = ids.ok_or_else(|| files.wrong("its configuration has other layers than its manifest"))?;
    let mut made = document["history"].as_array().into_iter().flatten();
    let mut made = std::iter::from_fn(|| made.find(|entry| entry["empty_layer"] != true));
    let layers = listed.into_iter().zip(ids).map(|((blob, media_type, file), diff_id)| {
        let name = made.next().and_then(|entry| entry["created_by"].as_str()).unwrap_or_default();
        Layer { name: name.to_owned(), diff_id, blob, media_type, file }
    });
    let layers = layers.collect();
    let field = |name: &str| document[name].as_str().unwrap_or("unknown");
    let platform = match document["variant"].as_str() {
        Some(variant) => format!("{}/{}/{variant}", field("os"), field("architecture")),
        None => format!("{}/{}", field("os"), field("architecture")),
    };
    if let Some(rest) = document.as_object_mut() {
        rest.shift_remove("rootfs");
        // What made a layer is the layer's name.
        if let Some(history) = rest.get_mut("history").and_then(Value::as_array_mut) {
            history.retain(|entry| entry["empty_layer"] == true);
        }
    }
    let files = std::rc::Rc::clone(files);
    Ok(Image { platform, manifest, config, layers, manifest_rest, config_rest: document, files })
}

/// Reads `manifest.json` of `docker save`.
fn docker<'a>(files: &std::rc::Rc<Files<'a>>, list: &Value) -> Result<Vec<Image<'a>>, Error> {
    let images = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let [one] = images else {
        return Err(files.wrong(if images.is_empty() {
            "`manifest.json` names none"
        } else {
            "`manifest.json` names several: save one by itself"
        }));
    };
    let missing = || files.wrong("`manifest.json` lacks a path");
    let config = one["Config"].as_str().ok_or_else(missing)?;
    let text = files.read(config)?.ok_or_else(|| files.wrong(format!("`{config}` is missing")))?;
    let layer = |path: &Value| {
        let path = path.as_str().ok_or_else(missing)?;
        // Newer ones name a blob, and older ones anything.
        let hash = path.strip_prefix("blobs/sha256/").and_then(|hex| hex.parse::<Sha256>().ok());
        let size = files.open(path)?.ok_or_else(|| files.wrong(format!("`{path}` is missing")))?.1;
        Ok((hash.map(|hash| Digest { hash, size }), None, Some(path.to_owned())))
    };
    let listed = one["Layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let listed = listed.iter().map(layer).collect::<Result<Vec<_>, Error>>()?;
    let document = parse(files, &text, "its configuration")?;
    Ok(vec![image(files, None, Digest::of(&text), document, listed, Value::Null)?])
}

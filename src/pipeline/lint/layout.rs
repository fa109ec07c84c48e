//! Images in files: OCI layouts, and archives as `docker save`, `podman save`, `skopeo` and nodeimg write them.
//!
//! An archive is a layout, or Docker's older form with a `manifest.json`, or both in one. Either becomes a tree of the
//! store whose blobs are the layers.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{Error, Form, Here, Opened, PipelineError, exists};
use crate::base::{Arch, Digest, GuestPath, Sha256};
use crate::store::{Node, Owners, Store, Tree};
use crate::unpack;

pub(super) const FOLDER: Form = Form {
    place: "FOLDER",
    about: "an OCI layout",
    is: |text| exists(text, Path::is_dir),
    open: |place, here| {
        let tree = here.context.store.ingest(Path::new(place), Owners::AllRoot)?;
        open(place, &tree, here)
    },
};

pub(super) const ARCHIVE: Form = Form {
    place: "FILE",
    about: "an archive of `docker save`, of an OCI layout, or nodeimg's; may be compressed",
    is: |text| exists(text, Path::is_file),
    open: |place, here| {
        let file = fs_err::File::open(place);
        let file = file.map_err(|source| Error::Read { path: place.into(), source })?;
        archive(place, file, here)
    },
};

/// How deep indexes name indexes.
const MAX_DEPTH: usize = 3;

/// Larger ones are no documents.
const MAX_DOCUMENT: u64 = 8 << 20;

/// Reads an archive as it comes.
pub(super) fn archive(name: &str, input: impl Read, here: &Here<'_>) -> Result<Opened, PipelineError> {
    let options = unpack::Options { strip: Some(0), ..unpack::Options::default() };
    let tree = unpack::stream(here.context.store, input, name, &options, here.context.cancel)?;
    open(name, &tree, here)
}

/// Finds the image in a layout or an archive's content.
fn open(name: &str, tree: &Tree, here: &Here<'_>) -> Result<Opened, PipelineError> {
    let files = Files { name, tree, store: here.context.store };
    let (config, layers) = match files.find("/manifest.json") {
        Some(list) => files.docker(&list)?,
        None => files.oci(here.arch)?,
    };
    let config = files.document(&config, "its configuration")?;
    let named = config["architecture"].as_str();
    let arch = Arch::ALL.into_iter().find(|arch| Some(arch.name()) == named);
    Ok(Opened { name: name.to_owned(), arch, layers })
}

/// The files that an image is kept in.
struct Files<'a> {
    name: &'a str,
    tree: &'a Tree,
    store: &'a Store,
}

impl Files<'_> {
    fn wrong(&self, why: impl Into<String>) -> Error {
        Error::NotAnImage { image: self.name.to_owned(), why: why.into() }
    }

    /// Finds a file; archives of old engines have links to each other's layers.
    fn find(&self, path: &str) -> Option<Digest> {
        match self.tree.follow(&GuestPath::new(path).ok()?) {
            Some((_, Node::File { digest, .. })) => Some(*digest),
            _ => None,
        }
    }

    fn document(&self, digest: &Digest, what: &str) -> Result<Value, PipelineError> {
        if digest.size > MAX_DOCUMENT {
            return Err(self.wrong(format!("{what} is too large")).into());
        }
        let text = self.store.read_blob(digest)?;
        Ok(serde_json::from_slice(&text)
            .map_err(|error| self.wrong(format!("{what} does not parse: {error}")))?)
    }

    /// Reads `manifest.json` of `docker save`; gives configuration and layers.
    fn docker(&self, list: &Digest) -> Result<(Digest, Vec<Digest>), PipelineError> {
        let list = self.document(list, "`manifest.json`")?;
        let images = list.as_array().cloned().unwrap_or_default();
        let [image] = images.as_slice() else {
            if images.is_empty() {
                return Err(self.wrong("`manifest.json` names none").into());
            }
            let tags = images.iter().flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
            return Err(self.several(tags.filter_map(Value::as_str)).into());
        };
        let file = |path: &Value| -> Result<Digest, Error> {
            let path = path.as_str().ok_or_else(|| self.wrong("`manifest.json` lacks a path"))?;
            self.find(&format!("/{path}")).ok_or_else(|| self.wrong(format!("`{path}` is missing")))
        };
        let layers = image["Layers"].as_array().into_iter().flatten().map(file);
        Ok((file(&image["Config"])?, layers.collect::<Result<_, _>>()?))
    }

    /// Reads `index.json` of a layout; of an image for several machines the one for `arch`.
    fn oci(&self, arch: Arch) -> Result<(Digest, Vec<Digest>), PipelineError> {
        let index = self.find("/index.json");
        let mut at = index.ok_or_else(|| self.wrong("it has neither `index.json` nor `manifest.json`"))?;
        for _ in 0..MAX_DEPTH {
            let document = self.document(&at, "an index or manifest of it")?;
            if document["layers"].is_array() {
                let layers =
                    document["layers"].as_array().into_iter().flatten().map(|layer| self.blob(layer));
                return Ok((self.blob(&document["config"])?, layers.collect::<Result<_, _>>()?));
            }
            at = self.blob(self.pick(&document, arch)?)?;
        }
        Err(self.wrong("its indexes don't end").into())
    }

    fn pick<'v>(&self, index: &'v Value, arch: Arch) -> Result<&'v Value, Error> {
        // Attestations are for no machine, and what is attached to an image says what it is.
        let is_image = |one: &&Value| one["platform"]["os"] != "unknown" && one["artifactType"].is_null();
        let all: Vec<&Value> = index["manifests"].as_array().into_iter().flatten().filter(is_image).collect();
        let fits = |one: &&&Value| one["platform"]["architecture"] == arch.name();
        let fitting: Vec<&Value> = all.iter().filter(fits).copied().collect();
        match (all.as_slice(), fitting.as_slice()) {
            ([one], _) | (_, [one]) => Ok(one),
            ([], _) => Err(self.wrong("its index names none")),
            _ => Err(self.several(all.iter().filter_map(|one| {
                let annotations = &one["annotations"];
                annotations["io.containerd.image.name"]
                    .as_str()
                    .or_else(|| annotations["org.opencontainers.image.ref.name"].as_str())
                    .or_else(|| one["platform"]["architecture"].as_str())
            }))),
        }
    }

    fn several<'n>(&self, names: impl Iterator<Item = &'n str>) -> Error {
        let names: Vec<_> =
            names.take(8).map(|name| format!("`{}`", name.replace(char::is_control, ""))).collect();
        Error::Several { image: self.name.to_owned(), names: names.join(", ") }
    }

    /// Finds what a descriptor names.
    fn blob(&self, descriptor: &Value) -> Result<Digest, Error> {
        let name =
            descriptor["digest"].as_str().ok_or_else(|| self.wrong("a descriptor of it has no digest"))?;
        let hash = name.strip_prefix("sha256:").and_then(|hex| hex.parse::<Sha256>().ok());
        let hash = hash.ok_or_else(|| self.wrong(format!("`{name}` is no SHA-256 digest")))?;
        let found = self.find(&format!("/blobs/sha256/{hash}"));
        let found = found.ok_or_else(|| self.wrong(format!("blob `{name}` is missing")))?;
        if found.hash != hash {
            return Err(Error::Damaged { image: self.name.to_owned(), name: name.to_owned(), found });
        }
        Ok(found)
    }
}

//! The image that another one is built on: its layers stay bit for bit, its configuration is added to.
//!
//! In the store a base is a tree of its manifest and configuration ([`base`]); its layers are blobs that come when
//! somebody reads them ([`base_layers`]). Media types of Docker's schema 2 become OCI's, which say the same of the same
//! bytes (image-spec, media-types.md, "Compatibility Matrix").

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::oci::{self, Descriptor, EPOCH, Manifest};
use super::{Config, Error, Platform};
use crate::base::{Digest, GuestPath, Sha256};
use crate::store::{Meta, Node, Store, Tree};

const MANIFEST: &str = "/manifest.json";
const CONFIG: &str = "/config.json";

/// Makes a base's tree of its manifest and configuration, blobs of the store.
pub fn base(manifest: Digest, config: Digest) -> Tree {
    let mut tree = Tree::default();
    for (at, digest) in [(MANIFEST, manifest), (CONFIG, config)] {
        let file = Node::File { digest, meta: Meta::root(0o644) };
        tree.insert(&path(at), file).expect("two files at the root");
    }
    tree
}

/// A layer of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLayer {
    /// Its media type, OCI's.
    pub media_type: String,
    /// The blob.
    pub blob: Digest,
    /// The hash of the archive inside.
    pub diff_id: Sha256,
}

/// Lists a base's layers, lowest first. They need not be in the store.
pub fn base_layers(store: &Store, base: &Digest) -> Result<Vec<BaseLayer>, Error> {
    Ok(Base::read(store, base)?.layers)
}

/// A base that was read.
pub(super) struct Base {
    pub(super) layers: Vec<BaseLayer>,
    config: Map<String, Value>,
}

impl Base {
    pub(super) fn read(store: &Store, base: &Digest) -> Result<Self, Error> {
        let tree = store.tree(base)?;
        let file = |at: &str| match tree.get(&path(at)) {
            Some(Node::File { digest, .. }) => Ok(store.read_blob(digest)?),
            _ => Err(wrong(at, "is missing")),
        };
        let manifest: Manifest = serde_json::from_slice(&file(MANIFEST)?)
            .map_err(|error| wrong(MANIFEST, &format!("does not parse: {error}")))?;
        let config: Map<String, Value> = serde_json::from_slice(&file(CONFIG)?)
            .map_err(|error| wrong(CONFIG, &format!("does not parse: {error}")))?;
        let diff_ids =
            config.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")).and_then(Value::as_array);
        let diff_ids: Option<Vec<Sha256>> = diff_ids
            .map(|ids| ids.iter().map(|id| serde_json::from_value(id.clone()).ok()).collect())
            .unwrap_or_default();
        let diff_ids = diff_ids.filter(|ids| ids.len() == manifest.layers.len());
        let diff_ids = diff_ids.ok_or_else(|| wrong(CONFIG, "has other layers than the manifest"))?;
        let layer = |(layer, diff_id): (&Descriptor, Sha256)| BaseLayer {
            media_type: oci_type(&layer.media_type).to_owned(),
            blob: layer.name(),
            diff_id,
        };
        let layers = manifest.layers.iter().zip(diff_ids).map(layer).collect();
        Ok(Self { layers, config })
    }

    /// Writes the configuration of an image on top: `layers` are the names and diff IDs of those that are added.
    pub(super) fn configure(
        &self,
        platform: &Platform,
        own: &Config,
        layers: &[(&str, Sha256)],
    ) -> Result<Vec<u8>, Error> {
        let mut image = self.config.clone();
        let is = |key: &str, value: &str| image.get(key).and_then(Value::as_str) == Some(value);
        if !is("architecture", &platform.architecture) || !is("os", &platform.os) {
            return Err(Error::BasePlatform { wanted: format!("{}/{}", platform.os, platform.architecture) });
        }
        // What only says how Docker once made the base.
        for gone in ["container", "container_config", "id", "parent", "docker_version"] {
            image.shift_remove(gone);
        }
        let mut config = image.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        add(&mut config, own);
        image.insert("config".to_owned(), config.into());
        let below = self.layers.len();
        let mut history: Vec<Value> =
            image.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        if history.iter().filter(|entry| entry["empty_layer"] != true).count() != below {
            history = vec![json!({ "created": EPOCH, "created_by": "base" }); below];
        }
        history.extend(layers.iter().map(|(name, _)| json!({ "created": EPOCH, "created_by": name })));
        image.insert("history".to_owned(), history.into());
        let all = self.layers.iter().map(|layer| &layer.diff_id).chain(layers.iter().map(|(_, id)| id));
        let ids: Vec<String> = all.map(|id| id.oci()).collect();
        image.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": ids }));
        Ok(oci::json(&image))
    }
}

/// Adds what the recipe says to how a container of the base runs.
fn add(config: &mut Map<String, Value>, own: &Config) {
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    set("User", own.user.as_ref().map(|user| json!(user)));
    set("WorkingDir", own.working_dir.as_ref().map(|dir| json!(dir.as_str())));
    set("StopSignal", own.stop_signal.as_ref().map(|signal| json!(signal)));
    set("Entrypoint", list(&own.entrypoint));
    set("Cmd", list(&own.cmd));
    // Arguments belong to the program that they were written for.
    if !own.entrypoint.is_empty() && own.cmd.is_empty() {
        config.shift_remove("Cmd");
    }
    let mut env: Vec<String> = strings(config.get("Env"));
    for (name, value) in &own.env {
        let now = format!("{name}={value}");
        let is = |entry: &&mut String| entry.split_once('=').is_some_and(|(key, _)| key == name);
        match env.iter_mut().find(is) {
            Some(entry) => *entry = now,
            None => env.push(now),
        }
    }
    if !env.is_empty() {
        config.insert("Env".to_owned(), json!(env));
    }
    let mut merge = |key: &str, more: BTreeMap<&str, Value>| {
        if !more.is_empty() {
            let mut map = config.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
            map.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
            config.insert(key.to_owned(), map.into());
        }
    };
    merge("Labels", own.labels.iter().map(|(name, text)| (name.as_str(), json!(text))).collect());
    merge("ExposedPorts", own.exposed_ports.iter().map(|port| (port.as_str(), json!({}))).collect());
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Gives OCI's name of a layer's media type.
fn oci_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => oci::LAYER,
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        other => other,
    }
}

fn wrong(file: &str, why: &str) -> Error {
    Error::NotAnImage { file: file.to_owned(), why: why.to_owned() }
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).expect("a constant path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn based(history: Value) -> Base {
        let config = json!({
            "created": "2025-02-14T16:00:00Z", "architecture": "amd64", "os": "linux", "docker_version": "27",
            "config": {
                "Env": ["container=docker", "PATH=/bin"], "Entrypoint": ["/entry"], "Cmd": ["/sbin/init"],
                "Labels": { "of": "base" }, "StopSignal": "SIGRTMIN+3", "OnBuild": null
            },
            "rootfs": { "type": "layers", "diff_ids": [] }, "history": history
        });
        let diff_id = Sha256::of(b"archive");
        let layer = BaseLayer { media_type: oci::LAYER.to_owned(), blob: Digest::of(b"layer"), diff_id };
        Base { layers: vec![layer], config: config.as_object().unwrap().clone() }
    }

    fn configured(base: &Base, own: &Config) -> Value {
        let platform = Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() };
        let text = base.configure(&platform, own, &[("mine", Sha256::of(b"mine"))]).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn what_the_base_says_stays_unless_the_recipe_says_otherwise() {
        let history = json!([{ "created_by": "kind" }, { "created_by": "ENV", "empty_layer": true }]);
        let own = Config {
            env: BTreeMap::from([("PATH".into(), "/sbin".into()), ("NEW".into(), "1".into())]),
            labels: BTreeMap::from([("of".into(), "mine".into()), ("also".into(), "x".into())]),
            ..Config::default()
        };
        let image = configured(&based(history), &own);
        assert_eq!(
            image,
            json!({
                "created": "2025-02-14T16:00:00Z", "architecture": "amd64", "os": "linux",
                "config": {
                    "Env": ["container=docker", "PATH=/sbin", "NEW=1"], "Entrypoint": ["/entry"],
                    "Cmd": ["/sbin/init"], "Labels": { "of": "mine", "also": "x" }, "StopSignal": "SIGRTMIN+3",
                    "OnBuild": null
                },
                "rootfs": { "type": "layers",
                    "diff_ids": [Sha256::of(b"archive").oci(), Sha256::of(b"mine").oci()] },
                "history": [{ "created_by": "kind" }, { "created_by": "ENV", "empty_layer": true },
                    { "created": EPOCH, "created_by": "mine" }]
            })
        );
        // Another program has other arguments.
        let own = Config { entrypoint: vec!["/mine".into()], ..Config::default() };
        let image = configured(&based(json!([])), &own);
        assert_eq!(image["config"]["Entrypoint"], json!(["/mine"]));
        assert_eq!(image["config"].get("Cmd"), None);
        assert_eq!(image["history"][0], json!({ "created": EPOCH, "created_by": "base" }));
    }

    #[test]
    fn a_base_of_another_platform_is_refused() {
        let platform = Platform { architecture: "arm64".to_owned(), os: "linux".to_owned() };
        let refused = based(json!([])).configure(&platform, &Config::default(), &[]).unwrap_err();
        assert_eq!(refused.to_string(), "the base is no image for linux/arm64");
    }
}

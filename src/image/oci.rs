//! The JSON of OCI's image-spec 1.1 and of a docker-archive, with its fields in one order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::Config;
use crate::base::{Digest, Sha256};

pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The configuration of what is no image: `{}`.
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The tag, for what reads OCI layouts.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The full name, for containerd.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// What a layout's `oci-layout` says.
pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub(super) const EPOCH: &str = "1970-01-01T00:00:00Z";

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(serialize_with = "oci")]
    pub digest: Sha256,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, of: Digest) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest: of.hash,
            size: of.size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    pub(super) fn name(&self) -> Digest {
        Digest { hash: self.digest, size: self.size }
    }
}

/// A platform as OCI names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The architecture, such as `amd64` or `wasm`.
    pub architecture: String,
    /// The operating system, such as `linux` or `wasi`.
    pub os: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub schema_version: u32,
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

impl Default for Index {
    fn default() -> Self {
        Self { schema_version: 2, media_type: INDEX.to_owned(), manifests: Vec::new() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub schema_version: u32,
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The image configuration.
#[derive(Serialize)]
pub(super) struct Image<'a> {
    created: &'static str,
    #[serde(flatten)]
    platform: &'a Platform,
    config: Execution<'a>,
    rootfs: RootFs,
    history: Vec<History>,
}

impl<'a> Image<'a> {
    /// `layers` are names and diff IDs.
    pub(super) fn new(platform: &'a Platform, config: &'a Config, layers: &[(&str, Sha256)]) -> Self {
        let history = |(name, _): &(&str, Sha256)| History {
            created: EPOCH.to_owned(),
            created_by: (*name).to_owned(),
            empty_layer: false,
        };
        let execution = Execution {
            user: config.user.as_deref(),
            exposed_ports: config.exposed_ports.iter().map(|port| (port.as_str(), Nothing {})).collect(),
            env: config.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: &config.entrypoint,
            cmd: &config.cmd,
            working_dir: config.working_dir.as_ref().map(|dir| dir.as_str()),
            labels: &config.labels,
            stop_signal: config.stop_signal.as_deref(),
        };
        let diff_ids = layers.iter().map(|(_, diff_id)| DiffId(*diff_id)).collect();
        Self {
            created: EPOCH,
            platform,
            config: execution,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            history: layers.iter().map(history).collect(),
        }
    }
}

/// What is read again of an image configuration.
#[derive(Deserialize)]
pub(super) struct Layers {
    pub rootfs: RootFs,
    pub history: Vec<History>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<&'a str, Nothing>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    pub diff_ids: Vec<DiffId>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DiffId(#[serde(serialize_with = "oci")] pub Sha256);

#[derive(Serialize, Deserialize)]
pub(super) struct History {
    #[serde(default)]
    created: String,
    #[serde(default)]
    pub created_by: String,
    /// Whether the entry is of no layer.
    #[serde(default, skip_serializing)]
    pub empty_layer: bool,
}

/// One image in a docker-archive's `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Archived {
    pub config: String,
    pub repo_tags: Vec<String>,
    pub layers: Vec<String>,
}

fn oci<S: Serializer>(hash: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hash.oci())
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain values are JSON")
}

//! `recipes/images/NAME.toml`: what is put into an image, in which layers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::package::Limits;
use crate::base::{GuestPath, Name};

/// An image: an optional Debian system, layers of packages, an optional node on top.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "nodeimg image recipe")]
pub struct Image {
    /// The recipe's name: the file's name without `.toml`.
    pub name: Name,
    /// One sentence for people.
    pub description: Option<String>,
    /// The tag; `{<package>}` stands for that package's version.
    pub tag: String,
    /// The repository's name in archives, such as `k8s.gcr.io/pause`; by default the image's name.
    pub reference: Option<String>,
    /// Whether this is what `nodeimg build` makes when it is given no target.
    #[serde(default)]
    pub default: bool,
    /// The platform that the image's manifest gives, where it is not Linux on the build's architecture.
    pub platform: Option<Platform>,
    /// The image that this one is built on, in place of `system`.
    pub base: Option<Base>,
    /// The first layer: a configured Debian root.
    pub system: Option<System>,
    /// The layers on top, in order; put what changes least first.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// Makes the image a kind node: adds a layer for each package of its runtimes and the layer `configuration`, and files beside the image.
    pub node: Option<Node>,
    /// The OCI image configuration.
    #[serde(default)]
    pub config: Config,
}

impl Image {
    /// Gives the repository's name in archives.
    pub fn repository(&self) -> &str {
        self.reference.as_deref().unwrap_or(self.name.as_str())
    }
}

/// A platform as OCI names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// The operating system, such as `wasi`.
    pub os: String,
    /// The architecture, such as `wasm`.
    pub architecture: String,
}

/// An image of a registry to build on. Its layers stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Base {
    /// The image as Docker names it: `docker.io/kindest/node:v1.32.2`. With `@sha256:…` behind it nobody is asked what it
    /// is.
    pub oci: String,
    /// Where that digest is published, for people who check it.
    pub published: Option<String>,
}

/// A configured Debian root as the image's first layer.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct System {
    /// The suite that it is made from.
    pub suite: Name,
    /// Debian packages; the essential ones are always in.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Packages of this project at `/in/<name>` while the script runs.
    #[serde(default)]
    pub inputs: Vec<Name>,
    /// Environment variables of the script.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the script may use up.
    #[serde(default)]
    pub limits: Limits,
    /// A script that runs as root in the configured root, for `/bin/sh -eu`.
    pub script: Option<String>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layer {
    /// The layer's name, for people.
    pub name: Name,
    /// Packages of this project whose results are put at `/`.
    #[serde(default)]
    pub packages: Vec<Name>,
    /// Images of this project that are put in as `/kind/images/<name>.tar`.
    #[serde(default)]
    pub preload: Vec<Name>,
}

/// What makes an image a kind node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    /// The package whose version is Kubernetes' version, or that version where the base brings it.
    pub kubernetes: Kubernetes,
    /// The runtimes to add, in this order.
    #[serde(default)]
    pub runtimes: Vec<Name>,
    /// containerd's configuration in the layers below.
    #[serde(default = "containerd_config")]
    pub containerd_config: GuestPath,
}

/// Where a node's Kubernetes comes from.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Kubernetes {
    /// A package of this project, by name.
    Package(Name),
    /// The image's base.
    Base(BaseKubernetes),
}

impl<'de> Deserialize<'de> for Kubernetes {
    /// Not derived: an untagged table would take a list of its values too.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Table(table) => BaseKubernetes::deserialize(table).map(Kubernetes::Base),
            other => Name::deserialize(other).map(Kubernetes::Package),
        }
        .map_err(D::Error::custom)
    }
}

/// A version of Kubernetes that the base has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BaseKubernetes {
    /// The version, such as `1.32.2`; the base's `/kind/version` must say the same.
    pub version: String,
}

impl Kubernetes {
    /// Names the package, if it is one.
    pub fn package(&self) -> Option<&Name> {
        match self {
            Kubernetes::Package(name) => Some(name),
            Kubernetes::Base(_) => None,
        }
    }
}

fn containerd_config() -> GuestPath {
    GuestPath::new("/etc/containerd/config.toml").expect("a constant path")
}

/// The OCI image configuration (image-spec, config.md).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The command that always runs.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// The default arguments.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The user, `uid` or `uid:gid` or a name of the image.
    pub user: Option<String>,
    /// The working directory.
    pub working_dir: Option<GuestPath>,
    /// The signal that stops a container, such as `SIGINT`.
    pub stop_signal: Option<String>,
    /// Ports that a container listens on, such as `80/tcp`.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

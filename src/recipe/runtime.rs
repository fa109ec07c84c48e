//! `recipes/runtimes/NAME.toml`: one containerd runtime and everything that must agree with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::Size;
use crate::base::{GuestPath, Name};
pub use crate::node::{Http, OptionValue, TrialClass};

/// A containerd runtime: its handler, its RuntimeClass, what it runs and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "nodeimg runtime recipe")]
pub struct Runtime {
    /// The recipe's name: the file's name without `.toml`.
    pub name: Name,
    /// One sentence for people.
    pub description: Option<String>,
    /// containerd's handler; by default the recipe's name.
    pub handler: Option<Name>,
    /// The RuntimeClass's name; by default the handler.
    pub runtime_class: Option<Name>,
    /// Packages of this project that an image with this runtime holds.
    #[serde(default)]
    pub packages: Vec<Name>,
    /// containerd's `runtime_type`, such as `io.containerd.runc.v2`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The OCI runtime that the shim calls (`BinaryName`); none for shims that run the guest themselves.
    pub binary: Option<GuestPath>,
    /// Libraries that the binary opens at run time: checked like linked ones.
    #[serde(default)]
    pub loads: Vec<Name>,
    /// Further keys of containerd's runtime `options`.
    #[serde(default)]
    pub options: BTreeMap<String, OptionValue>,
    /// Annotations that each container of this runtime gets.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Patterns of the pod annotations that reach the runtime; `*` stops at `/`.
    #[serde(default)]
    pub pod_annotations: Vec<String>,
    /// Labels of nodes that have this runtime; also the RuntimeClass's node selector.
    #[serde(default)]
    pub node_labels: BTreeMap<String, String>,
    /// Containers of the example workload, in one pod.
    #[serde(default)]
    pub example: Vec<ExampleContainer>,
    /// Pods that run beside the example when an image is tried.
    #[serde(default)]
    pub trial: Vec<TrialPod>,
}

impl Runtime {
    /// Gives containerd's handler.
    pub fn handler(&self) -> &Name {
        self.handler.as_ref().unwrap_or(&self.name)
    }

    /// Goes through every container that an image with this runtime can be tried with.
    pub fn containers(&self) -> impl Iterator<Item = &ExampleContainer> {
        self.example.iter().chain(self.trial.iter().flat_map(|pod| &pod.containers))
    }

    /// Gives the RuntimeClass's name.
    pub fn runtime_class(&self) -> &Name {
        self.runtime_class.as_ref().unwrap_or(self.handler())
    }
}

/// A pod that shows, when an image is tried, that a runtime does what it should.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrialPod {
    /// The pod's name among those of the runtime.
    pub name: Name,
    /// Which runtime it asks for.
    #[serde(default)]
    pub class: TrialClass,
    /// Annotations of the pod.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether it uses what only a cluster has, such as its DNS. `nodeimg try --no-cluster` leaves it out.
    #[serde(default)]
    pub needs_cluster: bool,
    /// Its containers.
    pub containers: Vec<ExampleContainer>,
}

/// One container of an example workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExampleContainer {
    /// The container's name in the pod.
    pub name: Name,
    /// The image of this project that it runs.
    pub image: Name,
    /// The program, in place of the image's entrypoint.
    #[serde(default)]
    pub command: Vec<String>,
    /// Its arguments, in place of the image's.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it is given on stdin when the image is tried; without it, stdin is empty.
    pub stdin: Option<String>,
    /// Environment variables beside the image's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How much memory it may use.
    pub memory: Option<Size>,
    /// A line that it must print when the image is tried.
    pub prints: Option<String>,
    /// The exit code that it must end with when the image is tried; 0 by default.
    #[serde(default)]
    pub exit: u8,
    /// What it is asked when the image is tried, if it serves HTTP. Such a container runs until it is stopped, as its
    /// image's `stop-signal` says; all containers of a pod serve, or none.
    pub http: Option<Http>,
}

//! The only place that knows what a kind node is: containerd's runtimes, base runtime specs, kind's
//! cluster config, RuntimeClasses.
//!
//! In goes one description ([`Node`]) and files of the image below (containerd's `config.toml`, what it imports and
//! its base runtime spec); out come the files of the image's configuration layer ([`configure`]), what they change
//! ([`change()`]) and the manifests that lie beside the image ([`manifests`]). Of a finished image it reads what is in it
//! ([`survey()`]). Every name comes from the description, so handler, RuntimeClass, label and annotation
//! can't drift apart. Pure: no I/O, no clock; the same description gives the same bytes.

mod change;
mod containerd;
mod handlers;
mod http;
mod imports;
mod insert;
mod kubernetes;
pub mod pattern;
mod spec;
mod survey;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Blame, GuestPath};

pub use change::{CHANGE, CHANGE_FILE, change};
pub use handlers::{Containerd, Handler, Misplaced};
pub use http::Http;
pub use kubernetes::labels;
pub use survey::{Bound, SURVEY, Survey, survey, upstream};

/// Where the image's version of Kubernetes stands; kind reads it.
pub const VERSION_FILE: &str = "/kind/version";

/// kind's cluster config, of what lies beside the image.
pub const CLUSTER_FILE: &str = "kind.yaml";

/// The RuntimeClasses, of what lies beside the image.
pub const CLASSES_FILE: &str = "runtimeclasses.yaml";

/// What a node image is to be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    /// The image's name and tag as `kind create cluster --image` takes them.
    pub reference: String,
    /// Kubernetes' version without the leading `v`: `1.20.2`.
    pub kubernetes: String,
    /// Whether Kubernetes is in the layers below: then they say its version too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub based: bool,
    /// containerd's configuration file in the layers below.
    pub containerd_config: GuestPath,
    /// The runtimes to add, in the order of the recipe.
    pub runtimes: Vec<Runtime>,
}

/// One containerd runtime and everything that must agree with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Runtime {
    /// containerd's handler name (`containerd.runtimes.<handler>`).
    pub handler: String,
    /// The RuntimeClass's name.
    pub runtime_class: String,
    /// containerd's `runtime_type`, `io.containerd.runc.v2`.
    pub kind: String,
    /// The OCI runtime that the shim calls (`options.BinaryName`); none for shims that run the guest.
    pub binary: Option<GuestPath>,
    /// Libraries that the binary opens at run time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<String>,
    /// Further keys of `options`. `SystemdCgroup` follows the base's default runtime where it is not here.
    pub options: BTreeMap<String, OptionValue>,
    /// Annotations that every container of this runtime gets, through its base runtime spec.
    pub annotations: BTreeMap<String, String>,
    /// Patterns of pod annotations that reach the runtime (Go's `path.Match`: `*` stops at `/`).
    pub pod_annotations: Vec<String>,
    /// Labels of nodes that have this runtime; also the RuntimeClass's node selector.
    pub node_labels: BTreeMap<String, String>,
    /// Image references of the example workload's containers, in order.
    pub example: Vec<ExampleContainer>,
    /// Pods that run beside the example when the image is tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trial: Vec<TrialPod>,
}

/// A pod of a trial.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TrialPod {
    /// Its name among those of the runtime.
    pub name: String,
    /// Which runtime it asks for.
    pub class: TrialClass,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it uses what only a cluster has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_cluster: bool,
    /// Its containers.
    pub containers: Vec<ExampleContainer>,
}

/// Which runtime a pod asks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TrialClass {
    /// The one that is tried.
    #[default]
    Own,
    /// None: it gets the node's default.
    None,
}

/// A value of containerd's runtime `options`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum OptionValue {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A string.
    String(String),
}

/// A container of an example workload.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExampleContainer {
    /// The container's name in the pod.
    pub name: String,
    /// The image's reference.
    pub image: String,
    /// The program, in place of the image's entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its arguments, in place of the image's.
    pub args: Vec<String>,
    /// What it is given on stdin; without it, stdin is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Environment variables beside the image's.
    pub env: BTreeMap<String, String>,
    /// How many bytes of memory it may use.
    pub memory: Option<u64>,
    /// A line that it must print.
    pub prints: Option<String>,
    /// The exit code that it must end with.
    pub exit: u8,
    /// What it is asked, if it serves HTTP; it then runs until it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

impl Node {
    /// Gives the same node without what [`configure`] does not look at, so that it names the configuration.
    pub fn configuration(&self) -> Node {
        let bare = |runtime: &Runtime| Runtime {
            runtime_class: String::new(),
            loads: Vec::new(),
            node_labels: BTreeMap::new(),
            example: Vec::new(),
            trial: Vec::new(),
            ..runtime.clone()
        };
        Node { reference: String::new(), runtimes: self.runtimes.iter().map(bare).collect(), ..self.clone() }
    }
}

/// Files to put into an image, by path.
pub type Files = BTreeMap<GuestPath, Vec<u8>>;

/// Says why a node can't be configured. Paths are the image's.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The image has no such file.
    #[error("the image has no `{path}`, which the node's configuration starts from")]
    #[diagnostic(help(
        "add the package that brings it to the image's layers, or name another file in `[node]`"
    ))]
    NoFile {
        /// The file that is missing.
        path: String,
    },
    /// containerd's configuration is no TOML.
    #[error("`{path}` of the image is not TOML: {reason}")]
    Toml {
        /// The file.
        path: String,
        /// What the parser says, in one line.
        reason: String,
    },
    /// containerd's configuration is of version 1.
    #[error("`{path}` of the image has no `version`: containerd 1.x takes it for version 1, 2.x refuses it")]
    #[diagnostic(help(
        "make `version = 2` its first line; version 2 has `plugins.\"io.containerd.grpc.v1.cri\"` where 1 had `plugins.cri`"
    ))]
    NoVersion {
        /// The file.
        path: String,
    },
    /// containerd's configuration is in a version that has no known place for runtimes.
    #[error("`{path}` of the image has `version = {version}`, nodeimg knows 2, 3 and 4")]
    ConfigVersion {
        /// The file.
        path: String,
        /// The version it gives.
        version: i64,
    },
    /// containerd's configuration turns off what starts pods.
    #[error("`{path}` of the image disables the CRI plugin: containerd would start no pod")]
    #[diagnostic(help("leave `cri` out of its `disabled_plugins`"))]
    Disabled {
        /// The file.
        path: String,
    },
    /// A file that containerd's configuration imports is not there.
    #[error("`{path}` of the image imports `{import}`, which the image lacks: containerd would not start")]
    NoImport {
        /// The file that imports.
        path: String,
        /// The file that is missing.
        import: String,
    },
    /// A file that containerd's configuration imports may hide the runtimes.
    #[error("`{import}`, which `{path}` of the image imports, sets up the CRI plugin too")]
    #[diagnostic(help(
        "move its tables of the CRI plugin into `{path}`: containerd 1.x lets them replace all that stands there of the plugin"
    ))]
    ImportedRuntimes {
        /// containerd's configuration.
        path: String,
        /// The imported file.
        import: String,
    },
    /// A file that containerd's configuration imports is of a later version than that is.
    #[error("`{import}` of the image has `version = {version}`, `{path}`, which imports it, a lower one")]
    #[diagnostic(help(
        "write it in the version of `{path}`: containerd 2.3.1 to 2.3.4 don't start with a higher one"
    ))]
    ImportedVersion {
        /// containerd's configuration.
        path: String,
        /// The imported file.
        import: String,
        /// Its version.
        version: i64,
    },
    /// A key of containerd's configuration holds something else than the node needs there.
    #[error("`{key}` in `{path}` of the image is no {wanted}")]
    Shape {
        /// The file.
        path: String,
        /// The dotted key.
        key: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The base has another Kubernetes than the recipe says.
    #[error("`{path}` of the image says `{found}`, the recipe says `{wanted}`")]
    #[diagnostic(help(
        "set `kubernetes = {{ version = … }}` of `[node]` to what the base has, or name another base"
    ))]
    Kubernetes {
        /// The file that says it.
        path: String,
        /// The recipe's version.
        wanted: String,
        /// The base's.
        found: String,
    },
    /// The base already has a runtime of this name.
    #[error("`{path}` of the image already has a runtime `{handler}`")]
    #[diagnostic(help("give the runtime another `name`, or leave it out of the image's `runtimes`"))]
    HandlerTaken {
        /// The file.
        path: String,
        /// The handler.
        handler: String,
    },
    /// The base runtime spec is no JSON object.
    #[error("`{path}` of the image is not a runtime spec in JSON: {reason}")]
    Spec {
        /// The file.
        path: String,
        /// What is wrong, in one line.
        reason: String,
    },
    /// The base's default runtime names no base runtime spec that annotations could be added to.
    #[error(
        "runtime `{handler}` sets annotations, but the default runtime in `{path}` has no `base_runtime_spec`"
    )]
    NoBaseSpec {
        /// containerd's configuration.
        path: String,
        /// The runtime that wants annotations.
        handler: String,
    },
}

impl Error {
    /// Tells who is to act: all of these are about the recipe and its image.
    pub fn blame(&self) -> Blame {
        Blame::Input
    }
}

/// The files of the layers below the configuration.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// Gives a file's content.
    pub read: &'a dyn Fn(&GuestPath) -> Option<Vec<u8>>,
    /// Lists what a folder holds, in the order of names.
    pub list: &'a dyn Fn(&GuestPath) -> Vec<String>,
}

impl Below<'_> {
    fn file(&self, path: &GuestPath) -> Result<Vec<u8>, Error> {
        (self.read)(path).ok_or_else(|| Error::NoFile { path: path.to_string() })
    }
}

/// Makes the configuration layer: containerd's configuration with the runtimes merged in, a base runtime
/// spec for those that set annotations, and `/kind/version`.
pub fn configure(node: &Node, below: Below<'_>) -> Result<Files, Error> {
    let text = below.file(&node.containerd_config)?;
    let mut config = containerd::Config::parse(node.containerd_config.as_str(), &text)?;
    config.check()?;
    imports::check(&node.containerd_config, &config, below)?;
    let mut files = Files::new();
    let base_spec = config.default_base_spec()?;
    for runtime in &node.runtimes {
        let spec = match (&base_spec, runtime.annotations.is_empty()) {
            (base, true) => base.clone(),
            (Some(base), false) => {
                let path = spec_path(node, runtime, base);
                if !files.contains_key(&path) {
                    let merged = spec::annotate(base.as_str(), &below.file(base)?, &runtime.annotations)?;
                    files.insert(path.clone(), merged);
                }
                Some(path)
            }
            (None, false) => {
                return Err(Error::NoBaseSpec {
                    path: node.containerd_config.to_string(),
                    handler: runtime.handler.clone(),
                });
            }
        };
        config.add(runtime, spec.as_ref())?;
    }
    files.insert(node.containerd_config.clone(), config.render());
    let version = GuestPath::new(VERSION_FILE).expect("a constant path");
    let wanted = format!("v{}", node.kubernetes);
    if node.based {
        let found = String::from_utf8_lossy(&below.file(&version)?).trim().to_owned();
        if found != wanted {
            return Err(Error::Kubernetes { path: VERSION_FILE.to_owned(), wanted, found });
        }
    } else {
        files.insert(version, wanted.into_bytes());
    }
    Ok(files)
}

/// Names the spec file of a runtime that sets annotations: `cri-wasm.json` beside the base's while one set
/// of annotations is enough for the image, else one file a handler.
fn spec_path(node: &Node, runtime: &Runtime, base: &GuestPath) -> GuestPath {
    let sets: BTreeSet<_> = node.runtimes.iter().map(|r| &r.annotations).filter(|a| !a.is_empty()).collect();
    let folder = base.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = if sets.len() == 1 { "wasm" } else { &runtime.handler };
    GuestPath::new(&format!("{folder}/cri-{name}.json")).expect("handlers are checked to be file names")
}

/// Makes what lies beside the image: RuntimeClasses, kind's cluster config and an example workload for each
/// runtime that has one. Keys are file names.
pub fn manifests(node: &Node) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    files.insert(CLUSTER_FILE.to_owned(), kubernetes::cluster(node));
    if !node.runtimes.is_empty() {
        files.insert(CLASSES_FILE.to_owned(), kubernetes::runtime_classes(node));
    }
    for runtime in node.runtimes.iter().filter(|runtime| !runtime.example.is_empty()) {
        files.insert(example_file(runtime), kubernetes::example(runtime));
    }
    files
}

/// Tells whether containers serve until they are stopped. Those of one pod all do, or none.
fn serve(containers: &[ExampleContainer]) -> bool {
    containers.iter().any(|container| container.http.is_some())
}

/// Names the Job or Deployment that a runtime's example is.
fn example_name(runtime: &Runtime) -> String {
    format!("example-{}", runtime.handler)
}

/// One Job of a trial, or one Deployment where its containers serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job<'a> {
    /// Its name.
    pub name: String,
    /// The handler that its pod runs on; none is the node's default.
    pub handler: Option<&'a str>,
    /// Its containers.
    pub containers: &'a [ExampleContainer],
    /// Its manifest.
    pub manifest: String,
}

impl Job<'_> {
    /// Tells whether its containers serve until they are stopped.
    pub fn serves(&self) -> bool {
        serve(self.containers)
    }

    /// Gives the label that its pods have.
    pub fn selector(&self) -> String {
        let label = if self.serves() { kubernetes::NAME_LABEL } else { "job-name" };
        format!("{label}={}", self.name)
    }
}

/// Lists what is run to try a node: each runtime's example, then the other pods of its trial.
pub fn jobs(node: &Node) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for runtime in &node.runtimes {
        if !runtime.example.is_empty() {
            jobs.push(Job {
                name: example_name(runtime),
                handler: Some(&runtime.handler),
                containers: &runtime.example,
                manifest: kubernetes::example(runtime),
            });
        }
        for pod in &runtime.trial {
            let name = format!("trial-{}-{}", runtime.handler, pod.name);
            jobs.push(Job {
                handler: (pod.class == TrialClass::Own).then_some(runtime.handler.as_str()),
                containers: &pod.containers,
                manifest: kubernetes::trial(&name, runtime, pod),
                name,
            });
        }
    }
    jobs
}

/// Names the file with a runtime's example, of what lies beside the image.
fn example_file(runtime: &Runtime) -> String {
    format!("{}.yaml", example_name(runtime))
}

#[cfg(test)]
mod tests;

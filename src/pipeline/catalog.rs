//! What node images there are: `out/catalog.json`, for people who choose one and for programs.
//!
//! An entry says what an image *is*, out of its layers ([`node::Survey`]) and of what its recipe names, and which kinds
//! it was booted by, out of the project's own record ([`record()`]). Nothing is measured or asked, so the same project
//! gives the same bytes. A build replaces the entries of the images that it built and keeps those of the project's
//! other node images.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outputs::replace;
use super::{Built, Error, record};
use crate::base::{Arch, Digest, GuestPath, Name};
use crate::node::{self, Survey};
use crate::plan::{ImageTarget, Plan, SURVEY_FILE, StepId, Target, Work};
use crate::realise::Outcome;
use crate::recipe::Project;
use crate::store::{Node, Store};

/// The catalog's file below `out`.
pub const FILE: &str = "catalog.json";

/// The number of the file's format.
const VERSION: u32 = 1;

/// The node images below one `out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "nodeimg catalog")]
pub struct Catalog {
    /// The number of this format, 1.
    pub version: u32,
    /// The images, by recipe.
    pub images: BTreeMap<String, Entry>,
}

/// A node image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its name and tag.
    pub reference: String,
    /// The digest of its manifest, for several platforms of its index: `sha256:…`.
    pub digest: String,
    /// Its platforms, such as `linux/amd64`.
    pub platforms: Vec<String>,
    /// The version of Kubernetes.
    pub kubernetes: String,
    /// The versions of kind that booted this digest, as `nodeimg try --record` noted them.
    pub kind: Vec<String>,
    /// Its containerd.
    pub containerd: Containerd,
    /// The handler of pods that ask for none.
    pub default_runtime: String,
    /// Its runtimes, by handler.
    pub runtimes: BTreeMap<String, Runtime>,
}

/// A node image's containerd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Containerd {
    /// Its version; absent where the image has it from no package.
    pub version: Option<String>,
    /// The version of the Debian package that it is from.
    pub package: Option<String>,
    /// The `version` of its configuration file.
    pub config_version: i64,
}

/// A containerd runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Runtime {
    /// containerd's `runtime_type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The program that the shim calls, where the configuration names one.
    pub binary: Option<String>,
    /// The RuntimeClass that pods ask for it by; the image's own default has none.
    pub runtime_class: Option<String>,
    /// What it is made of, with versions.
    pub packages: BTreeMap<String, String>,
}

/// Brings `out/catalog.json` up to date with the node images that were built; tells whether it changed.
pub(super) fn write(
    plan: &Plan,
    outcome: &Outcome,
    built: &[Built],
    project: &Project,
    out: &Path,
    store: &Store,
) -> Result<bool, Error> {
    let mut new = BTreeMap::new();
    for (target, one) in plan.targets.iter().zip(built) {
        if let Some(image) = &target.image
            && let Some(survey) = image.survey
        {
            let entry = entry(plan, target, image, one, &outcome.artifacts[&survey], project, store)?;
            new.insert(target.recipe.name.to_string(), entry);
        }
    }
    if new.is_empty() {
        return Ok(false);
    }
    let path = out.join(FILE);
    let is_node = |name: &str| {
        Name::new(name)
            .ok()
            .and_then(|name| project.images.get(&name))
            .is_some_and(|image| image.node.is_some())
    };
    let mut images = read(&path).map(|old| old.images).unwrap_or_default();
    images.retain(|name, _| is_node(name));
    images.extend(new);
    let catalog = Catalog { version: VERSION, images };
    let text = serde_json::to_string_pretty(&catalog).expect("plain values are JSON");
    replace(&path, &format!("{text}\n"))
}

/// Reads a catalog that an earlier build left.
pub fn read(path: &Path) -> Option<Catalog> {
    let text = fs_err::read(path).ok()?;
    serde_json::from_slice(&text).ok().filter(|catalog: &Catalog| catalog.version == VERSION)
}

fn entry(
    plan: &Plan,
    target: &Target,
    image: &ImageTarget,
    built: &Built,
    survey: &Digest,
    project: &Project,
    store: &Store,
) -> Result<Entry, Error> {
    let survey = load(survey, store)?;
    let node = image.node.as_ref().expect("what is surveyed is a node");
    let (reference, _) = built.image.as_ref().expect("an image was built");
    let platform = |(_, step): &(Arch, StepId)| {
        let Work::Image(assembly) = &plan.steps[*step].work else {
            unreachable!("an image's step assembles it");
        };
        format!("{}/{}", assembly.platform.os, assembly.platform.architecture)
    };
    let mut platforms: Vec<_> = image.images.iter().map(platform).collect();
    platforms.dedup();
    let digest = built.digest().expect("an image was built");
    let runtime = |(handler, bound): (&String, &node::Bound)| {
        let own = node.runtimes.iter().find(|runtime| runtime.handler == *handler);
        let mut packages: BTreeMap<String, String> = image
            .runtimes
            .get(handler)
            .into_iter()
            .flatten()
            .map(|(name, version)| (name.to_string(), version.clone()))
            .collect();
        // The shim's own choice is runc.
        if own.is_none() && bound.binary.is_none() {
            let runc = survey.packages.get("runc");
            packages.extend(runc.map(|version| ("runc".to_owned(), node::upstream(version).to_owned())));
        }
        let runtime = Runtime {
            kind: bound.kind.clone(),
            binary: bound.binary.clone(),
            runtime_class: own.map(|runtime| runtime.runtime_class.clone()),
            packages,
        };
        (handler.clone(), runtime)
    };
    let package = survey.packages.get("containerd");
    Ok(Entry {
        reference: reference.clone(),
        digest: digest.hash.oci(),
        platforms,
        kubernetes: node.kubernetes.clone(),
        kind: record::booted_by(project.path(), &target.recipe.name, &digest),
        containerd: Containerd {
            version: package.map(|version| node::upstream(version).to_owned()),
            package: package.cloned(),
            config_version: survey.config_version,
        },
        default_runtime: survey.default_runtime.clone(),
        runtimes: survey.runtimes.iter().map(runtime).collect(),
    })
}

fn load(survey: &Digest, store: &Store) -> Result<Survey, Error> {
    let tree = store.tree(survey)?;
    let path = GuestPath::new(SURVEY_FILE).expect("a constant path");
    let Some(Node::File { digest, .. }) = tree.get(&path) else {
        panic!("a survey is one file");
    };
    Ok(serde_json::from_slice(&store.read_blob(digest)?).expect("a survey is written as it is read"))
}

/// Gives the schema of the file, as JSON Schema.
pub fn schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<Catalog>().into()
}

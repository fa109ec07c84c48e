//! Images made again: out of what they carry, and steps in other surroundings.
//!
//! [`unpack`] gives the project that an image carries; what it is then is a project like any other. [`from_nothing`]
//! builds it with a store of its own, into which only pinned files are let: no step's result is taken as known.

mod error;
mod signed;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use signed::signed;

use super::Error as PipelineError;
use crate::base::{Cancel, Digest, Sha256};
use crate::diff::{self, Change};
use crate::fetch;
use crate::image;
use crate::plan::{Plan, StepId, Work};
use crate::realise::{self, Care, Context, Known, Outcome};
use crate::store::{Scratch, Store, Tree};
use source::Carried;

/// What an image was made from, as it carries it.
#[derive(Debug)]
pub struct Unpacked {
    /// The image's digest.
    pub digest: Sha256,
    /// The name of the recipe, such as `images/kind-wasmtime-debian`.
    pub target: String,
    /// What it was made for, as on the command line.
    pub platforms: Vec<String>,
    folder: tempfile::TempDir,
}

impl Unpacked {
    /// The project's folder; it goes with this value.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("project")
    }
}

/// Unpacks what an image carries: `name` is a layout, an archive, a registry's image, or the digest of an image that
/// lies below `out`.
pub fn unpack(name: &str, out: &Path, context: &fetch::Context<'_>) -> Result<Unpacked, PipelineError> {
    let carried = source::open(&place(name, out)?, context)?;
    let folder = tempfile::tempdir().map_err(|source| Error::Read { path: std::env::temp_dir(), source })?;
    let tree = project(&carried, context)?;
    context.store.copy_out(&context.store.put_tree(&tree)?, &folder.path().join("project"))?;
    Ok(Unpacked { digest: carried.digest, target: carried.target, platforms: carried.platforms, folder })
}

/// Takes what an image carries apart.
fn project(carried: &Carried, context: &fetch::Context<'_>) -> Result<Tree, PipelineError> {
    let options = crate::unpack::Options { strip: Some(0), ..crate::unpack::Options::default() };
    let (store, cancel) = (context.store, context.cancel);
    Ok(crate::unpack::archive(store, &carried.project, "project.tar.gz", &options, cancel)?)
}

/// Compares what two images carry: their recipes, locks and patches. Nothing where one of them carries none.
pub fn recipes(
    before: &str,
    now: &str,
    context: &fetch::Context<'_>,
) -> Result<Option<Vec<Change>>, PipelineError> {
    let mut projects = Vec::new();
    for name in [before, now] {
        match source::open(name, context) {
            Ok(carried) => projects.push(project(&carried, context)?),
            // It may well be an image, of another program.
            Err(PipelineError::Rebuild(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(diff::compare(context.store, &projects[0], &projects[1])?))
}

/// Gives the place of an image: of a digest, its layout below `out`.
fn place(name: &str, out: &Path) -> Result<String, Error> {
    let hash = name.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    match hash.map(|hash| find(&hash, out, "oci")) {
        None => Ok(name.to_owned()),
        Some(found) => found.ok_or_else(|| Error::Nowhere { image: name.to_owned() }),
    }
}

/// Finds the layout of an image, at `place` in its folder below `out`.
fn find(image: &Sha256, out: &Path, place: &str) -> Option<String> {
    let text = format!("\"digest\":\"{}\"", image.oci());
    let layouts = fs_err::read_dir(out).ok()?.filter_map(Result::ok).map(|entry| entry.path().join(place));
    let mut layouts: Vec<_> = layouts
        .filter(|layout| {
            fs_err::read_to_string(layout.join("index.json")).is_ok_and(|index| index.contains(&text))
        })
        .collect();
    layouts.sort();
    layouts.first()?.to_str().map(str::to_owned)
}

/// Checks that an image's own blobs are what their digests say. Of a registry's image that is looked at when it is
/// pulled.
pub fn check(name: &str, out: &Path, context: &fetch::Context<'_>) -> Result<u64, PipelineError> {
    source::check(&place(name, out)?, context)
}

/// Makes a plan's target again in an empty store, out of its pinned files alone; gives the image's digest, the tree of
/// what a package is, and what was done. `plan` is made with `fresh`.
///
/// Files come into `context`'s store first, where a next time finds them.
pub fn from_nothing(
    plan: &Plan,
    fresh: &Store,
    context: &Context<'_>,
) -> Result<(Digest, Outcome), PipelineError> {
    let fetched = super::fetch(plan, context)?;
    for (&step, artifact) in &fetched.artifacts {
        match &plan.steps[step].work {
            Work::Fetch(_) => fresh.take_from(context.store, artifact)?,
            Work::Base { .. } => {
                for (_, digest, _) in context.store.tree(artifact)?.files() {
                    fresh.take_from(context.store, &digest)?;
                }
                for layer in image::base_layers(context.store, artifact)? {
                    fresh.take_from(context.store, &layer.blob)?;
                }
            }
            _ => {}
        }
    }
    let offline = fetch::Network::offline();
    let alone = Context { store: fresh, network: &offline, ..*context };
    let outcome = realise::realise(plan, &plan.wanted(), Care::Quick, &alone)?;
    let target = &plan.targets[0];
    let made = outcome.artifacts[&target.step];
    let digest = match &target.image {
        Some(_) => image::digest(fresh, &fresh.tree(&made)?)?,
        None => made,
    };
    Ok((digest, outcome))
}

/// Finds what a store knows of the artifacts of a plan's steps.
pub fn known(plan: &Plan, store: &Store) -> Result<BTreeMap<StepId, Digest>, PipelineError> {
    let all: Vec<StepId> = (0..plan.steps.len()).collect();
    let known = realise::explain(plan, &all, store)?.into_iter().enumerate();
    Ok(known
        .filter_map(|(step, known)| match known {
            Known::There(artifact) => Some((step, artifact)),
            Known::Absent(_) | Known::NotNeeded => None,
        })
        .collect())
}

/// Gives the digest of a plan's first target, where it is among the `known` artifacts: of an image, or of a package's
/// tree.
pub fn target_digest(
    plan: &Plan,
    known: &BTreeMap<StepId, Digest>,
    store: &Store,
) -> Result<Option<Sha256>, PipelineError> {
    let target = &plan.targets[0];
    let Some(made) = known.get(&target.step) else { return Ok(None) };
    Ok(Some(match &target.image {
        Some(_) => image::digest(store, &store.tree(made)?)?.hash,
        None => made.hash,
    }))
}

/// A step that gave something else out of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// The step.
    pub step: StepId,
    /// What it gave before.
    pub expected: Digest,
    /// What it gave now.
    pub received: Digest,
}

/// Finds the steps at which two builds part: those whose inputs are the same and whose results are not.
pub fn strays(plan: &Plan, known: &BTreeMap<StepId, Digest>, outcome: &Outcome) -> Vec<Stray> {
    let differs = |step: &StepId| match (known.get(step), outcome.artifacts.get(step)) {
        (Some(expected), Some(received)) if expected != received => Some((*expected, *received)),
        _ => None,
    };
    let is_first = |step: &StepId| !plan.steps[*step].inputs.iter().any(|input| differs(input).is_some());
    let all = (0..plan.steps.len()).filter(is_first);
    all.filter_map(|step| differs(&step).map(|(expected, received)| Stray { step, expected, received }))
        .collect()
}

/// Brings a tree with all its files into another store.
pub fn bring(tree: &Digest, from: &Store, to: &Store) -> Result<(), PipelineError> {
    let content = from.tree(tree)?;
    for (_, digest, _) in content.files() {
        to.take_from(from, &digest)?;
    }
    to.put_tree(&content)?;
    Ok(())
}

/// Opens an empty store beside the one that is used, on the same file system.
pub fn fresh_store(store: &Store, cancel: &Cancel) -> Result<(Scratch, Store), PipelineError> {
    let scratch = store.scratch()?;
    let fresh = Store::open(&scratch.path().join("store"))?.stopped_by(cancel);
    Ok((scratch, fresh))
}

//! The gates on any image: of the project, of a registry, an engine, an archive or a layout.
//!
//! Wherever an image comes from, it becomes a list of layers in the store ([`Opened`]), these a tree
//! ([`unpack::layers()`]), and the tree a [`Report`]. [`FORMS`] is the only list of places.

mod docker;
mod error;
mod layout;
mod registry;

use std::path::Path;

pub use error::Error;

use super::Error as PipelineError;
use crate::base::{Arch, Digest, GuestPath};
use crate::engine::Settings;
use crate::gate::{self, Image, Report};
use crate::plan::{Plan, Work};
use crate::realise::{self, Care, Context};
use crate::recipe::Id;
use crate::{image, unpack};

/// What is needed to open an image.
pub struct Here<'a> {
    /// Where this host says that engines are.
    pub engine: &'a Settings,
    /// The machine to take of an image for several.
    pub arch: Arch,
    /// Store, sandbox, network and so on.
    pub context: &'a Context<'a>,
}

/// An image that was found.
#[derive(Debug)]
pub struct Opened {
    /// Its name, for people.
    name: String,
    /// The machine that it is for, if it says so.
    arch: Option<Arch>,
    /// Its layers, lowest first, blobs of the store.
    layers: Vec<Digest>,
}

/// One kind of place that images are in.
pub struct Form {
    /// How it is written.
    pub place: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Takes the place out of what was written; nothing if it is another form's.
    is: for<'t> fn(&'t str) -> Option<&'t str>,
    open: fn(&str, &Here<'_>) -> Result<Opened, PipelineError>,
}

/// Every form, in the order that they are tried.
pub const FORMS: [&Form; 4] = [&docker::FORM, &layout::FOLDER, &layout::ARCHIVE, &registry::FORM];

/// An image that was looked at.
#[derive(Debug)]
pub struct Linted {
    /// Its name, for people.
    pub image: String,
    /// What the gates came to.
    pub report: Report,
}

/// Tells whether a text names an image outside of the project.
pub fn is_elsewhere(text: &str) -> bool {
    FORMS.iter().any(|form| (form.is)(text).is_some())
}

/// Lets the gates look at an image from anywhere.
pub fn lint(text: &str, config: &GuestPath, here: &Here<'_>) -> Result<Linted, PipelineError> {
    let found = FORMS.iter().find_map(|form| Some((form, (form.is)(text)?)));
    let (form, place) = found.ok_or_else(|| Error::Nowhere { image: text.to_owned() })?;
    let Opened { name, arch, layers } = (form.open)(place, here)?;
    let Context { store, sandbox, cancel, .. } = *here.context;
    let tree = unpack::layers(store, &name, &layers, cancel)?;
    let image = Image { tree: &tree, arch, config, node: None };
    let report = gate::run(&image, store, sandbox, cancel)?;
    Ok(Linted { image: name, report })
}

/// Lets the gates look at a node image of the project. It is realised for that, but not assembled.
///
/// # Panics
///
/// If `image` is no node image of the plan.
pub fn lint_recipe(plan: &Plan, image: &Id, context: &Context<'_>) -> Result<Linted, PipelineError> {
    let target = plan.targets.iter().find(|target| target.recipe == *image).expect("the caller asked for it");
    let described = target.image.as_ref().expect("the caller asked for an image");
    let node = described.node.as_ref().expect("the caller asked for a node image");
    let (arch, step) = described.images[0];
    let Work::Image(assembly) = &plan.steps[step].work else {
        unreachable!("an image's step assembles it");
    };
    let layers = assembly.trees(&plan.steps[step].inputs);
    let outcome = realise::realise(plan, layers, Care::Quick, context)?;
    let layer = |step: &usize| image::Layer {
        name: plan.steps[*step].labels[0].to_string(),
        tree: outcome.artifacts[step],
    };
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let tree = image::union(context.store, &layers)?;
    let image = Image { tree: &tree, arch: Some(arch), config: &node.containerd_config, node: Some(node) };
    let report = gate::run(&image, context.store, context.sandbox, context.cancel)?;
    Ok(Linted { image: described.reference.clone(), report })
}

/// Tells whether a path of this machine is there.
fn exists(text: &str, is: fn(&Path) -> bool) -> Option<&str> {
    is(Path::new(text)).then_some(text)
}

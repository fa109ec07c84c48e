//! Images that others are built on: brought from a registry, unpacked where their files are read.

use super::{Context, Error};
use crate::base::{Arch, Digest, Sha256, each};
use crate::fetch::oci::{self, Reference};
use crate::image::{self, BaseLayer};
use crate::plan::{Plan, StepId, Work};
use crate::store::Tree;
use crate::unpack;

/// Layers that come at once.
const LAYERS: usize = 4;

/// Brings the manifest and the configuration of a base.
pub(super) fn image(
    reference: &Reference,
    digest: &Sha256,
    arch: Arch,
    context: &Context<'_>,
) -> Result<Tree, Error> {
    let found = oci::manifest(reference, digest, arch, &context.fetch())?;
    Ok(image::base(found.manifest, found.config))
}

/// Unpacks a base's layers over each other.
pub(super) fn unlayer(reference: &Reference, base: &Digest, context: &Context<'_>) -> Result<Tree, Error> {
    let layers = image::base_layers(context.store, base)?;
    pull(reference, &layers, context)?;
    let blobs: Vec<Digest> = layers.iter().map(|layer| layer.blob).collect();
    Ok(unpack::layers(context.store, &reference.to_string(), &blobs, context.cancel)?)
}

/// Brings those layers of a base that are not in the store; tells how many.
fn pull(reference: &Reference, layers: &[BaseLayer], context: &Context<'_>) -> Result<usize, Error> {
    let lacking: Vec<_> = layers.iter().filter(|layer| !context.store.has_blob(&layer.blob)).collect();
    each(&lacking, LAYERS, |layer| oci::layer(reference, &layer.blob, &context.fetch()))?;
    Ok(lacking.len())
}

/// Brings the layers of every base that some images of a plan are built on, for outputs that need their bytes; tells how
/// many were lacking.
pub fn pull_bases(plan: &Plan, images: &[StepId], context: &Context<'_>) -> Result<usize, Error> {
    let is_based = |step: &StepId| matches!(&plan.steps[*step].work, Work::Image(assembly) if assembly.based);
    let bases: Vec<_> =
        images.iter().filter(|step| is_based(step)).map(|&step| plan.steps[step].inputs[0]).collect();
    let made = super::realise(plan, &bases, super::Care::Quick, context)?;
    let mut lacking = 0;
    for step in bases {
        let Work::Base { reference, .. } = &plan.steps[step].work else {
            unreachable!("the first input of what is based is its base");
        };
        let layers = image::base_layers(context.store, &made.artifacts[&step])?;
        let label = &plan.steps[step].labels[0];
        lacking += pull(reference, &layers, context).map_err(|error| error.asked_by(label))?;
    }
    Ok(lacking)
}

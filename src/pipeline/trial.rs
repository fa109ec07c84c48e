//! A node image that was built, in a cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Built, Error};
use crate::base::Name;
use crate::base::event::{self, Activity, Event};
use crate::cluster::{self, After, Alone, Report, Tools, Trial, Workload};
use crate::export::docker::Engine;
use crate::image;
use crate::node::Node;
use crate::plan::{ImageTarget, Plan, StepId, Work};
use crate::realise::{self, Care, Context};
use crate::recipe::{Id, Role};

/// The packages that a trial runs on this machine.
pub const TOOLS: [&str; 3] = ["kind", "kubectl", "docker-cli"];

/// Loads a node image into an engine and tries it there.
///
/// # Panics
///
/// If `image` is no node image, or `built` lacks it or one of [`TOOLS`].
pub fn try_image(
    plan: &Plan,
    built: &[Built],
    image: &Id,
    engine: &Engine,
    after: After,
    context: &Context<'_>,
) -> Result<Report, Error> {
    let find = |id: &Id| built.iter().find(|one| one.recipe == *id).expect("the caller built it");
    let one = find(image);
    let (_, workloads, node) = planned(plan, image);
    let (reference, summary) = one.image.as_ref().expect("an image was built");
    load(engine, reference, one, context)?;
    let tool = |package: &str, file: &str| {
        let package = Id::new(Role::Package, &Name::new(package).expect("a constant name"));
        find(&package).folder.join("usr/bin").join(file)
    };
    let [kind, kubectl, docker] = TOOLS;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let tools = Tools {
        kind: absolute(tool(kind, "kind")),
        kubectl: absolute(tool(kubectl, "kubectl")),
        docker: absolute(tool(docker, "docker")),
    };
    let archive = |name: &Name| absolute(one.folder.join(format!("workloads/{name}.tar")));
    let workloads: Vec<_> = workloads.keys().map(archive).collect();
    let trial = Trial {
        node,
        digest: &summary.manifest,
        workloads: &workloads,
        logs: &absolute(one.folder.join("trial")),
        after,
    };
    let with = cluster::Context {
        tools: &tools,
        engine: engine.engine().variables(),
        events: context.events,
        cancel: context.cancel,
    };
    Ok(cluster::run(&trial, &with)?)
}

/// Tries a node image's containerd by itself.
///
/// # Panics
///
/// If `image` is no node image, or `built` lacks it.
pub fn try_alone(plan: &Plan, built: &[Built], image: &Id, context: &Context<'_>) -> Result<Report, Error> {
    let one = built.iter().find(|one| one.recipe == *image).expect("the caller built it");
    let (step, workloads, node) = planned(plan, image);
    let (_, summary) = one.image.as_ref().expect("an image was built");
    let Work::Image(assembly) = &plan.steps[step].work else {
        unreachable!("an image's step assembles it");
    };
    let layers = assembly.trees(&plan.steps[step].inputs);
    let outcome = realise::realise(plan, layers, Care::Quick, context)?;
    let layer = |step: &StepId| image::Layer {
        name: plan.steps[*step].labels[0].to_string(),
        tree: outcome.artifacts[step],
    };
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let root = context.store.put_tree(&image::union(context.store, &layers)?)?;
    let root = context.store.checkout(&root)?;
    let workload = |(name, step): (&Name, &StepId)| {
        let Work::Image(assembly) = &plan.steps[*step].work else {
            unreachable!("an image's step assembles it");
        };
        Workload {
            reference: assembly.reference.clone(),
            platform: format!("{}/{}", assembly.platform.os, assembly.platform.architecture),
            entrypoint: assembly.config.entrypoint.clone(),
            stop_signal: assembly.config.stop_signal.clone(),
            archive: one.folder.join(format!("workloads/{name}.tar")),
        }
    };
    let workloads: Vec<_> = workloads.iter().map(workload).collect();
    let id = event::next_id();
    let name = format!("{} without a cluster", node.reference);
    context.events.emit(Event::Started { id, kind: Activity::Try, name, total: None });
    let trial = Alone { node, digest: &summary.manifest, root: root.path(), workloads: &workloads };
    let done = cluster::run_alone(&trial, context.cancel);
    let outcome = match &done {
        Ok(_) => event::Outcome::Done,
        Err(cluster::Error::Cancelled) => event::Outcome::Stopped,
        Err(_) => event::Outcome::Failed,
    };
    context.events.emit(Event::Finished { id, outcome, detail: String::new() });
    Ok(done?)
}

/// Finds a node image in a plan: its step, the images that its examples run, and the node.
fn planned<'a>(plan: &'a Plan, image: &Id) -> (StepId, &'a BTreeMap<Name, StepId>, &'a Node) {
    let target = plan.targets.iter().find(|target| target.recipe == *image).expect("the caller asked for it");
    let ImageTarget { node, workloads, .. } = target.image.as_ref().expect("the caller asked for an image");
    (target.step, workloads, node.as_ref().expect("the caller asked for a node image"))
}

fn load(engine: &Engine, reference: &str, built: &Built, context: &Context<'_>) -> Result<(), Error> {
    let id = event::next_id();
    let name = format!("{reference} into Docker");
    context.events.emit(Event::Started { id, kind: Activity::Load, name, total: None });
    let done = engine.load(context.store, &built.tree, context.cancel);
    let outcome = *done.as_ref().unwrap_or(&event::Outcome::Failed);
    context.events.emit(Event::Finished { id, outcome, detail: String::new() });
    done?;
    Ok(())
}

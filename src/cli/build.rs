//! `nodeimg build`: makes targets and says what lies where.

use std::path::Path;

use serde_json::json;

use super::arguments::Build;
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::fetch::Network;
use crate::pipeline::{self, Built};
use crate::plan::{Plan, Work};
use crate::realise::{Context, Outcome};
use crate::recipe::Project;
use crate::sandbox::Sandbox;
use crate::store::Store;

/// What steps are realised with in this session.
pub(super) fn realising<'a>(
    session: &'a Session,
    sandbox: &'a dyn Sandbox,
    store: &'a Store,
    network: &'a Network,
    jobs: Option<u16>,
    keep_going: bool,
) -> Context<'a> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    Context {
        store,
        sandbox,
        network,
        events: &session.progress,
        cancel: &session.cancel,
        jobs: jobs.map_or_else(processors, usize::from),
        keep_going,
    }
}

pub(super) fn run(session: &Session, command: &Build) -> Result<i32, Failure> {
    let project = session.project()?;
    let targets = project.targets(&command.targets)?;
    let sandbox = Session::sandbox(&command.sandboxing)?;
    let (store, network) = (session.store()?, session.network()?);
    let locked = session.locked(&project, &targets, &command.locking, &network, &store)?;
    let plan = pipeline::plan(&project, &locked, &targets, Session::arch()?, &store)?;
    let out = command.out.clone().unwrap_or_else(|| project.path().join("out"));
    // People read `out/x` more easily than `./out/x`.
    let out = out.strip_prefix(".").map_or(out.clone(), Path::to_owned);
    let context = realising(session, &*sandbox, &store, &network, command.jobs, command.keep_going);
    let (built, outcome) = pipeline::build(&plan, &project, &out, &context)?;
    session.progress.finish();
    if session.common.json {
        text::json(&document(&plan, &built, &outcome))?;
    } else if !session.common.quiet {
        for one in &built {
            session.progress.line(&summary(one));
        }
        session.progress.line(&format!("{:>10} {}", "steps", work(&plan, &outcome)));
        let next = built.iter().find_map(|one| next(one, &project));
        next.into_iter().for_each(|next| session.progress.line(&format!("{:>10} {next}", "next")));
    }
    Ok(0)
}

/// Says how much was made and how much was there.
fn work(plan: &Plan, outcome: &Outcome) -> String {
    let is_fetch = |step: &&usize| matches!(plan.steps[**step].work, Work::Fetch(_));
    let steps = plan.steps.iter().filter(|step| !matches!(step.work, Work::Fetch(_))).count();
    let made = outcome.made.iter().filter(|step| !is_fetch(step)).count();
    let fetched = outcome.made.len() - made;
    match (made, fetched) {
        (0, 0) => format!("all {steps} reused"),
        (_, 0) => format!("{made} made, {} reused", steps - made),
        _ => format!("{made} made, {} reused, {} fetched", steps - made, text::count(fetched, "file")),
    }
}

/// Says what a target is and where it lies.
fn summary(built: &Built) -> String {
    let state = if built.unchanged { "unchanged" } else { "wrote" };
    let files = match built.files.as_slice() {
        [] => built.folder.display().to_string(),
        files => format!("{}/{{{}}}", built.folder.display(), files.join(",")),
    };
    let Some((reference, image)) = &built.image else {
        return format!("{:>10} {}\n{state:>10} {files}", "package", built.recipe.name);
    };
    let layers = text::count(image.layers.len(), "layer");
    format!(
        "{:>10} {reference}\n{:>10} {}\n{:>10} {} in {layers}\n{state:>10} {files}",
        "image",
        "digest",
        image.manifest.hash.oci(),
        "size",
        text::size(image.size()),
    )
}

/// The command that a person would type next.
fn next(built: &Built, project: &Project) -> Option<String> {
    let (reference, _) = built.image.as_ref()?;
    let archive = built.folder.join("image.tar");
    let load = format!("docker load -i {}", archive.display());
    let image = project.images.get(&built.recipe.name).filter(|image| image.platform.is_none())?;
    Some(match image.node {
        Some(_) => {
            let config = built.folder.join("kind.yaml");
            format!("{load} && kind create cluster --config {}", config.display())
        }
        None => format!("{load} && docker run --rm {reference}"),
    })
}

fn document(plan: &Plan, built: &[Built], outcome: &Outcome) -> serde_json::Value {
    let target = |one: &Built| {
        let mut value = json!({
            "target": one.recipe.to_string(),
            "folder": one.folder,
            "files": one.files,
            "unchanged": one.unchanged,
            "tree": one.tree.hash.oci(),
        });
        if let Some((reference, image)) = &one.image {
            value["reference"] = json!(reference);
            value["digest"] = json!(image.manifest.hash.oci());
            value["size"] = json!(image.size());
            let layer = |layer: &crate::image::LayerSummary| json!({ "name": layer.name, "digest": layer.blob.hash.oci(), "size": layer.blob.size });
            value["layers"] = image.layers.iter().map(layer).collect();
        }
        value
    };
    let names = |steps: &std::collections::BTreeSet<usize>| -> Vec<String> {
        steps.iter().map(|&step| plan.steps[step].labels[0].to_string()).collect()
    };
    json!({
        "targets": built.iter().map(target).collect::<Vec<_>>(),
        "made": names(&outcome.made),
        "reused": plan.steps.len() - outcome.made.len(),
    })
}

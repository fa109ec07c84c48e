//! `nodeimg build`: makes targets and says what lies where.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::Build;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::{bundle, host, text};
use crate::base::{Arch, event};
use crate::export::{self, Here, Output};
use crate::fetch::Network;
use crate::image;
use crate::pipeline::{self, Built, Delivered};
use crate::plan::{Plan, Work};
use crate::realise::{Context, Outcome};
use crate::recipe::{Id, Project, Role};
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

/// What is built, and with what.
struct Start {
    project: Project,
    targets: Vec<Id>,
    network: Network,
    plan: Plan,
    out: PathBuf,
}

fn start(session: &Session, command: &Build, store: &Store) -> Result<Start, Failure> {
    let project = session.project()?;
    let targets = project.targets(&command.targets)?;
    let platforms = Session::platforms(&command.platforms.platform)?;
    let network = session.network()?;
    let locked = session.locked(&project, &targets, &platforms, &command.locking, &network, store)?;
    let plan = pipeline::plan(&project, &locked, &targets, &platforms, store)?;
    let out = project.path().join("out");
    Ok(Start { project, targets, network, plan, out })
}

pub(super) fn run(session: &Session, command: &Build) -> Result<i32, Failure> {
    let sandbox = session.sandbox(&command.running)?;
    let store = session.store()?;
    // The folder that a bundle's project is in is there until the end.
    let (opened, start) = match bundle::open(session, command, &store)? {
        None => (None, start(session, command, &store)?),
        Some(opened) => {
            let (project, targets, plan) = bundle::plan(session, command, &opened, &store)?;
            let (network, out) = (Network::offline(), PathBuf::from("out"));
            (Some(opened), Start { project, targets, network, plan, out })
        }
    };
    let Start { project, targets, network, plan, out } = start;
    // Before anything is built: who does not answer now would not take it then.
    let forms = forms(session, &command.output, &targets)?;
    let out = command.out.clone().unwrap_or(out);
    // People read `out/x` more easily than `./out/x`.
    let out = out.strip_prefix(".").map_or(out.clone(), Path::to_owned);
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, command.keep_going);
    let (built, outcome) = match forms.as_slice() {
        [] => pipeline::build(&plan, &project, &out, &context)?,
        forms => pipeline::build_into(&plan, &project, &out, forms, &context)?,
    };
    session.progress.finish();
    if session.common.json {
        let mut document = document(&plan, &built, &outcome);
        if let Some(opened) = &opened {
            document["bundle"] = bundle::document(opened);
        }
        text::json(&document)?;
    } else if !session.common.quiet {
        show(session, &plan, &built, &outcome);
        let next = built.iter().find_map(|one| next(one, &project));
        next.into_iter().for_each(|next| session.progress.line(&format!("{:>10} {next}", "next")));
    }
    Ok(0)
}

/// Says what was built and where it lies.
pub(super) fn show(session: &Session, plan: &Plan, built: &[Built], outcome: &Outcome) {
    for one in built {
        session.progress.line(&summary(one));
    }
    session.progress.line(&format!("{:>10} {}", "steps", work(plan, outcome)));
}

/// Opens the forms that were asked for.
fn forms(session: &Session, asked: &[String], targets: &[Id]) -> Result<Vec<Box<dyn Output>>, Failure> {
    let engine = session.engine();
    let containerd = host::containerd().unwrap_or_else(|| export::CONTAINERD.to_owned());
    let here = Here { engine: &engine, containerd: &containerd };
    let images = targets.iter().filter(|target| target.role == Role::Image).count();
    let mut forms = Vec::new();
    for text in asked {
        let form = export::open(text, &here)?;
        if form.holds_one() && images > 1 {
            return Err(Problem::OneImage { output: text.clone(), images }.into());
        }
        forms.push(form);
    }
    Ok(forms)
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
    let wrote = if built.files.is_empty() { String::new() } else { format!("\n{state:>10} {files}") };
    let delivered: String = built.delivered.iter().map(delivered).collect();
    if let Some(index) = &built.index {
        let platform = |(arch, image): &(Arch, image::Summary)| {
            let layers = text::count(image.layers.len(), "layer");
            let (digest, size) = (image.manifest.hash.oci(), text::size(image.size()));
            format!("\n{:>10} {} {digest}, {size} in {layers}", "platform", arch.platform())
        };
        let platforms: String = index.images.iter().map(platform).collect();
        return format!(
            "{:>10} {reference}\n{:>10} {}{platforms}{wrote}{delivered}",
            "image",
            "digest",
            index.digest.hash.oci(),
        );
    }
    format!(
        "{:>10} {reference}\n{:>10} {}\n{:>10} {} in {layers}{wrote}{delivered}",
        "image",
        "digest",
        image.manifest.hash.oci(),
        "size",
        text::size(image.size()),
    )
}

/// Says where else an image is now, and what that took.
fn delivered(delivered: &Delivered) -> String {
    let Delivered { place, put } = delivered;
    match (put.outcome, put.sent) {
        (event::Outcome::Reused, _) => format!("\n{:>10} in {place} already", "is"),
        (_, Some(sent)) => format!("\n{:>10} into {place}, {} sent", "loaded", text::size(sent)),
        (_, None) => format!("\n{:>10} {place}", "wrote"),
    }
}

/// The command that a person would type next.
fn next(built: &Built, project: &Project) -> Option<String> {
    let (reference, _) = built.image.as_ref()?;
    if !built.files.iter().any(|file| file == "image.tar") {
        return None;
    }
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

pub(super) fn document(plan: &Plan, built: &[Built], outcome: &Outcome) -> serde_json::Value {
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
            value["digest"] = json!(one.digest().map(|digest| digest.hash.oci()));
            let platform = |(arch, image): &(Arch, image::Summary)| json!({ "platform": arch.platform(), "digest": image.manifest.hash.oci(), "size": image.size() });
            if let Some(index) = &one.index {
                value["platforms"] = index.images.iter().map(platform).collect();
            }
            value["size"] = json!(image.size());
            let layer = |layer: &crate::image::LayerSummary| json!({ "name": layer.name, "digest": layer.blob.hash.oci(), "size": layer.blob.size });
            let place = |one: &Delivered| json!({ "place": one.place, "unchanged": one.put.outcome == event::Outcome::Reused, "sent": one.put.sent });
            value["delivered"] = one.delivered.iter().map(place).collect();
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

//! `nodeimg lint`: says what in an image would fail in pods.

use serde_json::json;

use super::arguments::Lint;
use super::build::realising;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::{render, text};
use crate::base::Name;
use crate::gate::Report;
use crate::pipeline;
use crate::pipeline::lint::{self, Here, Linted};
use crate::recipe::{Id, Role};

pub(super) fn run(session: &Session, command: &Lint) -> Result<i32, Failure> {
    let (store, network) = (session.store()?, session.network()?);
    let sandbox = session.sandbox(&command.running)?;
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let platforms = Session::platforms(command.platform.as_slice())?;
    let Linted { image, report } = match recipe(session, &command.image)? {
        Some((project, id)) => {
            if project.images[&id.name].node.is_none() {
                return Err(Problem::NoNode(id.to_string()).into());
            }
            let targets = [id.clone()];
            let locked =
                session.locked(&project, &targets, &platforms, &command.locking, &network, &store)?;
            let plan = pipeline::plan(&project, &locked, &targets, &platforms, &store)?;
            lint::lint_recipe(&plan, &id, &context)?
        }
        None => {
            let here = Here { engine: &session.engine(), arch: platforms.main(), context: &context };
            lint::lint(&command.image, &command.config, &here)?
        }
    };
    session.progress.finish();
    if session.common.json {
        text::json(&document(&image, &report))?;
    } else {
        text::out(&faults(&report))?;
    }
    if !session.common.quiet {
        summary(&image, &report).iter().for_each(|line| session.progress.line(line));
    }
    Ok(i32::from(!report.findings.is_empty()))
}

/// Finds the recipe that is meant, if it is one.
fn recipe(session: &Session, text: &str) -> Result<Option<(crate::recipe::Project, Id)>, Failure> {
    let Ok(name) = Name::new(text) else { return Ok(None) };
    if !session.common.project.join("recipes").is_dir() {
        return Ok(None);
    }
    match session.project() {
        Ok(project) if project.images.contains_key(&name) => Ok(Some((project, Id::new(Role::Image, &name)))),
        // A file of this name needs no project.
        Err(error) if !lint::is_elsewhere(text) => Err(error),
        _ => Ok(None),
    }
}

fn document(image: &str, report: &Report) -> serde_json::Value {
    json!({ "image": image, "runtimes": report.handlers, "gates": report.gates, "findings": report.findings })
}

/// What was found, as errors are shown.
fn faults(report: &Report) -> String {
    report.findings.iter().map(|finding| render::render(finding, render::Style::of_stdout())).collect()
}

fn summary(image: &str, report: &Report) -> Vec<String> {
    let (mut ran, mut lines) = (Vec::new(), vec![format!("{:>10} {image}", "image")]);
    let handlers = if report.handlers.is_empty() { "none".to_owned() } else { report.handlers.join(", ") };
    lines.push(format!("{:>10} {handlers}", "runtimes"));
    let mut left_out = Vec::new();
    for gate in &report.gates {
        match &gate.left_out {
            None => ran.push(gate.gate.as_str()),
            Some(why) => left_out.push(format!("{:>10} {}: {why}", "left out", gate.gate)),
        }
    }
    lines.push(format!("{:>10} {}", "gates", ran.join(", ")));
    lines.append(&mut left_out);
    let found = match report.findings.len() {
        0 => "nothing".to_owned(),
        count => text::count(count, "fault"),
    };
    lines.push(format!("{:>10} {found}", "found"));
    lines
}

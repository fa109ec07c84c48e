//! `nodeimg lock`: pins what recipes ask for, and shows what changed.

use std::io::Read as _;

use serde_json::json;

use super::arguments::Lock;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::text;
use crate::lock::{self, Change, Step, Trusted, Update};
use crate::pipeline;

/// A larger diff is no bump.
const MAX_DIFF: u64 = 64 << 20;

pub(super) fn run(session: &Session, command: &Lock) -> Result<i32, Failure> {
    let project = session.project()?;
    let targets = match command.from_diff {
        true => lock::concerned(&project, &lock::changed_files(&read_diff()?)),
        false => project.lockable(&command.targets)?,
    };
    let all = command.targets.is_empty() && !command.from_diff;
    if command.check {
        lock::check(&project, &targets, all)?;
        if session.common.json {
            text::json(&json!({ "changes": [] }))?;
        } else if !session.common.quiet {
            session.progress.line(&format!(
                "{:>10} {} up to date",
                "locks",
                text::count(targets.len(), "recipe")
            ));
        }
        return Ok(0);
    }
    let update =
        if command.update { Update::Recipes(targets.iter().cloned().collect()) } else { Update::Nothing };
    let (network, store) = (session.network()?, session.store()?);
    let resolution = pipeline::relock(&project, &targets, all, &update, &session.fetching(&network, &store))?;
    resolution.write(&project)?;
    session.progress.finish();
    if session.common.json {
        let changes: Vec<_> = resolution.changes.iter().map(change).collect();
        let trusted: Vec<_> = resolution.trusted.iter().map(trusted).collect();
        let unused: Vec<_> = resolution.unused.iter().map(ToString::to_string).collect();
        let files: Vec<_> = resolution.files.keys().collect();
        text::json(&json!({ "changes": changes, "files": files, "trusted": trusted, "unused": unused }))?;
    } else if !session.common.quiet {
        for change in &resolution.changes {
            session.progress.line(&format!("{:>10} {change}", "locked"));
        }
        for trusted in &resolution.trusted {
            session.progress.line(&format!("{:>10} {trusted}", "trusted"));
        }
        for id in &resolution.unused {
            let line = format!(
                "{id}: no image needs it and upstream publishes no hash; to trust what is there: nodeimg lock {}",
                id.name
            );
            session.progress.line(&format!("{:>10} {line}", "left out"));
        }
        let files = match resolution.files.len() {
            0 => "nothing changed".to_owned(),
            count => format!("{} changed in `lockfiles/`: review the diff", text::count(count, "file")),
        };
        session.progress.line(&format!("{:>10} {files}", "locks"));
    }
    Ok(0)
}

/// Reads the diff on stdin. Names and texts of files need not be UTF-8.
fn read_diff() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_DIFF + 1).read_to_end(&mut bytes).map_err(Problem::Diff)?;
    if bytes.len() as u64 > MAX_DIFF {
        return Err(Problem::Diff(std::io::Error::other(format!("more than {MAX_DIFF} bytes"))).into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn trusted(trusted: &Trusted) -> serde_json::Value {
    json!({
        "recipe": trusted.recipe.to_string(),
        "url": trusted.request.to_string(),
        "sha256": trusted.pin.sha256.to_string(),
    })
}

fn change(change: &Change) -> serde_json::Value {
    let (before, now) = match &change.step {
        Step::Added(now) => (None, Some(now)),
        Step::Removed(before) => (Some(before), None),
        Step::Changed(before, now) => (Some(before), Some(now)),
    };
    json!({ "recipe": change.recipe.to_string(), "what": change.what, "before": before, "now": now })
}

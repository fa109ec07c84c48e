//! `nodeimg lock`: pins what recipes ask for, and shows what changed.

use std::io::Read as _;

use serde_json::json;

use super::arguments::Lock;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::text;
use crate::base::{Cancel, Sha256};
use crate::diff::{Content, Depth, Thing, things};
use crate::lock::{self, Change, Republished, Step, Trusted, Update};
use crate::pipeline;
use crate::store::Store;

/// So many files are named before they are counted.
const NAMED: usize = 8;

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
        let republished = resolution.republished.iter().map(|one| {
            let differs = differs(one, &store, &session.cancel)?;
            Ok(json!({
                "recipe": one.recipe.to_string(), "source": one.request.to_string(),
                "before": one.before.to_string(), "now": one.now.to_string(), "differs": differs,
            }))
        });
        let republished = republished.collect::<Result<Vec<_>, Failure>>()?;
        let unused: Vec<_> = resolution.unused.iter().map(ToString::to_string).collect();
        let files: Vec<_> = resolution.files.keys().collect();
        text::json(
            &json!({ "changes": changes, "files": files, "trusted": trusted, "unused": unused, "republished": republished }),
        )?;
    } else if !session.common.quiet {
        for change in &resolution.changes {
            session.progress.line(&format!("{:>10} {change}", "locked"));
        }
        for one in &resolution.republished {
            tell(session, one, differs(one, &store, &session.cancel)?.as_ref());
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

/// Compares what a source was with what it is under the same name; nothing where the store has not both.
fn differs(one: &Republished, store: &Store, cancel: &Cancel) -> Result<Option<Content>, Failure> {
    if store.find_blob(&one.before).is_none() || store.find_blob(&one.now).is_none() {
        return Ok(None);
    }
    let thing = |hash: &Sha256| Thing::of_digest(store, &hash.to_string(), cancel);
    let (Some(before), Some(now)) = (thing(&one.before)?, thing(&one.now)?) else { return Ok(None) };
    Ok(Some(things(store, &before, &now, Depth::Packages, cancel)?))
}

/// Says that a source is other bytes under the same name, and which of its files are others.
fn tell(session: &Session, one: &Republished, differs: Option<&Content>) {
    let line = |verb: &str, text: String| session.progress.line(&format!("{verb:>10} {text}"));
    line("new bytes", format!("{}, under the same name as before", one.request));
    line("before", one.before.to_string());
    line("now", one.now.to_string());
    match differs {
        None => line("", "what was there before is not in the store: they can't be compared".to_owned()),
        Some(Content::Files { files, .. }) => {
            files.iter().take(NAMED).for_each(|change| line("", change.to_string()));
            if files.len() > NAMED {
                line("", format!("and {} more", files.len() - NAMED));
            }
        }
        Some(_) => line("", format!("`nodeimg diff {} {}` compares them", one.before, one.now)),
    }
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

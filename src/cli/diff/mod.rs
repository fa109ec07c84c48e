//! `nodeimg diff`: what two things differ in, and why.

mod html;
mod told;

use std::path::Path;

use serde::Serialize;

use super::failure::{Failure, Problem};
use super::session::Session;
use super::{arguments, render, text, why};
use crate::base::Name;
use crate::diff::{Change, Content, Depth, Detail, Thing, Value, image_folder, lines, things};
use crate::fetch::Network;
use crate::pipeline::rebuild;
use crate::plan::{Plan, Target};
use crate::realise::{self, Causes};
use crate::recipe::Id;
use crate::store::Store;

/// Two things, held against each other.
#[derive(Debug, Serialize)]
struct Comparison {
    before: String,
    now: String,
    equal: bool,
    #[serde(flatten)]
    content: Content,
    /// Why, where the store knows how both were made.
    causes: Option<Causes>,
    /// What differs of the recipes, locks and patches that two images carry, where the store does not know all.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipes: Option<Vec<Change>>,
}

pub(super) fn run(session: &Session, command: &arguments::Diff) -> Result<i32, Failure> {
    let store = session.store()?;
    let (before, now) = match &command.now {
        Some(now) => (find(session, command, &command.before, &store)?, find(session, command, now, &store)?),
        None => both(session, command, &store)?,
    };
    let depth = if command.deep { Depth::Everything } else { Depth::Packages };
    let content = things(&store, &before, &now, depth, &session.cancel)?;
    let equal = content.is_equal();
    let causes = match (before.digest(), now.digest()) {
        (Some(before), Some(now)) if !equal => realise::causes(&store, &before, &now)?,
        _ => None,
    };
    let recipes = match &command.now {
        Some(now) if !equal && causes.as_ref().is_none_or(|causes| causes.partly) => {
            carried(session, &command.before, now, &store)?
        }
        _ => None,
    };
    let found = Comparison { before: before.name, now: now.name, equal, content, causes, recipes };
    if let Some(path) = &command.html {
        fs_err::write(path, html::page(&found)).map_err(Problem::Report)?;
    }
    if session.common.json {
        text::json(&serde_json::to_value(&found).expect("plain values are JSON"))?;
    } else if !session.common.quiet {
        let style = render::Style::of_stdout();
        text::out(&told::told(&found, style, session.common.verbose))?;
    }
    Ok(i32::from(!equal))
}

/// Compares what two images carry that lie in files or folders.
fn carried(
    session: &Session,
    before: &str,
    now: &str,
    store: &Store,
) -> Result<Option<Vec<Change>>, Failure> {
    let place = |name: &str| {
        let path = image_folder(Path::new(name));
        path.exists().then(|| path.to_str().map(str::to_owned)).flatten()
    };
    let (Some(before), Some(now)) = (place(before), place(now)) else { return Ok(None) };
    let network = Network::offline();
    Ok(rebuild::recipes(&before, &now, &session.fetching(&network, store))?)
}

/// Tells of fields of steps as of anything else that differs; of scripts by line.
fn fields(changes: &[realise::Change]) -> Vec<Detail> {
    let told = |realise::Change { field, before, now }: &realise::Change| {
        if field == "argv"
            && let (Some(before), Some(now)) = (before, now)
            && let Some(lines) = lines(&why::script(before), &why::script(now))
        {
            return vec![
                Detail::Value(Value { what: "the script".to_owned(), before: None, now: None }),
                Detail::Lines(lines),
            ];
        }
        vec![Detail::Value(Value { what: field.clone(), before: before.clone(), now: now.clone() })]
    };
    changes.iter().flat_map(told).collect()
}

/// Finds what a text names.
fn find<'a>(
    session: &Session,
    command: &arguments::Diff,
    name: &str,
    store: &'a Store,
) -> Result<Thing<'a>, Failure> {
    if let Some((plan, target)) = target(session, command, name, store)? {
        let artifact = realise::artifact(&plan, target.step, store)?;
        let artifact = artifact.ok_or_else(|| Problem::NotBuilt(name.to_owned()))?;
        return Ok(Thing::of_tree(store, name, artifact)?);
    }
    if let Some(thing) = Thing::at(store, name, Path::new(name), &session.cancel)? {
        return Ok(thing);
    }
    let thing = Thing::of_digest(store, name, &session.cancel)?;
    Ok(thing.ok_or_else(|| crate::diff::Error::Nowhere { name: name.to_owned() })?)
}

/// Finds what a target was before, and what it is.
fn both<'a>(
    session: &Session,
    command: &arguments::Diff,
    store: &'a Store,
) -> Result<(Thing<'a>, Thing<'a>), Failure> {
    let name = &command.before;
    let found = target(session, command, name, store)?;
    let (plan, target) = found.ok_or_else(|| Problem::NoBefore(name.clone()))?;
    let before = realise::artifact_before(&plan, target.step, store)?;
    let before = before.ok_or_else(|| Problem::NoBefore(name.clone()))?;
    let before = Thing::of_tree(store, &format!("{name} before"), before)?;
    Ok((before, find(session, command, name, store)?))
}

/// Finds an image or a package of the project, if it is one.
fn target(
    session: &Session,
    command: &arguments::Diff,
    name: &str,
    store: &Store,
) -> Result<Option<(Plan, Target)>, Failure> {
    if Name::new(name).is_err() || !session.common.project.join("recipes").is_dir() {
        return Ok(None);
    }
    let names = [name.to_owned()];
    let is_elsewhere = || Path::new(name).exists() || name.parse::<crate::base::Sha256>().is_ok();
    let targets: Vec<Id> = match session.project().map(|project| project.targets(&names)) {
        Ok(Ok(targets)) => targets,
        // What is no name of the project may be one of something else, and a file needs no project.
        Ok(Err(_)) => return Ok(None),
        Err(_) if is_elsewhere() => return Ok(None),
        Err(error) => return Err(error),
    };
    let platforms = Session::platforms(command.platform.as_slice())?;
    let (_, plan) = session.plan(&names, &platforms, store)?;
    let target = plan.targets.iter().find(|target| targets.contains(&target.recipe)).cloned();
    Ok(target.map(|target| (plan, target)))
}

//! What artifacts were made of: kept by their digests, so that two of them can be held against each other later, when
//! recipes have moved on.
//!
//! Memos: `origin <key>` → [`Origin`], a blob of JSON; `made by <artifact or manifest>` → key. Keys name their inputs'
//! keys, so that the origins are a graph of all that ever went into something.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::why::{Change, changes};
use super::{Error, explain};
use crate::base::{Digest, Sha256};
use crate::image;
use crate::plan::{Fetch, Plan, Work};
use crate::store::Store;

/// What something was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// What people call the step.
    step: String,
    /// What its key is made of.
    fields: BTreeMap<String, String>,
}

impl Origin {
    fn recipe(&self) -> &str {
        self.step.split(':').next().unwrap_or(&self.step)
    }

    /// Gives the fields with inputs of the same recipe called alike in any recipe: `` input `:system` ``.
    fn own(&self) -> BTreeMap<String, String> {
        let prefix = format!("input `{}:", self.recipe());
        let field = |(field, value): (&String, &String)| {
            let field =
                field.strip_prefix(&prefix).map_or_else(|| field.clone(), |rest| format!("input `:{rest}"));
            (field, value.clone())
        };
        self.fields.iter().map(field).collect()
    }
}

/// A step that two things have in different ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origins {
    /// The step.
    pub step: String,
    /// What differs of it, other than what it was made of.
    pub changes: Vec<Change>,
}

/// Why two things differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Causes {
    /// The steps that differ of themselves, what is made of others after them.
    pub steps: Vec<Origins>,
    /// Whether both were made of the same: then a step does not give the same each time.
    pub same: bool,
    /// Whether the store lacks a part of what they were made of.
    pub partly: bool,
}

fn origin_key(key: &Sha256) -> Sha256 {
    Sha256::of(format!("origin {key}").as_bytes())
}

fn made_by(artifact: &Sha256) -> Sha256 {
    Sha256::of(format!("made by {artifact}").as_bytes())
}

/// Notes what a plan's steps are made of whose artifacts are in the store.
pub fn note(plan: &Plan, store: &Store) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (id, step) in plan.steps.iter().enumerate() {
        let Some(artifact) = explain::recall(plan, id, store)? else { continue };
        let fields = match &step.work {
            // The name of a Debian package says all of it.
            Work::Fetch(Fetch::Debian { .. }) => continue,
            Work::Fetch(Fetch::Source { request, pin }) => BTreeMap::from([
                ("source".to_owned(), request.to_string()),
                ("sha256".to_owned(), pin.sha256.to_string()),
            ]),
            _ => explain::fields(plan, id),
        };
        let key = Digest { hash: step.key, size: 0 };
        // Of steps that give the same bytes the first is it, each time.
        if seen.insert(artifact) {
            store.put_memo(&made_by(&artifact.hash), &key)?;
        }
        if store.memo(&origin_key(&step.key))?.is_some_and(|origin| store.has_blob(&origin)) {
            continue;
        }
        let origin = Origin { step: step.labels[0].to_string(), fields };
        let text = serde_json::to_vec(&origin).expect("plain values are JSON");
        store.put_memo(&origin_key(&step.key), &store.put_bytes(&text)?)?;
        if matches!(step.work, Work::Image(_) | Work::Index { .. }) {
            let manifest = image::digest(store, &store.tree(&artifact)?)?;
            store.put_memo(&made_by(&manifest.hash), &key)?;
        }
    }
    Ok(())
}

/// Says why two artifacts differ, or two images, by the digest of tree or manifest; nothing if the store does not know
/// how one of them was made.
pub fn causes(store: &Store, before: &Sha256, now: &Sha256) -> Result<Option<Causes>, Error> {
    let (Some(old), Some(new)) = (store.memo(&made_by(before))?, store.memo(&made_by(now))?) else {
        return Ok(None);
    };
    let mut found = Causes { same: old == new && before != now, ..Causes::default() };
    let (mut open, mut seen) = (vec![(old.hash, new.hash)], BTreeSet::new());
    while let Some(pair) = open.pop() {
        if pair.0 == pair.1 || !seen.insert(pair) {
            continue;
        }
        let (Some(old), Some(new)) = (origin(store, &pair.0)?, origin(store, &pair.1)?) else {
            found.partly = true;
            continue;
        };
        let mut own = Vec::new();
        for mut change in unmoved(changes(&old.own(), &new.own())) {
            let key = |text: &Option<String>| text.as_ref()?.parse::<Sha256>().ok();
            let inputs = key(&change.before).zip(key(&change.now));
            match inputs.filter(|_| change.field.starts_with("input ") && !change.field.ends_with(".deb`")) {
                Some((old, new)) => {
                    // What was made of something else and has the same bytes is no cause of anything.
                    let (was, is) = (store.memo(&old)?, store.memo(&new)?);
                    if was.is_none() || was != is {
                        open.push((old, new));
                    }
                }
                None => {
                    let whose = if change.now.is_some() { &new } else { &old };
                    change.field =
                        change.field.replacen("input `:", &format!("input `{}:", whose.recipe()), 1);
                    own.push(change);
                }
            }
        }
        if !own.is_empty() {
            found.steps.push(Origins { step: new.step, changes: paired(own) });
        }
    }
    found.steps.sort_by(|a, b| a.step.cmp(&b.step));
    found.steps.dedup();
    Ok(Some(found))
}

/// Leaves out inputs that only are called otherwise.
fn unmoved(changes: Vec<Change>) -> Vec<Change> {
    let is_input = |change: &&Change| change.field.starts_with("input ");
    let side = |pick: fn(&Change) -> (&Option<String>, &Option<String>)| -> BTreeSet<String> {
        let of = changes.iter().filter(is_input).map(pick);
        of.filter_map(|(this, other)| this.clone().filter(|_| other.is_none())).collect()
    };
    let (gone, new) =
        (side(|change| (&change.before, &change.now)), side(|change| (&change.now, &change.before)));
    let moved: BTreeSet<String> = gone.intersection(&new).cloned().collect();
    let is_moved = |change: &Change| {
        let one_sided = change.before.as_ref().xor(change.now.as_ref());
        is_input(&change) && one_sided.is_some_and(|value| moved.contains(value))
    };
    changes.iter().filter(|change| !is_moved(change)).cloned().collect()
}

/// Tells of a Debian package that came in another version as one change.
fn paired(changes: Vec<Change>) -> Vec<Change> {
    let package = |change: &Change| {
        let file = change.field.strip_prefix("input `")?.strip_suffix(".deb`")?;
        Some(file.split_once('_')?.0.to_owned())
    };
    let version = |change: &Change| {
        let file = change.field.strip_prefix("input `").and_then(|file| file.strip_suffix("`"));
        file.map(str::to_owned)
    };
    let mut found: Vec<Change> = Vec::new();
    for change in changes {
        let Some(name) = package(&change) else {
            found.push(change);
            continue;
        };
        let field = format!("package `{name}`");
        let (before, now) = match change.now.is_some() {
            true => (None, version(&change)),
            false => (version(&change), None),
        };
        match found.iter_mut().find(|other| other.field == field) {
            Some(other) => {
                other.before = other.before.take().or(before);
                other.now = other.now.take().or(now);
            }
            None => found.push(Change { field, before, now }),
        }
    }
    found
}

fn origin(store: &Store, key: &Sha256) -> Result<Option<Origin>, Error> {
    let Some(digest) = store.memo(&origin_key(key))? else { return Ok(None) };
    match store.read_blob(&digest) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

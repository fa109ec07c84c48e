//! What would be done, and why.

use std::collections::BTreeMap;

use super::Error;
use crate::base::{Digest, Sha256};
use crate::plan::{self, Fetch, Plan, StepId, Work};
use crate::store::Store;

/// Whether a step's artifact is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is there.
    There(Digest),
    /// It must be made, for this reason.
    Absent(Reason),
    /// Nobody asks for it: what it would be used for is there.
    NotNeeded,
}

/// Why a step has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It was made before, out of something else: what changed.
    Changed(String),
    /// It was made before, and its result is no longer in the store.
    Lost,
    /// It was never made here.
    New,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Changed(what) => f.write_str(what),
            Reason::Lost => f.write_str("no longer in the store"),
            Reason::New => f.write_str("not made before"),
        }
    }
}

/// Says for each step of a plan whether it would be made for `wanted`, without making anything.
///
/// A step that would be made may still turn out to give the same action as before; that is known only when its
/// inputs are there.
pub fn explain(plan: &Plan, wanted: &[StepId], store: &Store) -> Result<Vec<Known>, Error> {
    let inputs = plan.inputs();
    let mut known = vec![Known::NotNeeded; plan.steps.len()];
    let mut open = wanted.to_vec();
    while let Some(step) = open.pop() {
        if known[step] != Known::NotNeeded {
            continue;
        }
        known[step] = match recall(plan, step, store)? {
            Some(artifact) => Known::There(artifact),
            None => {
                open.extend(&inputs[step]);
                Known::Absent(reason(plan, step, store)?)
            }
        };
    }
    Ok(known)
}

/// Finds what a step gives, if that is in the store.
pub fn artifact(plan: &Plan, step: StepId, store: &Store) -> Result<Option<Digest>, Error> {
    recall(plan, step, store)
}

/// Finds a step's artifact by its key.
pub(super) fn recall(plan: &Plan, step: StepId, store: &Store) -> Result<Option<Digest>, Error> {
    let step = &plan.steps[step];
    Ok(match &step.work {
        Work::Fetch(Fetch::Source { pin, .. }) => pin.present(store),
        Work::Fetch(Fetch::Debian { pin, .. }) => Some(pin.digest()).filter(|digest| store.has_blob(digest)),
        Work::Folder { tree } => Some(*tree),
        _ => store.memo(&step.key)?.filter(|tree| store.has_tree(tree)),
    })
}

fn reason(plan: &Plan, step: StepId, store: &Store) -> Result<Reason, Error> {
    if store.memo(&plan.steps[step].key)?.is_some() {
        return Ok(Reason::Lost);
    }
    let Some(before) = remembered(store, plan, step)? else { return Ok(Reason::New) };
    Ok(plan::difference(&before, &fields(plan, step)).map_or(Reason::Lost, Reason::Changed))
}

/// What a key is made of: names that people know, and values.
pub(super) type Fields = BTreeMap<String, String>;

/// Lists what a step's key is made of now.
pub(super) fn fields(plan: &Plan, step: StepId) -> Fields {
    plan.steps[step].fields(plan.steps[step].inputs.iter().map(|&input| &plan.steps[input]))
}

fn memo_key(what: &str, plan: &Plan, step: StepId) -> Sha256 {
    let label = &plan.steps[step].labels[0];
    Sha256::of(format!("{what} {} {label}", label.recipe.role.folder()).as_bytes())
}

/// Notes what a step's key is made of and what it gave, to tell later what changed, and how both were before.
pub(super) fn remember(store: &Store, plan: &Plan, step: StepId, artifact: &Digest) -> Result<(), Error> {
    let text = serde_json::to_vec(&fields(plan, step)).expect("fields are strings");
    for (what, now) in [("fields", store.put_bytes(&text)?), ("artifact", *artifact)] {
        let key = memo_key(what, plan, step);
        if let Some(before) = store.memo(&key)?.filter(|before| *before != now) {
            store.put_memo(&memo_key(&format!("{what} before"), plan, step), &before)?;
        }
        store.put_memo(&key, &now)?;
    }
    Ok(())
}

/// Finds what a step gave the time before it was made last and gave something else, if that is still there.
pub fn artifact_before(plan: &Plan, step: StepId, store: &Store) -> Result<Option<Digest>, Error> {
    Ok(store.memo(&memo_key("artifact before", plan, step))?.filter(|tree| store.has_tree(tree)))
}

/// Recalls what a step's key was made of when it was last made.
pub(super) fn remembered(store: &Store, plan: &Plan, step: StepId) -> Result<Option<Fields>, Error> {
    noted("fields", store, plan, step)
}

/// Recalls what a step's key was made of when it was made the time before.
pub(super) fn before(store: &Store, plan: &Plan, step: StepId) -> Result<Option<Fields>, Error> {
    noted("fields before", store, plan, step)
}

fn noted(what: &str, store: &Store, plan: &Plan, step: StepId) -> Result<Option<Fields>, Error> {
    let Some(digest) = store.memo(&memo_key(what, plan, step))? else { return Ok(None) };
    match store.read_blob(&digest) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

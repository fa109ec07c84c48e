//! Why something would be made, or was: the fields whose change no other step of the plan explains.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Error;
use super::explain::{self, Fields, Known};
use crate::plan::{Plan, StepId, Work};
use crate::store::Store;

/// Why some steps are to be made, or were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Whether something is to be made; else the causes are those of the last time.
    pub pending: bool,
    /// The steps that have a reason of their own, inputs before what is made of them.
    pub causes: Vec<Cause>,
    /// The steps that follow from those.
    pub followed: Vec<StepId>,
}

/// A step that has a reason of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The step.
    pub step: StepId,
    /// The reason.
    pub verdict: Verdict,
}

/// A step's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was never made here.
    New,
    /// It was made, and its result is no longer in the store.
    Lost,
    /// Its key is made of something else.
    Changed(Vec<Change>),
}

/// What changed of what a key is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field: `env.LANG`, ``input `/in/wasmtime-c-api` ``.
    pub field: String,
    /// What it was; nothing where it is new.
    pub before: Option<String>,
    /// What it is; nothing where it is gone.
    pub now: Option<String>,
}

/// Explains why some steps would be made; where all are there, why they were made last.
pub fn why(plan: &Plan, wanted: &[StepId], store: &Store) -> Result<Why, Error> {
    let known = explain::explain(plan, wanted, store)?;
    let absent = |step: StepId| {
        matches!(known[step], Known::Absent(_)) && !matches!(plan.steps[step].work, Work::Fetch(_))
    };
    let steps: Vec<_> = (0..plan.steps.len()).filter(|&step| absent(step)).collect();
    if steps.is_empty() {
        return last(plan, wanted, store);
    }
    let mut why = Why { pending: true, causes: Vec::new(), followed: Vec::new() };
    for step in steps {
        let verdict = match explain::remembered(store, plan, step)? {
            _ if store.memo(&plan.steps[step].key)?.is_some() => Verdict::Lost,
            None => Verdict::New,
            Some(before) => Verdict::Changed(changes(&before, &explain::fields(plan, step))),
        };
        why.sort_in(plan, step, verdict, &absent);
    }
    Ok(why)
}

/// Follows changed inputs down from `wanted`.
fn last(plan: &Plan, wanted: &[StepId], store: &Store) -> Result<Why, Error> {
    let (mut open, mut seen) = (wanted.to_vec(), BTreeSet::new());
    let mut changed = BTreeMap::new();
    while let Some(step) = open.pop() {
        if !seen.insert(step) {
            continue;
        }
        let (before, now) = (explain::before(store, plan, step)?, explain::remembered(store, plan, step)?);
        let (Some(before), Some(now)) = (before, now) else { continue };
        // What was made last may have been another state of the recipes; then this one was only taken again.
        if now != explain::fields(plan, step) {
            continue;
        }
        let changes = changes(&before, &now);
        let inputs = plan.steps[step].inputs.iter().enumerate();
        let moved =
            inputs.filter(|(at, _)| changes.iter().any(|change| change.field == input(plan, step, *at)));
        open.extend(moved.map(|(_, input)| *input));
        changed.insert(step, changes);
    }
    let mut why = Why { pending: false, causes: Vec::new(), followed: Vec::new() };
    for (step, changes) in &changed {
        why.sort_in(plan, *step, Verdict::Changed(changes.clone()), &|input| changed.contains_key(&input));
    }
    Ok(why)
}

impl Why {
    /// Takes a step in, with what of its reason no other step explains.
    fn sort_in(&mut self, plan: &Plan, step: StepId, verdict: Verdict, explains: &dyn Fn(StepId) -> bool) {
        let verdict = match verdict {
            Verdict::Changed(mut changes) => {
                for (at, &id) in plan.steps[step].inputs.iter().enumerate() {
                    if explains(id) {
                        let field = input(plan, step, at);
                        changes.retain(|change| change.field != field);
                    }
                }
                Verdict::Changed(changes)
            }
            other => other,
        };
        match verdict {
            Verdict::Changed(changes) if changes.is_empty() => self.followed.push(step),
            // What is made of something new is new too.
            Verdict::New if plan.steps[step].inputs.iter().any(|&input| explains(input)) => {
                self.followed.push(step);
            }
            verdict => self.causes.push(Cause { step, verdict }),
        }
    }
}

/// Names the field of a step's input.
fn input(plan: &Plan, step: StepId, at: usize) -> String {
    plan.steps[step].input_field(at, &plan.steps[plan.steps[step].inputs[at]])
}

pub(super) fn changes(before: &Fields, now: &Fields) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let change = |name: &String| {
        let (before, now) = (before.get(name), now.get(name));
        (before != now).then(|| Change { field: name.clone(), before: before.cloned(), now: now.cloned() })
    };
    names.into_iter().filter_map(change).collect()
}

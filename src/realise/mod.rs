//! Turns a plan into artifacts, as few as possible: the only scheduler.
//!
//! In goes a [`Plan`] and what it may use ([`Context`]); out come the digests of the artifacts ([`Outcome`]). What was
//! done before is recalled in two ways: by a step's key in the store's memo table, without a look at its inputs; and
//! by the content of its inputs once they are there, which for what runs in the sandbox is the digest of its REAPI
//! action (`action`). An artifact that turns out to be lost or damaged is made again.
//!
//! Memos: `<step's key>` and `plan::content_key` → artifact; `log <key>` → what the step printed; `fields <label>` → what
//! the key was made of when the step was last made, which explains why it is made now; `fields before <label>` → what it
//! was made of the time before, which explains why it was made last; `artifact <label>` and `artifact before <label>` → what
//! it gave then. `origin` keeps what artifacts were made of by their digests.

mod action;
mod base;
mod calls;
mod error;
mod explain;
mod gate;
mod job;
mod layer;
mod marks;
mod origin;
mod schedule;
mod vary;
mod why;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::event::{Event, Sink};
use crate::base::{Cancel, Digest};
use crate::fetch::{self, Network};
use crate::plan::{Plan, StepId};
use crate::sandbox::Sandbox;
use crate::store::Store;

pub use base::pull_bases;
pub use error::Error;
pub use explain::{Known, Reason, artifact, artifact_before, explain};
pub use job::shell;
pub use origin::{Causes, Origins, causes, note};
pub use vary::{Again, Dependence, Factor, Varied, gives, vary};
pub use why::{Cause, Change, Verdict, Why, why};
pub use worker::log;

/// What steps are realised with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where artifacts are kept.
    pub store: &'a Store,
    /// Where scripts run.
    pub sandbox: &'a dyn Sandbox,
    /// The network, or its refusal.
    pub network: &'a Network,
    /// Who is told.
    pub events: &'a dyn Sink,
    /// When to stop.
    pub cancel: &'a Cancel,
    /// How many steps run at once, and what scripts get as `$JOBS`.
    pub jobs: usize,
    /// Whether to go on with what does not depend on a failed step.
    pub keep_going: bool,
}

impl Context<'_> {
    /// The part that fetching needs.
    pub fn fetch(&self) -> fetch::Context<'_> {
        fetch::Context { network: self.network, store: self.store, events: self.events, cancel: self.cancel }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every artifact that was asked for or met on the way.
    pub artifacts: BTreeMap<StepId, Digest>,
    /// Steps that were made anew.
    pub made: BTreeSet<StepId>,
    /// Steps that turned out to be made already: out of inputs with the same bytes, or by another nodeimg.
    pub reused: BTreeSet<StepId>,
}

/// Files that come over the network at once.
const DOWNLOADS: usize = 8;

/// How closely it is looked at what was made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// The record of an artifact is enough.
    Quick,
    /// Each of its files must be in the store. Takes time, and is for when one was missed.
    Thorough,
}

/// Realises some steps of a plan.
///
/// Where something turns out to be lost or damaged, the whole store is looked through and what is missing is made again.
///
/// Errs with one failure, the first of the plan; with all of them where `keep_going` says so.
pub fn realise(
    plan: &Plan,
    wanted: &[StepId],
    mut care: Care,
    context: &Context<'_>,
) -> Result<Outcome, Error> {
    let inputs = plan.inputs();
    let width =
        schedule::Width { network: DOWNLOADS, processor: context.jobs, keep_going: context.keep_going };
    loop {
        let worker = worker::Worker::new(plan, context, care == Care::Thorough);
        let outcome = schedule::run(&inputs, wanted, &worker, width, context.cancel)?;
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut failed = outcome.failed;
        failed.sort_by_key(|(step, _)| *step);
        let mut failed: Vec<Error> = failed.into_iter().map(|(_, error)| error).collect();
        if care == Care::Quick && failed.iter().any(Error::is_lost) {
            mend(context)?;
            care = Care::Thorough;
            continue;
        }
        return match failed.len() {
            0 => Ok(worker.outcome(outcome.artifacts, outcome.made)),
            // Others only happened to run at the same time.
            1 => Err(failed.remove(0)),
            _ if !context.keep_going => Err(failed.remove(0)),
            _ => Err(Error::Several(failed)),
        };
    }
}

/// Removes whatever is damaged in the store, after one object was found to be: it is seldom the only one.
pub fn mend(context: &Context<'_>) -> Result<(), Error> {
    let message = "something in the store is lost or damaged, looking through all of it".to_owned();
    context.events.emit(Event::Warning { message });
    context.store.verify(context.cancel)?;
    Ok(())
}

//! Turns a plan into artifacts, as few as possible: the only scheduler.
//!
//! In goes a [`Plan`] and what it may use ([`Context`]); out come the digests of the artifacts ([`Outcome`]). What was
//! done before is recalled in two ways: by a step's key in the store's memo table, without a look at its inputs; and,
//! for what runs in the sandbox, by the digest of its REAPI action once its inputs are there (`action`). An artifact
//! that turns out to be lost or damaged is made again.
//!
//! Memos: `<step's key>` → artifact; `log <key>` → what the step printed; `fields <label>` → what the key was made
//! of when the step was last made, which explains why it is made now.

mod action;
mod error;
mod explain;
mod job;
mod layer;
mod schedule;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::event::Sink;
use crate::base::{Cancel, Digest};
use crate::fetch::{self, Network};
use crate::plan::{Plan, StepId};
use crate::sandbox::Sandbox;
use crate::store::Store;

pub use error::Error;
pub use explain::{Known, Reason, explain};
pub use job::shell;
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
    /// Steps whose inputs were made anew and that gave the same action as before.
    pub reused: BTreeSet<StepId>,
}

/// Files that come over the network at once.
const DOWNLOADS: usize = 8;

/// Realises some steps of a plan.
///
/// Errs with the first failure; with all of them where `keep_going` says so.
pub fn realise(plan: &Plan, wanted: &[StepId], context: &Context<'_>) -> Result<Outcome, Error> {
    let inputs = plan.inputs();
    let width =
        schedule::Width { network: DOWNLOADS, processor: context.jobs, keep_going: context.keep_going };
    // Looking for every file of every artifact takes time and is for when one was missed.
    let mut thorough = false;
    loop {
        let worker = worker::Worker::new(plan, context, thorough);
        let outcome = schedule::run(&inputs, wanted, &worker, width, context.cancel)?;
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut failed: Vec<Error> = outcome.failed.into_iter().map(|(_, error)| error).collect();
        if !thorough && failed.iter().any(Error::is_lost) {
            thorough = true;
            continue;
        }
        return match failed.len() {
            0 => Ok(worker.outcome(outcome.artifacts, outcome.made)),
            1 => Err(failed.remove(0)),
            _ => Err(Error::Several(failed)),
        };
    }
}

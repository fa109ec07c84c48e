//! Results in a bundle: which step gave what.
//!
//! `results.json` lists for each step its name, its key and the tree that it gave; the trees and their files are members.
//! Of a plan go in what the targets are and what builders' scripts gave, which takes the time. Roots do not: they are
//! large, and are made of packages in seconds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::PipelineError;
use crate::base::Digest;
use crate::bundle::{self, Content, Member};
use crate::plan::{Plan, RunKind, StepId, Work};
use crate::realise::{self, Care, Context};
use crate::store::{Store, TakenResult};

/// `results.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Results {
    /// A result a step, sorted.
    pub results: Vec<TakenResult>,
}

/// Lists the steps whose results go in.
pub(super) fn steps(plan: &Plan) -> Vec<StepId> {
    let is_built =
        |step: &StepId| matches!(&plan.steps[*step].work, Work::Run(run) if run.kind != RunKind::System);
    let needed = plan.inputs();
    let (mut open, mut seen) = (plan.wanted(), BTreeSet::new());
    while let Some(step) = open.pop() {
        if seen.insert(step) {
            open.extend(&needed[step]);
        }
    }
    let wanted: BTreeSet<_> = plan.wanted().into_iter().collect();
    seen.into_iter().filter(|step| wanted.contains(step) || is_built(step)).collect()
}

/// Makes what the targets are, where it is not there, and lists the members that results are.
pub(super) fn collect(
    plan: &Plan,
    context: &Context<'_>,
    found: &mut BTreeMap<String, (Member, Content)>,
) -> Result<(), PipelineError> {
    let steps = steps(plan);
    let outcome = realise::realise(plan, &steps, Care::Thorough, context)?;
    // An image's layers are blobs of its base too, which come when somebody needs them.
    realise::pull_bases(plan, &plan.wanted(), context)?;
    let mut results = Vec::new();
    for step in steps {
        let artifact = outcome.artifacts[&step];
        let name = plan.steps[step].labels[0].to_string();
        results.push(TakenResult { step: name, key: plan.steps[step].key, artifact });
        let message = context.store.message_of_tree(&artifact)?;
        let path = bundle::tree(&artifact.hash);
        found.insert(path.clone(), member(path, message));
        for (_, blob, _) in context.store.tree(&artifact)?.files() {
            let path = bundle::blob(&blob.hash);
            let entry = Member {
                path: path.clone(),
                size: blob.size,
                sha256: blob.hash,
                executable: false,
                source: None,
            };
            found.entry(path).or_insert((entry, Content::Blob));
        }
    }
    results.sort();
    let text = serde_json::to_string_pretty(&Results { results }).expect("plain values") + "\n";
    let path = bundle::RESULTS.to_owned();
    found.insert(path.clone(), member(path, text.into_bytes()));
    Ok(())
}

/// Makes a member of bytes.
pub(super) fn member(path: String, bytes: Vec<u8>) -> (Member, Content) {
    let Digest { hash, size } = Digest::of(&bytes);
    (Member { path, size, sha256: hash, executable: false, source: None }, Content::Bytes(bytes))
}

/// Reads `results.json`; what it speaks of must be in the store. The error says what is wrong with it.
pub(super) fn parse(bytes: &[u8], store: &Store) -> Result<Vec<TakenResult>, String> {
    let results = read(bytes)?;
    match results.iter().find(|result| !store.has_all(&result.artifact)) {
        Some(result) => Err(format!("what `{}` gave is not in it", result.step.escape_debug())),
        None => Ok(results),
    }
}

/// Reads `results.json`. The error says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<TakenResult>, String> {
    let read: Results = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(read.results)
}

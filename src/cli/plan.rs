//! `nodeimg plan`: what would be fetched, built or reused, with sizes and reasons.

use std::collections::BTreeSet;

use serde_json::json;

use super::arguments;
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::plan::{Plan, StepId, Work};
use crate::realise::{self, Known, Reason};

pub(super) fn run(session: &Session, command: &arguments::Plan) -> Result<i32, Failure> {
    let store = session.store()?;
    let (_, plan) =
        session.plan(&command.targets, &Session::platforms(&command.platforms.platform)?, &store)?;
    let known = realise::explain(&plan, &plan.wanted(), &store)?;
    if session.common.json {
        text::json(&document(&plan, &known))?;
    } else {
        text::out(&table(&plan, &known, session.common.verbose))?;
    }
    Ok(0)
}

/// Says in a word what is done in a step.
pub(super) fn verb(work: &Work) -> &'static str {
    match work {
        Work::Fetch(_) | Work::Base { .. } => "fetch",
        Work::Folder { .. } => "read",
        Work::Unpack { .. } | Work::Unlayer { .. } | Work::Root { .. } | Work::Beside { .. } => "unpack",
        Work::Patch { .. } => "patch",
        Work::Crates { .. } => "lay out",
        Work::Text { .. } => "write",
        Work::Run(_) => "run",
        Work::Layer { .. } | Work::Node { .. } => "layer",
        Work::Survey { .. } => "read",
        Work::Calls(_) | Work::Gate { .. } => "check",
        Work::Change { .. } => "compare",
        Work::Image(_) | Work::Index { .. } => "assemble",
    }
}

fn size(work: &Work) -> Option<u64> {
    match work {
        Work::Fetch(fetch) => fetch.size(),
        _ => None,
    }
}

pub(super) fn name(plan: &Plan, step: StepId) -> String {
    match &plan.steps[step].work {
        Work::Fetch(fetch) => fetch.name(),
        _ => plan.steps[step].labels[0].to_string(),
    }
}

fn document(plan: &Plan, known: &[Known]) -> serde_json::Value {
    let step = |(id, known): (StepId, &Known)| {
        let (state, reason) = match known {
            Known::There(_) => ("reused", None),
            Known::Absent(reason) => ("absent", Some(reason.to_string())),
            Known::NotNeeded => ("not-needed", None),
        };
        json!({
            "name": name(plan, id), "do": verb(&plan.steps[id].work), "state": state, "reason": reason,
            "size": size(&plan.steps[id].work), "key": plan.steps[id].key.to_string(),
        })
    };
    json!({ "steps": known.iter().enumerate().map(step).collect::<Vec<_>>() })
}

fn table(plan: &Plan, known: &[Known], verbose: bool) -> String {
    let mut lines = String::new();
    // Hundreds of crates are told as what they become.
    let become_one = plan.steps.iter().filter(|step| matches!(step.work, Work::Crates { .. }));
    let parts: BTreeSet<StepId> = become_one.flat_map(|step| step.inputs.iter().copied()).collect();
    let (mut files, mut bytes, mut unknown, mut made, mut reused) = (0, 0, 0, 0, 0);
    for (step, known) in known.iter().enumerate() {
        let work = &plan.steps[step].work;
        match known {
            Known::Absent(reason) => {
                let fetched = matches!(work, Work::Fetch(_));
                if fetched {
                    files += 1;
                    size(work).map_or_else(|| unknown += 1, |size| bytes += size);
                } else {
                    made += 1;
                }
                if !(fetched || parts.contains(&step)) || verbose {
                    let detail = match (fetched, size(work), reason) {
                        (true, Some(size), _) => text::size(size),
                        (true, None, _) => "size not known".to_owned(),
                        (false, _, Reason::New) => String::new(),
                        (false, _, reason) => reason.to_string(),
                    };
                    let gap = if detail.is_empty() { "" } else { "  " };
                    lines += &format!("{:>10} {}{gap}{detail}\n", verb(work), name(plan, step));
                }
            }
            Known::There(_) => {
                reused += 1;
                if verbose {
                    lines += &format!("{:>10} {}\n", "reuse", name(plan, step));
                }
            }
            Known::NotNeeded => {}
        }
    }
    let more = if unknown > 0 { format!(" and {unknown} of unknown size") } else { String::new() };
    let fetched = match files {
        0 => "nothing to fetch".to_owned(),
        _ => format!("{} to fetch ({}{more})", text::count(files, "file"), text::size(bytes)),
    };
    lines + &format!("{:>10} {fetched}, {} to make, {reused} reused\n", "plan", text::count(made, "step"))
}

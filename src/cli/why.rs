//! `nodeimg why`: what changed that something is made anew.

use serde_json::json;

use super::arguments;
use super::failure::Failure;
use super::session::Session;
use super::{steps, text};
use crate::plan::{Plan, StepId};
use crate::realise::{self, Change, Verdict, Why};

/// Longer values are told by their beginning.
const SHORT: usize = 60;

/// So many steps are named before they are counted.
const NAMED: usize = 4;

pub(super) fn run(session: &Session, command: &arguments::Why) -> Result<i32, Failure> {
    let store = session.store()?;
    let names: Vec<String> = command.name.iter().cloned().collect();
    let project = session.project()?;
    let (plan, wanted) = match (project.targets(&names), &command.name) {
        (Err(_), Some(name)) => {
            let (plan, step) = steps::find(session, name, &store)?;
            (plan, vec![step])
        }
        (targets, _) => {
            targets?;
            let (_, plan) = session.plan(&names, &Session::platforms(&[])?, &store)?;
            let wanted = plan.wanted();
            (plan, wanted)
        }
    };
    let why = realise::why(&plan, &wanted, &store)?;
    if session.common.json {
        text::json(&document(&plan, &why))?;
    } else {
        let name = command.name.clone().or_else(|| Some(project.default_image()?.name.to_string()));
        text::out(&told(&plan, &why, &name.unwrap_or_default()))?;
    }
    Ok(0)
}

fn label(plan: &Plan, step: StepId) -> String {
    plan.steps[step].labels[0].to_string()
}

fn document(plan: &Plan, why: &Why) -> serde_json::Value {
    let change =
        |change: &Change| json!({ "field": change.field, "before": change.before, "now": change.now });
    let cause = |cause: &realise::Cause| {
        let (reason, changes) = match &cause.verdict {
            Verdict::New => ("new", Vec::new()),
            Verdict::Lost => ("lost", Vec::new()),
            Verdict::Changed(changes) => ("changed", changes.iter().map(change).collect()),
        };
        json!({ "step": label(plan, cause.step), "reason": reason, "changes": changes })
    };
    json!({
        "pending": why.pending,
        "causes": why.causes.iter().map(cause).collect::<Vec<_>>(),
        "followed": why.followed.iter().map(|&step| label(plan, step)).collect::<Vec<_>>(),
    })
}

fn told(plan: &Plan, why: &Why, name: &str) -> String {
    let is_new = |cause: &realise::Cause| cause.verdict == Verdict::New;
    let head = match (why.pending, why.causes.is_empty()) {
        (true, _) if why.causes.iter().all(is_new) => format!("{:>10} {name} would be made\n", "why"),
        (true, _) => format!("{:>10} {name} would be made anew\n", "why"),
        (false, false) => format!("{:>10} {name} is there; it was last made anew\n", "why"),
        (false, true) => return format!("{:>10} {name} is there; nothing was made anew for it\n", "why"),
    };
    let mut lines = head;
    let new: Vec<_> =
        why.causes.iter().filter(|cause| is_new(cause)).map(|cause| label(plan, cause.step)).collect();
    for cause in &why.causes {
        let name = label(plan, cause.step);
        match &cause.verdict {
            Verdict::New => {}
            Verdict::Lost => lines += &format!("{:>10} {name} is no longer in the store\n", "since"),
            Verdict::Changed(changes) => {
                for change in changes {
                    lines += &format!("{:>10} {name}: {}", "since", one(change));
                }
            }
        }
    }
    if !new.is_empty() {
        let be = if new.len() == 1 { "was" } else { "were" };
        lines += &format!("{:>10} {} {be} not made before\n", "since", text::some(&new, NAMED));
    }
    if !why.followed.is_empty() {
        let followed: Vec<_> = why.followed.iter().map(|&step| label(plan, step)).collect();
        lines += &format!("{:>10} {}\n", "then", text::some(&followed, NAMED));
    }
    lines
}

/// Tells a change, in one line where it is short.
fn one(change: &Change) -> String {
    let field = match change.field.as_str() {
        "argv" => "the script",
        other => other,
    };
    let short = |value: &str| match value.char_indices().nth(SHORT) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    };
    match (&change.before, &change.now) {
        (Some(before), Some(now)) => {
            let (before, now) = (script(before), script(now));
            if before.contains('\n') || now.contains('\n') {
                return format!("{field} changed\n{}", difference(&before, &now));
            }
            format!("{field} changed\n{0:>12}- {1}\n{0:>12}+ {2}\n", "", short(&before), short(&now))
        }
        (None, Some(now)) => format!("{field} is new\n{:>12}+ {}\n", "", short(now)),
        (Some(before), None) => format!("{field} is gone\n{:>12}- {}\n", "", short(before)),
        (None, None) => format!("{field}\n"),
    }
}

/// Takes the script out of a shell's arguments.
pub(super) fn script(value: &str) -> String {
    let arguments: Option<Vec<String>> = serde_json::from_str(value).ok();
    match arguments.as_deref() {
        Some([.., script]) => script.clone(),
        _ => value.to_owned(),
    }
}

/// Shows how two texts differ, without what both have.
fn difference(before: &str, now: &str) -> String {
    let patch = diffy::DiffOptions::new().set_context_len(1).create_patch(before, now);
    let mut lines = String::new();
    for line in patch.hunks().iter().flat_map(|hunk| hunk.lines()) {
        let (sign, text) = match line {
            diffy::Line::Context(text) => (' ', text),
            diffy::Line::Delete(text) => ('-', text),
            diffy::Line::Insert(text) => ('+', text),
        };
        lines += &format!("{:>12}{sign} {}\n", "", text.trim_end_matches('\n'));
    }
    lines
}

//! Steps done again in other surroundings: what a result depends on that is no input.
//!
//! The inputs are those of the plan, so each step is by itself: what one does wrong is not found again in those behind
//! it. A step that runs in the sandbox runs once with everything varied. If that gives other bytes, what shows in them
//! comes first: a step that runs without it as it should is done ([`marks`]). Else, or if it fails, it runs once for each
//! [`Factor`], and once with none. Other steps are nodeimg's own and are done again as they are. Nothing that is noted
//! here is found by a build.

use super::worker::Worker;
use super::{Care, Context, Error, marks, realise};
use crate::base::{Blame, Digest, GuestPath, each};
use crate::plan::{Plan, Run, RunKind, StepId, Work};
use crate::sandbox::{Job, Mount, OTHER_KERNEL};

/// Where a builder works and leaves its result.
const ELSEWHERE: &str = "/varied/path/of/the";
/// The host's name.
const OTHER_HOST: &str = "another-host.example";
/// The time zone (POSIX 1.2024, 8.3).
const OTHER_ZONE: &str = "VARIED-13:45";

/// One thing that is other than in a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// User and group; those of what configures a system are 0.
    User,
    /// The folders that it works in and leaves its result in.
    Path,
    /// The umask.
    Umask,
    /// The host's name.
    HostName,
    /// The moment, and how long the machine has been up.
    Clock,
    /// The time zone.
    TimeZone,
    /// The locale.
    Locale,
    /// The number of processors, and `$JOBS`.
    Processors,
    /// The order in which a directory lists its entries.
    Order,
    /// The kernel's version.
    Kernel,
}

impl Factor {
    /// Every factor.
    pub const ALL: [Factor; 10] = [
        Factor::User,
        Factor::Path,
        Factor::Umask,
        Factor::HostName,
        Factor::Clock,
        Factor::TimeZone,
        Factor::Locale,
        Factor::Processors,
        Factor::Order,
        Factor::Kernel,
    ];

    /// Its name, for people and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Factor::User => "user",
            Factor::Path => "path",
            Factor::Umask => "umask",
            Factor::HostName => "host name",
            Factor::Clock => "clock",
            Factor::TimeZone => "time zone",
            Factor::Locale => "locale",
            Factor::Processors => "processors",
            Factor::Order => "directory order",
            Factor::Kernel => "kernel version",
        }
    }

    /// The text by which it shows in a result, if it has one.
    pub(super) fn mark(self) -> Option<&'static str> {
        match self {
            Factor::Path => Some(ELSEWHERE),
            // Without its domain, and the zone without its offset.
            Factor::HostName => OTHER_HOST.split('.').next(),
            Factor::TimeZone => OTHER_ZONE.split('-').next(),
            Factor::Kernel => Some(OTHER_KERNEL),
            _ => None,
        }
    }

    /// Lists some for a sentence.
    pub(super) fn list(factors: &[Factor]) -> String {
        if factors.len() == Self::ALL.len() {
            return "surroundings".to_owned();
        }
        factors.iter().map(|factor| factor.name()).collect::<Vec<_>>().join(", ")
    }

    /// Changes a job.
    pub(super) fn vary(self, job: &mut Job) {
        let is_alone = job.env.get("JOBS").is_some_and(|jobs| jobs == "1");
        let locale = job.env.get("LC_ALL").cloned();
        let mut set = |name: &str, value: &str| drop(job.env.insert(name.to_owned(), value.to_owned()));
        match self {
            Factor::User => job.surroundings.user = 4242,
            Factor::Path => elsewhere(job),
            Factor::Umask => job.surroundings.umask = 0o027,
            Factor::HostName => job.surroundings.host_name = OTHER_HOST.to_owned(),
            Factor::Clock => job.surroundings.uptime = 1000 * 24 * 3600,
            Factor::TimeZone => set("TZ", OTHER_ZONE),
            Factor::Locale => {
                let other = if locale.as_deref() == Some("C") { "C.UTF-8" } else { "C" };
                ["LANG", "LC_ALL"].iter().for_each(|name| set(name, other));
            }
            Factor::Processors => {
                let jobs = if is_alone { "3" } else { "1" };
                set("JOBS", jobs);
                job.surroundings.one_processor = jobs == "1";
            }
            Factor::Order => job.surroundings.scratch_in_memory = true,
            Factor::Kernel => job.surroundings.other_kernel = true,
        }
    }
}

/// Has a builder work and leave its result in other folders. The usual ones are the same folders under their old names:
/// scripts may name them.
fn elsewhere(job: &mut Job) {
    let moved = |path: &str| {
        let of = |usual: &str, other: &str| {
            let rest = path.strip_prefix(usual).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some(format!("{ELSEWHERE}/{other}{rest}"))
        };
        of("/build", "build").or_else(|| of("/out", "result"))
    };
    for value in job.env.values_mut() {
        if let Some(other) = moved(value) {
            *value = other;
        }
    }
    let guest = |path: &str| GuestPath::new(path).expect("a path behind another is one");
    if let Some(other) = moved(job.cwd.as_str()) {
        job.cwd = guest(&other);
    }
    let others = job.mounts.iter().filter_map(|mount| {
        let target = guest(&moved(mount.target.as_str())?);
        Some(Mount { target, source: mount.source.clone(), access: mount.access })
    });
    let others: Vec<_> = others.collect();
    job.mounts.extend(others);
}

/// What a step gave when it was done again.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Again {
    /// The same bytes.
    Same,
    /// Another tree.
    Differs { found: Digest, why: Dependence },
    /// Nothing: it failed.
    Fails { error: Box<Error>, why: Dependence },
}

/// What a step's result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependence {
    /// Each of these, by itself.
    On(Vec<Factor>),
    /// None by itself, but all of them together.
    Together,
    /// Nothing that can be varied: it is other each time, or it was when it was first made.
    Itself,
}

/// A step that was done again.
#[derive(Debug)]
pub struct Varied {
    /// The step.
    pub step: StepId,
    /// What a build made of it.
    pub expected: Digest,
    /// What it gave now.
    pub again: Again,
}

/// Tells whether a step makes something that could be other than before: it brings no pinned file, and does not merely look.
pub fn gives(plan: &Plan, step: StepId) -> bool {
    !matches!(
        &plan.steps[step].work,
        Work::Fetch(_)
            | Work::Folder { .. }
            | Work::Base { .. }
            | Work::Text { .. }
            | Work::Calls(_)
            | Work::Run(Run { kind: RunKind::Test, .. })
    )
}

/// Does steps again, a few at once, and with `all` in other surroundings; those that only look at something give nothing and are left out. What is not there
/// yet is made first. Errs if that fails, or when stopped.
pub fn vary(plan: &Plan, steps: &[StepId], all: bool, context: &Context<'_>) -> Result<Vec<Varied>, Error> {
    let factors: &[Factor] = if all { &Factor::ALL } else { &[] };
    let every: Vec<StepId> = (0..plan.steps.len()).collect();
    let made = realise(plan, &every, Care::Thorough, context)?.artifacts;
    let steps: Vec<StepId> = steps.iter().filter(|step| gives(plan, **step)).copied().collect();
    let (worker, inputs) = (Worker::new(plan, context, false), plan.inputs());
    let mut done = each(&steps, context.jobs, |&step| {
        let inputs: Vec<Digest> = inputs[step].iter().map(|input| made[input]).collect();
        let expected = made[&step];
        let again = again(&worker, plan, step, &inputs, expected, factors, context)?;
        Ok::<_, Error>(Varied { step, expected, again })
    })?;
    done.sort_by_key(|varied| varied.step);
    Ok(done)
}

fn again(
    worker: &Worker<'_>,
    plan: &Plan,
    step: StepId,
    inputs: &[Digest],
    expected: Digest,
    factors: &[Factor],
    context: &Context<'_>,
) -> Result<Again, Error> {
    // Whoever stopped it, or the machine, says nothing about the step.
    let tried = |factors: &[Factor]| match worker.again(step, inputs, factors) {
        Err(error) if error.blame() != Blame::Build => Err(error),
        result => Ok(result),
    };
    let is_same = |result: &Result<Digest, Error>| result.as_ref().is_ok_and(|found| *found == expected);
    let is_run = matches!(plan.steps[step].work, Work::Run(_));
    let first = tried(if is_run { factors } else { &[] })?;
    if is_same(&first) {
        return Ok(Again::Same);
    }
    let alone = |factors: &[Factor]| -> Result<Vec<Factor>, Error> {
        let mut on = Vec::new();
        for &factor in factors {
            if !is_same(&tried(&[factor])?) {
                on.push(factor);
            }
        }
        Ok(on)
    };
    let shown = match &first {
        Ok(found) if is_run => marks::shown(&expected, found, factors, context.store, context.cancel)?,
        _ => Vec::new(),
    };
    let others: Vec<Factor> = factors.iter().filter(|factor| !shown.contains(factor)).copied().collect();
    let why = if !shown.is_empty() && is_same(&tried(&others)?) {
        // One of several may show only because another one does.
        let on = if let [_] = shown.as_slice() { shown } else { alone(&shown)? };
        if on.is_empty() { Dependence::Together } else { Dependence::On(on) }
    } else if is_run && !factors.is_empty() && is_same(&tried(&[])?) {
        let on = alone(factors)?;
        if on.is_empty() { Dependence::Together } else { Dependence::On(on) }
    } else {
        Dependence::Itself
    };
    Ok(match first {
        Ok(found) => Again::Differs { found, why },
        Err(error) => Again::Fails { error: Box::new(error), why },
    })
}

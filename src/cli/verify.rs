//! `nodeimg rebuild` and `nodeimg verify`: the same again, out of nothing but what is pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::arguments::{Rebuild, Verify};
use super::build::{self, realising};
use super::failure::{Failure, Problem};
use super::session::Session;
use super::text;
use crate::base::{Platforms, Sha256};
use crate::diff::{self, Change};
use crate::fetch::Network;
use crate::lock::Elsewhere;
use crate::pipeline;
use crate::pipeline::rebuild::{self, Error, Stray};
use crate::plan::{Plan, StepId};
use crate::realise::{Again, Context, Dependence, Varied, gives, vary};
use crate::recipe::{Id, Project};
use crate::store::Store;

/// So many files of a step are named before they are counted.
const NAMED: usize = 8;

pub(super) fn rebuild(session: &Session, command: &Rebuild) -> Result<i32, Failure> {
    let sandbox = session.sandbox(&command.running)?;
    let (store, network) = (session.store()?, session.network()?);
    let out = command.out.clone().unwrap_or_else(|| PathBuf::from("out"));
    let carried = rebuild::unpack(&command.image, &out, &session.fetching(&network, &store))?;
    let (project, target, platforms) = opened(&carried)?;
    let targets = [target];
    let needed = pipeline::with_emulator(&project, &targets, &platforms);
    let locked = pipeline::locked(&project, &needed, &Elsewhere::new())?;
    let plan = pipeline::plan(&project, &locked, &targets, &platforms, &store)?;
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let (built, outcome) = pipeline::build(&plan, &project, &out, &context)?;
    session.progress.finish();
    if session.common.json {
        text::json(&build::document(&plan, &built, &outcome))?;
    } else if !session.common.quiet {
        build::show(session, &plan, &built, &outcome);
    }
    let received = built[0].digest().expect("what carries recipes is an image").hash;
    if received != carried.digest {
        let (image, expected) = (command.image.clone(), carried.digest);
        return Err(pipeline::Error::from(Error::Other { image, expected, received }).into());
    }
    if !session.common.quiet {
        session.progress.line(&format!("{:>10} as `{}` was", "the same", command.image));
    }
    Ok(0)
}

/// Reads what an image carries as a project.
fn opened(carried: &rebuild::Unpacked) -> Result<(Project, Id, Platforms), Failure> {
    let project = pipeline::load(&carried.folder())?;
    let target = project.targets(std::slice::from_ref(&carried.target))?.remove(0);
    Ok((project, target, Session::platforms(&carried.platforms)?))
}

/// Something to verify.
struct Subject {
    name: String,
    /// What it is known to be, if it is an image from somewhere.
    digest: Option<Sha256>,
    project: Project,
    target: Id,
    platforms: Platforms,
    /// The project's folder, where it is one that an image carried.
    _carried: Option<rebuild::Unpacked>,
}

pub(super) fn verify(session: &Session, command: &Verify) -> Result<i32, Failure> {
    if command.signature {
        return super::signature::run(session, &command.images, &command.trust);
    }
    let sandbox = session.sandbox(&command.running)?;
    let (store, network) = (session.store()?, session.network()?);
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let (mut reports, mut done) = (Vec::new(), BTreeMap::new());
    for subject in subjects(session, command, &network, &store)? {
        let targets = [subject.target.clone()];
        let needed = pipeline::with_emulator(&subject.project, &targets, &subject.platforms);
        let locked = pipeline::locked(&subject.project, &needed, &Elsewhere::new())?;
        let report = if command.vary || command.sample.is_some() || !command.steps.is_empty() {
            let plan = pipeline::plan(&subject.project, &locked, &targets, &subject.platforms, &store)?;
            let steps = match command.sample {
                Some(percent) => sample(&plan, percent, &store)?,
                None => steps(&plan, &command.steps)?,
            };
            // What several are made of is done again once.
            let (before, steps): (Vec<_>, Vec<_>) =
                steps.into_iter().partition(|step| done.contains_key(&plan.steps[*step].key));
            let made = vary(&plan, &steps, command.vary, &context)?;
            let mut report = varied(&plan, made, command.vary, &store, &mut done)?;
            report.shared(&plan, &before, &done);
            Report::Steps(report)
        } else {
            let (_scratch, fresh) = rebuild::fresh_store(&store, &session.cancel)?;
            let plan = pipeline::plan(&subject.project, &locked, &targets, &subject.platforms, &fresh)?;
            whole(&subject, &plan, &fresh, &context)?
        };
        session.progress.finish();
        if !session.common.json {
            text::out(&report.told(&subject.name))?;
        }
        reports.push((subject.name, report));
    }
    if session.common.json {
        let all: Vec<Value> = reports.iter().map(|(name, report)| report.document(name)).collect();
        text::json(&json!({ "verified": all }))?;
    }
    Ok(i32::from(!reports.iter().all(|(_, report)| report.is_good())))
}

/// Finds what is meant: recipes of this project, or images from anywhere.
fn subjects(
    session: &Session,
    command: &Verify,
    network: &Network,
    store: &Store,
) -> Result<Vec<Subject>, Failure> {
    let own = || -> Result<Project, Failure> { session.project() };
    let platforms = Session::platforms(&[])?;
    let of = |target: Id| -> Result<Subject, Failure> {
        let (name, platforms) = (target.to_string(), platforms.clone());
        Ok(Subject { name, digest: None, project: own()?, target, platforms, _carried: None })
    };
    if command.images.is_empty() {
        return Ok(vec![of(own()?.targets(&[])?.remove(0))?]);
    }
    let has_project = session.common.project.join("recipes").is_dir();
    let mut subjects = Vec::new();
    for name in &command.images {
        if has_project && let Ok(mut targets) = own()?.targets(std::slice::from_ref(name)) {
            subjects.push(of(targets.remove(0))?);
            continue;
        }
        let out = session.common.project.join("out");
        let fetching = session.fetching(network, store);
        let carried = rebuild::unpack(name, &out, &fetching)?;
        rebuild::check(name, &out, &fetching)?;
        let (project, target, platforms) = opened(&carried)?;
        let digest = Some(carried.digest);
        let name = name.clone();
        subjects.push(Subject { name, digest, project, target, platforms, _carried: Some(carried) });
    }
    Ok(subjects)
}

/// Finds the steps that are meant; all where none is named.
fn steps(plan: &Plan, names: &[String]) -> Result<Vec<StepId>, Failure> {
    if names.is_empty() {
        return Ok((0..plan.steps.len()).collect());
    }
    let mut found = Vec::new();
    for name in names {
        let is_it = |step: &StepId| plan.steps[*step].labels.iter().any(|label| label.is(name));
        let steps: Vec<StepId> = (0..plan.steps.len()).filter(is_it).collect();
        if steps.is_empty() {
            let all = plan.steps.iter().flat_map(|step| &step.labels).map(ToString::to_string);
            let all: Vec<String> = all.collect();
            let near = crate::recipe::near(name, all.iter().map(String::as_str));
            return Err(Problem::NoStep { name: name.clone(), near }.into());
        }
        found.extend(steps);
    }
    Ok(found)
}

/// Picks some of the steps whose results were taken from elsewhere, which nobody can foresee; at least one of any.
fn sample(plan: &Plan, percent: usize, store: &Store) -> Result<Vec<StepId>, Failure> {
    use std::hash::{BuildHasher as _, RandomState};
    let taken = store.taken()?;
    let taken: BTreeSet<Sha256> = taken.iter().flat_map(|place| &place.results).map(|one| one.key).collect();
    let is_taken = |step: &StepId| taken.contains(&plan.steps[*step].key) && gives(plan, *step);
    let mut steps: Vec<StepId> = (0..plan.steps.len()).filter(is_taken).collect();
    let chance = RandomState::new();
    steps.sort_by_cached_key(|step| chance.hash_one(step));
    steps.truncate((steps.len() * percent).div_ceil(100));
    Ok(steps)
}

/// Makes a target again in an empty store and compares.
fn whole(subject: &Subject, plan: &Plan, fresh: &Store, context: &Context<'_>) -> Result<Report, Failure> {
    let known = rebuild::known(plan, context.store)?;
    let expected = match subject.digest {
        Some(digest) => digest,
        None => {
            let not_built = || Error::NotBuilt { target: subject.target.name.to_string() };
            rebuild::target_digest(plan, &known, context.store)?
                .ok_or_else(not_built)
                .map_err(pipeline::Error::from)?
        }
    };
    let (received, outcome) = rebuild::from_nothing(plan, fresh, context)?;
    let same = received.hash == expected;
    let mut strays = Vec::new();
    if !same {
        for Stray { step, expected, received } in rebuild::strays(plan, &known, &outcome) {
            rebuild::bring(&received, fresh, context.store)?;
            let changes = diff::trees(context.store, &expected, &received)?;
            strays.push(Differing {
                step: label(plan, step),
                why: None,
                failed: None,
                changes,
                is_above: false,
            });
        }
    }
    Ok(Report::Whole { expected, received: received.hash, steps: outcome.made.len(), strays })
}

fn label(plan: &Plan, step: StepId) -> String {
    plan.steps[step].labels[0].to_string()
}

/// What steps gave when they were done again.
struct Steps {
    same: usize,
    /// How many of these were done again for an earlier target.
    shared: usize,
    differing: Vec<Differing>,
    vary: bool,
}

/// A step that gave something else.
struct Differing {
    step: String,
    why: Option<Dependence>,
    failed: Option<String>,
    changes: Vec<Change>,
    /// Whether an earlier target's report tells of it.
    is_above: bool,
}

/// Reports what was done again, and notes by key whether it gave the same.
fn varied(
    plan: &Plan,
    varied: Vec<Varied>,
    vary: bool,
    store: &Store,
    done: &mut BTreeMap<Sha256, bool>,
) -> Result<Steps, Failure> {
    let mut steps = Steps { same: 0, shared: 0, differing: Vec::new(), vary };
    for Varied { step, expected, again } in varied {
        done.insert(plan.steps[step].key, matches!(again, Again::Same));
        let (step, is_above) = (label(plan, step), false);
        match again {
            Again::Same => steps.same += 1,
            Again::Differs { found, why } => {
                let changes = diff::trees(store, &expected, &found)?;
                steps.differing.push(Differing {
                    step,
                    why: vary.then_some(why),
                    failed: None,
                    changes,
                    is_above,
                });
            }
            Again::Fails { error, why } => {
                let (failed, changes) = (Some(error.to_string()), Vec::new());
                steps.differing.push(Differing { step, why: vary.then_some(why), failed, changes, is_above });
            }
        }
    }
    Ok(steps)
}

impl Steps {
    /// Counts steps that were done again before.
    fn shared(&mut self, plan: &Plan, steps: &[StepId], done: &BTreeMap<Sha256, bool>) {
        for &step in steps {
            self.shared += 1;
            if done[&plan.steps[step].key] {
                self.same += 1;
                continue;
            }
            let step = label(plan, step);
            self.differing.push(Differing {
                step,
                why: None,
                failed: None,
                changes: Vec::new(),
                is_above: true,
            });
        }
    }
}

enum Report {
    Whole { expected: Sha256, received: Sha256, steps: usize, strays: Vec<Differing> },
    Steps(Steps),
}

impl Report {
    fn is_good(&self) -> bool {
        match self {
            Report::Whole { expected, received, .. } => expected == received,
            Report::Steps(steps) => steps.differing.is_empty(),
        }
    }

    fn told(&self, name: &str) -> String {
        let mut lines = format!("{:>10} {name}\n", "verified");
        match self {
            Report::Whole { expected, received, steps, strays } => {
                let steps = text::count(*steps, "step");
                lines += &format!("{:>10} {steps} from nothing but pinned files\n", "made");
                lines += &format!(
                    "{:>10} {}\n{:>10} {}\n",
                    "expected",
                    expected.oci(),
                    "received",
                    received.oci()
                );
                lines += &match (expected == received, strays.is_empty()) {
                    (true, _) => format!("{:>10} the same bytes\n", "result"),
                    (false, true) => {
                        format!("{:>10} other bytes; no step's result is known to differ\n", "result")
                    }
                    (false, false) => format!(
                        "{:>10} other bytes, since {} differ\n",
                        "result",
                        text::count(strays.len(), "step")
                    ),
                };
                strays.iter().for_each(|stray| lines += &stray.told());
            }
            Report::Steps(steps) => {
                let around = if steps.vary { " in other surroundings" } else { "" };
                let all = text::count(steps.same + steps.differing.len(), "step");
                let shared = match steps.shared {
                    0 => String::new(),
                    count => format!(", {count} of them above"),
                };
                lines += &format!("{:>10} {all} again{around}{shared}\n", "made");
                lines += &match steps.differing.len() {
                    0 => format!("{:>10} the same bytes each\n", "result"),
                    count => format!("{:>10} {} not the same\n", "result", text::count(count, "step")),
                };
                steps.differing.iter().for_each(|differing| lines += &differing.told());
            }
        }
        lines
    }

    fn document(&self, name: &str) -> Value {
        match self {
            Report::Whole { expected, received, steps, strays } => json!({
                "name": name,
                "same": expected == received,
                "expected": expected.oci(),
                "received": received.oci(),
                "steps": steps,
                "differing": strays.iter().map(Differing::document).collect::<Vec<_>>(),
            }),
            Report::Steps(steps) => json!({
                "name": name,
                "same": steps.differing.is_empty(),
                "steps": steps.same + steps.differing.len(),
                "shared": steps.shared,
                "differing": steps.differing.iter().map(Differing::document).collect::<Vec<_>>(),
            }),
        }
    }
}

impl Differing {
    /// What it depends on, in words; nothing where that was not looked for.
    fn because(&self) -> Option<String> {
        Some(match self.why.as_ref()? {
            Dependence::On(factors) => {
                let names: Vec<_> = factors.iter().map(|factor| factor.name()).collect();
                format!("depends on {}", names.join(", "))
            }
            Dependence::Together => "depends on no factor alone, but on several together".to_owned(),
            Dependence::Itself => "differs each time, whatever is varied".to_owned(),
        })
    }

    fn told(&self) -> String {
        let because = match self.is_above {
            true => ", as told above".to_owned(),
            false => self.because().map_or(String::new(), |because| format!(" {because}")),
        };
        let mut lines = format!("{:>10} {}{because}\n", "step", self.step);
        for line in self.failed.iter().flat_map(|failed| failed.lines()) {
            lines += &format!("{:>10} {line}\n", "");
        }
        for change in self.changes.iter().take(NAMED) {
            lines += &format!("{:>10} {change}\n", "");
        }
        if self.changes.len() > NAMED {
            lines += &format!("{:>10} and {} more\n", "", self.changes.len() - NAMED);
        }
        lines
    }

    fn document(&self) -> Value {
        let factors = match &self.why {
            Some(Dependence::On(factors)) => factors.iter().map(|factor| factor.name()).collect(),
            _ => Vec::new(),
        };
        json!({
            "step": self.step,
            "because": self.because(),
            "factors": factors,
            "failed": self.failed,
            "changes": self.changes,
            "told-above": self.is_above,
        })
    }
}

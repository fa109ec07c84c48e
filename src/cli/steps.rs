//! `nodeimg log` and `nodeimg shell`: a closer look at one step.

use std::io::Write as _;

use super::arguments::{Log, Shell};
use super::build::realising;
use super::failure::{Failure, Problem};
use super::session::Session;
use crate::plan::{Plan, StepId};
use crate::realise::{self, Care};
use crate::recipe;
use crate::sandbox::{Exit, Namespace};
use crate::store::Store;

pub(super) fn log(session: &Session, command: &Log) -> Result<i32, Failure> {
    let store = session.store()?;
    let (plan, step) = find(session, &command.step, &store)?;
    let digest = realise::log(&store, &plan, step)?.ok_or_else(|| Problem::NoLog(command.step.clone()))?;
    let mut log = store.verified_reader(&digest)?;
    let mut stdout = std::io::stdout().lock();
    match std::io::copy(&mut log, &mut stdout).and_then(|_| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::Output(error).into()),
        _ => Ok(0),
    }
}

pub(super) fn shell(session: &Session, command: &Shell) -> Result<i32, Failure> {
    let store = session.store()?;
    let (plan, step) = find(session, &command.step, &store)?;
    let network = session.network()?;
    let sandbox = Namespace::default();
    let context = realising(session, &sandbox, &store, &network, None, false);
    let needed = plan.inputs().swap_remove(step);
    let outcome = realise::realise(&plan, &needed, Care::Quick, &context)?;
    let inputs: Vec<_> = needed.iter().map(|input| outcome.artifacts[input]).collect();
    session.progress.finish();
    if !session.common.quiet {
        session.progress.line("the step's script is `/step.sh`; run it with `sh -eu /step.sh`");
    }
    let finished = realise::shell(&plan, step, &inputs, &context)?;
    Ok(match finished.exit {
        Exit::Code(code) => code,
        Exit::Signal(number) => 128 + number,
    })
}

/// Finds a step by its name, in the plan of the default image or else of any recipe.
pub(super) fn find(session: &Session, name: &str, store: &Store) -> Result<(Plan, StepId), Failure> {
    let project = session.project()?;
    let mut names = Vec::new();
    let own = name.split(':').next().unwrap_or(name);
    // A step for another machine than this one says so.
    let (own, platform) = own.split_once('@').map_or((own, None), |(own, arch)| (own, Some(arch)));
    let platforms = Session::platforms(&platform.map(str::to_owned).into_iter().collect::<Vec<_>>())?;
    // The recipe that the step is named after, then whatever is built by default.
    for targets in [vec![own.to_owned()], Vec::new()] {
        if project.targets(&targets).is_err() {
            continue;
        }
        let (_, plan) = session.plan(&targets, &platforms, store)?;
        if let Some(&step) = plan.runs(name).first() {
            return Ok((plan, step));
        }
        names.extend(plan.run_names());
    }
    let near = recipe::near(name, names.iter().map(String::as_str));
    Err(Problem::NoStep { name: name.to_owned(), near }.into())
}

//! `nodeimg fetch`: brings everything that a build needs, so that the build can be offline.

use serde_json::json;

use super::arguments::Fetch;
use super::build::realising;
use super::failure::Failure;
use super::session::Session;
use super::text;
use crate::pipeline;
use crate::plan::Work;
use crate::sandbox::Namespace;

pub(super) fn run(session: &Session, command: &Fetch) -> Result<i32, Failure> {
    let store = session.store()?;
    let network = session.network()?;
    let (_, plan) =
        session.plan(&command.targets, &Session::platforms(&command.platforms.platform)?, &store)?;
    let outcome =
        pipeline::fetch(&plan, &realising(session, &Namespace::default(), &store, &network, None, true))?;
    let size = |step: &usize| match &plan.steps[*step].work {
        Work::Fetch(_) => outcome.artifacts.get(step).map_or(0, |digest| digest.size),
        _ => 0,
    };
    let (files, bytes) = (outcome.artifacts.len(), outcome.artifacts.keys().map(size).sum::<u64>());
    let fetched: u64 = outcome.made.iter().map(size).sum();
    if session.common.json {
        text::json(&json!({
            "files": files, "bytes": bytes, "fetched": { "files": outcome.made.len(), "bytes": fetched },
        }))?;
    } else if !session.common.quiet {
        let all = format!("{} in the store, {}", text::count(files, "file"), text::size(bytes));
        session.progress.finish();
        session.progress.line(&format!("{:>10} {all}; now `nodeimg build --lock --offline` works", "ready"));
    }
    Ok(0)
}

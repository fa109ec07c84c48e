//! `nodeimg bundle verify`: proves a bundle whole before it is carried away.

use serde_json::json;

use super::arguments::VerifyBundle;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::{host, text};
use crate::pipeline::bundle::{self, Proof};

pub(super) fn run(session: &Session, command: &VerifyBundle) -> Result<i32, Failure> {
    let program = host::program().ok_or(Problem::NoProgram)?;
    let mut arguments = Vec::new();
    arguments.extend(command.jobs.map(|jobs| format!("--jobs={jobs}")));
    arguments.extend(session.common.quiet.then(|| "--quiet".to_owned()));
    arguments.extend(session.common.verbose.then(|| "--verbose".to_owned()));
    let proof = Proof {
        program: &program,
        bundles: &command.bundle,
        from_sources: command.from_sources,
        arguments: &arguments,
        cancel: &session.cancel,
    };
    let proven = bundle::prove(&proof, &bundle::check)?;
    let targets = proven.built["targets"].as_array().cloned().unwrap_or_default();
    let made = proven.built["made"].as_array().map_or(0, Vec::len);
    let taken = proven.built["bundle"]["results"].as_u64().unwrap_or(0);
    if session.common.json {
        text::json(&json!({
            "digest": proven.listing.hash().oci(), "targets": targets, "made": made, "results": taken,
            "compared": proven.compared,
        }))?;
        return Ok(0);
    }
    if session.common.quiet {
        return Ok(0);
    }
    let line = |verb: &str, text: String| session.progress.line(&format!("{verb:>10} {text}"));
    for target in &targets {
        let digest = target["digest"].as_str().or(target["tree"].as_str()).unwrap_or_default();
        line("built", format!("{}, {digest}", target["target"].as_str().unwrap_or_default()));
    }
    match proven.compared {
        0 if taken > 0 => {
            let results = text::count(taken as usize, "result");
            line("taken", format!("{results}; `--from-sources` makes them again and compares"));
        }
        0 => {}
        compared => line("same", format!("{}, made again from sources", text::count(compared, "result"))),
    }
    line("whole", format!("{}, without a network and in an empty store", proven.listing.hash().oci()));
    Ok(0)
}

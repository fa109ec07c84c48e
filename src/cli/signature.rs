//! `nodeimg verify --signature`: says who signed an image, and whether that is enough.

use serde_json::json;

use super::arguments::Trust;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::{render, text};
use crate::attest::PublicKey;
use crate::attest::policy::{Policy, Verdict};
use crate::base::Sha256;
use crate::pipeline::rebuild;

pub(super) fn run(session: &Session, images: &[String], trust: &Trust) -> Result<i32, Failure> {
    let policy = match (&trust.policy, &trust.key) {
        (Some(path), _) => Policy::read(path)?,
        (None, Some(key)) => Policy::of_keys(vec![PublicKey::read(key)?]),
        (None, None) => unreachable!("the command line wants one of them"),
    };
    if images.is_empty() {
        return Err(Problem::NoSigned.into());
    }
    let (store, network) = (session.store()?, session.network()?);
    let out = session.common.project.join("out");
    let mut verdicts = Vec::new();
    for name in images {
        let (digest, found) = rebuild::signed(name, &out, &session.fetching(&network, &store))?;
        verdicts.push((name, digest, policy.judge(&digest, &found)));
    }
    session.progress.finish();
    if session.common.json {
        let all = verdicts.iter().map(|(name, digest, verdict)| document(name, digest, verdict));
        text::json(&json!({ "verified": all.collect::<Vec<_>>() }))?;
    } else {
        let faults = verdicts.iter().flat_map(|(_, _, verdict)| &verdict.faults);
        text::out(
            &faults.map(|fault| render::render(fault, render::Style::of_stdout())).collect::<String>(),
        )?;
    }
    if !session.common.quiet {
        for (name, digest, verdict) in &verdicts {
            summary(name, digest, verdict).iter().for_each(|line| session.progress.line(line));
        }
    }
    Ok(i32::from(verdicts.iter().any(|(_, _, verdict)| !verdict.faults.is_empty())))
}

fn document(name: &str, digest: &Sha256, verdict: &Verdict) -> serde_json::Value {
    json!({
        "image": name,
        "digest": digest.oci(),
        "trusted": verdict.faults.is_empty(),
        "keys": verdict.signers.iter().map(Sha256::to_string).collect::<Vec<_>>(),
        "statements": verdict.statements,
        "faults": verdict.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn summary(name: &str, digest: &Sha256, verdict: &Verdict) -> Vec<String> {
    let mut lines = vec![format!("{:>10} {name}", "image"), format!("{:>10} {}", "digest", digest.oci())];
    lines.extend(verdict.signers.iter().map(|key| format!("{:>10} by key {key}", "signed")));
    if !verdict.statements.is_empty() {
        let statements: Vec<_> = verdict.statements.iter().map(String::as_str).collect();
        lines.push(format!("{:>10} {}", "states", statements.join(", ")));
    }
    let word = if verdict.faults.is_empty() { "it is what was signed" } else { "the policy is not met" };
    lines.push(format!("{:>10} {word}", if verdict.faults.is_empty() { "trusted" } else { "refused" }));
    lines
}

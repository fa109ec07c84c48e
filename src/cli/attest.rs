//! `nodeimg attest`: says what is in an image and how it was made, and signs that.

use std::path::Path;

use serde_json::json;

use super::arguments::Attest;
use super::build::realising;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::text;
use crate::attest::SigningKey;
use crate::pipeline::{self, Asked, Attested};
use crate::recipe::Role;

pub(super) fn run(session: &Session, command: &Attest) -> Result<i32, Failure> {
    // Before anything is built: a key that can't be read then was typed for nothing.
    let key = command.key.as_deref().map(SigningKey::read).transpose()?;
    let project = session.project()?;
    let targets = project.targets(&command.targets)?;
    if let Some(other) = targets.iter().find(|target| target.role != Role::Image) {
        return Err(Problem::NoImage(other.to_string()).into());
    }
    let platforms = Session::platforms(&command.platforms.platform)?;
    let sandbox = session.sandbox(&command.running)?;
    let (store, network) = (session.store()?, session.network()?);
    let locked = session.locked(&project, &targets, &platforms, &command.locking, &network, &store)?;
    let plan = pipeline::plan(&project, &locked, &targets, &platforms, &store)?;
    let out = command.out.clone().unwrap_or_else(|| project.path().join("out"));
    let out = out.strip_prefix(".").map_or(out.clone(), Path::to_owned);
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let (built, _) = pipeline::build(&plan, &project, &out, &context)?;
    let asked = Asked { key: key.as_ref(), builder: &command.builder };
    let mut attested = Vec::new();
    for one in &built {
        attested.push(pipeline::attest(&plan, &project, one, &asked, &context)?);
    }
    session.progress.finish();
    if session.common.json {
        text::json(&json!({ "attested": attested.iter().map(document).collect::<Vec<_>>() }))?;
    } else if !session.common.quiet {
        for line in attested.iter().flat_map(summary) {
            session.progress.line(&line);
        }
    }
    Ok(0)
}

fn document(one: &Attested) -> serde_json::Value {
    json!({
        "reference": one.reference,
        "digest": one.digest.oci(),
        "folder": one.folder,
        "files": one.files,
        "components": one.components,
        "materials": one.materials,
        "key": one.key.map(|key| key.to_string()),
        "unchanged": one.unchanged,
    })
}

fn summary(one: &Attested) -> Vec<String> {
    let state = if one.unchanged { "unchanged" } else { "wrote" };
    let signed = match one.key {
        Some(key) => format!("by key {key}"),
        None => "by nobody: `--key FILE` signs".to_owned(),
    };
    let mut lines = Vec::new();
    for (word, what) in [
        ("image", one.reference.clone()),
        ("digest", one.digest.oci()),
        ("holds", text::count(one.components, "component")),
        ("made of", text::count(one.materials, "material")),
        ("signed", signed),
        (state, format!("{}/{{{}}}", one.folder.display(), one.files.join(","))),
    ] {
        lines.push(format!("{word:>10} {what}"));
    }
    if one.key.is_some() {
        let oci = one.folder.join("oci");
        lines.push(format!(
            "{:>10} cosign verify --key FILE.pub --private-infrastructure --local-image {}",
            "next",
            oci.display()
        ));
    }
    lines
}

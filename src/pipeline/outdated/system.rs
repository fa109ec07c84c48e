//! Debian packages: what their suites have now.

use std::collections::{BTreeMap, BTreeSet};

use super::{NewerPackage, NewerSuite, Outdated, Unasked, Used, kept};
use crate::base::{Arch, Name};
use crate::fetch::Context;
use crate::fetch::debian::{Indices, Known, Newest};
use crate::pipeline::Error;
use crate::pipeline::resolve::Opened;
use crate::recipe::Project;

/// Asks for every suite that has a package; adds what is newer, and what has no answer.
pub(super) fn ask(
    project: &Project,
    used: &BTreeMap<&Name, Used<'_>>,
    arch: Arch,
    outdated: &mut Outdated,
    context: &Context<'_>,
) -> Result<(), Error> {
    for (name, used) in used {
        let who = || format!("suites/{name}");
        let suite = &project.suites[*name];
        let newest = match Opened::new(suite, project) {
            Ok(opened) => kept(opened.snapshot(suite).newest(context), who, &mut outdated.unasked)?,
            Err(error) => {
                outdated.unasked.push(Unasked { who: who(), why: error.to_string(), is_failure: true });
                None
            }
        };
        let Some(newest) = newest else { continue };
        let names = used.files.keys().map(|file| file.package()).collect();
        let known = Indices::default().named(&newest, arch, &names, context);
        let Some(known) = kept(known, who, &mut outdated.unasked)? else { continue };
        outdated.suites.extend(compared(name, used, &newest, &known));
    }
    Ok(())
}

/// Compares what is locked with what is there now; nothing where all is as it was.
fn compared(
    name: &Name,
    used: &Used<'_>,
    newest: &Newest,
    known: &BTreeMap<String, Known>,
) -> Option<NewerSuite> {
    let mut packages: BTreeMap<_, NewerPackage> = BTreeMap::new();
    for (file, places) in &used.files {
        let now = known.get(file.package());
        if now.is_some_and(|now| !now.is_newer_than(file)) {
            continue;
        }
        let source = file.source().unwrap_or(file.package());
        let newest = now.map(|now| now.pin.version());
        let package = packages.entry((source, file.version(), newest)).or_insert_with(|| NewerPackage {
            source: source.to_owned(),
            packages: BTreeSet::new(),
            locked: file.version().to_owned(),
            newest: newest.map(str::to_owned),
            places: BTreeSet::new(),
        });
        package.packages.insert(file.package().to_owned());
        package.places.extend(places.iter().cloned());
    }
    (!packages.is_empty()).then(|| NewerSuite {
        suite: name.clone(),
        snapshot: used.snapshot.to_owned(),
        newest: newest.moment.clone(),
        packages: packages.into_values().collect(),
    })
}

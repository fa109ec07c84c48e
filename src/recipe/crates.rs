//! The `Cargo.lock`s that packages name: read when the project is, so that their faults are told like a recipe's.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::Document;
use super::error::Fault;
use super::{Error, Package, Problem, Role};
use crate::base::{GuestPath, Name};
use crate::fetch::cargo::Lock;

/// Reads the lists of crates, by package. A file that is not there is left to the check of references.
pub(super) fn read(
    project: &Path,
    packages: &BTreeMap<Name, Package>,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<Name, Lock>, Error> {
    let mut locks = BTreeMap::new();
    for (name, package) in packages.iter().filter(|(_, package)| package.variant.is_none()) {
        let Some(path) = package.sources().find_map(|(_, source)| source.fetch.cargo_lock()) else {
            continue;
        };
        let shown = format!("recipes/{}/{path}", Role::Package.folder());
        if GuestPath::new(&format!("/{path}")).is_err() || !project.join(&shown).is_file() {
            continue;
        }
        let bytes = fs_err::read(project.join(&shown)).map_err(Error::Read)?;
        let text = String::from_utf8_lossy(&bytes);
        match Lock::parse(&text) {
            Ok(lock) => _ = locks.insert(name.clone(), lock),
            Err(wrong) => {
                let document = Document { file: shown, text: text.as_ref().into() };
                let problem = |wrong: crate::fetch::cargo::Wrong| {
                    document.problem(Fault::CargoLock(wrong.fault), wrong.span)
                };
                problems.extend(wrong.into_iter().map(problem));
            }
        }
    }
    Ok(locks)
}

//! Everything that an image was made of, out of its plan.

use std::collections::BTreeSet;

use super::super::Error;
use crate::attest::provenance::Material;
use crate::base::Sha256;
use crate::lock;
use crate::plan::{Fetch, Plan, StepId, Target, Work};
use crate::recipe::{Project, Role};
use crate::store::Store;

/// What an image was made of.
pub(super) struct MadeOf {
    pub(super) materials: Vec<Material>,
    /// The youngest moment that something of it is pinned at.
    pub(super) created: String,
}

/// Lists the steps that some steps need, themselves included.
pub(super) fn below(plan: &Plan, steps: &[StepId]) -> BTreeSet<StepId> {
    let (mut seen, mut open) = (BTreeSet::new(), steps.to_vec());
    while let Some(step) = open.pop() {
        if seen.insert(step) {
            open.extend(&plan.steps[step].inputs);
        }
    }
    seen
}

pub(super) fn collect(
    plan: &Plan,
    project: &Project,
    target: &Target,
    store: &Store,
) -> Result<MadeOf, Error> {
    let mut steps = below(plan, &[target.step]);
    if let Some(emulator) = plan.emulator
        && steps.iter().any(|step| plan.is_foreign(&plan.steps[*step]))
    {
        steps.extend(below(plan, &[emulator]));
    }
    let mut materials = BTreeSet::new();
    let mut moment: Option<&str> = None;
    for step in steps {
        let step = &plan.steps[step];
        match &step.work {
            Work::Fetch(Fetch::Debian { pin, snapshot }) => {
                let origin = pin.origin(snapshot);
                let (name, uri) = (origin.name, Some(origin.uri));
                materials.insert(Material { name, uri, sha256: pin.sha256, commit: None });
                moment = moment.max(Some(snapshot));
            }
            Work::Fetch(Fetch::Source { request, pin }) => {
                let Some(origin) = request.origin(pin) else { continue };
                let (name, uri) = (origin.name, Some(origin.uri));
                materials.insert(Material { name, uri, sha256: pin.sha256, commit: origin.commit });
            }
            Work::Base { digest, reference, .. } => {
                let (name, uri) = (reference.to_string(), Some(super::content::base_purl(reference, digest)));
                materials.insert(Material { name, uri, sha256: *digest, commit: None });
            }
            Work::Folder { tree } => {
                let label = &step.labels[0];
                for (path, digest, _) in store.tree(tree)?.files() {
                    let name = format!("{label}{path}");
                    materials.insert(Material { name, uri: None, sha256: digest.hash, commit: None });
                }
            }
            Work::Patch { patches, names } => {
                let recipe = project.packages.get(&step.labels[0].recipe.name);
                let folder = recipe.map_or(&step.labels[0].recipe.name, |package| package.recipe());
                for (digest, name) in patches.iter().zip(names) {
                    let name = format!("patches/{folder}/{name}");
                    materials.insert(Material { name, uri: None, sha256: digest.hash, commit: None });
                }
            }
            _ => {}
        }
    }
    for name in files(project, target) {
        let path = project.path().join(&name);
        match Sha256::of_file(&path) {
            Ok(sha256) => _ = materials.insert(Material { name, uri: None, sha256, commit: None }),
            // A runtime has no lock, a recipe may have no Cargo.lock.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(crate::export::Error::Io { action: "read", path, source }.into());
            }
        }
    }
    let created = moment.and_then(rfc3339).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
    Ok(MadeOf { materials: materials.into_iter().collect(), created })
}

/// Lists the project's files that say how the image is made.
fn files(project: &Project, target: &Target) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for id in project.closure(std::slice::from_ref(&target.recipe)) {
        files.insert(format!("recipes/{id}.toml"));
        if id.role != Role::Runtime {
            files.insert(lock::path(&id).display().to_string());
        }
        if id.role == Role::Package {
            let package = &project.packages[&id.name];
            files.insert(format!("recipes/packages/{}.toml", package.recipe()));
            let locks = package.sources().filter_map(|(_, source)| source.fetch.cargo_lock());
            files.extend(locks.map(|path| format!("recipes/packages/{path}")));
        }
    }
    files
}

/// Writes `20261120T000000Z` as `2026-11-20T00:00:00Z`.
fn rfc3339(moment: &str) -> Option<String> {
    let digits = |from: usize, to: usize| {
        moment.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    Some(format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

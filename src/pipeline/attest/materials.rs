//! Everything that an image was made of, out of its plan.

use std::collections::BTreeSet;

use super::super::Error;
use crate::attest::provenance::Material;
use crate::plan::{Fetch, Plan, StepId, Target, Work};
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

pub(super) fn collect(plan: &Plan, target: &Target, store: &Store) -> Result<MadeOf, Error> {
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
            _ => {}
        }
    }
    // Recipes, locks, patches and folders, as the image carries them.
    let project = target.image.as_ref().and_then(|image| image.project);
    if let Some(project) = project {
        for (path, digest, _) in store.tree(&project)?.files() {
            let name = path.as_str().trim_start_matches('/').to_owned();
            materials.insert(Material { name, uri: None, sha256: digest.hash, commit: None });
        }
    }
    let created = moment.and_then(rfc3339).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned());
    Ok(MadeOf { materials: materials.into_iter().collect(), created })
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

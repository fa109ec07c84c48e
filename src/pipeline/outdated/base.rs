//! Images that others are built on: what their registries have.

use std::collections::BTreeMap;

use super::{NewerBase, Outdated, THREADS, kept};
use crate::base::{Sha256, each};
use crate::fetch::oci::{self, Reference};
use crate::fetch::releases::{Newer, newer_tag};
use crate::fetch::{self, Context};
use crate::lock::Locked;
use crate::pipeline::Error;
use crate::recipe::{Id, Role};

/// Asks for every base; adds what is newer, and what has no answer.
pub(super) fn ask(locked: &Locked, outdated: &mut Outdated, context: &Context<'_>) -> Result<(), Error> {
    let mut bases: BTreeMap<(&Reference, Sha256), Vec<Id>> = BTreeMap::new();
    for (name, image) in &locked.images {
        let Some(base) = image.base.as_ref().filter(|base| base.reference.tag().is_some()) else { continue };
        bases.entry((&base.reference, base.pin.digest)).or_default().push(Id::new(Role::Image, name));
    }
    let bases: Vec<_> = bases.into_iter().collect();
    let answers = each(&bases, THREADS, |((reference, _), _)| Ok::<_, Error>(answer(reference, context)))?;
    for (((reference, digest), recipes), answer) in bases.into_iter().zip(answers) {
        let tag = reference.tag().unwrap_or_default();
        let name = format!("{}:{tag}", reference.name());
        let Some((now, tags)) = kept(answer, || name.clone(), &mut outdated.unasked)? else { continue };
        let Newer { newest, patch } = newer_tag(tag, &tags).unwrap_or_default();
        let moved = now.filter(|now| *now != digest);
        if newest.is_some() || moved.is_some() {
            outdated.bases.push(NewerBase { recipes, name, newest, patch, moved });
        }
    }
    Ok(())
}

/// What a reference's tag names now, and what other tags there are.
fn answer(
    reference: &Reference,
    context: &Context<'_>,
) -> Result<(Option<Sha256>, Vec<String>), fetch::Error> {
    Ok((oci::at_tag(reference, context)?, oci::tags(reference, context)?))
}

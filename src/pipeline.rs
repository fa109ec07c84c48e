//! The whole way from recipes to what lies in `out/`: one function an arrow of the crate's picture.
//!
//! ```text
//! load ─▶ Project ─locked─▶ Locked ─plan─▶ Plan ─build─▶ Built
//!            └────relock────▶ Resolution (the network may discover)
//! ```
//!
//! Each takes what the one before gave. Nothing here reads the environment or prints.

mod attest;
pub mod bundle;
mod catalog;
mod closure;
mod error;
mod files;
pub mod library;
pub mod lint;
pub mod outdated;
mod outputs;
pub mod rebuild;
mod record;
mod registry;
mod resolve;
mod trial;

use std::path::Path;

pub use attest::{Asked, Attested, attest};
pub use catalog::{Catalog, FILE as CATALOG, read as catalog, schema as catalog_schema};
pub use error::Error;
pub use outputs::{Built, Delivered, Index};
pub use record::note as record;
pub use trial::{TOOLS, try_alone, try_image};

use crate::base::{Cancel, Name, Platforms};
use crate::engine::Settings;
use crate::export::{self, Output};
use crate::fetch;
use crate::lock::{self, Elsewhere, Locked, Resolution, Update};
use crate::plan::{self, Plan};
use crate::realise::{self, Care, Context, Outcome};
use crate::recipe::{self, Id, Project, Role};
use crate::store::Store;

/// Reads a project's recipes.
pub fn load(path: &Path) -> Result<Project, Error> {
    Ok(recipe::load(path)?)
}

/// Puts recipes and locks together, or says how they differ. Offline.
pub fn locked(project: &Project, targets: &[Id], elsewhere: &Elsewhere) -> Result<Locked, Error> {
    Ok(lock::load(project, targets, elsewhere)?)
}

/// Asks the network for what is not pinned yet. Writes nothing: see [`Resolution::write`].
pub fn relock(
    project: &Project,
    targets: &[Id],
    all: bool,
    update: &Update,
    context: &fetch::Context<'_>,
) -> Result<Resolution, Error> {
    registry::find_pypi(|| Ok(registry::is_asked(project, targets)), context)?;
    let resolver = resolve::Asking::new(context, project.path());
    Ok(lock::resolve(project, targets, all, update, &resolver, context.cancel)?)
}

/// Plans what the targets need. Takes the project's own files into the store.
pub fn plan(
    project: &Project,
    locked: &Locked,
    targets: &[Id],
    platforms: &Platforms,
    store: &Store,
) -> Result<Plan, Error> {
    covered(project, targets, platforms)?;
    let mut files = files::take_in(project, &with_emulator(project, targets, platforms), store)?;
    files.projects = closure::take_in_all(project, targets, &locked.elsewhere, store)?;
    Ok(Plan::new(locked, targets, platforms, &files))
}

/// Adds to `targets` what has to be locked to make them for these platforms here: the emulator, where one may be needed
/// and the project has one.
pub fn with_emulator(project: &Project, targets: &[Id], platforms: &Platforms) -> Vec<Id> {
    let emulator = Id::new(Role::Package, &Name::new(plan::EMULATOR).expect("a constant name"));
    let is_added = platforms.has_foreign() && project.has(&emulator) && !targets.contains(&emulator);
    targets.iter().cloned().chain(Some(emulator).filter(|_| is_added)).collect()
}

/// Checks that every package which the targets need is there for every platform.
fn covered(project: &Project, targets: &[Id], platforms: &Platforms) -> Result<(), Error> {
    for id in project.closure(targets).into_iter().filter(|id| id.role == Role::Package) {
        let package = &project.packages[&id.name];
        if let Some(&arch) = platforms.wanted.iter().find(|arch| !package.architecture.covers(**arch)) {
            return Err(Error::NotFor { package: id.name, arch });
        }
    }
    Ok(())
}

/// Brings every file that the targets need into the store, whether or not what is made of it is there.
pub fn fetch(plan: &Plan, context: &Context<'_>) -> Result<Outcome, Error> {
    use crate::plan::Work;
    let all = || 0..plan.steps.len();
    let files: Vec<_> = all().filter(|&step| matches!(plan.steps[step].work, Work::Fetch(_))).collect();
    registry::find_pypi(|| registry::is_lacking(plan, &files, context.store), &context.fetch())?;
    let outcome = realise::realise(plan, &files, Care::Quick, context)?;
    realise::pull_bases(plan, &all().collect::<Vec<_>>(), context)?;
    Ok(outcome)
}

/// Realises a plan's targets and writes them below `out`; gives what lies there now and what was done for it.
pub fn build(
    plan: &Plan,
    project: &Project,
    out: &Path,
    context: &Context<'_>,
) -> Result<(Vec<Built>, Outcome), Error> {
    let nowhere = export::Here { engine: &Settings::default(), containerd: "" };
    let usual: Result<Vec<_>, _> = export::USUAL.iter().map(|form| export::open(form, &nowhere)).collect();
    build_into(plan, project, out, &usual?, context)
}

/// The same, with images in the forms that are asked for in place of the usual ones.
pub fn build_into(
    plan: &Plan,
    project: &Project,
    out: &Path,
    forms: &[Box<dyn Output>],
    context: &Context<'_>,
) -> Result<(Vec<Built>, Outcome), Error> {
    registry::find_pypi(|| registry::is_lacking(plan, &plan.wanted(), context.store), &context.fetch())?;
    match attempt(plan, project, out, forms, Care::Quick, context) {
        Err(error) if error.is_lost() => {}
        result => return result,
    }
    // A base's layers come when an output needs their bytes.
    if realise::pull_bases(plan, &plan.wanted(), context)? > 0 {
        match attempt(plan, project, out, forms, Care::Quick, context) {
            Err(error) if error.is_lost() => {}
            result => return result,
        }
    }
    realise::mend(context)?;
    let targets: Vec<_> = plan.targets.iter().map(|target| target.recipe.clone()).collect();
    files::take_in(project, &targets, context.store)?;
    closure::take_in_all(project, &targets, &plan.elsewhere, context.store)?;
    attempt(plan, project, out, forms, Care::Thorough, context)
}

fn attempt(
    plan: &Plan,
    project: &Project,
    out: &Path,
    forms: &[Box<dyn Output>],
    care: Care,
    context: &Context<'_>,
) -> Result<(Vec<Built>, Outcome), Error> {
    let outcome = realise::realise(plan, &plan.wanted(), care, context)?;
    let mut built = Vec::new();
    for target in &plan.targets {
        check(context.cancel)?;
        built.push(outputs::write(plan, target, &outcome, out, forms, context)?);
    }
    if !outcome.made.is_empty() || !outcome.reused.is_empty() {
        realise::note(plan, context.store)?;
    }
    catalog::write(plan, &outcome, &built, project, out, context.store)?;
    outputs::keep(plan, &outcome, project, context.store)?;
    Ok((built, outcome))
}

fn check(cancel: &Cancel) -> Result<(), Error> {
    if cancel.is_cancelled() { Err(Error::Realise(realise::Error::Cancelled)) } else { Ok(()) }
}

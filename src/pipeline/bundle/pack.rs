//! Finds out what goes into a bundle.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::results::{self, member};
use super::{Error, PipelineError};
use crate::base::{Arch, Digest, Platforms, Sha256};
use crate::bundle::{self, Content, Listing, Member};
use crate::fetch::oci;
use crate::lock::Elsewhere;
use crate::pipeline;
use crate::pipeline::library::{self, Library};
use crate::plan::{Fetch, Plan, Work};
use crate::realise::Context;
use crate::recipe::{Id, Project};

/// What a bundle is to be.
pub struct Order<'a> {
    /// What it is for.
    pub targets: &'a [Id],
    /// The machines that the targets are for.
    pub wanted: &'a [Arch],
    /// A static nodeimg for each machine that the targets are to be made on.
    pub programs: &'a [PathBuf],
    /// Whether it has results too.
    pub with_results: bool,
    /// The listing of an earlier bundle, which is left out.
    pub since: Option<&'a Listing>,
    /// The public key that it will be signed with.
    pub signed_by: Option<String>,
}

/// What goes into a bundle.
pub struct Packed {
    /// The listing.
    pub listing: Listing,
    /// Each member's bytes.
    pub contents: BTreeMap<String, Content>,
}

/// Finds out what goes into a bundle; brings it into the store where it lacks, and makes results where they do.
pub fn pack(project: &Project, order: &Order<'_>, context: &Context<'_>) -> Result<Packed, PipelineError> {
    let programs = programs(order.programs)?;
    let mut found = BTreeMap::new();
    for (arch, path) in &programs {
        let failed = |source| Error::Io { action: "read", path: path.clone(), source };
        let sha256 = Sha256::of_file(path).map_err(failed)?;
        let size = fs_err::metadata(path).map_err(failed)?.len();
        let name = format!("bin/nodeimg-{arch}");
        let entry = Member { path: name.clone(), size, sha256, executable: true, source: None };
        found.insert(name, (entry, Content::File(path.clone())));
    }
    let mut recipes = Vec::new();
    let mut plans = Vec::new();
    for &host in programs.keys() {
        let platforms = Platforms { host, wanted: order.wanted.to_vec() };
        let plan = plan(project, order.targets, &platforms, context)?;
        pipeline::fetch(&plan, context)?;
        files(&plan, context, &mut found)?;
        for id in pipeline::with_emulator(project, order.targets, &platforms) {
            if !recipes.contains(&id) {
                recipes.push(id);
            }
        }
        plans.push((platforms, plan));
    }
    let library = Library::of_project(project)?;
    let mut own = library.closure(&recipes);
    own.extend(library.trials(&recipes));
    try_out(&own, project, order, &plans, context)?;
    for (path, bytes) in own {
        let is_executable = is_program(&project.path().join(&path));
        let path = format!("project/{path}");
        let (mut entry, content) = member(path.clone(), bytes);
        entry.executable = is_executable;
        found.insert(path, (entry, content));
    }
    if order.with_results {
        let own = plans.iter().filter(|(platforms, _)| Some(platforms.host) == Arch::host());
        for (_, plan) in own {
            results::collect(plan, context, &mut found)?;
        }
    }
    let hosts: Vec<_> = programs.into_keys().collect();
    let targets = order.targets.iter().map(ToString::to_string).collect();
    let mut listing = Listing::new(targets, order.wanted, &hosts);
    listing.signed_by = order.signed_by.clone();
    let mut contents = BTreeMap::new();
    for (path, (entry, content)) in found {
        if listing.add(entry, order.since)? {
            contents.insert(path, content);
        }
    }
    Ok(Packed { listing, contents })
}

/// Sorts programs by the machine that they are for.
fn programs(paths: &[PathBuf]) -> Result<BTreeMap<Arch, PathBuf>, PipelineError> {
    let mut programs: BTreeMap<Arch, PathBuf> = BTreeMap::new();
    for path in paths {
        let arch = bundle::architecture(path)?;
        if let Some(one) = programs.insert(arch, path.clone()) {
            return Err(bundle::Error::Programs { arch, one, other: path.clone() }.into());
        }
    }
    Ok(programs)
}

fn plan(
    project: &Project,
    targets: &[Id],
    platforms: &Platforms,
    context: &Context<'_>,
) -> Result<Plan, PipelineError> {
    let needed = pipeline::with_emulator(project, targets, platforms);
    let locked = pipeline::locked(project, &needed, &Elsewhere::new())?;
    pipeline::plan(project, &locked, targets, platforms, context.store)
}

/// Lists the members that are fetched.
fn files(
    plan: &Plan,
    context: &Context<'_>,
    found: &mut BTreeMap<String, (Member, Content)>,
) -> Result<(), PipelineError> {
    let mut add = |digest: Digest, name: String| {
        let path = bundle::blob(&digest.hash);
        let source = Some(name);
        let entry =
            Member { path: path.clone(), size: digest.size, sha256: digest.hash, executable: false, source };
        // Of two names for the same bytes the first by spelling, whatever the order of steps.
        let known = found.get(&path).and_then(|(known, _)| known.source.clone());
        if known.is_none_or(|known| Some(&known) > entry.source.as_ref()) {
            found.insert(path, (entry, Content::Blob));
        }
    };
    let gone = |hash: &Sha256| crate::store::Error::Missing { digest: Digest { hash: *hash, size: 0 } };
    for step in &plan.steps {
        match &step.work {
            Work::Fetch(fetch) => {
                let digest = match fetch {
                    Fetch::Source { pin, .. } => pin.present(context.store),
                    Fetch::Debian { pin, .. } => Some(pin.digest()),
                };
                add(digest.ok_or_else(|| gone(&fetch.sha256()))?, fetch.name());
            }
            Work::Base { digest, arch, reference } => {
                let base = oci::manifest(reference, digest, *arch, &context.fetch())?;
                let name = reference.to_string();
                let top = context.store.find_blob(digest).ok_or_else(|| gone(digest))?;
                add(top, format!("{name}, its index or manifest"));
                add(base.manifest, format!("{name}, its manifest for {arch}"));
                add(base.config, format!("{name}, its configuration for {arch}"));
                for (number, layer) in base.layers.iter().enumerate() {
                    add(layer.digest, format!("{name}, layer {number} for {arch}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Holds the project's files to being all of it: alone they must give the same steps.
fn try_out(
    files: &library::Files,
    project: &Project,
    order: &Order<'_>,
    plans: &[(Platforms, Plan)],
    context: &Context<'_>,
) -> Result<(), PipelineError> {
    let folder = context.store.scratch()?;
    for (path, bytes) in files {
        let from = project.path().join(path);
        place(folder.path(), path, bytes, is_program(&from))?;
    }
    let alone = pipeline::load(folder.path())?;
    for (platforms, whole) in plans {
        let plan = plan(&alone, order.targets, platforms, context)?;
        let differs = plan.steps.iter().zip(&whole.steps).find(|(one, other)| one.key != other.key);
        if let Some((step, _)) = differs {
            return Err(Error::Closure { step: step.labels[0].to_string() }.into());
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o100 != 0)
}

/// Writes a file of the project below a folder that only we write to.
pub(super) fn place(
    folder: &Path,
    path: &str,
    bytes: &[u8],
    is_executable: bool,
) -> Result<(), PipelineError> {
    let to = folder.join(path);
    let write = || -> std::io::Result<()> {
        fs_err::create_dir_all(to.parent().unwrap_or(folder))?;
        fs_err::write(&to, bytes)?;
        let mode = if is_executable { 0o755 } else { 0o644 };
        fs_err::set_permissions(&to, std::fs::Permissions::from_mode(mode))
    };
    Ok(write().map_err(|source| Error::Io { action: "write", path: to.clone(), source })?)
}

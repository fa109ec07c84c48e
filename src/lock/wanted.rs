//! What a project's recipes ask for now, in the words of their lock files.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::file::{BaseRequest, Platform, RootName, SuiteRequest};
use crate::base::{Arch, Name};
use crate::fetch::{Request, Source};
use crate::recipe::{Cross, Id, Package, Project, Role, substitute};

/// What one recipe asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) suite: Option<SuiteRequest>,
    pub(super) base: Option<BaseRequest>,
    pub(super) sources: BTreeMap<Name, BTreeMap<Platform, Asked>>,
    pub(super) roots: BTreeMap<RootName, RootWanted>,
    pub(super) image: bool,
}

/// A source's request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The recipe's version, where the request holds it.
    pub(super) version: Option<String>,
    pub(super) request: Request,
}

/// A root's packages, before its suite's pin is known.
#[derive(Debug, Clone)]
pub(super) struct RootWanted {
    pub(super) suite: Name,
    pub(super) snapshot: String,
    /// As the lock's request has them.
    pub(super) packages: Vec<String>,
    /// Whether it makes things for the other machine than it is of.
    pub(super) is_cross: bool,
    /// The machines that there is such a root of.
    pub(super) archs: Vec<Arch>,
}

impl RootWanted {
    /// Lists the packages on a machine.
    pub(super) fn on(&self, arch: Arch) -> Vec<String> {
        if self.is_cross { Cross::packages_for(&self.packages, arch.other()) } else { self.packages.clone() }
    }
}

/// Reads a recipe's requests out of it.
pub(super) fn wanted(project: &Project, id: &Id) -> Result<Wanted, Error> {
    let mut wanted = Wanted::default();
    let root = |suite: &Name, packages: &[&[String]]| RootWanted {
        suite: suite.clone(),
        snapshot: project.suites[suite].snapshot.to_string(),
        packages: packages.concat().into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        is_cross: false,
        archs: Arch::ALL.to_vec(),
    };
    match id.role {
        Role::Suite => {
            let suite = &project.suites[&id.name];
            wanted.suite = Some(SuiteRequest {
                snapshot: suite.snapshot.to_string(),
                components: suite.components.clone(),
                pockets: suite.pockets.iter().map(|p| format!("{} {}", p.archive, p.suite)).collect(),
                keys: suite.keys.clone(),
            });
        }
        Role::Package => {
            let package = &project.packages[&id.name];
            // The project's own files are what they are, and a `Cargo.lock` is a lock already, but for git.
            let own = |source: &Source| source.local().is_some() || source.cargo_lock().is_some();
            for (name, source) in package.sources().filter(|(_, source)| !own(&source.fetch)) {
                let requests = requests(package, name, &source.fetch, &package.version)?;
                wanted.sources.insert(name.clone(), requests);
            }
            for repository in project.crates(package).iter().flat_map(|lock| lock.repositories()) {
                let request = repository.request().expect("it was asked for when the lock was read");
                let asked = BTreeMap::from([(Platform::All, Asked { version: None, request })]);
                wanted.sources.insert(repository.source_name(), asked);
            }
            let build = &package.build;
            let covered: Vec<_> =
                Arch::ALL.into_iter().filter(|arch| package.architecture.covers(*arch)).collect();
            let root = |suite: &Name, packages: &[&[String]]| RootWanted {
                archs: covered.clone(),
                ..root(suite, packages)
            };
            wanted.roots.insert(RootName::Build, root(&build.root, &[&build.packages]));
            if let Some(cross) = &build.cross {
                if let Some(packages) = &cross.packages {
                    let archs = covered.iter().rev().map(|target| target.other()).collect();
                    let tools = root(&build.root, &[packages]);
                    wanted.roots.insert(RootName::Cross, RootWanted { is_cross: true, archs, ..tools });
                }
                if !cross.libraries.is_empty() {
                    wanted.roots.insert(RootName::Target, root(&build.root, &[&cross.libraries]));
                }
            }
            if let Some(test) = package.test.as_ref().filter(|test| !test.packages.is_empty()) {
                wanted.roots.insert(RootName::Test, root(&build.root, &[&build.packages, &test.packages]));
            }
        }
        Role::Runtime => {}
        Role::Image => {
            wanted.image = true;
            let base = project.images[&id.name].base.as_ref();
            wanted.base =
                base.map(|base| BaseRequest { oci: base.oci.clone(), published: base.published.clone() });
            if let Some(system) = &project.images[&id.name].system {
                wanted.roots.insert(RootName::System, root(&system.suite, &[&system.packages]));
            }
        }
    }
    Ok(wanted)
}

/// Asks a source for its request on each platform; one for all where they are alike.
pub(super) fn requests(
    package: &Package,
    name: &Name,
    source: &Source,
    version: &str,
) -> Result<BTreeMap<Platform, Asked>, Error> {
    let mut by_arch = Vec::new();
    for arch in Arch::ALL.into_iter().filter(|arch| package.architecture.covers(*arch)) {
        let used = Cell::new(false);
        let value = |name: &str| {
            if name == "version" {
                used.set(true);
                return Some(version.to_owned());
            }
            package.variable(name, arch)
        };
        let request =
            source.request(arch, &|text| substitute(text, &value)).map_err(|reason| Error::Request {
                recipe: Id::new(Role::Package, &package.name),
                source_name: name.to_string(),
                reason,
            })?;
        by_arch.push((arch, Asked { version: used.get().then(|| version.to_owned()), request }));
    }
    let alike = by_arch.len() == Arch::ALL.len()
        && by_arch.iter().all(|(_, asked)| asked.request == by_arch[0].1.request);
    if alike {
        return Ok(BTreeMap::from([(Platform::All, by_arch.swap_remove(0).1)]));
    }
    Ok(by_arch.into_iter().map(|(arch, asked)| (arch.into(), asked)).collect())
}

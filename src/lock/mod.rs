//! What exactly is built: recipes and the pins in `lockfiles/` → [`Locked`].
//!
//! In goes a [`Project`]; out come its recipes together with their pins ([`load`]), or every way in which the two
//! don't fit, field by field. [`load`] never speaks to the network: a lock holds each request as it was answered,
//! so the difference is had by comparing. [`resolve()`] is the one place that asks the network: it keeps each pin
//! whose request is as it was and has the rest answered by a [`Resolver`], so that locking again without a change
//! changes nothing.
//!
//! One file a recipe, `lockfiles/<role>/<name>.toml` for `recipes/<role>/<name>.toml` (runtimes pin nothing and have
//! none), for all platforms, without times, hosts or mirrors:
//!
//! ```toml
//! version = 1
//! integrity = "sha256:…"           # of the text below: an edit by hand is noticed
//!
//! assembly = 1                     # images: the algorithm that makes the layers
//!
//! [suite.request]                  # suites: the recipe's keys
//! [suite.pin]                      # what the release files and indices are
//!
//! [base.request]                   # images: what they are built on
//! [base.pin]                       # its digest, and the platforms' where a registry was asked
//!
//! [source.crun.all.request]        # packages: a source, for `all` platforms or one by one
//! [source.crun.all.pin]
//!
//! [root.build.request]             # roots: `build`, `test`, `system`
//! suite = "bookworm"
//! snapshot = "20261120T000000Z"
//! release = "…"                    # hash of the suite's pin
//! packages = ["gcc", "make"]       # as wanted
//! [root.build.pin]
//! amd64 = ["debian:pool/main/a/acl/libacl1_2.3.1-3_amd64.deb 22608 sha256:…"]
//! ```
//!
//! A package whose source nobody publishes a hash for (`trust = "first-use"`) is locked when it is first asked for by
//! name or an image needs it: locking everything leaves it alone until then, and a new pin of it is told
//! ([`Trusted`]).
//!
//! A build plan takes [`Locked`] and never [`Project`], so nothing unpinned is built.

mod change;
mod difference;
mod error;
mod file;
mod from_diff;
mod resolve;
mod wanted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

pub use change::{Change, Step};
pub use difference::Difference;
pub use error::{Error, Stale, Unanswered};
pub use file::{BasePin, OciDigest, RootName, VERSION, path};
pub use from_diff::{concerned, files as changed_files};
pub use resolve::{Republished, Resolution, Resolver, Trusted, Update, resolve};

use crate::base::{Arch, Name, Sha256};
use crate::fetch::debian::{PackagePin, SuitePin};
use crate::fetch::{Pin, Request, cargo, oci};
pub use crate::image::ASSEMBLY;
use crate::recipe::{Id, Image, Package, Project, Role, Runtime, Suite};
use file::{File, Platform};

/// Recipes with everything pinned that they need.
#[derive(Debug, Clone)]
pub struct Locked {
    /// The suites.
    pub suites: BTreeMap<Name, LockedSuite>,
    /// The packages.
    pub packages: BTreeMap<Name, LockedPackage>,
    /// The runtimes; they pin nothing.
    pub runtimes: BTreeMap<Name, Runtime>,
    /// The images.
    pub images: BTreeMap<Name, LockedImage>,
    /// The version of every package of the project: images name them in their tags.
    pub versions: BTreeMap<Name, String>,
    /// The lock files that were read elsewhere than in `lockfiles/`.
    pub elsewhere: Elsewhere,
}

/// A suite at exactly known release files.
#[derive(Debug, Clone)]
pub struct LockedSuite {
    /// The recipe.
    pub recipe: Suite,
    /// Its release files and indices.
    pub pin: SuitePin,
}

/// A package whose sources and roots are exactly known.
#[derive(Debug, Clone)]
pub struct LockedPackage {
    /// The recipe.
    pub recipe: Package,
    /// The sources by name, without those that are the project's own files; the recipe has their order.
    pub sources: BTreeMap<Name, LockedSource>,
    /// What its `Cargo.lock` lists, if it names one.
    pub crates: Option<cargo::Lock>,
    /// What the build root consists of.
    pub build: LockedRoot,
    /// What the root of a cross build consists of, on the machine that builds; none if of the same as a build's.
    pub cross: Option<LockedRoot>,
    /// What the libraries of a cross build are, on the machine that it is for.
    pub target: Option<LockedRoot>,
    /// What the test's root consists of; none if the build's does.
    pub test: Option<LockedRoot>,
}

/// An image whose system is exactly known.
#[derive(Debug, Clone)]
pub struct LockedImage {
    /// The recipe.
    pub recipe: Image,
    /// The algorithm that assembles it.
    pub assembly: u32,
    /// What its first layer consists of.
    pub system: Option<LockedRoot>,
    /// What it is built on.
    pub base: Option<LockedBase>,
}

/// The image that another one is built on, exactly known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedBase {
    /// Where it is had.
    pub reference: oci::Reference,
    /// What it is.
    pub pin: BasePin,
}

impl LockedBase {
    /// Gives the manifest of a platform, or the index that has it.
    pub fn on(&self, arch: Arch) -> Sha256 {
        self.pin.platforms.get(&arch).map_or(self.pin.digest, |own| own.0)
    }
}

/// A source's request and pin on each platform.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedSource(BTreeMap<Platform, (Request, Pin)>);

impl LockedSource {
    /// Gives the request and the pin for a platform.
    pub fn on(&self, arch: Arch) -> (&Request, &Pin) {
        let found = self.0.get(&Platform::All).or_else(|| self.0.get(&arch.into()));
        let (request, pin) = found.expect("a lock that fits its recipe has every platform");
        (request, pin)
    }
}

/// The Debian packages of a root on each platform.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedRoot {
    /// The suite that they are from.
    pub suite: Name,
    /// The suite's moment, under which `snapshot.debian.org` keeps the packages.
    pub snapshot: String,
    packages: BTreeMap<Arch, Vec<PackagePin>>,
}

impl LockedRoot {
    /// Gives the packages on a platform, sorted.
    pub fn on(&self, arch: Arch) -> &[PackagePin] {
        self.packages.get(&arch).map_or(&[], Vec::as_slice)
    }
}

/// Lock files that stand elsewhere than in `lockfiles/`, by recipe.
pub type Elsewhere = BTreeMap<Id, PathBuf>;

/// Reads the locks of `targets` and all they need. Errs with every way in which a lock is missing or does not fit.
pub fn load(project: &Project, targets: &[Id], elsewhere: &Elsewhere) -> Result<Locked, Error> {
    let ids: Vec<_> = project.closure(targets).into_iter().collect();
    let files = open_all(project, &ids, elsewhere)?;
    let stale = stale(project, &ids, &files)?;
    if stale.is_empty() {
        Ok(Locked { elsewhere: elsewhere.clone(), ..locked(project, files) })
    } else {
        Err(Error::Stale(stale))
    }
}

fn stale(project: &Project, ids: &[Id], files: &BTreeMap<Id, Option<File>>) -> Result<Vec<Stale>, Error> {
    let mut stale = Vec::new();
    for id in ids {
        let differences = differences(project, id, files)?;
        if !differences.is_empty() {
            stale.push(Stale { recipe: id.clone(), differences });
        }
    }
    Ok(stale)
}

/// Compares the locks of `targets` with their recipes; with `all`, also finds locks whose recipe is gone, and passes
/// over what is locked at first use and has not been used.
pub fn check(project: &Project, targets: &[Id], all: bool) -> Result<(), Error> {
    let mut ids: Vec<_> = project.closure(targets).into_iter().collect();
    if all {
        ids.retain(|id| !is_unused(project, id));
    }
    let files = open_all(project, &ids, &Elsewhere::new())?;
    let mut stale = stale(project, &ids, &files)?;
    if all {
        stale.extend(resolve::orphans(project)?.into_iter().map(|(recipe, path)| {
            let file = path.display().to_string();
            Stale { recipe, differences: vec![Difference::NoRecipe(file)] }
        }));
    }
    if stale.is_empty() { Ok(()) } else { Err(Error::Stale(stale)) }
}

/// Leaves those of `targets` out that are locked at first use and have not been used.
pub fn used(project: &Project, targets: &[Id]) -> Vec<Id> {
    targets.iter().filter(|id| !is_unused(project, id)).cloned().collect()
}

/// Tells whether a recipe is locked at first use, has no lock yet and no image needs it.
fn is_unused(project: &Project, id: &Id) -> bool {
    let package = project.packages.get(&id.name).filter(|_| id.role == Role::Package);
    if !package.is_some_and(Package::is_trusted_on_first_use) || project.path().join(path(id)).exists() {
        return false;
    }
    let images: Vec<_> = project.images.keys().map(|name| Id::new(Role::Image, name)).collect();
    !project.closure(&images).contains(id)
}

/// The hash that a root's request names its suite's pin by.
fn suite_release(pin: &SuitePin) -> Sha256 {
    Sha256::of(&serde_json::to_vec(pin).expect("a pin has only strings as keys"))
}

fn differences(
    project: &Project,
    id: &Id,
    files: &BTreeMap<Id, Option<File>>,
) -> Result<Vec<Difference>, Error> {
    if id.role == Role::Runtime {
        return Ok(Vec::new());
    }
    let wanted = wanted::wanted(project, id)?;
    let release = |suite: &Name| {
        let file = files.get(&Id::new(Role::Suite, suite))?.as_ref()?;
        file.suite.as_ref().map(|suite| suite_release(&suite.pin))
    };
    difference::compare(project, id, &wanted, files.get(id).and_then(Option::as_ref), &release)
}

/// Reads the lock files of recipes, on a few threads where there are many.
fn open_all(
    project: &Project,
    ids: &[Id],
    elsewhere: &Elsewhere,
) -> Result<BTreeMap<Id, Option<File>>, Error> {
    let wanted: Vec<_> = ids.iter().filter(|id| id.role != Role::Runtime).collect();
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(4).min(wanted.len() / 4 + 1);
    let opened = Mutex::new(BTreeMap::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        while let Some(id) = wanted.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let file = file::open(project, id, elsewhere.get(*id));
            opened.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert((*id).clone(), file);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| _ = scope.spawn(work));
        work();
    });
    let (mut files, mut errors) = (BTreeMap::new(), Vec::new());
    for (id, file) in opened.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        match file {
            Ok(file) => _ = files.insert(id, file),
            Err(error) => errors.push(error),
        }
    }
    match errors.len() {
        0 => Ok(files),
        1 => Err(errors.remove(0)),
        _ => Err(Error::Several(errors)),
    }
}

/// Puts recipes and locks that fit them together.
fn locked(project: &Project, files: BTreeMap<Id, Option<File>>) -> Locked {
    let mut locked = Locked {
        suites: BTreeMap::new(),
        packages: BTreeMap::new(),
        runtimes: project.runtimes.clone(),
        images: BTreeMap::new(),
        versions: project.packages.iter().map(|(name, p)| (name.clone(), p.version.clone())).collect(),
        elsewhere: Elsewhere::new(),
    };
    for (id, file) in files {
        let Some(mut file) = file else { continue };
        let mut root = |name| {
            file.root.remove(&name).map(|entry: file::RootEntry| LockedRoot {
                suite: entry.request.suite,
                snapshot: entry.request.snapshot,
                packages: entry.pin,
            })
        };
        let (build, test, system) = (root(RootName::Build), root(RootName::Test), root(RootName::System));
        let (cross, target) = (root(RootName::Cross), root(RootName::Target));
        match id.role {
            Role::Suite => {
                let recipe = project.suites[&id.name].clone();
                locked
                    .suites
                    .extend(file.suite.map(|suite| (id.name, LockedSuite { recipe, pin: suite.pin })));
            }
            Role::Package => {
                let sources = file.source.into_iter().map(|(name, platforms)| {
                    let pins =
                        platforms.into_iter().map(|(platform, entry)| (platform, (entry.request, entry.pin)));
                    (name, LockedSource(pins.collect()))
                });
                let (recipe, sources) = (project.packages[&id.name].clone(), sources.collect());
                let crates = project.crates(&recipe).cloned();
                let package =
                    build.map(|build| LockedPackage { recipe, sources, crates, build, cross, target, test });
                locked.packages.extend(package.map(|package| (id.name, package)));
            }
            Role::Runtime => {}
            Role::Image => {
                let recipe = project.images[&id.name].clone();
                let assembly = file.assembly.unwrap_or(ASSEMBLY);
                let base = file.base.map(|base| LockedBase {
                    reference: base.request.oci.parse().expect("the recipe was checked, the lock fits it"),
                    pin: base.pin,
                });
                locked.images.insert(id.name, LockedImage { recipe, assembly, system, base });
            }
        }
    }
    locked
}

#[cfg(test)]
mod tests;

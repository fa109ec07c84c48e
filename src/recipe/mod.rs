//! What people want, as they wrote it: TOML below `recipes/` → [`Project`].
//!
//! In goes a project's folder; out come its recipes with every reference checked ([`load`]), or everything that is
//! wrong with them, each problem with its place and a suggestion. Nothing here is pinned: that is `lock`'s.
//! Never writes, never speaks to the network, reads no file outside the project.
//!
//! ```text
//! recipes/suites/NAME.toml      a Debian release at a moment            Suite
//! recipes/packages/NAME.toml    something fetched, built and tested     Package, Variant
//! recipes/runtimes/NAME.toml    a containerd runtime                    Runtime
//! recipes/images/NAME.toml      what is put into an image               Image
//! recipes/packages/…            files and folders beside recipes, named by them
//! patches/PACKAGE/…             patches, named by `build.patches`
//! ```
//!
//! A good recipe costs one pass of `serde`. Only when that fails is the document held against the [`schema()`] of
//! its type, which finds all faults at once, and places are looked up in the text by path (`document`), so that
//! the types carry no spans.

mod check;
mod crates;
mod document;
mod error;
mod expand;
mod image;
mod package;
mod references;
mod runtime;
mod schema;
mod substitute;
mod suite;
mod value;
mod variant;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub(crate) use error::near;
pub use error::{Error, Fault, Problem};
pub use image::{Base, Config, Image, Kubernetes, Layer, Node, Platform, System};
pub use package::{Architecture, Build, Cross, Limits, Package, PackageSource, Source, Sources, Test};
pub use runtime::{ExampleContainer, OptionValue, Runtime, TrialPod};
pub use schema::{schema, schemas};
pub use substitute::substitute;
pub use suite::{Pocket, Snapshot, Suite};
pub use value::{NotAValue, Size, Time};
pub use variant::Variant;

use crate::base::Name;
use crate::fetch::cargo;
use document::Document;

/// What a recipe is for; decides its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A Debian release at a moment.
    Suite,
    /// Something fetched and built.
    Package,
    /// A containerd runtime.
    Runtime,
    /// What is put into an image.
    Image,
}

impl Role {
    /// Every role; each may refer to those before it.
    pub const ALL: [Role; 4] = [Role::Suite, Role::Package, Role::Runtime, Role::Image];

    /// The folder below `recipes/` and `lockfiles/`.
    pub fn folder(self) -> &'static str {
        match self {
            Role::Suite => "suites",
            Role::Package => "packages",
            Role::Runtime => "runtimes",
            Role::Image => "images",
        }
    }

    /// The word for one of them.
    pub fn word(self) -> &'static str {
        self.folder().strip_suffix('s').expect("folders are plurals")
    }
}

/// Where the keys of upstreams lie that sign what they publish, by fingerprint.
pub const KEYS: &str = "recipes/keys";

/// Names one recipe of a project. Prints as `packages/crun`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The recipe's role.
    pub role: Role,
    /// The recipe's name, unique in its role.
    pub name: Name,
}

impl Id {
    /// Names a recipe.
    pub fn new(role: Role, name: &Name) -> Self {
        Self { role, name: name.clone() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role.folder(), self.name)
    }
}

/// The recipes of a project. Every reference between them leads somewhere, and none in a circle.
#[derive(Debug, Clone)]
pub struct Project {
    path: PathBuf,
    /// The suites.
    pub suites: BTreeMap<Name, Suite>,
    /// The packages.
    pub packages: BTreeMap<Name, Package>,
    /// The runtimes.
    pub runtimes: BTreeMap<Name, Runtime>,
    /// The images.
    pub images: BTreeMap<Name, Image>,
    crates: BTreeMap<Name, cargo::Lock>,
    documents: BTreeMap<Id, Document>,
}

/// Reads and checks all recipes of the project in `path`. Errs with everything that is wrong with them, sorted.
pub fn load(path: &Path) -> Result<Project, Error> {
    if !path.join("recipes").is_dir() {
        return Err(Error::NoProject(path.to_owned()));
    }
    let mut problems = Vec::new();
    let mut documents = BTreeMap::new();
    let suites = read_role(path, Role::Suite, parse, &mut documents, &mut problems)?;
    let packages = read_role(path, Role::Package, variant::parse, &mut documents, &mut problems)?;
    let packages = variant::resolve(packages, &documents, &mut problems);
    let runtimes = read_role(path, Role::Runtime, parse, &mut documents, &mut problems)?;
    let images = read_role(path, Role::Image, parse, &mut documents, &mut problems)?;
    let crates = crates::read(path, &packages, &mut problems)?;
    let project = Project { path: path.to_owned(), suites, packages, runtimes, images, crates, documents };
    references::check(&project, &mut problems);
    if problems.is_empty() {
        return Ok(project);
    }
    problems.sort_by(|a, b| (a.file(), a.span().start).cmp(&(b.file(), b.span().start)));
    Err(Error::Problems(problems))
}

/// Reads the recipes of one role. A recipe that can't be read leaves its problems and no entry.
fn read_role<T>(
    path: &Path,
    role: Role,
    parse: fn(&Document, Role) -> Result<T, Vec<Problem>>,
    documents: &mut BTreeMap<Id, Document>,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<Name, T>, Error> {
    let folder = path.join("recipes").join(role.folder());
    let mut recipes = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(recipes);
    }
    for entry in fs_err::read_dir(&folder).map_err(Error::Read)? {
        let file = entry.map_err(Error::Read)?.file_name();
        let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".toml")) else { continue };
        let Ok(name) = Name::new(name) else { continue };
        let bytes = fs_err::read(folder.join(&file)).map_err(Error::Read)?;
        let shown = format!("recipes/{}/{name}.toml", role.folder());
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).as_ref().into();
                problems.push(Document { file: shown, text }.problem(Fault::Encoding, at..at));
                continue;
            }
        };
        let document = Document { file: shown, text: text.into() };
        match parse(&document, role) {
            Ok(recipe) => _ = recipes.insert(name.clone(), recipe),
            Err(found) => problems.extend(found),
        }
        documents.insert(Id { role, name }, document);
    }
    Ok(recipes)
}

/// Reads a document as its role's type, or finds everything that is wrong with it.
fn parse<T: DeserializeOwned>(document: &Document, role: Role) -> Result<T, Vec<Problem>> {
    toml::from_str(&document.text).map_err(|error| document.faults(&schema::whole(role), &error))
}

impl Project {
    /// The project's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives what the `Cargo.lock` that a package names lists.
    pub fn crates(&self, package: &Package) -> Option<&cargo::Lock> {
        self.crates.get(package.recipe())
    }

    /// Goes through every recipe.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let suites = self.suites.keys().map(|name| Id::new(Role::Suite, name));
        let packages = self.packages.keys().map(|name| Id::new(Role::Package, name));
        let runtimes = self.runtimes.keys().map(|name| Id::new(Role::Runtime, name));
        let images = self.images.keys().map(|name| Id::new(Role::Image, name));
        suites.chain(packages).chain(runtimes).chain(images)
    }

    /// Tells whether a recipe exists.
    pub fn has(&self, id: &Id) -> bool {
        self.documents.contains_key(id)
    }

    /// The image that is built when no target is given.
    pub fn default_image(&self) -> Option<&Image> {
        self.images.values().find(|image| image.default)
    }

    /// Finds what to build: `NAME` is an image, else a package; `images/NAME` and `packages/NAME` say which. With no
    /// names, the default image.
    pub fn targets(&self, names: &[String]) -> Result<Vec<Id>, Error> {
        if names.is_empty() {
            let image = self.default_image().ok_or(Error::NoDefault)?;
            return Ok(vec![Id::new(Role::Image, &image.name)]);
        }
        names.iter().map(|name| self.target(name, &[Role::Image, Role::Package])).collect()
    }

    /// Finds what to lock: `NAME` is every recipe of that name; with no names, every recipe that is locked.
    pub fn lockable(&self, names: &[String]) -> Result<Vec<Id>, Error> {
        let roles = [Role::Image, Role::Package, Role::Suite];
        if names.is_empty() {
            return Ok(self.ids().filter(|id| roles.contains(&id.role)).collect());
        }
        let mut found = Vec::new();
        for name in names {
            found.push(self.target(name, &roles)?);
            found.extend(self.ids().filter(|id| roles.contains(&id.role) && id.name.as_str() == name));
        }
        Ok(found)
    }

    fn target(&self, name: &str, roles: &[Role]) -> Result<Id, Error> {
        let known: Vec<_> = self.ids().filter(|id| roles.contains(&id.role)).collect();
        let named = |role: &Role| known.iter().find(|id| id.role == *role && id.name.as_str() == name);
        let exact = known.iter().find(|id| id.to_string() == name);
        exact.or_else(|| roles.iter().find_map(named)).cloned().ok_or_else(|| Error::NoTarget {
            name: name.to_owned(),
            near: error::near(name, known.iter().map(|id| id.name.as_str())),
        })
    }

    /// Finds every recipe that `targets` need, themselves included, sorted.
    pub fn closure(&self, targets: &[Id]) -> std::collections::BTreeSet<Id> {
        let mut all = std::collections::BTreeSet::new();
        let mut open = targets.to_vec();
        while let Some(id) = open.pop() {
            if all.insert(id.clone()) {
                open.extend(references::needs(self, &id));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;

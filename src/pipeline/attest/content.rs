//! What is really in an image, out of its layers' trees and the steps that made them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Error;
use super::{RELEASE, materials};
use crate::attest::bill::{
    self, Bill, Component, ComponentId, How, Kind, Licence, Program, Release, purl_part,
};
use crate::base::{Arch, Digest, GuestPath, Sha256};
use crate::fetch::{Origin, oci};
use crate::image;
use crate::plan::{Fetch, ImageTarget, Part, Plan, RunKind, StepId, Work};
use crate::realise::{self, Care, Context, Outcome};
use crate::recipe::{Id, Project, Role};
use crate::store::{Node, Tree};

/// What dpkg's database is.
const DATABASE: &str = "/var/lib/dpkg/status";

pub(super) fn bill(
    plan: &Plan,
    project: &Project,
    target: &ImageTarget,
    digest: Sha256,
    created: &str,
    context: &Context<'_>,
) -> Result<Bill, Error> {
    let bill = Bill {
        reference: target.reference.clone(),
        digest,
        created: created.to_owned(),
        tool: RELEASE.to_owned(),
        components: Vec::new(),
        links: BTreeSet::new(),
    };
    let images: Vec<_> = target.images.iter().map(|(_, step)| *step).collect();
    let layers = layers_below(plan, &images);
    let outcome = realise::realise(plan, &layers, Care::Quick, context)?;
    let debs = debs(plan, &images);
    let mut content =
        Content { plan, project, outcome: &outcome, context, debs, roots: BTreeMap::new(), bill };
    for &(arch, step) in &target.images {
        content.image(step, arch, None)?;
    }
    Ok(content.bill)
}

/// Lists the trees of images and of what is inside them.
fn layers_below(plan: &Plan, images: &[StepId]) -> Vec<StepId> {
    let mut found = BTreeSet::new();
    for step in materials::below(plan, images) {
        if let Work::Image(assembly) = &plan.steps[step].work {
            for &layer in assembly.trees(&plan.steps[step].inputs) {
                found.insert(layer);
                if let Work::Layer { .. } = plan.steps[layer].work {
                    found.extend(&plan.steps[layer].inputs);
                    let packages = plan.steps[layer].inputs.iter();
                    found.extend(packages.flat_map(|package| roots(plan, *package)));
                }
                found.extend(placed(plan, layer));
            }
        }
    }
    found.into_iter().collect()
}

/// Lists the packages of recipes that a system's script had, and put into the system as it liked.
fn placed(plan: &Plan, layer: StepId) -> Vec<StepId> {
    match &plan.steps[layer].work {
        Work::Run(run) if !run.placed.is_empty() => plan.steps[layer].inputs[1..].to_vec(),
        _ => Vec::new(),
    }
}

/// Lists the Debian roots that a package was built in: what it has of them is in the image.
fn roots(plan: &Plan, package: StepId) -> Vec<StepId> {
    let Work::Run(_) = plan.steps[package].work else { return Vec::new() };
    let is_root = |step: &&StepId| match &plan.steps[**step].work {
        Work::Run(run) => run.kind == RunKind::System,
        Work::Beside { .. } => true,
        _ => false,
    };
    plan.steps[package].inputs.iter().filter(is_root).copied().collect()
}

/// Finds Debian packages by their files' names.
fn debs(plan: &Plan, images: &[StepId]) -> BTreeMap<String, (Sha256, Origin)> {
    let mut found = BTreeMap::new();
    for step in materials::below(plan, images) {
        if let Work::Fetch(Fetch::Debian { pin, snapshot }) = &plan.steps[step].work {
            found.insert(pin.file().to_owned(), (pin.sha256, pin.origin(snapshot)));
        }
    }
    found
}

/// Gives the package URL of a base image.
pub(super) fn base_purl(reference: &oci::Reference, digest: &Sha256) -> String {
    let repository = reference.repository();
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let tag = reference.tag().map(|tag| format!("&tag={}", purl_part(tag))).unwrap_or_default();
    format!(
        "pkg:oci/{name}@{}?repository_url={}/{repository}{tag}",
        purl_part(&digest.oci()),
        reference.registry()
    )
}

struct Content<'a> {
    plan: &'a Plan,
    project: &'a Project,
    outcome: &'a Outcome,
    context: &'a Context<'a>,
    debs: BTreeMap<String, (Sha256, Origin)>,
    /// Which package of a root brought which content.
    roots: BTreeMap<StepId, Root>,
    bill: Bill,
}

/// Whose release a Debian root is, and which of its packages brought which content.
type Root = (Release, BTreeMap<Digest, bill::Installed>);

/// A recipe's package in an image: the component, and the files that it brought.
type Brought = (ComponentId, Tree);

impl Content<'_> {
    /// Notes what is in one image; `whole` is the component that it is, none for the image itself.
    fn image(&mut self, step: StepId, arch: Arch, whole: Option<ComponentId>) -> Result<(), Error> {
        let Work::Image(assembly) = &self.plan.steps[step].work else {
            unreachable!("an image's step assembles it");
        };
        let inputs = &self.plan.steps[step].inputs;
        if assembly.based
            && let Work::Base { digest, reference, .. } = &self.plan.steps[inputs[0]].work
        {
            let base = self.bill.add(Component {
                kind: Kind::Image,
                name: reference.to_string(),
                purl: Some(base_purl(reference, digest)),
                sha256: Some(*digest),
                ..Component::default()
            });
            self.bill.link(whole, How::MadeOf, base);
        }
        let layers = assembly.trees(inputs);
        let layer = |step: &StepId| image::Layer {
            name: self.plan.steps[*step].labels[0].to_string(),
            tree: self.outcome.artifacts[step],
        };
        let trees: Vec<_> = layers.iter().map(layer).collect();
        let tree = image::union(self.context.store, &trees)?;
        let mut brought = Vec::new();
        for &step in layers {
            for package in placed(self.plan, step) {
                brought.push(self.package(package, whole)?);
            }
            let Work::Layer { parts } = &self.plan.steps[step].work else { continue };
            for (part, &input) in parts.iter().zip(&self.plan.steps[step].inputs) {
                match part {
                    Part::Package { .. } => brought.push(self.package(input, whole)?),
                    Part::Preload { .. } => self.preloaded(input, arch, whole)?,
                }
            }
        }
        let installed = self.installed(&tree, whole)?;
        self.programs(&tree, whole, &brought, &installed)
    }

    /// Notes an image inside the image.
    fn preloaded(&mut self, step: StepId, arch: Arch, whole: Option<ComponentId>) -> Result<(), Error> {
        let Work::Image(assembly) = &self.plan.steps[step].work else {
            unreachable!("an image's step assembles it");
        };
        let tree = self.context.store.tree(&self.outcome.artifacts[&step])?;
        let digest = image::digest(self.context.store, &tree)?;
        let (name, tag) = assembly.reference.rsplit_once(':').unwrap_or((&assembly.reference, ""));
        let inside = self.bill.add(Component {
            kind: Kind::Image,
            name: name.to_owned(),
            version: Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
            sha256: Some(digest.hash),
            ..Component::default()
        });
        self.bill.link(whole, How::Contains, inside);
        self.image(step, arch, Some(inside))
    }

    /// Notes what a recipe made, and what that was made of.
    fn package(&mut self, step: StepId, whole: Option<ComponentId>) -> Result<Brought, Error> {
        let id = &self.plan.steps[step].labels[0].recipe;
        let package = self.made_by(id);
        self.bill.link(whole, How::Contains, package);
        self.sources(step, id, package);
        let tree = self.context.store.tree(&self.outcome.artifacts[&step])?;
        self.copied(step, package, &tree)?;
        Ok((package, tree))
    }

    /// Notes the Debian packages that a build copied files out of, as images without dpkg are made: a library's flaws
    /// are the image's wherever it was put.
    fn copied(&mut self, step: StepId, package: ComponentId, tree: &Tree) -> Result<(), Error> {
        for root in roots(self.plan, step) {
            // A system's script may have a package that was not realised for its root.
            let Some(artifact) = self.outcome.artifacts.get(&root) else { continue };
            if !self.roots.contains_key(&root) {
                let content = self.content_of(&self.context.store.tree(artifact)?)?;
                self.roots.insert(root, content);
            }
            let (release, known) = &self.roots[&root];
            let whose = tree.files().filter_map(|(_, digest, _)| known.get(&digest));
            let found: BTreeMap<_, _> = whose.map(|one| (one.name.clone(), one.clone())).collect();
            let release = release.clone();
            for one in found.into_values() {
                let debian = self.debian(&one, &release);
                self.bill.link(Some(package), How::Contains, debian);
            }
        }
        Ok(())
    }

    /// Finds which content of a root is whose. What is short says little: an empty file is everybody's.
    fn content_of(&self, tree: &Tree) -> Result<Root, Error> {
        const SHORT: u64 = 256;
        let mut found = BTreeMap::new();
        let release = bill::release(&self.text(tree, "/etc/os-release")?.unwrap_or_default());
        let Some(status) = self.text(tree, DATABASE)? else { return Ok((release, found)) };
        let installed = self.read_installed(tree, &status)?;
        let owners = self.owners(tree, installed.iter().map(|one| (one.clone(), one.clone())))?;
        for (path, digest, _) in tree.files() {
            if digest.size >= SHORT
                && let Some(one) = owners.get(path.as_str())
            {
                found.entry(digest).or_insert_with(|| one.clone());
            }
        }
        Ok((release, found))
    }

    /// Notes a recipe's package.
    fn made_by(&mut self, id: &Id) -> ComponentId {
        let recipe = &self.project.packages[&id.name];
        self.bill.add(Component {
            kind: Kind::Package,
            name: id.name.to_string(),
            version: Some(recipe.version.clone()),
            licence: Licence::expression(&recipe.license),
            homepage: recipe.homepage.clone(),
            origin: Some(format!("made by recipes/packages/{}.toml", recipe.recipe())),
            ..Component::default()
        })
    }

    /// Follows a build's inputs to its sources; packages of recipes among them are inputs of their own.
    fn sources(&mut self, step: StepId, id: &Id, package: ComponentId) {
        for &input in &self.plan.steps[step].inputs {
            match &self.plan.steps[input].work {
                Work::Unpack { .. } | Work::Patch { .. } | Work::Crates { .. } => {
                    self.sources(input, id, package);
                }
                Work::Fetch(Fetch::Source { request, pin }) => {
                    let Some(origin) = request.origin(pin) else { continue };
                    let is_crate = origin.purl.as_deref().is_some_and(|purl| purl.starts_with("pkg:cargo/"));
                    let source = self.bill.add(Component {
                        kind: if is_crate { Kind::Library } else { Kind::Source },
                        name: origin.name,
                        version: origin.version,
                        // Both forms take no other places; a place in Debian's archive is one that mirrors have.
                        location: Some(&origin.uri).filter(|uri| uri.contains("://")).cloned(),
                        origin: Some(origin.uri).filter(|uri| uri.starts_with("debian:")),
                        purl: origin.purl,
                        sha256: Some(pin.sha256),
                        ..Component::default()
                    });
                    self.bill.link(Some(package), How::MadeOf, source);
                }
                Work::Run(_) => {
                    let label = &self.plan.steps[input].labels[0];
                    // A root is a part of the recipe that it is for.
                    if label.recipe.role == Role::Package && label.part.is_empty() && label.recipe != *id {
                        let component = self.made_by(&label.recipe);
                        self.bill.link(Some(package), How::MadeOf, component);
                        self.sources(input, &label.recipe, component);
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes what dpkg says is installed; gives the components by package.
    fn installed(
        &mut self,
        tree: &Tree,
        whole: Option<ComponentId>,
    ) -> Result<Vec<(bill::Installed, ComponentId)>, Error> {
        let mut found = Vec::new();
        let Some(status) = self.text(tree, DATABASE)? else { return Ok(found) };
        let release = bill::release(&self.text(tree, "/etc/os-release")?.unwrap_or_default());
        for one in self.read_installed(tree, &status)? {
            let component = self.debian(&one, &release);
            self.bill.link(whole, How::Contains, component);
            found.push((one, component));
        }
        Ok(found)
    }

    /// Notes a Debian package.
    fn debian(&mut self, one: &bill::Installed, release: &Release) -> ComponentId {
        let pin = self.debs.get(&one.file());
        self.bill.add(Component {
            kind: Kind::Debian,
            name: one.name.clone(),
            version: Some(one.version.clone()),
            purl: Some(one.purl(release)),
            licence: one.licence.clone(),
            sha256: pin.map(|(sha256, _)| *sha256),
            location: pin.map(|(_, origin)| origin.uri.clone()),
            homepage: one.homepage.clone(),
            origin: Some(format!("built from source package {} {}", one.source.0, one.source.1)),
        })
    }

    fn read_installed(&self, tree: &Tree, status: &str) -> Result<Vec<bill::Installed>, Error> {
        let lost = std::cell::RefCell::new(None);
        let copyright = |package: &str| {
            let text = self.text(tree, &format!("/usr/share/doc/{package}/copyright"));
            text.unwrap_or_else(|error| {
                *lost.borrow_mut() = Some(error);
                None
            })
        };
        let installed = bill::installed(status, &copyright);
        lost.into_inner().map_or(Ok(installed), Err)
    }

    /// Notes the programs that say what is in them, and all that a recipe made.
    fn programs(
        &mut self,
        tree: &Tree,
        whole: Option<ComponentId>,
        brought: &[Brought],
        installed: &[(bill::Installed, ComponentId)],
    ) -> Result<(), Error> {
        let mut owners: Option<BTreeMap<String, ComponentId>> = None;
        for (path, digest, meta) in tree.files() {
            if meta.mode & 0o111 == 0 {
                continue;
            }
            let file = self.context.store.open_blob(&digest)?;
            let said = bill::read_program(std::io::BufReader::new(file));
            let own = brought.iter().find(|(_, tree)| is_from(tree, &path, &digest));
            let own = own.map(|(component, _)| *component);
            if own.is_none() && said == Program::default() {
                continue;
            }
            let owner = match own {
                Some(own) => Some(own),
                None => {
                    if owners.is_none() {
                        owners = Some(self.owners(tree, installed.iter().cloned())?);
                    }
                    owners.as_ref().and_then(|owners| owners.get(path.as_str())).copied().or(whole)
                }
            };
            let file = self.bill.add(Component {
                kind: Kind::File,
                name: path.to_string(),
                sha256: Some(digest.hash),
                ..Component::default()
            });
            self.bill.link(owner, How::Contains, file);
            self.inside(file, &said);
        }
        Ok(())
    }

    /// Notes what a program says is in it.
    fn inside(&mut self, file: ComponentId, said: &Program) {
        let mut library = |kind: &str, name: &str, version: &str| {
            // A namespace keeps its slashes.
            let escaped: Vec<_> = name.split('/').map(purl_part).collect();
            let known = Some(version.to_owned()).filter(|version| version != "(devel)");
            let at = known.as_ref().map(|version| format!("@{}", purl_part(version))).unwrap_or_default();
            let library = self.bill.add(Component {
                kind: Kind::Library,
                name: name.to_owned(),
                version: known,
                purl: Some(format!("pkg:{kind}/{}{at}", escaped.join("/"))),
                ..Component::default()
            });
            self.bill.link(Some(file), How::Contains, library);
        };
        if let Some(go) = &said.go {
            library("golang", "stdlib", go);
        }
        for module in &said.modules {
            library("golang", &module.path, &module.version);
        }
        for one in said.crates.iter().filter(|one| !one.root) {
            library("cargo", &one.name, &one.version);
        }
    }

    /// Finds which Debian package brought which file, by dpkg's lists.
    fn owners<T: Clone>(
        &self,
        tree: &Tree,
        installed: impl Iterator<Item = (bill::Installed, T)>,
    ) -> Result<BTreeMap<String, T>, Error> {
        let mut owners = BTreeMap::new();
        for (package, owner) in installed {
            // Of what may be installed for several architectures (`Multi-Arch: same`) the name says which.
            for name in [package.name.clone(), format!("{}:{}", package.name, package.arch)] {
                let list = self.text(tree, &format!("/var/lib/dpkg/info/{name}.list"))?;
                for line in list.iter().flat_map(|list| list.lines()) {
                    // Where `/bin` leads to `/usr/bin`, dpkg's lists may name either.
                    if let Ok(path) = GuestPath::new(line)
                        && let Some((there, Node::File { .. })) = tree.follow(&path)
                    {
                        owners.insert(there.to_string(), owner.clone());
                    }
                }
            }
        }
        Ok(owners)
    }

    /// Reads a text of an image, links followed inside it.
    fn text(&self, tree: &Tree, path: &str) -> Result<Option<String>, Error> {
        let Ok(path) = GuestPath::new(path) else { return Ok(None) };
        match tree.follow(&path) {
            Some((_, Node::File { digest, .. })) => {
                let bytes = self.context.store.read_blob(digest)?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            _ => Ok(None),
        }
    }
}

/// Tells whether a package's result has a file at a path.
fn is_from(tree: &Tree, path: &GuestPath, digest: &Digest) -> bool {
    matches!(tree.get(path), Some(Node::File { digest: own, .. }) if own == digest)
}

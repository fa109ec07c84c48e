//! What a build leaves below `out/`.
//!
//! ```text
//! out/<image>/oci/              the image as an OCI layout; for several platforms it has an index
//! out/<image>/image.tar         the same as one file: docker-archive (of one platform) and OCI layout in one
//! out/<image>/*.yaml            a node's manifests
//! out/<image>/*.diff            what a node's configuration changes in the layers below
//! out/<image>/workloads/*.tar   images that the node's examples run
//! out/<image>/attest/           what is said about the image, see `pipeline/attest`
//! out/catalog.json              what the node images are
//! out/packages/<package>/       a package's result; `<package>@<arch>` for each of several platforms
//! ```

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use crate::base::event::{self, Activity, Event};
use crate::base::{Arch, Digest, GuestPath, Name};
use crate::export::Output;
use crate::plan::{ImageTarget, Plan, Target};
use crate::realise::{Context, Outcome};
use crate::recipe::{Id, Project};
use crate::store::{Node, Store};
use crate::{export, image, node};

/// A target that was built, and where it lies.
#[derive(Debug, Clone)]
pub struct Built {
    /// The recipe.
    pub recipe: Id,
    /// The tree in the store: for an image its OCI layout.
    pub tree: Digest,
    /// The image with what it is made from attached, as a layout has it; nothing for packages.
    pub layout: Option<Digest>,
    /// The folder below `out`.
    pub folder: PathBuf,
    /// The files and folders that a person wants, relative to `folder`.
    pub files: Vec<String>,
    /// Where else an image was brought.
    pub delivered: Vec<Delivered>,
    /// What an image is; nothing for packages. Of several platforms the one that stands for all where only one can.
    pub image: Option<(String, image::Summary)>,
    /// What an image is that is one for several platforms.
    pub index: Option<Index>,
    /// Whether all that lies in `folder` lay there already.
    pub unchanged: bool,
}

/// An image for several platforms.
#[derive(Debug, Clone)]
pub struct Index {
    /// The digest of the index, which is the image's.
    pub digest: Digest,
    /// The image for each.
    pub images: Vec<(Arch, image::Summary)>,
}

impl Built {
    /// Gives the digest by which an image is known.
    pub fn digest(&self) -> Option<Digest> {
        let one = self.image.as_ref().map(|(_, summary)| summary.manifest);
        self.index.as_ref().map(|index| index.digest).or(one)
    }
}

/// Where an image was brought that is no folder below `out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The place, for people.
    pub place: String,
    /// What was done.
    pub put: export::Put,
}

/// Writes a target's outputs that are not there yet, an image in each of the forms.
pub(super) fn write(
    plan: &Plan,
    target: &Target,
    outcome: &Outcome,
    out: &Path,
    forms: &[Box<dyn Output>],
    context: &Context<'_>,
) -> Result<Built, Error> {
    let store = context.store;
    let tree = outcome.artifacts[&target.step];
    let mut unchanged = true;
    let is_there = |shape, tree: &Digest, to: &Path| -> Result<bool, Error> {
        Ok(export::export(store, shape, tree, to, context.cancel)? == event::Outcome::Reused)
    };
    let Some(image) = &target.image else {
        let name = &target.recipe.name;
        // A target may be named twice.
        let mut same = plan.targets.iter().filter(|other| other.recipe == target.recipe);
        let is_one = same.all(|other| other.arch == target.arch);
        let folder = match target.arch.filter(|_| !is_one) {
            Some(arch) => out.join("packages").join(format!("{name}@{arch}")),
            None => out.join("packages").join(name.as_str()),
        };
        unchanged &= is_there(export::Shape::FILES, &tree, &folder)?;
        return Ok(Built {
            recipe: target.recipe.clone(),
            tree,
            layout: None,
            folder,
            files: Vec::new(),
            delivered: Vec::new(),
            image: None,
            index: None,
            unchanged,
        });
    };
    let folder = out.join(target.recipe.name.as_str());
    let (mut files, mut delivered) = (Vec::new(), Vec::new());
    // Whoever runs images here takes one platform's; files hold all.
    let (_, own) = image.main(plan.host);
    let own = outcome.artifacts.get(&own).copied().unwrap_or(tree);
    let referrer = super::closure::referrer(&target.recipe, image, store, context.cancel)?;
    let attached = image::attach(store, &store.tree(&tree)?, referrer.as_slice())?;
    for form in forms {
        let leaves = export::Image { tree: &own, attached, folder: &folder };
        let put = deliver(form.as_ref(), &leaves, image, context)?;
        match form.file() {
            Some(file) => {
                unchanged &= put.outcome == event::Outcome::Reused;
                files.push(file);
            }
            None => delivered.push(Delivered { place: form.name(), put }),
        }
    }
    for (name, step) in &image.workloads {
        let file = format!("workloads/{name}.tar");
        unchanged &= is_there(export::Shape::ARCHIVE, &outcome.artifacts[step], &folder.join(&file))?;
        files.push(file);
    }
    for (name, text) in &image.beside {
        unchanged &= !replace(&folder.join(name), text)?;
        files.push(name.clone());
    }
    if let Some(change) = &image.change {
        let text = artifact_text(store, &outcome.artifacts[change], node::CHANGE_FILE)?;
        unchanged &= !replace(&folder.join(node::CHANGE_FILE), &text)?;
        files.push(node::CHANGE_FILE.to_owned());
    }
    let index = index(target, image, outcome, store)?;
    let summary = image::read(store, &store.tree(&own)?)?;
    let image = Some((image.reference.clone(), summary));
    let layout = Some(attached.layout);
    Ok(Built {
        recipe: target.recipe.clone(),
        tree,
        layout,
        folder,
        files,
        delivered,
        image,
        index,
        unchanged,
    })
}

/// Says what an image for several platforms is.
fn index(
    target: &Target,
    image: &ImageTarget,
    outcome: &Outcome,
    store: &Store,
) -> Result<Option<Index>, Error> {
    if image.images.iter().any(|(_, step)| *step == target.step) {
        return Ok(None);
    }
    let tree = |step| -> Result<_, Error> { Ok(store.tree(&outcome.artifacts[step])?) };
    let mut images = Vec::new();
    for (arch, step) in &image.images {
        images.push((*arch, image::read(store, &tree(step)?)?));
    }
    Ok(Some(Index { digest: image::digest(store, &tree(&target.step)?)?, images }))
}

/// Reads a file of an artifact that nodeimg made of text.
fn artifact_text(store: &Store, tree: &Digest, name: &str) -> Result<String, Error> {
    let tree = store.tree(tree)?;
    let path = GuestPath::root().join(&Name::new(name).expect("a constant name"));
    let Some(Node::File { digest, .. }) = tree.get(&path) else { panic!("`{name}` is what the step makes") };
    Ok(String::from_utf8(store.read_blob(digest)?).expect("it was a string"))
}

/// Brings an image to a place, and tells of it where that takes long.
fn deliver(
    form: &dyn Output,
    image: &export::Image<'_>,
    target: &ImageTarget,
    context: &Context<'_>,
) -> Result<export::Put, Error> {
    if form.file().is_some() {
        return Ok(form.put(context.store, image, context.cancel)?);
    }
    let id = event::next_id();
    let name = format!("{} into {}", target.reference, form.name());
    context.events.emit(Event::Started { id, kind: Activity::Load, name, total: None });
    let done = form.put(context.store, image, context.cancel);
    let outcome = done.as_ref().map_or(event::Outcome::Failed, |put| put.outcome);
    context.events.emit(Event::Finished { id, outcome, detail: String::new() });
    Ok(done?)
}

/// Writes a small file in one step, unless it says the same; tells whether it was written.
pub(super) fn replace(path: &Path, text: &str) -> Result<bool, Error> {
    if fs_err::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(false);
    }
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".nodeimg-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| export::Error::Io { action: "write", path: path.to_owned(), source })?;
    Ok(true)
}

/// Keeps what a project's targets are from being collected.
pub(super) fn keep(plan: &Plan, outcome: &Outcome, project: &Project, store: &Store) -> Result<(), Error> {
    let path = fs_err::canonicalize(project.path()).unwrap_or_else(|_| project.path().to_owned());
    let kept: Vec<Digest> = plan.wanted().iter().map(|step| outcome.artifacts[step]).collect();
    Ok(store.keep(&path.display().to_string(), &kept)?)
}

//! What an image is made from: the recipes, locks and patches that it needs, and no others.
//!
//! A built image carries it as an OCI referrer ([`ARTIFACT`]), so that the image alone is enough to make it again:
//! an archive in the order of a project's folder, its times the epoch. The image's digest does not depend on it.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use crate::base::{Cancel, Digest, GuestPath};
use crate::image::{self, Referrer};
use crate::lock::Elsewhere;
use crate::plan::ImageTarget;
use crate::recipe::{Id, KEYS, Project, Role};
use crate::store::{Meta, Node, Owners, Store, Tree};

/// The kind of the referrer.
pub const ARTIFACT: &str = "application/vnd.nodeimg.project.v1";

/// The media type of its blob.
pub const MEDIA_TYPE: &str = "application/vnd.nodeimg.project.v1.tar+gzip";

/// The annotation that says which recipe the image is of, such as `images/kind-wasmtime-debian`.
pub const TARGET: &str = "vnd.nodeimg.target";

/// The annotation that lists the platforms that it was made for, such as `linux/amd64,linux/arm64`.
pub const PLATFORMS: &str = "vnd.nodeimg.platforms";

/// The files of some recipes and of all they need, relative to a project's folder.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Files; a lock may not be there.
    pub files: BTreeSet<String>,
    /// Folders, with all that is in them; those of recipes' names may not be there.
    pub folders: BTreeSet<String>,
}

/// Lists what a project's targets need.
pub(super) fn paths(project: &Project, targets: &[Id]) -> Paths {
    let mut paths = Paths::default();
    for id in project.closure(targets) {
        let package = project.packages.get(&id.name).filter(|_| id.role == Role::Package);
        // A variant's other half is no input of it.
        let whole = package.map(|package| Id::new(Role::Package, package.recipe()));
        for id in [Some(&id), whole.as_ref()].into_iter().flatten() {
            paths.files.insert(format!("recipes/{id}.toml"));
            if id.role != Role::Runtime {
                paths.files.insert(format!("lockfiles/{id}.toml"));
            }
            paths.folders.insert(format!("recipes/{id}"));
        }
        if let Some(package) = package {
            let patch = |name| format!("patches/{}/{name}", package.recipe());
            paths.files.extend(package.build.patches.iter().map(patch));
            let local = package.sources().filter_map(|(_, source)| source.fetch.local());
            paths.folders.extend(local.map(|local| format!("recipes/packages/{}", local.path)));
            let crates = package.sources().filter_map(|(_, source)| source.fetch.cargo_lock());
            paths.files.extend(crates.map(|path| format!("recipes/packages/{path}")));
            let signed = package.sources().filter_map(|(_, source)| source.fetch.signature());
            paths.files.extend(signed.map(|signature| format!("{KEYS}/{}", signature.key_file())));
        }
        if let Some(suite) = project.suites.get(&id.name).filter(|_| id.role == Role::Suite) {
            paths.files.extend(suite.keys.iter().map(|key| format!("recipes/suites/{key}")));
        }
    }
    paths
}

/// Takes all that a target needs of a project into the store, as a tree.
fn take_in(project: &Project, target: &Id, elsewhere: &Elsewhere, store: &Store) -> Result<Digest, Error> {
    let others: BTreeMap<String, _> =
        elsewhere.iter().map(|(id, path)| (format!("lockfiles/{id}.toml"), path)).collect();
    let Paths { files, folders } = paths(project, std::slice::from_ref(target));
    let mut tree = Tree::default();
    let mut put = |path: &str, node: Node| {
        let path = GuestPath::new(&format!("/{path}"));
        // A recipe's checked paths are paths, and a file that stands where another's folder is can't be on a disk.
        path.ok().and_then(|path| tree.insert(&path, node).ok());
    };
    for folder in folders {
        let path = project.path().join(&folder);
        if path.is_dir() {
            let mut dir = store.ingest(&path, Owners::AllRoot)?;
            super::files::plain(&mut dir);
            put(&folder, Node::Dir(dir));
        }
    }
    for file in files {
        let path = others.get(&file).map_or_else(|| project.path().join(&file), |path| (*path).clone());
        match fs_err::read(&path) {
            Ok(bytes) => put(&file, Node::File { digest: store.put_bytes(&bytes)?, meta: Meta::root(0o644) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(crate::recipe::Error::Read(error).into()),
        }
    }
    Ok(store.put_tree(&tree)?)
}

/// Takes all that each image among some targets needs into the store.
pub(super) fn take_in_all(
    project: &Project,
    targets: &[Id],
    elsewhere: &Elsewhere,
    store: &Store,
) -> Result<BTreeMap<Id, Digest>, Error> {
    let images = targets.iter().filter(|id| id.role == Role::Image);
    images.map(|image| Ok((image.clone(), take_in(project, image, elsewhere, store)?))).collect()
}

/// Makes the referrer of what [`take_in`] took; none of a plan that was made without.
pub(super) fn referrer(
    recipe: &Id,
    image: &ImageTarget,
    store: &Store,
    cancel: &Cancel,
) -> Result<Option<Referrer>, Error> {
    let Some(project) = &image.project else { return Ok(None) };
    let platforms: Vec<String> = image.images.iter().map(|(arch, _)| arch.platform()).collect();
    Ok(Some(Referrer {
        artifact_type: ARTIFACT.to_owned(),
        media_type: MEDIA_TYPE.to_owned(),
        blob: image::tarball(store, project, cancel)?,
        annotations: BTreeMap::from([
            (TARGET.to_owned(), recipe.to_string()),
            (PLATFORMS.to_owned(), platforms.join(",")),
        ]),
    }))
}

//! The project's own files: patches and folders beside recipes, taken into the store.

use super::Error;
use crate::plan::Files;
use crate::recipe::{Id, Project, Role};
use crate::store::{Dir, Meta, Node, Owners, Store};
use crate::unpack::patch;

/// Reads every file of the project that the targets' packages name.
pub(super) fn take_in(project: &Project, targets: &[Id], store: &Store) -> Result<Files, Error> {
    let mut files = Files::default();
    for id in project.closure(targets).iter().filter(|id| id.role == Role::Package) {
        let package = &project.packages[&id.name];
        for name in &package.build.patches {
            let shown = format!("patches/{}/{name}", package.recipe());
            let text = patch::load(&project.path().join(&shown), &shown)?;
            files.patches.insert((id.name.clone(), name.clone()), store.put_bytes(&text)?);
        }
        for (name, source) in package.sources() {
            let Some(local) = source.fetch.local() else { continue };
            let path = project.path().join("recipes").join(Role::Package.folder()).join(local.path);
            let mut tree = store.ingest(&path, Owners::AllRoot)?;
            plain(&mut tree);
            files.folders.insert((id.name.clone(), name.clone()), store.put_tree(&tree)?);
        }
    }
    Ok(files)
}

/// Gives files the modes that git keeps: a checkout's others are the umask's.
pub(super) fn plain(dir: &mut Dir) {
    dir.meta = Dir::ORDINARY;
    for node in dir.entries.values_mut() {
        match node {
            Node::File { meta, .. } => {
                *meta = Meta::root(if meta.mode & 0o100 == 0 { 0o644 } else { 0o755 });
            }
            Node::Dir(child) => plain(child),
            Node::Symlink { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_checkouts_umask_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let tree = |umask: u32| {
            let path = folder.path().join(format!("project-{umask:o}"));
            fs_err::create_dir_all(path.join("sub")).unwrap();
            for (name, mode) in [("sub/plain", 0o666), ("program", 0o777), ("", 0o777), ("sub", 0o777)] {
                let file = path.join(name);
                if !file.is_dir() {
                    fs_err::write(&file, "text").unwrap();
                }
                fs_err::set_permissions(&file, std::fs::Permissions::from_mode(mode & !umask)).unwrap();
            }
            let mut tree = store.ingest(&path, Owners::AllRoot).unwrap();
            plain(&mut tree);
            store.put_tree(&tree).unwrap()
        };
        assert_eq!(tree(0o022), tree(0o077));
        assert_eq!(tree(0o022), tree(0o002));
    }
}

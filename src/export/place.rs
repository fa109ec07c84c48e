//! Outputs that are written beside their place and moved there in one step.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, RenameFlags};
use rustix::io::Errno;

use super::error::At;
use super::pour;
use super::stamp::beside;
use super::{Error, Form};
use crate::base::{Cancel, Digest};
use crate::store::{Store, Tree};

/// Refuses a place that holds something which is not nodeimg's to replace.
pub(super) fn check(form: Form, to: &Path) -> Result<(), Error> {
    let in_the_way = |what| Err(Error::InTheWay { path: to.to_owned(), what });
    let stamp = beside(to, "nodeimg")?;
    match (kind(to)?, form) {
        (None, _) => Ok(()),
        (Some(kind), Form::Archive) if kind.is_file() => Ok(()),
        (Some(_), Form::Archive) => in_the_way("no regular file"),
        (Some(kind), _) if !kind.is_dir() => in_the_way("no directory"),
        _ if kind(&stamp)?.is_some() || fs_err::read_dir(to).at("read", to)?.next().is_none() => Ok(()),
        (_, Form::OciLayout) if kind(&to.join("oci-layout"))?.is_some() => Ok(()),
        (_, Form::OciLayout) => in_the_way("a directory with other things in it and no OCI image layout"),
        (_, Form::Files) => in_the_way("a directory with things in it that nodeimg did not write"),
    }
}

/// Writes an image as one file.
pub(super) fn archive(store: &Store, image: &Tree, to: &Path, cancel: &Cancel) -> Result<(), Error> {
    let new = fresh(to)?;
    let write = || {
        let file = fs_err::File::create_new(&new).at("create", &new)?;
        pour::archive(store, image, file.file(), to, cancel)?;
        fs_err::rename(&new, to).at("write", to)
    };
    write().inspect_err(|_| discard(&new))
}

/// Copies a tree's files; a directory that nodeimg wrote gives way as a whole.
pub(super) fn files(store: &Store, tree: &Digest, to: &Path) -> Result<(), Error> {
    let there = kind(to)?;
    let new = fresh(to)?;
    let write = || {
        store.copy_out(tree, &new)?;
        let swap = if there.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(CWD, &new, CWD, to, swap) {
            // A file system that can't: the place is empty for a moment.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if there.is_some() {
                    Store::remove_tree(to)?;
                }
                rustix::fs::rename(&new, to).at("write", to)
            }
            other => other.at("write", to),
        }
    };
    let written = write();
    discard(&new);
    written
}

/// The place for a new output, empty.
fn fresh(to: &Path) -> Result<PathBuf, Error> {
    let new = beside(to, "new")?;
    match kind(&new)? {
        None => {}
        Some(kind) if kind.is_dir() => Store::remove_tree(&new)?,
        Some(_) => fs_err::remove_file(&new).at("remove", &new)?,
    }
    Ok(new)
}

/// Removes what is left beside the output; what resists is removed next time.
fn discard(new: &Path) {
    match kind(new) {
        Ok(Some(kind)) if kind.is_dir() => drop(Store::remove_tree(new)),
        Ok(Some(_)) => drop(fs_err::remove_file(new)),
        _ => {}
    }
}

fn kind(path: &Path) -> Result<Option<FileType>, Error> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::from_io("read", path, error.into())),
    }
}

//! Outputs on disk: what stands at a place is replaced as a whole, once it is nodeimg's to replace.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::At;
use super::stamp::{self, Stamp, beside};
use super::{Error, Image, Opened, Output, Put};
use crate::base::event::Outcome;
use crate::base::{Cancel, Digest};
use crate::image::Attached;
use crate::store::Store;

/// How a tree lies on disk.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Its name in stamps.
    pub(super) name: &'static str,
    /// Refuses a place that holds something which is not nodeimg's to replace.
    pub(super) check: fn(&Path) -> Result<(), Error>,
    /// Writes the tree so that the place is the old output or the new one, whenever this ends.
    pub(super) write: fn(&Store, &Digest, &Path, &Cancel) -> Result<(), Error>,
}

/// Writes a tree to a place, unless it is there.
///
/// Makes the folders above. Another process that writes the same place is waited for.
pub fn export(
    store: &Store,
    shape: Shape,
    digest: &Digest,
    to: &Path,
    cancel: &Cancel,
) -> Result<Outcome, Error> {
    if is_current(shape, digest, to) {
        return Ok(Outcome::Reused);
    }
    (shape.check)(to)?;
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent).at("create", parent)?;
    }
    let mut stamp = Stamp::hold(to, cancel)?;
    if is_current(shape, digest, to) {
        return Ok(Outcome::Reused);
    }
    stamp.clear()?;
    (shape.write)(store, digest, to, cancel)?;
    stamp.set(shape.name, digest, to)?;
    Ok(Outcome::Done)
}

/// Tells whether a place holds a tree in a shape, as it was written. Needs no store.
pub fn is_current(shape: Shape, digest: &Digest, to: &Path) -> bool {
    stamp::is_current(shape.name, digest, to)
}

/// An image on disk: at a place that was asked for, or under its usual name in the image's folder.
#[derive(Debug)]
struct OnDisk {
    shape: Shape,
    tree: fn(&Attached) -> &Digest,
    usual: &'static str,
    asked: Option<PathBuf>,
}

/// Opens a form of images on disk.
pub(super) fn open(
    shape: Shape,
    tree: fn(&Attached) -> &Digest,
    usual: &'static str,
    place: Option<&str>,
) -> Opened {
    Ok(Box::new(OnDisk { shape, tree, usual, asked: place.map(PathBuf::from) }))
}

impl Output for OnDisk {
    fn name(&self) -> String {
        self.asked.as_ref().map_or_else(|| self.usual.to_owned(), |path| path.display().to_string())
    }

    fn file(&self) -> Option<String> {
        self.asked.is_none().then(|| self.usual.to_owned())
    }

    fn holds_one(&self) -> bool {
        self.asked.is_some()
    }

    fn put(&self, store: &Store, image: &Image<'_>, cancel: &Cancel) -> Result<Put, Error> {
        let to = self.asked.clone().unwrap_or_else(|| image.folder.join(self.usual));
        let outcome = export(store, self.shape, (self.tree)(&image.attached), &to, cancel)?;
        Ok(Put { outcome, sent: None })
    }
}

/// Gives the place for a new output, empty.
pub(super) fn fresh(to: &Path) -> Result<PathBuf, Error> {
    let new = beside(to, "new")?;
    match kind(&new)? {
        None => {}
        Some(kind) if kind.is_dir() => Store::remove_tree(&new)?,
        Some(_) => fs_err::remove_file(&new).at("remove", &new)?,
    }
    Ok(new)
}

/// Removes what is left beside the output; what resists is removed next time.
pub(super) fn discard(new: &Path) {
    match kind(new) {
        Ok(Some(kind)) if kind.is_dir() => drop(Store::remove_tree(new)),
        Ok(Some(_)) => drop(fs_err::remove_file(new)),
        _ => {}
    }
}

/// Tells what stands at a path, without following a link.
pub(super) fn kind(path: &Path) -> Result<Option<FileType>, Error> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::from_io("read", path, error.into())),
    }
}

/// Refuses what is no directory. Tells whether the directory is free: absent, empty, or nodeimg's by its stamp.
pub(super) fn is_free_directory(to: &Path) -> Result<bool, Error> {
    let stamp = beside(to, "nodeimg")?;
    match kind(to)? {
        None => Ok(true),
        Some(kind) if !kind.is_dir() => Err(in_the_way(to, "no directory")),
        Some(_) => Ok(kind(&stamp)?.is_some() || fs_err::read_dir(to).at("read", to)?.next().is_none()),
    }
}

pub(super) fn in_the_way(to: &Path, what: &'static str) -> Error {
    Error::InTheWay { path: to.to_owned(), what }
}

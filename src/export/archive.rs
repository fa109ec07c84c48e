//! An image as one file: OCI archive and docker-archive in one.

use std::path::Path;

use super::error::At;
use super::place::{self, Shape, discard, fresh, in_the_way, kind};
use super::stamp::beside;
use super::{Error, Form};
use crate::base::{Cancel, Digest};
use crate::image;
use crate::store::Store;

pub(super) const FORM: Form = Form {
    name: "archive",
    place: "FILE",
    about: "one file: docker-archive and OCI archive",
    open: |place, _| place::open(Shape::ARCHIVE, |image| &image.archive, "image.tar", place),
};

impl Shape {
    /// An image as one file: OCI archive and docker-archive in one.
    pub const ARCHIVE: Shape = Shape { name: "archive", check, write };
}

fn check(to: &Path) -> Result<(), Error> {
    beside(to, "nodeimg")?;
    match kind(to)? {
        Some(kind) if !kind.is_file() => Err(in_the_way(to, "no regular file")),
        _ => Ok(()),
    }
}

fn write(store: &Store, image: &Digest, to: &Path, cancel: &Cancel) -> Result<(), Error> {
    let tree = store.tree(image)?;
    let new = fresh(to)?;
    let write = || {
        let file = fs_err::File::create_new(&new).at("create", &new)?;
        image::archive(store, &tree, file.file(), cancel).map_err(|error| Error::from_image(error, to))?;
        fs_err::rename(&new, to).at("write", to)
    };
    write().inspect_err(|_| discard(&new))
}

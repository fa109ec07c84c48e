//! Blobs into files.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::Error;
use super::error::At;
use crate::base::{Cancel, Digest};
use crate::image;
use crate::store::{Store, Tree};

const BUFFER: usize = 256 << 10;

/// Copies a blob into a file, verified.
pub(super) fn pour(
    store: &Store,
    digest: &Digest,
    mut to: &File,
    path: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    let mut blob = store.verified_reader(digest)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match blob.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).at("write", path)?,
            Err(error) => return Err(Error::from_blob(error, path)),
        }
    }
}

/// Writes an image's archive into a file.
pub(super) fn archive(
    store: &Store,
    tree: &Tree,
    to: &File,
    path: &Path,
    cancel: &Cancel,
) -> Result<(), Error> {
    image::archive(store, tree, to, cancel).map_err(|error| Error::from_image(error, path))
}

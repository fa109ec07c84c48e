//! What was made leaves the program.
//!
//! In go a tree of the store, a [`Form`] and a place; afterwards the place holds the tree in that form, whole.
//! What was there is replaced in one step, if nodeimg wrote it. An output that is as it was written is not
//! written again, and seeing that takes a few calls of `lstat`.
//!
//! ```text
//! out/x              the output: a file or a directory
//! out/.x.nodeimg     its stamp: which tree in which form, and what the files looked like
//! out/.x.new         while it is being written
//! ```
//!
//! A directory that holds something and has no stamp is somebody else's and stays; an OCI image layout is an
//! exception, so that an interrupted export can be done again.
//!
//! [`docker`] leaves an image in a Docker engine instead.
//!
//! Never: a link followed below the place, content read to find out whether it is current.

pub mod docker;
mod error;
mod layout;
mod place;
mod pour;
mod stamp;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::event::Outcome;
use crate::base::{Cancel, Digest};
use crate::store::Store;
use error::At;
use stamp::Stamp;

pub use error::Error;

/// The forms that a tree can leave in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// An image as an OCI image layout, a directory.
    OciLayout,
    /// An image as one file: OCI archive and docker-archive in one.
    Archive,
    /// The tree's files as they are, a directory.
    Files,
}

/// Writes a tree to a place, unless it is there.
///
/// Makes the folders above. Another process that writes the same place is waited for.
pub fn export(
    store: &Store,
    form: Form,
    digest: &Digest,
    to: &Path,
    cancel: &Cancel,
) -> Result<Outcome, Error> {
    if is_current(form, digest, to) {
        return Ok(Outcome::Reused);
    }
    place::check(form, to)?;
    if let Some(parent) = to.parent() {
        fs_err::create_dir_all(parent).at("create", parent)?;
    }
    let mut stamp = Stamp::hold(to, cancel)?;
    if is_current(form, digest, to) {
        return Ok(Outcome::Reused);
    }
    let tree = store.tree(digest)?;
    stamp.clear()?;
    match form {
        Form::OciLayout => layout::write(store, &tree, to, cancel)?,
        Form::Archive => place::archive(store, &tree, to, cancel)?,
        Form::Files => place::files(store, digest, to)?,
    }
    stamp.set(form, digest, to)?;
    Ok(Outcome::Done)
}

/// Tells whether a place holds a tree in a form, as it was written. Needs no store.
pub fn is_current(form: Form, digest: &Digest, to: &Path) -> bool {
    stamp::is_current(form, digest, to)
}

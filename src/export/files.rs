//! A tree's files as they are: what a package leaves.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::Error;
use super::error::At;
use super::place::{Shape, discard, fresh, in_the_way, is_free_directory, kind};
use crate::base::{Cancel, Digest};
use crate::store::Store;

impl Shape {
    /// The tree's files as they are, a directory.
    pub const FILES: Shape = Shape { name: "files", check, write };
}

fn check(to: &Path) -> Result<(), Error> {
    if is_free_directory(to)? {
        return Ok(());
    }
    Err(in_the_way(to, "a directory with things in it that nodeimg did not write"))
}

/// Copies the files; a directory that nodeimg wrote gives way as a whole.
fn write(store: &Store, tree: &Digest, to: &Path, _: &Cancel) -> Result<(), Error> {
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

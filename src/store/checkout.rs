//! Checkouts: trees as directories, made once and shared read-only.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::error::At;
use super::lock::{Wait, flock};
use super::place::{Files, is_intact, place};
use super::scratch::{list, remove_tree};
use super::{Error, Store, open_dir, touch};
use crate::base::{Digest, Sha256};

/// A tree as a directory, for reading only: its files are the store's own. GC leaves it alone until dropped.
#[derive(Debug)]
pub struct Checkout {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Checkout {
    /// Tells where the tree's root is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Gives a tree as a directory, and makes it if need be.
    ///
    /// Files of mode 0644 and 0755 that root owns are links to their blobs; others are copies, with the
    /// recorded owner as an attribute ([`super::OWNER_ATTRIBUTE`]). A blob that is not in the store is
    /// [`Error::Missing`].
    pub fn checkout(&self, digest: &Digest) -> Result<Checkout, Error> {
        let place = self.path.join("checkouts").join(digest.hash.to_string());
        if let Some(checkout) = self.existing(digest, &place)? {
            return Ok(checkout);
        }
        let tree = self.tree(digest)?;
        let key = Sha256::of(format!("checkout {digest}").as_bytes());
        let _alone = self.lock_action(&key, &mut || ())?;
        if let Some(checkout) = self.existing(digest, &place)? {
            return Ok(checkout);
        }
        let work = self.scratch()?;
        let making = work.path().join("checkout");
        let root = making.join("root");
        rustix::fs::mkdir(&making, Mode::RWXU).at("create", &making)?;
        rustix::fs::mkdir(&root, Mode::RWXU).at("create", &root)?;
        super::place::place(self, &tree, &root, Files::Linked)?;
        if let Some(boot) = &self.boot {
            fs_err::write(making.join("boot"), boot).at("write", &making)?;
        }
        let lock = open_dir(rustix::fs::CWD, &making).at("open", &making)?;
        flock(&lock, Wait::Shared).at("lock", &making)?;
        if fs_err::symlink_metadata(&place).is_ok() {
            // A stale one: whoever still uses it keeps its open directories.
            let aside = work.path().join("stale");
            rustix::fs::rename(&place, &aside).at("remove", &place)?;
        }
        rustix::fs::rename(&making, &place).at("create", &place)?;
        self.inspected.lock().expect("no thread panics with it").insert(*digest);
        Ok(Checkout { path: place.join("root"), _lock: lock })
    }

    /// A checkout that is there, of this boot, and that nobody wrote to.
    fn existing(&self, digest: &Digest, place: &Path) -> Result<Option<Checkout>, Error> {
        let lock = match open_dir(rustix::fs::CWD, place) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.at("open", place)?,
        };
        flock(&lock, Wait::Shared).at("lock", place)?;
        let boot = fs_err::read_to_string(place.join("boot")).ok();
        if boot.is_none() || boot != self.boot {
            return Ok(None);
        }
        let path = place.join("root");
        // Once for each process: the sandbox lets nobody write to it, so only others could have.
        let known = self.inspected.lock().expect("no thread panics with it").contains(digest);
        if !known {
            if !is_intact(&self.tree(digest)?, &path) {
                return Ok(None);
            }
            self.inspected.lock().expect("no thread panics with it").insert(*digest);
        }
        touch(place);
        Ok(Some(Checkout { path, _lock: lock }))
    }

    /// Copies a tree into a new or empty directory. The copy shares nothing with the store.
    pub fn copy_out(&self, digest: &Digest, dest: &Path) -> Result<(), Error> {
        let tree = self.tree(digest)?;
        match rustix::fs::mkdir(dest, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let dir = open_dir(rustix::fs::CWD, dest).at("open", dest)?;
                if !list(&dir).at("read", dest)?.is_empty() {
                    return Err(Error::NotEmpty { path: dest.to_owned() });
                }
            }
            other => other.at("create", dest)?,
        }
        place(self, &tree, dest, Files::Private)
    }

    /// Removes a directory tree whatever the modes in it, without following a link.
    pub fn remove_tree(path: &Path) -> Result<(), Error> {
        remove_tree(path)
    }
}

//! Directories that are gone when their user is, even one that was killed.
//!
//! Each is locked by `flock` on itself. To sweep, a process tries the lock: it gets it only if the owner is
//! dead. `tmp/` itself is locked for the moment between making a directory and locking it.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, RawDir};
use rustix::io::Errno;

use super::error::At;
use super::lock::{Wait, flock};
use super::{Error, Store, open_dir};

/// A private directory below the store (0700), removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Scratch {
    /// Tells where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now, the next process sweeps.
        let _ = remove_tree(&self.path);
    }
}

impl Store {
    /// Makes a private directory on the store's file system.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        let parent = self.path.join("tmp");
        let gate = open_dir(rustix::fs::CWD, &parent).at("open", &parent)?;
        flock(&gate, Wait::Shared).at("lock", &parent)?;
        let process = rustix::process::getpid().as_raw_nonzero();
        loop {
            let path = parent.join(format!("{process}-{}", crate::base::event::next_id()));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                // Another PID namespace's process, or a dead one's.
                Err(Errno::EXIST) => continue,
                other => other.at("create", &path)?,
            }
            let lock = open_dir(rustix::fs::CWD, &path).at("open", &path)?;
            flock(&lock, Wait::Alone).at("lock", &path)?;
            return Ok(Scratch { path, _lock: lock });
        }
    }
}

/// Removes the scratch directories of processes that are gone.
pub(super) fn sweep(parent: &Path) -> Result<(), Error> {
    let gate = open_dir(rustix::fs::CWD, parent).at("open", parent)?;
    let names = list(&gate).at("read", parent)?;
    if names.is_empty() || flock(&gate, Wait::AloneNow).is_err() {
        return Ok(());
    }
    let mut stale = Vec::new();
    for (name, _) in names {
        let path = parent.join(name.to_string_lossy().as_ref());
        match open_dir(&gate, &name) {
            Ok(dir) if flock(&dir, Wait::AloneNow).is_ok() => stale.push((path, dir)),
            _ => {}
        }
    }
    drop(gate);
    for (path, _lock) in stale {
        // One that resists is nobody's loss but space; it is tried again next time.
        let _ = remove_tree(&path);
    }
    Ok(())
}

/// Names and kinds of what a directory holds.
pub(super) fn list(dir: impl AsFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

/// Removes a directory and everything below, whatever the modes, without following a link.
pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    let _ = rustix::fs::chmod(path, Mode::RWXU);
    let mut moved = 0;
    // A directory that is too deep to reach with open parents is moved to the top and removed from there.
    loop {
        let top = match open_dir(rustix::fs::CWD, path) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.at("open", path)?,
        };
        let before = moved;
        empty(&top, &top, 0, &mut moved).at("remove", path)?;
        if before == moved {
            break;
        }
    }
    rustix::fs::rmdir(path).at("remove", path)
}

fn empty(top: &OwnedFd, dir: &OwnedFd, depth: usize, moved: &mut u64) -> rustix::io::Result<()> {
    for (name, kind) in list(dir)? {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
                Ok(()) => continue,
                // The file system does not tell kinds.
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        let child = match open_dir(dir, &name) {
            Ok(child) => child,
            Err(Errno::ACCESS) => {
                rustix::fs::chmodat(dir, &name, Mode::RWXU, AtFlags::empty())?;
                open_dir(dir, &name)?
            }
            Err(error) => return Err(error),
        };
        if rustix::fs::fstat(&child)?.st_mode & 0o700 != 0o700 {
            rustix::fs::fchmod(&child, Mode::RWXU)?;
        }
        if depth == 100 {
            *moved += 1;
            rustix::fs::renameat(dir, &name, top, format!(".deep-{moved}"))?;
            continue;
        }
        empty(top, &child, depth + 1, moved)?;
        rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

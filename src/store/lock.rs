//! Locks between processes: `flock`, which the kernel lets go of when a process dies.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::At;
use super::{Error, Store};
use crate::base::{Cancel, Sha256};

/// How to take a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// With others who share it, after whoever has it alone.
    Shared,
    /// Alone, after everybody else.
    Alone,
    /// Alone, or not at all.
    AloneNow,
}

/// Takes a lock on an open file; `WOULDBLOCK` says that [`Wait::AloneNow`] could not.
pub(super) fn flock(file: impl AsFd, wait: Wait) -> rustix::io::Result<()> {
    let operation = match wait {
        Wait::Shared => FlockOperation::LockShared,
        Wait::Alone => FlockOperation::LockExclusive,
        Wait::AloneNow => FlockOperation::NonBlockingLockExclusive,
    };
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation))
}

/// Holds the right to make something, alone among all processes, until dropped.
#[derive(Debug)]
pub struct ActionLock {
    path: PathBuf,
    _file: OwnedFd,
}

impl Drop for ActionLock {
    fn drop(&mut self) {
        // Still locked: whoever waits sees that the name is gone and tries again.
        let _ = fs_err::remove_file(&self.path);
    }
}

impl Store {
    /// Waits until nobody else makes the action with this key. Calls `on_wait` once if that takes time.
    pub fn lock_action(&self, key: &Sha256, on_wait: &mut dyn FnMut()) -> Result<ActionLock, Error> {
        self.lock_unless(key, &Cancel::default(), on_wait)
    }

    /// Like [`Store::lock_action`], and stops waiting with [`Error::Cancelled`].
    pub fn lock_unless(
        &self,
        key: &Sha256,
        cancel: &Cancel,
        on_wait: &mut dyn FnMut(),
    ) -> Result<ActionLock, Error> {
        let path = self.path.join("locks").join(key.to_string());
        let mut told = false;
        loop {
            match try_lock(&path)? {
                Some(file) => return Ok(ActionLock { path, _file: file }),
                None if cancel.is_cancelled() => return Err(Error::Cancelled),
                None => {
                    if !std::mem::replace(&mut told, true) {
                        on_wait();
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

/// Removes the lock files that killed processes left.
pub(super) fn sweep(folder: &Path) -> Result<(), Error> {
    for entry in fs_err::read_dir(folder).at("read", folder)? {
        let path = entry.at("read", folder)?.path();
        if let Some(file) = try_lock(&path)? {
            drop(ActionLock { path, _file: file });
        }
    }
    Ok(())
}

fn try_lock(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).at("open", path)?;
    match flock(&file, Wait::AloneNow) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        other => other.at("lock", path)?,
    }
    // The last holder may have removed the name between open and lock.
    let ours = rustix::fs::fstat(&file).at("read", path)?;
    let named = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.at("read", path)?,
    };
    Ok((ours.st_ino == named.st_ino && ours.st_dev == named.st_dev).then_some(file))
}

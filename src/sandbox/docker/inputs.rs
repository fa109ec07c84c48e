//! What earlier jobs saw, kept in a volume of the engine's, so that each input is sent there once.
//!
//! ```text
//! /inputs/<boot>/<tree's digest>/root   the input; the folder above is locked by all who use it
//! /inputs/<boot>/.new-<container>-<n>   while it comes in, or goes
//! ```
//!
//! An input is there whole or not at all: it comes in beside its place and is renamed. Nothing is synced; what stems from
//! another boot of the engine's machine is removed instead. So is what nobody used for a month when something new comes
//! in. The whole volume may be removed at any time when no step runs.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::base::Digest;
use crate::store::Store;

/// Where the volume is mounted.
pub(super) const PLACE: &str = "/inputs";

/// How long something may be unused, in seconds.
const KEPT: i64 = 30 * 24 * 3600;
/// Somebody may have made a folder and not locked it yet; not for that long.
const ABANDONED: i64 = 3600;

pub(super) struct Inputs {
    folder: PathBuf,
    made: AtomicUsize,
}

impl Inputs {
    pub(super) fn open() -> io::Result<Self> {
        let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Self::at(Path::new(PLACE), boot.trim())
    }

    fn at(place: &Path, boot: &str) -> io::Result<Self> {
        let folder = place.join(boot);
        match fs_err::create_dir(&folder) {
            // The first of this boot: what the volume had before is of no use.
            Ok(()) => {
                for entry in fs_err::read_dir(place)?.flatten() {
                    if entry.file_name() != boot {
                        let _ = Store::remove_tree(&entry.path());
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { folder, made: AtomicUsize::new(0) })
    }

    fn place(&self, content: &Digest) -> PathBuf {
        self.folder.join(content.hash.to_string())
    }

    /// Finds an input; it stays while the lock is held.
    pub(super) fn find(&self, content: &Digest) -> io::Result<Option<(PathBuf, OwnedFd)>> {
        let place = self.place(content);
        let lock = match open(&place) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        rustix::fs::flock(&lock, FlockOperation::LockShared)?;
        // Whoever removes it renames it first, with the lock in hand.
        let is_there = rustix::fs::stat(&place).is_ok_and(|now| {
            rustix::fs::fstat(&lock).is_ok_and(|own| (own.st_dev, own.st_ino) == (now.st_dev, now.st_ino))
        });
        if !is_there {
            return Ok(None);
        }
        rustix::fs::utimensat(CWD, &place, &now(), AtFlags::empty())?;
        Ok(Some((place.join("root"), lock)))
    }

    /// Takes an input in. Where another job was faster, what it took in is as good.
    pub(super) fn take(
        &self,
        content: &Digest,
        receive: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<(PathBuf, OwnedFd)> {
        let new = self.new_folder()?;
        let lock = open(&new)?;
        rustix::fs::flock(&lock, FlockOperation::LockShared)?;
        if let Err(error) = receive(&new.join("root")) {
            let _ = Store::remove_tree(&new);
            return Err(error);
        }
        let place = self.place(content);
        let taken = match rustix::fs::rename(&new, &place) {
            Ok(()) => (place.join("root"), lock),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                let _ = Store::remove_tree(&new);
                self.find(content)?.ok_or_else(|| io::Error::other("an input went away"))?
            }
            Err(error) => return Err(error.into()),
        };
        self.sweep(&place);
        Ok(taken)
    }

    /// Makes a folder that nobody else has: a container's host name is its own.
    fn new_folder(&self) -> io::Result<PathBuf> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let uname = rustix::system::uname();
        let path = self.folder.join(format!(".new-{}-{number}", uname.nodename().to_string_lossy()));
        fs_err::create_dir(&path)?;
        Ok(path)
    }

    /// Removes what was not used for long, seen from what was used just now, and what the dead left.
    fn sweep(&self, just_used: &Path) {
        let Ok(used) = fs_err::metadata(just_used) else { return };
        let Ok(entries) = fs_err::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(found) = entry.metadata() else { continue };
            let is_new = entry.file_name().as_encoded_bytes().starts_with(b".new-");
            let kept = if is_new { ABANDONED } else { KEPT };
            if found.mtime() > used.mtime() - kept {
                continue;
            }
            let Ok(lock) = open(&path) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let aside = match is_new {
                true => Some(path.clone()),
                false => self.new_folder().ok().filter(|aside| rustix::fs::rename(&path, aside).is_ok()),
            };
            if let Some(aside) = aside {
                let _ = Store::remove_tree(&aside);
            }
        }
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn now() -> rustix::fs::Timestamps {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    rustix::fs::Timestamps { last_access: now, last_modification: now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sha256;

    fn digest(text: &str) -> Digest {
        Digest { hash: Sha256::of(text.as_bytes()), size: 1 }
    }

    fn fill(to: &Path) -> io::Result<()> {
        fs_err::create_dir(to)
    }

    #[test]
    fn an_input_is_taken_in_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs::at(folder.path(), "boot").unwrap();
        assert!(inputs.find(&digest("a")).unwrap().is_none());
        let failed = inputs.take(&digest("a"), |_| Err(io::Error::other("no")));
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert!(inputs.find(&digest("a")).unwrap().is_none());
        let (path, _lock) = inputs.take(&digest("a"), fill).unwrap();
        assert!(path.is_dir());
        // Another container was at it too, and came later.
        let (again, _lock) = inputs.take(&digest("a"), fill).unwrap();
        assert_eq!(again, path);
        assert_eq!(inputs.find(&digest("a")).unwrap().unwrap().0, path);
        assert_eq!(fs_err::read_dir(folder.path().join("boot")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_old_goes_unless_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs::at(folder.path(), "boot").unwrap();
        let (idle, lock) = inputs.take(&digest("idle"), fill).unwrap();
        drop(lock);
        let (busy, _lock) = inputs.take(&digest("busy"), fill).unwrap();
        let long_ago = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: long_ago, last_modification: long_ago };
        let dead = folder.path().join("boot/.new-dead-0");
        fs_err::create_dir(&dead).unwrap();
        fs_err::create_dir(folder.path().join("boot/.new-alive-0")).unwrap();
        for path in [idle.parent().unwrap(), busy.parent().unwrap(), &dead] {
            rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
        }
        inputs.take(&digest("new"), fill).unwrap();
        assert!(!idle.exists() && busy.exists());
        assert_eq!(fs_err::read_dir(folder.path().join("boot")).unwrap().count(), 3);
        // And with the next boot all of it.
        Inputs::at(folder.path(), "next").unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! The content store: blobs and Merkle trees by SHA-256, action results, roots, GC.
//!
//! In go bytes, directories and what steps gave; out come the same bytes, trees as values, checkouts that
//! a sandbox can mount, and answers to "was this done before?". It never speaks to the network, never
//! runs anything and never follows a symbolic link of what it takes in.
//!
//! # On disk, layout 1
//!
//! ```text
//! VERSION                  "1\n"; a larger number is refused
//! lock                     held shared (flock) by every process that uses the store, exclusively by GC
//! blobs/hh/<62 hex>        content, mode 0644, mtime the epoch
//! blobs/hh/<62 hex>.x      the same with mode 0755; either or both exist
//! trees/hh/<62 hex>        REAPI `Tree` message, named by the digest of its root `Directory`
//! actions/hh/<62 hex>      record: action digest → REAPI `ActionResult`
//! memo/hh/<62 hex>         record: key → digest
//! roots/<64 hex>           what a project keeps: its name, then one digest a line
//! taken/<64 hex>           results that were not made here: their steps, who vouches for them, as JSON
//! checkouts/<64 hex>/      0700: `boot` (see below) and `root/`, the tree as files
//! tmp/<pid>-<n>/           0700: one process's temporary files, or a step's scratch; held by flock
//! locks/<64 hex>           held by whoever makes an action or a checkout; removed when let go
//! ```
//!
//! Removing the whole directory loses nothing that can't be made again. A layout change that an older
//! nodeimg would misread raises `VERSION`.
//!
//! # What holds at any moment
//!
//! *Whole objects only.* A file is written in `tmp/`, gets its mode and times, and is renamed into place.
//! A kill leaves a file in `tmp/` at worst, which the next process sweeps: it belongs to nobody who holds
//! its lock.
//!
//! *Nothing points at what a power cut may take.* Blobs and trees are not synced one by one. A record
//! carries the kernel's boot id until one `syncfs` has brought everything to disk, then it is written
//! again without: [`Store::sync`]. Read under another boot, a record that still carries an id counts as
//! absent. An action result is on disk when [`Store::put_action_result`] returns, memos when the store
//! closes, with the next action result, or by hand. Checkouts are never synced: after a boot they are made again.
//!
//! *Damage is noticed.* A blob has its size in its name's other half and its mtime at the epoch, so a
//! truncated or changed file is seen when opened; reads verify the hash; a tree that is not canonical or
//! not of its name, and a record whose checksum is wrong, are refused. What is damaged is removed and
//! reported ([`Error::is_lost`]) so that the caller makes it again.
//!
//! *Private where it matters.* Only `blobs/` may be read by others. Set-user-id bits and recorded owners
//! exist below `checkouts/` and `tmp/` alone, which are 0700.
//!
//! *Bounds.* A tree has at most 256 levels and a million nodes, whoever made it: nothing that reads one
//! can be made to run out of stack or memory by a small message.
//!
//! # Last use
//!
//! The access time of an object is set when it is made and when it is used; GC goes by it. (Its
//! modification time is the epoch.) Time is the file system's own: the store reads no clock.

mod action;
mod blob;
mod checkout;
pub mod encode;
mod error;
mod gc;
mod ingest;
mod intake;
mod inventory;
mod links;
mod lock;
mod place;
pub mod proto;
mod root;
mod scratch;
mod taken;
pub mod tree;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::base::{Cancel, Digest, Sha256};
use error::At;

pub use action::ActionResult;
pub use blob::{BlobWriter, VerifiedReader};
pub use checkout::Checkout;
pub use error::Error;
pub use gc::{Collect, Collected};
pub use ingest::Owners;
pub use inventory::{Count, Kind, Listing};
pub use lock::ActionLock;
pub use root::Root;
pub use scratch::Scratch;
pub use taken::{Taken, TakenResult};
pub use tree::{Conflict, Dir, Meta, Node, Tree};
pub use verify::Verified;

/// The layout that this release writes.
const LAYOUT: u64 = 1;

/// The extended attribute that records who owns a file: `uid:gid`, decimal.
pub const OWNER_ATTRIBUTE: &str = "user.nodeimg.owner";

/// A content store, open. Shared between threads by reference, between processes by path.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// The store's directory.
    root: OwnedFd,
    /// `STORE/lock`, held shared for as long as the store is open.
    users: OwnedFd,
    /// Names the time since the machine was started, if the kernel tells.
    boot: Option<String>,
    /// Where this process writes its temporary files; made when first needed.
    work: OnceLock<Scratch>,
    making_work: Mutex<()>,
    serial: AtomicU64,
    /// Stops what takes long.
    cancel: Cancel,
    /// Records that carry the boot id still, with what they say.
    unsynced: Mutex<BTreeMap<(action::Table, Sha256), Vec<u8>>>,
    /// Checkouts that this process has looked at.
    inspected: Mutex<BTreeSet<Digest>>,
}

impl Store {
    /// Opens the store at a path, makes it if nothing is there, and sweeps what killed processes left.
    ///
    /// Waits while a GC runs.
    pub fn open(path: &Path) -> Result<Store, Error> {
        let create = |error: Error| match error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Error::NotWritable { path: path.to_owned(), source }
            }
            Error::Io { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists
                ) =>
            {
                Error::NotADirectory { path: path.to_owned() }
            }
            Error::NotWritable { source, .. } => Error::NotWritable { path: path.to_owned(), source },
            other => other,
        };
        fs_err::create_dir_all(path).at("create", path).map_err(create)?;
        let path = fs_err::canonicalize(path).at("open", path)?;
        let root = open_dir(rustix::fs::CWD, &path).at("open", &path)?;
        check_layout(&path)?;
        let lock = path.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let users =
            rustix::fs::open(&lock, flags, Mode::from_raw_mode(0o600)).at("open", &lock).map_err(create)?;
        lock::flock(&users, lock::Wait::Shared).at("lock", &lock)?;
        for (name, mode) in DIRECTORIES {
            match rustix::fs::mkdirat(&root, name, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => {
                    return Err(create(Error::from_io("create", &path.join(name), error.into())));
                }
            }
        }
        let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let store = Store {
            path,
            root,
            users,
            boot: boot.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
            work: OnceLock::new(),
            making_work: Mutex::default(),
            serial: AtomicU64::new(0),
            cancel: Cancel::default(),
            unsynced: Mutex::default(),
            inspected: Mutex::default(),
        };
        scratch::sweep(&store.path.join("tmp"))?;
        Ok(store)
    }

    /// Makes ingests, checkouts and copies stop with [`Error::Cancelled`] when asked to.
    pub fn stopped_by(mut self, cancel: &Cancel) -> Store {
        self.cancel = cancel.clone();
        self
    }

    /// Tells where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings everything written so far to disk, so that no power cut can take it.
    pub fn sync(&self) -> Result<(), Error> {
        let records = std::mem::take(&mut *self.unsynced.lock().expect("no thread panics with it"));
        let settle = || {
            rustix::fs::syncfs(&self.root).at("sync", &self.path)?;
            records.iter().try_for_each(|((table, key), payload)| self.settle_record(*table, key, payload))
        };
        settle().inspect_err(|_| {
            self.unsynced.lock().expect("no thread panics with it").extend(records.clone());
        })
    }

    /// Stores a tree and gives its name. The blobs it speaks of are not looked at.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, Error> {
        let encoded = encode::encode(tree).map_err(|why| Error::BadTree { why })?;
        let path = self.object("trees", &encoded.root.hash);
        if file_size(&path) != Some(encoded.message.len() as u64) {
            self.write_whole(&path, &encoded.message, 0o644)?;
        }
        Ok(encoded.root)
    }

    /// Reads a tree by its name.
    pub fn tree(&self, digest: &Digest) -> Result<Tree, Error> {
        let path = self.object("trees", &digest.hash);
        let message = self.tree_message(digest)?;
        encode::decode(&message, digest).map_err(|_| {
            let _ = fs_err::remove_file(&path);
            Error::Damaged { what: "tree", digest: *digest }
        })
    }

    /// Finds a tree by its hash alone.
    pub fn find_tree(&self, hash: &Sha256) -> Option<Digest> {
        let message = fs_err::read(self.object("trees", hash)).ok()?;
        encode::decode_any(&message, hash).ok().map(|(digest, _)| digest)
    }

    /// Stores the `Tree` message of a tree that is named by this hash; what is not canonical or not of that name is
    /// refused. The blobs it speaks of are not looked at.
    pub fn put_tree_message(&self, root: &Sha256, message: &[u8]) -> Result<Digest, Error> {
        let (name, _) = encode::decode_any(message, root).map_err(|why| Error::BadTree { why })?;
        if !self.has_tree(&name) {
            self.write_whole(&self.object("trees", root), message, 0o644)?;
        }
        Ok(name)
    }

    /// Gives the `Tree` message of a tree.
    pub fn message_of_tree(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        // Verifies it.
        self.tree(digest)?;
        self.tree_message(digest)
    }

    /// Tells whether a tree is there. Says nothing about its blobs: see [`Store::has_all`].
    pub fn has_tree(&self, digest: &Digest) -> bool {
        file_size(&self.object("trees", &digest.hash)).is_some()
    }

    /// Tells whether a tree and every blob it speaks of are there.
    pub fn has_all(&self, digest: &Digest) -> bool {
        self.has_tree(digest)
            && self
                .tree(digest)
                .is_ok_and(|tree| tree.files().map(|(_, blob, _)| blob).all(|blob| self.has_blob(&blob)))
    }

    /// Reads the `Tree` message of a tree, unverified, and notes the use.
    fn tree_message(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.object("trees", &digest.hash);
        match fs_err::read(&path) {
            Ok(message) => {
                touch(&path);
                Ok(message)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::Missing { digest: *digest })
            }
            Err(error) => Err(Error::from_io("read", &path, error)),
        }
    }

    fn object(&self, kind: &str, hash: &Sha256) -> PathBuf {
        self.path.join(kind).join(place::shard(hash))
    }

    /// Gives a path for a temporary file, in a directory that is swept if this process is killed.
    fn temporary(&self) -> Result<PathBuf, Error> {
        if self.work.get().is_none() {
            let _making = self.making_work.lock().expect("no thread panics with it");
            if self.work.get().is_none() {
                let _ = self.work.set(self.scratch()?);
            }
        }
        let work = self.work.get().expect("made above");
        Ok(work.path().join(self.serial.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    /// Writes a file under a temporary name and moves it into place.
    fn write_whole(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let mut temp = blob::Temp::create(self)?;
        temp.file.write_all(bytes).at("write", path)?;
        temp.persist(path, mode)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.unsynced.get_mut().is_ok_and(|records| !records.is_empty()) {
            // Failing is harmless: the records count until the next boot.
            let _ = self.sync();
        }
    }
}

const DIRECTORIES: [(&str, u32); 9] = [
    ("blobs", 0o755),
    ("trees", 0o700),
    ("actions", 0o700),
    ("memo", 0o700),
    ("roots", 0o700),
    ("taken", 0o700),
    ("checkouts", 0o700),
    ("tmp", 0o700),
    ("locks", 0o700),
];

/// Reads the layout number; writes it if the directory is empty.
fn check_layout(path: &Path) -> Result<(), Error> {
    let file = path.join("VERSION");
    match fs_err::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(found) if found > LAYOUT => {
                Err(Error::NewerLayout { path: path.to_owned(), found, known: LAYOUT })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(Error::NoLayout { path: file }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            for entry in fs_err::read_dir(path).at("read", path)? {
                let name = entry.at("read", path)?.file_name();
                // Another process may be doing the same, or have been killed while it did.
                let ours = name.to_string_lossy().starts_with(".VERSION") || name == "VERSION";
                if !ours && !fs_err::exists(&file).unwrap_or(false) {
                    return Err(Error::NotAStore { path: path.to_owned() });
                }
            }
            let write = || -> std::io::Result<()> {
                let mut temp = tempfile::Builder::new().prefix(".VERSION").tempfile_in(path)?;
                temp.write_all(format!("{LAYOUT}\n").as_bytes())?;
                temp.as_file().sync_all()?;
                temp.persist(&file)?;
                Ok(())
            };
            write().map_err(|source| match source.kind() {
                // The file's own name says nothing to anybody.
                kind @ std::io::ErrorKind::PermissionDenied => {
                    Error::NotWritable { path: path.to_owned(), source: kind.into() }
                }
                _ => Error::from_io("write", &file, source),
            })
        }
        Err(error) => Err(Error::from_io("read", &file, error)),
    }
}

/// Opens a directory for use with the `*at` calls; a link is refused.
fn open_dir(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// The times of everything in the store: used now, changed at the epoch.
const USED_NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ },
    last_modification: Timespec { tv_sec: 0, tv_nsec: 0 },
};

/// Notes that an object was used. It does not matter if that can't be noted.
fn touch(path: &Path) {
    let times =
        Timestamps { last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ }, ..USED_NOW };
    let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
}

/// The size of a regular file, if one is there.
fn file_size(path: &Path) -> Option<u64> {
    let stat = rustix::fs::lstat(path).ok()?;
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file().then_some(stat.st_size as u64)
}

#[cfg(test)]
mod tests;

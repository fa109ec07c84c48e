//! Trees as files: links to blobs where the blob's own mode and owner are right, copies elsewhere.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use sha2::Digest as _;

use super::blob::{Form, Temp, damaged_blob, is_sound};
use super::error::At;
use super::tree::{Dir, Meta, Node};
use super::{Error, OWNER_ATTRIBUTE, Store, USED_NOW, open_dir};
use crate::base::{Digest, Sha256};

/// The place of an object below its kind's folder: `hh/<62 hex>`.
pub(super) fn shard(hash: &Sha256) -> String {
    let mut text = hash.to_string();
    text.insert(2, '/');
    text
}

/// How a file comes to stand in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// Linked to the blob where possible. The tree must not be written to.
    Linked,
    /// Copied, each by itself.
    Private,
}

/// How many threads share work that waits for the file system and hashes.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().min(8))
}

/// Runs a job for every index below `count` on all cores; gives the first error met.
pub(super) fn in_parallel(
    count: usize,
    job: impl Fn(usize) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            job(index).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads().min(count)).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })
}

/// Makes a tree's files in an empty directory, and gives the directory the root's mode and owner.
pub(super) fn place(store: &Store, tree: &Dir, to: &Path, files: Files) -> Result<(), Error> {
    let placing = Placing {
        store,
        blobs: open_dir(&store.root, "blobs").at("open", store.path.join("blobs"))?,
        to: to.to_owned(),
        root: open_dir(rustix::fs::CWD, to).at("open", to)?,
        files,
    };
    let mut dirs = Vec::new();
    list(tree, String::new(), &mut dirs);
    // Parents first, all writable: their modes come last.
    for (path, _) in &dirs[1..] {
        rustix::fs::mkdirat(&placing.root, path.as_str(), Mode::RWXU).at("create", to.join(path))?;
    }
    in_parallel(dirs.len(), |index| placing.fill(&dirs[index].0, dirs[index].1))?;
    for (path, dir) in dirs.iter().rev() {
        placing.close(path, dir.meta)?;
    }
    Ok(())
}

fn list<'a>(dir: &'a Dir, path: String, out: &mut Vec<(String, &'a Dir)>) {
    out.push((path.clone(), dir));
    for (name, node) in &dir.entries {
        if let Node::Dir(child) = node {
            list(child, if path.is_empty() { name.to_string() } else { format!("{path}/{name}") }, out);
        }
    }
}

struct Placing<'a> {
    store: &'a Store,
    blobs: OwnedFd,
    to: PathBuf,
    root: OwnedFd,
    files: Files,
}

impl Placing<'_> {
    fn open(&self, path: &str) -> Result<OwnedFd, Error> {
        open_dir(&self.root, if path.is_empty() { "." } else { path }).at("open", self.to.join(path))
    }

    /// Makes the files and links of one directory.
    fn fill(&self, path: &str, dir: &Dir) -> Result<(), Error> {
        if self.store.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let at = self.open(path)?;
        for (name, node) in &dir.entries {
            let full = || self.to.join(path).join(name.as_str());
            match node {
                Node::Dir(_) => {}
                Node::Symlink { target } => {
                    rustix::fs::symlinkat(&**target, &at, name.as_str()).at("create", full())?;
                    rustix::fs::utimensat(&at, name.as_str(), &USED_NOW, AtFlags::SYMLINK_NOFOLLOW)
                        .at("write", full())?;
                }
                Node::File { digest, meta } => {
                    let form = match (self.files, *meta) {
                        (Files::Linked, Meta { mode: 0o644, uid: 0, gid: 0 }) => Some(Form::Plain),
                        (Files::Linked, Meta { mode: 0o755, uid: 0, gid: 0 }) => Some(Form::Executable),
                        _ => None,
                    };
                    let linked = match form {
                        Some(form) => self.link(digest, form, &at, name.as_str(), &full)?,
                        None => false,
                    };
                    if !linked {
                        self.copy(digest, *meta, &at, name.as_str(), &full)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Links a file to its blob; tells whether the file system would.
    fn link(
        &self,
        digest: &Digest,
        form: Form,
        at: &OwnedFd,
        name: &str,
        full: &dyn Fn() -> PathBuf,
    ) -> Result<bool, Error> {
        let mut blob = shard(&digest.hash);
        blob.push_str(form.suffix());
        let stat = rustix::fs::statat(&self.blobs, &blob, AtFlags::SYMLINK_NOFOLLOW);
        match stat {
            Ok(stat) if is_sound(&stat, digest) => {
                if stat.st_mode & 0o7777 != form.mode() {
                    rustix::fs::chmodat(
                        &self.blobs,
                        &blob,
                        Mode::from_raw_mode(form.mode()),
                        AtFlags::empty(),
                    )
                    .at("write", full())?;
                }
            }
            Ok(_) | Err(Errno::NOENT) => self.store.make_form(digest, form)?,
            Err(error) => return Err(Error::from_io("read", &full(), error.into())),
        }
        match rustix::fs::linkat(&self.blobs, &blob, at, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            // Too many links, a file system without links, or a blob of another user's.
            Err(Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(Error::from_io("create", &full(), error.into())),
        }
    }

    fn copy(
        &self,
        digest: &Digest,
        meta: Meta,
        at: &OwnedFd,
        name: &str,
        full: &dyn Fn() -> PathBuf,
    ) -> Result<(), Error> {
        let (mut from, _) = self.store.open_form(digest)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to: File =
            rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o600)).at("create", full())?.into();
        // The kernel copies by itself, and shares extents where the file system can.
        let copied = std::io::copy(&mut from, &mut to).at("write", full())?;
        if copied != digest.size {
            return Err(damaged_blob(digest));
        }
        dress(&to, meta, full)
    }

    fn close(&self, path: &str, meta: Meta) -> Result<(), Error> {
        dress(self.open(path)?, meta, &|| self.to.join(path))
    }
}

/// Gives a file or directory its recorded owner, its mode and its times, in this order.
fn dress(file: impl AsFd, meta: Meta, full: &dyn Fn() -> PathBuf) -> Result<(), Error> {
    if (meta.uid, meta.gid) != (0, 0) {
        let owner = format!("{}:{}", meta.uid, meta.gid);
        match rustix::fs::fsetxattr(&file, OWNER_ATTRIBUTE, owner.as_bytes(), XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {
                return Err(Error::NoAttributes { path: full(), source: Errno::OPNOTSUPP.into() });
            }
            other => other.at("write", full())?,
        }
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode)).at("write", full())?;
    rustix::fs::futimens(&file, &USED_NOW).at("write", full())
}

impl Store {
    /// Makes one form of a blob out of the other; the hash is verified on the way.
    pub(super) fn make_form(&self, digest: &Digest, form: Form) -> Result<(), Error> {
        let (mut from, found) = self.open_form(digest)?;
        if found == form {
            return Ok(());
        }
        let from_path = self.blob_path(&digest.hash, found);
        let mut temp = Temp::create(self)?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = from.read(&mut buffer).at("read", &from_path)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            temp.file.write_all(&buffer[..count]).at("write", &from_path)?;
        }
        if Sha256(hasher.finalize().into()) != digest.hash {
            let _ = fs_err::remove_file(&from_path);
            return Err(damaged_blob(digest));
        }
        temp.persist(&self.blob_path(&digest.hash, form), form.mode())
    }
}

/// Tells whether placed files are still what the tree says, as far as size, time and mode show it.
pub(super) fn is_intact(tree: &Dir, at: &Path) -> bool {
    let Ok(root) = open_dir(rustix::fs::CWD, at) else { return false };
    let mut dirs = Vec::new();
    list(tree, String::new(), &mut dirs);
    let intact = |index: usize| {
        let (path, dir): &(String, &Dir) = &dirs[index];
        // A mode may keep an ordinary user from looking into his own directory.
        let sees = rustix::fs::statat(&root, if path.is_empty() { "." } else { path }, AtFlags::empty())
            .is_ok_and(|stat| stat.st_mode & 0o7777 == dir.meta.mode && stat.st_mtime == 0);
        sees && dir.entries.iter().all(|(name, node)| {
            let full = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
            match (rustix::fs::statat(&root, full, AtFlags::SYMLINK_NOFOLLOW), node) {
                (Ok(stat), Node::File { digest, meta }) => {
                    is_sound(&stat, digest) && stat.st_mode & 0o7777 == meta.mode
                }
                (Ok(stat), Node::Symlink { .. }) => FileType::from_raw_mode(stat.st_mode).is_symlink(),
                (Ok(stat), Node::Dir(_)) => FileType::from_raw_mode(stat.st_mode).is_dir(),
                (Err(Errno::ACCESS), _) => true,
                (Err(_), _) => false,
            }
        })
    };
    (0..dirs.len()).all(intact)
}

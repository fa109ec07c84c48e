//! Directories as trees: what a step left, what stands beside a recipe, what an overlay changed.
//!
//! The walk goes by open directories and never follows a link, so nothing outside is read even if
//! somebody changes the tree meanwhile. All cores share it: directories and large files are the tasks.
//!
//! [`Store::ingest`] copies: the directory stays as it is, and whoever has a file of it open for writing
//! can't change the store. [`Store::absorb`] takes the files themselves, by rename, which writes nothing:
//! for a scratch directory whose processes are gone. A file that has a second name, another owner or
//! attributes that a blob must not have is copied there too.
//!
//! An overlay's upper directory holds only what changed: new entries, directories that are merged with the
//! base's of the same name unless `user.overlay.opaque` is `y`, and whiteouts, which are character devices
//! 0/0, or empty files with `user.overlay.whiteout` in a directory whose `user.overlay.opaque` is `x`
//! (kernel: Documentation/filesystems/overlayfs.rst).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, Stat};

use super::encode::MAX_DEPTH;
use super::error::At;
use super::intake::{attribute, named, refuse_feature};
use super::scratch::list;
use super::tree::{Dir, Node, Tree};
use super::{Error, Store, open_dir};
use crate::base::Name;

/// A file of this size is a task of its own.
pub(super) const LARGE: u64 = 1 << 20;

/// Who owns what is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Everything is root's, whoever made it.
    AllRoot,
    /// What the sandbox recorded in [`super::OWNER_ATTRIBUTE`], else root. The directory is a scratch of
    /// nodeimg's, so modes that keep its owner from reading are loosened.
    Recorded,
}

/// What may be done with the directory that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Read it.
    Copy,
    /// Take it to pieces.
    Move,
}

impl Store {
    /// Takes in a directory. Its files are copied; it is left as it was, and modes that an ordinary user
    /// can't read are an error unless the owners are [`Owners::Recorded`].
    pub fn ingest(&self, dir: &Path, owners: Owners) -> Result<Tree, Error> {
        Walk::new(self, owners, Take::Copy, false).run(dir, None)
    }

    /// Takes in a directory that nobody else uses any more. Its files are moved into the store: what is left
    /// is good for removal only.
    pub fn absorb(&self, dir: &Path, owners: Owners) -> Result<Tree, Error> {
        Walk::new(self, owners, Take::Move, false).run(dir, None)
    }

    /// Takes in the upper directory of an overlay that is no longer mounted, and gives the base with those
    /// changes. Its files are moved into the store.
    pub fn ingest_overlay(&self, base: &Tree, upper: &Path, owners: Owners) -> Result<Tree, Error> {
        Walk::new(self, owners, Take::Move, true).run(upper, Some(base))
    }
}

pub(super) struct Walk<'a> {
    pub(super) store: &'a Store,
    pub(super) owners: Owners,
    pub(super) take: Take,
    pub(super) overlay: bool,
    pub(super) user: u32,
    queue: Mutex<Queue<'a>>,
    ready: Condvar,
}

/// A task that is worked on; ends even if the work panics, so that nobody waits for it for ever.
struct Running<'a, 'b>(&'b Walk<'a>);

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ready.notify_all();
    }
}

#[derive(Default)]
struct Queue<'a> {
    tasks: Vec<Task<'a>>,
    /// Tasks that a thread works on.
    running: usize,
    /// Every directory met, parents before children.
    found: Vec<Found>,
    failed: Option<Error>,
}

struct Found {
    parent: usize,
    name: Option<Name>,
    dir: Dir,
}

enum Task<'a> {
    File { parent: Arc<OwnedFd>, name: Name, id: usize, path: PathBuf },
    Dir { parent: Arc<OwnedFd>, name: Name, id: usize, path: PathBuf, depth: usize, base: Option<&'a Dir> },
}

impl<'a> Walk<'a> {
    fn new(store: &'a Store, owners: Owners, take: Take, overlay: bool) -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self { store, owners, take, overlay, user, queue: Mutex::default(), ready: Condvar::new() }
    }

    fn run(self, dir: &Path, base: Option<&'a Dir>) -> Result<Tree, Error> {
        let opened = self.open_dir(rustix::fs::CWD, dir, dir)?;
        self.lock().found.push(Found { parent: 0, name: None, dir: Dir::default() });
        self.dir(opened, 0, dir, 0, base)?;
        std::thread::scope(|scope| {
            for _ in 1..super::place::threads() {
                scope.spawn(|| self.work());
            }
            self.work();
        });
        let queue = self.queue.into_inner().expect("no thread panics with it");
        if let Some(error) = queue.failed {
            return Err(error);
        }
        let mut found = queue.found;
        while let Some(last) = found.pop() {
            let (Some(name), Some(parent)) = (last.name, found.get_mut(last.parent)) else {
                return Ok(last.dir);
            };
            parent.dir.entries.insert(name, Node::Dir(last.dir));
        }
        unreachable!("the root is the first directory found")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<'a>> {
        self.queue.lock().expect("no thread panics with it")
    }

    /// Whether modes may be changed to read what is below.
    pub(super) fn is_ours(&self) -> bool {
        self.take == Take::Move || self.owners == Owners::Recorded
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if queue.failed.is_some() {
                return;
            }
            if self.store.cancel.is_cancelled() {
                queue.failed = Some(Error::Cancelled);
                return;
            }
            // The newest first: deep before wide keeps few directories open.
            if let Some(task) = queue.tasks.pop() {
                queue.running += 1;
                drop(queue);
                let running = Running(self);
                let result = self.perform(task);
                if let Err(error) = result {
                    self.lock().failed.get_or_insert(error);
                }
                drop(running);
                queue = self.lock();
            } else if queue.running == 0 {
                return;
            } else {
                queue = self.ready.wait(queue).expect("no thread panics with it");
            }
        }
    }

    fn perform(&self, task: Task<'a>) -> Result<(), Error> {
        match task {
            Task::Dir { parent, name, id, path, depth, base } => {
                let opened = self.open_dir(&parent, name.as_str(), &path)?;
                drop(parent);
                self.dir(opened, id, &path, depth, base)
            }
            Task::File { parent, name, id, path } => {
                let (file, stat) = self.open_file(&parent, &name, &path)?;
                let node = self.file(file, &stat, &parent, &name, &path)?;
                self.lock().found[id].dir.entries.insert(name, node);
                Ok(())
            }
        }
    }

    /// Opens a directory, and gives the mode that it had before it was made readable.
    fn open_dir(
        &self,
        parent: impl AsFd,
        name: impl rustix::path::Arg + Copy,
        path: &Path,
    ) -> Result<(OwnedFd, Stat), Error> {
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).at("read", path)?;
        let needed = match self.take {
            Take::Move => 0o700,
            // Modes don't stop root.
            Take::Copy if self.user == 0 => 0,
            Take::Copy => 0o500,
        };
        let closed = stat.st_mode & needed != needed && FileType::from_raw_mode(stat.st_mode).is_dir();
        if closed && self.is_ours() {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700);
            rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()).at("open", path)?;
        }
        Ok((open_dir(parent, name).at("open", path)?, stat))
    }

    fn dir(
        &self,
        (fd, stat): (OwnedFd, Stat),
        id: usize,
        path: &Path,
        depth: usize,
        base: Option<&'a Dir>,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { path: path.to_owned(), limit: MAX_DEPTH });
        }
        let meta = self.meta(&fd, &stat, path)?;
        if self.overlay {
            refuse_feature(&fd, c"user.overlay.redirect", path)?;
        }
        let opaque = if self.overlay { attribute(&fd, c"user.overlay.opaque", path)? } else { None };
        let base = base.filter(|_| opaque.as_deref() != Some(b"y"));
        let mut dir = Dir { meta, entries: BTreeMap::new() };
        let mut hidden = BTreeSet::new();
        let mut later = Vec::new();
        let fd = Arc::new(fd);
        for (raw, _) in list(&*fd).at("read", path)? {
            let full = path.join(raw.to_string_lossy().as_ref());
            let name = raw
                .to_str()
                .ok()
                .and_then(|text| Name::new(text).ok())
                .ok_or_else(|| Error::NotUtf8 { what: "file name", path: full.clone() })?;
            let stat =
                rustix::fs::statat(&*fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).at("read", &full)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if stat.st_size as u64 >= LARGE => {
                    later.push(Task::File { parent: Arc::clone(&fd), name, id, path: full });
                }
                FileType::RegularFile => {
                    let (file, stat) = self.open_file(&fd, &name, &full)?;
                    let marked = opaque.is_some() && stat.st_size == 0;
                    if marked && attribute(&file, "user.overlay.whiteout", &full)?.is_some() {
                        hidden.insert(name);
                    } else {
                        let node = self.file(file, &stat, &fd, &name, &full)?;
                        dir.entries.insert(name, node);
                    }
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&*fd, name.as_str(), Vec::new()).at("read", &full)?;
                    let target = target
                        .into_string()
                        .map_err(|_| Error::NotUtf8 { what: "target of link", path: full })?;
                    dir.entries.insert(name, Node::Symlink { target: target.into() });
                }
                FileType::Directory => {
                    let base = base.and_then(|base| match base.entries.get(&name) {
                        Some(Node::Dir(below)) => Some(below),
                        _ => None,
                    });
                    hidden.insert(name.clone());
                    later.push(Task::Dir {
                        parent: Arc::clone(&fd),
                        name,
                        id,
                        path: full,
                        depth: depth + 1,
                        base,
                    });
                }
                FileType::CharacterDevice if self.overlay && stat.st_rdev == 0 => {
                    hidden.insert(name);
                }
                kind => return Err(Error::Unsupported { path: full, kind: named(kind) }),
            }
        }
        let mut queue = self.lock();
        for task in later {
            let task = match task {
                Task::Dir { parent, name, id, path, depth, base } => {
                    let child = queue.found.len();
                    queue.found.push(Found { parent: id, name: Some(name.clone()), dir: Dir::default() });
                    Task::Dir { parent, name, id: child, path, depth, base }
                }
                Task::File { ref name, .. } => {
                    hidden.insert(name.clone());
                    task
                }
            };
            queue.tasks.push(task);
        }
        if let Some(base) = base {
            for (name, node) in &base.entries {
                if !hidden.contains(name) {
                    dir.entries.entry(name.clone()).or_insert_with(|| node.clone());
                }
            }
        }
        queue.found[id].dir = dir;
        self.ready.notify_all();
        Ok(())
    }
}

//! What an output looked like when it was written: to see later, without reading it, that it still does.
//!
//! The stamp of `out/x` is the file `out/.x.nodeimg`: JSON with the shape, the tree, and size, inode and time
//! of the last change of everything below `out/x`, directories too. (The change time, not the modification
//! time: nothing can set it back.) Whoever writes the output holds a lock on the stamp and empties it first,
//! so an output that was interrupted is written again. Nothing is synced: what a power cut takes shows in
//! the sizes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Error;
use super::error::At;
use crate::base::{Cancel, Digest};

/// What is in the file.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    version: u32,
    #[serde(rename = "form")]
    shape: String,
    tree: Digest,
    seen: BTreeMap<PathBuf, Seen>,
}

/// What `lstat` tells of one file or directory: size, inode, change time in seconds and nanoseconds.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Seen(u64, u64, i64, i64);

impl Seen {
    fn at(path: &Path) -> Option<(Self, FileType)> {
        let stat = rustix::fs::lstat(path).ok()?;
        let seen = Seen(stat.st_size as u64, stat.st_ino, stat.st_ctime as i64, stat.st_ctime_nsec as i64);
        Some((seen, FileType::from_raw_mode(stat.st_mode)))
    }
}

/// The stamp of an output, held by whoever writes it.
pub(super) struct Stamp {
    file: File,
    path: PathBuf,
}

impl Stamp {
    /// Waits until nobody else writes the output.
    pub(super) fn hold(to: &Path, cancel: &Cancel) -> Result<Stamp, Error> {
        let path = beside(to, "nodeimg")?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666)).at("open", &path)?);
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if cancel.is_cancelled() => return Err(Error::Cancelled),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(20)),
                other => {
                    other.at("lock", &path)?;
                    return Ok(Stamp { file, path });
                }
            }
        }
    }

    /// Says that the output is about to change.
    pub(super) fn clear(&self) -> Result<(), Error> {
        self.file.set_len(0).at("write", &self.path)
    }

    /// Notes what the output looks like now.
    pub(super) fn set(&mut self, shape: &str, tree: &Digest, to: &Path) -> Result<(), Error> {
        let mut seen = BTreeMap::new();
        look(to, Path::new(""), &mut seen)?;
        let content = Content { version: VERSION, shape: shape.to_owned(), tree: *tree, seen };
        let text = serde_json::to_vec(&content).map_err(std::io::Error::from).at("write", &self.path)?;
        self.file.rewind().and_then(|()| self.file.write_all(&text)).at("write", &self.path)
    }
}

const VERSION: u32 = 1;

/// Tells whether an output is as it was written. Reads the stamp and asks for the state of each file.
pub(super) fn is_current(shape: &str, tree: &Digest, to: &Path) -> bool {
    let Ok(path) = beside(to, "nodeimg") else { return false };
    let mut text = Vec::new();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let read =
        rustix::fs::open(path, flags, Mode::empty()).map(|file| File::from(file).read_to_end(&mut text));
    if !matches!(read, Ok(Ok(_))) {
        return false;
    }
    serde_json::from_slice::<Content>(&text).is_ok_and(|content| {
        content.version == VERSION
            && (content.shape.as_str(), content.tree) == (shape, *tree)
            && content.seen.iter().all(|(path, seen)| {
                let path = if path.as_os_str().is_empty() { to.to_owned() } else { to.join(path) };
                Seen::at(&path).is_some_and(|(now, _)| now == *seen)
            })
    })
}

/// Gives `.NAME.KIND` beside an output.
pub(super) fn beside(to: &Path, kind: &str) -> Result<PathBuf, Error> {
    let Some(name) = to.file_name() else { return Err(Error::NoPlace { path: to.to_owned() }) };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(kind);
    Ok(to.with_file_name(hidden))
}

fn look(to: &Path, below: &Path, seen: &mut BTreeMap<PathBuf, Seen>) -> Result<(), Error> {
    let path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
    let Some((now, kind)) = Seen::at(&path) else { return Ok(()) };
    if kind.is_dir() {
        for entry in fs_err::read_dir(&path).at("read", &path)? {
            look(to, &below.join(entry.at("read", &path)?.file_name()), seen)?;
        }
    }
    seen.insert(below.to_owned(), now);
    Ok(())
}

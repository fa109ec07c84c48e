//! An image as an OCI image layout: a directory that `skopeo`, `crane`, `podman` and the like read.
//!
//! Blobs that are there under their name and size stay. `index.json` is replaced last, in one step, and only
//! then are blobs removed that it no longer names: whenever this ends, the directory is the old image or the
//! new one. Nothing is written through a link.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::error::At;
use super::place::{self, Shape, in_the_way, is_free_directory, kind};
use super::{Error, Form};
use crate::base::{Cancel, Digest, GuestPath, Name};
use crate::image;
use crate::store::{Node, Store};

pub(super) const FORM: Form = Form {
    name: "oci",
    place: "DIR",
    about: "an OCI image layout",
    open: |place, _| place::open(Shape::OCI_LAYOUT, |image| &image.layout, "oci", place),
};

impl Shape {
    /// An image as an OCI image layout, a directory.
    pub const OCI_LAYOUT: Shape = Shape { name: "oci-layout", check, write };
}

/// A layout may be written over without a stamp, so that an interrupted export can be done again.
fn check(to: &Path) -> Result<(), Error> {
    if is_free_directory(to)? || kind(&to.join("oci-layout"))?.is_some() {
        return Ok(());
    }
    Err(in_the_way(to, "a directory with other things in it and no OCI image layout"))
}

fn write(store: &Store, image: &Digest, to: &Path, cancel: &Cancel) -> Result<(), Error> {
    let tree = store.tree(image)?;
    let layout = Folder::enter(rustix::fs::CWD, to, to.to_owned())?;
    let blobs = Folder::enter(&layout.fd, "blobs", to.join("blobs"))?;
    let blobs = Folder::enter(&blobs.fd, "sha256", to.join("blobs/sha256"))?;
    let wanted = &tree
        .dir(&GuestPath::new("/blobs/sha256").expect("a constant path"))
        .ok_or_else(|| no("blobs"))?
        .entries;
    let top = |file: &str| match tree.entries.get_key_value(file) {
        Some((name, Node::File { digest, .. })) => layout.put(store, name, digest, cancel),
        _ => Err(no(file)),
    };
    // First what makes this a layout, so that the next run knows it if this one is interrupted.
    top("oci-layout")?;
    for (name, node) in wanted {
        if let Node::File { digest, .. } = node
            && !blobs.has(name, digest)
        {
            blobs.put(store, name, digest, cancel)?;
        }
    }
    top("manifest.json")?;
    top("index.json")?;
    for name in blobs.names()?.iter().filter(|name| !wanted.contains_key(name.as_str())) {
        match rustix::fs::unlinkat(&blobs.fd, name.as_str(), AtFlags::empty()) {
            // A directory is nothing that nodeimg made.
            Ok(()) | Err(Errno::ISDIR | Errno::NOENT) => {}
            Err(error) => return Err(Error::from_io("remove", &blobs.path.join(name), error.into())),
        }
    }
    Ok(())
}

fn no(file: &str) -> Error {
    Error::Image(image::Error::NotAnImage { file: format!("/{file}"), why: "is missing".to_owned() })
}

/// An open directory that is no link.
struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    fn enter(at: impl AsFd, name: impl rustix::path::Arg + Copy, path: PathBuf) -> Result<Folder, Error> {
        match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::from_io("create", &path, error.into())),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(at, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Folder { fd, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::InTheWay { path, what: "no directory" }),
            Err(error) => Err(Error::from_io("open", &path, error.into())),
        }
    }

    /// Reads the directory, which can be done once.
    fn names(&self) -> Result<Vec<String>, Error> {
        let mut buffer = Vec::with_capacity(8 << 10);
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry.at("read", &self.path)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    fn has(&self, name: &Name, digest: &Digest) -> bool {
        rustix::fs::statat(&self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size as u64 == digest.size
        })
    }

    /// Writes a file under another name and moves it to its place.
    fn put(&self, store: &Store, name: &Name, digest: &Digest, cancel: &Cancel) -> Result<(), Error> {
        let path = self.path.join(name.as_str());
        let temporary = format!(".{name}.new");
        match rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::from_io("remove", &path, error.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, &temporary, flags, Mode::from_raw_mode(0o666));
        pour(store, digest, &File::from(file.at("create", &path)?), &path, cancel)?;
        rustix::fs::renameat(&self.fd, &temporary, &self.fd, name.as_str()).at("write", &path)
    }
}

/// How much of a blob is in memory.
const BUFFER: usize = 256 << 10;

/// Copies a blob into a file, verified.
fn pour(store: &Store, digest: &Digest, mut to: &File, path: &Path, cancel: &Cancel) -> Result<(), Error> {
    let mut blob = store.verified_reader(digest)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match blob.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).at("write", path)?,
            Err(error) => return Err(Error::from_blob(error, path)),
        }
    }
}

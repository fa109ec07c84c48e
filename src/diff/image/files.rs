//! The files that an image is kept in: a folder, an archive that is not unpacked for that, or the store.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::base::{Digest, GuestPath};
use crate::diff::Error;
use crate::store::{Node, Store, Tree};

/// An archive with more entries is none of an image.
const MAX_ENTRIES: usize = 100_000;

/// Larger ones are no documents.
const MAX_DOCUMENT: u64 = 8 << 20;

/// Files by name.
pub(super) struct Files<'a> {
    pub(super) store: &'a Store,
    /// What the whole is called.
    pub(super) name: String,
    kind: Kind,
}

enum Kind {
    /// A folder of this machine.
    Folder(OwnedFd),
    /// A tar archive: where each file begins, and its size.
    Archive { path: std::path::PathBuf, entries: BTreeMap<String, (u64, u64)> },
    /// A tree of the store.
    Tree(Tree),
    /// The store's blobs, by hash alone.
    Blobs,
}

/// An open file, and its size.
pub(super) type Open = (Box<dyn Read>, u64);

impl<'a> Files<'a> {
    pub(super) fn folder(store: &'a Store, name: &str, path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|source| Error::Read { path: path.to_owned(), source: source.into() })?;
        Ok(Self { store, name: name.to_owned(), kind: Kind::Folder(folder) })
    }

    /// Lists a plain tar archive by its headers; nothing if it is none of an image.
    pub(super) fn archive(store: &'a Store, name: &str, path: &Path) -> Result<Option<Self>, Error> {
        let wrong = |source| Error::Read { path: path.to_owned(), source };
        let mut archive = tar::Archive::new(fs_err::File::open(path).map_err(wrong)?);
        let mut entries = BTreeMap::new();
        let Ok(found) = archive.entries_with_seek() else { return Ok(None) };
        for entry in found {
            let Ok(entry) = entry else { return Ok(None) };
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            if entry.header().entry_type().is_file() {
                entries.insert(name, (entry.raw_file_position(), entry.size()));
            }
            if entries.len() > MAX_ENTRIES {
                return Ok(None);
            }
        }
        let is_image = entries.contains_key("index.json") || entries.contains_key("manifest.json");
        let kind = Kind::Archive { path: path.to_owned(), entries };
        Ok(is_image.then(|| Self { store, name: name.to_owned(), kind }))
    }

    pub(super) fn tree(store: &'a Store, name: &str, tree: Tree) -> Self {
        Self { store, name: name.to_owned(), kind: Kind::Tree(tree) }
    }

    pub(super) fn blobs(store: &'a Store, name: &str) -> Self {
        Self { store, name: name.to_owned(), kind: Kind::Blobs }
    }

    pub(super) fn wrong(&self, why: impl Into<String>) -> Error {
        Error::NotAnImage { name: self.name.clone(), why: why.into() }
    }

    /// Opens a file by its name; nothing if it is not there. No link leads out: none is followed.
    pub(super) fn open(&self, file: &str) -> Result<Option<Open>, Error> {
        let failed = |source: io::Error| Error::Read { path: file.into(), source };
        match &self.kind {
            Kind::Folder(folder) => match open_below(folder, file) {
                Ok(found) => {
                    let size = found.metadata().map_err(failed)?.len();
                    Ok(Some((Box::new(found), size)))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(error)),
            },
            Kind::Archive { path, entries } => {
                let Some(&(at, size)) = entries.get(file) else { return Ok(None) };
                let mut archive = fs_err::File::open(path).map_err(failed)?;
                archive.seek(SeekFrom::Start(at)).map_err(failed)?;
                Ok(Some((Box::new(archive.take(size)), size)))
            }
            Kind::Tree(tree) => {
                let path = GuestPath::new(&format!("/{file}"));
                match path.ok().and_then(|path| tree.follow(&path)) {
                    Some((_, Node::File { digest, .. })) => self.blob(digest),
                    _ => Ok(None),
                }
            }
            Kind::Blobs => Ok(None),
        }
    }

    /// Opens what a descriptor names: from its own place, else from the store, which may have it too.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<Open>, Error> {
        match self.open(&format!("blobs/sha256/{}", digest.hash))? {
            Some(open) => Ok(Some(open)),
            None => self.blob(digest),
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Open>, Error> {
        match self.store.verified_reader(digest) {
            Ok(reader) => Ok(Some((Box::new(reader), digest.size))),
            Err(error) if error.is_lost() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a small file.
    pub(super) fn read(&self, file: &str) -> Result<Option<Vec<u8>>, Error> {
        self.open(file)?.map(|open| self.whole(open, file)).transpose()
    }

    /// Reads a document that a descriptor names, which must be what its name says.
    pub(super) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let name = digest.hash.oci();
        let open = self.open_blob(digest)?.ok_or_else(|| self.wrong(format!("blob `{name}` is missing")))?;
        let bytes = self.whole(open, &name)?;
        let found = Digest::of(&bytes);
        if found.hash != digest.hash {
            return Err(Error::Damaged { name: self.name.clone(), blob: name, found });
        }
        Ok(bytes)
    }

    fn whole(&self, (reader, size): Open, file: &str) -> Result<Vec<u8>, Error> {
        if size > MAX_DOCUMENT {
            return Err(self.wrong(format!("`{file}` is too large")));
        }
        let mut bytes = Vec::new();
        reader
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::Read { path: file.into(), source })?;
        Ok(bytes)
    }
}

/// Opens a regular file below a folder, through no link.
fn open_below(folder: &OwnedFd, file: &str) -> io::Result<std::fs::File> {
    let mut at = folder.as_fd().try_clone_to_owned()?;
    let mut parts = file.split('/').peekable();
    while let Some(part) = parts.next() {
        if matches!(part, "" | "." | "..") {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_last = parts.peek().is_none();
        let kind = if is_last { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
    }
    let file = std::fs::File::from(at);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

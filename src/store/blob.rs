//! Blobs: files named by the SHA-256 of their bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::path::Arg;
use sha2::Digest as _;

use super::error::At;
use super::{Error, Store, USED_NOW, touch};
use crate::base::{Cancel, Digest, Sha256};

/// Up to this size a blob is hashed in memory, and no file is made if the store has it.
const IN_MEMORY: usize = 256 << 10;

/// The two forms of a blob: a checkout links one or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Mode 0644.
    Plain,
    /// Mode 0755.
    Executable,
}

impl Form {
    pub(super) const BOTH: [Form; 2] = [Form::Plain, Form::Executable];

    pub(super) fn mode(self) -> u32 {
        match self {
            Form::Plain => 0o644,
            Form::Executable => 0o755,
        }
    }

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Form::Plain => "",
            Form::Executable => ".x",
        }
    }
}

/// Tells whether a file can be the blob: a regular file of the right size that nobody wrote to since.
pub(super) fn is_sound(stat: &Stat, digest: &Digest) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_file()
        && stat.st_size as u64 == digest.size
        && stat.st_mtime == 0
        && stat.st_mtime_nsec == 0
}

impl Store {
    pub(super) fn blob_path(&self, hash: &Sha256, form: Form) -> PathBuf {
        let mut path = self.object("blobs", hash).into_os_string();
        path.push(form.suffix());
        path.into()
    }

    /// Tells whether a blob is there and has the right size.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        Form::BOTH.into_iter().any(|form| {
            rustix::fs::lstat(self.blob_path(&digest.hash, form)).is_ok_and(|stat| is_sound(&stat, digest))
        })
    }

    /// Finds a blob whose size is not known.
    pub fn find_blob(&self, hash: &Sha256) -> Option<Digest> {
        Form::BOTH.into_iter().find_map(|form| {
            let stat = rustix::fs::lstat(self.blob_path(hash, form)).ok()?;
            let digest = Digest { hash: *hash, size: stat.st_size as u64 };
            is_sound(&stat, &digest).then_some(digest)
        })
    }

    /// Starts a blob. Bytes are hashed as they are written.
    pub fn blob_writer(&self) -> Result<BlobWriter<'_>, Error> {
        Ok(BlobWriter {
            store: self,
            hasher: sha2::Sha256::new(),
            size: 0,
            buffer: Vec::new(),
            temp: None,
            form: Form::Plain,
        })
    }

    /// Stores a few bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        if !self.has_blob(&digest) {
            self.write_whole(&self.blob_path(&digest.hash, Form::Plain), bytes, Form::Plain.mode())?;
        }
        Ok(digest)
    }

    /// Takes a blob of another store: linked where both are on one file system, else copied and verified.
    pub fn take_from(&self, other: &Store, digest: &Digest) -> Result<(), Error> {
        if self.has_blob(digest) {
            return Ok(());
        }
        let (_, form) = other.open_form(digest)?;
        let to = self.blob_path(&digest.hash, form);
        if let Some(parent) = to.parent() {
            fs_err::create_dir_all(parent).at("create", parent)?;
        }
        match rustix::fs::link(other.blob_path(&digest.hash, form), &to) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            // Another file system, as many links as there can be, or a file of somebody else's (protected_hardlinks).
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT) => {}
            Err(error) => return Err(Error::from_io("link", &to, error.into())),
        }
        let mut writer = self.blob_writer()?;
        std::io::copy(&mut other.verified_reader(digest)?, &mut writer)
            .map_err(|error| error.downcast().unwrap_or_else(|error| Error::from_io("write", &to, error)))?;
        if form == Form::Executable {
            writer = writer.executable();
        }
        writer.finish_expecting(digest)
    }

    /// Opens a blob for reading. Notices a wrong size and a write that went past the store, not a wrong
    /// hash: use [`Store::verified_reader`] where bytes leave the program.
    pub fn open_blob(&self, digest: &Digest) -> Result<fs_err::File, Error> {
        let (file, form) = self.open_form(digest)?;
        Ok(fs_err::File::from_parts(file, self.blob_path(&digest.hash, form)))
    }

    pub(super) fn open_form(&self, digest: &Digest) -> Result<(File, Form), Error> {
        let mut damaged = false;
        for form in Form::BOTH {
            let path = self.blob_path(&digest.hash, form);
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match rustix::fs::open(&path, flags, Mode::empty()) {
                Ok(file) => File::from(file),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(Error::from_io("open", &path, error.into())),
            };
            if is_sound(&rustix::fs::fstat(&file).at("read", &path)?, digest) {
                touch(&path);
                return Ok((file, form));
            }
            damaged = true;
            let _ = fs_err::remove_file(&path);
        }
        Err(if damaged { damaged_blob(digest) } else { Error::Missing { digest: *digest } })
    }

    /// Reads a whole blob and verifies its hash.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut damaged = false;
        loop {
            let (mut file, form) = match self.open_form(digest) {
                Err(Error::Missing { .. }) if damaged => return Err(damaged_blob(digest)),
                other => other?,
            };
            let path = self.blob_path(&digest.hash, form);
            let mut bytes = Vec::with_capacity(digest.size.min(64 << 20) as usize);
            file.read_to_end(&mut bytes).at("read", &path)?;
            if Digest::of(&bytes) == *digest {
                return Ok(bytes);
            }
            damaged = true;
            let _ = fs_err::remove_file(&path);
        }
    }

    /// Reads a blob as a stream. If its hash is wrong, the end is an error ([`Error::Damaged`] inside).
    pub fn verified_reader(&self, digest: &Digest) -> Result<VerifiedReader, Error> {
        let (file, form) = self.open_form(digest)?;
        let path = self.blob_path(&digest.hash, form);
        Ok(VerifiedReader { file, path, want: *digest, hasher: Some(sha2::Sha256::new()) })
    }
}

pub(super) fn damaged_blob(digest: &Digest) -> Error {
    Error::Damaged { what: "blob", digest: *digest }
}

/// Writes a blob. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a Store,
    hasher: sha2::Sha256,
    size: u64,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    temp: Option<Temp>,
    form: Form,
}

impl BlobWriter<'_> {
    /// Says that the blob is a program (mode 0755), which spares a copy when it is checked out as one.
    pub fn executable(mut self) -> Self {
        self.form = Form::Executable;
        self
    }

    /// Ends the blob and gives its name. Does not write what the store has already.
    pub fn finish(mut self) -> Result<Digest, Error> {
        let digest = self.digest();
        self.keep(&digest)?;
        Ok(digest)
    }

    /// Ends the blob if it is the expected one; else nothing is stored.
    pub fn finish_expecting(mut self, expected: &Digest) -> Result<(), Error> {
        let received = self.digest();
        if received != *expected {
            return Err(Error::Mismatch { expected: *expected, received });
        }
        self.keep(expected)
    }

    fn digest(&mut self) -> Digest {
        Digest { hash: Sha256(self.hasher.finalize_reset().into()), size: self.size }
    }

    fn keep(&mut self, digest: &Digest) -> Result<(), Error> {
        if self.store.has_blob(digest) {
            return Ok(());
        }
        self.spill()?;
        let path = self.store.blob_path(&digest.hash, self.form);
        self.temp.take().expect("made by `spill`").persist(&path, self.form.mode())
    }

    /// Moves the buffer to the file.
    fn spill(&mut self) -> Result<(), Error> {
        if self.temp.is_none() {
            self.temp = Some(Temp::create(self.store)?);
        }
        let temp = self.temp.as_mut().expect("made above");
        temp.file.write_all(&self.buffer).at("write", &temp.path)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > IN_MEMORY {
            self.spill().map_err(Error::into_io)?;
        }
        if bytes.len() > IN_MEMORY {
            let temp = self.temp.as_mut().expect("made by `spill`");
            temp.file.write_all(bytes).at("write", &temp.path).map_err(Error::into_io)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a blob and checks its hash at the end; see [`Store::verified_reader`].
#[derive(Debug)]
pub struct VerifiedReader {
    file: File,
    path: PathBuf,
    want: Digest,
    /// Gone once the end was reached.
    hasher: Option<sha2::Sha256>,
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && Sha256(hasher.finalize().into()) != self.want.hash
        {
            let _ = fs_err::remove_file(&self.path);
            return Err(damaged_blob(&self.want).into_io());
        }
        Ok(count)
    }
}

/// A file under a temporary name, removed when dropped.
#[derive(Debug)]
pub(super) struct Temp {
    pub(super) file: File,
    path: PathBuf,
}

impl Temp {
    pub(super) fn create(store: &Store) -> Result<Temp, Error> {
        let path = store.temporary()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).at("create", &path)?;
        Ok(Temp { file: file.into(), path })
    }

    /// Gives the file its mode and times and moves it to its place.
    pub(super) fn persist(self, to: &Path, mode: u32) -> Result<(), Error> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode)).at("write", &self.path)?;
        rustix::fs::futimens(&self.file, &USED_NOW).at("write", &self.path)?;
        rename_into(rustix::fs::CWD, &self.path, to)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Gone already if it was moved to its place.
        let _ = rustix::fs::unlink(&self.path);
    }
}

/// Renames, and makes the directory of the first two digits when it is the first file in it.
pub(super) fn rename_into(dir: impl AsFd, from: impl Arg + Copy, to: &Path) -> Result<(), Error> {
    let rename = || rustix::fs::renameat(&dir, from, rustix::fs::CWD, to);
    match rename() {
        Err(Errno::NOENT) => {
            if let Some(parent) = to.parent() {
                fs_err::create_dir_all(parent).at("create", parent)?;
            }
            rename().at("write", to)
        }
        other => other.at("write", to),
    }
}

/// Hashes a file to its end.
pub(super) fn hash(file: &mut File, path: &Path, cancel: &Cancel) -> Result<Digest, Error> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = [0; 64 << 10];
    let mut size = 0;
    while !cancel.is_cancelled() {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok(Digest { hash: Sha256(hasher.finalize().into()), size });
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    Err(Error::Cancelled)
}

//! One file of what is taken in: opened whatever its mode, its owner read, its content stored.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::blob::{Form, hash, rename_into};
use super::error::At;
use super::ingest::{LARGE, Owners, Take, Walk};
use super::tree::{Meta, Node};
use super::{Error, OWNER_ATTRIBUTE, USED_NOW};
use crate::base::{Digest, Name};

impl Walk<'_> {
    /// Opens a file, and gives what it was before it was made readable.
    pub(super) fn open_file(
        &self,
        parent: &OwnedFd,
        name: &Name,
        path: &Path,
    ) -> Result<(File, Stat), Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let name = name.as_str();
        let (file, stat) = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::ACCESS) if self.is_ours() => {
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).at("read", path)?;
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o600);
                rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).at("open", path)?;
                (rustix::fs::openat(parent, name, flags, Mode::empty()).at("open", path)?, stat)
            }
            other => {
                let file = other.at("open", path)?;
                let stat = rustix::fs::fstat(&file).at("read", path)?;
                (file, stat)
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !kind.is_file() {
            return Err(Error::Unsupported { path: path.to_owned(), kind: named(kind) });
        }
        Ok((file.into(), stat))
    }

    /// Stores one regular file.
    pub(super) fn file(
        &self,
        mut file: File,
        stat: &Stat,
        parent: &OwnedFd,
        name: &Name,
        path: &Path,
    ) -> Result<Node, Error> {
        let meta = self.meta(&file, stat, path)?;
        if self.overlay {
            refuse_feature(&file, c"user.overlay.metacopy", path)?;
        }
        let form = if meta.mode == 0o755 { Form::Executable } else { Form::Plain };
        let large = stat.st_size as u64 >= LARGE;
        if large || self.take == Take::Move {
            // Most of what a step leaves is known: look before writing.
            let digest = hash(&mut file, path, &self.store.cancel)?;
            if self.store.has_blob(&digest) {
                return Ok(Node::File { digest, meta });
            }
            if self.take == Take::Move && self.can_move(&file, stat, &digest, path)? {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(form.mode())).at("write", path)?;
                rustix::fs::futimens(&file, &USED_NOW).at("write", path)?;
                match rename_into(parent, name.as_str(), &self.store.blob_path(&digest.hash, form)) {
                    Ok(()) => return Ok(Node::File { digest, meta }),
                    Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::CrossesDevices => {}
                    Err(error) => return Err(error),
                }
            }
            std::io::Seek::rewind(&mut file).at("read", path)?;
        }
        let mut writer = self.store.blob_writer()?;
        if form == Form::Executable {
            writer = writer.executable();
        }
        std::io::copy(&mut file, &mut writer).at("read", path)?;
        Ok(Node::File { digest: writer.finish()?, meta })
    }

    /// Whether a file can become a blob as it is. Attributes of users are taken off it.
    fn can_move(&self, file: &File, stat: &Stat, digest: &Digest, path: &Path) -> Result<bool, Error> {
        if stat.st_nlink != 1 || stat.st_uid != self.user || stat.st_size as u64 != digest.size {
            return Ok(false);
        }
        // Taking attributes off needs the right to write.
        rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR).at("write", path)?;
        let mut names = vec![0; 4 << 10];
        let length = match rustix::fs::flistxattr(file, &mut names) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(_) => return Ok(false),
        };
        for name in names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { return Ok(false) };
            let bytes = name.to_bytes();
            if bytes == b"security.selinux" {
                continue;
            }
            if !bytes.starts_with(b"user.") || rustix::fs::fremovexattr(file, name).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn meta(&self, file: impl AsFd, stat: &Stat, path: &Path) -> Result<Meta, Error> {
        let mut meta = Meta::root(stat.st_mode & 0o7777);
        if self.owners == Owners::Recorded
            && let Some(value) = attribute(file, OWNER_ATTRIBUTE, path)?
        {
            let text = String::from_utf8_lossy(&value);
            (meta.uid, meta.gid) = text
                .split_once(':')
                .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
                .ok_or_else(|| Error::BadOwner { path: path.to_owned(), text: text.clone().into_owned() })?;
        }
        Ok(meta)
    }
}

/// Refuses what only a mounted overlay could make sense of.
pub(super) fn refuse_feature(file: impl AsFd, name: &'static CStr, path: &Path) -> Result<(), Error> {
    match attribute(file, name, path)? {
        Some(_) => Err(Error::OverlayFeature {
            path: path.to_owned(),
            attribute: name.to_str().unwrap_or("user.overlay"),
        }),
        None => Ok(()),
    }
}

/// Reads a short extended attribute.
pub(super) fn attribute(
    file: impl AsFd,
    name: impl rustix::path::Arg,
    path: &Path,
) -> Result<Option<Vec<u8>>, Error> {
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, name, &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => Ok(Some(value.to_vec())),
        Err(error) => Err(Error::from_io("read", path, error.into())),
    }
}

pub(super) fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Directory => "a directory that was a file a moment ago",
        _ => "of an unknown kind",
    }
}

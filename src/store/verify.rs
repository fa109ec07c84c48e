//! Reads everything in the store again and removes what is not what its name says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::blob::Form;
use super::error::At;
use super::inventory::{Count, Kind, Object};
use super::{Error, Store, USED_NOW, encode, place};
use crate::base::Cancel;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// What was read.
    pub checked: Count,
    /// What was damaged and is removed: kind and name.
    pub damaged: Vec<(Kind, String)>,
}

impl Store {
    /// Rehashes every blob and tree and reads every record, on all cores. What is damaged is removed, and
    /// checkouts, which may link to it, are made again when next asked for.
    pub fn verify(&self, cancel: &Cancel) -> Result<Verified, Error> {
        let mut objects = Vec::new();
        for kind in [Kind::Blob, Kind::Tree, Kind::Action, Kind::Memo] {
            objects.extend(self.objects(kind)?);
        }
        let bytes = AtomicU64::new(0);
        let damaged = Mutex::new(Vec::new());
        place::in_parallel(objects.len(), |index| {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let object = &objects[index];
            bytes.fetch_add(object.bytes, Ordering::Relaxed);
            if !self.is_whole(object, cancel)? {
                let _ = fs_err::remove_file(&object.path);
                damaged
                    .lock()
                    .expect("no thread panics with it")
                    .push((object.kind, object.hash.to_string()));
            }
            Ok(())
        })?;
        let mut damaged = damaged.into_inner().expect("no thread panics with it");
        damaged.sort();
        if damaged.iter().any(|(kind, _)| *kind == Kind::Blob) {
            for checkout in self.objects(Kind::Checkout)? {
                let _ = fs_err::remove_file(checkout.path.join("boot"));
            }
            self.inspected.lock().expect("no thread panics with it").clear();
        }
        let checked = Count { objects: objects.len() as u64, bytes: bytes.into_inner() };
        Ok(Verified { checked, damaged })
    }

    fn is_whole(&self, object: &Object, cancel: &Cancel) -> Result<bool, Error> {
        let path = &object.path;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Reading is no use; only a file's owner may say so.
        let opened = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty());
        let opened = match opened {
            Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
            other => other,
        };
        let mut file = match opened {
            // Removed meanwhile.
            Err(Errno::NOENT) => return Ok(true),
            other => std::fs::File::from(other.at("open", path)?),
        };
        match object.kind {
            Kind::Blob => {
                if super::blob::hash(&mut file, path, cancel)?.hash != object.hash {
                    return Ok(false);
                }
                let form = if path.extension().is_some() { Form::Executable } else { Form::Plain };
                let stat = rustix::fs::fstat(&file).at("read", path)?;
                if (stat.st_mtime, stat.st_mode & 0o7777) != (0, form.mode()) {
                    // The content is right, so only the file's own data was touched.
                    rustix::fs::fchmod(&file, Mode::from_raw_mode(form.mode())).at("write", path)?;
                    rustix::fs::futimens(&file, &USED_NOW).at("write", path)?;
                }
                Ok(true)
            }
            Kind::Tree => {
                let message = fs_err::read(path).at("read", path)?;
                Ok(encode::decode_any(&message, &object.hash).is_ok())
            }
            Kind::Action | Kind::Memo => {
                let bytes = fs_err::read(path).at("read", path)?;
                Ok(super::action::is_whole(&bytes))
            }
            Kind::Checkout => Ok(true),
        }
    }
}

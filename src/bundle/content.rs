//! Where a member's bytes come from when a bundle is written.

use std::io::{self, Read};
use std::path::PathBuf;

use super::{Error, Member};
use crate::base::Digest;
use crate::store::Store;

/// A member's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These.
    Bytes(Vec<u8>),
    /// Those of a file.
    File(PathBuf),
    /// Those of a blob of the store, which the member names.
    Blob,
}

impl Content {
    /// Opens the content. What it is stands in the member: the caller compares.
    pub(super) fn open<'a>(
        &'a self,
        member: &Member,
        store: &Store,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        Ok(match self {
            Content::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Content::File(path) => {
                let file = fs_err::File::open(path);
                Box::new(file.map_err(|source| Error::from_io("read", path, source))?)
            }
            Content::Blob => Box::new(store.open_blob(&Digest { hash: member.sha256, size: member.size })?),
        })
    }
}

//! Writes bundles, and goes on with one that was not finished.
//!
//! A bundle's bytes follow from its listing, so what a stopped run left in `FILE.partial` is compared with what would be
//! written: as many whole members as are right are kept, the rest is written anew. The file gets its name when it is
//! whole and on disk.

use std::collections::BTreeMap;
use std::io::{Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sha2::Digest as _;

use super::header::{self, END, RECORD};
use super::{CHECKSUM, Content, Error, LISTING, Listing, Member, SIGNATURE};
use crate::base::event::{Activity, Event, Outcome, Sink, next_id};
use crate::base::{Cancel, Digest, Sha256};
use crate::store::{self, Store};

/// How much of a member is in memory.
const BUFFER: usize = 1 << 20;

/// What a bundle is made of.
pub struct Parts<'a> {
    /// What is in it.
    pub listing: &'a Listing,
    /// The listing's signature, if it names a key.
    pub signature: Option<&'a [u8]>,
    /// Each member's bytes, by path.
    pub contents: &'a BTreeMap<String, Content>,
    /// Where blobs are.
    pub store: &'a Store,
    /// Who is told.
    pub events: &'a dyn Sink,
    /// When to stop.
    pub cancel: &'a Cancel,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The file's size in bytes.
    pub size: u64,
    /// How many bytes of it an earlier run had written.
    pub resumed: u64,
}

/// Writes a bundle to a file, which is replaced in one step.
pub fn create(path: &Path, parts: &Parts<'_>) -> Result<Written, Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let failed = |source| Error::from_io("write", &partial, source);
    let open = fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&partial);
    let mut file = open.map_err(failed)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Error::Busy { path: partial });
    }
    let front = front(parts);
    let (done, resumed) = resume(&mut file, &front, parts).map_err(failed)?;
    if parts.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    file.set_len(resumed).map_err(failed)?;
    file.seek(SeekFrom::Start(resumed)).map_err(failed)?;
    let mut writer = Writer { out: &mut file, path: &partial, parts, buffer: vec![0; BUFFER] };
    if resumed == 0 {
        writer.put(&front)?;
    }
    writer.members(done, resumed)?;
    file.sync_all().map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    fs_err::rename(&partial, path).map_err(|source| Error::from_io("write", path, source))?;
    Ok(Written { size, resumed })
}

/// Writes a bundle into a pipe.
pub fn stream(out: &mut dyn Write, parts: &Parts<'_>) -> Result<(), Error> {
    let mut writer = Writer { out, path: Path::new("-"), parts, buffer: vec![0; BUFFER] };
    writer.put(&front(parts))?;
    writer.members(0, 0)?;
    writer.out.flush().map_err(|source| Error::from_io("write", Path::new("-"), source))
}

/// Makes what stands before the members.
fn front(parts: &Parts<'_>) -> Vec<u8> {
    let listing = parts.listing.text();
    let checksum = checksum(&Sha256::of(listing.as_bytes()));
    let mut front = Vec::new();
    let mut file = |path: &str, bytes: &[u8]| {
        front.extend_from_slice(&header::of(path, bytes.len() as u64, false));
        front.extend_from_slice(bytes);
        front.extend(std::iter::repeat_n(0, header::fill(bytes.len() as u64)));
    };
    file(LISTING, listing.as_bytes());
    file(CHECKSUM, checksum.as_bytes());
    if let Some(signature) = parts.signature {
        file(SIGNATURE, signature);
    }
    front
}

/// Gives a listing's hash as `sha256sum -c` reads it.
pub(super) fn checksum(hash: &Sha256) -> String {
    format!("{hash}  {LISTING}\n")
}

/// Finds how many members of an unfinished file are right, and where the last of them ends.
fn resume(file: &mut fs_err::File, front: &[u8], parts: &Parts<'_>) -> std::io::Result<(usize, u64)> {
    let mut start = vec![0; front.len()];
    if file.metadata()?.len() <= front.len() as u64 || file.read_exact(&mut start).is_err() || start != front
    {
        return Ok((0, 0));
    }
    let (mut done, mut end) = (0, front.len() as u64);
    let mut buffer = vec![0; BUFFER];
    for member in &parts.listing.members {
        if parts.cancel.is_cancelled() || !is_whole(file, member, &mut buffer)? {
            break;
        }
        done += 1;
        end += RECORD as u64 + member.size + header::fill(member.size) as u64;
    }
    Ok((done, end))
}

/// Tells whether a member comes next as it should be.
fn is_whole(file: &mut fs_err::File, member: &Member, buffer: &mut [u8]) -> std::io::Result<bool> {
    let mut head = [0; RECORD];
    if file.read_exact(&mut head).is_err() || head != header::of_member(member) {
        return Ok(false);
    }
    let (mut left, mut hasher) = (member.size, sha2::Sha256::new());
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = file.read(&mut buffer[..most])?;
        if count == 0 {
            return Ok(false);
        }
        hasher.update(&buffer[..count]);
        left -= count as u64;
    }
    let fill = &mut [0; RECORD][..header::fill(member.size)];
    let is_filled = file.read_exact(fill).is_ok() && fill.iter().all(|byte| *byte == 0);
    Ok(is_filled && Sha256(hasher.finalize().into()) == member.sha256)
}

struct Writer<'a, W: Write + ?Sized> {
    out: &'a mut W,
    path: &'a Path,
    parts: &'a Parts<'a>,
    buffer: Vec<u8>,
}

impl<W: Write + ?Sized> Writer<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|source| Error::from_io("write", self.path, source))
    }

    /// Writes the members behind the first `skip` of them, and the end.
    fn members(&mut self, skip: usize, resumed: u64) -> Result<(), Error> {
        let (id, events) = (next_id(), self.parts.events);
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let total = Some(self.parts.listing.size());
        events.emit(Event::Started { id, kind: Activity::Assemble, name, total });
        let mut done = resumed;
        let mut write = || -> Result<(), Error> {
            for member in &self.parts.listing.members[skip..] {
                self.member(member)?;
                done += member.size;
                events.emit(Event::Progress { id, done });
            }
            self.put(&END)
        };
        let result = write();
        let outcome = match &result {
            Ok(()) => Outcome::Done,
            Err(Error::Cancelled) => Outcome::Stopped,
            Err(_) => Outcome::Failed,
        };
        events.emit(Event::Finished { id, outcome, detail: String::new() });
        result
    }

    fn member(&mut self, member: &Member) -> Result<(), Error> {
        let content = &self.parts.contents[&member.path];
        let mut from = content.open(member, self.parts.store)?;
        self.put(&header::of_member(member))?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut size = 0;
        loop {
            if self.parts.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let count = from
                .read(&mut buffer)
                .map_err(|source| Error::from_io("read", Path::new(&member.path), source))?;
            size += count as u64;
            if count == 0 || size > member.size {
                break;
            }
            hasher.update(&buffer[..count]);
            self.put(&buffer[..count])?;
        }
        self.buffer = buffer;
        let received = Sha256(hasher.finalize().into());
        if size != member.size || received != member.sha256 {
            return Err(match content {
                Content::Blob => {
                    let digest = Digest { hash: member.sha256, size: member.size };
                    store::Error::Damaged { what: "blob", digest }.into()
                }
                _ => Error::Changed { member: member.path.clone() },
            });
        }
        self.put(&[0; RECORD][..header::fill(member.size)])
    }
}

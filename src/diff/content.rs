//! What is in two files that differ.

use std::io::Read as _;

use super::{Detail, MAX_FILE, MAX_READ, debian, elf, fields, lines};
use crate::base::Digest;
use crate::store::{self, Store};

/// Larger ones are not compared by line or field.
const MAX_TEXT: usize = 4 << 20;

/// So much is unpacked of a compressed file.
const MAX_INSIDE: u64 = 64 << 20;

/// So many bytes are shown around the first that differs.
const SHOWN: usize = 16;

/// Reads files of a store, so much and no more.
pub(super) struct Reader<'a> {
    store: &'a Store,
    left: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, left: MAX_READ }
    }

    /// Says what differs in two files' content.
    pub(super) fn details(
        &mut self,
        path: &str,
        before: &Digest,
        now: &Digest,
    ) -> Result<Vec<Detail>, store::Error> {
        let sizes = || Detail::changed("content", whole(before), whole(now));
        let size = before.size.saturating_add(now.size);
        if before.size > MAX_FILE || now.size > MAX_FILE || size > self.left {
            return Ok(vec![sizes()]);
        }
        self.left -= size;
        let read = |digest| match self.store.read_blob(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_lost() => Ok(None),
            Err(error) => Err(error),
        };
        let (Some(old), Some(new)) = (read(before)?, read(now)?) else {
            // The files of a base image may be known by name only.
            return Ok(vec![sizes()]);
        };
        Ok(details(path, &old, &new))
    }
}

fn whole(digest: &Digest) -> String {
    format!("{} bytes sha256:{}", digest.size, digest.hash)
}

/// Says what differs in two files of the store; nothing where they are one.
pub fn files(store: &Store, path: &str, before: &Digest, now: &Digest) -> Result<Vec<Detail>, store::Error> {
    if before == now { Ok(Vec::new()) } else { Reader::new(store).details(path, before, now) }
}

/// Says what differs in two files' content; `path` helps to tell what they are.
pub fn details(path: &str, before: &[u8], now: &[u8]) -> Vec<Detail> {
    // What is compressed inside of what is compressed is not: there are files that unpack to themselves.
    match (gunzip(before), gunzip(now)) {
        (Some(old), Some(new)) if old == new => {
            vec![Detail::value("only its compression differs", None, None)]
        }
        (Some(old), Some(new)) => plain(path.strip_suffix(".gz").unwrap_or(path), &old, &new),
        _ => plain(path, before, now),
    }
}

fn plain(path: &str, before: &[u8], now: &[u8]) -> Vec<Detail> {
    let mut found = Vec::new();
    if debian::is_status(path) {
        found = debian::details(before, now);
        if found.is_empty()
            && let (Some(old), Some(new)) = (text(before), text(now))
        {
            found.extend(lines::lines(old, new).map(Detail::Lines));
        }
    } else if before.starts_with(b"\x7fELF") && now.starts_with(b"\x7fELF") {
        found = elf::details(before, now);
    } else if let (Some(old), Some(new)) = (text(before), text(now)) {
        found = fields::details(path, old, new).unwrap_or_default();
        if found.is_empty() {
            found.extend(lines::lines(old, new).map(Detail::Lines));
        }
    }
    if found.is_empty() {
        found = bytes(before, now);
    }
    found
}

fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > MAX_TEXT || bytes.contains(&0) {
        return None;
    }
    str::from_utf8(bytes).ok()
}

/// Unpacks a gzip file that is not too large.
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    let mut inside = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).take(MAX_INSIDE + 1).read_to_end(&mut inside).ok()?;
    (inside.len() as u64 <= MAX_INSIDE).then_some(inside)
}

/// Says where two files differ first, and in how many bytes.
fn bytes(before: &[u8], now: &[u8]) -> Vec<Detail> {
    let mut details = Vec::new();
    if before.len() != now.len() {
        details.push(Detail::changed("size", before.len(), now.len()));
    }
    let differing = || before.iter().zip(now).enumerate().filter(|(_, (old, new))| old != new);
    let Some((first, _)) = differing().next() else { return details };
    if before.len() == now.len() {
        let count = differing().count();
        details.push(Detail::value(format!("{count} of {} bytes", now.len()), None, None));
    }
    let around = |bytes: &[u8]| {
        let shown = &bytes[first..bytes.len().min(first + SHOWN)];
        let hex: Vec<_> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        format!("{} {}", hex.concat(), shown.iter().map(plain).collect::<String>())
    };
    details.push(Detail::changed(format!("from byte {first:#x}"), around(before), around(now)));
    details
}

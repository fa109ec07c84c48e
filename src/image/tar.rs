//! Trees as tar archives (POSIX.1-2001 `ustar`, with `pax` records where `ustar` has no room).
//!
//! Entries come sorted by path, a directory before what is in it; the root has none. Times are the epoch,
//! owners are numbers, links have mode 0777. There are no hard links: files of one digest are files each,
//! so that a path means the same whatever else is in the archive.

use std::io::{Read as _, Write};

use super::Error;
use crate::base::{Cancel, Digest, Name};
use crate::store::{Dir, Meta, Node, Store};

const RECORD: usize = 512;

/// How much of a blob is in memory.
const BUFFER: usize = 256 << 10;

/// What an entry is, as `ustar` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File = b'0' as isize,
    Symlink = b'2' as isize,
    Dir = b'5' as isize,
    /// Records about the entry that follows.
    Pax = b'x' as isize,
}

/// Writes one archive.
pub(super) struct Writer<'a, W> {
    store: &'a Store,
    cancel: &'a Cancel,
    out: W,
    buffer: Box<[u8]>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn new(store: &'a Store, cancel: &'a Cancel, out: W) -> Self {
        Self { store, cancel, out, buffer: vec![0; BUFFER].into() }
    }

    /// Writes everything below a directory whose path is `at`: empty, or ending in `/`.
    pub(super) fn entries(&mut self, at: &str, dir: &Dir) -> Result<(), Error> {
        dir.entries.iter().try_for_each(|(name, node)| self.entry(at, name, node))
    }

    /// Writes one entry, a directory with everything below.
    pub(super) fn entry(&mut self, at: &str, name: &Name, node: &Node) -> Result<(), Error> {
        let path = format!("{at}{name}");
        match node {
            Node::File { digest, meta } => {
                self.head(Kind::File, &path, "", digest.size, *meta)?;
                self.content(digest)
            }
            Node::Symlink { target } => self.head(Kind::Symlink, &path, target, 0, Meta::root(0o777)),
            Node::Dir(dir) => {
                let path = path + "/";
                self.head(Kind::Dir, &path, "", 0, dir.meta)?;
                self.entries(&path, dir)
            }
        }
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        self.put(&[0; 2 * RECORD])?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::from_io)
    }

    /// Writes a blob, verified, and fills its last record.
    fn content(&mut self, digest: &Digest) -> Result<(), Error> {
        let mut blob = self.store.verified_reader(digest)?;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match blob.read(&mut self.buffer).map_err(Error::from_io)? {
                0 => break,
                count => self.out.write_all(&self.buffer[..count]).map_err(Error::from_io)?,
            }
        }
        self.fill(digest.size)
    }

    fn fill(&mut self, size: u64) -> Result<(), Error> {
        let over = (size % RECORD as u64) as usize;
        if over > 0 { self.put(&[0; RECORD][over..]) } else { Ok(()) }
    }

    fn head(&mut self, kind: Kind, path: &str, target: &str, size: u64, meta: Meta) -> Result<(), Error> {
        let mut records = String::new();
        let mut header = Header::new(kind, meta.mode);
        if !header.path(path) {
            record(&mut records, "path", path);
        }
        if !header.text(TARGET, target) {
            record(&mut records, "linkpath", target);
        }
        for (field, key, number) in
            [(SIZE, "size", size), (UID, "uid", meta.uid.into()), (GID, "gid", meta.gid.into())]
        {
            if !header.number(field, number) {
                record(&mut records, key, &number.to_string());
            }
        }
        if !records.is_empty() {
            let mut before = Header::new(Kind::Pax, 0o644);
            before.path("././@PaxHeader");
            before.number(SIZE, records.len() as u64);
            self.put(&before.sealed())?;
            self.put(records.as_bytes())?;
            self.fill(records.len() as u64)?;
        }
        self.put(&header.sealed())
    }
}

/// Adds a `pax` record: its length, which counts its own digits, then `key=value`.
fn record(records: &mut String, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length += 1;
    }
    *records += &format!("{length} {key}={value}\n");
}

/// A field of a header: offset and length.
type Field = (usize, usize);

const NAME: Field = (0, 100);
const MODE: Field = (100, 8);
const UID: Field = (108, 8);
const GID: Field = (116, 8);
const SIZE: Field = (124, 12);
const MTIME: Field = (136, 12);
const CHECKSUM: Field = (148, 8);
const KIND: usize = 156;
const TARGET: Field = (157, 100);
const MAGIC: Field = (257, 8);
const PREFIX: Field = (345, 155);

struct Header([u8; RECORD]);

impl Header {
    fn new(kind: Kind, mode: u32) -> Self {
        let mut header = Header([0; RECORD]);
        header.0[KIND] = kind as u8;
        header.put(MAGIC, b"ustar\x0000");
        header.number(MODE, mode.into());
        for field in [UID, GID, SIZE, MTIME] {
            header.number(field, 0);
        }
        header
    }

    fn put(&mut self, (at, room): Field, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(room)];
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a text and tells whether it fits. `ustar` has ASCII only.
    fn text(&mut self, field: Field, text: &str) -> bool {
        let fits = text.is_ascii() && text.len() <= field.1;
        if fits {
            self.put(field, text.as_bytes());
        }
        fits
    }

    /// Writes a path and tells whether it fits, whole or cut at a `/`. One that does not is there for the eye.
    fn path(&mut self, path: &str) -> bool {
        if self.text(NAME, path) {
            return true;
        }
        // The last byte of a directory's path is a `/` that must not be where it is cut.
        let inner = &path.as_bytes()[..path.len() - 1];
        let cut = (0..inner.len()).find(|at| inner[*at] == b'/' && path.len() - at - 1 <= NAME.1);
        if let Some(at) = cut
            && path.is_ascii()
            && at <= PREFIX.1
        {
            self.put(PREFIX, &path.as_bytes()[..at]);
            self.put(NAME, &path.as_bytes()[at + 1..]);
            return true;
        }
        let shown: Vec<u8> = path.bytes().map(|byte| if byte.is_ascii() { byte } else { b'?' }).collect();
        self.put(NAME, &shown);
        false
    }

    /// Writes a number in octal and tells whether it fits; one that does not leaves the field zero.
    fn number(&mut self, field: Field, number: u64) -> bool {
        let digits = field.1 - 1;
        let fits = number < 1 << (3 * digits);
        let text = format!("{:0digits$o}", if fits { number } else { 0 });
        self.put(field, text.as_bytes());
        fits
    }

    /// Gives the header with its checksum, which counts its own field as spaces.
    fn sealed(mut self) -> [u8; RECORD] {
        self.put(CHECKSUM, &[b' '; 8]);
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.put(CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 80, 88, 89, 90, 91, 92, 93, 94, 990, 991, 992, 993, 994] {
            let mut records = String::new();
            record(&mut records, "path", &"x".repeat(length));
            let (number, _) = records.split_once(' ').unwrap();
            assert_eq!(number, records.len().to_string());
        }
    }

    #[test]
    fn a_path_is_cut_at_a_slash_or_does_not_fit() {
        let header = |path: &str| {
            let mut header = Header::new(Kind::File, 0o644);
            let fits = header.path(path);
            let text = |(at, room): Field| {
                let field = &header.0[at..at + room];
                String::from_utf8(field.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
            };
            (fits, text(PREFIX), text(NAME))
        };
        let part = |length| "d".repeat(length);
        let long = format!("{}/{}", part(155), part(100));
        assert_eq!(header("a/b"), (true, String::new(), "a/b".into()));
        assert_eq!(header(&part(100)), (true, String::new(), part(100)));
        assert_eq!(header(&long), (true, part(155), part(100)));
        assert_eq!(header(&format!("{}/{}/", part(155), part(99))), (true, part(155), part(99) + "/"));
        // As much as fits stands in the name.
        let path = format!("a/{}/c", part(98));
        assert_eq!(header(&path), (true, "a".into(), format!("{}/c", part(98))));
        for path in
            [part(101), part(100) + "/", format!("{}/{}", part(156), part(100)), format!("é/{}", part(120))]
        {
            assert!(!header(&path).0, "{path}");
        }
        assert_eq!(header("é"), (false, String::new(), "??".into()));
    }

    #[test]
    fn numbers_end_where_octal_does() {
        let mut header = Header::new(Kind::File, 0);
        assert!(header.number(UID, 0o7777777));
        assert!(!header.number(UID, 0o10000000));
        assert!(header.number(SIZE, (8 << 30) - 1));
        assert!(!header.number(SIZE, 8 << 30));
        assert_eq!(&header.0[SIZE.0..SIZE.0 + SIZE.1], b"00000000000\0");
    }
}

//! Reads bundles from front to end and believes nothing: see the module doc.

use std::io::{self, Read, Write as _};

use sha2::Digest as _;

use super::header::{self, END, RECORD};
use super::{CHECKSUM, Error, LISTING, Listing, Member, SIGNATURE, write};
use crate::base::{Cancel, Digest, Sha256};
use crate::store::{self, Store};

/// The largest listing that is read.
const LARGEST: u64 = 256 << 20;
/// The largest signature that is read.
const LARGEST_SIGNATURE: u64 = 1 << 20;
/// How much of a member is in memory.
const BUFFER: usize = 1 << 20;

/// Checks a signature: the public key as the listing names it, the listing's bytes, the signature's. The error says
/// what is wrong.
pub type Check<'a> = dyn Fn(&str, &[u8], &[u8]) -> Result<(), String> + 'a;

/// Gets a member with its bytes, which are as listed.
pub type Give<'a> = dyn FnMut(&Member, Vec<u8>) -> Result<(), Error> + 'a;

/// What is done with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It is compared with the listing.
    Check,
    /// It is stored as a blob.
    Store,
    /// It is given to the caller.
    Give,
}

/// A bundle whose front was read.
pub struct Reader<'a, R> {
    input: R,
    name: String,
    cancel: &'a Cancel,
    listing: Listing,
    buffer: Vec<u8>,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Reads the front of a bundle: the listing, its hash and its signature. `name` is for errors.
    pub fn open(input: R, name: &str, check: &Check<'_>, cancel: &'a Cancel) -> Result<Self, Error> {
        let listing = Listing::new(Vec::new(), &[], &[]);
        let mut reader = Self { input, name: name.to_owned(), cancel, listing, buffer: vec![0; BUFFER] };
        reader.listing = reader.front(check)?;
        Ok(reader)
    }

    /// What is in it.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    fn front(&mut self, check: &Check<'_>) -> Result<Listing, Error> {
        let not =
            |bundle: &str, why: &str| Error::NotABundle { bundle: bundle.to_owned(), why: why.to_owned() };
        let mut head = [0; RECORD];
        if self.fill(&mut head)? < RECORD {
            return Err(not(&self.name, "it is too short"));
        }
        if header::path(&head) != LISTING {
            return Err(not(&self.name, "it does not begin with `bundle.json`"));
        }
        let text = self.file(LISTING, Some(head), LARGEST)?;
        let hash = Sha256::of(&text);
        let sum = self.file(CHECKSUM, None, 1024)?;
        if sum != write::checksum(&hash).as_bytes() {
            let listed = String::from_utf8_lossy(&sum);
            let expected = listed.split(' ').next().and_then(|hex| hex.parse().ok());
            return Err(match expected.filter(|expected| *expected != hash) {
                Some(expected) => self.altered(LISTING, expected, hash),
                None => self.header_or_content(CHECKSUM, &sum, hash),
            });
        }
        let listing =
            Listing::parse(&text).map_err(|why| Error::Listing { bundle: self.name.clone(), why })?;
        if let Some(key) = &listing.signed_by {
            let signature = self.file(SIGNATURE, None, LARGEST_SIGNATURE)?;
            check(key, &text, &signature)
                .map_err(|why| Error::Signature { bundle: self.name.clone(), why })?;
        }
        Ok(listing)
    }

    fn header_or_content(&self, member: &str, bytes: &[u8], listing: Sha256) -> Error {
        let expected = Sha256::of(write::checksum(&listing).as_bytes());
        self.altered(member, expected, Sha256::of(bytes))
    }

    fn altered(&self, member: &str, expected: Sha256, received: Sha256) -> Error {
        Error::Content { bundle: self.name.clone(), member: member.to_owned(), expected, received }
    }

    /// Reads one of the files before the members, whose size only its header says.
    fn file(&mut self, path: &str, head: Option<[u8; RECORD]>, most: u64) -> Result<Vec<u8>, Error> {
        let head = match head {
            Some(head) => head,
            None => self.head(path)?,
        };
        let size = header::size(&head).filter(|size| *size <= most);
        let Some(size) = size.filter(|size| header::of(path, *size, false) == head) else {
            return Err(self.strange(path, &head));
        };
        let mut bytes = Vec::new();
        let got = (&mut self.input).take(size).read_to_end(&mut bytes);
        got.map_err(|source| self.failed(source))?;
        if (bytes.len() as u64) < size {
            return Err(Error::Truncated { bundle: self.name.clone(), member: path.to_owned() });
        }
        self.padding(path, size)?;
        Ok(bytes)
    }

    /// Goes through all members. What is to be stored goes to `store` if it is not there; what is to be given to the
    /// caller, to `give`. Errs at the first thing that is not as listed, before that is stored or given.
    pub fn members(
        mut self,
        store: Option<&Store>,
        take: &dyn Fn(&Member) -> Take,
        give: &mut Give<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Listing, Error> {
        let members = std::mem::take(&mut self.listing.members);
        let mut done = 0;
        for member in &members {
            let head = self.head(&member.path)?;
            if head != header::of_member(member) {
                return Err(self.strange(&member.path, &head));
            }
            let digest = Digest { hash: member.sha256, size: member.size };
            match (take(member), store) {
                (Take::Store, Some(store)) if !store.has_blob(&digest) => {
                    let mut writer = store.blob_writer()?;
                    self.content(member, false, &mut |part| {
                        writer.write_all(part).map_err(|error| Error::from_store(error, member))
                    })?;
                    writer.finish_expecting(&digest).map_err(|error| match error {
                        store::Error::Mismatch { received, .. } => {
                            self.altered(&member.name(), member.sha256, received.hash)
                        }
                        error => error.into(),
                    })?;
                    self.padding(&member.path, member.size)?;
                }
                (Take::Give, _) => {
                    let mut bytes = Vec::new();
                    self.content(member, true, &mut |part| {
                        bytes.extend_from_slice(part);
                        Ok(())
                    })?;
                    self.padding(&member.path, member.size)?;
                    give(member, bytes)?;
                }
                _ => {
                    self.content(member, true, &mut |_| Ok(()))?;
                    self.padding(&member.path, member.size)?;
                }
            }
            done += member.size;
            progress(done);
        }
        self.end()?;
        self.listing.members = members;
        Ok(self.listing)
    }

    /// Reads a member's bytes; compares them with its hash unless somebody else does.
    fn content(
        &mut self,
        member: &Member,
        hashing: bool,
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut hasher = hashing.then(sha2::Sha256::new);
        let mut left = member.size;
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match self.input.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|source| self.failed(source))?,
            };
            if count == 0 {
                return Err(Error::Truncated { bundle: self.name.clone(), member: member.name() });
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&buffer[..count]);
            }
            put(&buffer[..count])?;
            left -= count as u64;
        }
        self.buffer = buffer;
        match hasher.map(|hasher| Sha256(hasher.finalize().into())) {
            Some(received) if received != member.sha256 => {
                Err(self.altered(&member.name(), member.sha256, received))
            }
            _ => Ok(()),
        }
    }

    /// Reads the header that should be a member's.
    fn head(&mut self, path: &str) -> Result<[u8; RECORD], Error> {
        let mut head = [0; RECORD];
        match self.fill(&mut head)? {
            RECORD => Ok(head),
            0 => Err(Error::Missing { bundle: self.name.clone(), member: path.to_owned() }),
            _ => Err(Error::Truncated { bundle: self.name.clone(), member: path.to_owned() }),
        }
    }

    /// Says what is wrong with a header.
    fn strange(&self, path: &str, head: &[u8; RECORD]) -> Error {
        let (bundle, member) = (self.name.clone(), path.to_owned());
        if head.iter().all(|byte| *byte == 0) {
            return Error::Missing { bundle, member };
        }
        let found = header::path(head);
        if found == path {
            return Error::Header { bundle, member };
        }
        Error::Misplaced { bundle, member, found: found.escape_debug().to_string() }
    }

    fn padding(&mut self, path: &str, size: u64) -> Result<(), Error> {
        let mut fill = [0; RECORD];
        let fill = &mut fill[..header::fill(size)];
        let (bundle, member) = (self.name.clone(), path.to_owned());
        if self.fill(fill)? < fill.len() {
            return Err(Error::Truncated { bundle, member });
        }
        if fill.iter().any(|byte| *byte != 0) {
            return Err(Error::Padding { bundle, member });
        }
        Ok(())
    }

    /// Reads the end, and that nothing follows.
    fn end(&mut self) -> Result<(), Error> {
        let mut end = END;
        let count = self.fill(&mut end)?;
        let bundle = self.name.clone();
        if count < END.len() && end[..count].iter().all(|byte| *byte == 0) {
            return Err(Error::Truncated { bundle, member: "its end".to_owned() });
        }
        if end[..RECORD].iter().any(|byte| *byte != 0) && end[257..262] == *b"ustar" {
            let head = end[..RECORD].try_into().expect("as long");
            return Err(Error::Extra { bundle, member: header::path(&head).escape_debug().to_string() });
        }
        if end != END {
            return Err(Error::End { bundle });
        }
        match self.fill(&mut [0])? {
            0 => Ok(()),
            _ => Err(Error::Trailing { bundle }),
        }
    }

    /// Reads as much as there is.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut count = 0;
        while count < buffer.len() {
            match self.input.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(count)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::from_io("read", self.name.as_ref(), source)
    }
}

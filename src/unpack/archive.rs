//! Tar, zip and Debian packages, each in a function of its own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::place::{Entry, Place};
use super::stream::{Burst, Stopped, check, compression, open};
use super::{Error, Limits, Options, Owners, ar};
use crate::base::{Blame, Cancel, Digest, GuestPath};
use crate::store::{self, Meta, Node, Store, Tree};

/// A control archive is a few scripts and lists: the largest in Debian has less than 20 MB.
const CONTROL_LIMIT: u64 = 64 << 20;

/// The parts of a Debian package (deb(5)).
const PARTS: [&str; 2] = ["control", "data"];

/// A Debian package, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// The files of `control.tar`, by name: `control`, `postinst`, ….
    pub control: Tree,
    /// The content of the package.
    pub data: Tree,
}

/// What an archive is called and what may come out of it.
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) name: &'a str,
    pub(super) limits: Limits,
    pub(super) cancel: &'a Cancel,
}

/// Unpacks an archive of any known format. `name` is for errors.
pub fn archive(
    store: &Store,
    blob: &Digest,
    name: &str,
    options: &Options,
    cancel: &Cancel,
) -> Result<Tree, Error> {
    let source = Source { store, name, limits: options.limits, cancel };
    source.blame(blob, any(&source, blob, options))
}

fn any(source: &Source<'_>, blob: &Digest, options: &Options) -> Result<Tree, Error> {
    let mut head = Vec::new();
    let damaged = |error| source.sort(error, "its beginning");
    source.store.open_blob(blob)?.take(512).read_to_end(&mut head).map_err(damaged)?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return unzip(source, blob, options);
    }
    if head.starts_with(ar::MAGIC) {
        return Ok(package(source, blob, options)?.data);
    }
    let reader = source.store.verified_reader(blob)?;
    if compression(&head) == compression(b"") && !is_tar(&head) {
        return Err(Error::Unknown { archive: source.name.to_owned() });
    }
    let stream = open(reader, options.limits, source.cancel).map_err(damaged)?;
    untar(source, stream, options.strip.unwrap_or(1), options.owners)
}

/// Unpacks a tar archive, plain or compressed, as it comes. `name` is for errors.
pub fn stream(
    store: &Store,
    input: impl Read,
    name: &str,
    options: &Options,
    cancel: &Cancel,
) -> Result<Tree, Error> {
    let source = Source { store, name, limits: options.limits, cancel };
    let stream = open(input, options.limits, cancel).map_err(|error| source.sort(error, "its beginning"))?;
    untar(&source, stream, options.strip.unwrap_or(0), options.owners)
}

/// Unpacks a Debian package, owners kept. `name` is for errors.
pub fn deb(store: &Store, blob: &Digest, name: &str, limits: Limits, cancel: &Cancel) -> Result<Deb, Error> {
    let options = Options { strip: Some(0), owners: Owners::Kept, limits };
    let source = Source { store, name, limits, cancel };
    source.blame(blob, package(&source, blob, &options))
}

/// Reads a Debian package's `control` file, and nothing behind it: the package's hash is not compared. `name` is for
/// errors.
pub fn control(store: &Store, blob: &Digest, name: &str, cancel: &Cancel) -> Result<Vec<u8>, Error> {
    let limits = Limits::default();
    let options = Options { strip: Some(0), owners: Owners::Kept, limits };
    let source = Source { store, name, limits, cancel };
    let parts = source.blame(blob, parts(&source, blob, &options, Some("control")))?;
    let file = GuestPath::new("/control").expect("a constant path");
    match parts.get("control").and_then(|tree| tree.get(&file)) {
        Some(Node::File { digest, .. }) => Ok(store.read_blob(digest)?),
        _ => Err(source.damaged("no `control` in `control.tar`")),
    }
}

/// Looks for tar's magic, or for a header of the time before it whose checksum is right.
fn is_tar(head: &[u8]) -> bool {
    let mut header = tar::Header::new_old();
    if head.len() < 512 {
        return false;
    }
    header.as_mut_bytes().copy_from_slice(&head[..512]);
    let written = header.cksum().ok();
    header.set_cksum();
    head.iter().all(|byte| *byte == 0) || (written.is_some() && written == header.cksum().ok())
}

impl Source<'_> {
    /// An archive that can't be read may be upstream's fault, or its copy in the store has been damaged.
    pub(super) fn blame<T>(&self, blob: &Digest, result: Result<T, Error>) -> Result<T, Error> {
        if result.as_ref().is_err_and(|error| error.blame() == Blame::Input) {
            let mut copy = self.store.verified_reader(blob)?;
            io::copy(&mut copy, &mut io::sink()).map_err(|error| self.sort(error, "its beginning"))?;
        }
        result
    }

    /// Tells what an I/O error really is: the store's, a limit, a stop, or damage.
    pub(super) fn sort(&self, error: io::Error, place: &str) -> Error {
        let archive = self.name.to_owned();
        if let Some(burst) = error.get_ref().and_then(|inner| inner.downcast_ref::<Burst>()) {
            return Error::Bomb { archive, limit: burst.0.clone() };
        }
        if error.get_ref().is_some_and(|inner| inner.is::<Stopped>()) {
            return Error::Cancelled;
        }
        match error.downcast::<store::Error>() {
            Ok(error) => Error::Store(error),
            Err(source) => Error::Damaged { archive, place: place.to_owned(), source },
        }
    }

    fn damaged(&self, why: &str) -> Error {
        self.sort(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()), "its beginning")
    }

    fn entry(&self, error: io::Error, name: &[u8]) -> Error {
        self.sort(error, &format!("entry `{}`", String::from_utf8_lossy(name)))
    }

    pub(super) fn refuse(&self, name: &[u8], why: impl Into<String>) -> Error {
        let entry = String::from_utf8_lossy(name).into_owned();
        Error::Refused { archive: self.name.to_owned(), entry, why: why.into() }
    }

    /// Streams one file into the store.
    fn file(&self, name: &[u8], reader: &mut dyn Read, size: u64, mode: u32) -> Result<Digest, Error> {
        let mut writer = self.store.blob_writer()?;
        if mode & 0o111 != 0 {
            writer = writer.executable();
        }
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.entry(error, name)),
            };
            writer.write_all(&buffer[..count]).map_err(|error| self.entry(error, name))?;
            done += count as u64;
        }
        if done != size {
            return Err(self.entry(io::ErrorKind::UnexpectedEof.into(), name));
        }
        Ok(writer.finish()?)
    }

    fn count(&self, entries: &mut u64) -> Result<(), Error> {
        *entries += 1;
        if *entries > self.limits.entries {
            let limit = format!("{} entries", self.limits.entries);
            return Err(Error::Bomb { archive: self.name.to_owned(), limit });
        }
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

fn untar(source: &Source, stream: impl Read, strip: usize, owners: Owners) -> Result<Tree, Error> {
    let mut place = Place::new(source.name, strip);
    each(source, stream, owners, &mut |name, entry| place.add(name, entry))?;
    Ok(place.into_tree())
}

/// Takes an entry with its name.
type Take<'a> = dyn FnMut(&[u8], Entry) -> Result<(), Error> + 'a;

/// Goes through the entries of a tar archive, to its very end.
pub(super) fn each(
    source: &Source<'_>,
    stream: impl Read,
    owners: Owners,
    take: &mut Take<'_>,
) -> Result<(), Error> {
    let mut archive = tar::Archive::new(stream);
    let mut count = 0;
    let mut last = b"its beginning".to_vec();
    let after =
        |error, last: &[u8]| source.sort(error, &format!("what follows `{}`", String::from_utf8_lossy(last)));
    for entry in archive.entries().map_err(|error| source.sort(error, "its beginning"))? {
        source.count(&mut count)?;
        let mut entry = entry.map_err(|error| after(error, &last))?;
        let name = entry.path_bytes().into_owned();
        let header = entry.header();
        let number = |value: io::Result<u64>| value.map_err(|error| source.entry(error, &name));
        let mode = header.mode().map_err(|error| source.entry(error, &name))? & 0o7777;
        let (uid, gid) = match owners {
            Owners::Root => (0, 0),
            // Some tools leave the owner empty, which is root.
            Owners::Kept => {
                let old = header.as_old();
                let is_empty = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
                let uid = if is_empty(&old.uid) { 0 } else { number(header.uid())? };
                let gid = if is_empty(&old.gid) { 0 } else { number(header.gid())? };
                (uid, gid)
            }
        };
        let id =
            |value: u64| u32::try_from(value).map_err(|_| source.refuse(&name, "has an owner out of range"));
        let meta = Meta { mode, uid: id(uid)?, gid: id(gid)? };
        let kind = header.entry_type();
        let sparse = entry.pax_extensions().ok().flatten().is_some_and(|records| {
            records.flatten().any(|record| record.key_bytes().starts_with(b"GNU.sparse."))
        });
        if sparse {
            return Err(source.refuse(&name, "is a sparse file in pax form"));
        }
        let link = entry.link_name_bytes().map(|target| target.into_owned());
        let node = match kind {
            // A name that ends in a slash is a directory in archives from before POSIX.
            tar::EntryType::Regular | tar::EntryType::Continuous if name.ends_with(b"/") => {
                Entry::Dir { meta }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let size = entry.size();
                Entry::File { digest: source.file(&name, &mut entry, size, mode)?, meta }
            }
            tar::EntryType::Directory => Entry::Dir { meta },
            tar::EntryType::Symlink => {
                let target = link.unwrap_or_default();
                let target = String::from_utf8(target)
                    .map_err(|_| source.refuse(&name, "is a symbolic link whose target is not UTF-8"))?;
                Entry::Symlink { target }
            }
            tar::EntryType::Link => Entry::HardLink { target: link.unwrap_or_default() },
            tar::EntryType::Char => Entry::Special { what: "character device" },
            tar::EntryType::Block => Entry::Special { what: "block device" },
            tar::EntryType::Fifo => Entry::Special { what: "named pipe" },
            tar::EntryType::XGlobalHeader => continue,
            other => {
                return Err(source
                    .refuse(&name, format!("is of the unknown type `{}`", other.as_byte().escape_ascii())));
            }
        };
        take(&name, node)?;
        last = name;
    }
    // The rest is padding; reading it to its end checks the compression's checksum.
    let mut rest = archive.into_inner();
    let mut buffer = [0; 1 << 13];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if buffer[..count].iter().all(|byte| *byte == 0) => {}
            Ok(_) => {
                let garbage =
                    io::Error::new(io::ErrorKind::InvalidData, "garbage after the end of the archive");
                return Err(after(garbage, &last));
            }
            Err(error) => return Err(after(error, &last)),
        }
    }
}

fn unzip(source: &Source, blob: &Digest, options: &Options) -> Result<Tree, Error> {
    let broken = |error: zip::result::ZipError, place: &str| match error {
        zip::result::ZipError::Io(error) => source.sort(error, place),
        other => source.sort(io::Error::new(io::ErrorKind::InvalidData, other.to_string()), place),
    };
    let file = io::BufReader::new(source.store.open_blob(blob)?);
    let mut archive = zip::ZipArchive::new(file).map_err(|error| broken(error, "its directory"))?;
    let mut place = Place::new(source.name, options.strip.unwrap_or(0));
    let (mut count, mut given) = (0, 0);
    for index in 0..archive.len() {
        source.count(&mut count)?;
        let mut entry = archive.by_index(index).map_err(|error| broken(error, &format!("entry {index}")))?;
        let name = entry.name_raw().to_vec();
        let directory = entry.is_dir();
        // Only Unix writes modes; the type bits are looked at where there are some.
        let mode = entry.unix_mode().unwrap_or(if directory { 0o755 } else { 0o644 });
        let meta = Meta::root(match mode & 0o7777 {
            0 if directory => 0o755,
            0 => 0o644,
            mode => mode,
        });
        match mode & 0o170000 {
            0 | 0o100000 | 0o040000 | 0o120000 => {}
            _ => return Err(place.refuse(&name, "is a device, a pipe or a socket")),
        }
        let size = entry.size();
        check(given + size, blob.size, &source.limits).map_err(|error| source.entry(error, &name))?;
        let symlink = entry.is_symlink();
        // The directory of a zip may understate a size: one byte more than it says is enough to know.
        let mut content = (&mut entry).take(size + 1);
        let node = if directory {
            Entry::Dir { meta }
        } else if symlink {
            let mut target = String::new();
            content
                .take(4096)
                .read_to_string(&mut target)
                .map_err(|_| place.refuse(&name, "is a symbolic link whose target is not UTF-8"))?;
            Entry::Symlink { target }
        } else {
            given += size;
            Entry::File { digest: source.file(&name, &mut content, size, meta.mode)?, meta }
        };
        place.add(&name, node)?;
    }
    Ok(place.into_tree())
}

fn package(source: &Source, blob: &Digest, options: &Options) -> Result<Deb, Error> {
    let mut parts = parts(source, blob, options, None)?;
    let mut part =
        |name| parts.remove(name).ok_or_else(|| source.damaged(&format!("no member `{name}.tar`")));
    Ok(Deb { control: part("control")?, data: part("data")? })
}

/// Takes a Debian package's parts out, the whole of it or up to one part.
fn parts(
    source: &Source,
    blob: &Digest,
    options: &Options,
    last: Option<&str>,
) -> Result<BTreeMap<&'static str, Tree>, Error> {
    let mut reader = io::BufReader::with_capacity(1 << 16, source.store.verified_reader(blob)?);
    let mut magic = [0; 8];
    reader.read_exact(&mut magic).map_err(|error| source.sort(error, "its beginning"))?;
    if magic != *ar::MAGIC {
        return Err(Error::Unknown { archive: source.name.to_owned() });
    }
    let mut parts = BTreeMap::new();
    let mut first = true;
    while let Some(member) = ar::next(&mut reader).map_err(|error| source.sort(error, "a member header"))? {
        let place = format!("member `{}`", member.name);
        let damaged = |error| source.sort(error, &place);
        let mut content = (&mut reader).take(member.size);
        if first {
            let mut version = String::new();
            content.read_to_string(&mut version).map_err(damaged)?;
            if member.name != "debian-binary" || !version.starts_with("2.") {
                return Err(source.damaged("no `debian-binary` of version 2"));
            }
        } else if let Some(part) = PARTS.into_iter().find(|part| is_part(&member.name, part)) {
            let (strip, limits) = match part {
                "control" => (0, Limits { bytes: CONTROL_LIMIT.min(source.limits.bytes), ..source.limits }),
                _ => (options.strip.unwrap_or(0), source.limits),
            };
            let name = format!("{} ({})", source.name, member.name);
            let inner = Source { name: &name, ..*source };
            let stream = open(&mut content, limits, source.cancel).map_err(damaged)?;
            let tree = untar(&inner, stream, strip, options.owners)?;
            if parts.insert(part, tree).is_some() {
                return Err(source.damaged("two members of one kind"));
            }
            if last == Some(part) {
                return Ok(parts);
            }
        } else if !member.name.starts_with('_') {
            return Err(Error::Refused {
                archive: source.name.to_owned(),
                entry: member.name,
                why: "is no member of a Debian package".to_owned(),
            });
        }
        // Decompressors may stop before the member does.
        let unread = content.limit();
        if io::copy(&mut content, &mut io::sink()).map_err(damaged)? < unread {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        ar::pad(&mut reader, member.size).map_err(damaged)?;
        first = false;
    }
    Ok(parts)
}

fn is_part(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| matches!(rest, ".tar" | ".tar.gz" | ".tar.xz" | ".tar.zst"))
}

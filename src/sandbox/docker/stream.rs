//! A folder, or a file, as a stream of bytes: everything that a step can see of it, or leave in it.
//!
//! Entries come parents first, each with its tag:
//!
//! ```text
//! D name meta    a folder; what follows is in it
//! U              the folder is complete
//! F name meta linked size bytes   a file; `linked` says that others may follow that are the same one
//! H name number  another name of the linked file with this number
//! S name target  a symbolic link
//! N name mode    a pipe, a socket, or an overlay's whiteout (character device 0/0)
//! E              the end
//! ```
//!
//! `meta` is mode, time of modification, and the `user.` attributes: recorded owners and what an overlay notes.
//! Owners are not sent: each side's files are its own user's, and who they look like is the sandbox's matter.
//!
//! Neither side trusts the other. The receiver makes everything anew below one folder, goes by open folders, takes no
//! name that is a path, and follows no link; what it holds in memory are the paths of linked files.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Error, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

/// Deeper folders than the store takes in are not sent either; each level is an open folder.
const DEEPEST: usize = 512;
/// The longest name, link target and attribute that Linux knows (limits.h).
const NAME: usize = 255;
const TARGET: usize = 4096;
const VALUE: usize = 64 << 10;
/// How much of a file is held at once.
const CHUNK: usize = 256 << 10;
/// More attributes than any file has.
const ATTRIBUTES: usize = 64;

/// What a file or folder has besides its content.
struct Meta {
    mode: u32,
    time: Timespec,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Sends what is at a path. A link there is followed, one below it is not.
pub(super) fn send(source: &Path, to: &mut dyn Write) -> io::Result<()> {
    let stat = rustix::fs::stat(source)?;
    let mut sender = Sender { to, linked: BTreeMap::new(), buffer: vec![0; CHUNK] };
    let name = CString::new(source.as_os_str().as_bytes())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => sender.folder(CWD, &name, b"-", &stat, 0)?,
        _ => sender.file(CWD, &name, b"-", &stat)?,
    }
    sender.to.write_all(b"E")
}

struct Sender<'a> {
    to: &'a mut dyn Write,
    /// Device and inode of each file with several names, and its number.
    linked: BTreeMap<(u64, u64), u32>,
    buffer: Vec<u8>,
}

impl Sender<'_> {
    fn entry(&mut self, at: &OwnedFd, raw: &CStr, depth: usize) -> io::Result<()> {
        let stat = rustix::fs::statat(at, raw, AtFlags::SYMLINK_NOFOLLOW)?;
        let name = raw.to_bytes();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.folder(at, raw, name, &stat, depth),
            FileType::RegularFile => self.file(at, raw, name, &stat),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at, raw, Vec::new())?;
                self.tagged(b'S', name)?;
                put_bytes(self.to, target.as_bytes())
            }
            FileType::CharacterDevice if stat.st_rdev != 0 => Err(Error::other("a device can't be sent")),
            FileType::BlockDevice => Err(Error::other("a device can't be sent")),
            _ => {
                self.tagged(b'N', name)?;
                put(self.to, u64::from(stat.st_mode))
            }
        }
    }

    fn tagged(&mut self, tag: u8, name: &[u8]) -> io::Result<()> {
        self.to.write_all(&[tag])?;
        put_bytes(self.to, name)
    }

    fn folder(
        &mut self,
        at: impl AsFd,
        raw: &CStr,
        name: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(Error::other(format!("folders are more than {DEEPEST} deep")));
        }
        let (fd, is_closed) = open(&at, raw, OFlags::DIRECTORY, stat)?;
        self.tagged(b'D', name)?;
        self.meta(&fd, stat)?;
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.entry(&fd, entry.file_name(), depth + 1)?;
            }
        }
        if is_closed {
            close(&fd, stat)?;
        }
        self.to.write_all(b"U")
    }

    fn file(&mut self, at: impl AsFd, raw: &CStr, name: &[u8], stat: &Stat) -> io::Result<()> {
        let is_linked = stat.st_nlink > 1;
        if is_linked {
            let number = self.linked.len() as u32;
            if let Some(known) = self.linked.get(&(stat.st_dev, stat.st_ino)).copied() {
                self.tagged(b'H', name)?;
                return put(self.to, u64::from(known));
            }
            self.linked.insert((stat.st_dev, stat.st_ino), number);
        }
        let (fd, is_closed) = open(&at, raw, OFlags::NONBLOCK, stat)?;
        if is_closed {
            close(&fd, stat)?;
        }
        let mut file = File::from(fd);
        let size = file.metadata()?.len();
        self.tagged(b'F', name)?;
        self.meta(&file, stat)?;
        self.to.write_all(&[u8::from(is_linked)])?;
        put(self.to, size)?;
        match pour(&mut file, self.to, size, &mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::other("a file became shorter while it was sent"))
            }
            other => other,
        }
    }

    fn meta(&mut self, fd: impl AsFd, stat: &Stat) -> io::Result<()> {
        put(self.to, u64::from(stat.st_mode & 0o7777))?;
        put(self.to, stat.st_mtime as u64)?;
        put(self.to, stat.st_mtime_nsec as i64 as u64)?;
        let mut names = vec![0; VALUE];
        let length = match rustix::fs::flistxattr(&fd, &mut names) {
            Err(Errno::OPNOTSUPP) => 0,
            other => other?,
        };
        let names: Vec<&[u8]> =
            names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")).collect();
        put(self.to, names.len() as u64)?;
        for name in names {
            let mut value = vec![0; VALUE];
            let length = rustix::fs::fgetxattr(&fd, name, &mut value)?;
            put_bytes(self.to, name)?;
            put_bytes(self.to, &value[..length])?;
        }
        Ok(())
    }
}

/// Opens what is the caller's own, whatever its mode says; tells whether that had to be changed.
fn open(at: impl AsFd, raw: &CStr, kind: OFlags, stat: &Stat) -> io::Result<(OwnedFd, bool)> {
    let is_folder = kind.contains(OFlags::DIRECTORY);
    let needed = if is_folder { Access::READ_OK | Access::EXEC_OK } else { Access::READ_OK };
    let is_closed = rustix::fs::accessat(&at, raw, needed, AtFlags::EACCESS) == Err(Errno::ACCESS);
    if is_closed {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(&at, raw, mode | Mode::from_raw_mode(0o500), AtFlags::empty())?;
    }
    let flags = kind | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a path of the caller's names may be a link, as in `send`.
    let flags = if raw.to_bytes().contains(&b'/') { flags - OFlags::NOFOLLOW } else { flags };
    Ok((rustix::fs::openat(&at, raw, flags, Mode::empty())?, is_closed))
}

fn close(fd: impl AsFd, stat: &Stat) -> io::Result<()> {
    Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

/// Makes at `to`, where nothing is, what a sender sends.
pub(super) fn receive(from: &mut dyn Read, to: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(Error::other("no place to receive to"));
    };
    let top = rustix::fs::open(above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut receiver = Receiver {
        from,
        above,
        top,
        open: Vec::new(),
        at: PathBuf::new(),
        linked: Vec::new(),
        buffer: vec![0; CHUNK],
    };
    receiver.run(name)
}

struct Receiver<'a> {
    from: &'a mut dyn Read,
    /// The folder of the whole.
    above: &'a Path,
    top: OwnedFd,
    /// The folders that are not complete yet, with what they are to have.
    open: Vec<(OwnedFd, Meta)>,
    /// Where the innermost of them is, below `above`.
    at: PathBuf,
    /// The linked files.
    linked: Vec<PathBuf>,
    buffer: Vec<u8>,
}

impl Receiver<'_> {
    fn run(&mut self, own: &OsStr) -> io::Result<()> {
        let mut is_first = true;
        loop {
            let tag = self.byte()?;
            match tag {
                b'E' if self.open.is_empty() && !is_first => return Ok(()),
                b'U' => {
                    let (fd, meta) = self.open.pop().ok_or_else(broken)?;
                    dress(&fd, &meta)?;
                    self.at.pop();
                    continue;
                }
                b'D' | b'F' | b'H' | b'S' | b'N' => {}
                _ => return Err(broken()),
            }
            let sent = self.bytes(NAME)?;
            let name = if is_first { own } else { plain(&sent)? };
            if self.open.is_empty() && !is_first {
                return Err(broken());
            }
            match tag {
                b'D' => self.folder(name)?,
                b'F' => self.file(name)?,
                _ if is_first => return Err(broken()),
                b'H' => {
                    let number = self.number()?;
                    let first = usize::try_from(number).ok().and_then(|number| self.linked.get(number));
                    // Every folder on the way was made here, from this stream.
                    let first = self.above.join(first.ok_or_else(broken)?);
                    rustix::fs::linkat(CWD, first, self.parent(), name, AtFlags::empty())?;
                }
                b'S' => {
                    let target = self.bytes(TARGET)?;
                    rustix::fs::symlinkat(target.as_slice(), self.parent(), name)?;
                }
                _ => {
                    let mode = u32::try_from(self.number()?).map_err(|_| broken())?;
                    let kind = FileType::from_raw_mode(mode);
                    if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::CharacterDevice) {
                        return Err(broken());
                    }
                    rustix::fs::mknodat(self.parent(), name, kind, Mode::from_raw_mode(mode & 0o777), 0)?;
                }
            }
            is_first = false;
        }
    }

    /// The folder that an entry is made in.
    fn parent(&self) -> &OwnedFd {
        self.open.last().map_or(&self.top, |(fd, _)| fd)
    }

    fn folder(&mut self, name: &OsStr) -> io::Result<()> {
        if self.open.len() > DEEPEST {
            return Err(broken());
        }
        let meta = self.meta()?;
        rustix::fs::mkdirat(self.parent(), name, Mode::RWXU)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.open.push((rustix::fs::openat(self.parent(), name, flags, Mode::empty())?, meta));
        self.at.push(name);
        Ok(())
    }

    fn file(&mut self, name: &OsStr) -> io::Result<()> {
        let meta = self.meta()?;
        let is_linked = self.byte()? != 0;
        let size = self.number()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(self.parent(), name, flags, Mode::RUSR | Mode::WUSR)?);
        pour(self.from, &mut file, size, &mut self.buffer)?;
        if is_linked {
            self.linked.push(self.at.join(name));
        }
        dress(&file, &meta)
    }

    fn meta(&mut self) -> io::Result<Meta> {
        let mode = u32::try_from(self.number()?).map_err(|_| broken())?;
        let time = Timespec { tv_sec: self.number()? as i64, tv_nsec: self.number()? as i64 };
        let count = self.number()?;
        if mode > 0o7777 || count > ATTRIBUTES as u64 {
            return Err(broken());
        }
        let mut attributes = Vec::new();
        for _ in 0..count {
            let name = self.bytes(NAME)?;
            if !name.starts_with(b"user.") {
                return Err(broken());
            }
            attributes.push((name, self.bytes(VALUE)?));
        }
        Ok(Meta { mode, time, attributes })
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= most);
        let mut bytes = vec![0; length.ok_or_else(broken)?];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Copies so many bytes, or fails with `UnexpectedEof`.
fn pour(from: &mut dyn Read, to: &mut dyn Write, mut left: u64, buffer: &mut [u8]) -> io::Result<()> {
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match from.read(&mut buffer[..part])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                to.write_all(&buffer[..count])?;
                left -= count as u64;
            }
        }
    }
    Ok(())
}

fn dress(file: impl AsFd, meta: &Meta) -> io::Result<()> {
    for (name, value) in &meta.attributes {
        rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty())?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode))?;
    let times = Timestamps { last_access: meta.time, last_modification: meta.time };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Takes a name that names something in one folder only.
fn plain(name: &[u8]) -> io::Result<&OsStr> {
    let is_plain =
        !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|byte| b"/\0".contains(byte));
    if is_plain { Ok(OsStr::from_bytes(name)) } else { Err(broken()) }
}

fn broken() -> Error {
    Error::new(io::ErrorKind::InvalidData, "the stream is none of nodeimg's")
}

fn put(to: &mut dyn Write, number: u64) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())
}

fn put_bytes(to: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    put(to, bytes.len() as u64)?;
    to.write_all(bytes)
}

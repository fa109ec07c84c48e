//! A commit's tree as one tar: the same bytes for the same tree, whoever makes it and wherever from.
//!
//! | in git | in the tar |
//! | --- | --- |
//! | the tree | directory `source/`, in which all else is: tars of upstreams look like this, and one leading directory is what unpacking takes off |
//! | subtree | directory, mode 0755, before what is in it |
//! | file | as it is (no filter, no line ends, LFS pointers stay pointers), mode 0644, or 0755 if executable |
//! | symbolic link | as it is, mode 0777 |
//! | submodule | its tree, or an empty directory without `submodules` |
//!
//! Entries of a directory are sorted by the bytes of their names. Owners are 0, times are the epoch, names of
//! owners are empty; the format is GNU's, whose long names need no further metadata. What git would refuse
//! to check out is refused here, and so is what a tree of the store can't hold.

use std::collections::BTreeMap;

use git2::{ObjectType, Oid};
use tar::{EntryType, Header};

use super::modules::{self, Modules};
use super::remote::{Job, Repository, printable};
use super::{Error, Id, Want};
use crate::base::Name;
use crate::fetch::network::{LARGEST, Trouble, public};
use crate::store::{self, BlobWriter};

/// libgit2 gives a file as a whole, so this is held in memory.
const LARGEST_FILE: u64 = 512 << 20;
/// Components of a name in the tar, as for archives.
const MAX_DEPTH: usize = 200;
/// Entries of all repositories together, as for archives.
const MAX_ENTRIES: u64 = 2_000_000;
/// Repositories in one tree.
const MAX_SUBMODULES: u32 = 500;
/// No `.gitmodules` is larger.
const LARGEST_MODULES: usize = 1 << 20;

/// Git's modes of entries.
const DIRECTORY: i32 = 0o040_000;
const PLAIN: i32 = 0o100_644;
/// Written by very old versions of git; means the same.
const GROUP_WRITABLE: i32 = 0o100_664;
const EXECUTABLE: i32 = 0o100_755;
const LINK: i32 = 0o120_000;
const SUBMODULE: i32 = 0o160_000;

/// Writes the tar.
pub(super) struct Packer<'a> {
    job: &'a Job<'a>,
    submodules: bool,
    out: tar::Builder<BlobWriter<'a>>,
    entries: u64,
    bytes: u64,
    repositories: u32,
}

/// A repository that is being packed, and where in the tar.
struct At<'a> {
    repository: &'a Repository,
    odb: &'a git2::Odb<'a>,
    /// As upstream has it.
    url: &'a str,
    /// The length of the path of the repository's own root in the tar.
    root: usize,
    modules: Modules,
}

impl At<'_> {
    fn refuse(&self, path: &str, why: impl Into<String>) -> Trouble {
        let entry = printable(path.get(self.root + 1..).filter(|inner| !inner.is_empty()).unwrap_or(path));
        let repository = format!("{}@{}", public(self.url), self.repository.commit);
        Trouble::Final(Error::Refused { repository, entry, why: why.into() }.into())
    }
}

/// A place that sent less than the commit needs.
fn incomplete(error: git2::Error) -> Trouble {
    Trouble::Lasting(format!("is incomplete: {}", printable(error.message())))
}

impl<'a> Packer<'a> {
    pub(super) fn new(job: &'a Job<'a>, submodules: bool) -> Result<Self, Trouble> {
        let writer = job.context.store.blob_writer().map_err(|error| Trouble::Final(error.into()))?;
        Ok(Self { job, submodules, out: tar::Builder::new(writer), entries: 0, bytes: 0, repositories: 0 })
    }

    /// Packs a commit. Gives its tree and the tar.
    pub(super) fn pack(
        mut self,
        repository: &Repository,
        url: &str,
    ) -> Result<(Id, BlobWriter<'a>), Trouble> {
        let tree = self.repository(repository, url, "source", 0)?;
        let writer = self.out.into_inner().map_err(|error| written(self.job, error))?;
        Ok((tree, writer))
    }

    fn repository(
        &mut self,
        repository: &Repository,
        url: &str,
        path: &str,
        depth: usize,
    ) -> Result<Id, Trouble> {
        let odb = repository.git.odb().map_err(incomplete)?;
        let commit = repository.git.find_commit(repository.commit.into()).map_err(incomplete)?;
        let tree = commit.tree_id();
        let mut at = At { repository, odb: &odb, url, root: path.len(), modules: Modules::default() };
        if self.submodules {
            at.modules = self.modules(&at, tree, path)?;
        }
        self.directory(&at, tree, path, depth)?;
        Ok(tree.into())
    }

    /// Reads `.gitmodules`, if there is one.
    fn modules(&self, at: &At<'_>, tree: Oid, path: &str) -> Result<Modules, Trouble> {
        let tree = at.repository.git.find_tree(tree).map_err(incomplete)?;
        let Some(entry) = tree.get_name_bytes(b".gitmodules") else { return Ok(Modules::default()) };
        let file = format!("{path}/.gitmodules");
        if !matches!(entry.filemode_raw(), PLAIN | GROUP_WRITABLE | EXECUTABLE) {
            return Err(at.refuse(&file, "is not a file"));
        }
        let (size, _) = at.odb.read_header(entry.id()).map_err(incomplete)?;
        if size > LARGEST_MODULES {
            return Err(at.refuse(&file, "is larger than any"));
        }
        let content = at.odb.read(entry.id()).map_err(incomplete)?;
        let text = std::str::from_utf8(content.data()).map_err(|_| at.refuse(&file, "is not UTF-8"))?;
        Modules::parse(text).map_err(|why| at.refuse(&file, format!("can't be read: {why}")))
    }

    fn directory(&mut self, at: &At<'_>, id: Oid, path: &str, depth: usize) -> Result<(), Trouble> {
        // A file in it has two components more: `source` and its name.
        if depth + 2 > MAX_DEPTH {
            return Err(at.refuse(path, format!("is more than {MAX_DEPTH} directories deep")));
        }
        self.count()?;
        self.add(&format!("{path}/"), EntryType::Directory, 0o755, &[])?;
        let tree = at.repository.git.find_tree(id).map_err(incomplete)?;
        let mut entries = BTreeMap::new();
        for entry in &tree {
            let name = String::from_utf8_lossy(entry.name_bytes());
            let path = format!("{path}/{name}");
            if std::str::from_utf8(entry.name_bytes()).is_err() {
                return Err(at.refuse(&path, "has a name that is not UTF-8"));
            }
            if name == ".." {
                return Err(at.refuse(&path, "goes up with `..`"));
            }
            if name.eq_ignore_ascii_case(".git") {
                return Err(at.refuse(&path, "is named like git's own directory"));
            }
            let name = Name::new(&name).map_err(|_| at.refuse(&path, "has a name that no file can have"))?;
            if entries.insert(name, (entry.filemode_raw(), entry.id())).is_some() {
                return Err(at.refuse(&path, "is there twice"));
            }
        }
        drop(tree);
        for (name, (mode, id)) in entries {
            let path = format!("{path}/{name}");
            match mode {
                DIRECTORY => self.directory(at, id, &path, depth + 1)?,
                PLAIN | GROUP_WRITABLE => self.file(at, id, &path, 0o644)?,
                EXECUTABLE => self.file(at, id, &path, 0o755)?,
                LINK => self.link(at, id, &path)?,
                SUBMODULE => self.submodule(at, id, &path, depth + 1)?,
                other => return Err(at.refuse(&path, format!("has the unknown mode `{other:o}`"))),
            }
        }
        Ok(())
    }

    fn file(&mut self, at: &At<'_>, id: Oid, path: &str, mode: u32) -> Result<(), Trouble> {
        self.count()?;
        let (size, kind) = at.odb.read_header(id).map_err(incomplete)?;
        if kind != ObjectType::Blob {
            return Err(at.refuse(path, "is a file without content"));
        }
        if size as u64 > LARGEST_FILE {
            return Err(at.refuse(path, format!("is larger than {LARGEST_FILE} bytes")));
        }
        let content = at.odb.read(id).map_err(incomplete)?;
        self.add(path, EntryType::Regular, mode, content.data())
    }

    fn link(&mut self, at: &At<'_>, id: Oid, path: &str) -> Result<(), Trouble> {
        self.count()?;
        let (size, kind) = at.odb.read_header(id).map_err(incomplete)?;
        // Linux's PATH_MAX, with the zero byte at its end.
        if kind != ObjectType::Blob || size >= 4096 {
            return Err(at.refuse(path, "is a symbolic link to nowhere"));
        }
        let content = at.odb.read(id).map_err(incomplete)?;
        let target = std::str::from_utf8(content.data());
        let target = target.map_err(|_| at.refuse(path, "is a symbolic link whose target is not UTF-8"))?;
        if target.is_empty() || target.contains('\0') {
            return Err(at.refuse(path, "is a symbolic link to nothing"));
        }
        let mut header = header(EntryType::Symlink, 0o777, 0);
        // The field holds a target as it is; a longer one is not made tidy either.
        let result = match header.set_link_name_literal(target) {
            Ok(()) => self.out.append_data(&mut header, path, std::io::empty()),
            Err(_) => self.out.append_link(&mut header, path, target),
        };
        result.map_err(|error| written(self.job, error))
    }

    fn submodule(&mut self, at: &At<'_>, id: Oid, path: &str, depth: usize) -> Result<(), Trouble> {
        if !self.submodules {
            self.count()?;
            return self.add(&format!("{path}/"), EntryType::Directory, 0o755, &[]);
        }
        self.repositories += 1;
        if self.repositories > MAX_SUBMODULES {
            return Err(self.too_large(format!("{MAX_SUBMODULES} submodules")));
        }
        let inner = path.get(at.root + 1..).unwrap_or_default();
        let url = at
            .modules
            .url(inner)
            .ok_or_else(|| at.refuse(path, "is a submodule that `.gitmodules` does not name"))?;
        let url = modules::resolve(at.url, url)
            .map_err(|why| at.refuse(path, format!("is a submodule that {why}")))?;
        let context = self.job.context;
        let (places, want) = (context.network.places(&url, None), Want::Rev(id.into()));
        let who = format!("{}@{id}", public(&url));
        let obtain = |place: &str| self.job.obtain(place, &want, None);
        let repository = context.network.try_all(&who, &places, obtain, context).map_err(Trouble::Final)?;
        self.repository(&repository, &url, path, depth)?;
        Ok(())
    }

    /// Counts an entry, and looks whether to stop.
    fn count(&mut self) -> Result<(), Trouble> {
        if self.job.context.cancel.is_cancelled() {
            return Err(Trouble::Final(crate::fetch::Error::Cancelled));
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.too_large(format!("{MAX_ENTRIES} entries")));
        }
        Ok(())
    }

    fn add(&mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<(), Trouble> {
        self.bytes += content.len() as u64;
        if self.bytes > LARGEST {
            return Err(self.too_large(format!("{LARGEST} bytes")));
        }
        let mut header = header(kind, mode, content.len() as u64);
        self.out.append_data(&mut header, path, content).map_err(|error| written(self.job, error))
    }

    fn too_large(&self, limit: String) -> Trouble {
        Trouble::Final(Error::TooLarge { repository: self.job.who.clone(), limit }.into())
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn written(job: &Job<'_>, error: std::io::Error) -> Trouble {
    let error = match error.downcast::<store::Error>() {
        Ok(error) => error,
        Err(error) => store::Error::from_io("write", job.context.store.path(), error),
    };
    Trouble::Final(error.into())
}

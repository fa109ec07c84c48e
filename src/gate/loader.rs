//! Which libraries the dynamic loader of an image would take, and where it would give up.
//!
//! glibc's rules (ld.so(8)): `DT_RPATH` of a file and of those that loaded it unless it has `DT_RUNPATH`; `DT_RUNPATH`;
//! `/etc/ld.so.cache`; the default folders, on Debian with the machine's own. A folder that only `/etc/ld.so.conf` names
//! counts when `ldconfig` wrote it into the cache. musl has one list of folders and no cache.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Error;
use super::elf::{self, Elf};
use crate::base::{Arch, Digest, GuestPath, Name};
use crate::store::{Node, Store, Tree};

/// Larger files are no libraries.
const MAX_FILE: u64 = 1 << 30;

pub(super) struct Loader<'a> {
    store: &'a Store,
    tree: &'a Tree,
    arch: Option<Arch>,
    /// What `/etc/ld.so.cache` says: paths by name.
    cache: BTreeMap<String, Vec<String>>,
    read: RefCell<BTreeMap<Digest, Rc<Content>>>,
}

/// What a file is.
#[derive(Debug)]
enum Content {
    Elf(Elf),
    /// A script and its first line.
    Script(String),
    /// An ELF file that can't be read.
    Damaged(String),
    Other,
}

/// What starting a program would take, and what would stop it.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// The paths that are asked for, the program first; links not followed.
    pub(super) files: Vec<GuestPath>,
    /// The libraries that are needed by name.
    pub(super) needed: BTreeSet<String>,
    /// What is wrong: file, message, hint.
    pub(super) faults: Vec<(String, String, String)>,
}

/// A library that is to be found.
struct Wanted {
    name: String,
    by: GuestPath,
    /// Whether it is opened at run time.
    opened: bool,
    /// `DT_RPATH` of those that load it, `$ORIGIN` put in.
    rpath: Vec<String>,
    runpath: Vec<String>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(store: &'a Store, tree: &'a Tree, arch: Option<Arch>) -> Result<Self, Error> {
        let cache = match tree.follow(&guest("/etc/ld.so.cache")) {
            Some((_, Node::File { digest, .. })) => parse_cache(&store.read_blob(digest)?),
            _ => BTreeMap::new(),
        };
        Ok(Self { store, tree, arch, cache, read: RefCell::default() })
    }

    fn content(&self, digest: &Digest) -> Result<Rc<Content>, Error> {
        if let Some(known) = self.read.borrow().get(digest) {
            return Ok(Rc::clone(known));
        }
        let content = if digest.size > MAX_FILE {
            Content::Other
        } else {
            let bytes = self.store.read_blob(digest)?;
            match Elf::parse(&bytes) {
                Ok(Some(elf)) => Content::Elf(elf),
                Err(reason) => Content::Damaged(reason),
                Ok(None) if bytes.starts_with(b"#!") => {
                    let line = bytes[2..].split(|byte| *byte == b'\n').next().unwrap_or_default();
                    Content::Script(String::from_utf8_lossy(&line[..line.len().min(256)]).trim().to_owned())
                }
                Ok(None) => Content::Other,
            }
        };
        let content = Rc::new(content);
        self.read.borrow_mut().insert(*digest, Rc::clone(&content));
        Ok(content)
    }

    /// Finds a file, links followed.
    fn file(&self, path: &GuestPath) -> Option<(GuestPath, Digest)> {
        match self.tree.follow(path)? {
            (at, Node::File { digest, .. }) => Some((at, *digest)),
            _ => None,
        }
    }

    /// Follows all that starting a program would load. `loads` are libraries that it opens by itself.
    pub(super) fn closure(&self, program: &GuestPath, loads: &[String]) -> Result<Closure, Error> {
        let mut closure = Closure::default();
        self.add(program, loads, 0, &mut closure)?;
        Ok(closure)
    }

    fn add(&self, program: &GuestPath, loads: &[String], depth: u8, all: &mut Closure) -> Result<(), Error> {
        let Some((at, digest)) = self.file(program) else { return Ok(()) };
        all.files.push(program.clone());
        let mut fault = |message: String, hint: &str| {
            all.faults.push((program.to_string(), message, hint.to_owned()));
        };
        match &*self.content(&digest)? {
            Content::Elf(elf) => self.load(program, &at, elf, loads, all),
            Content::Damaged(reason) => {
                fault(format!("`{program}` is no ELF file that can be read: {reason}"), TAKE_ANOTHER);
                Ok(())
            }
            Content::Other => {
                fault(
                    format!("`{program}` is neither an ELF file nor a script with `#!`"),
                    "a program begins with either; an archive may have to be unpacked first",
                );
                Ok(())
            }
            Content::Script(line) => {
                let mut words = line.split_whitespace();
                let interpreter = words.next().unwrap_or_default().to_owned();
                let path = GuestPath::new(&interpreter).ok().filter(|path| self.file(path).is_some());
                let Some(path) = path else {
                    fault(
                        format!("`{program}` is a script for `{interpreter}`, which is not in the image"),
                        "add the package that brings the interpreter",
                    );
                    return Ok(());
                };
                // The kernel goes on with scripts for scripts a few times.
                if depth < 4 { self.add(&path, &[], depth + 1, all) } else { Ok(()) }
            }
        }
    }

    fn load(
        &self,
        program: &GuestPath,
        at: &GuestPath,
        elf: &Elf,
        loads: &[String],
        all: &mut Closure,
    ) -> Result<(), Error> {
        let machine = elf::machine(elf.machine);
        if let Some(arch) = self.arch.filter(|arch| arch.name() != machine) {
            let message = format!("`{program}` is for {machine}, the image is for {arch}");
            all.faults.push((program.to_string(), message, format!("take the build for {arch}")));
            return Ok(());
        }
        let mut musl = false;
        if let Some(interpreter) = &elf.interpreter {
            musl = interpreter.contains("ld-musl");
            match GuestPath::new(interpreter).ok().filter(|path| self.file(path).is_some()) {
                Some(path) => all.files.push(path),
                None => {
                    let message =
                        format!("`{program}` asks for the loader `{interpreter}`, which is not in the image");
                    let hint =
                        "it is built for another C library: take a static build, or one for the image's";
                    all.faults.push((program.to_string(), message, hint.to_owned()));
                    return Ok(());
                }
            }
        } else if elf.needed.is_empty() {
            return Ok(());
        }
        // Libraries by name: like the loader, the first one that was found serves all.
        let mut found: BTreeMap<String, Option<Rc<Content>>> = BTreeMap::new();
        let mut open = wanted_by(program, at, elf, &[]);
        let opened = loads.iter().map(|name| Wanted {
            name: name.clone(),
            by: program.clone(),
            opened: true,
            rpath: own(&elf.rpath, at),
            runpath: own(&elf.runpath, at),
        });
        open.extend(opened);
        let mut checks = vec![(program.clone(), elf.wants.clone())];
        let mut next = 0;
        while next < open.len() {
            let wanted = &open[next];
            next += 1;
            all.needed.insert(wanted.name.clone());
            if found.contains_key(&wanted.name) || (musl && is_musl(&wanted.name)) {
                continue;
            }
            let Some((path, at, content)) = self.search(wanted, elf, musl)? else {
                all.faults.push(self.missing(wanted));
                found.insert(wanted.name.clone(), None);
                continue;
            };
            let (name, rpath) = (wanted.name.clone(), wanted.rpath.clone());
            all.files.push(path.clone());
            if let Content::Elf(library) = &*content {
                open.extend(wanted_by(&path, &at, library, &rpath));
                checks.push((path, library.wants.clone()));
            }
            found.insert(name, Some(content));
        }
        for (file, wants) in checks {
            all.faults.extend(versions(&file, &wants, &found));
        }
        Ok(())
    }

    /// Finds a library that fits the program: its path, the file itself and what is in it.
    fn search(
        &self,
        wanted: &Wanted,
        program: &Elf,
        musl: bool,
    ) -> Result<Option<(GuestPath, GuestPath, Rc<Content>)>, Error> {
        let triplet = self.arch.map_or("", Arch::triplet);
        let mut paths = Vec::new();
        if wanted.name.contains('/') {
            paths.push(wanted.name.clone());
        } else {
            let folders = |list: &[String]| -> Vec<String> {
                list.iter().map(|folder| format!("{folder}/{}", wanted.name)).collect()
            };
            if wanted.runpath.is_empty() {
                paths.extend(folders(&wanted.rpath));
            }
            paths.extend(folders(&wanted.runpath));
            if musl {
                paths.extend(folders(&["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned)));
            } else {
                paths.extend(self.cache.get(&wanted.name).into_iter().flatten().cloned());
                let usual = [
                    format!("/lib/{triplet}"),
                    format!("/usr/lib/{triplet}"),
                    "/lib64".to_owned(),
                    "/usr/lib64".to_owned(),
                    "/lib".to_owned(),
                    "/usr/lib".to_owned(),
                ];
                paths.extend(folders(&usual));
            }
        }
        for path in paths {
            let Some(path) = normal(&path) else { continue };
            let Some((at, digest)) = self.file(&path) else { continue };
            let content = self.content(&digest)?;
            // The loader goes on past libraries for other machines.
            if matches!(&*content, Content::Elf(elf) if (elf.machine, elf.wide) == (program.machine, program.wide))
            {
                return Ok(Some((path, at, content)));
            }
        }
        Ok(None)
    }

    fn missing(&self, wanted: &Wanted) -> (String, String, String) {
        let Wanted { name, by, opened, .. } = wanted;
        let verb = if *opened { "opens" } else { "needs" };
        let place = self.arch.map_or("/usr/lib".to_owned(), |arch| format!("/usr/lib/{}", arch.triplet()));
        let is_it = |path: &GuestPath| path.as_str().rsplit('/').next() == Some(name);
        let elsewhere = self.tree.walk().find(|(path, node)| is_it(path) && !matches!(node, Node::Dir(_)));
        let (message, hint) = match elsewhere {
            Some((path, _)) => (
                format!(
                    "`{by}` {verb} `{name}`, which is at `{path}`, where the image's loader does not look"
                ),
                format!("put it into `{place}`, or run `ldconfig` in the image after it is there"),
            ),
            None => (
                format!("`{by}` {verb} `{name}`, which is not in the image"),
                format!("add the package that brings it to the image, below `{place}`"),
            ),
        };
        (by.to_string(), message, hint)
    }
}

const TAKE_ANOTHER: &str = "compare the file with upstream's checksum, or take another build";

/// Compares the versions that a file wants with what its libraries have; one fault a library.
fn versions(
    file: &GuestPath,
    wants: &[(String, String)],
    found: &BTreeMap<String, Option<Rc<Content>>>,
) -> Vec<(String, String, String)> {
    let mut worst: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (library, version) in wants {
        let Some(Content::Elf(elf)) = found.get(library).and_then(|found| found.as_deref()) else { continue };
        // A library without any is taken as it is, with a warning.
        if elf.gives.is_empty() || elf.gives.contains(version) {
            continue;
        }
        let worst = worst.entry((library, prefix(version))).or_insert(version);
        if numbers(version) > numbers(worst) {
            *worst = version;
        }
    }
    let fault = |((library, prefix_of), version): ((&str, &str), &str)| {
        let Some(Content::Elf(elf)) = found.get(library).and_then(|found| found.as_deref()) else {
            unreachable!("it was found a line above");
        };
        let have = elf.gives.iter().filter(|one| prefix(one) == prefix_of && !numbers(one).is_empty());
        let message = match have.max_by_key(|one| numbers(one)) {
            Some(most) if numbers(most) < numbers(version) => {
                format!("`{file}` wants `{version}`, the image's `{library}` has up to `{most}`")
            }
            _ => format!("`{file}` wants `{version}`, which the image's `{library}` does not have"),
        };
        let hint = if prefix_of == "GLIBC" {
            "build it on the Debian release that the image is made of, or take a static build"
        } else {
            "build it on the release that the image is made of, or put the library that it was built with into the image"
        };
        (file.to_string(), message, hint.to_owned())
    };
    worst.into_iter().map(fault).collect()
}

/// Takes the number off a version: `GLIBC` of `GLIBC_2.34`.
fn prefix(version: &str) -> &str {
    version.rsplit_once('_').map_or(version, |(prefix, _)| prefix)
}

/// Gives a version's numbers; none where it has no number, as `GLIBC_PRIVATE`.
fn numbers(version: &str) -> Vec<u32> {
    let number = version.rsplit_once('_').map_or("", |(_, number)| number);
    let parts: Result<Vec<u32>, _> = number.split('.').map(str::parse).collect();
    parts.unwrap_or_default()
}

fn is_musl(name: &str) -> bool {
    name == "libc.so" || name.starts_with("libc.musl-") || name.starts_with("ld-musl-")
}

/// Lists what a file needs.
fn wanted_by(path: &GuestPath, at: &GuestPath, elf: &Elf, above: &[String]) -> Vec<Wanted> {
    let runpath = own(&elf.runpath, at);
    let mut rpath = if runpath.is_empty() { own(&elf.rpath, at) } else { Vec::new() };
    rpath.extend_from_slice(above);
    let wanted = |name: &String| Wanted {
        name: name.clone(),
        by: path.clone(),
        opened: false,
        rpath: rpath.clone(),
        runpath: runpath.clone(),
    };
    elf.needed.iter().map(wanted).collect()
}

/// Puts a file's own folder into a list of folders.
fn own(list: &[String], at: &GuestPath) -> Vec<String> {
    let folder = at.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    list.iter().map(|dir| dir.replace("${ORIGIN}", folder).replace("$ORIGIN", folder)).collect()
}

/// Takes `.` and `..` out of a path by its text; links in it are followed later.
fn normal(path: &str) -> Option<GuestPath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let mut path = GuestPath::root();
    for part in parts {
        path = path.join(&Name::new(part).ok()?);
    }
    Some(path)
}

fn guest(path: &str) -> GuestPath {
    GuestPath::new(path).expect("a constant path")
}

/// Reads `/etc/ld.so.cache` (glibc, `sysdeps/generic/dl-cache.h`): the part in its newer format, which may follow one in
/// the older.
fn parse_cache(bytes: &[u8]) -> BTreeMap<String, Vec<String>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let Some(start) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return known };
    let part = &bytes[start..];
    let number = |at: usize| -> Option<usize> {
        let field: [u8; 4] = part.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(field) as usize)
    };
    let text = |at: usize| -> Option<String> {
        let rest = part.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end.min(4096)]).into_owned())
    };
    let count = number(MAGIC.len()).unwrap_or_default();
    for entry in (0..count).map(|index| HEADER + index * ENTRY).take_while(|at| at + ENTRY <= part.len()) {
        let pair = (number(entry + 4).and_then(text), number(entry + 8).and_then(text));
        if let (Some(name), Some(path)) = pair {
            known.entry(name).or_default().push(path);
        }
    }
    known
}

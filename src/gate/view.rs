//! An image as gates see it.

use std::collections::BTreeMap;

use super::dump::Dump;
use super::loader::Loader;
use super::{Error, Image};
use crate::base::{Arch, GuestPath};
use crate::node::{Containerd, Handler, Node as Description};
use crate::store::{Node, Store, Tree};

/// Where containerd finds shims, and shims find their programs (systemd's default for services).
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An image, what its containerd reads, and what it makes of that.
pub struct View<'a> {
    pub(super) store: &'a Store,
    pub(super) tree: &'a Tree,
    pub(super) arch: Option<Arch>,
    pub(super) node: Option<&'a Description>,
    /// Where the configuration is.
    pub(super) config: &'a GuestPath,
    /// The configuration's files; or why containerd can't read them.
    pub(super) files: Result<Containerd, String>,
    pub(super) dump: Dump,
    pub(super) loader: Loader<'a>,
}

/// What a path of the image is, to who wants to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// It can be run; this is the file itself.
    There(GuestPath),
    /// It is there without permission to be run.
    NotExecutable(GuestPath),
    Missing,
}

impl<'a> View<'a> {
    pub(super) fn new(
        image: &Image<'a>,
        store: &'a Store,
        ask: impl FnOnce(&View<'a>) -> Result<Dump, Error>,
    ) -> Result<Self, Error> {
        let Image { tree, arch, config, node } = *image;
        if tree.follow(config).is_none() {
            return Err(Error::NoNode { config: config.clone() });
        }
        let mut view = Self {
            store,
            tree,
            arch,
            node,
            config,
            files: Ok(Containerd::default()),
            dump: Dump::LeftOut(String::new()),
            loader: Loader::new(store, tree, arch)?,
        };
        view.files = view.load()?;
        view.dump = ask(&view)?;
        Ok(view)
    }

    fn load(&self) -> Result<Result<Containerd, String>, Error> {
        let failed = std::cell::Cell::new(None);
        let read = |path: &GuestPath| match self.read(path) {
            Ok(found) => found,
            Err(error) => {
                failed.set(Some(error));
                None
            }
        };
        let list = |folder: &str| self.list(folder);
        let loaded = Containerd::load(self.config, &read, &list);
        match failed.take() {
            Some(error) => Err(error),
            None => Ok(loaded.map_err(|error| error.to_string())),
        }
    }

    /// Reads a file, links followed inside the image.
    pub(super) fn read(&self, path: &GuestPath) -> Result<Option<Vec<u8>>, Error> {
        match self.tree.follow(path) {
            Some((_, Node::File { digest, .. })) => Ok(Some(self.store.read_blob(digest)?)),
            _ => Ok(None),
        }
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let Ok(path) = GuestPath::new(folder) else { return Vec::new() };
        match self.tree.follow(&path) {
            Some((_, Node::Dir(dir))) => dir.entries.keys().map(|name| name.as_str().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// Looks at a program by its path.
    pub(super) fn at(&self, path: &GuestPath) -> Program {
        match self.tree.follow(path) {
            Some((at, Node::File { meta, .. })) if meta.mode & 0o111 != 0 => Program::There(at),
            Some((at, Node::File { .. })) => Program::NotExecutable(at),
            _ => Program::Missing,
        }
    }

    /// Looks for a program by its name, or its absolute path, as containerd and its shims do.
    pub(super) fn find(&self, name: &str) -> Program {
        if name.contains('/') {
            return GuestPath::new(name).map_or(Program::Missing, |path| self.at(&path));
        }
        let mut found = Program::Missing;
        for folder in PATH {
            let Ok(path) = GuestPath::new(&format!("{folder}/{name}")) else { continue };
            match self.at(&path) {
                there @ Program::There(_) => return there,
                other if found == Program::Missing => found = other,
                _ => {}
            }
        }
        found
    }

    /// Names the path that [`find`](Self::find) takes, links not followed.
    pub(super) fn path_of(&self, name: &str) -> Option<GuestPath> {
        if name.contains('/') {
            return GuestPath::new(name).ok();
        }
        let paths = PATH.iter().filter_map(|folder| GuestPath::new(&format!("{folder}/{name}")).ok());
        paths.into_iter().find(|path| matches!(self.at(path), Program::There(_)))
    }

    /// Gives the handlers that pods can ask for: what containerd makes of its files where it could be asked, else what
    /// is in them.
    pub(super) fn handlers(&self) -> &BTreeMap<String, Handler> {
        static NONE: BTreeMap<String, Handler> = BTreeMap::new();
        match (&self.dump, &self.files) {
            (Dump::Printed { config, .. }, _) => &config.handlers,
            (_, Ok(files)) => &files.handlers,
            _ => &NONE,
        }
    }

    /// Names the shim of a handler; nothing if its type names none.
    pub(super) fn shim(&self, handler: &Handler) -> Option<String> {
        if let Some(path) = &handler.path {
            return Some(path.clone());
        }
        if handler.kind.starts_with('/') {
            return Some(handler.kind.clone());
        }
        // containerd's `BinaryName`: the last two parts of `io.containerd.runc.v2`.
        let mut parts = handler.kind.rsplit('.');
        match (parts.next(), parts.next()) {
            (Some(version), Some(name)) if !name.is_empty() => {
                Some(format!("containerd-shim-{name}-{version}"))
            }
            _ => None,
        }
    }

    /// Names the program that a handler's shim calls; nothing if the shim runs containers itself.
    pub(super) fn binary(&self, handler: &Handler) -> Option<String> {
        let calls_runc = handler.kind.starts_with("io.containerd.runc.");
        handler.binary.clone().or_else(|| calls_runc.then(|| "runc".to_owned()))
    }
}

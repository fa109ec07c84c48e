//! The recipes that nodeimg comes with, and what people make of them: projects ([`init()`]) and further runtimes of a
//! project ([`add()`]).
//!
//! What is written is the recipes themselves with all that they need, their patches and locks, so that a project is
//! whole from then on: nothing refers back to the library. Everything is tried in a folder of its own first, as a whole
//! project; only then is it written. A file that exists is never written over, but for the one line of an image's
//! recipe that names its runtimes.

mod add;
mod edit;
mod error;
mod init;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

pub use add::{Added, add};
pub use error::Error;
pub use init::{Start, init};

use super::closure::{self, Paths};
use crate::base::Name;
use crate::recipe::{self, Id, Project, Role};

/// Files by path relative to a project's folder.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The recipes that nodeimg comes with, read and checked.
#[derive(Debug)]
pub struct Library {
    files: Files,
    /// What the recipes say.
    pub project: Project,
}

/// What became of the files that a command wanted to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Files that are new or changed, sorted.
    pub written: Vec<String>,
    /// Files that were there with another content and stay as they are, sorted.
    pub kept: Vec<String>,
}

impl Library {
    /// Reads the library out of its files.
    pub fn new(files: Files) -> Result<Self, Error> {
        let project = try_out(&files)?;
        Ok(Self { files, project })
    }

    /// Reads a project as if nodeimg came with it, with what it has noted of its images' trials.
    pub(super) fn of_project(project: &Project) -> Result<Self, Error> {
        let files = files_of(project.path(), &["recipes", "patches", "lockfiles", "trials"])?;
        Ok(Self { files, project: project.clone() })
    }

    /// Collects all files of some recipes and of what they need.
    pub(super) fn closure(&self, targets: &[Id]) -> Files {
        let Paths { files: mut paths, folders } = closure::paths(&self.project, targets);
        paths.extend(folders.iter().flat_map(|folder| self.below(&format!("{folder}/"))));
        let file = |path: String| self.files.get(&path).map(|bytes| (path, bytes.clone()));
        paths.into_iter().filter_map(file).collect()
    }

    /// Collects what is noted about trials of some images and of those they need.
    pub(super) fn trials(&self, targets: &[Id]) -> Files {
        let images = self.project.closure(targets).into_iter().filter(|id| id.role == Role::Image);
        let paths = images.map(|id| format!("trials/{}.toml", id.name));
        paths.filter_map(|path| self.files.get(&path).map(|bytes| (path, bytes.clone()))).collect()
    }

    /// Lists the files below a folder.
    fn below(&self, folder: &str) -> Vec<String> {
        let files = self.files.range(folder.to_owned()..).map(|(path, _)| path);
        files.take_while(|path| path.starts_with(folder)).cloned().collect()
    }

    /// Finds runtimes by name.
    fn runtimes(&self, names: &[String]) -> Result<Vec<Id>, Error> {
        let find = |name: &String| match Name::new(name) {
            Ok(own) if self.project.runtimes.contains_key(&own) => Ok(Id::new(Role::Runtime, &own)),
            _ => Err(Error::no_runtime(name, self.project.runtimes.keys())),
        };
        names.iter().map(find).collect()
    }
}

/// Loads a project that lies nowhere yet.
fn try_out(files: &Files) -> Result<Project, Error> {
    let folder = tempfile::tempdir().map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
    write(folder.path(), files)?;
    Ok(recipe::load(folder.path())?)
}

/// Writes files that are not there; tells which, and which are there with another content.
fn write(folder: &Path, files: &Files) -> Result<Written, Error> {
    let mut done = Written::default();
    for (name, bytes) in files {
        let path = folder.join(name);
        match fs_err::read(&path) {
            Ok(old) if old == *bytes => continue,
            Ok(_) => done.kept.push(name.clone()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let failed = |source| Error::Write { path: path.clone(), source };
                create(&path, bytes).map_err(failed)?;
                done.written.push(name.clone());
            }
            Err(source) => return Err(Error::Write { path, source }),
        }
    }
    Ok(done)
}

fn create(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs_err::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs_err::File::create_new(path)?.write_all(bytes)
}

/// Reads the files of a project that its recipes are read from.
fn files_of(project: &Path, folders: &[&str]) -> Result<Files, Error> {
    let mut files = Files::new();
    let mut open: Vec<_> = folders.iter().map(|&folder| folder.to_owned()).collect();
    while let Some(name) = open.pop() {
        let path = project.join(&name);
        let failed = |source| Error::Read { path: path.clone(), source };
        let entries = match fs_err::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let Some(own) = entry.file_name().to_str().map(|own| format!("{name}/{own}")) else { continue };
            if kind.is_dir() {
                open.push(own);
            } else {
                files.insert(own, fs_err::read(entry.path()).map_err(failed)?);
            }
        }
    }
    Ok(files)
}

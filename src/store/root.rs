//! Roots: what a project keeps from being collected.
//!
//! A file per project: its name as a JSON string, then one digest a line.

use std::io::Write as _;
use std::path::PathBuf;

use super::blob::Temp;
use super::error::At;
use super::{Error, Store};
use crate::base::{Digest, Sha256};

/// What one project keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Who keeps it: the project's directory.
    pub name: String,
    /// Trees and blobs, sorted.
    pub digests: Vec<Digest>,
}

impl Root {
    /// Tells whether the project is gone: then it keeps nothing.
    pub fn is_abandoned(&self) -> bool {
        !std::path::Path::new(&self.name).is_dir()
    }
}

impl Store {
    /// Keeps these trees and blobs, with all that trees speak of, and no longer what this name kept before.
    pub fn keep(&self, name: &str, digests: &[Digest]) -> Result<(), Error> {
        let path = self.root_path(name);
        if digests.is_empty() {
            return match fs_err::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other.at("remove", &path),
            };
        }
        let mut digests = digests.to_vec();
        digests.sort();
        digests.dedup();
        let mut text = serde_json::Value::from(name).to_string();
        text.extend(digests.iter().map(|digest| format!("\n{digest}")));
        text.push('\n');
        if fs_err::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        let mut temp = Temp::create(self)?;
        temp.file.write_all(text.as_bytes()).at("write", &path)?;
        temp.file.sync_all().at("write", &path)?;
        temp.persist(&path, 0o600)
    }

    /// Tells what is kept, by project.
    pub fn roots(&self) -> Result<Vec<Root>, Error> {
        let folder = self.path.join("roots");
        let mut roots = Vec::new();
        for entry in fs_err::read_dir(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            let text = fs_err::read_to_string(&path).at("read", &path)?;
            match parse(&text) {
                Some(root) => roots.push(root),
                None => return Err(Error::BadRoot { path }),
            }
        }
        roots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(roots)
    }

    fn root_path(&self, name: &str) -> PathBuf {
        self.path.join("roots").join(Sha256::of(name.as_bytes()).to_string())
    }
}

fn parse(text: &str) -> Option<Root> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let name = serde_json::from_str(lines.next()?).ok()?;
    let digest = |line: &str| {
        let (hash, size) = line.split_once('/')?;
        Some(Digest { hash: hash.parse().ok()?, size: size.parse().ok()? })
    };
    Some(Root { name, digests: lines.map(digest).collect::<Option<_>>()? })
}

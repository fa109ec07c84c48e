//! The crates of a cargo workspace: its `Cargo.lock` is the list of pins.
//!
//! In goes a `Cargo.lock` beside the recipe ([`Lock::parse`]); out come the requests and pins of what it lists: crates
//! of crates.io by the checksum that stands in it, git dependencies by their commit, whose pins stand in nodeimg's own
//! lock because a commit's name is not enough to trust. [`vendor()`] lays what was brought and unpacked out as cargo's
//! directory sources (cargo's reference, "Source Replacement"), and [`Lock::config`] is the configuration that makes
//! cargo take everything from there:
//!
//! ```text
//! registry/<name>-<version>/                a crate of crates.io
//! <repository>-<commit>/<name>-<version>/   a package of a git repository, taken out of its workspace
//! ```
//!
//! The file itself needs no pin: like every file of the project it is what it is. Never: cargo run, a version
//! chosen, a crate fetched that the list does not name.

mod error;
mod lockfile;
mod manifest;
mod vendor;

pub use error::Error;
pub use lockfile::{Fault, Wrong};
pub use vendor::vendor;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pin, crates, git};
use crate::base::{Name, Sha256};

/// The folder of the crates of crates.io.
const REGISTRY: &str = "registry";

/// The version of how crates are laid out: part of the key of whoever has them.
pub const RULES: u32 = 1;

/// `cargo = "…"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// A `Cargo.lock` beside the recipe, without `..`. The crates that it lists lie read-only at
    /// `/build/<source name>`, and cargo is told to take them from there.
    #[serde(rename = "cargo")]
    pub path: String,
}

/// The file, as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// A `Cargo.lock` beside the recipe.
    #[serde(rename = "cargo")]
    pub path: String,
}

impl Source {
    pub(super) fn request(&self) -> Request {
        Request { path: self.path.clone() }
    }
}

impl Request {
    pub(super) fn no_pin(&self) -> super::Error {
        super::Error::LocalPin { path: self.path.clone() }
    }
}

/// What a `Cargo.lock` lists, without the workspace's own packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// The crates, in the order of the file.
    pub crates: Vec<Crate>,
    /// What the workspace's own packages name, as the file has it.
    wanted: BTreeSet<String>,
}

/// One crate of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// The crate's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it is from.
    pub origin: Origin,
}

/// Where a crate is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// crates.io, and what its archive must be.
    Registry(Sha256),
    /// A git repository.
    Git(Repository),
}

/// A commit of a git repository, and what a manifest calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// The URL.
    pub url: String,
    /// `branch`, `tag` or `rev`, and its name; none for the default branch.
    pub reference: Option<(&'static str, String)>,
    /// The commit.
    pub commit: git::Id,
}

/// Where a crate lies below the source's folder, and what cargo is told about it. In keys but for `source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vendored {
    /// `registry/<name>-<version>`.
    pub folder: String,
    /// The crate's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The checksum that cargo compares with its lock; packages of git repositories have none.
    pub checksum: Option<Sha256>,
    /// Where it is from, for errors.
    #[serde(skip)]
    pub source: String,
}

impl Lock {
    /// Lists the crates of crates.io that the workspace's own packages ask for; the others are there for these.
    pub fn direct(&self) -> impl Iterator<Item = super::Request> {
        let is_wanted = |one: &&Crate| {
            let named = |wanted: &String| {
                let mut words = wanted.split(' ');
                words.next() == Some(&one.name) && words.next().is_none_or(|version| version == one.version)
            };
            matches!(one.origin, Origin::Registry(_)) && self.wanted.iter().any(named)
        };
        let request = |one: &Crate| crates::Request { name: one.name.clone(), version: one.version.clone() };
        self.crates.iter().filter(is_wanted).map(move |one| super::Request::Crates(request(one)))
    }

    /// Lists the git repositories, each once.
    pub fn repositories(&self) -> BTreeSet<&Repository> {
        let git = self.crates.iter().filter_map(|one| match &one.origin {
            Origin::Git(repository) => Some(repository),
            Origin::Registry(_) => None,
        });
        git.collect()
    }

    /// Writes the configuration that makes cargo take all of it from `folder`, an absolute path.
    pub fn config(&self, folder: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let directory = |name: &str| {
            let at = quoted(&format!("{folder}/{name}"));
            format!("\n[source.{name}]\ndirectory = {at}\n")
        };
        let mut text = format!("[source.crates-io]\nreplace-with = \"{REGISTRY}\"\n{}", directory(REGISTRY));
        let mut folders = BTreeSet::new();
        for repository in self.repositories() {
            let (url, name) = (quoted(&repository.url), repository.folder());
            let reference = repository.reference.as_ref();
            let line =
                reference.map(|(kind, name)| format!("{kind} = {}\n", quoted(name))).unwrap_or_default();
            text += &format!(
                "\n[source.{}]\ngit = {url}\n{line}replace-with = {}\n",
                quoted(&repository.to_string()),
                quoted(&name)
            );
            if folders.insert(name.clone()) {
                text += &directory(&name);
            }
        }
        text + "\n[net]\noffline = true\n"
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::network::public(&self.url))?;
        self.reference.as_ref().map_or(Ok(()), |(kind, name)| write!(f, "?{kind}={name}"))
    }
}

impl Repository {
    /// Gives what is fetched, submodules and all, as cargo does. Errs with a URL that nodeimg does not follow.
    pub fn request(&self) -> Result<super::Request, String> {
        let rev = Some(self.commit.to_string());
        let source = git::Source { git: self.url.clone(), rev, tag: None, branch: None, submodules: true };
        Ok(super::Request::Git(source.try_into()?))
    }

    /// Names the repository's entry in nodeimg's lock.
    pub fn source_name(&self) -> Name {
        Name::new(&format!("cargo.{}", self.folder())).expect("a folder's name is one")
    }

    /// The folder of its packages: its name and the start of its commit.
    fn folder(&self) -> String {
        let last = self.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let name: String =
            last.trim_end_matches(".git").chars().filter(|letter| plain(*letter)).take(64).collect();
        format!("{name}-{}", &self.commit.to_string()[..12])
    }
}

impl Crate {
    /// Gives what is fetched of a crate of crates.io, and what it must be.
    pub fn archive(&self, checksum: Sha256) -> (super::Request, Pin) {
        let request = crates::Request { name: self.name.clone(), version: self.version.clone() };
        (super::Request::Crates(request), Pin::file(checksum, None))
    }

    /// Says where it lies.
    pub fn vendored(&self) -> Vendored {
        let (Self { name, version, .. }, file) = (self, format!("{}-{}", self.name, self.version));
        let (folder, checksum, source) = match &self.origin {
            Origin::Registry(checksum) => (REGISTRY.to_owned(), Some(*checksum), file.clone()),
            Origin::Git(repository) => (repository.folder(), None, repository.to_string()),
        };
        let (name, version, folder) = (name.clone(), version.clone(), format!("{folder}/{file}"));
        Vendored { folder, name, version, checksum, source }
    }
}

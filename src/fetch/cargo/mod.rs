//! The crates of a cargo workspace: its `Cargo.lock` is the list of pins.
//!
//! In goes a `Cargo.lock` beside the recipe ([`Lock::parse`]); out come the requests and pins of what it lists: crates
//! of crates.io by the checksum that stands in it, git dependencies by their commit. [`vendor`] lays what was
//! brought and unpacked out as cargo's directory sources (cargo's reference, "Source Replacement"), and
//! [`Lock::config`] is the configuration that makes cargo take everything from there:
//!
//! ```text
//! registry/<name>-<version>/     a crate of crates.io
//! git-<n>/<name>-<version>/      a crate of the n-th git source, in the order of `Cargo.lock`'s own sources
//! ```
//!
//! The file itself needs no pin: like every file of the project it is what it is. Never: cargo run, a version
//! chosen, a crate fetched that the list does not name.

mod lockfile;
mod vendor;

pub use lockfile::{Fault, Wrong};
pub use vendor::vendor;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Pin, crates};
use crate::base::Sha256;

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
    pub(super) fn no_pin(&self) -> Error {
        Error::LocalPin { path: self.path.clone() }
    }
}

/// What a `Cargo.lock` lists, without the workspace's own packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// The crates, in the order of the file.
    pub crates: Vec<Crate>,
}

/// One crate of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// The crate's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its archive must be.
    pub checksum: Sha256,
}

/// Where a crate lies below the source's folder, and what cargo is told about it. In keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vendored {
    /// `registry/<name>-<version>`.
    pub folder: String,
    /// The checksum that cargo compares with its lock.
    pub checksum: Sha256,
}

impl Lock {
    /// Writes the configuration that makes cargo take all of it from `folder`, an absolute path.
    pub fn config(folder: &str) -> String {
        format!(
            "[source.crates-io]\nreplace-with = \"registry\"\n\n[source.registry]\ndirectory = \"{folder}/registry\"\n\n\
             [net]\noffline = true\n"
        )
    }
}

impl Crate {
    /// Gives what is fetched, and what it must be.
    pub fn fetched(&self) -> (super::Request, Pin) {
        let request = crates::Request { name: self.name.clone(), version: self.version.clone() };
        (super::Request::Crates(request), Pin::file(self.checksum, None))
    }

    /// Says where it lies.
    pub fn vendored(&self) -> Vendored {
        Vendored { folder: format!("registry/{}-{}", self.name, self.version), checksum: self.checksum }
    }
}

//! What a finished node image says of itself: read from its files, not from what it was meant to be.
//!
//! containerd's package is what dpkg's database has; runtimes are those that containerd will find in its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, containerd};
use crate::base::GuestPath;

/// The version of what is read, and how.
pub const SURVEY: u32 = 1;

/// Where dpkg keeps what is installed.
const DATABASE: &str = "/var/lib/dpkg/status";

/// The packages that are told of.
const PACKAGES: [&str; 2] = ["containerd", "runc"];

/// What an image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Survey {
    /// Versions of Debian packages that containers run with, by name; one that is not installed is not here.
    pub packages: BTreeMap<String, String>,
    /// The `version` of containerd's configuration.
    pub config_version: i64,
    /// The handler of pods that ask for none.
    pub default_runtime: String,
    /// What each handler is: containerd's `runtime_type`, and the program that the shim calls.
    pub runtimes: BTreeMap<String, Bound>,
}

/// A handler as containerd's file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// `runtime_type`.
    pub kind: String,
    /// `BinaryName`; none is the shim's own choice.
    pub binary: Option<String>,
}

/// Surveys an image. `config` is containerd's file, `read` gives a file of the image.
pub fn survey(config: &GuestPath, read: &dyn Fn(&GuestPath) -> Option<Vec<u8>>) -> Result<Survey, Error> {
    let text = read(config).ok_or_else(|| Error::NoFile { path: config.to_string() })?;
    let config = containerd::Config::parse(config.as_str(), &text)?;
    let database = read(&GuestPath::new(DATABASE).expect("a constant path")).unwrap_or_default();
    let packages = installed(&String::from_utf8_lossy(&database));
    let (default_runtime, runtimes) = config.bound();
    Ok(Survey { packages, config_version: config.version(), default_runtime, runtimes })
}

/// Finds the versions of [`PACKAGES`] in dpkg's database.
fn installed(database: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for paragraph in database.split("\n\n") {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(package), Some(version)) = (field("Package"), field("Version"))
            && PACKAGES.contains(&package)
            && field("Status").is_some_and(|status| status.ends_with(" installed"))
        {
            found.insert(package.to_owned(), version.to_owned());
        }
    }
    found
}

/// Takes what Debian adds off a version: `1.6.20` of `1.6.20~ds1-1+deb12u1`.
pub fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    let version = version.rsplit_once('-').map_or(version, |(version, _)| version);
    ["~ds", "+ds", "~dfsg", "+dfsg"]
        .iter()
        .find_map(|mark| version.split_once(mark))
        .map_or(version, |(version, _)| version)
}

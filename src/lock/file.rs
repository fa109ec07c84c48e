//! Lock files as data and as text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::Error;
use crate::base::{Arch, Name, Sha256};
use crate::fetch::debian::{PackagePin, SuitePin};
use crate::fetch::{Pin, Request};
use crate::recipe::{Id, Project};

/// The version of lock files that this program writes, and the highest it reads.
pub const VERSION: u32 = 1;

/// What stands in one lock file, below its header.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(skip_serializing)]
    pub(super) version: u32,
    /// The hash of the body's text, with line ends as LF.
    #[serde(skip_serializing, deserialize_with = "marked")]
    pub(super) integrity: Option<Sha256>,
    /// Which algorithm assembles the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assembly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) suite: Option<SuiteEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<BaseEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) source: BTreeMap<Name, BTreeMap<Platform, SourceEntry>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) root: BTreeMap<RootName, RootEntry>,
}

/// A suite's request and what it was answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SuiteEntry {
    pub(super) request: SuiteRequest,
    pub(super) pin: SuitePin,
}

/// What a suite's recipe asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SuiteRequest {
    pub(super) snapshot: String,
    pub(super) components: Vec<String>,
    /// `<archive> <suite>`, in the recipe's order.
    pub(super) pockets: Vec<String>,
    pub(super) keys: Vec<String>,
}

/// The image that another one is built on, and what it was found to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BaseEntry {
    pub(super) request: BaseRequest,
    pub(super) pin: BasePin,
}

/// What an image's recipe wants to be built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BaseRequest {
    pub(super) oci: String,
    /// Where the recipe says that the digest is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published: Option<String>,
}

/// What a base is. The digest names everything in it, whatever the registry says later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePin {
    /// The index, or the manifest of an image for one platform.
    #[serde(serialize_with = "oci")]
    pub digest: Sha256,
    /// The manifests of the platforms, where a registry was asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<Arch, OciDigest>,
}

/// A digest as OCI writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciDigest(#[serde(serialize_with = "oci")] pub Sha256);

fn oci<S: serde::Serializer>(hash: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hash.oci())
}

/// A source's request and what it was answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SourceEntry {
    /// The recipe's version, where the request holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    pub(super) request: Request,
    pub(super) pin: Pin,
}

/// A root's request and what it was answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RootEntry {
    pub(super) request: RootRequest,
    pub(super) pin: BTreeMap<Arch, Vec<PackagePin>>,
}

/// What a recipe wants in a root, and from where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RootRequest {
    pub(super) suite: Name,
    pub(super) snapshot: String,
    /// The hash of the suite's own pin.
    pub(super) release: Sha256,
    /// Sorted, each once.
    pub(super) packages: Vec<String>,
}

/// The platforms that a pin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Platform {
    /// All of them alike.
    All,
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Platform {
    pub(super) fn name(self) -> &'static str {
        match self {
            Platform::All => "all",
            Platform::Amd64 => "amd64",
            Platform::Arm64 => "arm64",
        }
    }
}

impl From<Arch> for Platform {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Platform::Amd64,
            Arch::Arm64 => Platform::Arm64,
        }
    }
}

/// The roots that a recipe can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootName {
    /// A package is built in it.
    Build,
    /// A package is built in it for the other machine.
    Cross,
    /// The other machine's libraries are in it; never run.
    Target,
    /// A package is tried in it, if that takes more than the build.
    Test,
    /// An image's first layer.
    System,
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootName::Build => "build",
            RootName::Cross => "cross",
            RootName::Target => "target",
            RootName::Test => "test",
            RootName::System => "system",
        })
    }
}

/// Names a recipe's lock file, relative to the project.
pub fn path(id: &Id) -> PathBuf {
    PathBuf::from(shown(id))
}

pub(super) fn shown(id: &Id) -> String {
    format!("lockfiles/{}/{}.toml", id.role.folder(), id.name)
}

fn marked<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Sha256>, D::Error> {
    Sha256::deserialize(deserializer).map(Some)
}

/// The line that the body follows.
const INTEGRITY: &str = "integrity = ";

/// Gives what stands below the integrity line, with line ends as LF (git may have made them CRLF).
fn body(text: &str) -> String {
    let mut lines = text.split_inclusive('\n').skip_while(|line| !line.starts_with(INTEGRITY));
    lines.next();
    lines.collect::<String>().replace("\r\n", "\n")
}

/// Writes a lock file. The same content always gives the same text.
pub(super) fn write(id: &Id, file: &File) -> String {
    let body = toml::to_string_pretty(file).expect("a lock file has only strings as keys");
    let body = format!("\n{body}");
    let hash = Sha256::of(body.as_bytes()).oci();
    format!(
        "# Written by nodeimg from `recipes/{}/{}.toml`. Do not edit it, review it as a diff.\n\
         # To bring it up to date: nodeimg lock {}\n\
         version = {VERSION}\n{INTEGRITY}\"{hash}\"\n{body}",
        id.role.folder(),
        id.name,
        id.name,
    )
}

/// Reads a lock file's text, and refuses what nodeimg did not write.
pub(super) fn read(id: &Id, text: &str) -> Result<File, Error> {
    let newer = |version: i64| (version > i64::from(VERSION)).then(|| Error::newer(id, text, version));
    let file: File = toml::from_str(text).map_err(|error| {
        // A newer version may well have keys that are unknown here.
        let (root, _) = DeTable::parse_recoverable(text);
        let version = root.get_ref().get("version").and_then(|version| match version.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        });
        version.and_then(newer).unwrap_or_else(|| Error::broken(id, text, error.message(), error.span()))
    })?;
    if let Some(error) = newer(file.version.into()) {
        return Err(error);
    }
    if file.version != VERSION {
        return Err(Error::broken(id, text, "no such version of lock files", None));
    }
    if file.integrity != Some(Sha256::of(body(text).as_bytes())) {
        return Err(Error::edited(id, text));
    }
    Ok(file)
}

/// Reads a recipe's lock file, if it has one.
pub(super) fn open(project: &Project, id: &Id, elsewhere: Option<&PathBuf>) -> Result<Option<File>, Error> {
    let file = elsewhere.cloned().unwrap_or_else(|| project.path().join(path(id)));
    match fs_err::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| {
                let text = String::from_utf8_lossy(error.as_bytes());
                let at = error.utf8_error().valid_up_to();
                Error::broken(id, &text, "not UTF-8", Some(at..at))
            })?;
            read(id, &text).map(Some)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Read(error)),
    }
}

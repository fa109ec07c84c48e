//! (placeholder until the Debian fetcher's type is here)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Sha256;

/// One Debian package file: where it lies in its archive, its size, its hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePin {
    /// The archive: `debian` or `debian-security`.
    pub archive: String,
    /// The path below the archive's root.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The hash.
    pub sha256: Sha256,
}

impl fmt::Display for PackagePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {} sha256:{}", self.archive, self.path, self.size, self.sha256)
    }
}

impl FromStr for PackagePin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut words = text.split(' ');
            let (archive, path) = words.next()?.split_once(':')?;
            let size = words.next()?.parse().ok()?;
            let sha256 = words.next()?.strip_prefix("sha256:")?.parse().ok()?;
            let pin = Self { archive: archive.to_owned(), path: path.to_owned(), size, sha256 };
            words.next().is_none().then_some(pin)
        };
        read().ok_or_else(|| format!("`{text}` is no pinned package"))
    }
}

impl Serialize for PackagePin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PackagePin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

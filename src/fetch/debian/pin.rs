//! What lock files say about Debian archives.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{Arch, Digest, Name, Sha256};

/// One package file: where it lies in its archive, its size, its hash. In text
/// `debian:pool/main/a/acl/libacl1_2.3.1-3_amd64.deb 22608 sha256:<hex>`. Orders by that text's parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePin {
    /// The archive: `debian` or `debian-security`.
    pub archive: String,
    /// The path below the archive's root, without `.` and `..`.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The hash.
    pub sha256: Sha256,
}

/// Says why a text is no pinned package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pinned package like `debian:pool/…/a_1_amd64.deb 22608 sha256:…`")]
pub struct NotAPackagePin(String);

impl PackagePin {
    /// Names the file by its content.
    pub fn digest(&self) -> Digest {
        Digest { hash: self.sha256, size: self.size }
    }

    /// Gives the file's name.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Gives the package's name (Debian policy 5.6.1: without `_`).
    pub fn package(&self) -> &str {
        self.file().split('_').next().unwrap_or_default()
    }

    /// Gives the version as the file's name has it: without an epoch.
    pub fn version(&self) -> &str {
        self.file().split('_').nth(1).unwrap_or_default()
    }
}

impl fmt::Display for PackagePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {} sha256:{}", self.archive, self.path, self.size, self.sha256)
    }
}

impl FromStr for PackagePin {
    type Err = NotAPackagePin;

    fn from_str(text: &str) -> Result<Self, NotAPackagePin> {
        let read = || {
            let (archive, rest) = text.split_once(':')?;
            let (path, rest) = rest.split_once(' ')?;
            let (size, hash) = rest.split_once(" sha256:")?;
            let plain = Name::new(archive).is_ok()
                && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
                && size.bytes().all(|byte| byte.is_ascii_digit())
                && !hash.starts_with("sha256:");
            let sha256 = hash.parse().ok()?;
            let pin =
                Self { archive: archive.to_owned(), path: path.to_owned(), size: size.parse().ok()?, sha256 };
            plain.then_some(pin)
        };
        read().ok_or_else(|| NotAPackagePin(text.to_owned()))
    }
}

impl Serialize for PackagePin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PackagePin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = PackagePin;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pinned package")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PackagePin, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A suite's release files and indices, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SuitePin {
    /// The pockets, in the recipe's order.
    pub pockets: Vec<PocketPin>,
}

/// A pocket's `InRelease` and the package indices that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PocketPin {
    /// The archive.
    pub archive: Name,
    /// The folder below `dists/`.
    pub suite: String,
    /// The hash of `InRelease`.
    pub release: Sha256,
    /// The fingerprint of the key whose signature was good, in upper-case hexadecimal digits.
    pub signer: String,
    /// The `Packages` indices, by component and architecture.
    pub indices: Vec<IndexPin>,
}

/// One `Packages` index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IndexPin {
    /// The component.
    pub component: String,
    /// The architecture.
    pub arch: Arch,
    /// The path below the pocket's folder, such as `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
    /// The hash.
    pub sha256: Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4bfb700e764a4804a4de3ecf07753f4c391005356d60356df65d80ae0914c486";

    #[test]
    fn packages_read_and_write() {
        let text = format!("debian:pool/main/a/acl/libacl1_2.3.1-3+b1_amd64.deb 22608 sha256:{HASH}");
        let pin: PackagePin = text.parse().unwrap();
        assert_eq!(pin.to_string(), text);
        assert_eq!((pin.package(), pin.version()), ("libacl1", "2.3.1-3+b1"));
        assert_eq!((pin.archive.as_str(), pin.size), ("debian", 22608));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        for text in [
            String::new(),
            format!("pool/a.deb 1 sha256:{HASH}"),
            format!("debian:../a.deb 1 sha256:{HASH}"),
            format!("debian:/pool/a.deb 1 sha256:{HASH}"),
            format!("debian:pool//a.deb 1 sha256:{HASH}"),
            format!("debian:pool/a.deb +1 sha256:{HASH}"),
            format!("debian:pool/a.deb 1 sha256:sha256:{HASH}"),
            format!("debian:pool/a.deb 1 {HASH}"),
            format!("debian:pool/a.deb 1 sha256:{HASH} "),
            format!("debian:pool/a.deb 99999999999999999999 sha256:{HASH}"),
            "debian:pool/a.deb 1 sha256:zz".to_owned(),
        ] {
            assert_eq!(text.parse::<PackagePin>(), Err(NotAPackagePin(text)));
        }
    }
}

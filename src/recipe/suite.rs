//! `recipes/suites/NAME.toml`: a Debian release at a moment.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::Name;

/// A Debian release to draw packages from, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "nodeimg suite recipe")]
pub struct Suite {
    /// The recipe's name: the file's name without `.toml`.
    pub name: Name,
    /// One sentence for people.
    pub description: Option<String>,
    /// The moment, as `snapshot.debian.org` writes it: `20261120T000000Z`.
    pub snapshot: Snapshot,
    /// The archive's components, such as `main`.
    pub components: Vec<String>,
    /// Files beside the recipe with the armored public keys that may sign the release.
    pub keys: Vec<String>,
    /// The releases that packages are drawn from, such as the suite itself and its security updates.
    pub pockets: Vec<Pocket>,
}

/// One release file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pocket {
    /// The archive: `debian` or `debian-security`.
    pub archive: Name,
    /// The folder below the archive's `dists/`, such as `bookworm-updates`.
    pub suite: String,
}

/// A moment of `snapshot.debian.org`, `YYYYMMDDTHHMMSSZ`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Snapshot(String);

impl Snapshot {
    /// Gives the moment's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Snapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fine = text.len() == 16
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is no moment like `20261120T000000Z`"))
        }
    }
}

impl TryFrom<String> for Snapshot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Snapshot {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Snapshot".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "snapshot", "pattern": "^[0-9]{8}T[0-9]{6}Z$" })
    }
}

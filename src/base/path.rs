//! Names and paths that can't leave where they belong.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Says why a text is no path component.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a file name (empty, `.`, `..`, or holds `/` or NUL)")]
pub struct NotAName(String);

/// One path component: UTF-8 (a rule of REAPI), not empty, not `.` or `..`, without `/` and NUL,
/// at most 255 bytes (Linux's `NAME_MAX`). Orders by bytes, as REAPI sorts a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Checks a component.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let bad = text.is_empty()
            || text == "."
            || text == ".."
            || text.len() > 255
            || text.bytes().any(|b| b == b'/' || b == 0);
        if bad { Err(NotAName(text.to_owned())) } else { Ok(Self(text.into())) }
    }

    /// Gives the component's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "file-name", "pattern": "^[^/]{1,255}$" })
    }
}

/// Says why a text is no guest path.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an absolute path without `.`, `..` and empty parts")]
pub struct NotAGuestPath(String);

/// An absolute, normal path inside a sandbox or an image (`/usr/local/bin`; `/` is the root).
/// Never a path of this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(Box<str>);

impl GuestPath {
    /// Checks a path.
    pub fn new(text: &str) -> Result<Self, NotAGuestPath> {
        let fine = text == "/"
            || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| Name::new(part).is_ok()));
        if fine { Ok(Self(text.into())) } else { Err(NotAGuestPath(text.to_owned())) }
    }

    /// Gives the path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the path relative to `/`, empty for the root.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The root, `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Goes down by one component.
    pub fn join(&self, name: &Name) -> Self {
        let parent = if self.relative().is_empty() { "" } else { self.as_str() };
        Self([parent, "/", name.as_str()].concat().into())
    }

    /// Goes through the components below `/`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.relative().split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for GuestPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GuestPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for GuestPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GuestPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "guest-path", "pattern": "^/" })
    }
}

//! Files of the project itself, beside the recipe. They need no pin: their content is in the key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;

/// `path = "…"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// A folder beside the recipe, without `..`.
    pub path: String,
}

/// The folder, as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// A folder beside the recipe.
    pub path: String,
}

/// A folder of the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local<'a> {
    /// The folder, relative to the recipe's.
    pub path: &'a str,
}

impl Source {
    pub(super) fn request(&self) -> Request {
        Request { path: self.path.clone() }
    }

    pub(super) fn local(&self) -> Local<'_> {
        Local { path: &self.path }
    }
}

impl Request {
    pub(super) fn no_pin(&self) -> Error {
        Error::LocalPin { path: self.path.clone() }
    }
}

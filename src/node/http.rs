//! What is asked of a container that serves HTTP.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One request to a container, and the answer that it must give. Then the container is stopped as its image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Http {
    /// The port that the container listens on, on all its addresses.
    pub port: NonZeroU16,
    /// The path that is asked for, with its query.
    #[serde(default = "root")]
    pub path: String,
    /// The status of the answer.
    #[serde(default = "ok")]
    pub status: u16,
    /// A line that the answer's body must have.
    pub body: Option<String>,
}

fn root() -> String {
    "/".to_owned()
}

fn ok() -> u16 {
    200
}

impl Http {
    /// Tells whether the path can stand in a request as it is.
    pub fn has_good_path(&self) -> bool {
        self.path.starts_with('/') && self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    }

    /// Gives the URL at an address.
    pub fn url(&self, address: &str) -> String {
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        format!("http://{address}:{}{}", self.port, self.path)
    }
}

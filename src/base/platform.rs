//! The machines an image can be for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A processor architecture, under the name that OCI and Debian share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// Every architecture that a lock covers, sorted.
    pub const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

    /// The architecture this program was compiled for, if it is one of them.
    pub fn host() -> Option<Arch> {
        Self::ALL.into_iter().find(|arch| arch.machine() == std::env::consts::ARCH)
    }

    /// OCI's `architecture` and Debian's architecture: `amd64`.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// The kernel's name, `uname -m`: `x86_64`.
    pub fn machine(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
        }
    }

    /// Debian's multiarch triplet: `x86_64-linux-gnu`.
    pub fn triplet(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64-linux-gnu",
            Arch::Arm64 => "aarch64-linux-gnu",
        }
    }
}

impl Arch {
    /// The machine that a cross build on this one is for.
    pub fn other(self) -> Arch {
        match self {
            Arch::Amd64 => Arch::Arm64,
            Arch::Arm64 => Arch::Amd64,
        }
    }

    /// The triplet as it stands in names of Debian packages, which have no `_`: `x86-64-linux-gnu`.
    pub fn debian_triplet(self) -> String {
        self.triplet().replace('_', "-")
    }

    /// The platform as OCI writes it: `linux/amd64`.
    pub fn platform(self) -> String {
        format!("linux/{self}")
    }
}

/// Says why a text is no platform.
#[derive(Debug, thiserror::Error)]
#[error("there are `linux/amd64`, `linux/arm64` and `all`")]
pub struct NotAPlatform;

/// Which machines things are made for, and on which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platforms {
    /// The machine that makes them.
    pub host: Arch,
    /// The machines that they are for: at least one, sorted, each once.
    pub wanted: Vec<Arch>,
}

impl Platforms {
    /// Makes things for the machine that makes them.
    pub fn native(host: Arch) -> Self {
        Self { host, wanted: vec![host] }
    }

    /// Reads what a person wants: `linux/arm64`, `arm64`, `all`. Nothing stands for the host's.
    pub fn parse(host: Arch, texts: &[String]) -> Result<Self, NotAPlatform> {
        let mut wanted = Vec::new();
        for text in texts {
            match text.as_str() {
                "all" => wanted.extend(Arch::ALL),
                text => wanted.push(text.parse()?),
            }
        }
        if wanted.is_empty() {
            wanted.push(host);
        }
        wanted.sort();
        wanted.dedup();
        Ok(Self { host, wanted })
    }

    /// Tells whether something is for another machine than it is made on.
    pub fn has_foreign(&self) -> bool {
        self.wanted.iter().any(|arch| *arch != self.host)
    }

    /// The platform that stands for all where only one can: the host's if it is wanted, else the first.
    pub fn main(&self) -> Arch {
        if self.wanted.contains(&self.host) { self.host } else { self.wanted[0] }
    }
}

impl FromStr for Arch {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        match text.strip_prefix("linux/").unwrap_or(text) {
            "amd64" => Ok(Arch::Amd64),
            // What OCI calls the variant of every 64-bit ARM.
            "arm64" | "arm64/v8" => Ok(Arch::Arm64),
            _ => Err(NotAPlatform),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl schemars::JsonSchema for Arch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Arch".into()
    }

    /// The pattern is for tables with architectures as keys.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Arch::ALL.map(Arch::name);
        schemars::json_schema!({ "type": "string", "enum": names, "pattern": format!("^({})$", names.join("|")) })
    }
}

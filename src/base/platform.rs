//! The machines an image can be for.

use std::fmt;

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

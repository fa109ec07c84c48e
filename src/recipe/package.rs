//! `recipes/packages/NAME.toml`: something that is fetched, built and tested.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::Variant;
use super::value::{Size, Time};
use crate::base::{Arch, GuestPath, Name};
pub use crate::fetch::Source;

/// A package: sources that are fetched, a script that builds them, a script that tries the result.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "nodeimg package recipe")]
pub struct Package {
    /// The recipe's name: the file's name without `.toml`.
    pub name: Name,
    /// The version as upstream writes it; `{version}` in other strings.
    pub version: String,
    /// The licence of the result, as an SPDX expression.
    pub license: String,
    /// Upstream's home page.
    pub homepage: Option<String>,
    /// One sentence for people.
    pub description: Option<String>,
    /// Which machines the package is for.
    #[serde(default)]
    pub architecture: Architecture,
    /// The only source, under the package's own name. Use `[sources.NAME]` for several.
    pub source: Option<PackageSource>,
    /// Several sources, each under its own name. The first one is where the build script starts and what
    /// patches are applied to.
    #[serde(default)]
    pub sources: Sources,
    /// Paths of the result that only builds use, such as `/include`: they are left out of images.
    #[serde(default)]
    pub development: Vec<GuestPath>,
    /// How the package is built.
    pub build: Build,
    /// How the result is tried after the build.
    pub test: Option<Test>,
    /// What makes it a variant of another package, whose recipe all the rest is.
    #[serde(skip)]
    pub variant: Option<Variant>,
}

impl Package {
    /// Names the recipe that says how it is built: its own, or the one that it is like.
    pub fn recipe(&self) -> &Name {
        self.variant.as_ref().map_or(&self.name, |variant| &variant.like)
    }

    /// Goes through the sources with their names, in the order of the file.
    pub fn sources(&self) -> impl Iterator<Item = (&Name, &PackageSource)> {
        let only = self.source.as_ref().map(|source| (self.recipe(), source));
        only.into_iter().chain(self.sources.0.iter().map(|(name, source)| (name, source)))
    }

    /// Tells whether nobody publishes the hash of one of its sources: the project keeps no lock of such a package, each
    /// user makes one at first use.
    pub fn is_trusted_on_first_use(&self) -> bool {
        self.sources().any(|(_, source)| source.fetch.is_trusted_on_first_use())
    }

    /// Names the package whose result lies at `/in/<place>`.
    pub fn input<'a>(&'a self, place: &'a Name) -> &'a Name {
        self.variant.as_ref().and_then(|variant| variant.with.get(place)).unwrap_or(place)
    }

    /// Goes through the places of inputs, those of the build before those that only the test has.
    pub fn places_of_inputs(&self) -> impl Iterator<Item = &Name> {
        let test = self.test.iter().flat_map(|test| &test.inputs);
        self.build.inputs.iter().chain(test.filter(|input| !self.build.inputs.contains(input)))
    }
}

/// Which machines a package is for, in Debian's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// It is built for each.
    #[default]
    Any,
    /// Its result is the same for each: it is built once, on the machine at hand, with `$ARCH` that machine's.
    All,
    /// It is there for 64-bit x86 only.
    Amd64,
    /// It is there for 64-bit ARM only.
    Arm64,
}

impl Architecture {
    /// Tells whether the package can be part of what is for a machine.
    pub fn covers(self, arch: Arch) -> bool {
        match self {
            Architecture::Any | Architecture::All => true,
            Architecture::Amd64 => arch == Arch::Amd64,
            Architecture::Arm64 => arch == Arch::Arm64,
        }
    }
}

/// Where a source comes from and whether it is unpacked. The keys of the place itself belong to the fetcher.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageSource {
    /// What the fetcher is asked for.
    pub fetch: Source,
    /// Whether an archive is unpacked to `/build/<source name>`; else the file itself is put there.
    pub unpack: bool,
    /// How many leading folders are taken off the archive's paths: by default 1 for tar, 0 for zip.
    pub strip: Option<u32>,
}

impl<'de> Deserialize<'de> for PackageSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let mut take = |key: &str| table.remove(key);
        let unpack = take("unpack").map(bool::deserialize).transpose().map_err(D::Error::custom)?;
        let strip = take("strip").map(u32::deserialize).transpose().map_err(D::Error::custom)?;
        let fetch = Source::deserialize(table).map_err(D::Error::custom)?;
        Ok(Self { fetch, unpack: unpack.unwrap_or(true), strip })
    }
}

impl JsonSchema for PackageSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PackageSource".into()
    }

    /// Adds this type's keys to each of the fetchers' tables.
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Source::json_schema(generator);
        let own = schemars::json_schema!({
            "unpack": {
                "type": "boolean",
                "default": true,
                "description": "Whether an archive is unpacked to `/build/<source name>`; else the file itself is put there."
            },
            "strip": {
                "type": "integer",
                "format": "uint32",
                "minimum": 0,
                "description": "How many leading folders are taken off an archive's paths: by default 1 for tar, 0 for zip."
            }
        });
        let choices = schema.get_mut("anyOf").and_then(serde_json::Value::as_array_mut);
        for choice in choices.into_iter().flatten() {
            let name = choice.get("$ref").and_then(|path| path.as_str()?.rsplit('/').next());
            let table = name.and_then(|name| generator.definitions_mut().remove(name));
            *choice = table.unwrap_or_else(|| choice.take());
            let keys = choice.get_mut("properties").and_then(serde_json::Value::as_object_mut);
            keys.into_iter().for_each(|keys| keys.extend(own.as_object().cloned().unwrap_or_default()));
        }
        schema
    }
}

/// Sources by name, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sources(pub Vec<(Name, PackageSource)>);

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Sources;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of sources by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sources, A::Error> {
                let mut sources = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    sources.push(entry);
                }
                Ok(Sources(sources))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl JsonSchema for Sources {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sources".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeMap::<Name, PackageSource>::json_schema(generator)
    }
}

/// How a package is built: a script in a Debian root, without network.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// The suite that the build root is made from.
    pub root: Name,
    /// Debian packages of the build root; the essential ones are always in.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Packages of this project whose results lie at `/in/<name>`.
    #[serde(default)]
    pub inputs: Vec<Name>,
    /// Files below `patches/<recipe>/`, applied to the first source in this order.
    #[serde(default)]
    pub patches: Vec<String>,
    /// C files of the first source that open libraries at run time, such as `/src/handlers/engine.c`. Where a runtime
    /// loads one of those, their calls are held against the headers and the library of the package that brings it.
    #[serde(default)]
    pub calls: Vec<GuestPath>,
    /// Environment variables of the script.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the script may use up.
    #[serde(default)]
    pub limits: Limits,
    /// How the same script makes the package on another machine than it is for. Without it the script runs in a root
    /// of that other machine, under an emulator.
    pub cross: Option<Cross>,
    /// The script, for `/bin/sh -eu`. Starts in `/build/<first source>`, leaves its result in `$OUT`; has
    /// `$JOBS`, `$ARCH`, `$MACHINE`, `$TRIPLET` and `$VERSION`.
    pub script: String,
}

/// How a package is built on another machine than it is for: with the tools of the one and the libraries of the other.
/// `$ARCH`, `$MACHINE` and `$TRIPLET` are the target's. Set as well: `$CC`, `$CXX`, `$AR`, `$RANLIB`, `$NM`, `$STRIP`;
/// `$host_alias`, by which `./configure` takes the target; `$GOARCH`; where there are `libraries`, what makes
/// `pkg-config` find those.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cross {
    /// Debian packages of the machine that builds, such as `gcc-{triplet}`; by default the build's. `{triplet}` and
    /// `{arch}` are the target's, the first as names of Debian packages have it.
    pub packages: Option<Vec<String>>,
    /// Debian packages of the target, which lie unpacked in `/target` with all that they need: headers and libraries.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// Environment variables beside those of the build.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Lines of shell before the script.
    pub before: Option<String>,
}

impl Cross {
    /// Puts the names for `target` in a list of [`Cross::packages`].
    pub fn packages_for(packages: &[String], target: Arch) -> Vec<String> {
        let expand = |text: &String| {
            text.replace("{triplet}", &target.debian_triplet()).replace("{arch}", target.name())
        };
        packages.iter().map(expand).collect()
    }
}

/// How a package is tried: a script in the build's root that sees the result at `/out`, read-only.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Test {
    /// Debian packages that the test needs beside those of the build.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Packages of this project that the test needs at `/in/<name>` beside those of the build.
    #[serde(default)]
    pub inputs: Vec<Name>,
    /// Environment variables of the script.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the script may use up.
    #[serde(default)]
    pub limits: Limits,
    /// The script, for `/bin/sh -eu`; a failing command fails the test.
    pub script: String,
}

/// What a script may use up before it is stopped. What is not given has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Wall-clock time.
    pub time: Option<Time>,
    /// Processes and threads at one moment.
    pub processes: Option<u32>,
    /// Memory.
    pub memory: Option<Size>,
    /// What may be written to the build's own disk.
    pub disk: Option<Size>,
}

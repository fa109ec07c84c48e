//! Brings what recipes ask for, and says how it is pinned.
//!
//! A [`Source`] is a table of a recipe. With a platform and a version it becomes a [`Request`], which stands
//! in the lock beside its [`Pin`]. The network speaks in two places: [`Request::resolve`] may discover,
//! [`Pin::fetch`] must match the pin. Both need a [`Network`]; whoever has none can't speak.
//!
//! The family is listed once, in `family!` below: a new kind of source is one file and one line there.

pub mod cargo;
mod crates;
pub mod debian;
mod error;
pub mod git;
mod http;
mod local;
mod network;
pub mod oci;
mod origin;
mod pypi;
pub mod releases;
#[cfg(test)]
mod server;
pub mod settings;
pub mod upstream;

pub use error::Error;
pub use http::Trust;
pub use local::Local;
pub use network::{Expected, Network};
pub use origin::Origin;
pub use settings::Settings;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::event::Sink;
use crate::base::{Arch, Cancel, Digest, Sha256};
use crate::store::Store;

/// A string, or one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PerArch {
    /// The same everywhere.
    All(String),
    /// By platform.
    Each(BTreeMap<Arch, String>),
}

impl PerArch {
    /// Gives the string for a platform.
    pub fn on(&self, arch: Arch) -> Option<&str> {
        match self {
            PerArch::All(text) => Some(text),
            PerArch::Each(texts) => texts.get(&arch).map(String::as_str),
        }
    }

    /// Goes through all strings.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            PerArch::All(text) => vec![text],
            PerArch::Each(texts) => texts.values().map(String::as_str).collect(),
        }
    }
}

/// Puts a recipe's words into a text: `{version}`, `{arch}`.
pub type Substitute<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// What stands for the version in a request that leaves it open.
pub const VERSION: &str = "{version}";

/// What a fetch needs besides what is fetched.
pub struct Context<'a> {
    /// The network, or its refusal.
    pub network: &'a Network,
    /// Where bytes go.
    pub store: &'a Store,
    /// Who is told.
    pub events: &'a dyn Sink,
    /// When to stop.
    pub cancel: &'a Cancel,
}

/// What a source is pinned to: the bytes of one file. For a commit of a git repository that file is a tar of
/// its tree, and git's own names for both stand beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The file's hash.
    pub sha256: Sha256,
    /// The file's size in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<git::Id>,
    /// The commit's tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<git::Id>,
    /// The fingerprint of the key by which upstream signed the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<upstream::Fingerprint>,
    /// That nobody vouched for the file when it was pinned: neither a hash nor a signature that somebody published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

impl Pin {
    /// Pins a file that is had as it is.
    pub fn file(sha256: Sha256, size: Option<u64>) -> Self {
        Self { sha256, size, commit: None, tree: None, signer: None, trust: None }
    }

    /// Finds the file in the store.
    pub fn present(&self, store: &Store) -> Option<Digest> {
        match self.size {
            Some(size) => Some(Digest { hash: self.sha256, size }).filter(|digest| store.has_blob(digest)),
            None => store.find_blob(&self.sha256),
        }
    }

    /// Brings the file that answers `request` into the store. Errs when its bytes are others.
    pub fn fetch(&self, request: &Request, context: &Context<'_>) -> Result<Digest, Error> {
        if let Some(digest) = self.present(context.store) {
            return Ok(digest);
        }
        // Where the file may be had, the likeliest first.
        let urls = match request {
            Request::Http(request) => request.places(context.network),
            Request::Git(request) => return request.fetch(self, context),
            Request::Crates(request) => request.places(context)?,
            Request::Pypi(request) => request.places(context)?,
            Request::Cargo(request) => return Err(request.no_pin()),
            Request::Local(request) => return Err(request.no_pin()),
        };
        let expected = Expected { hash: Some(self.sha256), size: self.size };
        let got = context.network.get(&request.to_string(), &urls, expected, context);
        got.map_err(|error| match (request, error) {
            (Request::Crates(_), Error::Hash { url, expected, received }) => {
                Error::Crate { url, expected, received }
            }
            (_, error) => error,
        })
    }
}

macro_rules! family {
    ($($key:literal => $variant:ident($source:ty, $request:ty)),+ $(,)?) => {
        /// A kind of source, as a recipe's table says it: the first key that is there tells which.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
        #[serde(untagged)]
        pub enum Source {
            $(#[doc = concat!("A table with `", $key, "`.")] $variant($source),)+
        }

        impl<'de> Deserialize<'de> for Source {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                let table = toml::Table::deserialize(deserializer)?;
                $(if table.contains_key($key) {
                    return <$source>::deserialize(table).map(Source::$variant).map_err(D::Error::custom);
                })+
                Err(D::Error::custom(format!("a source needs one of {}", [$(concat!("`", $key, "`")),+].join(", "))))
            }
        }

        /// A source for one platform, with nothing left to substitute. Stands in the lock.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(untagged)]
        pub enum Request {
            $(#[doc = concat!("A table with `", $key, "`.")] $variant($request),)+
        }
    };
}

family! {
    "url" => Http(http::Source, http::Request),
    "git" => Git(git::Source, git::Request),
    "crate" => Crates(crates::Source, crates::Request),
    "cargo" => Cargo(cargo::Source, cargo::Request),
    "pypi" => Pypi(pypi::Source, pypi::Request),
    "path" => Local(local::Source, local::Request),
}

impl Source {
    /// Makes the request of a platform. Errs where a substitution does, or where the platform has no text.
    pub fn request(&self, arch: Arch, substitute: &Substitute<'_>) -> Result<Request, String> {
        Ok(match self {
            Source::Http(source) => Request::Http(source.request(arch, substitute)?),
            Source::Git(source) => Request::Git(source.request(substitute)?),
            Source::Crates(source) => Request::Crates(source.request(substitute)?),
            Source::Pypi(source) => Request::Pypi(source.request(arch, substitute)?),
            Source::Cargo(source) => Request::Cargo(source.request()),
            Source::Local(source) => Request::Local(source.request()),
        })
    }

    /// Lists every text that is substituted into.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Source::Http(source) => source.texts(),
            Source::Git(source) => source.texts(),
            Source::Crates(source) => vec![&source.version],
            Source::Pypi(source) => source.texts(),
            Source::Cargo(_) | Source::Local(_) => Vec::new(),
        }
    }

    /// Tells whether the source is files of the project, which need no pin: they are what they are.
    pub fn local(&self) -> Option<Local<'_>> {
        match self {
            Source::Local(source) => Some(source.local()),
            _ => None,
        }
    }

    /// Tells whether nobody publishes the source's hash, so that each user trusts what is there at first use.
    pub fn is_trusted_on_first_use(&self) -> bool {
        matches!(self, Source::Http(source) if source.trust == Some(http::Trust::FirstUse))
    }

    /// Tells where upstream's signature is, if there is one.
    pub fn signature(&self) -> Option<&upstream::Signature> {
        match self {
            Source::Http(source) => source.signature.as_ref(),
            _ => None,
        }
    }

    /// Gives the `Cargo.lock` whose crates the source is, relative to the recipe.
    pub fn cargo_lock(&self) -> Option<&str> {
        match self {
            Source::Cargo(source) => Some(&source.path),
            _ => None,
        }
    }
}

impl Request {
    /// Tells whether nobody publishes the hash of what is asked for.
    pub fn is_trusted_on_first_use(&self) -> bool {
        matches!(self, Request::Http(request) if request.trust == Some(http::Trust::FirstUse))
    }

    /// Tells where upstream's signature of the file is, if the recipe says that there is one.
    pub fn signature(&self) -> Option<&upstream::Signature> {
        match self {
            Request::Http(request) => request.signature.as_ref(),
            _ => None,
        }
    }

    /// Tells on whose word a pin is right: nobody's, where the recipe names no hash and no signature, and what was there
    /// was taken. Crates and wheels have the hash that their index publishes, a commit has its own name.
    pub fn trust(&self, pin: &Pin) -> Option<Trust> {
        let is_vouched_for = match self {
            Request::Http(request) => request.sha256.is_some() || pin.signer.is_some(),
            Request::Git(request) => request.names_commit(),
            _ => true,
        };
        (!is_vouched_for).then_some(Trust::FirstUse)
    }

    /// Asks the network what answers the request now, and holds it against upstream's signature; `key` is what the file
    /// of its key has.
    pub fn resolve_signed(
        &self,
        signature: &upstream::Signature,
        key: &[u8],
        context: &Context<'_>,
    ) -> Result<Pin, Error> {
        let pin = self.resolve(context)?;
        let file = pin.fetch(self, context)?;
        let places = match self {
            Request::Http(request) => request.signature_places(signature, context.network),
            _ => context.network.places(&signature.url, None),
        };
        let signer = signature.check(&file, &places, key, context)?;
        Ok(Pin { size: Some(file.size), signer: Some(signer), ..pin })
    }

    /// Asks the network what answers the request now.
    pub fn resolve(&self, context: &Context<'_>) -> Result<Pin, Error> {
        match self {
            Request::Http(request) => request.resolve(context),
            Request::Git(request) => request.resolve(context),
            Request::Crates(request) => request.resolve(context),
            Request::Pypi(request) => request.resolve(context),
            Request::Cargo(request) => Err(request.no_pin()),
            Request::Local(request) => Err(request.no_pin()),
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Http(request) => write!(f, "{}", network::public(&request.url)),
            Request::Git(request) => request.fmt(f),
            Request::Crates(request) => f.write_str(&request.file()),
            Request::Pypi(request) => f.write_str(&request.file),
            Request::Cargo(request) => f.write_str(&request.path),
            Request::Local(request) => f.write_str(&request.path),
        }
    }
}

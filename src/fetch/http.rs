//! Files behind a URL: `https://`, `http://`, `file://`, or `debian:pool/…` for a place in a Debian archive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upstream::Signature;
use super::{Context, Error, Expected, Network, PerArch, Pin, Substitute};
use crate::base::{Arch, Sha256};

/// What stands for the file's own URL in that of its signature.
const URL: &str = "{url}";

/// `url = "…"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// Where upstream has the file.
    pub url: PerArch,
    /// Other places with the same bytes.
    #[serde(default)]
    pub also: Vec<String>,
    /// The file's hash, where somebody has published it: locking then needs no download, and a fetch must match.
    pub sha256: Option<PerArch>,
    /// `"first-use"` says that nobody publishes a hash: the project keeps no lock of the package, each user makes one
    /// of what is there when the package is first used.
    pub trust: Option<Trust>,
    /// Upstream's signature of the file, which is checked when the file is locked.
    pub signature: Option<Signature>,
}

/// Whose word it is that a file is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Nobody's: what is fetched first is taken, and everything later must be the same.
    FirstUse,
}

/// A file and where it may be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// Where upstream has the file.
    pub url: String,
    /// Other places with the same bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The hash that the recipe gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// That nobody has given a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// Upstream's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

impl Source {
    pub(super) fn request(&self, arch: Arch, substitute: &Substitute<'_>) -> Result<Request, String> {
        let missing = |key: &str| format!("`{key}` says nothing for {arch}");
        let sha256 = self
            .sha256
            .as_ref()
            .map(|hashes| {
                hashes.on(arch).ok_or_else(|| missing("sha256"))?.parse().map_err(|e| format!("{e}"))
            })
            .transpose()?;
        if sha256.is_some() && self.trust.is_some() {
            return Err(
                "`sha256` and `trust` exclude each other: what has a hash is not trusted at first sight"
                    .into(),
            );
        }
        if self.signature.is_some() && self.trust.is_some() {
            return Err(
                "`signature` and `trust` exclude each other: what is signed is not trusted at first sight"
                    .into(),
            );
        }
        let url = substitute(self.url.on(arch).ok_or_else(|| missing("url"))?)?;
        let signature = |own: &Signature| {
            let (before, rest) = own.url.strip_prefix(URL).map_or(("", &*own.url), |rest| (&*url, rest));
            Ok::<_, String>(Signature { url: format!("{before}{}", substitute(rest)?), key: own.key })
        };
        Ok(Request {
            signature: self.signature.as_ref().map(signature).transpose()?,
            url,
            also: self.also.iter().map(|url| substitute(url)).collect::<Result<_, _>>()?,
            sha256,
            trust: self.trust,
        })
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        let also = self.also.iter().map(String::as_str);
        let signature = self.signature.iter().map(|own| own.url.strip_prefix(URL).unwrap_or(&own.url));
        self.url.texts().into_iter().chain(also).chain(signature).collect()
    }
}

impl Request {
    pub(super) fn resolve(&self, context: &Context<'_>) -> Result<Pin, Error> {
        if let Some(sha256) = self.sha256 {
            let size = context.store.find_blob(&sha256).map(|digest| digest.size);
            return Ok(Pin::file(sha256, size));
        }
        let expected = Expected { hash: None, size: None };
        let digest = context.network.get(&self.url, &self.places(context.network), expected, context)?;
        Ok(Pin::file(digest.hash, Some(digest.size)))
    }

    pub(super) fn places(&self, network: &Network) -> Vec<String> {
        self.urls().flat_map(|url| network.places(url, None)).collect()
    }

    /// Lists the places of a signature: beside each place of the file, where it is beside the first.
    pub(super) fn signature_places(&self, signature: &Signature, network: &Network) -> Vec<String> {
        match signature.url.strip_prefix(&self.url) {
            Some(end) => self.urls().flat_map(|url| network.places(&format!("{url}{end}"), None)).collect(),
            None => network.places(&signature.url, None),
        }
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.url).chain(&self.also)
    }
}

//! Files of a Python package index (PEP 691's JSON form of the simple API).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Error, PerArch, Pin, Substitute};
use crate::base::{Arch, Sha256};

/// `pypi = "…"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// The project's name.
    pub pypi: String,
    /// Its version, exactly.
    pub version: String,
    /// The file's name.
    pub file: PerArch,
}

/// One file of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// The project's name.
    pub pypi: String,
    /// Its version.
    pub version: String,
    /// The file's name.
    pub file: String,
}

/// A project's page (PEP 691).
#[derive(Deserialize)]
struct Page {
    files: Vec<File>,
}

/// A file on a project's page.
#[derive(Deserialize)]
struct File {
    filename: String,
    url: String,
    hashes: Hashes,
    size: Option<u64>,
    /// `false`, or `true` or why (PEP 592).
    #[serde(default)]
    yanked: serde_json::Value,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<Sha256>,
}

impl Source {
    pub(super) fn request(&self, arch: Arch, substitute: &Substitute<'_>) -> Result<Request, String> {
        let file = self.file.on(arch).ok_or_else(|| format!("`file` says nothing for {arch}"))?;
        Ok(Request { pypi: self.pypi.clone(), version: substitute(&self.version)?, file: substitute(file)? })
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        std::iter::once(self.version.as_str()).chain(self.file.texts()).collect()
    }
}

impl Request {
    pub(super) fn resolve(&self, context: &Context<'_>) -> Result<Pin, Error> {
        let (_, file) = self.find(context)?;
        let sha256 = file.hashes.sha256.ok_or_else(|| Error::NoHash { file: self.file.clone() })?;
        Ok(Pin::file(sha256, file.size))
    }

    pub(super) fn places(&self, context: &Context<'_>) -> Result<Vec<String>, Error> {
        let (page, file) = self.find(context)?;
        Ok(vec![super::network::join(&page, &file.url)?])
    }

    /// Names the project's files but for those that were yanked; gives their place too.
    pub(super) fn files(&self, context: &Context<'_>) -> Result<(String, Vec<String>), Error> {
        let (url, page) = self.page(context)?;
        let is_there =
            |file: &File| matches!(file.yanked, serde_json::Value::Null | serde_json::Value::Bool(false));
        Ok((url, page.files.into_iter().filter(is_there).map(|file| file.filename).collect()))
    }

    fn page(&self, context: &Context<'_>) -> Result<(String, Page), Error> {
        // PEP 503: runs of `-`, `_` and `.` are one `-`.
        let words: Vec<_> = self.pypi.split(['-', '_', '.']).filter(|word| !word.is_empty()).collect();
        let name = words.join("-").to_ascii_lowercase();
        let url = format!("{}{name}/", context.network.pypi(&self.file)?);
        let text = context.network.get_small(&self.pypi, std::slice::from_ref(&url), context)?;
        let page = serde_json::from_slice(&text)
            .map_err(|error| Error::Malformed { url: url.clone(), reason: error.to_string() })?;
        Ok((url, page))
    }

    fn find(&self, context: &Context<'_>) -> Result<(String, File), Error> {
        let (url, page) = self.page(context)?;
        let file = page.files.into_iter().find(|file| file.filename == self.file);
        let file = file.ok_or_else(|| Error::NoVersion {
            what: format!("PyPI project `{}`", self.pypi),
            version: self.file.clone(),
        })?;
        Ok((url, file))
    }
}

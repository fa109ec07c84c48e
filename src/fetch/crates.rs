//! Crates of a cargo registry, found through its sparse index (RFC 2789).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Error, Pin, Substitute};
use crate::base::Sha256;

/// `crate = "…"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// The crate's name.
    #[serde(rename = "crate")]
    pub name: String,
    /// Its version, exactly.
    pub version: String,
}

/// One version of a crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// The crate's name.
    #[serde(rename = "crate")]
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What nodeimg needs of a line of the index.
#[derive(Deserialize)]
struct Line {
    vers: String,
    cksum: Sha256,
    #[serde(default)]
    yanked: bool,
}

/// `config.json` of an index.
#[derive(Deserialize)]
struct Config {
    dl: String,
}

impl Source {
    pub(super) fn request(&self, substitute: &Substitute<'_>) -> Result<Request, String> {
        Ok(Request { name: self.name.clone(), version: substitute(&self.version)? })
    }
}

impl Request {
    pub(super) fn resolve(&self, context: &Context<'_>) -> Result<Pin, Error> {
        let (_, lines) = self.lines(context)?;
        let found = lines.into_iter().find(|line| line.vers == self.version);
        let line = found.ok_or_else(|| Error::NoVersion {
            what: format!("crate `{}`", self.name),
            version: self.version.clone(),
        })?;
        Ok(Pin::file(line.cksum, None))
    }

    /// Reads the crate's part of the index; gives its place too.
    fn lines(&self, context: &Context<'_>) -> Result<(String, Vec<Line>), Error> {
        let registry = context.network.crates(&self.file())?;
        let url = format!("{registry}{}", index_path(&self.name));
        let text = context.network.get_small(&self.name, std::slice::from_ref(&url), context)?;
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok((url, lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()))
    }

    /// Lists the crate's versions but for those that were yanked; gives their place too.
    pub(super) fn versions(&self, context: &Context<'_>) -> Result<(String, Vec<String>), Error> {
        let (place, lines) = self.lines(context)?;
        Ok((place, lines.into_iter().filter(|line| !line.yanked).map(|line| line.vers).collect()))
    }

    pub(super) fn places(&self, context: &Context<'_>) -> Result<Vec<String>, Error> {
        let registry = context.network.crates(&self.file())?;
        // A workspace has hundreds of crates, and one answer to this.
        if let Some(template) = context.network.downloads.get() {
            return Ok(vec![self.download(template)]);
        }
        let url = format!("{registry}config.json");
        let text = context.network.get_small("config.json", std::slice::from_ref(&url), context)?;
        let config: Config = serde_json::from_slice(&text)
            .map_err(|error| Error::Malformed { url, reason: error.to_string() })?;
        Ok(vec![self.download(context.network.downloads.get_or_init(|| config.dl))])
    }

    /// The file's name.
    pub(super) fn file(&self) -> String {
        format!("{}-{}.crate", self.name, self.version)
    }

    /// Fills the `dl` template (cargo's reference, "Registry Index", Index configuration).
    fn download(&self, template: &str) -> String {
        let Self { name, version } = self;
        if !template.contains('{') {
            return format!("{template}/{name}/{version}/download");
        }
        let path = index_path(name);
        let prefix =
            path.strip_suffix(name.to_ascii_lowercase().as_str()).expect("the path ends in the name");
        template
            .replace("{crate}", name)
            .replace("{version}", version)
            .replace("{lowerprefix}", prefix.trim_end_matches('/'))
            .replace("{prefix}", prefix.trim_end_matches('/'))
    }
}

/// Where a crate's lines are in an index (cargo's reference, "Registry Index", Index files).
fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.len() {
        0..=2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_paths_are_cargos() {
        let paths = ["a", "ab", "abc", "Cargo", "serde_json"].map(index_path);
        assert_eq!(paths, ["1/a", "2/ab", "3/a/abc", "ca/rg/cargo", "se/rd/serde_json"]);
    }

    #[test]
    fn downloads_follow_the_template() {
        let request = Request { name: "serde".into(), version: "1.0.1".into() };
        assert_eq!(request.download("https://r.example/c"), "https://r.example/c/serde/1.0.1/download");
        assert_eq!(
            request.download("https://r.example/{prefix}/{crate}/{crate}-{version}.crate"),
            "https://r.example/se/rd/serde/serde-1.0.1.crate"
        );
    }
}

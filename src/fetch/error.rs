//! What can go wrong with sources.

use crate::base::{Blame, Sha256};
use crate::store;

/// Says why something could not be brought. URLs are without user and password.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{who}` is not in the store, and the network is off")]
    #[diagnostic(help("run `nodeimg fetch` where there is a network, or leave out `--offline`"))]
    Offline { who: String },

    #[error("content of `{url}` does not match its pin\n  expected: {expected}\n  received: {received}")]
    #[diagnostic(help(
        "if upstream really changed, run `nodeimg lock`; otherwise do not trust this download"
    ))]
    Hash { url: String, expected: Sha256, received: Sha256 },

    #[error("content of `{url}` does not match its checksum\n  expected: {expected}\n  received: {received}")]
    #[diagnostic(help("a crate never changes once it is published: do not trust this download"))]
    Crate { url: String, expected: Sha256, received: Sha256 },

    #[error("`{url}` has another size than its pin\n  expected: {expected} bytes\n  received: {received}")]
    #[diagnostic(help(
        "if upstream really changed, run `nodeimg lock`; otherwise do not trust this download"
    ))]
    Size { url: String, expected: u64, received: String },

    #[error("`{url}` is larger than the {limit} bytes that a source without a pin may have")]
    TooLarge { url: String, limit: u64 },

    #[error("no place has `{who}`\n{}", tried.iter().map(|(url, why)| format!("  {url}: {why}")).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(help(
        "check the network, or name a place that has the same bytes under `[mirrors]` in nodeimg's config.toml"
    ))]
    Nowhere { who: String, tried: Vec<(String, String)> },

    #[error("this host does not say where {what} is")]
    #[diagnostic(help(
        "{}name it under `[mirrors]` in nodeimg's config.toml, as `{key} = [\"https://…/\"]`",
        learnt(key)
    ))]
    NoPlace { what: &'static str, key: &'static str },

    #[error("{what} has no `{version}`")]
    NoVersion { what: String, version: String },

    #[error("the index gives no SHA-256 for `{file}`")]
    NoHash { file: String },

    #[error("`{url}` is not what it should be: {reason}")]
    Malformed { url: String, reason: String },

    #[error("`{path}` is the project's own and has no pin")]
    LocalPin { path: String },

    #[error("settings `{path}` can't be used: {reason}")]
    Settings { path: String, reason: String },

    #[error("no TLS here")]
    Client { source: reqwest::Error },

    #[error("no thread for the network")]
    Engine { source: std::io::Error },

    #[error("stopped")]
    Cancelled,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Debian(#[from] super::debian::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] store::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] super::git::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Cargo(#[from] super::cargo::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Oci(#[from] super::oci::Error),
}

/// How a host comes to know a place.
fn learnt(key: &str) -> &'static str {
    match key {
        "crates" => "let cargo download any crate once, then its home says where from; or ",
        "pypi" => "install pip, which knows where; or ",
        _ => "",
    }
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Offline { .. }
            | Error::Nowhere { .. }
            | Error::NoPlace { .. }
            | Error::Client { .. }
            | Error::Engine { .. } => Blame::Machine,
            Error::Cancelled => Blame::Cancelled,
            Error::Debian(error) => error.blame(),
            Error::Store(error) => error.blame(),
            Error::Git(error) => error.blame(),
            Error::Cargo(error) => error.blame(),
            Error::Oci(error) => error.blame(),
            _ => Blame::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;

    #[test]
    fn a_host_that_knows_no_registry_is_told_how_to_learn() {
        let error = Error::NoPlace { what: "cargo's registry", key: "crates" };
        assert_eq!(error.to_string(), "this host does not say where cargo's registry is");
        assert_eq!(
            error.help().unwrap().to_string(),
            "let cargo download any crate once, then its home says where from; or name it under `[mirrors]` in \
             nodeimg's config.toml, as `crates = [\"https://…/\"]`"
        );
    }
}

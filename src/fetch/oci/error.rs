//! What can be wrong with a registry and with what it gives.

use crate::base::{Arch, Blame, Sha256};

/// Says why an image was not taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{host}` refuses `{what}` ({status}), asked {tried}")]
    #[diagnostic(help(
        "run `{login}` if it is private, and check the name: registries refuse what they don't have, too"
    ))]
    Denied { what: String, host: String, status: String, tried: String, login: String },

    #[error("no registry has `{what}`\n{}", asked.iter().map(|url| format!("  {url}: 404 Not Found")).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(help(
        "check the repository's name and the tag; what was deleted there is had from nowhere"
    ))]
    Missing { what: String, asked: Vec<String> },

    #[error("`{url}` is not what its digest says\n  expected: {}\n  received: {received}", expected.oci())]
    #[diagnostic(help(
        "what a digest names never changes: this place, or something on the way to it, gives other bytes, so do not trust it"
    ))]
    Digest { url: String, expected: Sha256, received: String },

    #[error("`{what}` is not for {wanted}; it is for {has}")]
    #[diagnostic(help("name an image that is, or build for another `--platform`"))]
    Platform { what: String, wanted: Arch, has: String },

    #[error("`{what}` can't be a base: {why}")]
    Unsuitable { what: String, why: String },

    #[error("`{what}` is no image: {reason}")]
    Malformed { what: String, reason: String },

    #[error("`{host}` wants a token to be got at `{realm}`, which {why}")]
    #[diagnostic(help(
        "a token is asked for over `https://`, or on this machine if the registry is there too"
    ))]
    Realm { host: String, realm: String, why: &'static str },

    #[error("`{host}` wants to know who asks in a way that nodeimg does not know: {how}")]
    #[diagnostic(help("Bearer tokens and Basic are known"))]
    Challenge { host: String, how: String },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Denied { .. } | Error::Missing { .. } | Error::Realm { .. } | Error::Challenge { .. } => {
                Blame::Machine
            }
            _ => Blame::Input,
        }
    }
}

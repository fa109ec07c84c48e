//! What can be wrong with keys and signatures.

use std::io;
use std::path::PathBuf;

use crate::base::{Blame, Sha256};

/// Says why a key can't be used or a signature does not hold.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// A key file can't be read or written.
    #[error("cannot {action} `{path}`")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// A key would be overwritten.
    #[error("`{path}` is there already, and a key is never overwritten")]
    #[diagnostic(help("name another file, or move it away if nothing depends on it"))]
    Exists { path: PathBuf },

    /// The file is no PEM.
    #[error("`{path}` is no key: {reason}")]
    #[diagnostic(help("`nodeimg key new FILE` makes one"))]
    NoKey { path: PathBuf, reason: String },

    /// The file has the other half.
    #[error("`{path}` has the public half of a key, signing takes the private one")]
    NotPrivate { path: PathBuf },

    /// The file has the other half.
    #[error("`{path}` has the private half of a key, checking takes the public one")]
    #[diagnostic(help(
        "`openssl pkey -in {} -pubout` prints it; keep the private one where signing is done", path.display()
    ))]
    NotPublic { path: PathBuf },

    /// The key wants a password.
    #[error("`{path}` is encrypted, and nodeimg asks for no passwords")]
    #[diagnostic(help("`openssl pkey -in {} -out PLAIN` takes the password off", path.display()))]
    Encrypted { path: PathBuf },

    /// The key is in cosign's own format.
    #[error("`{path}` is a key in cosign's own format, which is encrypted; nodeimg asks for no passwords")]
    #[diagnostic(help(
        "`nodeimg key new FILE` makes a key that `cosign verify --key FILE.pub` takes and `cosign import-key-pair --key \
         FILE` turns into one of cosign's; cosign itself can sign with the key that you have"
    ))]
    Cosign { path: PathBuf },

    /// The algorithm is another one.
    #[error("`{path}` is a key for {algorithm}, nodeimg signs with Ed25519 and ECDSA P-256")]
    #[diagnostic(help("`nodeimg key new FILE` makes one of them"))]
    Algorithm { path: PathBuf, algorithm: String },

    /// The envelope can't be read.
    #[error("{what} is no DSSE envelope: {reason}")]
    Envelope { what: String, reason: String },

    /// The envelope holds something else.
    #[error("{what} has a payload of type `{found}`, not `{expected}`")]
    PayloadType { what: String, expected: String, found: String },

    /// The policy says something wrong.
    #[error("policy `{path}` can't be used: {reason}")]
    #[diagnostic(help(
        "a policy has `keys`, and may have `signatures`, `require`, `builders` and `runtimes`; `keys` are files beside it"
    ))]
    Policy { path: PathBuf, reason: String },

    /// The image is no OCI layout.
    #[error("{what} is no OCI layout that can be read: {reason}")]
    Layout { what: String, reason: String },

    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] crate::store::Error),

    /// Nobody who is trusted signed it.
    #[error("{what} is signed by nobody who is trusted: {}", signers(found))]
    #[diagnostic(help("keys that are trusted: {}", keys(trusted)))]
    Untrusted { what: String, found: Vec<String>, trusted: Vec<Sha256> },
}

fn signers(found: &[String]) -> String {
    match found {
        [] => "it has no signature".to_owned(),
        found => format!("its signatures name {}", found.join(", ")),
    }
}

fn keys(trusted: &[Sha256]) -> String {
    match trusted {
        [] => "none".to_owned(),
        some => some.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
    }
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Io { .. } => Blame::Machine,
            Error::Exists { .. }
            | Error::NoKey { .. }
            | Error::NotPrivate { .. }
            | Error::NotPublic { .. }
            | Error::Encrypted { .. }
            | Error::Cosign { .. }
            | Error::Policy { .. }
            | Error::Algorithm { .. } => Blame::Usage,
            Error::Store(error) => error.blame(),
            Error::Envelope { .. }
            | Error::Layout { .. }
            | Error::PayloadType { .. }
            | Error::Untrusted { .. } => Blame::Input,
        }
    }
}

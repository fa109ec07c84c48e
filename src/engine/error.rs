//! Why no engine was found.

use std::path::PathBuf;

use crate::base::Blame;

/// Says why there is no connection to an engine.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// The engine that was named does not answer.
    #[error("no Docker answers at `{host}`\n  {reason}")]
    #[diagnostic(help(
        "start Docker and be allowed to use it (`docker version` shows both), or name another with `DOCKER_HOST`"
    ))]
    Silent { host: String, reason: String },

    /// None was named, and none is where engines usually are.
    #[error("neither Docker nor Podman answers here\n  {tried}")]
    #[diagnostic(help(
        "start Docker and be allowed to use it (`docker version` shows both), or Podman's service (`systemctl --user start podman.socket`), or name an engine with `DOCKER_HOST`"
    ))]
    Nowhere { tried: String },

    /// The engine is elsewhere, and the network is off.
    #[error("the engine at `{host}` is reached over a network, and the network is off")]
    #[diagnostic(help(
        "leave out `--offline`, or name an engine of this machine with `DOCKER_HOST=unix:///path`"
    ))]
    Offline { host: String },

    /// The address is none that nodeimg can speak to.
    #[error("`{host}` is no address of a Docker that nodeimg can speak to")]
    #[diagnostic(help("set `DOCKER_HOST` to `unix:///path`, `tcp://host:port` or `ssh://user@host`"))]
    NoAddress { host: String },

    /// A file of the TLS connection is missing.
    #[error("no `{path}`, which TLS with `{host}` needs")]
    #[diagnostic(help(
        "set `DOCKER_CERT_PATH` to the folder with `ca.pem`, `cert.pem` and `key.pem`, or unset `DOCKER_TLS_VERIFY`"
    ))]
    NoCertificate { host: String, path: PathBuf },

    /// A context of Docker's client can't be used.
    #[error("Docker's context `{name}` can't be used: {reason}")]
    #[diagnostic(help(
        "`docker context ls` lists those that are there; `docker context use default` goes back to the usual one"
    ))]
    NoContext { name: String, reason: String },
}

impl Error {
    /// Tells whose fault the error is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::NoAddress { .. } => Blame::Usage,
            _ => Blame::Machine,
        }
    }
}

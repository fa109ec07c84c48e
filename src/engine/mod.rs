//! A container engine, Docker or Podman: where it is, and a connection to it.
//!
//! In goes what this host says ([`Settings`]), out comes an [`Engine`] that has answered. One place decides, for all
//! who need an engine, in the order that Docker's own client has:
//!
//! | what is set | what is spoken to |
//! | --- | --- |
//! | `DOCKER_HOST` | `unix:///path`, `tcp://host:port` (with TLS if `DOCKER_TLS_VERIFY` says so), `ssh://[user@]host[:port]` |
//! | `DOCKER_CONTEXT`, else `currentContext` in Docker's `config.json` | what that context's `meta.json` says |
//! | neither | the first that answers: Docker's socket, a rootless Docker's, Podman's of the user, Podman's of the system |
//!
//! What was named is spoken to or nothing is: there is no falling back from a named engine to another one.
//!
//! Over ssh the engine is reached as Docker's client does it, by the user's own `ssh` with his settings and keys: see
//! [`ssh`]. Never: a password asked for, a key or certificate kept.

mod context;
mod error;
mod ssh;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::runtime::Runtime;

pub use error::Error;

/// How long an engine may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(10);
/// The same over ssh, which first finds its way and shows its key.
const FAR_ANSWER: Duration = Duration::from_secs(30);

/// What this host says about engines: the environment's variables of the same names, and two folders.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_TLS_VERIFY`: any text means yes.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`: where `ca.pem`, `cert.pem` and `key.pem` are, if not in `config`.
    pub cert_path: Option<PathBuf>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// The folder of Docker's client: `DOCKER_CONFIG`, else `~/.docker`.
    pub config: PathBuf,
    /// `XDG_RUNTIME_DIR`: where engines that run for this user alone have their sockets.
    pub runtime_dir: Option<PathBuf>,
    /// Whether only an engine of this machine will do, behind a socket of its file system.
    pub offline: bool,
}

impl Settings {
    /// Names an engine as `DOCKER_HOST` does, and nothing else.
    pub fn at(host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..Self::default() }
    }
}

/// Where an engine may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// As `DOCKER_HOST` writes it.
    host: String,
    tls: Option<Tls>,
}

/// The files of a connection whose both ends show who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    folder: PathBuf,
}

impl Tls {
    const FILES: [&'static str; 3] = ["ca.pem", "cert.pem", "key.pem"];

    /// Gives authority, certificate and key.
    fn files(&self) -> [PathBuf; 3] {
        Self::FILES.map(|name| self.folder.join(name))
    }
}

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    place: Place,
    docker: Docker,
    runtime: Runtime,
    _tunnel: Option<ssh::Tunnel>,
    /// What Docker's client and those that use it need in their environment to reach it.
    variables: Vec<(&'static str, OsString)>,
}

impl Engine {
    /// Connects to the engine that is meant and agrees with it on a version.
    pub fn connect(settings: &Settings) -> Result<Engine, Error> {
        if let Some(place) = named(settings)? {
            if settings.offline && !place.host.starts_with("unix://") {
                return Err(Error::Offline { host: place.host });
            }
            return open(place);
        }
        let mut tried = Vec::new();
        for path in sockets(settings) {
            let host = format!("unix://{}", path.display());
            if !path.exists() {
                tried.push(format!("`{host}`: not there"));
                continue;
            }
            match open(Place { host: host.clone(), tls: None }) {
                Err(Error::Silent { reason, .. }) => tried.push(format!("`{host}`: {reason}")),
                other => return other,
            }
        }
        Err(Error::Nowhere { tried: tried.join("\n  ") })
    }

    /// Tells where the engine is, as `DOCKER_HOST` writes it.
    pub fn host(&self) -> &str {
        &self.place.host
    }

    /// Gives the client; a call that takes longer than `limit` to begin its answer fails.
    pub fn client(&self, limit: Duration) -> Docker {
        self.docker.clone().with_timeout(limit)
    }

    /// Runs one conversation to its end.
    pub fn block_on<F: Future>(&self, conversation: F) -> F::Output {
        self.runtime.block_on(conversation)
    }

    /// Gives what Docker's client, and what calls it, needs in its environment to reach this engine while it is open.
    pub fn variables(&self) -> &[(&'static str, OsString)] {
        &self.variables
    }
}

/// Gives the engine that somebody named.
fn named(settings: &Settings) -> Result<Option<Place>, Error> {
    if let Some(host) = &settings.host {
        let folder = || settings.cert_path.clone().unwrap_or_else(|| settings.config.clone());
        let tls = (settings.tls_verify && host.starts_with("tcp://")).then(|| Tls { folder: folder() });
        return Ok(Some(Place { host: host.clone(), tls }));
    }
    context::current(settings)
}

/// Lists where engines listen that nobody named.
fn sockets(settings: &Settings) -> Vec<PathBuf> {
    let own = |name: &str| settings.runtime_dir.as_ref().map(|folder| folder.join(name));
    [
        Some(PathBuf::from("/var/run/docker.sock")),
        own("docker.sock"),
        own("podman/podman.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn open(place: Place) -> Result<Engine, Error> {
    let host = place.host.clone();
    let silent = |reason: String| Error::Silent { host: host.clone(), reason };
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    let mut tunnel = None;
    let seconds = ANSWER.as_secs();
    let mut docker = match host.split_once("://") {
        Some(("unix", path)) => connect_socket(Path::new(path)),
        Some(("tcp" | "http", _)) => match &place.tls {
            None => Docker::connect_with_http(&host, seconds, API_DEFAULT_VERSION),
            Some(tls) => {
                let [ca, cert, key] = tls.files();
                if let Some(path) = [&ca, &cert, &key].into_iter().find(|path| !path.is_file()) {
                    return Err(Error::NoCertificate { host: host.clone(), path: path.clone() });
                }
                variables.push(("DOCKER_TLS_VERIFY", "1".into()));
                variables.push(("DOCKER_CERT_PATH", tls.folder.clone().into()));
                Docker::connect_with_ssl(&host, &key, &cert, &ca, seconds, API_DEFAULT_VERSION)
            }
        },
        Some(("ssh", destination)) => {
            let opened = ssh::Tunnel::open(destination).map_err(|error| silent(error.to_string()))?;
            let docker = connect_socket(opened.socket());
            tunnel = Some(opened);
            docker
        }
        _ => return Err(Error::NoAddress { host }),
    }
    .map_err(|error| silent(reason(&error)))?;
    let limit = if tunnel.is_some() { FAR_ANSWER } else { ANSWER };
    docker.set_timeout(limit);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| silent(error.to_string()))?;
    let docker = runtime.block_on(docker.negotiate_version()).map_err(|error| {
        // What `ssh` printed says more than that a connection ended.
        let printed = tunnel.as_ref().and_then(ssh::Tunnel::complaint);
        silent(printed.unwrap_or_else(|| reason(&error)))
    })?;
    let reached = tunnel.as_ref().map_or_else(
        || place.host.clone(),
        |tunnel: &ssh::Tunnel| format!("unix://{}", tunnel.socket().display()),
    );
    variables.push(("DOCKER_HOST", reached.into()));
    Ok(Engine { place, docker, runtime, _tunnel: tunnel, variables })
}

fn connect_socket(path: &Path) -> Result<Docker, bollard::errors::Error> {
    let path = path.to_str().unwrap_or_default();
    Docker::connect_with_unix(path, ANSWER.as_secs(), API_DEFAULT_VERSION)
}

/// Gives an error's innermost cause: what is around it says only that there was an error.
fn reason(error: &bollard::errors::Error) -> String {
    if let bollard::errors::Error::SocketNotFoundError(_) = error {
        return "not there".to_owned();
    }
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

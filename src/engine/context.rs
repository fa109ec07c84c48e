//! Docker's contexts: engines with a name, kept by Docker's client.
//!
//! ```text
//! config.json                              "currentContext": NAME
//! contexts/meta/<SHA-256 of NAME>/meta.json  "Endpoints": { "docker": { "Host": …, "SkipTLSVerify": … } }
//! contexts/tls/<SHA-256 of NAME>/docker/     ca.pem, cert.pem, key.pem
//! ```

use serde::Deserialize;

use super::{Error, Place, Settings, Tls};
use crate::base::Sha256;

/// The context that always is, and means none.
const DEFAULT: &str = "default";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// Gives the engine of the context in use, if one is.
pub(super) fn current(settings: &Settings) -> Result<Option<Place>, Error> {
    let Some(name) = name(settings)? else { return Ok(None) };
    let failed = |reason: String| Error::NoContext { name: name.clone(), reason };
    let hash = Sha256::of(name.as_bytes()).to_string();
    let contexts = settings.config.join("contexts");
    let path = contexts.join("meta").join(&hash).join("meta.json");
    let text = fs_err::read(&path).map_err(|error| failed(error.to_string()))?;
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|error| failed(format!("`{}` is not understood: {error}", path.display())))?;
    let Endpoint { host, skip_tls_verify } = meta.endpoints.docker;
    let folder = contexts.join("tls").join(&hash).join("docker");
    let tls = folder.is_dir().then_some(Tls { folder });
    if tls.is_some() && skip_tls_verify {
        return Err(failed("it leaves its engine unverified, which nodeimg does not".to_owned()));
    }
    Ok(Some(Place { host, tls }))
}

fn name(settings: &Settings) -> Result<Option<String>, Error> {
    let name = match &settings.context {
        Some(name) => Some(name.clone()),
        None => configured(settings)?,
    };
    Ok(name.filter(|name| !name.is_empty() && name != DEFAULT))
}

fn configured(settings: &Settings) -> Result<Option<String>, Error> {
    let path = settings.config.join("config.json");
    let failed = |reason: String| Error::NoContext { name: "currentContext".to_owned(), reason };
    let text = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| failed(error.to_string()))?,
    };
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| failed(format!("`{}` is not understood: {error}", path.display())))?;
    Ok(config.current_context)
}

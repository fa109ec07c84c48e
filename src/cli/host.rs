//! What this host says: the environment and where its clients keep their settings.

#![expect(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::attest::PublicKey;
use crate::engine;
use crate::fetch::settings::{self, Host};

fn path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// Finds the store's folder: `$NODEIMG_STORE`, else `nodeimg` in `$XDG_CACHE_HOME` or `~/.cache`.
pub(super) fn store() -> Option<PathBuf> {
    let cache = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    path("NODEIMG_STORE").or_else(|| Some(cache()?.join("nodeimg")))
}

/// Tells what this host says about container engines.
pub(super) fn engine() -> engine::Settings {
    let text = |variable| std::env::var(variable).ok().filter(|text: &String| !text.is_empty());
    engine::Settings {
        host: text("DOCKER_HOST"),
        tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
        cert_path: path("DOCKER_CERT_PATH"),
        context: text("DOCKER_CONTEXT"),
        config: docker().unwrap_or_else(|| ".docker".into()),
        runtime_dir: path("XDG_RUNTIME_DIR"),
        offline: false,
    }
}

/// Finds Docker's configuration folder.
fn docker() -> Option<PathBuf> {
    path("DOCKER_CONFIG").or_else(|| Some(path("HOME")?.join(".docker")))
}

/// Finds the file of this program.
pub(super) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Finds nodeimg's own configuration file, if there is one.
fn config() -> Option<PathBuf> {
    let folder = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")))?;
    Some(folder.join("nodeimg/config.toml")).filter(|file| file.is_file())
}

/// Reads the public keys whose results are taken, as their files have them: `trusted-keys` of config.toml.
pub(super) fn trusted_keys() -> Result<Vec<String>, Failure> {
    let Some(config) = config() else { return Ok(Vec::new()) };
    let folder = config.parent().unwrap_or(Path::new("."));
    let mut keys = Vec::new();
    for file in settings::trusted_keys(&config)? {
        keys.push(PublicKey::read(&folder.join(file))?.to_pem());
    }
    Ok(keys)
}

/// Tells where containerd is, if the user says so, as `ctr` is told.
pub(super) fn containerd() -> Option<String> {
    std::env::var("CONTAINERD_ADDRESS").ok().filter(|address| !address.is_empty())
}

/// Tells whether colours are wanted (no-color.org).
pub(super) fn color_allowed() -> bool {
    path("NO_COLOR").is_none() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns the user says the terminal has.
pub(super) fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Finds where registries are according to the host's own clients.
pub(super) fn settings() -> Host {
    let home = path("HOME").unwrap_or_default();
    let config = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let pip = [path("PIP_CONFIG_FILE"), Some(config.join("pip/pip.conf")), Some(home.join(".pip/pip.conf"))];
    let mut pip: Vec<_> = pip.into_iter().flatten().collect();
    pip.push("/etc/pip.conf".into());
    Host {
        config: self::config(),
        apt: "/etc/apt".into(),
        cargo: path("CARGO_HOME").unwrap_or_else(|| home.join(".cargo")),
        pip,
        pip_index: std::env::var("PIP_INDEX_URL").ok().filter(|url| !url.is_empty()),
        python: python(&home),
        docker: docker(),
    }
}

/// Lists folders that Python packages may be installed in, beside each `python3` of `PATH` and in pyenv's versions.
fn python(home: &Path) -> Vec<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let mut prefixes: Vec<PathBuf> = std::env::split_paths(&search)
        .filter(|folder| folder.join("python3").exists())
        .filter_map(|folder| folder.parent().map(Path::to_owned))
        .collect();
    prefixes.extend(children(&path("PYENV_ROOT").unwrap_or_else(|| home.join(".pyenv")).join("versions")));
    prefixes.push("/usr/local".into());
    let mut found = vec![PathBuf::from("/usr/lib/python3/dist-packages")];
    for prefix in prefixes {
        let versions = children(&prefix.join("lib")).into_iter().filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        });
        found
            .extend(versions.flat_map(|folder| [folder.join("site-packages"), folder.join("dist-packages")]));
    }
    found
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

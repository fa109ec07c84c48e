//! What `docker login` has left: `config.json` in Docker's folder, and the programs that it names.
//!
//! ```text
//! credHelpers.HOST   docker-credential-NAME knows the credentials of this registry
//! credsStore         docker-credential-NAME knows those of all
//! auths.HOST.auth    base64 of `user:password`; `identitytoken` beside it is asked with instead
//! ```
//!
//! Such a program gets a registry's name on its standard input and gives JSON. Nothing here is ever printed.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::reference::HUB;
use crate::base::Cancel;

/// Who asks.
pub(super) struct Credentials {
    pub secret: Secret,
    /// Where they are from, for messages.
    pub from: String,
}

/// What proves it. Has no `Debug` on purpose.
pub(super) enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// Asks for a token (OAuth 2's refresh token).
    Identity(String),
}

impl Secret {
    fn new(user: String, secret: String) -> Self {
        // What docker-credential-helpers have agreed on.
        if user == "<token>" { Secret::Identity(secret) } else { Secret::Password { user, password: secret } }
    }

    /// The value of `Authorization`.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Secret::Password { user, password } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            }
            Secret::Identity(_) => None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What such a program gives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    username: String,
    secret: String,
}

/// More than this are no credentials.
const LARGEST: u64 = 64 << 10;
/// Docker's configuration may hold more than credentials.
const LARGEST_CONFIG: u64 = 4 << 20;
/// What such a program says where it has nothing, by its authors' agreement.
const NOTHING: &str = "credentials not found";
/// The name that Docker Hub has had in `config.json` ever since.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Finds the credentials of a registry. Errs with a reason where there may be some that can't be had.
pub(super) fn find(
    folder: &Path,
    registry: &str,
    patience: Duration,
    cancel: &Cancel,
) -> Result<Option<Credentials>, String> {
    let path = folder.join("config.json");
    let Some(config) = load(&path)? else { return Ok(None) };
    let mine = |key: &str| key == registry || host(key) == registry || (registry == HUB && is_hub(key));
    let by_name = config.cred_helpers.iter().find(|(key, _)| mine(key)).map(|(_, name)| name.as_str());
    let helper = by_name.or_else(|| Some(config.creds_store.as_str()).filter(|name| !name.is_empty()));
    let failed = match helper {
        None => None,
        // It is looked for in `PATH`.
        Some(helper) if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) => {
            Some(format!("`{}` names a credential helper that is no name", path.display()))
        }
        Some(helper) => {
            let program = format!("docker-credential-{helper}");
            match ask(&program, if registry == HUB { HUB_KEY } else { registry }, patience, cancel) {
                Ok(Some(given)) => {
                    let secret = Secret::new(given.username, given.secret);
                    return Ok(Some(Credentials { secret, from: format!("`{program}`") }));
                }
                Ok(None) => None,
                Err(why) => Some(format!("`{program}` {why}")),
            }
        }
    };
    let kept = config.auths.iter().filter(|(key, _)| mine(key)).find_map(|(_, auth)| auth.secret());
    match (kept, failed) {
        (Some(secret), _) => Ok(Some(Credentials { secret, from: format!("`{}`", path.display()) })),
        (None, Some(why)) => Err(why),
        (None, None) => Ok(None),
    }
}

fn load(path: &Path) -> Result<Option<Config>, String> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_CONFIG).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    // The whole message might quote a password.
    let place = |error: serde_json::Error| {
        format!("`{}` is not understood at line {}, column {}", path.display(), error.line(), error.column())
    };
    serde_json::from_slice(&bytes).map(Some).map_err(place)
}

/// The host of a key of `auths`: `https://h.example/v1/` is for `h.example`.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn is_hub(key: &str) -> bool {
    key == HUB_KEY || matches!(host(key), "index.docker.io" | "registry-1.docker.io")
}

impl Auth {
    fn secret(&self) -> Option<Secret> {
        if !self.identitytoken.is_empty() {
            return Some(Secret::Identity(self.identitytoken.clone()));
        }
        if !self.username.is_empty() {
            return Some(Secret::new(self.username.clone(), self.password.clone()));
        }
        let text = String::from_utf8(BASE64_STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        // Docker pads with zero bytes.
        let password = password.trim_end_matches('\0');
        (!user.is_empty()).then(|| Secret::new(user.to_owned(), password.to_owned()))
    }
}

/// Asks a credential helper.
fn ask(program: &str, registry: &str, patience: Duration, cancel: &Cancel) -> Result<Option<Given>, String> {
    #[expect(clippy::disallowed_methods, reason = "the user's own keeper of passwords, as Docker runs it")]
    let mut command = std::process::Command::new(program);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("can't be run: {error}"))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (send, received) = mpsc::channel();
    let registry = registry.to_owned();
    // It may leave the pipes open in a child of its own: then only this thread waits.
    std::thread::spawn(move || {
        if let Some(mut input) = input {
            let _ = input.write_all(registry.as_bytes());
        }
        let mut bytes = Vec::new();
        if let Some(output) = output {
            let _ = output.take(LARGEST).read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < patience && !cancel.is_cancelled() => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("gave nothing for {} s", patience.as_secs_f64()));
            }
        }
    };
    let bytes = received
        .recv_timeout(Duration::from_secs(1))
        .map_err(|_| "ended without closing its output".to_owned())?;
    if !status.success() {
        let nothing = String::from_utf8_lossy(&bytes).contains(NOTHING);
        return if nothing { Ok(None) } else { Err(format!("failed ({status})")) };
    }
    let given: Given = serde_json::from_slice(&bytes).map_err(|_| "gave no JSON of its kind".to_owned())?;
    Ok(Some(given).filter(|given| !given.secret.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn found(config: &str, registry: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("config.json"), config).unwrap();
        let found = find(folder.path(), registry, PATIENCE, &Cancel::default());
        let said = |found: Credentials| {
            assert!(found.from.ends_with("/config.json`"), "{}", found.from);
            match found.secret {
                Secret::Password { user, password } => format!("{user} {password}"),
                Secret::Identity(token) => format!("token {token}"),
            }
        };
        let place = folder.path().display().to_string();
        found.map(|found| found.map(said)).map_err(|why| why.replace(&place, "DIR"))
    }

    #[test]
    fn credentials_are_found_by_their_registry() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
            "h.example:5000": {"auth": "bWU6YTpi"},
            "https://old.example/v2/": {"username": "u", "password": "p"},
            "token.example": {"auth": "PHRva2VuPjo=", "identitytoken": "t"},
            "named.example": {"username": "<token>", "password": "t2"},
            "empty.example": {},
            "broken.example": {"auth": "%"}}, "credsStore": "", "HttpHeaders": {"X": "y"}}"#;
        for (registry, want) in [
            ("docker.io", Some("hub secret")),
            ("h.example:5000", Some("me a:b")),
            ("h.example", None),
            ("old.example", Some("u p")),
            ("token.example", Some("token t")),
            ("named.example", Some("token t2")),
            ("empty.example", None),
            ("broken.example", None),
        ] {
            assert_eq!(found(config, registry).unwrap().as_deref(), want, "{registry}");
        }
        let nowhere = find(Path::new("/nonexistent"), "h.example", PATIENCE, &Cancel::default());
        assert!(nowhere.unwrap().is_none());
    }

    #[test]
    fn reasons_quote_no_secret() {
        assert_eq!(
            found(r#"{"auths": "secret"}"#, "h.example").unwrap_err(),
            "`DIR/config.json` is not understood at line 1, column 18"
        );
        assert_eq!(
            found(r#"{"credsStore": "../evil"}"#, "h.example").unwrap_err(),
            "`DIR/config.json` names a credential helper that is no name"
        );
        let missing = r#"{"credsStore": "nodeimg-none", "auths": {"k.example": {"auth": "bWU6eA=="}}}"#;
        assert_eq!(
            found(missing, "h.example").unwrap_err(),
            "`docker-credential-nodeimg-none` can't be run: No such file or directory (os error 2)"
        );
        // What is in the file does not need it.
        assert_eq!(found(missing, "k.example").unwrap().unwrap(), "me x");
    }

    #[test]
    fn a_helper_is_asked_as_docker_asks_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = |number: usize, script: &str, patience: Duration, cancel: &Cancel| {
            let program = folder.path().join(number.to_string());
            fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            // Another test's child may hold the file open for writing still.
            let got = loop {
                match ask(program.to_str().unwrap(), "h.example", patience, cancel) {
                    Err(why) if why.contains("Text file busy") => std::thread::yield_now(),
                    got => break got,
                }
            };
            got.map(|given| given.map(|given| format!("{} {}", given.username, given.secret)))
        };
        let go = Cancel::default();
        let script = r#"read -r host; printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "$1" "$host""#;
        assert_eq!(run(0, script, PATIENCE, &go).unwrap().unwrap(), "get h.example");
        let nothing = "echo credentials not found in native keychain; exit 1";
        assert_eq!(run(1, nothing, PATIENCE, &go).unwrap(), None);
        assert_eq!(run(2, "echo secret; exit 3", PATIENCE, &go).unwrap_err(), "failed (exit status: 3)");
        assert_eq!(run(3, "echo secret", PATIENCE, &go).unwrap_err(), "gave no JSON of its kind");
        let start = Instant::now();
        let short = Duration::from_millis(100);
        assert_eq!(run(4, "exec sleep 60", short, &go).unwrap_err(), "gave nothing for 0.1 s");
        let stopped = Cancel::default();
        stopped.cancel();
        assert!(run(5, "exec sleep 60", PATIENCE, &stopped).is_err());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

//! Which engine is meant, and what is said where it is not to be had.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use miette::Diagnostic as _;

use super::*;
use crate::base::{Blame, Sha256};

/// A host without engines of its own.
fn settings(folder: &Path) -> Settings {
    Settings { config: folder.join("docker"), runtime_dir: Some(folder.join("run")), ..Settings::default() }
}

/// Answers `GET /version` on a socket, once for each connection.
fn answer(socket: &Path) {
    fs_err::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let body = "{\"ApiVersion\":\"1.41\",\"Version\":\"1\"}";
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let _ = write!(connection, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
}

fn context(folder: &Path, name: &str, meta: &str) {
    let hash = Sha256::of(name.as_bytes()).to_string();
    let place = folder.join("docker/contexts/meta").join(hash);
    fs_err::create_dir_all(&place).unwrap();
    fs_err::write(place.join("meta.json"), meta).unwrap();
}

fn told(error: &Error) -> (String, String, Blame) {
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    (error.to_string(), help, error.blame())
}

#[test]
fn what_is_named_goes_before_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let place = |settings: &Settings| named(settings).unwrap().map(|place| place.host);
    assert_eq!(place(&settings), None);
    context(folder.path(), "far", r#"{"Name":"far","Endpoints":{"docker":{"Host":"ssh://far"}}}"#);
    context(
        folder.path(),
        "near",
        r#"{"Endpoints":{"docker":{"Host":"unix:///near","SkipTLSVerify":false}}}"#,
    );
    fs_err::write(folder.path().join("docker/config.json"), r#"{"currentContext":"far","auths":{}}"#)
        .unwrap();
    assert_eq!(place(&settings).unwrap(), "ssh://far");
    settings.context = Some("near".to_owned());
    assert_eq!(place(&settings).unwrap(), "unix:///near");
    settings.context = Some("default".to_owned());
    assert_eq!(place(&settings), None);
    settings.host = Some("tcp://there:2375".to_owned());
    assert_eq!(place(&settings).unwrap(), "tcp://there:2375");
    let sockets: Vec<_> = sockets(&settings).iter().map(|path| path.display().to_string()).collect();
    let own = folder.path().join("run").display().to_string();
    let expected = [
        "/var/run/docker.sock",
        &format!("{own}/docker.sock"),
        &format!("{own}/podman/podman.sock"),
        "/run/podman/podman.sock",
    ];
    assert_eq!(sockets, expected);
}

#[test]
fn tls_is_used_where_it_is_asked_for_and_never_without_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { tls_verify: true, ..settings(folder.path()) };
    settings.host = Some("tcp://there:2376".to_owned());
    let place = named(&settings).unwrap().unwrap();
    assert_eq!(place.tls.unwrap().folder, folder.path().join("docker"));
    settings.cert_path = Some(folder.path().join("certs"));
    let (text, help, blame) = told(&Engine::connect(&settings).unwrap_err());
    let ca = folder.path().join("certs/ca.pem");
    assert_eq!(text, format!("no `{}`, which TLS with `tcp://there:2376` needs", ca.display()));
    assert!(help.starts_with("set `DOCKER_CERT_PATH` to the folder with `ca.pem`"), "{help}");
    assert_eq!(blame, Blame::Machine);
    context(folder.path(), "c", r#"{"Endpoints":{"docker":{"Host":"tcp://c:1","SkipTLSVerify":true}}}"#);
    let tls = folder.path().join("docker/contexts/tls").join(Sha256::of(b"c").to_string()).join("docker");
    fs_err::create_dir_all(tls).unwrap();
    let settings = Settings { host: None, context: Some("c".to_owned()), ..settings };
    let (text, ..) = told(&Engine::connect(&settings).unwrap_err());
    assert_eq!(
        text,
        "Docker's context `c` can't be used: it leaves its engine unverified, which nodeimg does not"
    );
}

#[test]
fn an_engine_that_nobody_named_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let socket = folder.path().join("run/podman/podman.sock");
    answer(&socket);
    let engine = Engine::connect(&settings).unwrap();
    let host = format!("unix://{}", socket.display());
    // Where this machine has a Docker, that one goes first.
    if !Path::new("/var/run/docker.sock").exists() {
        assert_eq!(engine.host(), host);
        assert_eq!(engine.variables(), [("DOCKER_HOST", OsString::from(host))]);
    }
}

#[test]
fn each_way_not_to_reach_an_engine_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let start = "start Docker and be allowed to use it (`docker version` shows both)";
    let (text, help, blame) = told(&Engine::connect(&Settings::at("unix:///nowhere.sock")).unwrap_err());
    assert_eq!(text, "no Docker answers at `unix:///nowhere.sock`\n  not there");
    assert_eq!(help, format!("{start}, or name another with `DOCKER_HOST`"));
    assert_eq!(blame, Blame::Machine);
    // A port that the kernel gave to nobody.
    let (text, _, blame) = told(&Engine::connect(&Settings::at("tcp://127.0.0.1:1")).unwrap_err());
    assert_eq!(text, "no Docker answers at `tcp://127.0.0.1:1`\n  Connection refused (os error 111)");
    assert_eq!(blame, Blame::Machine);
    let (text, help, blame) = told(&Engine::connect(&Settings::at("npipe://x")).unwrap_err());
    assert_eq!(text, "`npipe://x` is no address of a Docker that nodeimg can speak to");
    assert_eq!(help, "set `DOCKER_HOST` to `unix:///path`, `tcp://host:port` or `ssh://user@host`");
    assert_eq!(blame, Blame::Usage);
    let (text, ..) = told(&Engine::connect(&Settings::at("ssh://-oProxyCommand=x")).unwrap_err());
    let form = "not of the form `ssh://user@host:port`";
    assert_eq!(text, format!("no Docker answers at `ssh://-oProxyCommand=x`\n  {form}"));

    let mut settings = settings(folder.path());
    let error = Error::Nowhere { tried: "`unix:///a`: not there\n  `unix:///b`: not there".to_owned() };
    let (text, help, blame) = told(&error);
    assert_eq!(
        text,
        "neither Docker nor Podman answers here\n  `unix:///a`: not there\n  `unix:///b`: not there"
    );
    let podman = "or Podman's service (`systemctl --user start podman.socket`)";
    assert_eq!(help, format!("{start}, {podman}, or name an engine with `DOCKER_HOST`"));
    assert_eq!(blame, Blame::Machine);

    settings.context = Some("gone".to_owned());
    let (text, help, blame) = told(&Engine::connect(&settings).unwrap_err());
    assert!(text.starts_with("Docker's context `gone` can't be used: failed to open file `"), "{text}");
    assert!(help.starts_with("`docker context ls` lists those that are there"), "{help}");
    assert_eq!(blame, Blame::Machine);
    settings.context = None;
    fs_err::create_dir_all(&settings.config).unwrap();
    fs_err::write(settings.config.join("config.json"), "{").unwrap();
    let (text, ..) = told(&Engine::connect(&settings).unwrap_err());
    assert!(text.contains("config.json` is not understood: EOF while parsing"), "{text}");
}

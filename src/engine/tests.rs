//! Which engine is meant, and what is said where it is not to be had.

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
        listener.incoming().flatten().for_each(version);
    });
}

fn version(mut connection: impl std::io::Read + std::io::Write) {
    let mut request = [0; 4096];
    let _ = connection.read(&mut request);
    let body = "{\"ApiVersion\":\"1.41\",\"Version\":\"1\"}";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    let _ = write!(connection, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = connection.flush();
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

/// Answers `GET /version` over TLS to those who show a certificate of the fixture's authority.
fn answer_over_tls() -> String {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let own =
        CertificateDer::from_pem_slice(include_bytes!("../fetch/network/fixture/localhost.pem")).unwrap();
    let key =
        PrivateKeyDer::from_pem_slice(include_bytes!("../fetch/network/fixture/localhost.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.clone()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_client_cert_verifier(clients.build().unwrap());
    let config = std::sync::Arc::new(config.with_single_cert(vec![own], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            version(rustls::StreamOwned::new(connection, stream));
        }
    });
    host
}

#[test]
fn over_tls_both_ends_show_who_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fetch/network/fixture");
    let certs = folder.path().join("certs");
    fs_err::create_dir(&certs).unwrap();
    for (from, to) in
        [("localhost.pem", "ca.pem"), ("localhost.pem", "cert.pem"), ("localhost.key", "key.pem")]
    {
        fs_err::copy(fixture.join(from), certs.join(to)).unwrap();
    }
    let host = answer_over_tls();
    let mut settings = Settings { host: Some(host.clone()), ..settings(folder.path()) };
    settings.cert_path = Some(certs.clone());
    assert!(Engine::connect(&settings).is_err(), "without TLS there is no answer");
    settings.tls_verify = true;
    let engine = Engine::connect(&settings).unwrap();
    let expected = [
        ("DOCKER_TLS_VERIFY", OsString::from("1")),
        ("DOCKER_CERT_PATH", certs.clone().into()),
        ("DOCKER_HOST", host.into()),
    ];
    assert_eq!(engine.variables(), expected);
    // An authority that signed nothing here.
    fs_err::write(certs.join("ca.pem"), "").unwrap();
    let (text, _, blame) = told(&Engine::connect(&settings).unwrap_err());
    assert!(text.contains("invalid peer certificate"), "{text}");
    assert_eq!(blame, Blame::Machine);
}

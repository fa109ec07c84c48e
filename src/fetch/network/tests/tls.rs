//! Over TLS, in a process of its own: certificate authorities and proxies come from the environment.

use std::io::Write as _;
use std::net::TcpListener;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::fetch::server::request;

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fetch/network/fixture/localhost.pem");

/// Serves `hello` over TLS, and at `/down` a redirect to `plain`.
fn serve_tls(plain: &str) -> String {
    let chain = vec![CertificateDer::from_pem_file(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixture/localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let plain = plain.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let Some(asked) = request(&mut stream) else { continue };
            match asked.path.as_str() {
                "/down" => {
                    let headers = format!("Location: {plain}\r\nContent-Length: 0\r\n");
                    answer(&mut stream, "302 Found", &headers, b"");
                }
                _ => ok(&mut stream, b"hello"),
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    base
}

/// Runs one of the tests below with an environment of its own.
fn run(test: &str, env: &[(&str, &str)]) {
    #[expect(clippy::disallowed_methods, reason = "the environment of this process belongs to all tests")]
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let name = format!("fetch::network::tests::tls::{test}");
    command.args(["--exact", &name, "--ignored", "--nocapture"]).env_clear().envs(env.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn authorities_come_from_the_environment() {
    run("with_the_authority", &[("SSL_CERT_FILE", CERTIFICATE)]);
}

#[test]
#[ignore = "run by `authorities_come_from_the_environment`"]
fn with_the_authority() {
    let plain = serve(|_, _, to| ok(to, b"hello"));
    let base = serve_tls(&plain.base);
    assert_eq!(get(std::slice::from_ref(&base), exactly("hello")).unwrap(), b"hello");
    let url = format!("{base}/down");
    let error = get(std::slice::from_ref(&url), ANY).unwrap_err().to_string();
    assert_eq!(error, format!("no place has `thing`\n  {url}: redirected from `https` to `http`"));
    assert!(plain.asked().is_empty());
}

#[test]
fn unknown_authorities_are_refused() {
    // The host may trust anything but this one.
    let base = serve_tls("");
    let error = get(std::slice::from_ref(&base), ANY).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn proxies_come_from_the_environment() {
    let proxy = serve(|asked, _, to| ok(to, asked.path.as_bytes()));
    let url = proxy.base.replace("//", "//me:secret@");
    run("through_the_proxy", &[("http_proxy", &url), ("NO_PROXY", "direct.example")]);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["proxy-authorization"], "Basic bWU6c2VjcmV0");
}

#[test]
#[ignore = "run by `proxies_come_from_the_environment`"]
fn through_the_proxy() {
    let got = get(&["http://upstream.invalid/a".to_owned()], ANY).unwrap();
    assert_eq!(got, b"http://upstream.invalid/a");
}

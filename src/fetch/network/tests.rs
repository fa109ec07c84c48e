//! Against a small HTTP server of our own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::base::Cancel;
use crate::base::event::Silent;
use crate::store::Store;

/// Answers each request with what `answer` writes for (path, number of the request, range header).
fn serve(answer: fn(&str, usize, Option<&str>) -> Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut path = String::new();
            let mut range = None;
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap();
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap().to_owned();
                } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: ") {
                    range = Some(value.to_owned());
                } else if line.is_empty() {
                    break;
                }
            }
            let number = count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(&answer(&path, number, range.as_deref()));
        }
    });
    (base, asked)
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn get(urls: &[String], expected: Expected) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let network = Network::new(Settings::default());
    let context = Context { network: &network, store: &store, events: &Silent, cancel: &Cancel::default() };
    let digest = network.get("thing", urls, expected, &context)?;
    Ok(store.read_blob(&digest).unwrap())
}

const ANY: Expected = Expected { hash: None, size: None };

fn exactly(text: &str) -> Expected {
    Expected { hash: Some(Sha256::of(text.as_bytes())), size: Some(text.len() as u64) }
}

#[test]
fn asks_the_next_place_after_a_404() {
    let (base, _) = serve(|path, _, _| match path {
        "/b" => ok("hello"),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    });
    let got = get(&[format!("{base}/a"), format!("{base}/b")], exactly("hello")).unwrap();
    assert_eq!(got, b"hello");
    let error = get(&[format!("{base}/a"), format!("{base}/c")], ANY).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no place has `thing`\n  {base}/a: 404 Not Found\n  {base}/c: 404 Not Found")
    );
}

#[test]
fn tries_again_after_a_server_error() {
    let (base, asked) = serve(|_, number, _| match number {
        0 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        _ => ok("hello"),
    });
    assert_eq!(get(&[base], exactly("hello")).unwrap(), b"hello");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn goes_on_where_a_broken_connection_ended() {
    let (base, asked) = serve(|_, number, range| match number {
        0 => {
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: \"1\"\r\nConnection: close\r\n\r\nhello".to_vec()
        }
        _ => {
            assert_eq!(range, Some("bytes=5-"));
            b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-10/11\r\nContent-Length: 6\r\nConnection: close\r\n\r\n world"
                .to_vec()
        }
    });
    assert_eq!(get(&[base], exactly("hello world")).unwrap(), b"hello world");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn says_what_came_instead_of_what_was_pinned() {
    let (base, _) = serve(|_, _, _| ok("hullo"));
    let error = get(std::slice::from_ref(&base), exactly("hello")).unwrap_err().to_string();
    let (expected, received) = (Sha256::of(b"hello"), Sha256::of(b"hullo"));
    assert_eq!(
        error,
        format!(
            "content of `{base}` does not match its pin\n  expected: sha256:{expected}\n  received: sha256:{received}"
        )
    );
}

#[test]
fn refuses_more_and_less_than_is_pinned() {
    let (base, _) = serve(|_, _, _| ok("hello, and a lot more"));
    let error = get(std::slice::from_ref(&base), exactly("hello")).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("`{base}` has another size than its pin\n  expected: 5 bytes\n  received: more")
    );
    let (base, _) = serve(|_, _, _| ok("hell"));
    let error = get(std::slice::from_ref(&base), exactly("hello")).unwrap_err().to_string();
    assert_eq!(error, format!("no place has `thing`\n  {base}: ended after 4 of 5 bytes"));
}

#[test]
fn offline_names_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let network = Network::offline();
    let context = Context { network: &network, store: &store, events: &Silent, cancel: &Cancel::default() };
    let error = network.get("crun-1.21.tar.gz", &[], ANY, &context).unwrap_err();
    assert_eq!(error.to_string(), "`crun-1.21.tar.gz` is not in the store, and the network is off");
}

#[test]
fn shows_no_password() {
    assert_eq!(public("https://me:secret@host.example/a@b"), "https://host.example/a@b");
    assert_eq!(public("https://host.example/a@b"), "https://host.example/a@b");
    assert_eq!(public("debian:pool/x"), "debian:pool/x");
}

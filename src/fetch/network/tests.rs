//! Against small HTTP servers of our own, most of them hostile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::base::event::{Silent, Sink};
use crate::fetch::server::{Server, answer, ok, serve};
use crate::store::Store;

mod tls;

const ANY: Expected = Expected { hash: None, size: None };

fn exactly(text: &str) -> Expected {
    Expected { hash: Some(Sha256::of(text.as_bytes())), size: Some(text.len() as u64) }
}

fn network() -> Network {
    Network::hasty(Settings::default())
}

fn get_with(
    network: &Network,
    urls: &[String],
    expected: Expected,
    cancel: &Cancel,
) -> Result<Vec<u8>, Error> {
    get_told(network, urls, expected, cancel, &Silent)
}

fn get_told(
    network: &Network,
    urls: &[String],
    expected: Expected,
    cancel: &Cancel,
    events: &dyn Sink,
) -> Result<Vec<u8>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let context = Context { network, store: &store, events, cancel };
    let digest = network.get("thing", urls, expected, &context)?;
    Ok(store.read_blob(&digest).unwrap())
}

fn get(urls: &[String], expected: Expected) -> Result<Vec<u8>, Error> {
    get_with(&network(), urls, expected, &Cancel::default())
}

fn get_from(server: &Server, expected: Expected) -> Result<Vec<u8>, Error> {
    get(std::slice::from_ref(&server.base), expected)
}

/// What is said when the only place fails.
fn nowhere(server: &Server, why: &str) -> String {
    format!("no place has `thing`\n  {}: {why}", server.base)
}

#[test]
fn asks_the_next_place_after_a_404() {
    let server = serve(|asked, _, to| match asked.path.as_str() {
        "/b" => ok(to, b"hello"),
        _ => answer(to, "404 Not Found", "Content-Length: 0\r\n", b""),
    });
    let base = &server.base;
    let got = get(&[format!("{base}/a"), format!("{base}/b")], exactly("hello")).unwrap();
    assert_eq!(got, b"hello");
    let error = get(&[format!("{base}/a"), format!("{base}/c")], ANY).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no place has `thing`\n  {base}/a: 404 Not Found\n  {base}/c: 404 Not Found")
    );
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn tries_again_after_a_server_error() {
    let server = serve(|_, number, to| match number {
        0 => answer(to, "500 Oops", "Content-Length: 0\r\n", b""),
        1 => {}
        _ => ok(to, b"hello"),
    });
    assert_eq!(get_from(&server, exactly("hello")).unwrap(), b"hello");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn gives_a_place_four_attempts_and_no_more() {
    let server = serve(|_, _, to| answer(to, "503 Busy", "Content-Length: 0\r\n", b""));
    let error = get_from(&server, ANY).unwrap_err();
    assert_eq!(error.to_string(), nowhere(&server, "503 Service Unavailable"));
    assert_eq!(server.asked().len(), ATTEMPTS as usize);
    // A transfer that always breaks is not worth more.
    let server = serve(|_, _, to| answer(to, "200 OK", "Content-Length: 5\r\n", b"hell"));
    let error = get_from(&server, exactly("hello")).unwrap_err().to_string();
    assert!(error.starts_with(&nowhere(&server, "")), "{error}");
    assert_eq!(server.asked().len(), ATTEMPTS as usize);
}

#[test]
fn waits_as_long_as_it_is_asked_to() {
    let server = serve(|_, number, to| match number {
        0 => answer(to, "429 Slow down", "Retry-After: 9999\r\nContent-Length: 0\r\n", b""),
        1 => answer(
            to,
            "429 Slow down",
            "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n",
            b"",
        ),
        _ => ok(to, b"hello"),
    });
    let start = Instant::now();
    assert_eq!(get_from(&server, exactly("hello")).unwrap(), b"hello");
    let took = start.elapsed();
    assert!((400..1200).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn goes_on_where_a_broken_connection_ended() {
    let server = serve(|asked, number, to| match number {
        0 => answer(to, "200 OK", "Content-Length: 11\r\nETag: \"1\"\r\n", b"hello"),
        1 => answer(to, "503 Busy", "Content-Length: 0\r\n", b""),
        _ => {
            assert_eq!(asked.headers["range"], "bytes=5-");
            assert_eq!(asked.headers["if-range"], "\"1\"");
            let headers = "Content-Range: bytes 5-10/11\r\nContent-Length: 6\r\nETag: \"1\"\r\n";
            answer(to, "206 Partial", headers, b" world");
        }
    });
    assert_eq!(get_from(&server, exactly("hello world")).unwrap(), b"hello world");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn starts_over_where_the_server_does() {
    // It ignores the range.
    let server = serve(|_, number, to| match number {
        0 => answer(to, "200 OK", "Content-Length: 11\r\nETag: \"1\"\r\n", b"hello"),
        _ => ok(to, b"hello world"),
    });
    assert_eq!(get_from(&server, exactly("hello world")).unwrap(), b"hello world");
    // The file has become shorter.
    let server = serve(|_, number, to| match number {
        0 => answer(to, "200 OK", "Content-Length: 11\r\nETag: \"1\"\r\n", b"hello w"),
        1 => answer(to, "416 No", "Content-Length: 0\r\n", b""),
        _ => ok(to, b"hello"),
    });
    assert_eq!(get_from(&server, ANY).unwrap(), b"hello");
    assert!(!server.asked()[2].headers.contains_key("range"));
}

#[test]
fn never_joins_two_versions_of_a_file() {
    // The server goes on with another file, against RFC 9110.
    for (first, second) in
        [("ETag: \"1\"\r\n", "ETag: \"2\"\r\n"), ("Last-Modified: a\r\n", "Last-Modified: b\r\n")]
    {
        let server = serve(move |_, number, to| match number {
            0 => answer(to, "200 OK", &format!("Content-Length: 11\r\n{first}"), b"hello"),
            1 => answer(
                to,
                "206 Partial",
                &format!("Content-Range: bytes 5-10/11\r\nContent-Length: 6\r\n{second}"),
                b" WORLD",
            ),
            _ => ok(to, b"HELLO WORLD"),
        });
        assert_eq!(get_from(&server, ANY).unwrap(), b"HELLO WORLD");
    }
    // Nothing tells the versions apart, so the rest is not asked for.
    for tag in ["", "ETag: W/\"1\"\r\n"] {
        let server = serve(move |asked, number, to| match number {
            0 => answer(to, "200 OK", &format!("Content-Length: 11\r\n{tag}"), b"hello"),
            _ => {
                assert!(!asked.headers.contains_key("range"));
                ok(to, b"HELLO WORLD");
            }
        });
        assert_eq!(get_from(&server, ANY).unwrap(), b"HELLO WORLD");
    }
}

#[test]
fn takes_no_other_part_than_it_asked_for() {
    let server = serve(|_, number, to| match number {
        0 => answer(to, "200 OK", "Content-Length: 11\r\nETag: \"1\"\r\n", b"hello"),
        1 => answer(to, "206 Partial", "Content-Range: bytes 6-10/11\r\nContent-Length: 5\r\n", b"world"),
        _ => ok(to, b"hello world"),
    });
    assert_eq!(get_from(&server, exactly("hello world")).unwrap(), b"hello world");
    let server = serve(|_, _, to| {
        answer(to, "206 Partial", "Content-Range: bytes 0-4/11\r\nContent-Length: 5\r\n", b"hello");
    });
    let error = get_from(&server, ANY).unwrap_err();
    assert_eq!(error.to_string(), nowhere(&server, "gave another part than asked for"));
}

#[test]
fn a_long_transfer_may_break_often() {
    // Each connection brings a megabyte and breaks: more often than a place has attempts.
    const PARTS: usize = 7;
    let server = serve(|asked, _, to| {
        let from = asked.headers.get("range").map_or(0, |range| {
            range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).unwrap().parse().unwrap()
        });
        let total = PARTS << 20;
        let headers = format!(
            "Content-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\nETag: \"1\"\r\n",
            total - 1,
            total - from
        );
        answer(to, if from == 0 { "200 OK" } else { "206 Partial" }, &headers, &vec![7; 1 << 20]);
    });
    assert_eq!(get_from(&server, ANY).unwrap(), vec![7; PARTS << 20]);
}

#[test]
fn says_what_came_instead_of_what_was_pinned() {
    let server = serve(|_, _, to| ok(to, b"hullo"));
    let error = get_from(&server, exactly("hello")).unwrap_err().to_string();
    let (expected, received) = (Sha256::of(b"hello"), Sha256::of(b"hullo"));
    assert_eq!(
        error,
        format!(
            "content of `{}` does not match its pin\n  expected: {expected}\n  received: {received}",
            server.base
        )
    );
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_wrong_mirror_does_not_hide_a_right_one() {
    struct Warnings(Mutex<Vec<String>>);
    impl Sink for Warnings {
        fn emit(&self, event: Event) {
            if let Event::Warning { message } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }
    let wrong = serve(|_, _, to| ok(to, b"hullo"));
    let right = serve(|_, _, to| ok(to, b"hello"));
    let warnings = Warnings(Mutex::default());
    let urls = [wrong.base.clone(), right.base.clone()];
    let got = get_told(&network(), &urls, exactly("hello"), &Cancel::default(), &warnings).unwrap();
    assert_eq!(got, b"hello");
    let want = format!("content of `{}` does not match its pin", wrong.base);
    assert_eq!(*warnings.0.lock().unwrap(), [want]);
}

#[test]
fn refuses_more_and_less_than_is_pinned() {
    let refused = |expected: Expected, server: &Server, received: &str| {
        let error = get_from(server, expected).unwrap_err().to_string();
        let base = &server.base;
        let want =
            format!("`{base}` has another size than its pin\n  expected: 5 bytes\n  received: {received}");
        assert_eq!(error, want);
    };
    let server = serve(|_, _, to| ok(to, b"hello, and a lot more"));
    refused(exactly("hello"), &server, "21 bytes");
    let server = serve(|_, _, to| answer(to, "200 OK", "", b"hello, and a lot more"));
    refused(exactly("hello"), &server, "more");
    let server = serve(|_, _, to| ok(to, b"hell"));
    refused(exactly("hello"), &server, "4 bytes");
    let server = serve(|_, _, to| answer(to, "200 OK", "", b"hell"));
    let error = get_from(&server, exactly("hello")).unwrap_err().to_string();
    assert_eq!(error, nowhere(&server, "ended after 4 of 5 bytes"));
}

#[test]
fn refuses_what_has_no_pin_and_no_end() {
    let server = serve(|_, _, to| answer(to, "200 OK", "Content-Length: 4294967297\r\n", b"hello"));
    let error = get_from(&server, ANY).unwrap_err().to_string();
    let base = &server.base;
    assert_eq!(
        error,
        format!("`{base}` is larger than the 4294967296 bytes that a source without a pin may have")
    );
    // An index that never ends is cut where it is larger than any.
    let server = serve(|_, _, to| {
        answer(to, "200 OK", "", b"");
        while to.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let network = network();
    let context = Context { network: &network, store: &store, events: &Silent, cancel: &Cancel::default() };
    let error = network.get_small("thing", std::slice::from_ref(&server.base), &context).unwrap_err();
    assert_eq!(error.to_string(), nowhere(&server, "more than 67108864 bytes"));
}

#[test]
fn follows_redirects_with_reason() {
    let other = serve(|_, _, to| ok(to, b"hello"));
    let there = other.base.clone();
    let server = serve(move |asked, _, to| {
        let location = match asked.path.as_str() {
            "/away" => format!("{there}/x"),
            "/file" => "file:///etc/passwd".to_owned(),
            "/ftp" => "ftp://host.example/".to_owned(),
            "/user" => there.replace("//", "//me:secret@"),
            _ => "/loop".to_owned(),
        };
        answer(to, "302 Found", &format!("Location: {location}\r\nContent-Length: 0\r\n"), b"");
    });
    let asking = |path: &str| get(&[format!("{}{path}", server.base.replace("//", "//me:secret@"))], ANY);
    assert_eq!(asking("/away").unwrap(), b"hello");
    // Credentials went to the host that they are for, and to no other.
    assert_eq!(server.asked()[0].headers["authorization"], "Basic bWU6c2VjcmV0");
    let headers = other.asked()[0].headers.clone();
    assert!(!headers.contains_key("authorization") && !headers.contains_key("referer"), "{headers:?}");
    for (path, why) in [
        ("/file", "302 Found"),
        ("/ftp", "redirected to `ftp:`"),
        ("/user", "redirected to a URL with user or password"),
        ("/loop", "more than 10 redirects"),
    ] {
        let error = asking(path).unwrap_err().to_string();
        assert_eq!(error, format!("no place has `thing`\n  {}{path}: {why}", server.base));
    }
    assert_eq!(other.asked().len(), 1);
}

#[test]
fn bytes_are_taken_as_they_are() {
    let server = serve(|_, _, to| {
        answer(to, "200 OK", "Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"\x1f\x8b\x08\x00\x00");
    });
    assert_eq!(get_from(&server, ANY).unwrap(), b"\x1f\x8b\x08\x00\x00");
    assert_eq!(server.asked()[0].headers["accept-encoding"], "identity");
}

#[test]
fn patience_is_for_silence_not_for_the_whole() {
    // Twice as long as the patience in all, but never silent for long.
    let server = serve(|_, _, to| {
        answer(to, "200 OK", "Content-Length: 6\r\n", b"");
        for byte in b"slowly" {
            std::thread::sleep(Duration::from_millis(100));
            let _ = to.write_all(&[*byte]).and_then(|()| to.flush());
        }
    });
    assert_eq!(get_from(&server, exactly("slowly")).unwrap(), b"slowly");
    assert_eq!(server.asked().len(), 1);
    // A server that accepts and says nothing, and one that stops in the middle.
    let silent = serve(|_, number, to| match number {
        0 => std::thread::sleep(Duration::from_secs(5)),
        1 => {
            answer(to, "200 OK", "Content-Length: 5\r\nETag: \"1\"\r\n", b"he");
            std::thread::sleep(Duration::from_secs(5));
        }
        _ => answer(to, "206 Partial", "Content-Range: bytes 2-4/5\r\nContent-Length: 3\r\n", b"llo"),
    });
    let start = Instant::now();
    assert_eq!(get_from(&silent, exactly("hello")).unwrap(), b"hello");
    let took = start.elapsed();
    assert!((600..1500).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn says_that_nothing_came() {
    let server = serve(|_, _, _| std::thread::sleep(Duration::from_secs(5)));
    let mut network = network();
    network.pace.patience = Duration::from_millis(60);
    let error = get_with(&network, std::slice::from_ref(&server.base), ANY, &Cancel::default()).unwrap_err();
    assert_eq!(error.to_string(), nowhere(&server, "nothing came for 0.06 s"));
}

/// Stops a request that waits for a server which says `head` and then nothing.
fn stop_while(server: &Server, urls: usize) {
    let network = Network::new(Settings::default());
    let cancel = Cancel::default();
    let urls = vec![server.base.clone(); urls];
    let (asked, before) = (server.asked().len(), Instant::now());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| get_with(&network, &urls, ANY, &cancel));
        while server.asked().len() == asked && before.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        cancel.cancel();
        let error = running.join().unwrap().unwrap_err();
        let took = start.elapsed();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert!(took < Duration::from_millis(200), "{took:?}");
    });
}

#[test]
fn stops_at_once() {
    let wait = || std::thread::sleep(Duration::from_secs(3));
    stop_while(&serve(move |_, _, _| wait()), 1);
    stop_while(
        &serve(move |_, _, to| {
            answer(to, "200 OK", "Content-Length: 5\r\n", b"he");
            wait();
        }),
        1,
    );
    // Between two attempts.
    stop_while(&serve(|_, _, to| answer(to, "429 No", "Retry-After: 3\r\nContent-Length: 0\r\n", b"")), 2);
}

#[test]
fn a_host_has_only_so_many_connections() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = serve(move |_, _, to| {
        peak.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        counted.fetch_sub(1, Ordering::SeqCst);
        ok(to, b"hello");
    });
    let network = network();
    std::thread::scope(|scope| {
        for _ in 0..3 * PER_HOST {
            let urls = [server.base.clone()];
            let network = &network;
            scope.spawn(move || get_with(network, &urls, exactly("hello"), &Cancel::default()).unwrap());
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), PER_HOST);
    assert_eq!(server.asked().len(), 3 * PER_HOST);
    assert!(network.busy.lock().unwrap().values().all(|count| *count == 0));
}

#[test]
fn takes_files_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a b"), "hello").unwrap();
    let base = format!("file://{}", dir.path().display());
    assert_eq!(get(&[format!("{base}/a%20b")], exactly("hello")).unwrap(), b"hello");
    for (url, why) in [
        (base.clone(), "is not a file"),
        ("file:///dev/zero".to_owned(), "is not a file"),
        ("file://host.example/etc/passwd".to_owned(), "is no path of this machine"),
    ] {
        let error = get(std::slice::from_ref(&url), ANY).unwrap_err().to_string();
        assert_eq!(error, format!("no place has `thing`\n  {url}: {why}"));
    }
}

#[test]
fn offline_names_who_asked() {
    let server = serve(|_, _, to| ok(to, b"hello"));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let network = Network::offline();
    let context = Context { network: &network, store: &store, events: &Silent, cancel: &Cancel::default() };
    let url = server.base.clone();
    let pin = crate::fetch::Pin::file(Sha256::of(b""), None);
    for (table, who) in [
        (format!("url = '{url}'"), url.as_str()),
        ("crate = 'serde'\nversion = '1.0.1'".to_owned(), "serde-1.0.1.crate"),
        ("pypi = 'wasmtime'\nversion = '1'\nfile = 'wasmtime-1.whl'".to_owned(), "wasmtime-1.whl"),
    ] {
        let request: crate::fetch::Request = toml::from_str(&table).unwrap();
        let want = format!("`{who}` is not in the store, and the network is off");
        assert_eq!(request.resolve(&context).unwrap_err().to_string(), want);
        assert_eq!(pin.fetch(&request, &context).unwrap_err().to_string(), want);
    }
    assert!(network.get_small("x", &[url], &context).unwrap_err().to_string().starts_with("`x` is not"));
    assert!(server.asked().is_empty() && network.client.get().is_none());
}

#[test]
fn shows_no_password() {
    for (url, shown) in [
        ("https://me:secret@host.example/a@b", "https://host.example/a@b"),
        ("https://host.example/a@b", "https://host.example/a@b"),
        ("https://host.example?a@b", "https://host.example?a@b"),
        ("https://me:se/cret@host.example/", "https://host.example/"),
        ("https://me:se#cret@host.example/", "https://host.example/"),
        ("debian:pool/x", "debian:pool/x"),
    ] {
        assert_eq!(public(url), shown);
    }
}

#[test]
fn no_error_and_no_event_shows_a_password() {
    struct Log(Mutex<String>);
    impl Sink for Log {
        fn emit(&self, event: Event) {
            self.0.lock().unwrap().push_str(&format!("{event:?}\n"));
        }
    }
    let server = serve(|asked, _, to| match asked.path.as_str() {
        "/404" => answer(to, "404 Not Found", "Content-Length: 0\r\n", b""),
        "/503" => answer(to, "503 Busy", "Content-Length: 0\r\n", b""),
        "/cut" => answer(to, "200 OK", "Content-Length: 9\r\n", b"hello"),
        "/loop" => answer(to, "302 Found", "Location: /loop\r\nContent-Length: 0\r\n", b""),
        "/bad" => {}
        _ => ok(to, b"hello"),
    });
    let base = server.base.replace("//", "//me:secret@");
    let log = Log(Mutex::default());
    let mut urls: Vec<_> =
        ["404", "503", "cut", "loop", "bad", "ok"].map(|path| format!("{base}/{path}")).into();
    urls.extend([
        "http://me:secret@127.0.0.1:1/".to_owned(),
        "http://me:se/cret@secret.example:x/".to_owned(),
    ]);
    for expected in [exactly("hullo"), exactly("hello there"), ANY] {
        for urls in [&urls[..5], &urls] {
            let said = match get_told(&network(), urls, expected, &Cancel::default(), &log) {
                Ok(_) => continue,
                Err(error) => format!("{error}\n{error:?}"),
            };
            assert!(!said.contains("me:s") && !said.contains("secret@"), "{said}");
        }
    }
    let said = log.0.lock().unwrap();
    assert!(said.contains("503") && !said.contains("me:s") && !said.contains("secret@"), "{said}");
}

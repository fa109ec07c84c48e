//! An HTTP server for tests. It answers with whatever bytes a test wants to see on the wire.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What a client sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) path: String,
    /// By lower-case name.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// A running server; it ends with the process.
pub(super) struct Server {
    /// `http://127.0.0.1:<port>`.
    pub(super) base: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads one request.
pub(super) fn request(from: impl Read) -> Option<Asked> {
    let mut from = BufReader::new(from);
    let mut asked = Asked::default();
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    asked.path = line.split(' ').nth(1)?.to_owned();
    loop {
        line.clear();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = asked.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    asked.body = vec![0; length];
    from.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

/// Starts a server. `answer` gets each request, its number from 0 on, and where the answer goes; the
/// connection is closed when it returns.
pub(super) fn serve(answer: impl Fn(&Asked, usize, &mut dyn Write) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, log, answer) = (stream.unwrap(), Arc::clone(&log), Arc::clone(&answer));
            std::thread::spawn(move || {
                let Some(asked) = request(&stream) else { return };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(asked.clone());
                    log.len() - 1
                };
                answer(&asked, number, &mut stream);
            });
        }
    });
    Server { base, asked }
}

/// Writes an answer: status line and further headers (each ended by `\r\n`), then the content as it is.
pub(super) fn answer(to: &mut dyn Write, status: &str, headers: &str, content: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(content)).and_then(|()| to.flush());
}

/// Writes an answer with the content's length.
pub(super) fn ok(to: &mut dyn Write, content: &[u8]) {
    answer(to, "200 OK", &format!("Content-Length: {}\r\n", content.len()), content);
}

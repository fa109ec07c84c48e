//! HTTP requests that stop when asked to, and that give up on a server that says nothing.
//!
//! The HTTP library is asynchronous and runs on one thread of its own; whoever asks waits in short slices
//! and looks at the stop flag between them. Patience is for silence, not for a whole transfer: a large file
//! may take hours as long as bytes keep coming.

use std::future::Future;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{RequestBuilder, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Pace, Trouble};
use crate::base::Cancel;
use crate::fetch::Error;

/// How long a stop may go unseen.
const TICK: Duration = Duration::from_millis(50);
/// Redirects followed for one request.
const REDIRECTS: usize = 10;

/// An HTTP client. Clones share its connections.
#[derive(Clone)]
pub(in crate::fetch) struct Client {
    http: reqwest::Client,
    /// Follows no redirect.
    unmoved: Arc<OnceLock<reqwest::Client>>,
    engine: Arc<Engine>,
    patience: Duration,
}

/// The thread that moves the bytes; it ends when nobody needs it.
struct Engine {
    handle: Handle,
    _running: oneshot::Sender<()>,
}

impl Engine {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
            // Does not wait for a name server that never answers.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _running: running })
    }
}

/// Why a wait ended without what was waited for.
enum Ended {
    Stopped,
    Silent,
}

impl Client {
    pub(super) fn new(pace: Pace) -> Result<Self, Error> {
        // An error means that another thread was first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = build(Policy::custom(redirect))?;
        let engine = Engine::start().map_err(|source| Error::Engine { source })?;
        Ok(Self { http, unmoved: Arc::default(), engine: Arc::new(engine), patience: pace.patience })
    }

    /// How long a server, or anybody else, may say nothing.
    pub(in crate::fetch) fn patience(&self) -> Duration {
        self.patience
    }

    /// Starts a GET. What comes must be the file's own bytes, so no encoding is accepted.
    pub(in crate::fetch) fn get(&self, url: &str) -> RequestBuilder {
        self.http.get(url).header(ACCEPT_ENCODING, "identity")
    }

    /// Starts a POST.
    pub(in crate::fetch) fn post(&self, url: &str) -> RequestBuilder {
        self.http.post(url).header(ACCEPT_ENCODING, "identity")
    }

    /// Starts a POST whose content is for this place alone: no redirect takes it elsewhere.
    pub(in crate::fetch) fn post_unmoved(&self, url: &str) -> Result<RequestBuilder, Trouble> {
        let client = match self.unmoved.get() {
            Some(client) => client,
            None => {
                let made = build(Policy::none()).map_err(Trouble::Final)?;
                self.unmoved.get_or_init(|| made)
            }
        };
        Ok(client.post(url).header(ACCEPT_ENCODING, "identity"))
    }

    /// Sends a request and waits for the answer's head, whatever its status.
    pub(in crate::fetch) fn send(&self, request: RequestBuilder, cancel: &Cancel) -> Result<Body, Trouble> {
        match self.wait(request.send(), cancel) {
            Ok(Ok(response)) => {
                Ok(Body { response, client: self.clone(), cancel: cancel.clone(), rest: Vec::new(), at: 0 })
            }
            // No other attempt would follow another redirect, or understand the URL.
            Ok(Err(error)) if error.is_redirect() || error.is_builder() => {
                Err(Trouble::Lasting(reason(error)))
            }
            Ok(Err(error)) => Err(Trouble::passing(reason(error))),
            Err(Ended::Stopped) => Err(Trouble::Final(Error::Cancelled)),
            Err(Ended::Silent) => Err(Trouble::passing(self.silence())),
        }
    }

    fn silence(&self) -> String {
        format!("nothing came for {} s", self.patience.as_secs_f64())
    }

    fn wait<T>(&self, future: impl Future<Output = T>, cancel: &Cancel) -> Result<T, Ended> {
        self.engine.handle.block_on(async {
            let mut future = std::pin::pin!(future);
            let mut left = self.patience;
            loop {
                if cancel.is_cancelled() {
                    return Err(Ended::Stopped);
                }
                let slice = left.min(TICK);
                if let Ok(got) = tokio::time::timeout(slice, future.as_mut()).await {
                    return Ok(got);
                }
                left -= slice;
                if left.is_zero() {
                    return Err(Ended::Silent);
                }
            }
        })
    }
}

fn build(redirects: Policy) -> Result<reqwest::Client, Error> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("nodeimg/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        // A query may hold a token.
        .referer(false);
    client.build().map_err(|source| Error::Client { source })
}

/// Follows a redirect unless it would lower the protection or bring a user along.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let url = attempt.url();
    let secure = attempt.previous().last().is_none_or(|from| from.scheme() == "https");
    let why = match url.scheme() {
        _ if attempt.previous().len() > REDIRECTS => format!("more than {REDIRECTS} redirects"),
        "http" if secure => "redirected from `https` to `http`".to_owned(),
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            "redirected to a URL with user or password".to_owned()
        }
        "http" | "https" => return attempt.follow(),
        other => format!("redirected to `{other}:`"),
    };
    attempt.error(why)
}

/// An answer: its head, and its content as it comes.
pub(in crate::fetch) struct Body {
    response: reqwest::Response,
    client: Client,
    cancel: Cancel,
    rest: Vec<u8>,
    at: usize,
}

impl Body {
    pub(in crate::fetch) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(in crate::fetch) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where it came from in the end.
    pub(in crate::fetch) fn url(&self) -> &Url {
        self.response.url()
    }

    /// How many bytes the server says will come.
    pub(super) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Keeps the answer if its status says success.
    pub(in crate::fetch) fn checked(self) -> Result<Self, Trouble> {
        let status = self.status();
        if status.is_success() {
            return Ok(self);
        }
        let why = status.to_string();
        let again = status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT;
        if !again {
            return Err(Trouble::Lasting(why));
        }
        // RFC 9110, 10.2.3: seconds, or a date, which would need a clock.
        let after =
            self.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Err(Trouble::Passing { why, after: after.map(Duration::from_secs), moved: false })
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            let next = self.client.wait(self.response.chunk(), &self.cancel);
            match next {
                Ok(Ok(Some(chunk))) => {
                    self.rest.clear();
                    self.rest.extend_from_slice(&chunk);
                    self.at = 0;
                }
                Ok(Ok(None)) => return Ok(0),
                Ok(Err(error)) => return Err(io::Error::other(reason(error))),
                Err(Ended::Stopped) => return Err(io::Error::other(Error::Cancelled)),
                Err(Ended::Silent) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, self.client.silence()));
                }
            }
        }
        let count = buffer.len().min(self.rest.len() - self.at);
        buffer[..count].copy_from_slice(&self.rest[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Says in a few words why a request failed: the innermost reason, which names neither URL nor user.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

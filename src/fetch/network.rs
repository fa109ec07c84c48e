//! The network as a capability: one HTTP client with its mirrors, retries and limits.
//!
//! Proxies come from the environment as the HTTP library reads it (`HTTPS_PROXY`, `NO_PROXY`, …), certificate
//! authorities from the system (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else its own store).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{StatusCode, Url};

use super::settings::Settings;
use super::{Context, Error};
use crate::base::event::{Activity, Event, Outcome, next_id};
use crate::base::{Digest, Sha256};
use crate::store::BlobWriter;

/// What is known of a file before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its hash.
    pub hash: Option<Sha256>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// More than this is no source: the cap where no size is pinned.
const LARGEST: u64 = 4 << 30;
/// More than this is no index file that is read into memory.
const LARGEST_INDEX: usize = 64 << 20;
/// How often one place is asked before the next one is.
const ATTEMPTS: u32 = 4;
/// Connections to one host at once.
const PER_HOST: usize = 6;
/// A transfer that brings nothing for so long is cut off and tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The right to use the network, or its refusal.
pub struct Network {
    settings: Option<Settings>,
    client: OnceLock<Client>,
    busy: Mutex<BTreeMap<String, usize>>,
    freed: Condvar,
}

/// Why one place did not give the file.
enum Trouble {
    /// Try the same place again.
    Passing(String),
    /// Try the next place.
    Lasting(String),
    /// Try nothing.
    Final(Error),
}

impl Network {
    /// Allows the network.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Some(settings),
            client: OnceLock::new(),
            busy: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Allows nothing: every use is an error that names who asked.
    pub fn offline() -> Self {
        Self { settings: None, client: OnceLock::new(), busy: Mutex::default(), freed: Condvar::new() }
    }

    /// The base of the crate index, ending in `/`.
    pub(super) fn crates(&self) -> Result<String, Error> {
        let none = Error::NoPlace { what: "cargo's registry", key: "crates" };
        self.settings.as_ref().and_then(Settings::crates).ok_or(none)
    }

    /// The base of the Python index's simple pages, ending in `/`.
    pub(super) fn pypi(&self) -> Result<String, Error> {
        let none = Error::NoPlace { what: "pip's package index", key: "pypi" };
        self.settings.as_ref().and_then(Settings::pypi).ok_or(none)
    }

    /// Lists the places of a URL in the order they are asked: mirrors first. `debian:pool/…` is a path in an
    /// archive, which the host's mirrors have today and snapshot.debian.org at a moment for ever.
    pub fn places(&self, url: &str, snapshot: Option<&str>) -> Vec<String> {
        self.settings.as_ref().map_or_else(Vec::new, |settings| settings.places(url, snapshot))
    }

    /// Brings a file into the store, from the first of `urls` that has it.
    pub fn get(
        &self,
        who: &str,
        urls: &[String],
        expected: Expected,
        context: &Context<'_>,
    ) -> Result<Digest, Error> {
        if self.settings.is_none() {
            return Err(Error::Offline { who: who.to_owned() });
        }
        let id = next_id();
        let events = context.events;
        let name = who.rsplit('/').next().unwrap_or(who).to_owned();
        events.emit(Event::Started { id, kind: Activity::Fetch, name, total: expected.size });
        let result = self.try_all(who, urls, |url| self.download(id, url, expected, context), context);
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
        events.emit(Event::Finished { id, outcome, detail: String::new() });
        result
    }

    /// Brings a small file into memory.
    pub(super) fn get_small(
        &self,
        who: &str,
        urls: &[String],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        if self.settings.is_none() {
            return Err(Error::Offline { who: who.to_owned() });
        }
        let fetch = |url: &str| -> Result<Vec<u8>, Trouble> {
            if let Some(path) = url.strip_prefix("file://") {
                return fs_err::read(path).map_err(|error| Trouble::Lasting(error.to_string()));
            }
            let _slot = self.slot(url);
            // PEP 691: the simple API gives JSON to those who ask for it; other servers don't mind.
            let request =
                self.client()?.get(url).header("Accept", "application/vnd.pypi.simple.v1+json, */*;q=0.1");
            let mut text = Vec::new();
            let mut body = checked(request.send())?.take(LARGEST_INDEX as u64 + 1);
            body.read_to_end(&mut text).map_err(|error| Trouble::Passing(error.to_string()))?;
            if text.len() > LARGEST_INDEX {
                return Err(Trouble::Lasting(format!("more than {LARGEST_INDEX} bytes")));
            }
            Ok(text)
        };
        self.try_all(who, urls, fetch, context)
    }

    fn try_all<T>(
        &self,
        who: &str,
        urls: &[String],
        fetch: impl Fn(&str) -> Result<T, Trouble>,
        context: &Context<'_>,
    ) -> Result<T, Error> {
        let mut tried = Vec::new();
        for url in urls {
            for attempt in 1..=ATTEMPTS {
                if context.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let why = match fetch(url) {
                    Ok(got) => return Ok(got),
                    Err(Trouble::Final(error)) => return Err(error),
                    Err(Trouble::Passing(why)) if attempt < ATTEMPTS => {
                        let message = format!("{}: {why}, trying again", public(url));
                        context.events.emit(Event::Note { message });
                        wait(attempt, context);
                        continue;
                    }
                    Err(Trouble::Passing(why) | Trouble::Lasting(why)) => why,
                };
                context.events.emit(Event::Note { message: format!("{}: {why}", public(url)) });
                tried.push((public(url), why));
                break;
            }
        }
        Err(Error::Nowhere { who: public(who), tried })
    }

    /// One download, resumed where the connection breaks and the server can.
    fn download(
        &self,
        id: u64,
        url: &str,
        expected: Expected,
        context: &Context<'_>,
    ) -> Result<Digest, Trouble> {
        let mut writer = context.store.blob_writer().map_err(|error| Trouble::Final(error.into()))?;
        let mut transfer = Transfer { id, url, expected, context, done: 0 };
        if let Some(path) = url.strip_prefix("file://") {
            let mut file = fs_err::File::open(path).map_err(|error| Trouble::Lasting(error.to_string()))?;
            transfer.copy(&mut file, &mut writer)?;
            return transfer.finish(writer);
        }
        let _slot = self.slot(url);
        let mut validator = None;
        for attempt in 1..=ATTEMPTS {
            let mut request = self.client()?.get(url);
            if transfer.done > 0 {
                request = request.header(RANGE, format!("bytes={}-", transfer.done));
                if let Some(validator) = &validator {
                    request = request.header(IF_RANGE, validator);
                }
            }
            let mut response = checked(request.send())?;
            if transfer.done > 0 && !continues(&response, transfer.done) {
                // The server starts over, so do we.
                writer = context.store.blob_writer().map_err(|error| Trouble::Final(error.into()))?;
                transfer.done = 0;
            }
            let headers = response.headers();
            validator = headers.get(ETAG).or_else(|| headers.get(LAST_MODIFIED)).cloned();
            match transfer.copy(&mut response, &mut writer) {
                Ok(()) => return transfer.finish(writer),
                Err(Trouble::Passing(_)) if attempt < ATTEMPTS => wait(attempt, context),
                Err(trouble) => return Err(trouble),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn client(&self) -> Result<&Client, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // An error means that another thread was first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let made = Client::builder()
            .user_agent(concat!("nodeimg/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            // Of each read, not of the whole transfer.
            .timeout(PATIENCE)
            .build()
            .map_err(|source| Trouble::Final(Error::Client { source }))?;
        Ok(self.client.get_or_init(|| made))
    }

    /// Waits until the host of `url` may have one more connection.
    fn slot(&self, url: &str) -> Slot<'_> {
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let mut busy = self.busy.lock().expect("no panic while counting");
        while busy.get(&host).is_some_and(|count| *count >= PER_HOST) {
            busy = self.freed.wait(busy).expect("no panic while counting");
        }
        *busy.entry(host.clone()).or_default() += 1;
        Slot { network: self, host }
    }
}

struct Slot<'a> {
    network: &'a Network,
    host: String,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.network.busy.lock().expect("no panic while counting").get_mut(&self.host) {
            *count -= 1;
        }
        self.network.freed.notify_one();
    }
}

/// One file on its way.
struct Transfer<'a> {
    id: u64,
    url: &'a str,
    expected: Expected,
    context: &'a Context<'a>,
    done: u64,
}

impl Transfer<'_> {
    fn copy(&mut self, from: &mut dyn std::io::Read, to: &mut BlobWriter<'_>) -> Result<(), Trouble> {
        let limit = self.expected.size.unwrap_or(LARGEST);
        let mut buffer = vec![0; 128 << 10];
        loop {
            if self.context.cancel.is_cancelled() {
                return Err(Trouble::Final(Error::Cancelled));
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Passing(error.to_string())),
            };
            self.done += read as u64;
            if self.done > limit {
                return Err(Trouble::Final(self.too_large(limit)));
            }
            to.write_all(&buffer[..read]).map_err(|error| {
                let path = self.context.store.path();
                Trouble::Final(Error::Store(crate::store::Error::from_io("write", path, error)))
            })?;
            self.context.events.emit(Event::Progress { id: self.id, done: self.done });
        }
        match self.expected.size {
            Some(size) if self.done < size => {
                Err(Trouble::Passing(format!("ended after {} of {size} bytes", self.done)))
            }
            _ => Ok(()),
        }
    }

    fn too_large(&self, limit: u64) -> Error {
        let url = public(self.url);
        match self.expected.size {
            Some(expected) => Error::Size { url, expected, received: "more".to_owned() },
            None => Error::TooLarge { url, limit },
        }
    }

    fn finish(&self, writer: BlobWriter<'_>) -> Result<Digest, Trouble> {
        let store = |error: crate::store::Error| Trouble::Final(error.into());
        let Some(hash) = self.expected.hash else { return writer.finish().map_err(store) };
        let expected = Digest { hash, size: self.done };
        match writer.finish_expecting(&expected) {
            Ok(()) => Ok(expected),
            Err(crate::store::Error::Mismatch { received, .. }) => Err(Trouble::Final(Error::Hash {
                url: public(self.url),
                expected: hash,
                received: received.hash,
            })),
            Err(error) => Err(store(error)),
        }
    }
}

/// Tells whether a response goes on at `done`, and not from the start.
fn continues(response: &Response, done: u64) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|range| range.to_str().ok())
            .is_some_and(|range| range.starts_with(&format!("bytes {done}-")))
}

fn checked(sent: reqwest::Result<Response>) -> Result<Response, Trouble> {
    let response = sent.map_err(|error| Trouble::Passing(reason(&error)))?;
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
    {
        Err(Trouble::Passing(status.to_string()))
    } else {
        Err(Trouble::Lasting(status.to_string()))
    }
}

/// Says in a few words why a request failed: the innermost reason, which names neither URL nor user.
fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Waits longer after each failed attempt, with full jitter so that many clients spread out.
fn wait(attempt: u32, context: &Context<'_>) {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = std::hash::RandomState::new().build_hasher().finish();
    let longest = 250u64 << attempt;
    let mut left = random % longest;
    while left > 0 && !context.cancel.is_cancelled() {
        let nap = left.min(50);
        std::thread::sleep(Duration::from_millis(nap));
        left -= nap;
    }
}

/// Resolves a link on a page.
pub(super) fn join(page: &str, link: &str) -> Result<String, Error> {
    let wrong =
        |error: &dyn std::fmt::Display| Error::Malformed { url: public(page), reason: error.to_string() };
    let base = Url::parse(page).map_err(|error| wrong(&error))?;
    Ok(base.join(link).map_err(|error| wrong(&error))?.to_string())
}

/// Gives a URL as it may be shown: without user and password.
pub(super) fn public(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((userinfo, _)) => format!("{scheme}://{}", &rest[userinfo.len() + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests;

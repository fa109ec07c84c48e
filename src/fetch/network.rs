//! The network as a capability: one HTTP client with its mirrors, retries and limits.
//!
//! Proxies come from the environment as the HTTP library reads it (`HTTPS_PROXY`, `NO_PROXY`, …), certificate
//! authorities from the system (`SSL_CERT_FILE`, `SSL_CERT_DIR`, else its own store).

mod client;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use rustix::fs::FileType;

use super::settings::Settings;
use super::{Context, Error};
use crate::base::event::{Activity, Event, Outcome, next_id};
use crate::base::{Cancel, Digest, Sha256};
pub(super) use client::{Body, Client};
use transfer::Transfer;

/// What is known of a file before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its hash.
    pub hash: Option<Sha256>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// More than this is no source: the cap where no size is pinned.
pub(super) const LARGEST: u64 = 4 << 30;
/// More than this is no index file that is read into memory.
const LARGEST_INDEX: usize = 64 << 20;
/// How often one place is asked before the next one is.
const ATTEMPTS: u32 = 4;
/// Connections to one host at once.
const PER_HOST: usize = 6;

/// How long is waited, and for what.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// For a server that says nothing: then the connection is cut off and tried again.
    patience: Duration,
    /// Before the second attempt at most; twice as long before each further one.
    step: Duration,
    /// Before an attempt at most, whatever a server asks for.
    longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            step: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

/// The right to use the network, or its refusal.
pub struct Network {
    settings: Option<Settings>,
    /// pip's own default, where the host has no pip to ask.
    pypi: OnceLock<String>,
    /// Where the crate index says that crates are, once it was asked.
    pub(super) downloads: OnceLock<String>,
    /// What Debian has of upstreams' archives, once it was asked.
    pub(super) originals: super::releases::Originals,
    /// Who asks at registries of images.
    pub(super) registries: super::oci::Access,
    pace: Pace,
    client: OnceLock<Client>,
    busy: Mutex<BTreeMap<String, usize>>,
    freed: Condvar,
}

/// Sends one request for a file, with what is added to it, and gives the answer's head whatever its status.
pub(super) type Ask<'a> =
    dyn Fn(&Client, &str, &dyn Fn(RequestBuilder) -> RequestBuilder) -> Result<Body, Trouble> + 'a;

/// Why one place did not give what was asked for.
pub(super) enum Trouble {
    /// Try the same place again.
    Passing {
        why: String,
        /// What the server asks to be waited.
        after: Option<Duration>,
        /// The attempt brought enough that it does not count.
        moved: bool,
    },
    /// Try the next place.
    Lasting(String),
    /// Try the next place; if none is better, this is what to say.
    Wrong(Error),
    /// Try nothing.
    Final(Error),
}

impl Trouble {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Trouble::Passing { why: why.into(), after: None, moved: false }
    }
}

impl Network {
    /// Allows the network.
    pub fn new(settings: Settings) -> Self {
        Self::with(Some(settings))
    }

    /// Allows nothing: every use is an error that names who asked.
    pub fn offline() -> Self {
        Self::with(None)
    }

    /// Allows the network, and loses patience sooner than a person would.
    #[cfg(test)]
    pub(super) fn hasty(settings: Settings) -> Self {
        let pace = Pace {
            patience: Duration::from_millis(300),
            step: Duration::from_millis(1),
            longest: Duration::from_millis(400),
        };
        Self { pace, ..Self::new(settings) }
    }

    fn with(settings: Option<Settings>) -> Self {
        Self {
            settings,
            pypi: OnceLock::new(),
            downloads: OnceLock::new(),
            originals: super::releases::Originals::default(),
            registries: super::oci::Access::default(),
            pace: Pace::default(),
            client: OnceLock::new(),
            busy: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Tells whether the network may be used.
    pub fn is_allowed(&self) -> bool {
        self.settings.is_some()
    }

    /// The settings, for who may use the network.
    pub(super) fn allowed(&self, who: &str) -> Result<&Settings, Error> {
        self.settings.as_ref().ok_or_else(|| Error::Offline { who: public(who) })
    }

    /// The base of the crate index, ending in `/`.
    pub(super) fn crates(&self, who: &str) -> Result<String, Error> {
        let none = Error::NoPlace { what: "cargo's registry", key: "crates" };
        self.allowed(who)?.crates().ok_or(none)
    }

    /// The base of the Python index's simple pages, ending in `/`.
    pub(super) fn pypi(&self, who: &str) -> Result<String, Error> {
        let none = Error::NoPlace { what: "pip's package index", key: "pypi" };
        self.allowed(who)?.pypi().or_else(|| self.pypi.get().cloned()).ok_or(none)
    }

    /// Tells whether the network may be used, but nobody says where Python's index is.
    pub fn lacks_pypi(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.pypi().is_none()) && self.pypi.get().is_none()
    }

    /// Says where Python's index is for hosts that don't. `base` ends in `/`.
    pub fn learn_pypi(&self, base: String) {
        // Whoever was first has said the same.
        let _ = self.pypi.set(base);
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
        self.get_asking(who, urls, expected, context, &|client, url, more| {
            client.send(more(client.get(url)), context.cancel)
        })
    }

    /// Brings a file into the store, from the first of `urls` that has it, asked in a way of its own.
    pub(super) fn get_asking(
        &self,
        who: &str,
        urls: &[String],
        expected: Expected,
        context: &Context<'_>,
        ask: &Ask<'_>,
    ) -> Result<Digest, Error> {
        self.allowed(who)?;
        let id = next_id();
        let events = context.events;
        let name = short(who.rsplit('/').next().unwrap_or(who));
        events.emit(Event::Started { id, kind: Activity::Fetch, name, total: expected.size });
        let mut transfer = Transfer::new(id, expected, context);
        let fetch = |url: &str| {
            if is_local(url) {
                return transfer.local(url);
            }
            let _slot = self.slot(url, context.cancel)?;
            transfer.remote(self.client()?, url, ask)
        };
        let result = self.try_all(who, urls, fetch, context);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(Error::Cancelled) => Outcome::Stopped,
            Err(_) => Outcome::Failed,
        };
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
        self.allowed(who)?;
        let fetch = |url: &str| {
            if is_local(url) {
                return read_small(open(url)?);
            }
            let _slot = self.slot(url, context.cancel)?;
            // PEP 691: the simple API gives JSON to those who ask for it; other servers don't mind.
            let client = self.client()?;
            let request = client.get(url).header("Accept", "application/vnd.pypi.simple.v1+json, */*;q=0.1");
            let body = client.send(request, context.cancel)?.checked()?;
            read_small(body)
        };
        self.try_all(who, urls, fetch, context)
    }

    /// Asks one place after the other, each a few times.
    pub(super) fn try_all<T>(
        &self,
        who: &str,
        urls: &[String],
        mut fetch: impl FnMut(&str) -> Result<T, Trouble>,
        context: &Context<'_>,
    ) -> Result<T, Error> {
        let mut tried = Vec::new();
        let mut wrong = None;
        for url in urls {
            let mut attempt = 1;
            loop {
                if context.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let why = match fetch(url) {
                    Ok(got) => return Ok(got),
                    Err(_) if context.cancel.is_cancelled() => return Err(Error::Cancelled),
                    Err(Trouble::Final(error)) => return Err(error),
                    Err(Trouble::Passing { why, after, moved }) if moved || attempt < ATTEMPTS => {
                        let message = format!("{}: {why}, trying again", public(url));
                        context.events.emit(Event::Note { message });
                        attempt = if moved { 1 } else { attempt + 1 };
                        self.wait(attempt, after, context.cancel);
                        continue;
                    }
                    Err(Trouble::Passing { why, .. } | Trouble::Lasting(why)) => {
                        context.events.emit(Event::Note { message: format!("{}: {why}", public(url)) });
                        why
                    }
                    Err(Trouble::Wrong(error)) => {
                        let message = error.to_string().lines().next().unwrap_or_default().to_owned();
                        context.events.emit(Event::Warning { message });
                        wrong = wrong.or(Some(error));
                        break;
                    }
                };
                tried.push((public(url), why));
                break;
            }
        }
        Err(wrong.unwrap_or_else(|| Error::Nowhere { who: public(who), tried }))
    }

    /// Waits longer before each further attempt, with full jitter so that many clients spread out, and at
    /// least as long as the server asks for.
    fn wait(&self, attempt: u32, after: Option<Duration>, cancel: &Cancel) {
        use std::hash::{BuildHasher as _, Hasher as _};
        let random = std::hash::RandomState::new().build_hasher().finish();
        let most = self.pace.step.as_millis() as u64 * (1 << attempt.saturating_sub(2));
        let jitter = Duration::from_millis(random % (most + 1));
        let mut left = (after.unwrap_or_default() + jitter).min(self.pace.longest);
        while !left.is_zero() && !cancel.is_cancelled() {
            let nap = left.min(Duration::from_millis(50));
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    pub(super) fn client(&self) -> Result<&Client, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = Client::new(self.pace).map_err(Trouble::Final)?;
        Ok(self.client.get_or_init(|| made))
    }

    /// Waits until the host of `url` may have one more connection.
    pub(super) fn slot(&self, url: &str, cancel: &Cancel) -> Result<Slot<'_>, Trouble> {
        let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let mut busy = self.busy.lock().expect("no panic while counting");
        while busy.get(&host).is_some_and(|count| *count >= PER_HOST) {
            if cancel.is_cancelled() {
                return Err(Trouble::Final(Error::Cancelled));
            }
            let nap = Duration::from_millis(50);
            (busy, _) = self.freed.wait_timeout(busy, nap).expect("no panic while counting");
        }
        *busy.entry(host.clone()).or_default() += 1;
        Ok(Slot { network: self, host })
    }
}

/// Gives a name as people tell digests apart: by their first digits.
fn short(name: &str) -> String {
    let digest = name.find("@sha256:").map(|at| at + "@sha256:".len() + 12);
    name[..digest.filter(|end| name.is_char_boundary(*end)).unwrap_or(name.len())].to_owned()
}

/// A connection that a host may have.
pub(super) struct Slot<'a> {
    network: &'a Network,
    host: String,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.network.busy.lock().expect("no panic while counting").get_mut(&self.host) {
            *count -= 1;
        }
        // One waiter alone might wait for another host.
        self.network.freed.notify_all();
    }
}

/// Tells whether a place is on this machine.
pub(super) fn is_local(url: &str) -> bool {
    url.starts_with("file:")
}

/// Gives the path of a `file:` URL.
pub(super) fn local_path(url: &str) -> Result<std::path::PathBuf, Trouble> {
    let path = Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    path.ok_or_else(|| Trouble::Lasting("is no path of this machine".to_owned()))
}

/// Opens a file of this machine.
fn open(url: &str) -> Result<fs_err::File, Trouble> {
    let no = |why: String| Trouble::Lasting(why);
    let path = local_path(url)?;
    // Opening a named pipe would wait for its writer.
    let found = rustix::fs::stat(&path).map_err(|errno| no(std::io::Error::from(errno).to_string()))?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(no("is not a file".to_owned()));
    }
    fs_err::File::open(&path).map_err(|error| no(error.to_string()))
}

pub(super) fn read_small(from: impl std::io::Read) -> Result<Vec<u8>, Trouble> {
    let mut text = Vec::new();
    let mut from = from.take(LARGEST_INDEX as u64 + 1);
    from.read_to_end(&mut text).map_err(|error| Trouble::passing(error.to_string()))?;
    if text.len() > LARGEST_INDEX {
        return Err(Trouble::Lasting(format!("more than {LARGEST_INDEX} bytes")));
    }
    Ok(text)
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
    // What is no URL may have its password anywhere.
    let end = match Url::parse(url) {
        Ok(_) => rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()),
        Err(_) => rest.len(),
    };
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

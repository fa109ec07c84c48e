//! Git's smart protocol over HTTP (gitprotocol-http(5)), with nodeimg's own HTTP client.
//!
//! libgit2 knows transports by URL scheme, for the whole process. One scheme is registered here that nobody
//! else has, so that libgit2's own transports stay as they are. The URL behind it says nothing: where a
//! connection leads, [`Wire`] says, which the thread that fetches holds while it does.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock, Mutex};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::Error;
use crate::base::Cancel;
use crate::fetch::network::{Body, Client, LARGEST, Trouble};

/// The URL that libgit2 is given for whatever is behind a [`Wire`].
pub(super) const URL: &str = "nodeimg://place/";

/// A longer list of references is refused.
const LARGEST_LIST: u64 = 128 << 20;

thread_local! {
    static CURRENT: RefCell<Option<Wire>> = const { RefCell::new(None) };
}

/// Sets libgit2 up, once for the process: its transport, and that it minds its own business.
pub(super) fn prepare() -> Result<(), Error> {
    static READY: LazyLock<Result<(), String>> =
        LazyLock::new(|| set_up().map_err(|error| error.message().to_owned()));
    READY.clone().map_err(|reason| Error::Work { reason })
}

fn set_up() -> Result<(), git2::Error> {
    use git2::ConfigLevel::{Global, ProgramData, System, XDG};
    for level in [ProgramData, System, XDG, Global] {
        // SAFETY: runs once, before anything else in this process uses libgit2.
        unsafe { git2::opts::set_search_path(level, "")? };
    }
    // Nothing of a repository is ever run, and every commit is compared with its pin: whose it is does not
    // matter, and a mirror on this machine may well be another user's.
    // SAFETY: as above.
    unsafe { git2::opts::set_verify_owner_validation(false)? };
    let factory = |remote: &git2::Remote<'_>| {
        let wire = CURRENT.with_borrow(Option::clone);
        Transport::smart(remote, true, wire.ok_or_else(|| git2::Error::from_str("nobody fetches"))?)
    };
    // SAFETY: as above, so no transport is looked up meanwhile.
    unsafe { git2::transport::register("nodeimg", factory) }
}

/// Where a connection leads, and what became of it.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    cancel: Cancel,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The repository's URL, without `/` at its end; after a redirect, where that led.
    base: String,
    /// Why the last exchange failed.
    trouble: Option<Trouble>,
    /// What has come so far.
    received: u64,
}

impl Wire {
    pub(super) fn new(client: &Client, url: &str, cancel: &Cancel) -> Self {
        let base = url.trim_end_matches('/').to_owned();
        let state = Arc::new(Mutex::new(State { base, trouble: None, received: 0 }));
        Self { client: client.clone(), cancel: cancel.clone(), state }
    }

    /// Leads this thread's connections while `work` runs.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Reset(Option<Wire>);
        impl Drop for Reset {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _reset = Reset(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Says why the last exchange failed, if it was one of this wire's.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.state().trouble.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic with it")
    }

    /// Keeps the reason: what goes through libgit2 is a text, and must not hold a zero byte.
    fn fail(&self, trouble: Trouble) -> io::Error {
        self.state().trouble = Some(trouble);
        io::Error::other("the exchange failed")
    }

    /// Sends a request and checks that the answer is git's.
    fn ask(&self, service: Service, sent: &[u8]) -> Result<Body, Trouble> {
        let base = self.state().base.clone();
        let (request, kind) = match service {
            Service::UploadPackLs => (self.client.get(&format!("{base}{REFS}")), "advertisement"),
            _ => {
                let request = self.client.post(&format!("{base}/git-upload-pack"));
                let request = request.header(CONTENT_TYPE, "application/x-git-upload-pack-request");
                (request.body(sent.to_vec()), "result")
            }
        };
        let body = self.client.send(request, &self.cancel)?.checked()?;
        let kind = format!("application/x-git-upload-pack-{kind}");
        if body.headers().get(CONTENT_TYPE).is_none_or(|found| found.as_bytes() != kind.as_bytes()) {
            return Err(Trouble::Lasting("is no git repository, or its server is too old".to_owned()));
        }
        if service == Service::UploadPackLs {
            let moved = redirected(&base, body.url()).ok_or_else(|| {
                Trouble::Lasting("redirected to something else than a repository".to_owned())
            })?;
            self.state().base = moved;
        }
        Ok(body)
    }
}

const REFS: &str = "/info/refs?service=git-upload-pack";

/// Gives the repository's URL after what was asked of it came from `end`. User and password stay with
/// their own host.
fn redirected(base: &str, end: &Url) -> Option<String> {
    let mut moved = Url::parse(end.as_str().strip_suffix(REFS)?).ok()?;
    let before = Url::parse(base).ok()?;
    if moved.origin() == before.origin() {
        moved.set_username(before.username()).ok()?;
        moved.set_password(before.password()).ok()?;
    }
    Some(moved.as_str().trim_end_matches('/').to_owned())
}

impl SmartSubtransport for Wire {
    fn action(&self, _: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs | Service::UploadPack => {
                Ok(Box::new(Exchange { wire: self.clone(), service, sent: Vec::new(), body: None }))
            }
            _ => Err(git2::Error::from_str("nothing is ever pushed")),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request and its answer.
struct Exchange {
    wire: Wire,
    service: Service,
    sent: Vec<u8>,
    body: Option<Body>,
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let body =
                    self.wire.ask(self.service, &self.sent).map_err(|trouble| self.wire.fail(trouble))?;
                none.insert(body)
            }
        };
        let count = body.read(buffer).map_err(|error| self.wire.fail(Trouble::passing(error.to_string())))?;
        let received = {
            let mut state = self.wire.state();
            state.received += count as u64;
            state.received
        };
        // Lists of references are held in memory.
        let limit = if self.service == Service::UploadPackLs { LARGEST_LIST } else { LARGEST };
        if received > limit {
            return Err(self.wire.fail(Trouble::Lasting(format!("sends more than {limit} bytes"))));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_a_user_at_home() {
        let moved = |base: &str, end: &str| redirected(base, &Url::parse(&format!("{end}{REFS}")).unwrap());
        let base = "https://me:secret@h.example/a";
        assert_eq!(moved(base, "https://h.example/a.git").unwrap(), "https://me:secret@h.example/a.git");
        assert_eq!(moved(base, "https://h.example:444/a").unwrap(), "https://h.example:444/a");
        assert_eq!(moved(base, "https://o.example/a").unwrap(), "https://o.example/a");
        assert_eq!(redirected(base, &Url::parse("https://h.example/login").unwrap()), None);
    }
}

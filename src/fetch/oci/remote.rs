//! A registry over the network: its mirrors, who asks, and what comes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use super::credentials::{self, Credentials, Secret};
use super::document::{ACCEPTED, LARGEST};
use super::reference::HUB;
use super::{Error, Reference, challenge};
use crate::base::event::Event;
use crate::base::{Digest, Sha256};
use crate::fetch::network::{Body, Client, Expected, Trouble, public};
use crate::fetch::{Context, Error as FetchError};

/// Where Docker Hub answers.
const HUB_HOST: &str = "registry-1.docker.io";
/// More than this is no answer with a token.
const LARGEST_TOKEN: u64 = 1 << 20;

/// Who asks, as far as registries wanted to know.
#[derive(Default)]
pub(in crate::fetch) struct Access {
    doors: Mutex<BTreeMap<String, Arc<Mutex<Door>>>>,
    credentials: Mutex<BTreeMap<String, Option<Arc<Credentials>>>>,
}

/// What a repository at one place is asked with.
#[derive(Default)]
struct Door {
    authorization: Option<HeaderValue>,
    /// For messages: `anonymously`.
    tried: String,
}

/// A repository at one place.
struct Place {
    /// The place alone: `https://registry-1.docker.io/`.
    base: Url,
    /// The repository's name there.
    repository: String,
    /// Whose credentials are for it: `docker.io`, `h.example:5000`.
    registry: String,
    /// User and password that its URL has.
    own: Option<(String, String)>,
}

impl Place {
    /// Reads a base of `[mirrors]` and what stands behind it.
    fn parse(base: &str, rest: &str, registry: Option<&str>) -> Option<Self> {
        let mut base = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = base.host_str()?.to_owned();
        let host = base.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let own = (!base.username().is_empty()).then(|| {
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            (plain(base.username()), plain(base.password().unwrap_or_default()))
        });
        base.set_username("").ok()?;
        base.set_password(None).ok()?;
        let prefix = base.path().trim_matches('/').to_owned();
        let parts = [prefix.as_str(), rest.trim_matches('/')].into_iter().filter(|part| !part.is_empty());
        let repository = parts.collect::<Vec<_>>().join("/");
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        Some(Self { base, repository, registry: registry.map_or(host, str::to_owned), own })
    }

    fn url(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}/{name}", self.prefix())
    }

    /// What all its URLs begin with.
    fn prefix(&self) -> String {
        format!("{}v2/{}/", self.base, self.repository)
    }
}

/// Tells whether a host is this machine, where nobody listens on the way.
fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// An image's repository, at all places that may have it.
pub(super) struct Remote<'a> {
    what: &'a Reference,
    places: Vec<Place>,
    context: &'a Context<'a>,
}

impl<'a> Remote<'a> {
    /// Finds the places. Errs where the network may not be used.
    pub(super) fn new(what: &'a Reference, context: &'a Context<'a>) -> Result<Self, FetchError> {
        let settings = context.network.allowed(&what.to_string())?;
        let (key, mirrors) = settings.registry_mirrors(&what.name());
        let rest = &what.name()[key.len()..];
        let mut places: Vec<_> = mirrors.iter().filter_map(|base| Place::parse(base, rest, None)).collect();
        let registry = what.registry();
        let host = if registry == HUB { HUB_HOST } else { registry };
        let secure = Url::parse(&format!("https://{host}/"));
        let loopback = secure.is_ok_and(|url| is_loopback(&url));
        let scheme = if loopback { "http" } else { "https" };
        places.extend(Place::parse(&format!("{scheme}://{host}/"), what.repository(), Some(registry)));
        Ok(Self { what, places, context })
    }

    /// Brings the manifest that the tag names now.
    pub(super) fn tagged(&self) -> Result<Digest, FetchError> {
        self.manifest_tagged(self.what.tag().unwrap_or("latest"))
    }

    /// Brings the manifest that another tag names now.
    pub(super) fn manifest_tagged(&self, tag: &str) -> Result<Digest, FetchError> {
        self.small("manifests", tag, None)
    }

    /// Brings the list of what is attached to an image.
    pub(super) fn list(&self, image: &Sha256) -> Result<Digest, FetchError> {
        self.small("referrers", &image.oci(), None)
    }

    /// Brings a part of the list of tags: at most `count`, those behind `last`.
    pub(super) fn tags(&self, count: usize, last: Option<&str>) -> Result<Digest, FetchError> {
        let last = last.map(|last| format!("&last={last}")).unwrap_or_default();
        self.small("tags", &format!("list?n={count}{last}"), None)
    }

    /// Brings a manifest by its digest.
    pub(super) fn manifest(&self, hash: &Sha256) -> Result<Digest, FetchError> {
        self.small("manifests", &hash.oci(), Some(*hash))
    }

    fn small(&self, kind: &str, name: &str, expected: Option<Sha256>) -> Result<Digest, FetchError> {
        let what = self.what.to_string();
        let network = self.context.network;
        let fetch = |url: &str| {
            let _slot = network.slot(url, self.context.cancel)?;
            let accept = |request: RequestBuilder| request.header(ACCEPT, ACCEPTED);
            let body = self.ask(network.client()?, url, &accept)?.checked()?;
            let told = body.headers().get("Docker-Content-Digest").and_then(|value| value.to_str().ok());
            let told = told.and_then(|text| text.strip_prefix("sha256:")?.parse::<Sha256>().ok());
            let mut bytes = Vec::new();
            let read = body.take(LARGEST + 1).read_to_end(&mut bytes);
            read.map_err(|error| Trouble::passing(error.to_string()))?;
            if bytes.len() as u64 > LARGEST {
                return Err(Trouble::Lasting(format!("gives more than the {LARGEST} bytes of a manifest")));
            }
            let received = Sha256::of(&bytes);
            match expected.or(told) {
                Some(expected) if expected != received => {
                    let (url, received) = (public(url), received.oci());
                    Err(Trouble::Wrong(Error::Digest { url, expected, received }.into()))
                }
                _ => Ok(bytes),
            }
        };
        let bytes = network.try_all(&what, &self.urls(kind, name), fetch, self.context);
        Ok(self.context.store.put_bytes(&bytes.map_err(|error| self.explained(error, None))?)?)
    }

    /// Brings a blob.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Digest, FetchError> {
        let expected = Expected { hash: Some(digest.hash), size: Some(digest.size) };
        let ask = |client: &Client, url: &str, more: &dyn Fn(RequestBuilder) -> RequestBuilder| {
            self.ask(client, url, more)
        };
        let urls = self.urls("blobs", &digest.hash.oci());
        let got =
            self.context.network.get_asking(&self.what.to_string(), &urls, expected, self.context, &ask);
        got.map_err(|error| self.explained(error, Some(digest)))
    }

    fn urls(&self, kind: &str, name: &str) -> Vec<String> {
        self.places.iter().map(|place| place.url(kind, name)).collect()
    }

    /// Says it in this folder's words: what a digest names never changes.
    fn explained(&self, error: FetchError, digest: Option<&Digest>) -> FetchError {
        match (error, digest) {
            (FetchError::Nowhere { tried, .. }, _)
                if tried.iter().all(|(_, why)| *why == StatusCode::NOT_FOUND.to_string()) =>
            {
                let asked = tried.into_iter().map(|(url, _)| url).collect();
                Error::Missing { what: self.what.to_string(), asked }.into()
            }
            (FetchError::Hash { url, expected, received }, _) => {
                Error::Digest { url, expected, received: received.oci() }.into()
            }
            (FetchError::Size { url, expected: size, received }, Some(digest)) => {
                let received = format!("{received}, not the {size} bytes that its manifest says");
                Error::Digest { url, expected: digest.hash, received }.into()
            }
            (error, _) => error,
        }
    }

    /// Sends a request, and says who asks if the registry wants to know.
    fn ask(
        &self,
        client: &Client,
        url: &str,
        more: &dyn Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Body, Trouble> {
        let place = self.places.iter().find(|place| url.starts_with(&place.prefix()));
        let place = place.expect("every URL is a place's");
        let door = self.context.network.registries.door(place);
        let lock = || door.lock().expect("no panic while asking");
        let mut used = lock().authorization.clone();
        let mut renewed = false;
        loop {
            let request = more(client.get(url));
            let request = match &used {
                Some(value) => request.header(AUTHORIZATION, value.clone()),
                None => request,
            };
            let body = client.send(request, self.context.cancel)?;
            let status = body.status();
            // What another host thinks, to which a redirect led, is no matter of who asks.
            if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                || body.url().origin() != place.base.origin()
            {
                return Ok(body);
            }
            let mut door = lock();
            if door.authorization != used {
                // Another thread has asked meanwhile.
                used = door.authorization.clone();
                continue;
            }
            if renewed || status == StatusCode::FORBIDDEN {
                let tried = if door.tried.is_empty() { "anonymously" } else { &door.tried };
                return Err(self.denied(place, status, tried));
            }
            // One thread asks for all.
            *door = self.authorize(client, place, body.headers())?;
            used = door.authorization.clone();
            renewed = true;
        }
    }

    fn denied(&self, place: &Place, status: StatusCode, tried: &str) -> Trouble {
        let login = match place.registry.as_str() {
            HUB => "docker login".to_owned(),
            registry => format!("docker login {registry}"),
        };
        let host = place.registry.clone();
        let (what, status, tried) = (self.what.to_string(), status.to_string(), tried.to_owned());
        Trouble::Wrong(Error::Denied { what, host, status, tried, login }.into())
    }

    /// Answers a 401.
    fn authorize(&self, client: &Client, place: &Place, headers: &HeaderMap) -> Result<Door, Trouble> {
        let said = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = said.flat_map(challenge::parse).collect();
        let scheme = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let (credentials, tried) = self.credentials(client, place)?;
        let header = if let Some(bearer) = scheme("bearer") {
            let parameter = |name: &str| bearer.parameters.get(name).map(String::as_str);
            let realm = parameter("realm").unwrap_or_default();
            self.token(client, place, realm, parameter("service"), credentials.as_deref(), &tried)?
        } else if scheme("basic").is_some() {
            match credentials.and_then(|credentials| credentials.secret.basic()) {
                Some(value) => value,
                None => return Err(self.denied(place, StatusCode::UNAUTHORIZED, &tried)),
            }
        } else {
            let how = challenges.iter().map(|challenge| format!("`{}`", challenge.scheme));
            let how =
                how.reduce(|all, one| format!("{all}, {one}")).unwrap_or_else(|| "none is named".to_owned());
            return Err(Trouble::Wrong(Error::Challenge { host: place.registry.clone(), how }.into()));
        };
        let mut authorization = HeaderValue::from_str(&header)
            .map_err(|_| Trouble::Lasting("gave a token that is none".to_owned()))?;
        authorization.set_sensitive(true);
        Ok(Door { authorization: Some(authorization), tried })
    }

    /// Finds who asks at a place, once, and says it in words.
    fn credentials(
        &self,
        client: &Client,
        place: &Place,
    ) -> Result<(Option<Arc<Credentials>>, String), Trouble> {
        let told = |credentials: &Option<Arc<Credentials>>| match credentials {
            Some(found) => format!("with the credentials from {}", found.from),
            None => "anonymously".to_owned(),
        };
        if let Some((user, password)) = &place.own {
            let secret = Secret::Password { user: user.clone(), password: password.clone() };
            let found = Some(Arc::new(Credentials { secret, from: "`[mirrors]`".to_owned() }));
            let told = told(&found);
            return Ok((found, told));
        }
        let settings = self.context.network.allowed(&self.what.to_string()).map_err(Trouble::Final)?;
        let mut known = self.context.network.registries.credentials.lock().expect("no panic with it");
        if let Some(found) = known.get(&place.registry) {
            return Ok((found.clone(), told(found)));
        }
        let cancel = self.context.cancel;
        let found = match settings.docker() {
            None => None,
            Some(folder) => match credentials::find(folder, &place.registry, client.patience(), cancel) {
                Ok(found) => found.map(Arc::new),
                Err(_) if cancel.is_cancelled() => return Err(Trouble::Final(FetchError::Cancelled)),
                Err(why) => {
                    let message = format!("{why}, so `{}` is asked anonymously", place.registry);
                    self.context.events.emit(Event::Warning { message });
                    None
                }
            },
        };
        known.insert(place.registry.clone(), found.clone());
        Ok((found.clone(), told(&found)))
    }

    /// Gets a token to pull with (distribution's token specification; with an identity token, OAuth 2).
    fn token(
        &self,
        client: &Client,
        place: &Place,
        realm: &str,
        service: Option<&str>,
        credentials: Option<&Credentials>,
        tried: &str,
    ) -> Result<String, Trouble> {
        let realm = safe(realm, &place.base).map_err(|why| {
            let (host, realm) = (place.registry.clone(), public(realm));
            Trouble::Wrong(Error::Realm { host, realm, why }.into())
        })?;
        let scope = format!("repository:{}:pull", place.repository);
        let service = service.map(|service| ("service", service));
        let pairs = service.into_iter().chain([("scope", scope.as_str())]);
        let request = match credentials.map(|credentials| &credentials.secret) {
            Some(Secret::Identity(token)) => {
                let more = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "nodeimg"),
                    ("refresh_token", token.as_str()),
                ];
                let mut form = reqwest::Url::parse("http://form/").expect("a URL");
                form.query_pairs_mut().extend_pairs(pairs.chain(more));
                client
                    .post_unmoved(realm.as_str())?
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.query().unwrap_or_default().to_owned())
            }
            secret => {
                let mut url = realm.clone();
                url.query_pairs_mut().extend_pairs(pairs);
                let request = client.get(url.as_str());
                match secret.and_then(Secret::basic).map(HeaderValue::try_from) {
                    Some(Ok(mut value)) => {
                        value.set_sensitive(true);
                        request.header(AUTHORIZATION, value)
                    }
                    _ => request,
                }
            }
        };
        let body = client.send(request, self.context.cancel)?;
        if matches!(body.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST)
        {
            return Err(self.denied(place, body.status(), tried));
        }
        let mut bytes = Vec::new();
        let read = body.checked()?.take(LARGEST_TOKEN).read_to_end(&mut bytes);
        read.map_err(|error| Trouble::passing(error.to_string()))?;
        // The error might quote a token.
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| Trouble::Lasting("the place that gives tokens gave none".to_owned()))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let token =
            token.ok_or_else(|| Trouble::Lasting("the place that gives tokens gave none".to_owned()))?;
        Ok(format!("Bearer {token}"))
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Reads where tokens are: over TLS, or where the registry itself is, or both on this machine.
fn safe(realm: &str, registry: &Url) -> Result<Url, &'static str> {
    let url = Url::parse(realm).map_err(|_| "is no URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password in it");
    }
    let near = url.scheme() == "http"
        && (url.origin() == registry.origin() || (is_loopback(&url) && is_loopback(registry)));
    if url.scheme() == "https" || near { Ok(url) } else { Err("is not safe from who listens on the way") }
}

impl Access {
    fn door(&self, place: &Place) -> Arc<Mutex<Door>> {
        let mut doors = self.doors.lock().expect("no panic while looking");
        Arc::clone(doors.entry(place.prefix()).or_default())
    }
}

#[cfg(test)]
pub(super) fn is_safe(realm: &str, registry: &str) -> bool {
    safe(realm, &Url::parse(registry).unwrap()).is_ok()
}

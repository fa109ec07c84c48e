//! Against small registries of our own, some of them hostile.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::base::Cancel;
use crate::base::event::{Event, Silent, Sink};
use crate::fetch::server::{Asked, Server, answer, ok, serve};
use crate::fetch::{Network, Settings};
use crate::store::Store;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &[u8] = b"a layer's bytes";
const BUSY: &str = "Content-Length: 0\r\n";

/// An image for both platforms: what a registry has below `/v2/<repository>/`, by its last two parts.
struct Image {
    content: BTreeMap<String, Vec<u8>>,
    index: Sha256,
    manifests: BTreeMap<Arch, Sha256>,
}

fn image() -> Image {
    let mut content = BTreeMap::new();
    let mut put = |kind: &str, bytes: &[u8]| {
        content.insert(format!("{kind}/{}", Sha256::of(bytes).oci()), bytes.to_vec());
        format!(r#""digest":"{}","size":{}"#, Sha256::of(bytes).oci(), bytes.len())
    };
    let layer = put("blobs", LAYER);
    let mut manifests = BTreeMap::new();
    let mut entries = Vec::new();
    for arch in Arch::ALL {
        let diff_id = Sha256([1; 32]).oci();
        let config = format!(
            r#"{{"os":"linux","architecture":"{arch}","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let config = put("blobs", config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}",
                "config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},
                "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",{layer}}}]}}"#
        );
        manifests.insert(arch, Sha256::of(manifest.as_bytes()));
        let manifest = put("manifests", manifest.as_bytes());
        entries.push(format!(
            r#"{{"mediaType":"{MANIFEST}",{manifest},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#
        ));
    }
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(","));
    put("manifests", index.as_bytes());
    content.insert("manifests/1".to_owned(), index.clone().into_bytes());
    Image { content, index: Sha256::of(index.as_bytes()), manifests }
}

impl Image {
    fn serve(&self, asked: &Asked, to: &mut dyn Write) {
        let mut parts: Vec<_> = asked.path.rsplitn(3, '/').take(2).collect();
        parts.reverse();
        match self.content.get(&parts.join("/")) {
            Some(content) => ok(to, content),
            None => answer(to, "404 Not Found", BUSY, b""),
        }
    }
}

/// A registry that serves the image to everybody.
fn registry() -> (Image, Server) {
    let served = image();
    (image(), serve(move |asked, _, to| served.serve(asked, to)))
}

/// Everything that an image is brought with.
struct World {
    network: Network,
    store: Store,
    told: Log,
    cancel: Cancel,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Sink for Log {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

impl World {
    fn new(network: impl FnOnce(&Path) -> Network) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let network = network(folder.path());
        Self { network, store, told: Log::default(), cancel: Cancel::default(), folder }
    }

    fn open() -> Self {
        Self::new(|_| Network::hasty(Settings::default()))
    }

    /// With what `docker login` has left.
    fn with_config(config: &str) -> Self {
        Self::new(|folder| {
            fs_err::write(folder.join("config.json"), config).unwrap();
            Network::hasty(Settings::default().with_docker(folder.to_owned()))
        })
    }

    fn with_mirrors(pairs: &[(&str, &[&str])]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mirrors = pairs.iter().map(|(key, bases)| ((*key).to_owned(), texts(bases))).collect();
        Self::new(|_| Network::hasty(Settings::with_mirrors(mirrors)))
    }

    fn context(&self) -> Context<'_> {
        Context { network: &self.network, store: &self.store, events: &self.told, cancel: &self.cancel }
    }

    fn resolve(&self, name: &str) -> Result<Resolved, FetchError> {
        resolve(&name.parse().unwrap(), &self.context())
    }

    fn manifest(&self, name: &str, digest: &Sha256) -> Result<Base, FetchError> {
        manifest(&name.parse().unwrap(), digest, Arch::Amd64, &self.context())
    }

    fn layer(&self, name: &str) -> Result<Digest, FetchError> {
        layer(&name.parse().unwrap(), &Digest::of(LAYER), &self.context())
    }

    /// What was said in errors and events must not hold a secret.
    fn keeps_quiet(&self, error: Option<&FetchError>) {
        let said = format!("{:?} {error:?}", self.told.0.lock().unwrap());
        assert!(!said.contains("secret") && !said.contains("c2VjcmV0"), "{said}");
    }
}

fn descriptor() -> Descriptor {
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    Descriptor { media_type, compression: Compression::Gzip, digest: Digest::of(LAYER) }
}

/// A name at a server.
fn at(server: &Server, rest: &str) -> String {
    format!("{}/{rest}", server.base.strip_prefix("http://").unwrap())
}

fn paths(server: &Server) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.path).collect()
}

fn help(error: &FetchError) -> String {
    miette::Diagnostic::help(error).map(|help| help.to_string()).unwrap_or_default()
}

#[test]
fn a_tag_is_resolved_once_and_then_the_store_is_enough() {
    let (image, server) = registry();
    let world = World::open();
    let name = at(&server, "kindest/node:1");
    let resolved = world.resolve(&name).unwrap();
    assert_eq!((resolved.digest.hash, &resolved.platforms), (image.index, &image.manifests));
    let manifests = |arch| format!("/v2/kindest/node/manifests/{}", image.manifests[&arch].oci());
    assert_eq!(
        paths(&server),
        ["/v2/kindest/node/manifests/1".to_owned(), manifests(Arch::Amd64), manifests(Arch::Arm64)]
    );
    assert!(server.asked()[0].headers["accept"].contains(INDEX));
    let base = world.manifest(&name, &image.index).unwrap();
    assert_eq!(base.manifest.hash, image.manifests[&Arch::Amd64]);
    assert_eq!(
        (base.layers.as_slice(), base.diff_ids.as_slice()),
        (&[descriptor()][..], &[Sha256([1; 32])][..])
    );
    assert_eq!(world.manifest(&name, &base.manifest.hash).unwrap(), base);
    assert_eq!(world.layer(&name).unwrap(), Digest::of(LAYER));
    assert_eq!(world.store.read_blob(&base.layers[0].digest).unwrap(), LAYER);
    // A configuration and a layer came, nothing twice; from now on nobody is asked.
    assert_eq!(server.asked().len(), 5);
    let started = world.told.0.lock().unwrap().iter().filter(|event| event.contains("Started")).count();
    assert_eq!(started, 2, "the blobs show their progress");
    let offline = Network::offline();
    let context = Context { network: &offline, ..world.context() };
    let reference: Reference = name.parse().unwrap();
    assert_eq!(manifest(&reference, &image.index, Arch::Amd64, &context).unwrap(), base);
    layer(&reference, &base.layers[0].digest, &context).unwrap();
    // With the digest in its name, the tag does not matter.
    let pinned = at(&server, &format!("kindest/node:gone@{}", image.index.oci()));
    assert_eq!(world.resolve(&pinned).unwrap(), resolved);
}

#[test]
fn offline_names_what_is_missing() {
    let world = World::new(|_| Network::offline());
    let (zero, hex) = (Sha256([0; 32]), "00".repeat(32));
    let off = |what: &str| format!("`{what}` is not in the store, and the network is off");
    let error = world.resolve("kindest/node:v1").unwrap_err();
    assert_eq!(error.to_string(), off("docker.io/kindest/node:v1"));
    assert_eq!(help(&error), "run `nodeimg fetch` where there is a network, or leave out `--offline`");
    let error = world.manifest("kindest/node:v1", &zero).unwrap_err();
    assert_eq!(error.to_string(), off(&format!("docker.io/kindest/node:v1@sha256:{hex}")));
    let error = world.layer("kindest/node:v1").unwrap_err();
    let want = format!("docker.io/kindest/node@{}", Sha256::of(LAYER).oci());
    assert_eq!(error.to_string(), off(&want));
}

#[test]
fn what_no_registry_has_is_said_with_where_it_was_sought() {
    let (_, server) = registry();
    let other = serve(|_, _, to| answer(to, "404 Not Found", BUSY, b""));
    let key = server.base.strip_prefix("http://").unwrap();
    let world = World::with_mirrors(&[(key, &[&other.base])]);
    let name = at(&server, "a:2");
    let error = world.resolve(&name).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no registry has `{name}`\n  {}/v2/a/manifests/2: 404 Not Found\n  {}/v2/a/manifests/2: 404 Not Found",
            other.base, server.base
        )
    );
    assert_eq!(
        help(&error),
        "check the repository's name and the tag; what was deleted there is had from nowhere"
    );
    // A registry that is out of order is something else.
    let busy = serve(|_, _, to| answer(to, "503 Busy", BUSY, b""));
    let name = at(&busy, "a:2");
    let error = World::open().resolve(&name).unwrap_err().to_string();
    let want = format!("no place has `{name}`\n  {}/v2/a/manifests/2: 503 Service Unavailable", busy.base);
    assert_eq!(error, want);
    assert_eq!(busy.asked().len(), 4);
}

#[test]
fn mirrors_stand_for_the_longest_part_of_a_name() {
    let (image, server) = registry();
    let at_home = format!("{}/", server.base);
    let below = format!("{}/cache/kind", server.base);
    let world = World::with_mirrors(&[
        ("docker.io", &[&at_home]),
        ("docker.io/kindest", &[&below]),
        ("docker.io/kind", &["http://127.0.0.1:1/"]),
    ]);
    world.resolve("kindest/node:1").unwrap();
    world.resolve("busybox:1").unwrap();
    world.layer("busybox:1").unwrap();
    let asked = paths(&server);
    assert_eq!(asked[0], "/v2/cache/kind/node/manifests/1");
    assert_eq!(asked[3], "/v2/library/busybox/manifests/1");
    assert_eq!(asked[4], format!("/v2/library/busybox/blobs/{}", Sha256::of(LAYER).oci()));
    assert_eq!(image.manifests.len(), 2);
}

/// A registry that wants a token, got at the same server. `accepts` tells a good `Authorization` of the
/// token's place; tokens are `token-0`, `token-1`, … and the newest is good.
fn guarded(accepts: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Server {
    let served = image();
    let given = Mutex::new(0);
    serve(move |asked, _, to| {
        let mut given = given.lock().unwrap();
        if asked.path.starts_with("/token") {
            if !accepts(asked) {
                return answer(to, "401 Unauthorized", BUSY, b"");
            }
            *given += 1;
            return ok(to, format!(r#"{{"token":"token-{given}","expires_in":300}}"#).as_bytes());
        }
        let authorization = asked.headers.get("authorization").cloned().unwrap_or_default();
        if authorization == format!("Bearer token-{given}") {
            return served.serve(asked, to);
        }
        let host = &asked.headers["host"];
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{host}/token?x=y\",service=\"the service\",\
             scope=\"repository:a/b:pull,push\"\r\n{BUSY}"
        );
        answer(to, "401 Unauthorized", &challenge, b"");
    })
}

#[test]
fn a_token_is_got_once_for_a_repository() {
    let server = guarded(|asked| !asked.headers.contains_key("authorization"));
    let world = World::open();
    let name = at(&server, "a/b:1");
    world.resolve(&name).unwrap();
    let asked = server.asked();
    assert!(!asked[0].headers.contains_key("authorization"));
    assert_eq!(asked[1].path, "/token?x=y&service=the+service&scope=repository%3Aa%2Fb%3Apull");
    assert_eq!(asked[2].headers["authorization"], "Bearer token-1");
    world.layer(&name).unwrap();
    let tokens = || paths(&server).iter().filter(|path| path.starts_with("/token")).count();
    assert_eq!((tokens(), server.asked().len()), (1, 6));
}

#[test]
fn layers_that_come_at_once_share_a_token_and_a_stale_one_is_renewed() {
    let server = guarded(|_| true);
    let world = World::open();
    let name = at(&server, "a/b:1");
    let all = |world: &World| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| world.layer(&name).unwrap());
            }
        });
    };
    all(&world);
    let tokens = || paths(&server).iter().filter(|path| path.starts_with("/token")).count();
    assert_eq!(tokens(), 1);
    // Somebody else's token makes ours stale.
    let other = World::open();
    all(&other);
    assert_eq!(tokens(), 2);
    world.resolve(&name).unwrap();
    assert_eq!(tokens(), 3);
}

#[test]
fn a_token_is_asked_for_with_the_credentials_of_docker_login() {
    let server =
        guarded(|asked| asked.headers.get("authorization").is_some_and(|sent| sent == "Basic bWU6c2VjcmV0"));
    let host = server.base.strip_prefix("http://").unwrap();
    let name = at(&server, "a/b:1");
    let world = World::with_config(&format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    world.resolve(&name).unwrap();
    let with: BTreeSet<_> = server
        .asked()
        .iter()
        .filter(|asked| asked.headers.get("authorization").is_some_and(|sent| sent.starts_with("Basic")))
        .map(|asked| asked.path.clone())
        .collect();
    assert!(with.len() == 1 && with.first().unwrap().starts_with("/token"), "{with:?}");
    world.keeps_quiet(None);
    // Without them, and with wrong ones.
    let error = World::open().resolve(&name).unwrap_err();
    assert_eq!(error.to_string(), format!("`{host}` refuses `{name}` (401 Unauthorized), asked anonymously"));
    assert_eq!(
        help(&error),
        format!(
            "run `docker login {host}` if it is private, and check the name: registries refuse what they don't have, too"
        )
    );
    let world = World::with_config(&format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0cw=="}}}}}}"#));
    let error = world.resolve(&name).unwrap_err();
    let config = world.folder.path().join("config.json");
    assert_eq!(
        error.to_string(),
        format!(
            "`{host}` refuses `{name}` (401 Unauthorized), asked with the credentials from `{}`",
            config.display()
        )
    );
    world.keeps_quiet(Some(&error));
}

#[test]
fn an_identity_token_is_posted_to_its_place_alone() {
    let elsewhere = serve(|_, _, to| ok(to, br#"{"access_token":"x"}"#));
    let there = elsewhere.base.clone();
    let server = serve(move |asked, _, to| match asked.path.as_str() {
        "/token" => ok(to, br#"{"access_token":"t"}"#),
        "/moved" => answer(to, "307 Moved", &format!("Location: {there}/token\r\n{BUSY}"), b""),
        path if asked.headers.get("authorization").is_some_and(|sent| sent == "Bearer t") => {
            assert!(path.contains("/a/"));
            image().serve(asked, to);
        }
        path => {
            let place = if path.contains("/b/") { "moved" } else { "token" };
            let realm = format!("http://{}/{place}", asked.headers["host"]);
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=s\r\n{BUSY}");
            answer(to, "401 Unauthorized", &challenge, b"");
        }
    });
    let host = server.base.strip_prefix("http://").unwrap();
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"","identitytoken":"secret&"}}}}}}"#);
    let world = World::with_config(&config);
    world.resolve(&at(&server, "a/a:1")).unwrap();
    assert_eq!(
        String::from_utf8(server.asked()[1].body.clone()).unwrap(),
        "service=s&scope=repository%3Aa%2Fa%3Apull&grant_type=refresh_token&client_id=nodeimg&refresh_token=secret%26"
    );
    let error = world.resolve(&at(&server, "a/b/c:1")).unwrap_err();
    assert!(error.to_string().ends_with("307 Temporary Redirect"), "{error}");
    assert!(elsewhere.asked().is_empty());
    world.keeps_quiet(Some(&error));
}

#[test]
fn basic_credentials_do_not_follow_a_redirect() {
    let cdn = serve(|_, _, to| ok(to, LAYER));
    let there = cdn.base.clone();
    let served = image();
    let server = serve(move |asked, _, to| {
        if asked.headers.get("authorization").is_none_or(|sent| sent != "Basic bWU6c2VjcmV0") {
            let challenge = format!("WWW-Authenticate: Basic realm=\"r\"\r\n{BUSY}");
            return answer(to, "401 Unauthorized", &challenge, b"");
        }
        if asked.path.contains("/blobs/") {
            return answer(to, "307 Moved", &format!("Location: {there}/blob?signature=1\r\n{BUSY}"), b"");
        }
        served.serve(asked, to);
    });
    let host = server.base.strip_prefix("http://").unwrap();
    let world = World::with_config(&format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    let name = at(&server, "a:1");
    world.resolve(&name).unwrap();
    world.layer(&name).unwrap();
    let sent = cdn.asked();
    assert!(sent.len() == 1 && !sent[0].headers.contains_key("authorization"), "{sent:?}");
    // User and password of a mirror's own URL are for that mirror.
    let mirror = format!("http://me:secret@{host}/");
    let world = World::with_mirrors(&[("h.example", &[&mirror])]);
    world.resolve("h.example/a:1").unwrap();
    let wrong = format!("http://me:secret2@{host}/");
    let world = World::with_mirrors(&[("127.0.0.1:1", &[&wrong])]);
    let error = world.resolve("127.0.0.1:1/a:1").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{host}` refuses `127.0.0.1:1/a:1` (401 Unauthorized), asked with the credentials from `[mirrors]`"
        )
    );
    world.keeps_quiet(Some(&error));
    // Nobody's credentials are somebody else's.
    let world = World::with_config(r#"{"auths":{"other.example":{"auth":"bWU6c2VjcmV0"}}}"#);
    let error = world.resolve(&name).unwrap_err().to_string();
    assert!(error.ends_with("(401 Unauthorized), asked anonymously"), "{error}");
}

#[test]
fn a_cdn_that_refuses_is_not_told_who_asks() {
    let cdn = serve(|_, _, to| {
        answer(to, "401 Unauthorized", &format!("WWW-Authenticate: Basic realm=\"r\"\r\n{BUSY}"), b"");
    });
    let there = cdn.base.clone();
    let server =
        serve(move |_, _, to| answer(to, "302 Found", &format!("Location: {there}/\r\n{BUSY}"), b""));
    let cdn_host = cdn.base.strip_prefix("http://").unwrap();
    let host = server.base.strip_prefix("http://").unwrap();
    let auth = r#"{"auth":"bWU6c2VjcmV0"}"#;
    let world = World::with_config(&format!(r#"{{"auths":{{"{host}":{auth},"{cdn_host}":{auth}}}}}"#));
    let error = world.layer(&at(&server, "a:1")).unwrap_err().to_string();
    assert!(error.ends_with(": 401 Unauthorized"), "{error}");
    assert!(cdn.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
}

#[test]
fn credentials_are_read_only_when_a_registry_wants_them() {
    // A helper that is not there would be noticed.
    let (image, server) = registry();
    let world = World::with_config(r#"{"credsStore":"nodeimg-none"}"#);
    let name = at(&server, "a:1");
    world.resolve(&name).unwrap();
    world.manifest(&name, &image.index).unwrap();
    let warnings = |world: &World| {
        let told = world.told.0.lock().unwrap();
        told.iter().filter(|event| event.starts_with("Warning")).cloned().collect::<Vec<_>>()
    };
    assert!(warnings(&world).is_empty());
    // A public image needs no credentials, so the lack of the program is a warning.
    let server = guarded(|asked| !asked.headers.contains_key("authorization"));
    let world = World::with_config(r#"{"credsStore":"nodeimg-none"}"#);
    world.resolve(&at(&server, "a:1")).unwrap();
    let host = server.base.strip_prefix("http://").unwrap();
    let message = format!(
        "`docker-credential-nodeimg-none` can't be run: No such file or directory (os error 2), so `{host}` is asked anonymously"
    );
    assert_eq!(warnings(&world), [format!("{:?}", Event::Warning { message })]);
    // What the store has needs none of it.
    let before = server.asked().len();
    world.manifest(&at(&server, "a:1"), &image.index).map(drop).unwrap();
    world.manifest(&at(&server, "a:1"), &image.index).map(drop).unwrap();
    assert_eq!(server.asked().len(), before + 1, "its configuration");
}

#[test]
fn tokens_are_sought_only_where_it_is_safe() {
    for (realm, why) in [
        ("http://h.example/token", "is not safe from who listens on the way"),
        ("ftp://h.example/token", "is not safe from who listens on the way"),
        ("https://u:p@h.example/token", "has a user or a password in it"),
        ("token", "is no URL"),
    ] {
        let server = serve(move |_, _, to| {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n{BUSY}");
            answer(to, "401 Unauthorized", &challenge, b"");
        });
        let error = World::open().resolve(&at(&server, "a:1")).unwrap_err();
        let host = server.base.strip_prefix("http://").unwrap();
        let shown = realm.replace("u:p@", "");
        assert_eq!(error.to_string(), format!("`{host}` wants a token to be got at `{shown}`, which {why}"));
    }
    let safe = |realm: &str, registry: &str| remote::is_safe(realm, registry);
    assert!(safe("https://auth.example/token", "https://h.example/"));
    assert!(
        !safe("http://127.0.0.1/token", "https://h.example/"),
        "a registry must not send us to this machine"
    );
    assert!(safe("http://127.0.0.1:2/token", "http://localhost:1/"));
    assert!(safe("http://m.example:5000/token", "http://m.example:5000/"));
    assert!(!safe("http://m.example/token", "http://m.example:5000/"));
    let server = serve(|_, _, to| {
        answer(to, "401 Unauthorized", &format!("WWW-Authenticate: Negotiate\r\n{BUSY}"), b"");
    });
    let error = World::open().resolve(&at(&server, "a:1")).unwrap_err().to_string();
    let host = server.base.strip_prefix("http://").unwrap();
    assert_eq!(
        error,
        format!("`{host}` wants to know who asks in a way that nodeimg does not know: `negotiate`")
    );
}

#[test]
fn other_bytes_than_a_digest_names_are_refused() {
    let hidden = image().index;
    let server = serve(move |asked, _, to| match asked.path.rsplit('/').next().unwrap() {
        "lies" => {
            let told = format!("Docker-Content-Digest: {}\r\nContent-Length: 2\r\n", hidden.oci());
            answer(to, "200 OK", &told, b"{}");
        }
        "large" => {
            answer(to, "200 OK", "", b"");
            while to.write_all(&[b' '; 1 << 16]).is_ok() {}
        }
        _ if asked.path.contains("/blobs/") => ok(to, b"a LAYER's bytes"),
        _ => ok(to, b"{}"),
    });
    let other = Sha256::of(b"{}");
    let want = |end: &str, expected: Sha256, received: Sha256| {
        format!(
            "`{}/v2/a/{end}` is not what its digest says\n  expected: {}\n  received: {}",
            server.base,
            expected.oci(),
            received.oci()
        )
    };
    let world = World::open();
    let error = world.resolve(&at(&server, "a:lies")).unwrap_err();
    assert_eq!(error.to_string(), want("manifests/lies", hidden, other));
    let by_digest = want(&format!("manifests/{}", hidden.oci()), hidden, other);
    let error = world.resolve(&at(&server, &format!("a@{}", hidden.oci()))).unwrap_err();
    assert_eq!(error.to_string(), by_digest);
    let error = world.manifest(&at(&server, "a:1"), &hidden).unwrap_err();
    assert_eq!(error.to_string(), by_digest);
    assert_eq!(
        help(&error),
        "what a digest names never changes: this place, or something on the way to it, gives other bytes, so do not trust it"
    );
    let error = world.layer(&at(&server, "a:1")).unwrap_err();
    let (layer, wrong) = (Sha256::of(LAYER), Sha256::of(b"a LAYER's bytes"));
    assert_eq!(error.to_string(), want(&format!("blobs/{}", layer.oci()), layer, wrong));
    assert!(!world.store.has_blob(&Digest::of(LAYER)));
    let error = world.resolve(&at(&server, "a:large")).unwrap_err().to_string();
    assert!(error.ends_with("manifests/large: gives more than the 4194304 bytes of a manifest"), "{error}");
    // Another size is noticed before the bytes are there.
    let short = serve(|_, _, to| ok(to, b"a layer"));
    let error = world.layer(&at(&short, "a:1")).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "`{}/v2/a/blobs/{}` is not what its digest says\n  expected: {}\n  received: 7 bytes, not the 15 bytes that its manifest says",
            short.base,
            layer.oci(),
            layer.oci()
        )
    );
}

#[test]
fn a_layer_goes_on_where_its_connection_broke() {
    let server = serve(|asked, number, to| {
        if !asked.headers.contains_key("authorization") {
            let challenge = format!(
                "WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n{BUSY}",
                asked.headers["host"]
            );
            return match asked.path.starts_with("/token") {
                true => ok(to, br#"{"token":"t"}"#),
                false => answer(to, "401 Unauthorized", &challenge, b""),
            };
        }
        assert_eq!(asked.headers["authorization"], "Bearer t");
        match number {
            2 => answer(to, "200 OK", "Content-Length: 15\r\nETag: \"1\"\r\n", &LAYER[..7]),
            3 => answer(to, "429 Slow", &format!("Retry-After: 0\r\n{BUSY}"), b""),
            _ => {
                assert_eq!(asked.headers["range"], "bytes=7-");
                let headers = "Content-Range: bytes 7-14/15\r\nContent-Length: 8\r\nETag: \"1\"\r\n";
                answer(to, "206 Partial", headers, &LAYER[7..]);
            }
        }
    });
    let world = World::open();
    world.layer(&at(&server, "a:1")).unwrap();
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn an_image_for_other_machines_says_for_which() {
    let served = image();
    let amd64 = served.manifests[&Arch::Amd64];
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#,
        amd64.oci()
    );
    let nested = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        served.index.oci()
    );
    let nested = nested.replace("\"size\":1", &format!("\"size\":{}", served.content["manifests/1"].len()));
    let (far, bad) = (Sha256::of(index.as_bytes()), Sha256::of(nested.as_bytes()));
    let server = serve(move |asked, _, to| match asked.path.rsplit('/').next().unwrap() {
        end if end == far.oci() => ok(to, index.as_bytes()),
        end if end == bad.oci() => ok(to, nested.as_bytes()),
        _ => served.serve(asked, to),
    });
    let (world, context) = (World::open(), &Silent);
    let context = Context { events: context, ..world.context() };
    let name: Reference = at(&server, "a:1").parse().unwrap();
    let error = manifest(&name, &far, Arch::Amd64, &context).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is not for amd64; it is for linux/s390x", name.at(far)));
    assert_eq!(help(&error), "name an image that is, or build for another `--platform`");
    let error = resolve(&name.at(far), &context).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "`{}` can't be a base: it is for neither linux/amd64 nor linux/arm64; it is for linux/s390x",
            name.at(far)
        )
    );
    // A manifest says in its configuration what it is for.
    let error = manifest(&name, &amd64, Arch::Arm64, &context).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` is not for arm64; it is for linux/amd64", name.at(amd64)));
    let resolved = resolve(&name.at(amd64), &context).unwrap();
    assert_eq!(resolved.platforms, BTreeMap::from([(Arch::Amd64, amd64)]));
    let error = manifest(&name, &bad, Arch::Amd64, &context).unwrap_err().to_string();
    let what = format!("127.0.0.1:{}/a@{}", server.base.rsplit(':').next().unwrap(), image().index.oci());
    assert_eq!(error, format!("`{what}` is no image: its index names an index as an image"));
}

#[test]
fn a_size_that_is_a_lie_costs_the_store_nothing() {
    let served = image();
    let (amd64, config) = (
        served.manifests[&Arch::Amd64],
        served.content.keys().find(|key| key.starts_with("blobs/")).unwrap(),
    );
    let config: Sha256 = config["blobs/".len()..].parse().unwrap();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        amd64.oci()
    );
    let lying = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":1}},"layers":[]}}"#,
        config.oci()
    );
    let server = serve(move |_, _, to| answer(to, "404 Not Found", BUSY, b""));
    let world = World::open();
    let put = |text: &[u8]| world.store.put_bytes(text).unwrap();
    for content in served.content.values() {
        put(content);
    }
    let (index, lying) = (put(index.as_bytes()), put(lying.as_bytes()));
    let name = at(&server, "a:1");
    for (asked, lied) in [(index, amd64), (lying, config)] {
        let size = world.store.find_blob(&lied).unwrap().size;
        let error = world.manifest(&name, &asked.hash).unwrap_err().to_string();
        let what = at(&server, &format!("a@{}", lied.oci()));
        let want = format!("`{what}` is no image: it has {size} bytes, not the 1 that are said of it");
        assert_eq!(error, want);
        assert!(world.store.find_blob(&lied).is_some());
    }
}

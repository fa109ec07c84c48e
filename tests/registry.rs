//! Images out of a real registry (Debian's `docker-registry`), pushed there by another program (skopeo), where both
//! are installed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nodeimg::base::event::Silent;
use nodeimg::base::{Arch, Cancel, Sha256};
use nodeimg::fetch::oci::{self, Base, Compression, Reference, Resolved};
use nodeimg::fetch::{Context, Error, Network, Settings};
use nodeimg::store::Store;

use crate::everywhere::{PROGRAM, command, good};

/// bcrypt of `secret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A running registry; it ends with the test.
pub(crate) struct Registry {
    server: Child,
    /// `127.0.0.1:<port>`, as references have it.
    pub(crate) host: String,
    credentials: Option<&'static str>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    /// Starts a registry for everybody, with what is in a folder. Gives none where no registry is installed.
    pub(crate) fn start(folder: &Path) -> Option<Registry> {
        Self::start_as(folder, None)
    }

    /// Starts one that knows `me` by the password `secret`, and nobody else.
    pub(crate) fn start_private(folder: &Path) -> Option<Registry> {
        Self::start_as(folder, Some("me:secret"))
    }

    #[expect(clippy::disallowed_methods, reason = "it is what the program under test talks to")]
    fn start_as(folder: &Path, credentials: Option<&'static str>) -> Option<Registry> {
        let at = folder.display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: '{at}/content'}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n"
        );
        if credentials.is_some() {
            fs_err::write(folder.join("htpasswd"), HTPASSWD).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: tests, path: '{at}/htpasswd'}}}}\n");
        }
        fs_err::write(folder.join("config.yml"), config).unwrap();
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.join("config.yml"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut server = match server {
            Ok(server) => server,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
                eprintln!("left out: docker-registry is not installed");
                return None;
            }
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let (requests, said) = (Arc::clone(&log), server.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                // 127.0.0.1 - - [time] "GET /v2/ HTTP/1.1" 200 2 "" "agent"
                let mut parts = line.split('"').skip(1);
                let request = parts.next().and_then(|request| request.strip_suffix(" HTTP/1.1"));
                let status = parts.next().and_then(|rest| rest.split_whitespace().next());
                if let (Some(request), Some(status)) = (request, status) {
                    requests.lock().unwrap().push(format!("{status} {request}"));
                }
            }
        });
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.split(|c: char| !c.is_ascii_digit()).next()?.to_owned())
        });
        // It must not wait for who reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        let host = format!("127.0.0.1:{}", port.expect("docker-registry says where it listens"));
        Some(Registry { server, host, credentials, log })
    }

    /// Lists what was asked for: `200 GET /v2/…`. The registry notes a request after its answer.
    pub(crate) fn requests(&self) -> Vec<String> {
        // What this asks is noted after all else.
        let mark = "/v2/mark";
        let before = self.log.lock().unwrap().iter().filter(|line| line.ends_with(mark)).count();
        let ask = format!("GET {mark} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        let _ = exchange(&self.host, ask.as_bytes());
        for _ in 0..500 {
            let log = self.log.lock().unwrap().clone();
            if log.iter().filter(|line| line.ends_with(mark)).count() > before {
                return log.into_iter().filter(|line| !line.ends_with(mark)).collect();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("docker-registry keeps no log")
    }

    /// Pushes the image of an OCI layout, bit for bit, with skopeo's further arguments. Tells whether skopeo is
    /// there.
    #[expect(clippy::disallowed_methods, reason = "tests compare with other programs")]
    pub(crate) fn push(&self, layout: &Path, name: &str, more: &[&str]) -> bool {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]).args(more);
        if let Some(credentials) = self.credentials {
            skopeo.args(["--dest-creds", credentials]);
        }
        // What is attached stands in the index too, so the tag says what is meant.
        let index: serde_json::Value =
            serde_json::from_slice(&fs_err::read(layout.join("index.json")).unwrap()).unwrap();
        let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        skopeo.arg(format!("oci:{}:{tag}", layout.display())).arg(format!("docker://{}/{name}", self.host));
        let output = match skopeo.output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("left out: skopeo is not installed");
                return false;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        true
    }

    /// Puts a manifest as it is.
    pub(crate) fn put(&self, name: &str, tag: &str, media_type: &str, manifest: &str) {
        let (host, length) = (&self.host, manifest.len());
        let request = format!(
            "PUT /v2/{name}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{manifest}"
        );
        let answer = String::from_utf8(exchange(host, request.as_bytes())).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
    }
}

fn exchange(host: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// The layout of an image that nodeimg builds, and its manifest's hash.
fn busybox(folder: &Path) -> (PathBuf, Sha256) {
    let mut build = command(PROGRAM);
    build.args(["build", "--lock", "--json", "--out"]).arg(folder.join("out")).arg("images/busybox");
    let told = crate::everywhere::targets(good(&mut build).as_bytes());
    (folder.join("out/busybox/oci"), told[0].2.as_str().unwrap().parse().unwrap())
}

/// A store, and a way to the network.
struct World {
    store: Store,
    network: Network,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(settings: Settings) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        World { store, network: Network::new(settings), _folder: folder }
    }

    fn context<'a>(&'a self, cancel: &'a Cancel) -> Context<'a> {
        Context { network: &self.network, store: &self.store, events: &Silent, cancel }
    }

    fn pull(&self, name: &str) -> Result<(Resolved, Base), Error> {
        let (cancel, reference) = (Cancel::default(), name.parse::<Reference>().unwrap());
        let context = self.context(&cancel);
        let resolved = oci::resolve(&reference, &context)?;
        let base = oci::manifest(&reference, &resolved.digest.hash, Arch::Amd64, &context)?;
        std::thread::scope(|scope| {
            let layers = base
                .layers
                .iter()
                .map(|layer| scope.spawn(|| oci::layer(&reference, &layer.digest, &context)));
            let running: Vec<_> = layers.collect();
            running.into_iter().try_for_each(|layer| layer.join().unwrap().map(drop))
        })?;
        Ok((resolved, base))
    }

    /// Compares what is in the store with the layout that was pushed.
    fn holds(&self, base: &Base, layout: &Path) {
        let blobs =
            [base.manifest, base.config].into_iter().chain(base.layers.iter().map(|layer| layer.digest));
        for digest in blobs {
            let pushed = fs_err::read(layout.join(format!("blobs/sha256/{}", digest.hash))).unwrap();
            assert_eq!(self.store.read_blob(&digest).unwrap(), pushed);
        }
    }
}

#[test]
fn an_image_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(folder.path()) else { return };
    let (layout, manifest) = busybox(folder.path());
    if !registry.push(&layout, "some/busybox:1", &["--preserve-digests"]) {
        return;
    }
    let host = &registry.host;
    let before = registry.requests().len();
    let world = World::new(Settings::default());
    let (resolved, base) = world.pull(&format!("{host}/some/busybox:1")).unwrap();
    assert_eq!(resolved.digest.hash, manifest);
    assert_eq!(resolved.platforms, BTreeMap::from([(Arch::Amd64, manifest)]));
    assert_eq!(base.diff_ids.len(), base.layers.len());
    assert!(base.layers.iter().all(|layer| layer.compression == Compression::Gzip));
    world.holds(&base, &layout);
    // The manifest, the configuration, each layer: nothing twice, and nobody is asked again.
    let asked = registry.requests()[before..].to_vec();
    assert_eq!(asked.len(), 2 + base.layers.len(), "{asked:?}");
    assert_eq!(asked[0], "200 GET /v2/some/busybox/manifests/1");
    let cancel = Cancel::default();
    let (offline, reference) = (Network::offline(), format!("{host}/some/busybox:1").parse().unwrap());
    let context = Context { network: &offline, ..world.context(&cancel) };
    assert_eq!(oci::manifest(&reference, &manifest, Arch::Amd64, &context).unwrap(), base);

    // An index over it, and Docker's form of it.
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        manifest.oci(),
        base.manifest.size
    );
    registry.put("some/busybox", "all", "application/vnd.oci.image.index.v1+json", &index);
    let world = World::new(Settings::default());
    let (resolved, same) = world.pull(&format!("{host}/some/busybox:all")).unwrap();
    assert_eq!(resolved.digest.hash, Sha256::of(index.as_bytes()));
    assert_eq!((resolved.platforms, &same), (BTreeMap::from([(Arch::Amd64, manifest)]), &base));
    registry.push(&layout, "docker/busybox:2", &["--format", "v2s2"]);
    let (_, docker) = world.pull(&format!("{host}/docker/busybox:2")).unwrap();
    assert_eq!(docker.layers[0].media_type, "application/vnd.docker.image.rootfs.diff.tar.gzip");
    assert_eq!(docker.layers[0].digest, base.layers[0].digest);

    // By a mirror, and what is not there.
    let bases = vec![format!("http://{host}/some")];
    let world = World::new(Settings::with_mirrors(BTreeMap::from([("docker.io/library".to_owned(), bases)])));
    world.pull(&format!("busybox@{}", manifest.oci())).unwrap();
    let error = World::new(Settings::default()).pull(&format!("{host}/some/busybox:3")).unwrap_err();
    let want = format!(
        "no registry has `{host}/some/busybox:3`\n  http://{host}/v2/some/busybox/manifests/3: 404 Not Found"
    );
    assert_eq!(error.to_string(), want);
}

#[test]
fn a_private_registry_wants_to_know_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start_private(folder.path()) else { return };
    let (layout, _) = busybox(folder.path());
    if !registry.push(&layout, "busybox:1", &["--preserve-digests"]) {
        return;
    }
    let (host, docker) = (&registry.host, folder.path().join("docker"));
    let name = format!("{host}/busybox:1");
    let error = World::new(Settings::default()).pull(&name).unwrap_err();
    assert_eq!(error.to_string(), format!("`{host}` refuses `{name}` (401 Unauthorized), asked anonymously"));
    fs_err::create_dir_all(&docker).unwrap();
    let login = |secret: &str| {
        let config = format!(r#"{{"auths":{{"{host}":{{"auth":"{secret}"}}}}}}"#);
        fs_err::write(docker.join("config.json"), config).unwrap();
        World::new(Settings::default().with_docker(docker.clone()))
    };
    let world = login("bWU6c2VjcmV0");
    let (_, base) = world.pull(&name).unwrap();
    world.holds(&base, &layout);
    let error = login("bWU6d3Jvbmc=").pull(&name).unwrap_err().to_string();
    let config = docker.join("config.json");
    assert_eq!(
        error,
        format!(
            "`{host}` refuses `{name}` (401 Unauthorized), asked with the credentials from `{}`",
            config.display()
        )
    );
    // Docker's way to keep them out of a file: a program in `PATH`.
    fs_err::write(&config, r#"{"credHelpers":{"HOST":"tests"}}"#.replace("HOST", host)).unwrap();
    let helper = folder.path().join("docker-credential-tests");
    let script = format!(
        "#!/bin/sh\nread -r host\n[ \"$1 $host\" = 'get {host}' ] || exit 1\necho asked >> '{}/asked'\n\
         echo '{{\"ServerURL\":\"'$host'\",\"Username\":\"me\",\"Secret\":\"secret\"}}'\n",
        folder.path().display()
    );
    fs_err::write(&helper, script).unwrap();
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests may add to PATH")]
    let path = std::env::var("PATH").unwrap();
    let mut inside = command(std::env::current_exe().unwrap());
    inside.args(["registry::with_a_helper_in_path", "--exact", "--ignored"]);
    inside
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("DOCKER_CONFIG", &docker)
        .env("PULLED", &name);
    let told = good(&mut inside);
    assert!(told.contains("1 passed"), "{told}");
    assert_eq!(fs_err::read_to_string(folder.path().join("asked")).unwrap(), "asked\n");
}

#[test]
#[ignore = "runs inside `a_private_registry_wants_to_know_who_asks`"]
#[expect(clippy::disallowed_methods, reason = "how that test says it")]
fn with_a_helper_in_path() {
    let docker = std::env::var_os("DOCKER_CONFIG").unwrap();
    let world = World::new(Settings::default().with_docker(docker.into()));
    world.pull(&std::env::var("PULLED").unwrap()).unwrap();
}

#[test]
fn a_broken_connection_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(folder.path()) else { return };
    let (layout, _) = busybox(folder.path());
    if !registry.push(&layout, "busybox:1", &["--preserve-digests"]) {
        return;
    }
    let mirror = format!("http://{}/", cut_once(&registry.host));
    let mirrors = BTreeMap::from([("docker.io/library".to_owned(), vec![mirror])]);
    let world = World::new(Settings::with_mirrors(mirrors));
    let (_, base) = world.pull("busybox:1").unwrap();
    world.holds(&base, &layout);
    let layer = format!("GET /v2/busybox/blobs/{}", base.layers[0].digest.hash.oci());
    let asked: Vec<_> = registry.requests().into_iter().filter(|line| line.ends_with(&layer)).collect();
    assert_eq!(asked, [format!("200 {layer}"), format!("206 {layer}")]);
}

/// Stands before a registry, and cuts the first long answer off. Gives where it listens.
fn cut_once(registry: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (host, registry) = (listener.local_addr().unwrap().to_string(), registry.to_owned());
    let cut = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&registry).unwrap();
            let (mut to, mut from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let cut = Arc::clone(&cut);
            std::thread::spawn(move || answers(&server, &client, &cut));
        }
    });
    host
}

fn answers(mut server: &TcpStream, mut client: &TcpStream, cut: &AtomicBool) {
    let (mut buffer, mut sent) = (vec![0; 16 << 10], 0);
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        sent += count;
        if sent > 100 << 10 && !cut.swap(true, Ordering::SeqCst) {
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

//! Images as those who read them see them.

use std::io::Read as _;
use std::sync::Mutex;

use super::*;
use crate::base::Blame;
use crate::base::event::Silent;
use crate::store::Dir;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { _folder: folder, store }
    }

    fn file(&self, bytes: &[u8], meta: Meta) -> Node {
        Node::File { digest: self.store.put_bytes(bytes).unwrap(), meta }
    }

    /// A layer with all that a tar header has trouble with.
    fn system(&self) -> Tree {
        let mut tree = Tree::default();
        let mut put = |at: &str, node| tree.insert(&path(at), node).unwrap();
        let root = Meta::root(0o644);
        put("/bin", Node::Symlink { target: "usr/bin".into() });
        put("/etc/shadow", self.file(b"secret", Meta { mode: 0o640, uid: 0, gid: 42 }));
        put("/etc/empty", self.file(b"", root));
        put("/tmp", Node::Dir(Dir { meta: Meta::root(0o1777), ..Dir::default() }));
        put("/usr/bin/su", self.file(b"#!su", Meta::root(0o4755)));
        put("/usr/bin/same", self.file(b"#!su", Meta::root(0o755)));
        put("/usr/share/főtanúsítvány.crt", self.file(b"unicode", root));
        put("/usr/share/link", Node::Symlink { target: format!("/{}", "t".repeat(120)).into() });
        put(&format!("/{}", "n".repeat(101)), self.file(b"101", root));
        put(&format!("/{}", "m".repeat(255)), self.file(b"255", root));
        put(&format!("/{0}/{0}/x", "d".repeat(99)), self.file(b"201", root));
        put(&format!("/{0}/{0}/{0}/{0}/y", "e".repeat(99)), self.file(b"401", root));
        put("/var/huge-id", self.file(b"id", Meta { mode: 0o644, uid: 0o10000000, gid: u32::MAX }));
        put("/var/text", self.file("a line of text\n".repeat(100_000).as_bytes(), root));
        put("/var/noise", self.file(&noise(1_500_000), root));
        tree
    }

    fn over(&self) -> Tree {
        let mut tree = Tree::default();
        tree.insert(&path("/tmp/a"), self.file(b"a", Meta::root(0o600))).unwrap();
        tree
    }

    fn spec(&self, layers: &[(&str, Tree)]) -> Spec {
        let layer = |(name, tree): &(&str, Tree)| Layer {
            name: (*name).to_owned(),
            tree: self.store.put_tree(tree).unwrap(),
        };
        Spec {
            assembly: 1,
            platform: Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() },
            reference: "kindest/node:v1".to_owned(),
            config: Config {
                entrypoint: vec!["/entry".to_owned()],
                cmd: vec!["a".to_owned()],
                env: [("PATH", "/usr/bin"), ("A", "b=c")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                user: Some("1:2".to_owned()),
                working_dir: Some(path("/var")),
                stop_signal: Some("SIGINT".to_owned()),
                exposed_ports: ["80/tcp".to_owned()].into(),
                labels: [("z".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            },
            base: None,
            layers: layers.iter().map(layer).collect(),
        }
    }

    fn full(&self) -> Spec {
        self.spec(&[("system", self.system()), ("over", self.over()), ("nothing", Tree::default())])
    }

    fn assemble(&self, spec: &Spec) -> Result<Tree, Error> {
        assemble_on(2, true, &self.store, spec, &Silent, &Cancel::default())
    }

    fn unzipped(&self, blob: &Digest) -> Vec<u8> {
        let bytes = self.store.read_blob(blob).unwrap();
        let mut tar = Vec::new();
        // Reads one member only; what would follow it is an error.
        let mut decoder = flate2::bufread::GzDecoder::new(bytes.as_slice());
        decoder.read_to_end(&mut tar).unwrap();
        assert!(decoder.into_inner().is_empty());
        tar
    }
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(next).collect()
}

/// A tree as a tar archive tells it: path, kind, mode, owners, target or size.
fn told_by_tar(bytes: &[u8]) -> Vec<String> {
    let mut archive = ::tar::Archive::new(bytes);
    let tell = |entry: std::io::Result<::tar::Entry<&[u8]>>| {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let (mut uid, mut gid) = (header.uid().unwrap(), header.gid().unwrap());
        for record in entry.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap) {
            match record.key().unwrap() {
                "uid" => uid = record.value().unwrap().parse().unwrap(),
                "gid" => gid = record.value().unwrap().parse().unwrap(),
                _ => {}
            }
        }
        assert_eq!(
            (header.mtime().unwrap(), header.username(), header.groupname()),
            (0, Ok(Some("")), Ok(Some("")))
        );
        let link = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        format!(
            "{} {:?} {:o} {uid}:{gid} {}",
            entry.path().unwrap().to_str().unwrap(),
            header.entry_type(),
            header.mode().unwrap(),
            link.unwrap_or_else(|| Digest::of(&content).to_string())
        )
    };
    archive.entries().unwrap().map(tell).collect()
}

/// The same, told by the tree.
fn told_by_tree(tree: &Tree) -> Vec<String> {
    let tell = |(at, node): (GuestPath, &Node)| {
        let meta = |meta: &Meta| format!("{:o} {}:{}", meta.mode, meta.uid, meta.gid);
        let nothing = Digest::of(b"");
        match node {
            Node::File { digest, meta: of } => format!("{} Regular {} {digest}", at.relative(), meta(of)),
            Node::Symlink { target } => format!("{} Symlink 777 0:0 {target}", at.relative()),
            Node::Dir(dir) => format!("{}/ Directory {} {nothing}", at.relative(), meta(&dir.meta)),
        }
    };
    tree.walk().map(tell).collect()
}

/// If this test fails, every image ever locked gets another digest: give the new way a new number instead.
#[test]
fn assembly_1_never_moves() {
    let fixture = Fixture::new();
    let image = fixture.assemble(&fixture.full()).unwrap();
    let summary = read(&fixture.store, &image).unwrap();
    let mut told: Vec<_> =
        summary.layers.iter().map(|layer| format!("{} {}", layer.diff_id, layer.blob)).collect();
    told.push(summary.config.to_string());
    told.push(summary.manifest.to_string());
    told.push(fixture.store.put_tree(&image).unwrap().to_string());
    told.push(archive_blob(&fixture.store, &image, &Cancel::default()).unwrap().to_string());
    assert_eq!(
        told,
        [
            "20c8c4cf7b906b4e07a17b1de4f73fa2de4daaf8a88f031031405f9e17b76db2 2ff93a6495fa6186ab9e0abe401b62c0ab55a981261f4fa212a0fcab90579890/1510144",
            "2ca8ef265492a678961cd3f093ca633a6fe5df8131a792a4cbcfcc89ca110ccf 9249414c15bc6e1b86f49995dbaaf4bc22771ff088ff0a24cb075c56b1cf6802/110",
            "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef 3a518a930f0a72b2eeb2cab346e9cd61bde0b411eeaafacc0c9079f5c220cb02/36",
            "2938c55cae1bf3b0131aaf8a92c0bb9f9fbaeb5b4aa14bd7e058e5f6103b4cae/704",
            "dde443cdad12dc223cc69dbdfe96cea70e28130838a496c5f58446b00ab6a6ec/712",
            "8b07fd86b30c7f3e5d408bf8e7a2e0998b7e9a6f33d7ff69379ba54f75ceb2e1/336",
            "3e31b1cc40f588c49602635e0938e35c25eb0b03ead8009dd5dc68186fdd9653/1521152"
        ]
    );
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let fixture = Fixture::new();
    let made = [1, 2, 8].map(|workers| {
        // Each in a store of its own, so that nothing is reused.
        let other = Fixture::new();
        assemble_on(workers, true, &other.store, &other.full(), &Silent, &Cancel::default()).unwrap()
    });
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0], made[2]);
    assert_eq!(made[0], fixture.assemble(&fixture.full()).unwrap());
}

#[test]
fn a_layer_is_its_tree() {
    let fixture = Fixture::new();
    let spec = fixture.full();
    let summary = read(&fixture.store, &fixture.assemble(&spec).unwrap()).unwrap();
    let mut over = fixture.over();
    let Some(Node::Dir(tmp)) = over.entries.get_mut("tmp") else { panic!("`over` has `/tmp`") };
    tmp.meta = Meta::root(0o1777);
    for (layer, tree) in summary.layers.iter().zip([fixture.system(), over, Tree::default()]) {
        let tar = fixture.unzipped(&layer.blob);
        assert_eq!(Digest::of(&tar).hash, layer.diff_id);
        assert_eq!(told_by_tar(&tar), told_by_tree(&tree), "{}", layer.name);
    }
    let names: Vec<_> = summary.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["system", "over", "nothing"]);
    assert_eq!(summary.reference, "docker.io/kindest/node:v1");
    assert_eq!(
        union(&fixture.store, &spec.layers[..2]).unwrap().dir(&path("/tmp")).unwrap().meta.mode,
        0o1777
    );
}

#[test]
fn noise_is_stored_and_text_is_not() {
    let fixture = Fixture::new();
    let packed = |bytes: &[u8]| {
        let mut tree = Tree::default();
        tree.insert(&path("/x"), fixture.file(bytes, Meta::root(0o644))).unwrap();
        let image = fixture.assemble(&fixture.spec(&[("x", tree)])).unwrap();
        read(&fixture.store, &image).unwrap().layers[0].blob.size
    };
    let noise = noise(2 << 20);
    let size = packed(&noise);
    assert!(size > 2 << 20 && size < (2 << 20) + 2000, "{size}");
    assert!(packed(&[b'x'; 2 << 20]) < 20_000);
}

#[test]
fn the_json_is_ocis() {
    let fixture = Fixture::new();
    let image = fixture.assemble(&fixture.full()).unwrap();
    let text = |at: &str| {
        let Some(Node::File { digest, .. }) = image.get(&path(at)) else { panic!("no `{at}`") };
        String::from_utf8(fixture.store.read_blob(digest).unwrap()).unwrap()
    };
    let summary = read(&fixture.store, &image).unwrap();
    let index = oci_spec::image::ImageIndex::from_reader(text("/index.json").as_bytes()).unwrap();
    let annotations = index.manifests()[0].annotations().clone().unwrap();
    assert_eq!(annotations["io.containerd.image.name"], "docker.io/kindest/node:v1");
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "v1");
    assert_eq!(index.manifests()[0].digest().to_string(), summary.manifest.hash.oci());
    let manifest = text(&blob_path(&summary.manifest));
    let manifest = oci_spec::image::ImageManifest::from_reader(manifest.as_bytes()).unwrap();
    assert_eq!(manifest.layers().len(), 3);
    assert!(
        manifest
            .layers()
            .iter()
            .all(|layer| layer.media_type() == &oci_spec::image::MediaType::ImageLayerGzip)
    );
    let config = text(&blob_path(&summary.config));
    oci_spec::image::ImageConfiguration::from_reader(config.as_bytes()).unwrap();
    let [a, b, c] = &summary.layers[..] else { panic!("three layers") };
    let history = |name| format!(r#"{{"created":"1970-01-01T00:00:00Z","created_by":"{name}"}}"#);
    assert_eq!(
        config,
        format!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{{"User":"1:2","ExposedPorts":{{"80/tcp":{{}}}},"Env":["A=b=c","PATH=/usr/bin"],"Entrypoint":["/entry"],"Cmd":["a"],"WorkingDir":"/var","Labels":{{"b":"2","z":"1"}},"StopSignal":"SIGINT"}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}","sha256:{}","sha256:{}"]}},"history":[{},{},{}]}}"#,
            a.diff_id,
            b.diff_id,
            c.diff_id,
            history("system"),
            history("over"),
            history("nothing"),
        )
    );
    assert_eq!(
        text("/manifest.json"),
        format!(
            r#"[{{"Config":"blobs/sha256/{}","RepoTags":["docker.io/kindest/node:v1"],"Layers":["blobs/sha256/{}","blobs/sha256/{}","blobs/sha256/{}"]}}]"#,
            summary.config.hash, a.blob.hash, b.blob.hash, c.blob.hash
        )
    );
    assert_eq!(text("/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    // Every blob is one that is named, so nothing dangles and nothing is left over.
    assert_eq!(image.files().count(), 3 + 2 + 3);
}

#[test]
fn an_archive_begins_with_what_says_where_things_are() {
    let fixture = Fixture::new();
    let image = fixture.assemble(&fixture.spec(&[("over", fixture.over())])).unwrap();
    let mut bytes = Vec::new();
    archive(&fixture.store, &image, &mut bytes, &Cancel::default()).unwrap();
    let told = told_by_tar(&bytes);
    let starts = ["index.json ", "manifest.json ", "oci-layout ", "blobs/ ", "blobs/sha256/ "];
    assert!(starts.iter().zip(&told).all(|(start, told)| told.starts_with(start)), "{told:#?}");
    let mut sorted = told;
    sorted.sort();
    let mut want = told_by_tree(&image);
    want.sort();
    assert_eq!(sorted, want);
    let blob = archive_blob(&fixture.store, &image, &Cancel::default()).unwrap();
    assert_eq!(fixture.store.read_blob(&blob).unwrap(), bytes);
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Sink for Heard {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn a_layer_is_made_once() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&[("system", fixture.system())]);
    let outcome = |spec: &Spec| {
        let heard = Heard::default();
        assemble_on(2, true, &fixture.store, spec, &heard, &Cancel::default()).unwrap();
        let events = heard.0.into_inner().unwrap();
        let started = Some(fixture.system().size());
        assert!(
            matches!(&events[0], Event::Started { kind: Activity::Assemble, name, total, .. } if name == "layer system" && *total == started)
        );
        let moved = events.iter().filter(|event| matches!(event, Event::Progress { .. })).count();
        let Some(Event::Finished { outcome, .. }) = events.last() else { panic!("no end") };
        (*outcome, moved)
    };
    assert_eq!(outcome(&spec), (Outcome::Done, 3));
    // Another name and configuration are no other layer.
    let other = Spec { reference: "other:1".to_owned(), config: Config::default(), ..spec.clone() };
    assert_eq!(outcome(&other), (Outcome::Reused, 0));
    let image = fixture.assemble(&spec).unwrap();
    let layer = read(&fixture.store, &image).unwrap().layers.remove(0).blob;
    let hex = layer.hash.to_string();
    fs_err::remove_file(fixture.store.path().join("blobs").join(&hex[..2]).join(&hex[2..])).unwrap();
    assert_eq!(outcome(&spec), (Outcome::Done, 3));
    assert!(fixture.store.has_blob(&layer));
}

#[test]
fn what_is_wrong_is_said() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&[("over", fixture.over())]);
    let refused = |spec: Spec| {
        let error = fixture.assemble(&spec).unwrap_err();
        assert_eq!(error.blame(), Blame::Input);
        error.to_string()
    };
    assert_eq!(
        refused(Spec { assembly: 2, ..spec.clone() }),
        "assembly `2` is not known; this nodeimg knows `1`"
    );
    assert_eq!(refused(Spec { layers: Vec::new(), ..spec.clone() }), "image `kindest/node:v1` has no layer");
    assert_eq!(
        refused(Spec { reference: "kindest/node".to_owned(), ..spec.clone() }),
        "`kindest/node` is no image name: it has no tag"
    );
    let error = read(&fixture.store, &fixture.over()).unwrap_err();
    assert_eq!(error.to_string(), "tree is no image: `/index.json` is missing");
    let mut image = fixture.assemble(&spec).unwrap();
    image.insert(&path("/index.json"), fixture.file(b"{}", Meta::root(0o644))).unwrap();
    let error = read(&fixture.store, &image).unwrap_err();
    assert!(
        error.to_string().starts_with("tree is no image: `/index.json` does not parse: missing field"),
        "{error}"
    );
}

#[test]
fn a_stop_or_a_lost_blob_leaves_no_layer() {
    let fixture = Fixture::new();
    let spec = fixture.spec(&[("system", fixture.system())]);
    let stopped = Cancel::default();
    stopped.cancel();
    let error = assemble_on(2, true, &fixture.store, &spec, &Silent, &stopped).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    let lost = Digest::of("a line of text\n".repeat(100_000).as_bytes());
    let hex = lost.hash.to_string();
    let file = fixture.store.path().join("blobs").join(&hex[..2]).join(&hex[2..]);
    let blobs = || fixture.store.list().unwrap().kinds.get(&crate::store::Kind::Blob).unwrap().objects;
    let before = blobs();
    // Damage that only the hash shows: same size, same times.
    let mut bytes = fs_err::read(&file).unwrap();
    bytes[1_000_000] ^= 1;
    fs_err::write(&file, bytes).unwrap();
    let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    fs_err::OpenOptions::new().write(true).open(&file).unwrap().file().set_times(times).unwrap();
    let error = fixture.assemble(&spec).unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.is_lost()), "{error:?}");
    assert_eq!(blobs(), before - 1);
    let error = fixture.assemble(&spec).unwrap_err();
    assert_eq!(error.to_string(), format!("`{lost}` is not in the store"));
}

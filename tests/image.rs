//! Images as other programs read them: skopeo and umoci (Debian packages of these names), where installed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Output;

use nodeimg::base::event::Silent;
use nodeimg::base::{Cancel, GuestPath};
use nodeimg::export::{self, Shape};
use nodeimg::image::{self, Config, Layer, Platform, Spec, Summary};
use nodeimg::store::{Dir, Meta, Node, Store, Tree};

struct Fixture {
    folder: tempfile::TempDir,
    summary: Summary,
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

impl Fixture {
    /// An image as a layout at `oci` and as an archive at `image.tar`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let layer = |name: &str, nodes: &[(&str, Node)]| {
            let mut tree = Tree::default();
            nodes.iter().for_each(|(at, node)| tree.insert(&path(at), node.clone()).unwrap());
            Layer { name: name.to_owned(), tree: store.put_tree(&tree).unwrap() }
        };
        let file = |text: &str, mode| Node::File {
            digest: store.put_bytes(text.repeat(50_000).as_bytes()).unwrap(),
            meta: Meta::root(mode),
        };
        let tmp = Node::Dir(Dir { meta: Meta::root(0o1777), ..Dir::default() });
        let long = format!("/{0}/{0}/{0}/{0}/x", "d".repeat(99));
        let layers = vec![
            layer(
                "system",
                &[
                    ("/tmp", tmp),
                    ("/usr/bin/su", file("su", 0o4755)),
                    ("/bin", Node::Symlink { target: "usr/bin".into() }),
                    (&long, file("long", 0o644)),
                    ("/usr/share/főtanúsítvány.crt", file("unicode", 0o600)),
                ],
            ),
            layer("empty", &[]),
            layer("over", &[("/tmp/a", file("a", 0o640)), ("/usr/bin/su", file("sudo", 0o4711))]),
        ];
        let spec = Spec {
            assembly: image::ASSEMBLY,
            platform: Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() },
            reference: "example/test:1.0".to_owned(),
            config: Config { entrypoint: vec!["/bin/su".to_owned()], ..Config::default() },
            base: None,
            layers,
        };
        let cancel = Cancel::default();
        let tree = image::assemble(&store, &spec, &Silent, &cancel).unwrap();
        let digest = store.put_tree(&tree).unwrap();
        for (form, name) in [(Shape::OCI_LAYOUT, "oci"), (Shape::ARCHIVE, "image.tar")] {
            export::export(&store, form, &digest, &folder.path().join(name), &cancel).unwrap();
        }
        Self { summary: image::read(&store, &tree).unwrap(), folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program in the folder; nothing if it is not installed.
    #[expect(clippy::disallowed_methods, reason = "the point is that another program reads the image")]
    fn run(&self, words: &str) -> Option<String> {
        let mut words = words.split(' ');
        let program = words.next().unwrap();
        match std::process::Command::new(program).args(words).current_dir(self.path()).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: `{program}` is not installed");
                None
            }
            run => {
                let Output { status, stdout, stderr } = run.unwrap();
                assert!(status.success(), "{program}: {}", String::from_utf8_lossy(&stderr));
                Some(String::from_utf8(stdout).unwrap())
            }
        }
    }
}

#[test]
fn skopeo_reads_every_form() {
    let fixture = Fixture::new();
    let Some(told) = fixture.run("skopeo inspect oci:oci:1.0") else { return };
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["Digest"], fixture.summary.manifest.hash.oci());
    let layers: Vec<_> = fixture.summary.layers.iter().map(|layer| layer.blob.hash.oci()).collect();
    assert_eq!(told["Layers"], serde_json::json!(layers));
    let oci_archive = fixture.run("skopeo inspect --format {{.Digest}} oci-archive:image.tar").unwrap();
    assert_eq!(oci_archive.trim(), fixture.summary.manifest.hash.oci());
    fixture
        .run("skopeo --insecure-policy copy -q docker-archive:image.tar:example/test:1.0 dir:copy")
        .unwrap();
    // The copy names the configuration that Docker would name the image by.
    let copied = fs_err::read_to_string(fixture.path().join("copy/manifest.json")).unwrap();
    assert!(copied.contains(&fixture.summary.config.hash.oci()), "{copied}");
}

#[test]
fn umoci_unpacks_what_went_in() {
    let fixture = Fixture::new();
    if fixture.run("umoci unpack --rootless --image oci:1.0 bundle").is_none() {
        return;
    }
    let root = fixture.path().join("bundle/rootfs");
    let mode = |at: &str| fs_err::symlink_metadata(root.join(at)).unwrap().mode() & 0o7777;
    assert_eq!(mode("tmp"), 0o1777);
    assert_eq!(mode("tmp/a"), 0o640);
    assert_eq!(mode("usr/bin/su"), 0o4711);
    assert_eq!(mode("usr/share/főtanúsítvány.crt"), 0o600);
    assert_eq!(fs_err::read_to_string(root.join("bin/su")).unwrap(), "sudo".repeat(50_000));
    let long = format!("{0}/{0}/{0}/{0}/x", "d".repeat(99));
    assert_eq!(fs_err::read_to_string(root.join(long)).unwrap(), "long".repeat(50_000));
}

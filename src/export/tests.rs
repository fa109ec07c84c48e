//! Outputs as the file system shows them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use miette::Diagnostic as _;

use super::*;
use crate::base::event::Silent;
use crate::base::{Blame, GuestPath};
use crate::image::{self, Config, Layer, Platform, Spec};
use crate::store::{Meta, Node, Tree};

struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, store }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn tree(&self, text: &str) -> Tree {
        let mut tree = Tree::default();
        for (at, mode) in [("/bin/tool", 0o755), ("/share/text", 0o644)] {
            let digest = self.store.put_bytes(format!("{at} {text}").as_bytes()).unwrap();
            tree.insert(&path(at), Node::File { digest, meta: Meta::root(mode) }).unwrap();
        }
        tree.insert(&path("/link"), Node::Symlink { target: "bin/tool".into() }).unwrap();
        tree
    }

    fn files(&self, text: &str) -> Digest {
        self.store.put_tree(&self.tree(text)).unwrap()
    }

    /// An image of two layers, of which the first does not depend on `text`.
    fn image(&self, text: &str) -> Digest {
        let layer = |text: &str| Layer { name: text.to_owned(), tree: self.files(text) };
        let spec = Spec {
            assembly: image::ASSEMBLY,
            platform: Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() },
            reference: "example/a:1".to_owned(),
            config: Config::default(),
            base: None,
            layers: vec![layer("base"), layer(text)],
        };
        let tree = image::assemble(&self.store, &spec, &Silent, &Cancel::default()).unwrap();
        self.store.put_tree(&tree).unwrap()
    }

    fn export(&self, shape: Shape, tree: &Digest, name: &str) -> Result<Outcome, Error> {
        export(&self.store, shape, tree, &self.out(name), &Cancel::default())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hash.to_string();
        self.store.path().join("blobs").join(&hex[..2]).join(&hex[2..])
    }
}

/// Every file below a folder with its content; a link with its target.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn go(folder: &Path, at: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs_err::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let at = format!("{at}/{}", entry.file_name().to_str().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                go(&entry.path(), &at, found);
            } else if kind.is_symlink() {
                found.insert(
                    at,
                    fs_err::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes(),
                );
            } else {
                found.insert(at, fs_err::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    go(folder, "", &mut found);
    found
}

/// What a tree's files should look like.
fn wanted(store: &Store, tree: &Digest) -> BTreeMap<String, Vec<u8>> {
    let tell = |(at, node): (GuestPath, &Node)| match node {
        Node::File { digest, .. } => Some((at.to_string(), store.read_blob(digest).unwrap())),
        Node::Symlink { target } => Some((at.to_string(), target.as_bytes().to_vec())),
        Node::Dir(_) => None,
    };
    store.tree(tree).unwrap().walk().filter_map(tell).collect()
}

#[test]
fn a_layout_becomes_exactly_the_image() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.image("one"), fixture.image("two"));
    let out = fixture.out("image/oci");
    assert_eq!(fixture.export(Shape::OCI_LAYOUT, &one, "image/oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &one));
    let base = image::read(&fixture.store, &fixture.store.tree(&one).unwrap()).unwrap().layers[0].blob;
    let base = out.join("blobs/sha256").join(base.hash.to_string());
    let inode = fs_err::metadata(&base).unwrap().ino();
    assert_eq!(fixture.export(Shape::OCI_LAYOUT, &two, "image/oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &two));
    assert_eq!(fs_err::metadata(&base).unwrap().ino(), inode, "the shared layer was written again");
}

#[test]
fn an_interrupted_layout_is_the_old_image_and_can_be_done_again() {
    let fixture = Fixture::new();
    let one = fixture.image("one");
    let out = fixture.out("oci");
    fixture.export(Shape::OCI_LAYOUT, &one, "oci").unwrap();
    // Whichever file fails, what the old index names is there.
    for number in 0..5 {
        let two = fixture.image(&format!("two {number}"));
        let tree = fixture.store.tree(&two).unwrap();
        let summary = image::read(&fixture.store, &tree).unwrap();
        let top = |name| tree.files().find(|(at, ..)| *at == path(name)).unwrap().1;
        let lost = match number {
            0 => summary.manifest,
            1 => summary.config,
            2 => summary.layers[1].blob,
            3 => top("/manifest.json"),
            _ => top("/index.json"),
        };
        let kept = fs_err::read(fixture.blob(&lost)).unwrap();
        fs_err::remove_file(fixture.blob(&lost)).unwrap();
        let error = fixture.export(Shape::OCI_LAYOUT, &two, "oci").unwrap_err();
        assert_eq!(error.to_string(), format!("`{lost}` is not in the store"));
        let (now, old) = (content(&out), wanted(&fixture.store, &one));
        for (name, bytes) in old.iter().filter(|(name, _)| number != 4 || *name != "/manifest.json") {
            assert_eq!(now.get(name), Some(bytes), "{name}");
        }
        assert!(!is_current(Shape::OCI_LAYOUT, &one, &out), "what is half new passes for the old");
        assert_eq!(fixture.store.put_bytes(&kept).unwrap(), lost);
    }
    let two = fixture.image("two");
    // A killed process leaves a temporary file.
    fs_err::write(out.join("blobs/sha256/.0123.new"), "half").unwrap();
    assert_eq!(fixture.export(Shape::OCI_LAYOUT, &two, "oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &two));
}

#[test]
fn a_cut_blob_is_written_again() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    fixture.export(Shape::OCI_LAYOUT, &image, "oci").unwrap();
    let out = fixture.out("oci");
    let layer = image::read(&fixture.store, &fixture.store.tree(&image).unwrap()).unwrap().layers[0].blob;
    fs_err::write(out.join("blobs/sha256").join(layer.hash.to_string()), "cut").unwrap();
    assert!(!is_current(Shape::OCI_LAYOUT, &image, &out));
    assert_eq!(fixture.export(Shape::OCI_LAYOUT, &image, "oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &image));
}

#[test]
fn nothing_is_written_through_a_link() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    let elsewhere = fixture.folder.path().join("elsewhere");
    fs_err::create_dir_all(elsewhere.join("sha256")).unwrap();
    let out = fixture.out("oci");
    fs_err::create_dir_all(&out).unwrap();
    fs_err::write(out.join("oci-layout"), "").unwrap();
    fs_err::os::unix::fs::symlink(&elsewhere, out.join("blobs")).unwrap();
    let error = fixture.export(Shape::OCI_LAYOUT, &image, "oci").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is in the way: it is no directory", out.join("blobs").display())
    );
    // The folder itself, and a blob.
    fs_err::os::unix::fs::symlink(&elsewhere, fixture.out("link")).unwrap();
    for form in [Shape::OCI_LAYOUT, Shape::FILES] {
        let error = fixture.export(form, &image, "link").unwrap_err();
        assert!(error.to_string().ends_with("link` is in the way: it is no directory"), "{error}");
    }
    fs_err::remove_file(out.join("blobs")).unwrap();
    fs_err::create_dir_all(out.join("blobs/sha256")).unwrap();
    let victim = elsewhere.join("victim");
    for (_, blob, _) in fixture.store.tree(&image).unwrap().files() {
        fs_err::write(&victim, "v").unwrap();
        let _ = fs_err::os::unix::fs::symlink(&victim, out.join("blobs/sha256").join(blob.hash.to_string()));
    }
    fixture.export(Shape::OCI_LAYOUT, &image, "oci").unwrap();
    assert_eq!(content(&out), wanted(&fixture.store, &image));
    assert_eq!(fs_err::read_to_string(&victim).unwrap(), "v");
    assert_eq!(content(&elsewhere).len(), 1);
}

#[test]
fn what_others_wrote_is_not_replaced() {
    let fixture = Fixture::new();
    let (image, files) = (fixture.image("one"), fixture.files("one"));
    let mine = fixture.out("mine");
    fs_err::create_dir_all(&mine).unwrap();
    fs_err::write(mine.join("thesis"), "years").unwrap();
    let refused = |form, tree| {
        // Twice: having been refused is no claim.
        let first = fixture.export(form, tree, "mine").unwrap_err();
        let second = fixture.export(form, tree, "mine").unwrap_err();
        assert_eq!(first.to_string(), second.to_string());
        assert_eq!(
            first.help().unwrap().to_string(),
            "remove it or move it away, or name another folder with `--out`"
        );
        first
            .to_string()
            .strip_prefix(&format!("`{}` is in the way: it is ", mine.display()))
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        refused(Shape::OCI_LAYOUT, &image),
        "a directory with other things in it and no OCI image layout"
    );
    assert_eq!(refused(Shape::FILES, &files), "a directory with things in it that nodeimg did not write");
    assert_eq!(refused(Shape::ARCHIVE, &image), "no regular file");
    assert_eq!(content(&mine).len(), 1);
    let error = fixture.export(Shape::ARCHIVE, &image, "..").unwrap_err();
    assert!(error.to_string().ends_with("out/..` is no place for an output"), "{error}");
}

#[test]
fn files_are_replaced_as_a_whole() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.files("one"), fixture.files("two"));
    let out = fixture.out("crun");
    fixture.export(Shape::FILES, &one, "crun").unwrap();
    assert_eq!(content(&out), wanted(&fixture.store, &one));
    assert_eq!(fs_err::metadata(out.join("bin/tool")).unwrap().mode() & 0o7777, 0o755);
    fs_err::write(out.join("extra"), "x").unwrap();
    assert!(!is_current(Shape::FILES, &one, &out), "a new file was not noticed");
    fixture.export(Shape::FILES, &two, "crun").unwrap();
    assert_eq!(content(&out), wanted(&fixture.store, &two));
    let lost = fixture.store.tree(&one).unwrap().files().next().unwrap().1;
    fs_err::remove_file(fixture.blob(&lost)).unwrap();
    fixture.export(Shape::FILES, &one, "crun").unwrap_err();
    assert_eq!(content(&out), wanted(&fixture.store, &two), "a failure took the old files");
    let mut beside: Vec<_> =
        fs_err::read_dir(fixture.out("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, [".crun.nodeimg", "crun"]);
}

#[test]
fn an_archive_is_replaced_in_one_step() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.image("one"), fixture.image("two"));
    let out = fixture.out("image.tar");
    fixture.export(Shape::ARCHIVE, &one, "image.tar").unwrap();
    let first = fs_err::read(&out).unwrap();
    let blob =
        image::archive_blob(&fixture.store, &fixture.store.tree(&one).unwrap(), &Cancel::default()).unwrap();
    assert_eq!(Digest::of(&first), blob);
    let lost = image::read(&fixture.store, &fixture.store.tree(&two).unwrap()).unwrap().config;
    let kept = fs_err::read(fixture.blob(&lost)).unwrap();
    fs_err::remove_file(fixture.blob(&lost)).unwrap();
    fixture.export(Shape::ARCHIVE, &two, "image.tar").unwrap_err();
    assert_eq!(fs_err::read(&out).unwrap(), first);
    assert_eq!(content(&fixture.out("")).len(), 2, "a temporary file was left");
    fixture.store.put_bytes(&kept).unwrap();
    fixture.export(Shape::ARCHIVE, &two, "image.tar").unwrap();
    assert_ne!(fs_err::read(&out).unwrap(), first);
}

#[test]
fn damage_does_not_leave_the_program() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    let layer = image::read(&fixture.store, &fixture.store.tree(&image).unwrap()).unwrap().layers[1].blob;
    let good = fs_err::read(fixture.blob(&layer)).unwrap();
    for (form, name) in [(Shape::OCI_LAYOUT, "oci"), (Shape::ARCHIVE, "image.tar")] {
        let mut bytes = good.clone();
        bytes[20] ^= 1;
        fs_err::write(fixture.blob(&layer), bytes).unwrap();
        let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        fs_err::OpenOptions::new()
            .write(true)
            .open(fixture.blob(&layer))
            .unwrap()
            .file()
            .set_times(times)
            .unwrap();
        let error = fixture.export(form, &image, name).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("blob `{layer}` in the store was damaged and has been removed")
        );
        assert!(!fixture.out("image.tar").exists() && !fixture.out("oci/index.json").exists());
        fixture.store.put_bytes(&good).unwrap();
    }
}

#[test]
fn a_stamp_tells_what_changed() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    for (form, name, file) in
        [(Shape::OCI_LAYOUT, "oci", "oci/index.json"), (Shape::ARCHIVE, "image.tar", "image.tar")]
    {
        let out = fixture.out(name);
        assert!(!is_current(form, &image, &out));
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Done);
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Reused);
        assert!(!is_current(Shape::FILES, &image, &out) && !is_current(form, &fixture.files("one"), &out));
        let same = fs_err::read(fixture.out(file)).unwrap();
        // The same bytes again, in place: only the times show it.
        fs_err::write(fixture.out(file), &same).unwrap();
        assert!(!is_current(form, &image, &out), "{file}");
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Done);
        fs_err::remove_file(fixture.out(file)).unwrap();
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Done);
        fs_err::write(fixture.out(&format!(".{name}.nodeimg")), "{").unwrap();
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Done);
        assert!(is_current(form, &image, &out));
    }
}

#[test]
fn a_second_writer_waits_and_reuses() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    let done = std::thread::scope(|scope| {
        let run = || fixture.export(Shape::ARCHIVE, &image, "image.tar").unwrap();
        let others: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        others.into_iter().map(|other| other.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(done.iter().filter(|outcome| **outcome == Outcome::Done).count(), 1);
    let stopped = Cancel::default();
    stopped.cancel();
    let error =
        export(&fixture.store, Shape::ARCHIVE, &image, &fixture.out("other.tar"), &stopped).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert!(!fixture.out("other.tar").exists());
}

#[test]
fn texts() {
    let full = Error::from_io("write", Path::new("/out/x"), rustix::io::Errno::NOSPC.into());
    assert_eq!(full.to_string(), "no space left to write `/out/x`");
    assert_eq!(
        full.help().unwrap().to_string(),
        "free some space, or name a folder on a larger file system with `--out`"
    );
    let other = Error::from_io("open", Path::new("/out/x"), rustix::io::Errno::ACCESS.into());
    assert_eq!(other.to_string(), "cannot open `/out/x`");
}

#[test]
fn forms_are_found_by_name() {
    let engine = Settings::at("unix:///nowhere/docker.sock");
    let here = Here { engine: &engine, containerd: "/nowhere/containerd.sock" };
    let refused = |text: &str| {
        let error = open(text, &here).err().unwrap();
        (error.to_string(), error.help().unwrap().to_string(), error.blame())
    };
    assert_eq!(
        refused("tarball"),
        (
            "`tarball` is no form that an image can leave in".to_owned(),
            "forms are `oci`, `archive`, `docker`, `kind`, `containerd`".to_owned(),
            Blame::Usage
        )
    );
    assert_eq!(
        refused("kind="),
        (
            "`kind=` names no place".to_owned(),
            "write `kind=CLUSTER`, or `kind` for the usual place".to_owned(),
            Blame::Usage
        )
    );
    for form in ["docker", "kind=dev"] {
        let text = refused(form).0;
        assert!(text.starts_with("no Docker answers at `unix:///nowhere/docker.sock`\n"), "{text}");
    }
    assert_eq!(refused("docker=ftp://x").2, Blame::Usage);
    let (text, help, blame) = refused("containerd=k8s.io");
    assert_eq!(
        (text.as_str(), blame),
        ("no containerd answers at `/nowhere/containerd.sock`", Blame::Machine)
    );
    assert!(help.ends_with("with `CONTAINERD_ADDRESS` or `containerd=NAMESPACE@SOCKET`"), "{help}");
    assert_eq!(refused("containerd=a@/other.sock").0, "no containerd answers at `/other.sock`");
    assert_eq!(refused("containerd=a/b").0, "`a/b` is no namespace of containerd");
    for form in USUAL {
        assert!(open(form, &here).unwrap().file().is_some());
    }
}

#[test]
fn an_image_lies_where_it_is_asked_for() {
    let fixture = Fixture::new();
    let tree = fixture.image("one");
    let here = Here { engine: &Settings::default(), containerd: "" };
    let folder = fixture.out("image");
    let attached = Attached { layout: tree, archive: tree };
    let image = Image { tree: &tree, attached, folder: &folder };
    let put =
        |text: &str| open(text, &here).unwrap().put(&fixture.store, &image, &Cancel::default()).unwrap();
    let elsewhere = fixture.out("elsewhere.tar");
    assert_eq!(put(&format!("archive={}", elsewhere.display())), Put { outcome: Outcome::Done, sent: None });
    assert_eq!(put("archive"), Put { outcome: Outcome::Done, sent: None });
    assert_eq!(put("archive"), Put { outcome: Outcome::Reused, sent: None });
    assert_eq!(fs_err::read(elsewhere).unwrap(), fs_err::read(folder.join("image.tar")).unwrap());
    assert_eq!(put("oci").outcome, Outcome::Done);
    assert!(folder.join("oci/index.json").exists());
}

#[test]
fn blobs_that_a_receiver_has_are_left_out() {
    let fixture = Fixture::new();
    let tree = fixture.store.tree(&fixture.image("one")).unwrap();
    let summary = image::read(&fixture.store, &tree).unwrap();
    let (whole, all) = pipe::without(&tree, &Default::default());
    assert_eq!((&whole, all), (&tree, summary.size()));
    let base = summary.layers[0].blob;
    let (rest, size) = pipe::without(&tree, &[base.hash].into());
    assert_eq!(size, summary.size() - base.size);
    assert!(rest.get(&path(&format!("/blobs/sha256/{}", base.hash))).is_none());
    assert_eq!(rest.files().count(), tree.files().count() - 1);
    let (written, got) = pipe::stream(&fixture.store, &rest, &Cancel::default(), |mut chunks| {
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            bytes.extend(chunk.unwrap());
        }
        bytes
    });
    written.unwrap();
    let mut direct = Vec::new();
    image::archive(&fixture.store, &rest, &mut direct, &Cancel::default()).unwrap();
    assert!(got == direct);
}

//! Outputs as the file system shows them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use miette::Diagnostic as _;

use super::*;
use crate::base::GuestPath;
use crate::base::event::Silent;
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
            layers: vec![layer("base"), layer(text)],
        };
        let tree = image::assemble(&self.store, &spec, &Silent, &Cancel::default()).unwrap();
        self.store.put_tree(&tree).unwrap()
    }

    fn export(&self, form: Form, tree: &Digest, name: &str) -> Result<Outcome, Error> {
        export(&self.store, form, tree, &self.out(name), &Cancel::default())
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
    assert_eq!(fixture.export(Form::OciLayout, &one, "image/oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &one));
    let base = image::read(&fixture.store, &fixture.store.tree(&one).unwrap()).unwrap().layers[0].blob;
    let base = out.join("blobs/sha256").join(base.hash.to_string());
    let inode = fs_err::metadata(&base).unwrap().ino();
    assert_eq!(fixture.export(Form::OciLayout, &two, "image/oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &two));
    assert_eq!(fs_err::metadata(&base).unwrap().ino(), inode, "the shared layer was written again");
}

#[test]
fn an_interrupted_layout_is_the_old_image_and_can_be_done_again() {
    let fixture = Fixture::new();
    let one = fixture.image("one");
    let out = fixture.out("oci");
    fixture.export(Form::OciLayout, &one, "oci").unwrap();
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
        let error = fixture.export(Form::OciLayout, &two, "oci").unwrap_err();
        assert_eq!(error.to_string(), format!("`{lost}` is not in the store"));
        let (now, old) = (content(&out), wanted(&fixture.store, &one));
        for (name, bytes) in old.iter().filter(|(name, _)| number != 4 || *name != "/manifest.json") {
            assert_eq!(now.get(name), Some(bytes), "{name}");
        }
        assert!(!is_current(Form::OciLayout, &one, &out), "what is half new passes for the old");
        assert_eq!(fixture.store.put_bytes(&kept).unwrap(), lost);
    }
    let two = fixture.image("two");
    // A killed process leaves a temporary file.
    fs_err::write(out.join("blobs/sha256/.0123.new"), "half").unwrap();
    assert_eq!(fixture.export(Form::OciLayout, &two, "oci").unwrap(), Outcome::Done);
    assert_eq!(content(&out), wanted(&fixture.store, &two));
}

#[test]
fn a_cut_blob_is_written_again() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    fixture.export(Form::OciLayout, &image, "oci").unwrap();
    let out = fixture.out("oci");
    let layer = image::read(&fixture.store, &fixture.store.tree(&image).unwrap()).unwrap().layers[0].blob;
    fs_err::write(out.join("blobs/sha256").join(layer.hash.to_string()), "cut").unwrap();
    assert!(!is_current(Form::OciLayout, &image, &out));
    assert_eq!(fixture.export(Form::OciLayout, &image, "oci").unwrap(), Outcome::Done);
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
    let error = fixture.export(Form::OciLayout, &image, "oci").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is in the way: it is no directory", out.join("blobs").display())
    );
    // The folder itself, and a blob.
    fs_err::os::unix::fs::symlink(&elsewhere, fixture.out("link")).unwrap();
    for form in [Form::OciLayout, Form::Files] {
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
    fixture.export(Form::OciLayout, &image, "oci").unwrap();
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
        refused(Form::OciLayout, &image),
        "a directory with other things in it and no OCI image layout"
    );
    assert_eq!(refused(Form::Files, &files), "a directory with things in it that nodeimg did not write");
    assert_eq!(refused(Form::Archive, &image), "no regular file");
    assert_eq!(content(&mine).len(), 1);
    let error = fixture.export(Form::Archive, &image, "..").unwrap_err();
    assert!(error.to_string().ends_with("out/..` is no place for an output"), "{error}");
}

#[test]
fn files_are_replaced_as_a_whole() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.files("one"), fixture.files("two"));
    let out = fixture.out("crun");
    fixture.export(Form::Files, &one, "crun").unwrap();
    assert_eq!(content(&out), wanted(&fixture.store, &one));
    assert_eq!(fs_err::metadata(out.join("bin/tool")).unwrap().mode() & 0o7777, 0o755);
    fs_err::write(out.join("extra"), "x").unwrap();
    assert!(!is_current(Form::Files, &one, &out), "a new file was not noticed");
    fixture.export(Form::Files, &two, "crun").unwrap();
    assert_eq!(content(&out), wanted(&fixture.store, &two));
    let lost = fixture.store.tree(&one).unwrap().files().next().unwrap().1;
    fs_err::remove_file(fixture.blob(&lost)).unwrap();
    fixture.export(Form::Files, &one, "crun").unwrap_err();
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
    fixture.export(Form::Archive, &one, "image.tar").unwrap();
    let first = fs_err::read(&out).unwrap();
    let blob =
        image::archive_blob(&fixture.store, &fixture.store.tree(&one).unwrap(), &Cancel::default()).unwrap();
    assert_eq!(Digest::of(&first), blob);
    let lost = image::read(&fixture.store, &fixture.store.tree(&two).unwrap()).unwrap().config;
    let kept = fs_err::read(fixture.blob(&lost)).unwrap();
    fs_err::remove_file(fixture.blob(&lost)).unwrap();
    fixture.export(Form::Archive, &two, "image.tar").unwrap_err();
    assert_eq!(fs_err::read(&out).unwrap(), first);
    assert_eq!(content(&fixture.out("")).len(), 2, "a temporary file was left");
    fixture.store.put_bytes(&kept).unwrap();
    fixture.export(Form::Archive, &two, "image.tar").unwrap();
    assert_ne!(fs_err::read(&out).unwrap(), first);
}

#[test]
fn damage_does_not_leave_the_program() {
    let fixture = Fixture::new();
    let image = fixture.image("one");
    let layer = image::read(&fixture.store, &fixture.store.tree(&image).unwrap()).unwrap().layers[1].blob;
    let good = fs_err::read(fixture.blob(&layer)).unwrap();
    for (form, name) in [(Form::OciLayout, "oci"), (Form::Archive, "image.tar")] {
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
        [(Form::OciLayout, "oci", "oci/index.json"), (Form::Archive, "image.tar", "image.tar")]
    {
        let out = fixture.out(name);
        assert!(!is_current(form, &image, &out));
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Done);
        assert_eq!(fixture.export(form, &image, name).unwrap(), Outcome::Reused);
        assert!(!is_current(Form::Files, &image, &out) && !is_current(form, &fixture.files("one"), &out));
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
        let run = || fixture.export(Form::Archive, &image, "image.tar").unwrap();
        let others: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        others.into_iter().map(|other| other.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(done.iter().filter(|outcome| **outcome == Outcome::Done).count(), 1);
    let stopped = Cancel::default();
    stopped.cancel();
    let error =
        export(&fixture.store, Form::Archive, &image, &fixture.out("other.tar"), &stopped).unwrap_err();
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

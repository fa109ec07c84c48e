use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::base::{Blame, Cancel, Digest, GuestPath};
use crate::store::{Meta, Node, Store, Tree};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// One entry of a hand-made tar: type, name, link target or content, mode.
type Item<'a> = (u8, &'a str, &'a str, u32);

fn tar_of(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, name, text, mode) in items {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(*mode);
        header.set_uid(7);
        header.set_gid(42);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::new(*kind));
        let link = matches!(kind, b'1' | b'2');
        if link {
            header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(if link { 0 } else { text.len() as u64 });
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        if !link {
            out.extend_from_slice(text.as_bytes());
            out.resize(out.len().next_multiple_of(512), 0);
        }
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deb_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len()).unwrap();
        out.extend_from_slice(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

const FLAT: Options = Options { strip: Some(0), owners: Owners::Root, limits: TINY };
const TINY: Limits = Limits { bytes: 1 << 20, ratio: 1000, entries: 20 };

fn unpack(bytes: &[u8], options: &Options) -> Result<Tree, Error> {
    let (_dir, store) = store();
    let blob = store.put_bytes(bytes).unwrap();
    archive(&store, &blob, "a.tar", options, &Cancel::default())
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn refusal(items: &[Item]) -> String {
    let error = unpack(&tar_of(items), &FLAT).unwrap_err();
    assert_eq!(error.blame(), Blame::Input);
    error.to_string()
}

const GOOD: &[Item] = &[
    (b'5', "./", "", 0o755),
    (b'5', "./x/", "", 0o700),
    (b'0', "./x/f", "one", 0o4755),
    (b'1', "./x/hard", "./x/f", 0o4755),
    (b'2', "./x/link", "../../etc/passwd", 0o777),
    (b'0', "./x/f", "two", 0o644),
];

#[test]
fn every_compression_gives_one_tree() {
    let plain = tar_of(GOOD);
    let tree = unpack(&plain, &FLAT).unwrap();
    for packed in [gz(&plain), xz(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
        assert_eq!(unpack(&packed, &FLAT).unwrap(), tree);
    }
    let file = |path_: &str| match tree.get(&path(path_)) {
        Some(Node::File { digest, meta }) => (*digest, *meta),
        other => panic!("{other:?}"),
    };
    assert_eq!(file("/x/hard"), (Digest::of(b"one"), Meta::root(0o4755)));
    assert_eq!(file("/x/f"), (Digest::of(b"two"), Meta::root(0o644)));
    assert_eq!(tree.get(&path("/x/link")), Some(&Node::Symlink { target: "../../etc/passwd".into() }));
    let (_dir, store) = store();
    store.put_bytes(b"one").unwrap();
    store.put_bytes(b"two").unwrap();
    assert_eq!(
        store.put_tree(&tree).unwrap().hash.to_string(),
        "04b45fb7e87800932117cde73a21dbc06133116357392aca0fb6b25e55ffaf47"
    );
}

#[test]
fn strips_and_keeps_owners() {
    let options = Options { strip: None, owners: Owners::Kept, limits: TINY };
    let items: &[Item] = &[(b'5', "p-1/", "", 0o755), (b'0', "p-1/a", "1", 0o644), (b'0', "top", "2", 0o644)];
    let tree = unpack(&tar_of(items), &options).unwrap();
    assert_eq!(tree.entries.len(), 1);
    let meta = Meta { mode: 0o644, uid: 7, gid: 42 };
    assert_eq!(tree.get(&path("/a")), Some(&Node::File { digest: Digest::of(b"1"), meta }));
}

#[test]
fn refuses_what_could_leave_the_tree() {
    let cases: &[(&[Item], &str)] = &[
        (&[(b'0', "a/../../b", "", 0o644)], "`a.tar` has the entry `a/../../b`, which goes up with `..`"),
        (&[(b'0', "/etc/x", "", 0o644)], "`a.tar` has the entry `/etc/x`, which has an absolute name"),
        (
            &[(b'2', "l", "/etc", 0o777), (b'0', "l/passwd", "x", 0o644)],
            "`a.tar` has the entry `l/passwd`, which is below a file or a link",
        ),
        (
            &[(b'1', "h", "../../etc/passwd", 0o644)],
            "`a.tar` has the entry `h`, which is a hard link to `../../etc/passwd`, outside of the archive",
        ),
        (
            &[(b'1', "h", "gone", 0o644)],
            "`a.tar` has the entry `h`, which is a hard link to `gone`, no earlier file",
        ),
        (&[(b'3', "dev", "", 0o644)], "`a.tar` has the entry `dev`, which is a character device"),
        (&[(b'4', "dev", "", 0o644)], "`a.tar` has the entry `dev`, which is a block device"),
        (&[(b'6', "pipe", "", 0o644)], "`a.tar` has the entry `pipe`, which is a named pipe"),
        (
            &[(b'5', "d/", "", 0o755), (b'0', "d", "", 0o644)],
            "`a.tar` has the entry `d`, which stands in the place of a directory",
        ),
        (
            &[(b'2', "d", "/", 0o777), (b'5', "d/", "", 0o755)],
            "`a.tar` has the entry `d/`, which is a directory in the place of a file or a link",
        ),
    ];
    for (items, text) in cases {
        assert_eq!(refusal(items), *text);
    }
}

#[test]
fn notices_bombs() {
    let many: Vec<Item> = (0..21).map(|_| (b'0', "f", "", 0o644)).collect();
    assert_eq!(refusal(&many), "`a.tar` unpacks to more than 20 entries");
    let zeros = vec![0u8; 20 << 20];
    let text = String::from_utf8(zeros).unwrap();
    let bomb = xz(&tar_of(&[(b'0', "f", &text, 0o644)]));
    assert_eq!(unpack(&bomb, &FLAT).unwrap_err().to_string(), "`a.tar` unpacks to more than 1048576 bytes");
    let wide = Options { limits: Limits { bytes: 1 << 30, ..TINY }, ..FLAT };
    assert_eq!(
        unpack(&bomb, &wide).unwrap_err().to_string(),
        "`a.tar` unpacks to more than 1000 times its size"
    );
}

#[test]
fn notices_damage() {
    let noise: String =
        (0..20_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let plain = tar_of(&[(b'0', "f", &noise, 0o644)]);
    for packed in [plain.clone(), gz(&plain), xz(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
        let error = unpack(&packed[..packed.len() / 2], &FLAT).unwrap_err();
        let at = error.to_string();
        assert!(at.starts_with("`a.tar` is damaged at "), "{at}");
        assert!(packed != plain || at.ends_with("entry `f`"), "{at}");
        assert_eq!(error.blame(), Blame::Input);
    }
    let mut wrong_sum = gz(&plain);
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert_eq!(unpack(&wrong_sum, &FLAT).unwrap_err().to_string(), "`a.tar` is damaged at what follows `f`");
    let mut garbage = plain.clone();
    garbage.extend_from_slice(b"garbage");
    assert_eq!(unpack(&garbage, &FLAT).unwrap_err().to_string(), "`a.tar` is damaged at what follows `f`");
    let text = unpack(b"hello", &FLAT).unwrap_err().to_string();
    assert_eq!(text, "`a.tar` is no archive that nodeimg knows");
}

#[test]
fn unpacks_zip() {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("pkg/lib.so", options.unix_permissions(0o755)).unwrap();
    writer.write_all(b"elf").unwrap();
    writer.add_symlink("pkg/l", "lib.so", options).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let tree = unpack(&bytes, &Options::default()).unwrap();
    let file = Node::File { digest: Digest::of(b"elf"), meta: Meta::root(0o755) };
    assert_eq!(tree.get(&path("/pkg/lib.so")), Some(&file));
    assert_eq!(tree.get(&path("/pkg/l")), Some(&Node::Symlink { target: "lib.so".into() }));

    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("../x", options).unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    let text = unpack(&bytes, &Options::default()).unwrap_err().to_string();
    assert_eq!(text, "`a.tar` has the entry `../x`, which goes up with `..`");
    let text = unpack(&bytes[..bytes.len() / 2], &Options::default()).unwrap_err().to_string();
    assert_eq!(text, "`a.tar` is damaged at its directory");
}

#[test]
fn reads_what_a_package_says_and_nothing_behind_it() {
    let (_dir, store) = store();
    let text = "Package: x\nVersion: 1\n";
    let plain = tar_of(&[(b'0', "./control", text, 0o644)]);
    let read = |bytes: &[u8]| {
        let blob = store.put_bytes(bytes).unwrap();
        control(&store, &blob, "x.deb", &Cancel::default()).map_err(|error| error.to_string())
    };
    // The data is cut off, which nobody looks at.
    let cut = deb_of(&[("debian-binary", b"2.0\n"), ("control.tar", &plain), ("data.tar.xz", b"no xz")]);
    assert_eq!(read(&cut), Ok(text.as_bytes().to_vec()));
    let other = tar_of(&[(b'0', "./md5sums", "", 0o644)]);
    let none = deb_of(&[("debian-binary", b"2.0\n"), ("control.tar", &other)]);
    assert!(read(&none).unwrap_err().contains("`x.deb`"));
    assert!(read(&deb_of(&[("debian-binary", b"2.0\n")])).is_err());
    assert!(read(b"no package").is_err());
}

#[test]
fn takes_a_package_apart() {
    let control = gz(&tar_of(&[(b'0', "./control", "Package: x\n", 0o644)]));
    let data = xz(&tar_of(GOOD));
    let bytes = deb_of(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.xz/", &data)]);
    let (_dir, store) = store();
    let blob = store.put_bytes(&bytes).unwrap();
    let both = deb(&store, &blob, "x.deb", TINY, &Cancel::default()).unwrap();
    assert!(both.control.get(&path("/control")).is_some());
    let Some(Node::File { meta, .. }) = both.data.get(&path("/x/f")) else { panic!() };
    assert_eq!((meta.uid, meta.gid), (7, 42));

    let fails = |bytes: &[u8]| {
        let blob = store.put_bytes(bytes).unwrap();
        deb(&store, &blob, "x.deb", TINY, &Cancel::default()).unwrap_err().to_string()
    };
    assert_eq!(fails(&bytes[..bytes.len() - 40]), "`x.deb (data.tar.xz)` is damaged at what follows `./x/f`");
    let none = deb_of(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control)]);
    assert_eq!(fails(&none), "`x.deb` is damaged at its beginning");
    let odd = deb_of(&[("debian-binary", b"2.0\n"), ("evil", b"x")]);
    assert_eq!(fails(&odd), "`x.deb` has the entry `evil`, which is no member of a Debian package");
}

#[test]
fn stops_when_asked() {
    let (_dir, store) = store();
    let blob = store.put_bytes(&tar_of(GOOD)).unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    let error = archive(&store, &blob, "a.tar", &FLAT, &cancel).unwrap_err();
    assert_eq!(error.blame(), Blame::Cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn survives_garbage(kind in 0..5usize, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let plain = tar_of(GOOD);
        let mut bytes = match kind {
            0 => plain,
            1 => gz(&plain),
            2 => xz(&plain),
            3 => zstd::encode_all(&plain[..], 1).unwrap(),
            _ => deb_of(&[("debian-binary", b"2.0\n"), ("control.tar", &plain), ("data.tar", &plain)]),
        };
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Err(error) = unpack(&bytes, &FLAT) {
            prop_assert_eq!(error.blame(), Blame::Input);
        }
    }
}

fn patched(files: &[(&str, &str)], patch: &str) -> Result<Vec<(String, String, u32)>, String> {
    let (_dir, store) = store();
    let mut tree = Tree::default();
    for (name, text) in files {
        let digest = store.put_bytes(text.as_bytes()).unwrap();
        tree.insert(&path(name), Node::File { digest, meta: Meta::root(0o644) }).unwrap();
    }
    patch::apply(&store, &mut tree, "0001-x.patch", patch.as_bytes()).map_err(|error| error.to_string())?;
    let text = |digest| String::from_utf8(store.read_blob(&digest).unwrap()).unwrap();
    Ok(tree.files().map(|(path, digest, meta)| (path.to_string(), text(digest), meta.mode)).collect())
}

fn is(path: &str, text: &str, mode: u32) -> (String, String, u32) {
    (path.to_owned(), text.to_owned(), mode)
}

#[test]
fn applies_plain_patches() {
    let patch = "Some words.\n\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n--- /dev/null\n+++ b/d/new\n@@ -0,0 +1 @@\n+hi\n--- a/old/o\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n";
    let files = [("/f", "a\nb\n"), ("/old/o", "bye\n")];
    assert_eq!(patched(&files, patch), Ok(vec![is("/d/new", "hi\n", 0o644), is("/f", "a\nB\n", 0o644)]));
    // The lines may have moved.
    let moved = [("/f", "x\ny\na\nb\nc\n"), ("/old/o", "bye\n")];
    assert_eq!(patched(&moved, patch).unwrap()[1], is("/f", "x\ny\na\nB\nc\n", 0o644));
}

#[test]
fn applies_git_patches() {
    let patch = "From 1 Mon Sep 17 00:00:00 2001\nSubject: x\n\n---\n f | 2 +-\n\ndiff --git a/f b/g\nsimilarity index 50%\nrename from f\nrename to g\n--- a/f\n+++ b/g\n@@ -1,2 +1,2 @@\n a\n-b\n+B\ndiff --git a/s b/s\nold mode 100644\nnew mode 100755\ndiff --git a/n b/n\nnew file mode 100755\nindex 0000000..1234567\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+hi\n-- \n2.39.5\n\n";
    let files = [("/f", "a\nb\n"), ("/s", "s\n")];
    let want = vec![is("/g", "a\nB\n", 0o644), is("/n", "hi\n", 0o755), is("/s", "s\n", 0o755)];
    assert_eq!(patched(&files, patch), Ok(want));
}

#[test]
fn says_why_a_patch_does_not_apply() {
    let patch = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n";
    assert_eq!(
        patched(&[("/f", "a\nc\n")], patch).unwrap_err(),
        "patch `0001-x.patch` does not apply: `f`, hunk 1, line 2\n  expected: `b`\n  found:    `c`"
    );
    assert_eq!(patched(&[], patch).unwrap_err(), "patch `0001-x.patch` does not apply: `f` does not exist");
    let new = "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+hi\n";
    assert_eq!(
        patched(&[("/f", "")], new).unwrap_err(),
        "patch `0001-x.patch` does not apply: `f` is there already"
    );
    let up = "--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n";
    assert_eq!(
        patched(&[], up).unwrap_err(),
        "patch `0001-x.patch` is no unified diff: `../f` is no path inside the source"
    );
    assert!(patched(&[], "hello\n").unwrap_err().starts_with("patch `0001-x.patch` is no unified diff: "));
}

#[test]
fn names_a_missing_patch() {
    let error = patch::load(std::path::Path::new("/nonexistent/0001-x.patch"), "0001-x.patch").unwrap_err();
    assert_eq!(error.to_string(), "patch `0001-x.patch` is missing");
}

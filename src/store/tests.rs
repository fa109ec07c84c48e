//! The store as its users see it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use super::*;
use crate::base::{GuestPath, Name};

struct Temporary(tempfile::TempDir);

impl Temporary {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.join("store")).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        for entry in fs_err::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                Store::remove_tree(&path).unwrap();
            }
        }
    }
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn file(store: &Store, text: &str, meta: Meta) -> Node {
    Node::File { digest: store.put_bytes(text.as_bytes()).unwrap(), meta }
}

fn sample(store: &Store) -> Tree {
    let mut tree = Tree::default();
    let mut put = |at: &str, node| tree.insert(&path(at), node).unwrap();
    put("/usr/bin/tool", file(store, "#!tool", Meta::root(0o755)));
    put("/usr/share/text", file(store, "text", Meta::root(0o644)));
    put("/usr/share/same", file(store, "text", Meta::root(0o644)));
    put("/usr/share/program", file(store, "text", Meta::root(0o755)));
    put("/usr/bin/su", file(store, "su", Meta::root(0o4755)));
    put("/etc/shadow", file(store, "secret", Meta { mode: 0o640, uid: 0, gid: 42 }));
    put("/etc/nothing", file(store, "n", Meta::root(0)));
    put("/bin", Node::Symlink { target: "usr/bin".into() });
    let owned = Meta { mode: 0o1777, uid: 101, gid: 102 };
    put("/var/spool", Node::Dir(Dir { meta: owned, entries: BTreeMap::new() }));
    put("/closed", Node::Dir(Dir { meta: Meta::root(0), entries: BTreeMap::new() }));
    put("/read-only", Node::Dir(Dir { meta: Meta::root(0o555), entries: BTreeMap::new() }));
    put("/read-only/inside", file(store, "in", Meta::root(0o644)));
    tree
}

#[test]
fn blob_round_trip() {
    let at = Temporary::new();
    let store = at.store();
    let mut writer = store.blob_writer().unwrap();
    let big = vec![7; 3 << 20];
    for part in big.chunks(100_000) {
        writer.write_all(part).unwrap();
    }
    let digest = writer.finish().unwrap();
    assert_eq!(digest, Digest::of(&big));
    assert!(store.has_blob(&digest));
    assert_eq!(store.find_blob(&digest.hash), Some(digest));
    assert_eq!(store.read_blob(&digest).unwrap(), big);
    let mut read = Vec::new();
    store.verified_reader(&digest).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, big);
    let meta = fs_err::metadata(store.blob_path(&digest.hash, blob::Form::Plain)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o644, 0));
    assert!(!store.has_blob(&Digest { size: 1, ..digest }));
}

#[test]
fn unexpected_blob_is_not_stored() {
    let at = Temporary::new();
    let store = at.store();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"other").unwrap();
    let expected = Digest::of(b"this");
    let error = writer.finish_expecting(&expected).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }));
    assert!(!store.has_blob(&Digest::of(b"other")));
    drop(store.blob_writer().unwrap());
}

#[test]
fn damage_is_noticed_and_removed() {
    let at = Temporary::new();
    let store = at.store();
    for cut in [true, false] {
        let digest = store.put_bytes(b"content").unwrap();
        let place = store.blob_path(&digest.hash, blob::Form::Plain);
        if cut {
            fs_err::write(&place, b"con").unwrap();
            assert!(!store.has_blob(&digest));
            assert!(matches!(store.open_blob(&digest), Err(Error::Damaged { .. })));
        } else {
            fs_err::write(&place, b"Content").unwrap();
            rustix::fs::utimensat(rustix::fs::CWD, &place, &USED_NOW, rustix::fs::AtFlags::empty()).unwrap();
            assert!(store.has_blob(&digest));
            let mut out = Vec::new();
            let error = store.verified_reader(&digest).unwrap().read_to_end(&mut out).unwrap_err();
            assert!(error.get_ref().unwrap().downcast_ref::<Error>().unwrap().is_lost());
        }
        assert!(matches!(store.read_blob(&digest), Err(Error::Missing { .. })));
    }
    let digest = store.put_tree(&sample(&store)).unwrap();
    let place = store.object("trees", &digest.hash);
    for damage in [b"".as_slice(), b"\x0a\x7f", b"garbage"] {
        fs_err::write(&place, damage).unwrap();
        assert!(matches!(store.tree(&digest), Err(Error::Damaged { what: "tree", .. })));
        assert!(!store.has_tree(&digest));
        store.put_tree(&sample(&store)).unwrap();
    }
    assert_eq!(store.tree(&digest).unwrap(), sample(&store));
}

#[test]
fn checkout_shows_the_tree() {
    let at = Temporary::new();
    let store = at.store();
    let tree = sample(&store);
    let digest = store.put_tree(&tree).unwrap();
    let checkout = store.checkout(&digest).unwrap();
    let again = store.checkout(&digest).unwrap();
    assert_eq!(checkout.path(), again.path());
    let text = fs_err::metadata(checkout.path().join("usr/share/text")).unwrap();
    let same = fs_err::metadata(checkout.path().join("usr/share/same")).unwrap();
    assert_eq!(text.ino(), same.ino());
    for (place, node) in tree.walk() {
        let Ok(meta) = fs_err::symlink_metadata(checkout.path().join(place.relative())) else { continue };
        assert_eq!(meta.mtime(), 0, "{place}");
        match node {
            Node::File { meta: want, .. } | Node::Dir(Dir { meta: want, .. }) => {
                assert_eq!(meta.mode() & 0o7777, want.mode, "{place}");
            }
            Node::Symlink { .. } => {}
        }
    }
    drop((checkout, again));
    let copy = at.join("copy");
    store.copy_out(&digest, &copy).unwrap();
    assert!(matches!(store.copy_out(&digest, &copy), Err(Error::NotEmpty { .. })));
    assert_eq!(store.ingest(&copy, Owners::Recorded).unwrap(), tree);
    Store::remove_tree(&copy).unwrap();
    store.copy_out(&digest, &copy).unwrap();
    assert_eq!(store.absorb(&copy, Owners::Recorded).unwrap(), tree);
}

#[test]
fn a_written_checkout_is_made_again() {
    let at = Temporary::new();
    let store = at.store();
    let digest = store.put_tree(&sample(&store)).unwrap();
    let root = store.checkout(&digest).unwrap().path().to_owned();
    drop(store);
    // This content is there in the other form too, and heals by itself.
    fs_err::write(root.join("usr/share/text"), "TEXT").unwrap();
    let store = at.store();
    store.checkout(&digest).unwrap();
    assert_eq!(fs_err::read_to_string(root.join("usr/share/text")).unwrap(), "text");
    drop(store);
    fs_err::write(root.join("read-only/inside"), "xx").unwrap();
    let store = at.store();
    assert!(store.checkout(&digest).unwrap_err().is_lost());
    store.put_bytes(b"in").unwrap();
    store.checkout(&digest).unwrap();
    assert_eq!(fs_err::read_to_string(root.join("read-only/inside")).unwrap(), "in");
}

#[test]
fn missing_blob_is_named() {
    let at = Temporary::new();
    let store = at.store();
    let digest = store.put_tree(&sample(&store)).unwrap();
    let gone = Digest::of(b"su");
    fs_err::remove_file(store.blob_path(&gone.hash, blob::Form::Plain)).unwrap();
    assert!(!store.has_all(&digest));
    match store.checkout(&digest) {
        Err(Error::Missing { digest }) => assert_eq!(digest, gone),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs_err::read_dir(store.path().join("checkouts")).unwrap().count(), 0);
}

#[test]
fn ingest_takes_in_a_directory() {
    let at = Temporary::new();
    let store = at.store();
    let dir = at.join("in");
    fs_err::create_dir_all(dir.join("a/b")).unwrap();
    fs_err::write(dir.join("a/b/large"), vec![1; 2 << 20]).unwrap();
    fs_err::write(dir.join("a/small"), "s").unwrap();
    fs_err::set_permissions(dir.join("a/small"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("../outside", dir.join("link")).unwrap();
    for of in ["", "a", "a/b"] {
        fs_err::set_permissions(dir.join(of), PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs_err::set_permissions(dir.join("a/b/large"), PermissionsExt::from_mode(0o644)).unwrap();
    let mut want = Tree::default();
    let large = Digest::of(&vec![1; 2 << 20]);
    want.insert(&path("/a/b/large"), Node::File { digest: large, meta: Meta::root(0o644) }).unwrap();
    let small = Digest::of(b"s");
    want.insert(&path("/a/small"), Node::File { digest: small, meta: Meta::root(0o755) }).unwrap();
    want.insert(&path("/link"), Node::Symlink { target: "../outside".into() }).unwrap();
    assert_eq!(store.ingest(&dir, Owners::AllRoot).unwrap(), want);
    assert!(store.has_blob(&large) && store.has_blob(&small));
    assert_eq!(store.absorb(&dir, Owners::AllRoot).unwrap(), want);

    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("a/pipe"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    let error = store.ingest(&dir, Owners::AllRoot).unwrap_err().to_string();
    assert!(
        error.ends_with("a/pipe` is a named pipe; a tree holds files, directories and symbolic links only")
    );
}

#[test]
fn overlay_changes_are_applied() {
    let at = Temporary::new();
    let store = at.store();
    let mut base = Tree::default();
    for name in ["/keep/a", "/keep/b", "/gone/x", "/opaque/old", "/file", "/becomes-dir"] {
        base.insert(&path(name), file(&store, name, Meta::root(0o644))).unwrap();
    }
    let upper = at.join("upper");
    for dir in ["", "keep", "opaque", "becomes-dir"] {
        fs_err::create_dir_all(upper.join(dir)).unwrap();
        fs_err::set_permissions(upper.join(dir), PermissionsExt::from_mode(0o755)).unwrap();
    }
    for (name, text) in [("keep/b", "new"), ("keep/a", ""), ("gone", ""), ("opaque/young", "y")] {
        fs_err::write(upper.join(name), text).unwrap();
        fs_err::set_permissions(upper.join(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let set = |name: &str, attribute: &str, value: &str| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(upper.join(name), attribute, value.as_bytes(), flags).unwrap();
    };
    for dir in ["", "keep"] {
        set(dir, "user.overlay.opaque", "x");
    }
    for whiteout in ["keep/a", "gone"] {
        set(whiteout, "user.overlay.whiteout", "");
    }
    set("opaque", "user.overlay.opaque", "y");
    set("keep/b", "user.nodeimg.owner", "5:6");
    let mut want = Tree::default();
    let mut put = |name: &str, text: &str, meta| want.insert(&path(name), file(&store, text, meta)).unwrap();
    put("/keep/b", "new", Meta { mode: 0o644, uid: 5, gid: 6 });
    put("/opaque/young", "y", Meta::root(0o644));
    put("/file", "/file", Meta::root(0o644));
    want.insert(&path("/becomes-dir"), Node::Dir(Dir::default())).unwrap();
    assert_eq!(store.ingest_overlay(&base, &upper, Owners::Recorded).unwrap(), want);
}

#[test]
fn actions_and_memos() {
    let at = Temporary::new();
    let store = at.store();
    let tree = store.put_tree(&sample(&store)).unwrap();
    let log = store.put_bytes(b"log").unwrap();
    let action = Digest::of(b"action");
    let result = ActionResult { tree, log: Some(log) };
    assert_eq!(store.action_result(&action).unwrap(), None);
    let key = Sha256::of(b"key");
    store.put_memo(&key, &tree).unwrap();
    let place = store.object("memo", &key);
    let settled = || fs_err::read(&place).unwrap().starts_with(b"nodeimg-record 1 - ");
    assert!(!settled());
    assert_eq!(store.memo(&key).unwrap(), Some(tree));
    store.put_action_result(&action, &result).unwrap();
    assert!(settled());
    drop(store);
    let store = at.store();
    assert_eq!(store.action_result(&action).unwrap(), Some(result));
    assert_eq!(store.memo(&key).unwrap(), Some(tree));
    let nowhere = ActionResult { tree: action, log: None };
    assert!(matches!(store.put_action_result(&action, &nowhere), Err(Error::Missing { .. })));

    let mut bytes = fs_err::read(&place).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&place, bytes).unwrap();
    assert_eq!(store.memo(&key).unwrap(), None);
    let foreign = format!("nodeimg-record 1 other-boot {}\n", Sha256::of(b""));
    fs_err::write(&place, foreign).unwrap();
    assert_eq!(store.memo(&key).unwrap(), None);
    assert!(!place.exists());
}

#[test]
fn locks_exclude_and_leave_nothing() {
    let at = Temporary::new();
    let store = at.store();
    let key = Sha256::of(b"key");
    let held = store.lock_action(&key, &mut || panic!("nobody holds it")).unwrap();
    let (told, waiting) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || store.lock_action(&key, &mut || told.send(()).unwrap()).unwrap());
        waiting.recv().unwrap();
        drop(held);
    });
    assert_eq!(fs_err::read_dir(store.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn scratch_is_removed_whatever_its_modes() {
    let at = Temporary::new();
    let store = at.store();
    let scratch = store.scratch().unwrap();
    let mut deep = scratch.path().to_owned();
    for _ in 0..300 {
        deep.push("d");
        fs_err::create_dir(&deep).unwrap();
    }
    fs_err::write(deep.join("file"), "").unwrap();
    fs_err::set_permissions(scratch.path().join("d/d"), PermissionsExt::from_mode(0o0)).unwrap();
    fs_err::set_permissions(scratch.path().join("d"), PermissionsExt::from_mode(0o500)).unwrap();
    let error = store.absorb(scratch.path(), Owners::AllRoot).unwrap_err();
    assert!(error.to_string().ends_with("is more than 256 directories deep"), "{error}");
    let path = scratch.path().to_owned();
    drop(scratch);
    assert!(!path.exists());
    let stale = store.path().join("tmp/1-1");
    fs_err::create_dir(&stale).unwrap();
    let live = store.scratch().unwrap();
    let _other = at.store();
    assert!(!stale.exists() && live.path().exists());
}

#[test]
fn what_is_no_store_is_refused() {
    let at = Temporary::new();
    let error = |path: &Path| Store::open(path).unwrap_err().to_string();
    let plain = at.join("plain");
    fs_err::write(&plain, "").unwrap();
    assert_eq!(error(&plain), format!("store `{}` is not a directory", plain.display()));
    let other = at.join("other");
    fs_err::create_dir(&other).unwrap();
    fs_err::write(other.join("thesis"), "").unwrap();
    assert_eq!(error(&other), format!("`{}` is not empty and is no nodeimg store", other.display()));
    drop(at.store());
    let version = at.join("store/VERSION");
    fs_err::write(&version, "2\n").unwrap();
    let store = at.join("store");
    assert_eq!(
        error(&store),
        format!("store `{}` has layout 2; this nodeimg knows layout 1", store.display())
    );
    fs_err::write(&version, "").unwrap();
    assert_eq!(error(&store), format!("`{}` does not hold a layout number", version.display()));
}

#[test]
fn names_are_sane() {
    assert!(Name::new("..").is_err());
    assert_eq!(path("/a").join(&Name::new("b").unwrap()), path("/a/b"));
    assert_eq!(GuestPath::root().join(&Name::new("b").unwrap()), path("/b"));
}

#[test]
fn gc_keeps_what_roots_reach() {
    let at = Temporary::new();
    let mut store = at.store();
    let kept = store.put_tree(&sample(&store)).unwrap();
    let mut other = Tree::default();
    other.insert(&path("/lost"), file(&store, "lost", Meta::root(0o644))).unwrap();
    other.insert(&path("/shared"), file(&store, "text", Meta::root(0o644))).unwrap();
    let lost = store.put_tree(&other).unwrap();
    drop(store.checkout(&lost).unwrap());
    let log = store.put_bytes(b"log").unwrap();
    let (first, second) = (Digest::of(b"1"), Digest::of(b"2"));
    store.put_action_result(&first, &ActionResult { tree: kept, log: Some(log) }).unwrap();
    store.put_action_result(&second, &ActionResult { tree: lost, log: None }).unwrap();
    store.put_memo(&Sha256::of(b"k"), &kept).unwrap();
    let download = store.put_bytes(b"download").unwrap();
    store.keep("/", &[kept, download]).unwrap();
    assert_eq!(store.roots().unwrap()[0].name, "/");

    let cancel = Cancel::default();
    let young = Collect { unused_for: std::time::Duration::from_secs(3600), ..Collect::default() };
    assert!(store.gc(&young, &cancel).unwrap().removed.is_empty());
    let dry = store.gc(&Collect { dry_run: true, ..Collect::default() }, &cancel).unwrap();
    assert!(store.has_tree(&lost));
    let in_use = at.store();
    assert!(matches!(store.gc(&Collect::default(), &cancel), Err(Error::InUse { .. })));
    drop(in_use);
    let held = store.checkout(&kept).unwrap();
    let done = store.gc(&Collect::default(), &cancel).unwrap();
    assert_eq!(done.removed, dry.removed);
    assert_eq!(done.removed[&Kind::Blob], Count { objects: 1, bytes: 4 });
    assert_eq!(done.removed[&Kind::Action].objects, 1);
    assert_eq!(done.removed[&Kind::Checkout].objects, 1);
    assert!(store.has_all(&kept) && store.has_blob(&download) && store.has_blob(&log));
    assert!(!store.has_tree(&lost) && held.path().join("usr/share/text").exists());
    assert_eq!(store.memo(&Sha256::of(b"k")).unwrap(), Some(kept));
    assert!(store.action_result(&first).unwrap().is_some());
    drop(held);

    store.keep("/", &[]).unwrap();
    store.keep("/no/such/project", &[kept]).unwrap();
    let everything = store.gc(&Collect { max_bytes: Some(0), ..young }, &cancel).unwrap();
    assert_eq!(everything.kept, Count::default());
    let listing = store.list().unwrap();
    assert!(listing.roots.is_empty() && listing.kinds.values().all(|count| count.objects == 0));
}

#[test]
fn verification_finds_what_no_size_shows() {
    let at = Temporary::new();
    let store = at.store();
    let tree = store.put_tree(&sample(&store)).unwrap();
    drop(store.checkout(&tree).unwrap());
    let clean = store.verify(&Cancel::default()).unwrap();
    assert!(clean.damaged.is_empty() && clean.checked.objects > 5);
    let digest = Digest::of(b"in");
    let place = store.blob_path(&digest.hash, blob::Form::Plain);
    fs_err::write(&place, "xx").unwrap();
    rustix::fs::utimensat(rustix::fs::CWD, &place, &USED_NOW, rustix::fs::AtFlags::empty()).unwrap();
    store.put_memo(&Sha256::of(b"m"), &tree).unwrap();
    fs_err::write(store.object("memo", &Sha256::of(b"m")), "torn").unwrap();
    let found = store.verify(&Cancel::default()).unwrap().damaged;
    assert_eq!(found, [(Kind::Memo, Sha256::of(b"m").to_string()), (Kind::Blob, digest.hash.to_string())]);
    assert!(store.checkout(&tree).unwrap_err().is_lost());
    store.put_bytes(b"in").unwrap();
    assert!(is_text(&store.checkout(&tree).unwrap().path().join("read-only/inside"), "in"));
}

fn is_text(path: &Path, text: &str) -> bool {
    fs_err::read_to_string(path).unwrap() == text
}

/// The file that tells a re-run test binary that it is to write until it is killed.
const VICTIM: &str = "write-until-killed";

/// Not a test: what [`a_kill_leaves_the_store_whole`] starts in a directory of its own.
#[test]
#[ignore = "started and killed by `a_kill_leaves_the_store_whole`"]
fn victim() {
    if !Path::new(VICTIM).exists() {
        return;
    }
    let store = Store::open(Path::new("store")).unwrap();
    for round in 0u64.. {
        let mut tree = Tree::default();
        for index in 0..20u64 {
            let mut writer = store.blob_writer().unwrap();
            writer.write_all(&(round * 20 + index).to_le_bytes().repeat(40_000)).unwrap();
            let digest = writer.finish().unwrap();
            let node = Node::File { digest, meta: Meta::root(if index == 3 { 0o4755 } else { 0o755 }) };
            tree.insert(&path(&format!("/{index}/f")), node).unwrap();
        }
        let digest = store.put_tree(&tree).unwrap();
        drop(store.checkout(&digest).unwrap());
        let key = Sha256::of(&round.to_le_bytes());
        store.put_memo(&key, &digest).unwrap();
        if round % 4 == 0 {
            let result = ActionResult { tree: digest, log: None };
            store.put_action_result(&Digest { hash: key, size: 0 }, &result).unwrap();
        }
    }
}

#[test]
fn a_kill_leaves_the_store_whole() {
    let at = Temporary::new();
    drop(at.store());
    fs_err::write(at.join(VICTIM), "").unwrap();
    for delay in [120, 47, 203, 81] {
        #[allow(clippy::disallowed_methods, reason = "a killed process is the subject")]
        let mut children = [(); 2].map(|()| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::tests::victim", "--ignored", "--quiet"])
                .current_dir(at.0.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        });
        std::thread::sleep(std::time::Duration::from_millis(delay));
        children.iter_mut().for_each(|child| child.kill().unwrap());
        children.iter_mut().for_each(|child| assert!(!child.wait().unwrap().success()));
        let mut store = at.store();
        assert_eq!(store.verify(&Cancel::default()).unwrap().damaged, []);
        assert_eq!(fs_err::read_dir(store.path().join("tmp")).unwrap().count(), 0);
        for memo in store.objects(Kind::Memo).unwrap() {
            let tree = store.memo(&memo.hash).unwrap().expect("a memo is whole");
            assert!(store.has_all(&tree));
            drop(store.checkout(&tree).unwrap());
        }
        store.gc(&Collect::default(), &Cancel::default()).unwrap();
        assert_eq!(fs_err::read_dir(store.path().join("locks")).unwrap().count(), 0);
        assert!(store.list().unwrap().kinds.values().all(|count| count.objects == 0));
    }
}

#[test]
fn names_and_targets_are_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let at = Temporary::new();
    let store = at.store();
    let wrong = std::ffi::OsStr::from_bytes(b"caf\xe9");
    for link in [false, true] {
        let dir = at.join(if link { "links" } else { "files" });
        fs_err::create_dir(&dir).unwrap();
        if link {
            symlink(wrong, dir.join("link")).unwrap();
        } else {
            fs_err::write(dir.join(wrong), "").unwrap();
        }
        let error = store.ingest(&dir, Owners::AllRoot).unwrap_err();
        let what = if link { "target of link" } else { "file name" };
        assert!(matches!(error, Error::NotUtf8 { what: found, .. } if found == what), "{error}");
    }
}

#[test]
fn a_store_that_is_not_writable_says_so() {
    if rustix::process::geteuid().is_root() {
        // Modes don't stop root.
        return;
    }
    let at = Temporary::new();
    let dir = at.join("closed");
    fs_err::create_dir(&dir).unwrap();
    fs_err::set_permissions(&dir, PermissionsExt::from_mode(0o555)).unwrap();
    for path in [dir.clone(), dir.join("store")] {
        let error = Store::open(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("store `{}` is not writable", path.display()));
    }
}

#[test]
fn overlays_that_need_a_mount_are_refused() {
    let at = Temporary::new();
    let store = at.store();
    let upper = at.join("upper");
    fs_err::create_dir(&upper).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&upper, "user.overlay.redirect", b"/elsewhere", flags).unwrap();
    let error = store.ingest_overlay(&Tree::default(), &upper, Owners::Recorded).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("carries the overlay attribute `user.overlay.redirect`, which is not supported")
    );
}

#[test]
fn programs_are_stored_once_and_linked() {
    let at = Temporary::new();
    let store = at.store();
    let mut writer = store.blob_writer().unwrap().executable();
    writer.write_all(b"program").unwrap();
    let digest = writer.finish().unwrap();
    assert!(store.has_blob(&digest) && store.read_blob(&digest).unwrap() == b"program");
    assert!(!store.blob_path(&digest.hash, blob::Form::Plain).exists());
    let mut tree = Tree::default();
    tree.insert(&path("/p"), Node::File { digest, meta: Meta::root(0o755) }).unwrap();
    let checkout = store.checkout(&store.put_tree(&tree).unwrap()).unwrap();
    assert_eq!(fs_err::metadata(checkout.path().join("p")).unwrap().nlink(), 2);
}

#[test]
fn many_threads_and_stores_write_the_same() {
    let at = Temporary::new();
    drop(at.store());
    let place = at.join("store");
    let made: BTreeSet<Digest> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(&place).unwrap();
                    let digest = store.put_tree(&sample(&store)).unwrap();
                    let checkout = store.checkout(&digest).unwrap();
                    assert!(checkout.path().join("usr/bin/tool").exists());
                    store.put_action_result(&digest, &ActionResult { tree: digest, log: None }).unwrap();
                    digest
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(made.len(), 1);
    let store = at.store();
    assert!(store.verify(&Cancel::default()).unwrap().damaged.is_empty());
    assert_eq!(fs_err::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn what_takes_long_can_be_stopped() {
    let at = Temporary::new();
    let cancel = Cancel::default();
    let store = at.store().stopped_by(&cancel);
    let digest = store.put_tree(&sample(&store)).unwrap();
    cancel.cancel();
    assert!(matches!(store.checkout(&digest), Err(Error::Cancelled)));
    assert!(matches!(store.ingest(&at.join("store/tmp"), Owners::AllRoot), Err(Error::Cancelled)));
    assert!(matches!(store.verify(&cancel), Err(Error::Cancelled)));
}

/// Runs a test that mounts, where only its thread sees it. Only root can: others skip it.
fn with_own_mounts(test: impl FnOnce() + Send) {
    use rustix::mount::{MountPropagationFlags, mount_change};
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::thread::UnshareFlags::FS | rustix::thread::UnshareFlags::NEWNS;
            // SAFETY: only this thread's view of mounts and its working directory become its own.
            if unsafe { rustix::thread::unshare_unsafe(flags) }.is_err() {
                return;
            }
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            test();
        });
    });
}

fn on_small_file_system(test: impl FnOnce(&Path) + Send) {
    let at = Temporary::new();
    let top = at.join("small");
    fs_err::create_dir(&top).unwrap();
    with_own_mounts(|| {
        rustix::mount::mount("store", &top, "tmpfs", rustix::mount::MountFlags::empty(), c"size=16m")
            .unwrap();
        test(&top);
        rustix::mount::unmount(&top, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn what_the_kernel_s_overlay_leaves_is_understood() {
    let at = Temporary::new();
    let store = at.store();
    let base = sample(&store);
    let digest = store.put_tree(&base).unwrap();
    let checkout = store.checkout(&digest).unwrap();
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| at.join(name));
    [&upper, &work, &merged].iter().for_each(|dir| fs_err::create_dir(dir).unwrap());
    with_own_mounts(|| {
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            checkout.path().display(),
            upper.display(),
            work.display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let none = rustix::mount::MountFlags::empty();
        if rustix::mount::mount("overlay", &merged, "overlay", none, options.as_c_str()).is_err() {
            return;
        }
        fs_err::remove_file(merged.join("usr/share/same")).unwrap();
        fs_err::remove_dir_all(merged.join("read-only")).unwrap();
        fs_err::remove_dir_all(merged.join("usr/bin")).unwrap();
        fs_err::create_dir(merged.join("usr/bin")).unwrap();
        fs_err::write(merged.join("usr/bin/new"), "new").unwrap();
        fs_err::set_permissions(merged.join("etc/shadow"), PermissionsExt::from_mode(0o600)).unwrap();
        fs_err::write(merged.join("usr/share/program"), "changed").unwrap();
        symlink("nowhere", merged.join("link")).unwrap();
        for (name, mode) in [("usr/bin", 0o755), ("usr/bin/new", 0o644), ("", 0o755)] {
            fs_err::set_permissions(merged.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).unwrap();

        let mut want = base.clone();
        let mut put = |name: &str, node| want.insert(&path(name), node).unwrap();
        put("/usr/share/program", file(&store, "changed", Meta::root(0o755)));
        put("/etc/shadow", file(&store, "secret", Meta { mode: 0o600, uid: 0, gid: 42 }));
        put("/link", Node::Symlink { target: "nowhere".into() });
        put("/usr/bin", Node::Dir(Dir::default()));
        put("/usr/bin/new", file(&store, "new", Meta::root(0o644)));
        want.remove(&path("/usr/share/same"));
        want.remove(&path("/read-only"));
        assert_eq!(store.ingest_overlay(&base, &upper, Owners::Recorded).unwrap(), want);
        // The store's own files are as they were.
        assert!(store.verify(&Cancel::default()).unwrap().damaged.is_empty());
        assert_eq!(store.ingest(checkout.path(), Owners::Recorded).unwrap(), base);
    });
}

#[test]
fn a_full_file_system_is_named() {
    on_small_file_system(|top| {
        let mut store = Store::open(&top.join("store")).unwrap();
        let mut writer = store.blob_writer().unwrap();
        let error = std::io::copy(&mut std::io::repeat(7).take(32 << 20), &mut writer).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("no space left to write `"), "{error}");
        drop(writer);
        // Nothing stays behind, and what fits can still be written.
        let digest = store.put_bytes(&vec![1; 1 << 20]).unwrap();
        let error = store.put_bytes(&vec![2; 20 << 20]).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }));
        let mut tree = Tree::default();
        for index in 0..20 {
            let copy = Node::File { digest, meta: Meta::root(0o600) };
            tree.insert(&path(&format!("/{index}")), copy).unwrap();
        }
        let tree = store.put_tree(&tree).unwrap();
        assert!(matches!(store.checkout(&tree), Err(Error::NoSpace { .. })));
        store.keep("/", &[tree]).unwrap();
        store.gc(&Collect::default(), &Cancel::default()).unwrap();
        assert!(store.has_all(&tree));
    });
}

#[test]
fn a_read_only_file_system_is_named() {
    on_small_file_system(|top| {
        let place = top.join("store");
        drop(Store::open(&place).unwrap());
        let flags = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(top, flags, c"").unwrap();
        let error = Store::open(&place).unwrap_err();
        assert_eq!(error.to_string(), format!("store `{}` is not writable", place.display()));
    });
}

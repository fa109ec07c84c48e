//! Roots made of packages of a few bytes.

use std::io::Write as _;

use super::*;
use crate::base::event::Silent;
use crate::base::{Cancel, Digest, GuestPath};
use crate::store::{Meta, Node, Store, Tree};

struct Place {
    _folder: tempfile::TempDir,
    store: Store,
}

/// A package to be: its control fields and its entries, a name that ends in `/` being a directory, `->` a link.
struct Deb {
    file: String,
    control: Vec<(&'static str, String)>,
    data: Vec<(&'static str, &'static str, Meta)>,
}

impl Deb {
    fn new(name: &str, fields: &str) -> Self {
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x\n{fields}Description: x \n y\n"
        );
        Self { file: format!("{name}_1_all.deb"), control: vec![("control", control)], data: Vec::new() }
    }

    fn with(mut self, path: &'static str, text: &'static str) -> Self {
        self.data.push((path, text, Meta::root(if path.ends_with('/') { 0o755 } else { 0o644 })));
        self
    }

    fn owned(mut self, meta: Meta) -> Self {
        self.data.last_mut().unwrap().2 = meta;
        self
    }

    fn about(mut self, file: &'static str, text: &str) -> Self {
        self.control.push((file, text.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        let control: Vec<_> =
            self.control.iter().map(|(name, text)| (*name, text.as_str(), Meta::root(0o755))).collect();
        for (name, content) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", tar(&control)),
            ("data.tar", tar(&self.data)),
        ] {
            writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len())
                .unwrap();
            bytes.extend_from_slice(&content);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }
}

fn tar(entries: &[(&str, &str, Meta)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text, meta) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(meta.mode);
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        let (kind, link, text) = match text.strip_prefix("-> ") {
            _ if path.ends_with('/') => (tar::EntryType::Directory, "", ""),
            Some(target) => (tar::EntryType::Symlink, target, ""),
            None => (tar::EntryType::Regular, "", *text),
        };
        header.set_entry_type(kind);
        header.set_size(text.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, format!("./{path}"), text.as_bytes()).unwrap();
        } else {
            builder.append_link(&mut header, format!("./{path}"), link).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { _folder: folder, store }
    }

    fn unpack(&self, debs: &[Deb]) -> Result<Tree, Error> {
        let blobs: Vec<Digest> = debs.iter().map(|deb| self.store.put_bytes(&deb.bytes()).unwrap()).collect();
        let packages: Vec<Package> =
            debs.iter().zip(&blobs).map(|(deb, blob)| Package { file: &deb.file, digest: *blob }).collect();
        unpack(&self.store, &packages, &Silent, &Cancel::default())
    }

    fn text(&self, tree: &Tree, path: &str) -> String {
        match tree.get(&GuestPath::new(path).unwrap()) {
            Some(Node::File { digest, .. }) => {
                String::from_utf8(self.store.read_blob(digest).unwrap()).unwrap()
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// What every root must have.
fn base() -> Deb {
    Deb::new("base-files", "Essential: yes\n")
        .with("bin/", "")
        .with("bin/sh", "-> dash")
        .with("usr/bin/dpkg", "dpkg")
}

fn refusal(debs: &[Deb]) -> String {
    Place::new().unpack(debs).unwrap_err().to_string()
}

#[test]
fn a_root_is_what_dpkg_would_leave() {
    let place = Place::new();
    let lib = Deb::new("libx", "Multi-Arch: same\n")
        .with("lib64/ld", "loader")
        .with("etc/x.conf", "setting\n")
        .with("usr/a", "-> b")
        .with("usr/b", "b")
        .about("conffiles", "/etc/x.conf\nremove-on-upgrade /etc/old\n")
        .about("postinst", "#!/bin/sh\n")
        .about("triggers", "# why\ninterest-noawait /usr/share/x\ninterest update-x\nactivate ldconfig\n");
    let tree = place.unpack(&[lib, base()]).unwrap();
    let walked: Vec<String> = tree.walk().map(|(path, _)| path.to_string()).collect();
    assert_eq!(
        walked,
        [
            "/bin",
            "/etc",
            "/etc/x.conf",
            "/lib",
            "/lib64",
            "/sbin",
            "/usr",
            "/usr/a",
            "/usr/b",
            "/usr/bin",
            "/usr/bin/dpkg",
            "/usr/bin/sh",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib64/ld",
            "/usr/sbin",
            "/var",
            "/var/lib",
            "/var/lib/dpkg",
            "/var/lib/dpkg/info",
            "/var/lib/dpkg/info/base-files.list",
            "/var/lib/dpkg/info/base-files.md5sums",
            "/var/lib/dpkg/info/format",
            "/var/lib/dpkg/info/libx:all.conffiles",
            "/var/lib/dpkg/info/libx:all.list",
            "/var/lib/dpkg/info/libx:all.md5sums",
            "/var/lib/dpkg/info/libx:all.postinst",
            "/var/lib/dpkg/info/libx:all.triggers",
            "/var/lib/dpkg/status",
            "/var/lib/dpkg/triggers",
            "/var/lib/dpkg/triggers/File",
            "/var/lib/dpkg/triggers/update-x",
            "/var/lib/dpkg/updates",
        ]
    );
    assert_eq!(
        tree.get(&GuestPath::new("/lib64").unwrap()),
        Some(&Node::Symlink { target: "usr/lib64".into() })
    );
    let text = |path: &str| place.text(&tree, &format!("/var/lib/dpkg/{path}"));
    assert_eq!(
        text("status"),
        "Package: base-files\nVersion: 1\nArchitecture: all\nMaintainer: x\nEssential: yes\n\
         Status: install ok unpacked\nDescription: x \n y\n\n\
         Package: libx\nStatus: install ok unpacked\nVersion: 1\nConffiles:\n \
         /etc/x.conf 2c1d4f59f062ce424618f4d25961fb76\n /etc/old newconffile remove-on-upgrade\nArchitecture: all\nMaintainer: x\nMulti-Arch: same\n\
         Description: x \n y\n\n"
    );
    // Links last, as dpkg-deb packs them; paths as the package says them.
    assert_eq!(
        text("info/libx:all.list"),
        "/.\n/etc\n/etc/x.conf\n/lib64\n/lib64/ld\n/usr\n/usr/b\n/usr/a\n"
    );
    assert_eq!(text("info/base-files.md5sums"), "a0d4b7e5582a446ad31fbe1a2305db20  usr/bin/dpkg\n");
    assert_eq!(text("triggers/File"), "/usr/share/x libx:all/noawait\n");
    assert_eq!(text("triggers/update-x"), "libx:all\n");
}

#[test]
fn a_package_is_taken_apart_once() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl crate::base::event::Sink for Count {
        fn emit(&self, _: crate::base::event::Event) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let place = Place::new();
    let digest = place.store.put_bytes(&base().bytes()).unwrap();
    let packages = [Package { file: "base-files_1_all.deb", digest }];
    let count = Count(0.into());
    let first = unpack(&place.store, &packages, &count, &Cancel::default()).unwrap();
    assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    let second = unpack(&place.store, &packages, &count, &Cancel::default()).unwrap();
    assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(first, second);
}

#[test]
fn the_order_of_packages_does_not_matter() {
    let place = Place::new();
    let staff = Meta { mode: 0o2775, uid: 0, gid: 50 };
    let debs = || {
        let base = base().with("var/local/", "").owned(staff);
        [
            base,
            Deb::new("a", "").with("var/local/", "").with("var/local/a", "a"),
            Deb::new("z", "").with("z", "z"),
        ]
    };
    let one = place.unpack(&debs()).unwrap();
    let mut turned = debs();
    turned.reverse();
    assert_eq!(one, place.unpack(&turned).unwrap());
    assert_eq!(one.dir(&GuestPath::new("/var/local").unwrap()).unwrap().meta, staff);
}

#[test]
fn one_path_belongs_to_one_package() {
    let has = |name, fields, path| Deb::new(name, fields).with(path, name);
    assert_eq!(
        refusal(&[base(), has("a", "", "usr/x"), has("b", "", "usr/x")]),
        "packages `a` and `b` both have `/usr/x`"
    );
    // `/bin` and `/usr/bin` are one.
    assert_eq!(
        refusal(&[base(), has("a", "", "bin/x"), has("b", "", "usr/bin/x")]),
        "packages `a` and `b` both have `/usr/bin/x`"
    );
    assert_eq!(
        refusal(&[base(), has("a", "", "usr/x"), has("b", "", "usr/x/y")]),
        "packages `a` and `b` both have `/usr/x`"
    );
    assert_eq!(
        refusal(&[base(), has("a", "", "usr/x/y"), has("b", "", "usr/x")]),
        "packages `a` and `b` both have `/usr/x`"
    );
    assert_eq!(
        refusal(&[base(), Deb::new("a", "").with("bin", "-> elsewhere")]),
        "package `a_1_all.deb` has `/bin`, which is to be a link into `/usr`"
    );
}

#[test]
fn replaces_gives_a_path_to_one() {
    for (fields, winner) in [
        ("Replaces: b (<< 2)\n", Some("a")),
        ("Replaces: virtual\n", Some("a")),
        ("Replaces: b (<< 1)\n", None),
    ] {
        let place = Place::new();
        let a = Deb::new("a", fields).with("usr/x", "a");
        let b = Deb::new("b", "Provides: virtual\n").with("usr/x", "b").with("usr/y", "b");
        match (place.unpack(&[base(), a, b]), winner) {
            (Ok(tree), Some(winner)) => {
                assert_eq!(place.text(&tree, "/usr/x"), winner);
                assert_eq!(place.text(&tree, "/var/lib/dpkg/info/b.list"), "/.\n/usr\n/usr/y\n");
            }
            (result, None) => assert!(matches!(result, Err(Error::Overlap { .. }))),
            (Err(error), _) => panic!("{error}"),
        }
    }
}

#[test]
fn bad_packages_are_named() {
    let place = Place::new();
    let cut = place.store.put_bytes(&base().bytes()[..300]).unwrap();
    let packages = [Package { file: "cut_1_all.deb", digest: cut }];
    let error = unpack(&place.store, &packages, &Silent, &Cancel::default()).unwrap_err();
    assert!(error.to_string().starts_with("`cut_1_all.deb"), "{error}");
    assert!(error.to_string().contains("is damaged at"), "{error}");
    assert_eq!(error.blame(), crate::base::Blame::Input);

    assert_eq!(
        refusal(&[base(), base()]),
        "`base-files_1_all.deb` and `base-files_1_all.deb` are the same package"
    );
    assert_eq!(
        refusal(&[Deb::new("a", "").with("usr/bin/dpkg", "")]),
        "no package of the root brings `/usr/bin/sh`, which configuring it needs"
    );
    let mut evil = Deb::new("evil", "");
    evil.control[0].1 = evil.control[0].1.replace("evil", "../evil");
    assert_eq!(refusal(&[base(), evil]), "package `evil_1_all.deb` says `Package: ../evil`");
    assert_eq!(
        refusal(&[base(), Deb::new("a", "").about("conffiles", "/etc/none\n")]),
        "package `a_1_all.deb` lacks its configuration file `/etc/none`"
    );
    assert_eq!(
        refusal(&[base(), Deb::new("a", "\nPackage: b\n")]),
        "package `a_1_all.deb` has an empty line in its control file"
    );
    assert_eq!(
        refusal(&[base(), Deb::new("a", "").about("triggers", "interest ../status\n")]),
        "package `a_1_all.deb` waits for the trigger `../status`, which has no right name"
    );
}

#[test]
fn what_differs_between_runs_is_settled() {
    let place = Place::new();
    let mut tree = Tree::default();
    let mut put = |path: &str, bytes: &[u8]| {
        let node = Node::File { digest: place.store.put_bytes(bytes).unwrap(), meta: Meta::root(0o640) };
        tree.insert(&GuestPath::new(path).unwrap(), node).unwrap();
    };
    put("/etc/machine-id", b"0123\n");
    put("/etc/passwd-", b"old");
    put("/etc/shadow", b"root:*:20000:0:99999:7:::\nnew:!:0:0:::::\nnone:!:::::::\n");
    put("/etc/iscsi/initiatorname.iscsi", b"InitiatorName=random\n");
    put("/var/cache/debconf/config.dat-old", b"old");
    put("/var/cache/ldconfig/aux-cache", b"inodes");
    put("/var/log/dpkg.log", b"today");
    put("/var/log/README", b"kept");
    put("/run/x/y", b"");
    put("/usr/a.pyc", b"\xa7\r\r\n\0\0\0\0\x11\x22\x33\x44\x01\0\0\0code");
    put("/usr/hashed.pyc", b"\xa7\r\r\n\x01\0\0\0\x11\x22\x33\x44\x01\0\0\0code");
    let link = Node::Symlink { target: "../run/resolv.conf".into() };
    tree.insert(&GuestPath::new("/etc/resolv.conf").unwrap(), link.clone()).unwrap();
    let settled = settle(&place.store, tree).unwrap();
    let walked: Vec<String> = settled.walk().map(|(path, _)| path.to_string()).collect();
    assert_eq!(
        walked,
        [
            "/etc",
            "/etc/iscsi",
            "/etc/iscsi/initiatorname.iscsi",
            "/etc/machine-id",
            "/etc/resolv.conf",
            "/etc/shadow",
            "/run",
            "/usr",
            "/usr/a.pyc",
            "/usr/hashed.pyc",
            "/var",
            "/var/cache",
            "/var/cache/debconf",
            "/var/cache/ldconfig",
            "/var/log",
            "/var/log/README",
        ]
    );
    assert_eq!(place.text(&settled, "/etc/machine-id"), "");
    assert_eq!(place.text(&settled, "/etc/shadow"), "root:*::0:99999:7:::\nnew:!:0:0:::::\nnone:!:::::::\n");
    assert_eq!(place.text(&settled, "/etc/iscsi/initiatorname.iscsi"), "GenerateName=yes\n");
    let bytes = |path: &str| match settled.get(&GuestPath::new(path).unwrap()) {
        Some(Node::File { digest, .. }) => place.store.read_blob(digest).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bytes("/usr/a.pyc")[8..12], [0; 4]);
    assert_eq!(bytes("/usr/hashed.pyc")[8..12], [0x11, 0x22, 0x33, 0x44]);
    assert_eq!(settle(&place.store, settled.clone()).unwrap(), settled);
}

use super::*;
use crate::store::Store;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

/// A tree of files, each with its mode; what ends in `/` is a directory, and ` -> ` makes a link.
fn tree(store: &Store, items: &[(&str, u32, &[u8])]) -> Tree {
    let mut tree = Tree::default();
    for (path, mode, content) in items {
        let (path, node) = match path.split_once(" -> ") {
            Some((path, target)) => (path, Node::Symlink { target: target.into() }),
            None if path.ends_with('/') => {
                let dir = Dir { meta: Meta::root(*mode), ..Dir::default() };
                (path.trim_end_matches('/'), Node::Dir(dir))
            }
            None => {
                let digest = store.put_bytes(content).unwrap();
                (*path, Node::File { digest, meta: Meta::root(*mode) })
            }
        };
        tree.insert(&GuestPath::new(path).unwrap(), node).unwrap();
    }
    tree
}

fn told(before: &[(&str, u32, &[u8])], now: &[(&str, u32, &[u8])]) -> Vec<String> {
    let (_dir, store) = store();
    let (before, now) = (tree(&store, before), tree(&store, now));
    let changes = compare(&store, &before, &now).unwrap();
    let names = store.put_tree(&before).unwrap();
    assert_eq!(trees(&store, &names, &store.put_tree(&now).unwrap()).unwrap(), changes);
    assert!(trees(&store, &names, &names).unwrap().is_empty());
    changes.iter().map(ToString::to_string).collect()
}

fn content(path: &str, before: &[u8], now: &[u8]) -> Vec<String> {
    content::details(path, before, now).iter().map(ToString::to_string).collect()
}

fn gzip(bytes: &[u8], time: u32) -> Vec<u8> {
    use std::io::Write as _;
    let builder = flate2::GzBuilder::new().mtime(time);
    let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn trees_are_compared_by_path() {
    assert_eq!(
        told(
            &[
                ("/bin/a", 0o755, b"one\n"),
                ("/bin/link -> a", 0, b""),
                ("/etc/", 0o755, b""),
                ("/etc/gone/x", 0o644, b""),
                ("/same", 0o644, b"same"),
                ("/turns/x", 0o644, b""),
                ("/wide", 0o644, b""),
            ],
            &[
                ("/bin/a", 0o4755, b"two\n"),
                ("/bin/link -> b", 0, b""),
                ("/bin/new", 0o755, b""),
                ("/etc/", 0o700, b""),
                ("/same", 0o644, b"same"),
                ("/turns", 0o644, b""),
                ("/wide/x", 0o644, b""),
            ],
        ),
        [
            "~ /bin/a: mode 0755 → 4755, lines +1 −1",
            "~ /bin/link: target a → b",
            "+ /bin/new",
            "~ /etc: mode 0755 → 0700",
            "− /etc/gone",
            "− /etc/gone/x",
            "~ /turns: kind directory → file",
            "− /turns/x",
            "~ /wide: kind file → directory",
            "+ /wide/x",
        ]
    );
}

#[test]
fn owners_and_the_root_are_compared() {
    let (_dir, store) = store();
    let (mut before, mut now) = (Tree::default(), Tree::default());
    now.meta.mode = 0o700;
    let file =
        |uid| Node::File { digest: Digest::of(b"never stored"), meta: Meta { mode: 0o644, uid, gid: 7 } };
    for (tree, uid) in [(&mut before, 0), (&mut now, 1)] {
        tree.insert(&GuestPath::new("/a").unwrap(), file(uid)).unwrap();
    }
    let changes: Vec<_> = compare(&store, &before, &now).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["~ /: mode 0755 → 0700", "~ /a: owner 0:7 → 1:7"]);
}

#[test]
fn files_that_are_not_in_the_store_differ_by_digest() {
    let (_dir, store) = store();
    let (mut before, mut now) = (Tree::default(), Tree::default());
    for (tree, content) in [(&mut before, b"a"), (&mut now, b"b")] {
        let file = Node::File { digest: Digest::of(content), meta: Meta::root(0o644) };
        tree.insert(&GuestPath::new("/a").unwrap(), file).unwrap();
    }
    let changes = compare(&store, &before, &now).unwrap();
    assert!(changes[0].to_string().starts_with("~ /a: content 1 bytes sha256:ca97"), "{}", changes[0]);
}

#[test]
fn documents_are_compared_by_field() {
    assert_eq!(
        content(
            "/etc/a.toml",
            b"a = 1\n[t]\nb = [\"x\", \"y\"]\nd = 2020-01-01\n[[r]]\nname = \"p\"\nv = 1\n[[r]]\nname = \"q\"\n",
            b"a = 2\n[t]\nb = [\"y\", \"z\"]\nd = 2020-01-02\n[[r]]\nname = \"q\"\n[[r]]\nname = \"p\"\nv = 2\n",
        ),
        ["a 1 → 2", "t.b +1 −1", "t.d 2020-01-01 → 2020-01-02", "r[p].v 1 → 2"]
    );
    assert_eq!(
        content("/x", br#"{"a":{"b c":1,"gone":null}}"#, br#"{"a":{"b c":[1],"n":true}}"#),
        [r#"a."b c" 1 → [1]"#, "a.gone − null", "a.n + true"]
    );
    assert_eq!(content("/x.json", b"[1,2]", b"[2,1]"), ["order of the whole"]);
    // A document that only is written otherwise is a text.
    assert_eq!(content("/x.toml", b"a = 1\n", b"a  =  1\n"), ["lines +1 −1"]);
    assert_eq!(content("/x.toml", b"a = \n", b"a = 1\n"), ["lines +1 −1"]);
}

#[test]
fn lines_are_shown_with_what_stands_around() {
    let found = lines("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nD\ne\nf").unwrap();
    assert_eq!((found.gone, found.new, found.cut), (2, 2, false));
    let shown: Vec<_> =
        found.hunks[0].lines.iter().map(|line| format!("{}{}", line.sign.as_char(), line.text)).collect();
    assert_eq!(shown, [" b", " c", "-d", "+D", " e", "-f", "+f"]);
    assert_eq!((found.hunks[0].before, found.hunks[0].now), (2, 2));
    assert_eq!(lines("a", "a"), None);
}

#[test]
fn texts_without_anything_in_common_are_only_counted() {
    let text = |from: usize| (from..from + 20_000).map(|line| format!("{line}\n")).collect::<String>();
    let found = lines(&text(0), &text(100_000)).unwrap();
    assert_eq!((found.gone, found.new, found.cut, found.hunks.len()), (20_000, 20_000, true, 0));
    let long = lines(&"ä".repeat(1_000), "b").unwrap();
    assert_eq!(long.hunks[0].lines[0].text.chars().count(), 501);
}

#[test]
fn packages_are_compared_by_version() {
    let status = |items: &[(&str, &str)]| {
        let one = |(name, version): &(&str, &str)| {
            format!(
                "Package: {name}\nStatus: install ok installed\nVersion: {version}\nDescription: x\n Package: y\n\n"
            )
        };
        items.iter().map(one).collect::<String>()
            + "Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    };
    let (before, now) =
        (status(&[("a", "1"), ("b", "2"), ("c", "3")]), status(&[("a", "1.1"), ("c", "3"), ("d", "4")]));
    let found = content(debian::STATUS, before.as_bytes(), now.as_bytes());
    assert_eq!(found, ["a 1 → 1.1", "b − 2", "d + 4"]);
    // The list says more than versions.
    let other = before.replace("Description: x", "Description: z");
    assert_eq!(content(debian::STATUS, before.as_bytes(), other.as_bytes()), ["lines +3 −3"]);
}

#[test]
fn compressed_files_are_looked_into_once() {
    assert_eq!(content("/a.gz", &gzip(b"x\n", 1), &gzip(b"x\n", 2)), ["only its compression differs"]);
    assert_eq!(content("/a.gz", &gzip(b"x\n", 1), &gzip(b"y\n", 1)), ["lines +1 −1"]);
    let twice = |text| gzip(&gzip(text, 1), 1);
    assert!(content("/a.gz", &twice(b"x\n"), &twice(b"y\n"))[0].contains("bytes"));
}

#[test]
fn other_files_are_compared_by_byte() {
    assert_eq!(
        content("/a", b"\0abc\xff\xffz", b"\0abd\xff\xffy"),
        ["2 of 7 bytes", "from byte 0x3 63ffff7a c..z → 64ffff79 d..y"]
    );
    assert_eq!(content("/a", b"\0a", b"\0ab"), ["size 2 → 3"]);
}

#[test]
fn programs_are_compared_by_what_their_loader_reads() {
    let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    let name = b"libc.so.6\0";
    let at = own.windows(name.len()).position(|window| window == name).unwrap();
    let mut other = own.clone();
    other[at..at + name.len()].copy_from_slice(b"libd.so.6\0");
    let found = content("/bin/x", &own, &other);
    assert!(found.contains(&"needed +1 −1".to_owned()), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("section .dynstr ")), "{found:?}");
    // Damaged ones are bytes.
    assert_eq!(content("/bin/x", b"\x7fELF\x02", b"\x7fELF\x01").len(), 2);
}

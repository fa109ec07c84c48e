//! Small bundles, whole and altered.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;
use crate::base::event::{Event, Sink};
use crate::base::{Arch, Cancel, Digest, Sha256};
use crate::store::Store;

struct Quiet;

impl Sink for Quiet {
    fn emit(&self, _: Event) {}
}

/// A store, a listing and the bytes of its members.
struct Small {
    folder: tempfile::TempDir,
    store: Store,
    listing: Listing,
    contents: BTreeMap<String, Content>,
    signature: Option<Vec<u8>>,
}

fn small() -> Small {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let blob = store.put_bytes(b"a source").unwrap();
    let mut listing = Listing::new(vec!["packages/hello".into()], &[Arch::Amd64], &[Arch::Amd64]);
    let mut contents = BTreeMap::new();
    let mut add = |path: &str, bytes: &[u8], content: Content, source: Option<&str>| {
        let Digest { hash, size } = Digest::of(bytes);
        let (executable, source) = (path.starts_with("bin/"), source.map(str::to_owned));
        let member = Member { path: path.to_owned(), size, sha256: hash, executable, source };
        assert!(listing.add(member, None).unwrap());
        contents.insert(path.to_owned(), content);
    };
    let bytes = |text: &str| Content::Bytes(text.as_bytes().to_vec());
    add("bin/nodeimg-amd64", b"a program", bytes("a program"), None);
    add(&super::blob(&blob.hash), b"a source", Content::Blob, Some("hello.tar"));
    add("project/recipes/packages/hello.toml", b"name = 1", bytes("name = 1"), None);
    Small { folder, store, listing, contents, signature: None }
}

/// What stands for a signature in these tests: the listing's hash.
fn check(key: &str, listing: &[u8], signature: &[u8]) -> Result<(), String> {
    let is_good = key == "key" && signature == Sha256::of(listing).to_string().as_bytes();
    is_good.then_some(()).ok_or_else(|| "it is of another listing".to_owned())
}

impl Small {
    fn signed() -> Self {
        let mut small = small();
        small.listing.signed_by = Some("key".to_owned());
        small.signature = Some(small.listing.hash().to_string().into_bytes());
        small
    }

    fn parts<'a>(&'a self, cancel: &'a Cancel) -> Parts<'a> {
        let signature = self.signature.as_deref();
        let (listing, contents, store) = (&self.listing, &self.contents, &self.store);
        Parts { listing, signature, contents, store, events: &Quiet, cancel }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream(&mut bytes, &self.parts(&Cancel::default())).unwrap();
        bytes
    }
}

/// Reads a bundle to its end; gives what was given.
fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    read_into(bytes, &store)
}

fn read_into(bytes: &[u8], store: &Store) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let cancel = Cancel::default();
    let reader = Reader::open(Cursor::new(bytes), "b.tar", &check, &cancel)?;
    let mut given = Vec::new();
    let take = |member: &Member| match member.source {
        Some(_) => Take::Store,
        None if member.executable => Take::Check,
        None => Take::Give,
    };
    let mut give = |member: &Member, bytes| {
        given.push((member.path.clone(), bytes));
        Ok(())
    };
    reader.members(Some(store), &take, &mut give, &mut |_| ())?;
    Ok(given)
}

fn fault(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// Where a text stands.
fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).rposition(|part| part == text.as_bytes()).unwrap()
}

#[test]
fn what_is_written_is_read() {
    for small in [small(), Small::signed()] {
        let bytes = small.bytes();
        let given = read(&bytes).unwrap();
        assert_eq!(given, [("project/recipes/packages/hello.toml".to_owned(), b"name = 1".to_vec())]);
        assert_eq!(bytes, small.bytes());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        read_into(&bytes, &store).unwrap();
        assert!(store.has_blob(&Digest::of(b"a source")));
        // And again where it is there already.
        read_into(&bytes, &store).unwrap();
    }
}

#[test]
fn others_read_it_as_a_tar() {
    let bytes = Small::signed().bytes();
    let mut archive = tar::Archive::new(Cursor::new(&bytes));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        found.push((entry.path().unwrap().display().to_string(), header.mode().unwrap()));
    }
    let blob = super::blob(&Sha256::of(b"a source"));
    let expected: Vec<_> = [
        (LISTING, 0o644),
        (CHECKSUM, 0o644),
        (SIGNATURE, 0o644),
        ("bin/nodeimg-amd64", 0o755),
        (&blob, 0o644),
        ("project/recipes/packages/hello.toml", 0o644),
    ]
    .map(|(path, mode)| (path.to_owned(), mode))
    .into();
    assert_eq!(found, expected);
}

/// Every byte counts, wherever it stands.
#[test]
fn no_byte_can_be_altered_taken_or_added() {
    let small = Small::signed();
    let whole = small.bytes();
    let (own, blob) = (small.folder.path().join("other"), Digest::of(b"a source"));
    let store = Store::open(&own).unwrap();
    for at in 0..whole.len() {
        for mask in [1, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            assert!(read_into(&bytes, &store).is_err(), "byte {at} of {} flipped", whole.len());
        }
    }
    for length in (0..whole.len()).step_by(7) {
        assert!(read_into(&whole[..length], &store).is_err(), "cut to {length} of {}", whole.len());
    }
    // Only what was right was stored on the way.
    assert!(store.has_blob(&blob));
    assert_eq!(store.verify(&Cancel::default()).unwrap().damaged, []);
    for more in [vec![0], vec![0; 512], vec![0; 10240], b"x".to_vec()] {
        assert_eq!(fault(&[&whole[..], &more].concat()), "`b.tar` goes on behind its end");
    }
}

#[test]
fn a_refusal_names_what_is_wrong() {
    let small = Small::signed();
    let whole = small.bytes();
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fault(&bytes)
    };
    let hello = "project/recipes/packages/hello.toml";
    let header = find(&whole, hello);
    let (blob, hash) = (super::blob(&Sha256::of(b"a source")), Sha256::of(b"a source"));
    assert_eq!(altered(header + 100), format!("`b.tar`: the header of `{hello}` is altered"));
    assert_eq!(
        altered(header + 8),
        format!("`b.tar`: `{hello}` is missing, `project/secipes/packages/hello.toml` stands in its place")
    );
    let content = find(&whole, "a source");
    assert_eq!(
        altered(content),
        format!(
            "`b.tar`: `{blob} (hello.tar)` is altered\n  expected: {hash}\n  received: {}",
            Sha256::of(b"` source")
        )
    );
    assert_eq!(altered(content + 8), format!("`b.tar`: what fills the last record of `{blob}` is altered"));
    let program = find(&whole, "a program");
    assert!(altered(program).starts_with("`b.tar`: `bin/nodeimg-amd64` is altered\n"));
    let listed = find(&whole[..2048], "packages/hello\"");
    assert!(altered(listed).starts_with("`b.tar`: `bundle.json` is altered\n"), "{}", altered(listed));
    let sum = find(&whole, "  bundle.json\n");
    assert!(altered(sum - 64).starts_with("`b.tar`: `bundle.json` is altered\n"));
    assert!(altered(sum + 2).starts_with("`b.tar`: `bundle.json.sha256` is altered\n"));
    let signature = find(&whole, &small.listing.hash().to_string());
    assert_eq!(
        altered(signature),
        "`b.tar`: the signature of its listing is wrong: it is of another listing"
    );
    assert_eq!(altered(whole.len() - 1), "`b.tar`: its end is altered");
    assert_eq!(altered(0), "`b.tar` is no bundle: it does not begin with `bundle.json`");
    assert_eq!(fault(b"short"), "`b.tar` is no bundle: it is too short");
    assert_eq!(fault(&whole[..header - 1]), format!("`b.tar` ends in the middle of `{blob}`"));
    assert_eq!(fault(&whole[..header]), format!("`b.tar`: `{hello}` is missing: the bundle ends before it"));
    assert_eq!(fault(&whole[..header + 515]), format!("`b.tar` ends in the middle of `{hello}`"));
    assert_eq!(fault(&whole[..whole.len() - 512]), "`b.tar` ends in the middle of `its end`");
}

#[test]
fn members_cannot_be_taken_added_or_moved() {
    let whole = small().bytes();
    let hello = find(&whole, "project/recipes/packages/hello.toml");
    let (blob, end) = (find(&whole, "blobs/sha256/"), whole.len() - 1024);
    let name = super::blob(&Sha256::of(b"a source"));
    let without = [&whole[..blob], &whole[hello..]].concat();
    assert_eq!(
        fault(&without),
        format!("`b.tar`: `{name}` is missing, `project/recipes/packages/hello.toml` stands in its place")
    );
    let last_gone = [&whole[..hello], &whole[end..]].concat();
    assert_eq!(
        fault(&last_gone),
        "`b.tar`: `project/recipes/packages/hello.toml` is missing: the bundle ends before it"
    );
    let twice = [&whole[..end], &whole[hello..]].concat();
    assert_eq!(fault(&twice), "`b.tar`: `project/recipes/packages/hello.toml` is not in the listing");
    let unsigned = Small::signed().bytes();
    let signature = find(&unsigned, SIGNATURE);
    let stripped = [&unsigned[..signature], &unsigned[signature + 1024..]].concat();
    assert_eq!(
        fault(&stripped),
        "`b.tar`: `bundle.json.sig` is missing, `bin/nodeimg-amd64` stands in its place"
    );
}

/// Makes a bundle of a listing that says anything.
fn hostile(change: impl FnOnce(&mut Listing)) -> String {
    let mut small = small();
    change(&mut small.listing);
    let text = small.listing.text();
    let mut bytes = Vec::new();
    for (path, text) in [(LISTING, text.clone()), (CHECKSUM, write::checksum(&Sha256::of(text.as_bytes())))] {
        bytes.extend_from_slice(&header::of(path, text.len() as u64, false));
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend(vec![0; header::fill(text.len() as u64)]);
    }
    bytes.extend([0; 1024]);
    let told = fault(&bytes);
    told.strip_prefix("the listing of `b.tar` is wrong: ").unwrap_or(&told).to_owned()
}

#[test]
fn hostile_listings_are_refused() {
    let named = |path: &str| {
        let path = path.to_owned();
        hostile(move |listing| listing.members[2].path = path)
    };
    for path in [
        "project/../../etc/passwd",
        "project/./x",
        "project//x",
        "project/",
        "project/a\nb",
        "/etc/passwd",
        "../x",
        "results.json/x",
        "trees/sha256/XYZ",
        "etc/passwd",
        "",
    ] {
        assert_eq!(named(path), format!("`{}` is no path of a bundle", path.escape_debug()), "{path}");
    }
    let long = format!("project/{}", "x".repeat(101));
    assert_eq!(named(&long), format!("`{long}` is no path of a bundle"));
    let blob = super::blob(&Sha256::of(b"other"));
    assert_eq!(
        hostile(|listing| listing.members[1].path = blob.clone()),
        format!("`{blob}` is said to have another hash than its name")
    );
    assert_eq!(
        hostile(|listing| listing.members.push(listing.members[2].clone())),
        "`project/recipes/packages/hello.toml` is listed twice"
    );
    assert_eq!(
        hostile(|listing| listing.members.swap(0, 2)),
        format!(
            "`{}` is listed after `project/recipes/packages/hello.toml`",
            super::blob(&Sha256::of(b"a source"))
        )
    );
    assert_eq!(
        hostile(|listing| listing.members[2].size = u64::MAX),
        "`project/recipes/packages/hello.toml` has 18446744073709551615 bytes, more than anything of its kind"
    );
    assert_eq!(
        hostile(|listing| {
            let mut inner = listing.members[2].clone();
            inner.path += "/x";
            listing.members.push(inner);
        }),
        "`project/recipes/packages/hello.toml` is a file and a folder"
    );
    assert_eq!(
        hostile(|listing| listing.members[1].executable = true),
        format!("`{}` has the mode of another kind of file", super::blob(&Sha256::of(b"a source")))
    );
    assert_eq!(hostile(|listing| listing.nodeimg_bundle = 2), "its format is 2, this nodeimg reads 1");
    assert_eq!(
        hostile(|listing| listing.hosts.push("plan9/mips".into())),
        "it is for `plan9/mips`, which is no platform"
    );
    assert_eq!(hostile(|listing| listing.targets.clear()), "it is for nothing");
    assert_eq!(
        hostile(|listing| listing.since = Some(Since { listing: Sha256::of(b"") })),
        "`since` and `elsewhere` go together"
    );
    assert_eq!(
        hostile(|listing| {
            listing.since = Some(Since { listing: Sha256::of(b"") });
            listing.elsewhere = vec![listing.members.remove(2)];
        }),
        "`project/recipes/packages/hello.toml` must be in each bundle"
    );
    let text = small().listing.text();
    assert_eq!(
        Listing::parse(text.replace("  \"hosts\"", " \"hosts\"").as_bytes()),
        Err("it is not written as nodeimg writes it".to_owned())
    );
    let unknown = text.replace("\"hosts\"", "\"more\": 1, \"hosts\"");
    assert!(Listing::parse(unknown.as_bytes()).unwrap_err().starts_with("unknown field `more`"));
}

/// A lie about a size costs no more than the bytes that really come.
#[test]
fn a_size_is_believed_as_far_as_bytes_come() {
    let mut small = small();
    small.listing.members[1].size = 1 << 49;
    small.contents.insert(small.listing.members[1].path.clone(), Content::Bytes(b"a source".to_vec()));
    let whole = small.bytes_of_listing();
    let told = fault(&[&whole[..], b"little"].concat());
    assert_eq!(
        told,
        format!("`b.tar` ends in the middle of `{} (hello.tar)`", super::blob(&Sha256::of(b"a source")))
    );
}

impl Small {
    /// The front, the first member, and the header of the second.
    fn bytes_of_listing(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing stops where the content is not as long as the listing says.
        stream(&mut bytes, &self.parts(&Cancel::default())).unwrap_err();
        bytes
    }
}

#[test]
fn a_stopped_run_is_gone_on_with() {
    let small = small();
    let whole = small.bytes();
    let (path, cancel) = (small.folder.path().join("b.tar"), Cancel::default());
    let partial = small.folder.path().join("b.tar.partial");
    let program = find(&whole, "bin/nodeimg-amd64");
    let blob = find(&whole, "blobs/sha256/");
    for (length, resumed) in [
        (0, 0),
        (100, 0),
        (program, 0),
        (program + 700, program),
        (blob, blob),
        (blob + 514, blob),
        (whole.len() - 1024, whole.len() - 1024),
        (whole.len(), whole.len() - 1024),
    ] {
        fs_err::write(&partial, &whole[..length]).unwrap();
        let written = create(&path, &small.parts(&cancel)).unwrap();
        assert_eq!(written, Written { size: whole.len() as u64, resumed: resumed as u64 }, "{length}");
        assert_eq!(fs_err::read(&path).unwrap(), whole);
        assert!(!partial.exists());
    }
    // Whatever else lies there is written over.
    let mut other = whole.clone();
    other[blob + 513] ^= 1;
    fs_err::write(&partial, [&other[..], &[1; 5000]].concat()).unwrap();
    let written = create(&path, &small.parts(&cancel)).unwrap();
    assert_eq!(written.resumed, blob as u64);
    assert_eq!(fs_err::read(&path).unwrap(), whole);
    // A run that is stopped leaves the file alone that was there, and what it wrote.
    fs_err::write(&path, "old").unwrap();
    fs_err::write(&partial, &whole[..blob]).unwrap();
    cancel.cancel();
    assert!(matches!(create(&path, &small.parts(&cancel)), Err(Error::Cancelled)));
    assert_eq!(
        (fs_err::read(&path).unwrap(), fs_err::read(&partial).unwrap().len()),
        (b"old".to_vec(), blob)
    );
}

#[test]
fn what_an_earlier_bundle_has_is_left_out() {
    let earlier = small();
    let mut listing = Listing::new(vec!["packages/hello".into()], &[Arch::Amd64], &[Arch::Amd64]);
    let mut kept = Vec::new();
    for member in &earlier.listing.members {
        if listing.add(member.clone(), Some(&earlier.listing)).unwrap() {
            kept.push(member.path.clone());
        }
    }
    assert_eq!(kept, ["bin/nodeimg-amd64", "project/recipes/packages/hello.toml"]);
    assert_eq!(listing.since, Some(Since { listing: earlier.listing.hash() }));
    assert_eq!(listing.elsewhere, [earlier.listing.members[1].clone()]);
    assert_eq!(Listing::parse(listing.text().as_bytes()), Ok(listing));
}

#[test]
fn long_paths_and_large_files_have_room_in_a_header() {
    let path = format!("project/{}/{}", "a".repeat(140), "b".repeat(100));
    let header = header::of(&path, 8 << 30, true);
    assert_eq!(header::path(&header), path);
    let read = tar::Header::from_byte_slice(&header);
    assert_eq!((read.size().unwrap(), read.path().unwrap().to_str().unwrap()), (8 << 30, path.as_str()));
    assert!(!header::fits(&format!("project/{}/{}", "a".repeat(150), "b".repeat(100))));
    let mut listing = Listing::new(vec!["packages/hello".into()], &[Arch::Amd64], &[Arch::Amd64]);
    let path = format!("project/{}", "b".repeat(101));
    let member = Member { path, size: 0, sha256: Sha256::of(b""), executable: false, source: None };
    assert!(matches!(listing.add(member, None), Err(Error::TooLong { .. })));
}

#[test]
fn programs_that_need_nothing_are_told_from_others() {
    let fault = |path: &str| architecture(path.as_ref()).unwrap_err().to_string();
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    assert_eq!(fault(own), format!("`{own}` is no program that runs on its own: it is linked dynamically"));
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs_err::write(&text, "#!/bin/sh\n").unwrap();
    let text = text.to_str().unwrap();
    assert_eq!(fault(text), format!("`{text}` is no program that runs on its own: it is no ELF file"));
    if std::path::Path::new("/bin/busybox").exists() {
        assert_eq!(architecture("/bin/busybox".as_ref()).unwrap(), Arch::host().unwrap());
    }
}

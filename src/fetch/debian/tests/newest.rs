use std::collections::BTreeSet;

use super::archive::{Archive, DATE, MOMENT};
use crate::base::Arch;
use crate::fetch::debian::{Indices, Known, Newest};

const LATER: &str = "Sun, 12 Jul 2026 08:00:00 UTC";

fn newest(archive: &Archive, suites: &[&str]) -> Result<Newest, String> {
    let keys = [archive.signer.file()];
    let found = archive.snapshot(suites, &keys, MOMENT, |snapshot, context| snapshot.newest(context));
    found.map_err(|error| archive.shown(&error))
}

/// `name version, from source version` of what names stand for.
fn named(archive: &Archive, suite: &Newest, names: &[&str]) -> Vec<String> {
    let names: BTreeSet<&str> = names.iter().copied().collect();
    let known = archive.snapshot(&["stable"], &[], MOMENT, |_, context| {
        Indices::default().named(suite, Arch::Amd64, &names, context).unwrap()
    });
    known.values().map(told).collect()
}

fn told(known: &Known) -> String {
    let (package, source) = (known.pin.package(), &known.source);
    format!("{package} {}, from {} {}", known.version, source.name, source.version)
}

#[test]
fn a_suite_is_looked_at_as_it_is_now() {
    let archive = Archive::with(&["a 1", "b 1"]);
    let pin = archive.pin(&["stable"]).unwrap();
    assert_eq!(newest(&archive, &["stable"]).unwrap().pin, pin);
    archive.publish("debian", "stable", LATER, "", &["a 1:2\nSource: s (3)", "b 1", "c 1\nSource: s"]);
    archive.publish("debian", "updates", DATE, "", &["b 1.1"]);
    let now = newest(&archive, &["stable", "updates"]).unwrap();
    assert_eq!(now.moment, "20260712T140000Z");
    assert_eq!(
        named(&archive, &now, &["a", "b", "c", "gone"]),
        ["a 1:2, from s 3", "b 1.1, from b 1.1", "c 1, from s 1"]
    );
}

#[test]
fn what_is_newer_is_so_by_its_version_and_its_bytes() {
    let archive = Archive::with(&["a 2"]);
    let locked = archive.snapshot(&["stable"], &[], MOMENT, |_, context| {
        let pin = archive.pin(&["stable"]).unwrap();
        Indices::default().closure(&pin, MOMENT, Arch::Amd64, &["a".to_owned()], context).unwrap()
    });
    for (version, is_newer) in
        [("2", false), ("1.9", false), ("3", true), ("2+deb12u1", true), ("2~rc1", false)]
    {
        archive.publish("debian", "stable", LATER, "", &[&format!("a {version}")]);
        let now = newest(&archive, &["stable"]).unwrap();
        let known = archive.snapshot(&["stable"], &[], MOMENT, |_, context| {
            Indices::default().named(&now, Arch::Amd64, &BTreeSet::from(["a"]), context).unwrap()
        });
        assert_eq!(known["a"].is_newer_than(&locked[0]), is_newer, "{version}");
    }
}

#[test]
fn a_pinned_index_says_what_a_file_was_built_from() {
    let archive = Archive::with(&["a 1:2\nSource: s (3)", "b 1"]);
    let pin = archive.pin(&["stable"]).unwrap();
    let found = archive.snapshot(&["stable"], &[], MOMENT, |_, context| {
        let indices = Indices::default();
        let wants = ["a".to_owned(), "b".to_owned()];
        let files = indices.closure(&pin, MOMENT, Arch::Amd64, &wants, context).unwrap();
        let mut other = files[0].clone();
        other.path = "pool/a_9_amd64.deb".to_owned();
        let files: Vec<_> = files.iter().chain([&other]).collect();
        indices.files(&pin, MOMENT, Arch::Amd64, &files, context).unwrap()
    });
    assert_eq!(found.iter().map(told).collect::<Vec<_>>(), ["a 1:2, from s 3", "b 1, from b 1"]);
}

#[test]
fn what_nobody_signed_is_no_news() {
    let archive = Archive::with(&["a 1"]);
    let forged = archive.read("debian/dists/stable/InRelease").replace("Origin: Debian", "Origin: Elsewhere");
    archive.write("debian/dists/stable/InRelease", forged.as_bytes());
    let error = newest(&archive, &["stable"]).unwrap_err();
    assert!(error.starts_with("the signature of `debian:dists/stable/InRelease` is bad\n"), "{error}");
    archive.publish("debian", "unstable", DATE, "", &["a 1"]);
    let other = archive.read("debian/dists/unstable/InRelease");
    archive.write("debian/dists/stable/InRelease", other.as_bytes());
    let error = newest(&archive, &["stable"]).unwrap_err();
    assert!(error.contains("it is the release of `unstable`, `oldstable`"), "{error}");
}

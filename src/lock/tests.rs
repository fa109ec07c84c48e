//! Locks of projects in a temporary folder, resolved by answers made up here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use miette::Diagnostic as _;

use super::*;
use crate::base::{Blame, Cancel};
use crate::fetch::debian::PocketPin;
use crate::recipe;

const SUITE: &str = r#"
name = "bookworm"
snapshot = "20261120T000000Z"
components = ["main"]
keys = []
[[pockets]]
archive = "debian"
suite = "bookworm"
"#;

const CRUN: &str = r#"
name = "crun"
version = "1.21"
license = "GPL-2.0-or-later"
[source]
url = "https://example.org/{version}/crun-{version}.tar.gz"
also = ["debian:pool/main/c/crun/crun_{version}.orig.tar.gz"]
[build]
root = "bookworm"
packages = ["make", "gcc"]
script = "make"
[test]
packages = ["jq"]
script = "true"
"#;

const WHEEL: &str = r#"
name = "wheel"
version = "25.0.0"
license = "Apache-2.0"
[source]
url = "https://example.org/wheel-{version}-{machine}.whl"
[build]
root = "bookworm"
packages = ["gcc", "make"]
script = "true"
"#;

const NODE: &str = r#"
name = "node"
tag = "v1"
default = true
[system]
suite = "bookworm"
packages = ["systemd"]
[[layers]]
name = "crun"
packages = ["crun", "wheel"]
"#;

const CRUN_FILE: &str = "recipes/packages/crun.toml";
const SUITE_FILE: &str = "recipes/suites/bookworm.toml";
const CRUN_LOCK: &str = "lockfiles/packages/crun.toml";

/// Answers every request with something that is made of the request, and counts.
#[derive(Default)]
struct Answers {
    asked: AtomicUsize,
    point: &'static str,
}

impl Resolver for Answers {
    fn source(&self, request: &Request) -> Result<Pin, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Pin::file(Sha256::of(toml::to_string(request).unwrap().as_bytes()), Some(1000)))
    }

    fn base(&self, reference: &oci::Reference) -> Result<BasePin, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let digest = |of: &str| Sha256::of(format!("{of} {reference}").as_bytes());
        let platforms = Arch::ALL.map(|arch| (arch, OciDigest(digest(arch.name()))));
        Ok(BasePin { digest: digest("index"), platforms: platforms.into() })
    }

    fn suite(&self, suite: &Suite, _: &Path) -> Result<SuitePin, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let pocket = PocketPin {
            archive: Name::new("debian").unwrap(),
            suite: "bookworm".to_owned(),
            release: Sha256::of(suite.snapshot.as_str().as_bytes()),
            signer: "A1".to_owned(),
            indices: Vec::new(),
        };
        Ok(SuitePin { pockets: vec![pocket] })
    }

    fn root(
        &self,
        _: &Suite,
        _: &Path,
        _: &SuitePin,
        arch: Arch,
        wants: &[String],
    ) -> Result<Vec<PackagePin>, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let packages = ["base-files"].into_iter().chain(wants.iter().map(String::as_str));
        let pin = |name: &str| PackagePin {
            archive: "debian".to_owned(),
            path: format!("pool/main/{name}/{name}_1.0-1{}_{arch}.deb", self.point),
            size: 7,
            sha256: Sha256::of(name.as_bytes()),
        };
        Ok(packages.map(pin).collect())
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    fs_err::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
    fs_err::write(folder.join(path), text.trim_start()).unwrap();
}

fn read(folder: &Path, path: &str) -> String {
    fs_err::read_to_string(folder.join(path)).unwrap()
}

/// Changes a piece of a file.
fn edit(folder: &Path, path: &str, from: &str, to: &str) {
    let text = read(folder, path);
    assert!(text.contains(from), "{from} in {text}");
    write(folder, path, &text.replace(from, to));
}

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), SUITE_FILE, SUITE);
    write(folder.path(), CRUN_FILE, CRUN);
    write(folder.path(), "recipes/packages/wheel.toml", WHEEL);
    write(folder.path(), "recipes/images/node.toml", NODE);
    folder
}

fn lock_with(folder: &Path, answers: &Answers, update: &Update) -> Resolution {
    let project = recipe::load(folder).unwrap();
    let targets = project.lockable(&[]).unwrap();
    let resolution = resolve(&project, &targets, true, update, answers, &Cancel::default()).unwrap();
    resolution.write(&project).unwrap();
    resolution
}

fn lock(folder: &Path) -> Vec<String> {
    lock_with(folder, &Answers::default(), &Update::Nothing).changes.iter().map(Change::to_string).collect()
}

/// A project that is locked.
fn locked_project() -> tempfile::TempDir {
    let folder = project();
    lock(folder.path());
    folder
}

fn load_all(folder: &Path) -> Result<Locked, Error> {
    let project = recipe::load(folder).unwrap();
    load(&project, &project.targets(&[]).unwrap(), &Elsewhere::new())
}

/// Gives an error's text and hint.
#[track_caller]
fn refused(folder: &Path) -> (String, String) {
    let error = load_all(folder).unwrap_err();
    (error.to_string(), error.help().unwrap().to_string())
}

#[test]
fn a_lock_reads_as_it_is_written() {
    let folder = locked_project();
    let text = read(folder.path(), CRUN_LOCK);
    let head = r#"# Written by nodeimg from `recipes/packages/crun.toml`. Do not edit it, review it as a diff.
# To bring it up to date: nodeimg lock crun
version = 1
integrity = "sha256:9a94365407bbf6db90e1f2678789f52911262242c0c83e97a18cd117bd3836b5"

[source.crun.all]
version = "1.21"

[source.crun.all.request]
url = "https://example.org/1.21/crun-1.21.tar.gz"
also = ["debian:pool/main/c/crun/crun_1.21.orig.tar.gz"]

[source.crun.all.pin]
sha256 = "3d06ab2d9eafe0d158cf735e7141051d8076497589c32da88f819a13e91ede99"
size = 1000
trust = "first-use"

[root.build.request]
suite = "bookworm"
snapshot = "20261120T000000Z"
release = "ecd76d8afea3c235292c1aed54418ae0ef0da3cbcd8261168dc7ce39d3363bdd"
packages = [
    "gcc",
    "make",
]

[root.build.pin]
amd64 = [
    "debian:pool/main/base-files/base-files_1.0-1_amd64.deb 7 sha256:472b3d716961b91797c595f751d1e8d9571507656ce4a6bff9726b29993f8d25",
"#;
    assert_eq!(&text[..head.len()], head);
}

#[test]
fn what_is_locked_loads() {
    let folder = locked_project();
    let locked = load_all(folder.path()).unwrap();
    let crun = &locked.packages["crun"];
    let (request, pin) = crun.sources["crun"].on(Arch::Arm64);
    assert_eq!(request.to_string(), "https://example.org/1.21/crun-1.21.tar.gz");
    assert_eq!(pin.size, Some(1000));
    let paths = |pins: &[PackagePin]| pins.iter().map(|pin| pin.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(crun.build.on(Arch::Arm64))[1], "pool/main/gcc/gcc_1.0-1_arm64.deb");
    assert_eq!(crun.test.as_ref().unwrap().on(Arch::Amd64).len(), 4);
    let (request, _) = locked.packages["wheel"].sources["wheel"].on(Arch::Arm64);
    assert_eq!(request.to_string(), "https://example.org/wheel-25.0.0-aarch64.whl");
    assert_eq!(locked.images["node"].assembly, 1);
    assert_eq!(locked.images["node"].system.as_ref().unwrap().snapshot, "20261120T000000Z");
}

#[test]
fn locking_again_asks_nothing_and_changes_nothing() {
    let folder = locked_project();
    let answers = Answers::default();
    assert_eq!(lock_with(folder.path(), &answers, &Update::Nothing), Resolution::default());
    assert_eq!(answers.asked.load(Ordering::Relaxed), 0);
    // Nor does a checkout with other line ends.
    let text = read(folder.path(), CRUN_LOCK);
    fs_err::write(folder.path().join(CRUN_LOCK), text.replace('\n', "\r\n")).unwrap();
    assert_eq!(lock_with(folder.path(), &answers, &Update::Nothing), Resolution::default());
    load_all(folder.path()).unwrap();
}

#[test]
fn equal_roots_are_asked_for_once() {
    let folder = project();
    let answers = Answers::default();
    let changes = lock_with(folder.path(), &answers, &Update::Nothing).changes;
    // The suite, crun's source, the wheel on two platforms; on each platform the shared build root, crun's test root
    // and the system.
    assert_eq!(answers.asked.load(Ordering::Relaxed), 1 + 1 + 2 + 2 * 3);
    let changes: Vec<_> = changes.iter().map(Change::to_string).collect();
    assert_eq!(
        changes,
        [
            "bookworm: added lock: snapshot 20261120T000000Z",
            "crun: added lock: 1 source, build root with 3 on amd64, 3 on arm64 packages, \
         test root with 4 on amd64, 4 on arm64 packages",
            "wheel: added lock: 1 source, build root with 3 on amd64, 3 on arm64 packages",
            "node: added lock: system root with 2 on amd64, 2 on arm64 packages, assembly 1",
        ]
    );
}

#[test]
fn a_missing_lock_is_told() {
    let folder = project();
    assert_eq!(
        refused(folder.path()),
        (
            "4 recipes have no lock\n`suites/bookworm`: not locked yet\n`packages/crun`: not locked yet\n\
         `packages/wheel`: not locked yet\n`images/node`: not locked yet"
                .to_owned(),
            "run `nodeimg lock bookworm crun wheel node` and review the diff".to_owned(),
        )
    );
    lock(folder.path());
    fs_err::remove_file(folder.path().join(CRUN_LOCK)).unwrap();
    assert_eq!(
        refused(folder.path()),
        ("recipe `crun` has no lock".to_owned(), "run `nodeimg lock crun` and review the diff".to_owned(),)
    );
}

#[test]
fn a_new_version_is_told_as_that() {
    let folder = locked_project();
    edit(folder.path(), CRUN_FILE, "version = \"1.21\"", "version = \"1.22\"");
    assert_eq!(
        refused(folder.path()),
        (
            "lock is out of date for recipe `crun`\n\
         source `crun`: `version` is `1.22` in the recipe, `1.21` in the lock"
                .to_owned(),
            "run `nodeimg lock crun` and review the diff".to_owned(),
        )
    );
    let changes = lock(folder.path());
    assert_eq!(changes.len(), 1);
    assert!(changes[0].starts_with("crun: source crun: 1.21 (sha256 "), "{changes:?}");
    assert!(changes[0].contains("…) → 1.22 (sha256 "), "{changes:?}");
    load_all(folder.path()).unwrap();
}

#[test]
fn other_fields_are_told_by_name() {
    let folder = locked_project();
    edit(folder.path(), CRUN_FILE, "version = \"1.21\"", "version = \"1.22\"");
    let hash = "0".repeat(64);
    edit(folder.path(), CRUN_FILE, "also =", &format!("sha256 = \"{hash}\"\nalso ="));
    edit(folder.path(), CRUN_FILE, "https://example.org/", "https://example.com/");
    assert_eq!(
        refused(folder.path()).0.replace(&hash, "0"),
        "lock is out of date for recipe `crun`\n\
         source `crun`: `version` is `1.22` in the recipe, `1.21` in the lock\n\
         source `crun`: `sha256` is `0` in the recipe, not in the lock\n\
         source `crun`: `url` is `https://example.com/1.21/crun-1.21.tar.gz` in the recipe, \
         `https://example.org/1.21/crun-1.21.tar.gz` in the lock"
    );
}

#[test]
fn sources_come_and_go() {
    let folder = locked_project();
    edit(folder.path(), CRUN_FILE, "[source]", "[sources.other]");
    assert_eq!(
        refused(folder.path()).0,
        "lock is out of date for recipe `crun`\nsource `other`: not in the lock\n\
         source `crun`: no longer in the recipe"
    );
    let changes = lock(folder.path());
    assert!(changes[0].starts_with("crun: source crun: removed 1.21 (sha256 "), "{changes:?}");
    assert!(changes[1].starts_with("crun: source other: added 1.21 (sha256 "), "{changes:?}");
}

#[test]
fn packages_come_and_go() {
    let folder = locked_project();
    edit(folder.path(), CRUN_FILE, "[\"make\", \"gcc\"]", "[\"gcc\", \"python3\"]");
    assert_eq!(
        refused(folder.path()).0,
        "lock is out of date for recipe `crun`\npackages: `python3` added\npackages: `make` removed"
    );
    assert_eq!(
        lock(folder.path()),
        [
            "crun: build root amd64: removed make 1.0-1",
            "crun: build root amd64: added python3 1.0-1",
            "crun: build root arm64: removed make 1.0-1",
            "crun: build root arm64: added python3 1.0-1",
            "crun: test root amd64: removed make 1.0-1",
            "crun: test root amd64: added python3 1.0-1",
            "crun: test root arm64: removed make 1.0-1",
            "crun: test root arm64: added python3 1.0-1",
        ]
    );
    edit(folder.path(), CRUN_FILE, "[\"jq\"]", "[\"jq\", \"curl\"]");
    assert_eq!(
        refused(folder.path()).0,
        "lock is out of date for recipe `crun`\ntest packages: `curl` added"
    );
}

#[test]
fn the_order_of_packages_and_comments_do_not_matter() {
    let folder = locked_project();
    edit(folder.path(), CRUN_FILE, "[\"make\", \"gcc\"]", "[\n  \"gcc\",\n  # why\n  \"make\",\n]");
    load_all(folder.path()).unwrap();
    assert_eq!(lock(folder.path()), Vec::<String>::new());
}

#[test]
fn a_suite_at_another_snapshot_is_told() {
    let folder = locked_project();
    edit(folder.path(), SUITE_FILE, "20261120", "20261121");
    let (text, hint) = refused(folder.path());
    assert_eq!(
        text,
        "locks are out of date for 4 recipes\n\
         `suites/bookworm`: `snapshot` is `20261121T000000Z` in the recipe, `20261120T000000Z` in the lock\n\
         `packages/crun`: suite `bookworm` is at another snapshot\n\
         `packages/wheel`: suite `bookworm` is at another snapshot\n\
         `images/node`: suite `bookworm` is at another snapshot"
    );
    assert_eq!(hint, "run `nodeimg lock bookworm crun wheel node` and review the diff");
    let answers = Answers { point: "+deb12u1", ..Answers::default() };
    let changes = lock_with(folder.path(), &answers, &Update::Nothing).changes;
    let changes: Vec<_> = changes.iter().map(Change::to_string).collect();
    assert_eq!(changes[0], "bookworm: snapshot: 20261120T000000Z → 20261121T000000Z");
    assert_eq!(changes[1], "crun: build root amd64: base-files 1.0-1 → 1.0-1+deb12u1");
    load_all(folder.path()).unwrap();
}

#[test]
fn a_suite_locked_alone_makes_what_uses_it_stale() {
    let folder = locked_project();
    edit(folder.path(), SUITE_FILE, "20261120", "20261121");
    let project = recipe::load(folder.path()).unwrap();
    let suite = project.lockable(&["bookworm".to_owned()]).unwrap();
    let answers = Answers::default();
    let resolution =
        resolve(&project, &suite, false, &Update::Nothing, &answers, &Cancel::default()).unwrap();
    assert_eq!(resolution.files.len(), 1);
    resolution.write(&project).unwrap();
    assert!(matches!(load_all(folder.path()), Err(Error::Stale(stale)) if stale.len() == 3));
}

#[test]
fn an_update_asks_again_though_nothing_changed() {
    let folder = locked_project();
    let answers = Answers { point: "+deb12u1", ..Answers::default() };
    let project = recipe::load(folder.path()).unwrap();
    let node = project.lockable(&["node".to_owned()]).unwrap();
    let resolution = lock_with(folder.path(), &answers, &Update::Recipes(node.into_iter().collect()));
    assert_eq!(resolution.files.keys().collect::<Vec<_>>(), [Path::new("lockfiles/images/node.toml")]);
    assert_eq!(
        resolution.changes[0].to_string(),
        "node: system root amd64: base-files 1.0-1 → 1.0-1+deb12u1"
    );
}

#[test]
fn orphans_are_told_and_removed() {
    let folder = locked_project();
    fs_err::remove_file(folder.path().join("recipes/packages/wheel.toml")).unwrap();
    edit(folder.path(), "recipes/images/node.toml", ", \"wheel\"", "");
    let project = recipe::load(folder.path()).unwrap();
    let error = check(&project, &project.lockable(&[]).unwrap(), true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lock is out of date for recipe `wheel`\n`lockfiles/packages/wheel.toml` has no recipe any more"
    );
    assert_eq!(error.help().unwrap().to_string(), "run `nodeimg lock`, which removes it");
    fs_err::remove_file(folder.path().join(CRUN_LOCK)).unwrap();
    let error = check(&project, &project.lockable(&[]).unwrap(), true).unwrap_err();
    assert_eq!(error.help().unwrap().to_string(), "run `nodeimg lock` and review the diff");
    lock_with(folder.path(), &Answers::default(), &Update::Nothing);
    write(folder.path(), "lockfiles/packages/wheel.toml", "");
    assert_eq!(lock(folder.path()), ["wheel: removed lock, its recipe is gone"]);
    assert!(!folder.path().join("lockfiles/packages/wheel.toml").exists());
    check(&project, &project.lockable(&[]).unwrap(), true).unwrap();
}

/// Gives an error's text, its hint, the place it marks and what it says there.
#[track_caller]
fn damaged(from: &str, to: &str) -> [String; 4] {
    let folder = locked_project();
    edit(folder.path(), CRUN_LOCK, from, to);
    let error = load_all(folder.path()).unwrap_err();
    let label = error.labels().unwrap().next().unwrap();
    let place = error.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
    let place = format!("{}:{}", place.line() + 1, place.column() + 1);
    // Locking takes nothing from such a file.
    if !matches!(error, Error::Newer(_)) {
        lock(folder.path());
        load_all(folder.path()).unwrap();
    }
    [error.to_string(), error.help().unwrap().to_string(), place, label.label().unwrap().to_owned()]
}

const ANEW: &str = "take the edit back, or run `nodeimg lock crun` to resolve it anew and review the diff";

#[test]
fn a_lock_from_a_newer_program_is_refused() {
    for (from, to) in [("version = 1\n", "version = 2\n"), ("version = 1\n", "version = 2\nnew-key = 1\n")] {
        assert_eq!(
            damaged(from, to),
            [
                "lock `lockfiles/packages/crun.toml` is from a newer nodeimg\nit has version 2, this one knows 1",
                "use the nodeimg that wrote it, or a newer one",
                "3:1",
                "not known",
            ]
        );
    }
    let folder = locked_project();
    edit(folder.path(), CRUN_LOCK, "version = 1\n", "version = 2\n");
    let project = recipe::load(folder.path()).unwrap();
    let all = project.lockable(&[]).unwrap();
    let answers = Answers::default();
    let error = resolve(&project, &all, true, &Update::Nothing, &answers, &Cancel::default()).unwrap_err();
    assert!(matches!(error, Error::Newer(_)), "never overwritten");
}

#[test]
fn an_edit_by_hand_is_refused() {
    assert_eq!(
        damaged("size = 1000", "size = 1001"),
        [
            "lock `lockfiles/packages/crun.toml` was edited by hand",
            ANEW,
            "4:1",
            "does not fit what stands below",
        ]
    );
    let line = "    \"debian:pool/main/jq/jq_1.0-1_amd64.deb 7 sha256:";
    let folder = locked_project();
    let text = read(folder.path(), CRUN_LOCK);
    let line = text.lines().find(|text| text.starts_with(line)).unwrap();
    assert_eq!(
        damaged(&format!("{line}\n"), "")[0],
        "lock `lockfiles/packages/crun.toml` was edited by hand"
    );
}

#[test]
fn a_damaged_lock_is_told_with_its_place() {
    let [text, hint, place, label] = damaged("_amd64.deb 7 sha256:", "_amd64.deb 7 sha256:zz");
    assert_eq!(text.split(':').next().unwrap(), "lock `lockfiles/packages/crun.toml` is damaged");
    assert_eq!((hint.as_str(), place.as_str(), label.as_str()), (ANEW, "29:6", "here"));
    let [text, _, place, _] = damaged("[root.build.request]", "[root.build.requets]");
    let expected = "lock `lockfiles/packages/crun.toml` is damaged: unknown field `requets`, expected `request` or `pin`";
    assert_eq!((text.as_str(), place.as_str()), (expected, "18:13"));
    let [text, _, place, _] = damaged("size = 1000", "size = ");
    let expected = "lock `lockfiles/packages/crun.toml` is damaged: string values must be quoted, expected literal string";
    assert_eq!((text.as_str(), place.as_str()), (expected, "15:8"));
}

#[test]
fn a_fetchers_error_says_whose_request_it_was() {
    struct Unreachable;
    #[derive(Debug, thiserror::Error, miette::Diagnostic)]
    #[error("no network")]
    #[diagnostic(help("plug it in"))]
    struct NoNetwork;
    impl Resolver for Unreachable {
        fn source(&self, _: &Request) -> Result<Pin, Unanswered> {
            Err(Unanswered { blame: Blame::Machine, error: Box::new(NoNetwork) })
        }

        fn base(&self, reference: &oci::Reference) -> Result<BasePin, Unanswered> {
            Answers::default().base(reference)
        }

        fn suite(&self, suite: &Suite, folder: &Path) -> Result<SuitePin, Unanswered> {
            Answers::default().suite(suite, folder)
        }

        fn root(
            &self,
            suite: &Suite,
            folder: &Path,
            pin: &SuitePin,
            arch: Arch,
            wants: &[String],
        ) -> Result<Vec<PackagePin>, Unanswered> {
            Answers::default().root(suite, folder, pin, arch, wants)
        }
    }
    let folder = project();
    let project = recipe::load(folder.path()).unwrap();
    let all = project.lockable(&[]).unwrap();
    let lock =
        |cancel: &Cancel| resolve(&project, &all, true, &Update::Nothing, &Unreachable, cancel).unwrap_err();
    let error = lock(&Cancel::default());
    assert_eq!(error.to_string(), "can't resolve source `crun` of recipe `packages/crun`");
    assert_eq!(error.help().unwrap().to_string(), "plug it in");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no network");
    assert_eq!(error.blame(), Blame::Machine);
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(matches!(lock(&cancel), Error::Cancelled));
}

#[test]
fn a_base_is_locked_to_its_digest() {
    const LOCK: &str = "lockfiles/images/node.toml";
    let folder = locked_project();
    let file = "recipes/images/node.toml";
    let text = read(folder.path(), file);
    let system = text.split("[system]").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
    let base = |oci: &str| format!("[base]\noci = \"{oci}\"\n");
    write(folder.path(), file, &text.replace(&format!("[system]{system}"), &base("example.org/node:1")));
    let (told, _) = refused(folder.path());
    assert!(
        told.contains("base: not in the lock") && told.contains("system root: no longer in the recipe"),
        "{told}"
    );
    let told = lock(folder.path());
    assert!(told.contains(&"node: base: added sha256:825a1…".to_owned()), "{told:?}");
    let locked = load_all(folder.path()).unwrap();
    let own = |locked: &Locked| locked.images.values().find_map(|image| image.base.clone()).unwrap();
    let (base_pin, of) = (own(&locked), |of: &str| Sha256::of(format!("{of} example.org/node:1").as_bytes()));
    assert_eq!((base_pin.pin.digest, base_pin.on(Arch::Arm64)), (of("index"), of("arm64")));
    assert!(read(folder.path(), LOCK).contains(&format!("digest = \"{}\"\n", of("index").oci())));

    // With a digest nobody is asked, until somebody wants to know more of it.
    let digest = Sha256::of(b"x").oci();
    let pinned = format!("example.org/node:2@{digest}");
    edit(
        folder.path(),
        file,
        "oci = \"example.org/node:1\"",
        &format!("oci = \"{pinned}\"\npublished = \"there\""),
    );
    let (told, _) = refused(folder.path());
    assert!(told.contains("base: `oci` is `example.org/node:2@sha256:"), "{told}");
    assert!(told.contains("base: `published` is `there` in the recipe, not in the lock"), "{told}");
    let answers = Answers::default();
    lock_with(folder.path(), &answers, &Update::Nothing);
    assert_eq!(answers.asked.load(Ordering::Relaxed), 0);
    let base_pin = own(&load_all(folder.path()).unwrap());
    assert_eq!((base_pin.on(Arch::Amd64).oci(), base_pin.pin.platforms.len()), (digest, 0));
    let node = recipe::load(folder.path()).unwrap().lockable(&["images/node".to_owned()]).unwrap();
    let update = Update::Recipes(node.into_iter().collect());
    assert!(!lock_with(folder.path(), &answers, &update).changes.is_empty());
    assert_eq!(answers.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn another_lock_file_can_be_used() {
    let folder = locked_project();
    let other = folder.path().join("other.toml");
    fs_err::rename(folder.path().join("lockfiles/images/node.toml"), &other).unwrap();
    let project = recipe::load(folder.path()).unwrap();
    let targets = project.targets(&[]).unwrap();
    assert!(load(&project, &targets, &Elsewhere::new()).is_err());
    load(&project, &targets, &Elsewhere::from([(targets[0].clone(), other)])).unwrap();
}

proptest::proptest! {
    #[test]
    fn any_lock_reads_as_it_was_written(
        paths in proptest::collection::btree_set("[a-z0-9+~_-]{1,12}(/[a-z0-9+~_-]{1,9}){0,3}", 0..20),
        url in ".{0,40}",
        size in proptest::option::of(0..1u64 << 60),
        version in proptest::option::of(".{0,12}"),
        assembly in proptest::option::of(0u32..9),
    ) {
        let id = Id { role: Role::Package, name: Name::new("any").unwrap() };
        let pins: Vec<_> = paths.iter().map(|path| PackagePin {
            archive: "debian".to_owned(),
            path: path.clone(),
            size: path.len() as u64,
            sha256: Sha256::of(path.as_bytes()),
        }).collect();
        let mut file = File { assembly, ..File::default() };
        let request: Request = toml::Table::from_iter([("url".to_owned(), url.into())]).try_into().unwrap();
        let pin = Pin::file(Sha256::of(b""), size);
        let entry = file::SourceEntry { version, pin, request };
        file.source.insert(id.name.clone(), [(Platform::All, entry)].into());
        let packages: BTreeSet<_> = paths.into_iter().collect();
        let request = file::RootRequest {
            suite: id.name.clone(),
            snapshot: String::new(),
            release: Sha256::of(b""),
            packages: packages.into_iter().collect(),
        };
        let pin = [(Arch::Amd64, pins.clone()), (Arch::Arm64, pins)].into();
        file.root.insert(RootName::Build, file::RootEntry { request, pin });
        let text = file::write(&id, &file);
        let back = file::read(&id, &text).unwrap();
        proptest::prop_assert_eq!(file::write(&id, &back), text);
        proptest::prop_assert_eq!((back.assembly, back.source, back.root), (file.assembly, file.source, file.root));
    }

    /// Whatever is changed below a lock's header, it is noticed.
    #[test]
    fn no_edit_goes_unnoticed(at in 0.0..1.0f64, length in 0..4usize, text in "[ a-z0-9\"=\n]{0,4}") {
        let id = Id { role: Role::Package, name: Name::new("any").unwrap() };
        let request: Request = toml::Table::from_iter([("url".to_owned(), "a".into())]).try_into().unwrap();
        let pin = Pin::file(Sha256::of(b""), Some(1));
        let entry = file::SourceEntry { version: None, pin, request };
        let mut file = File::default();
        file.source.insert(id.name.clone(), [(Platform::All, entry)].into());
        let good = file::write(&id, &file);
        let body = good.find("[source").unwrap();
        let start = body + ((good.len() - body) as f64 * at) as usize;
        let end = (start + length).min(good.len());
        let changed = format!("{}{text}{}", &good[..start], &good[end..]);
        proptest::prop_assert_eq!(file::read(&id, &changed).is_ok(), changed == good);
    }
}

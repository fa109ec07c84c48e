//! Against `git upload-pack` behind a small HTTP server of our own. Needs git on this machine.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use git2::{ObjectType, Oid, Repository};

use super::*;
use crate::base::event::{Silent, Sink};
use crate::base::{Cancel, Sha256};
use crate::fetch::server::{Server, answer, serve};
use crate::fetch::{Network, Settings};
use crate::store::Store;

const FILE: i32 = 0o100_644;
const PROGRAM: i32 = 0o100_755;
const LINK: i32 = 0o120_000;
const FOLDER: i32 = 0o040_000;
const MODULE: i32 = 0o160_000;

/// Repositories below one folder, and a server for them.
struct Upstream {
    dir: tempfile::TempDir,
    server: Server,
}

fn git(dir: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "git itself is the server that is tested against")]
    let mut command = Command::new("git");
    command.args(arguments).arg(dir).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", "/nonexistent");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("these tests need git");
    // It may end before it has read everything, when it refuses.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().stdout
}

/// Answers as `git http-backend` does.
fn smart(root: &Path, path: &str, body: &[u8], to: &mut dyn Write) {
    if let Some(name) = path.strip_suffix("/info/refs?service=git-upload-pack") {
        let dir = root.join(name.trim_start_matches('/'));
        if !dir.exists() {
            return answer(to, "404 Not Found", "Content-Length: 0\r\n", b"");
        }
        let refs = git(&dir, &["upload-pack", "--stateless-rpc", "--advertise-refs"], b"");
        let content = [b"001e# service=git-upload-pack\n0000".as_slice(), &refs].concat();
        answer(to, "200 OK", "Content-Type: application/x-git-upload-pack-advertisement\r\n", &content);
    } else if let Some(name) = path.strip_suffix("/git-upload-pack") {
        let dir = root.join(name.trim_start_matches('/'));
        let content = git(&dir, &["upload-pack", "--stateless-rpc"], body);
        answer(to, "200 OK", "Content-Type: application/x-git-upload-pack-result\r\n", &content);
    } else {
        answer(to, "200 OK", "Content-Type: text/html\r\n", b"<html>");
    }
}

impl Upstream {
    fn new() -> Self {
        wire::prepare().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let server = serve(move |asked, _, to| smart(&root, &asked.path, &asked.body, to));
        Self { dir, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.server.base)
    }

    fn repository(&self, name: &str) -> Repo {
        let path = self.path(name);
        Repo(Repository::open_bare(&path).or_else(|_| Repository::init_bare(&path)).unwrap())
    }

    /// The bodies of the requests so far that ask for content.
    fn wanted(&self) -> Vec<String> {
        let asked = self.server.asked().into_iter().filter(|asked| asked.path.ends_with("/git-upload-pack"));
        asked.map(|asked| String::from_utf8_lossy(&asked.body).into_owned()).collect()
    }
}

/// A repository that takes anything, as a hostile one would hold it.
struct Repo(Repository);

impl Repo {
    fn blob(&self, text: &str) -> Oid {
        self.0.blob(text.as_bytes()).unwrap()
    }

    fn tree(&self, entries: &[(i32, &[u8], Oid)]) -> Oid {
        let mut raw = Vec::new();
        for (mode, name, id) in entries {
            raw.extend_from_slice(format!("{mode:o} ").as_bytes());
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend_from_slice(id.as_bytes());
        }
        self.0.odb().unwrap().write(ObjectType::Tree, &raw).unwrap()
    }

    /// Moves a branch to a new commit on top of it.
    fn commit(&self, branch: &str, tree: Oid) -> Oid {
        let name = format!("refs/heads/{branch}");
        let parent = self.0.refname_to_id(&name).map(|id| format!("parent {id}\n")).unwrap_or_default();
        let who = "A <a@example.org> 1700000000 +0000";
        let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\nmessage\n");
        let id = self.0.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap();
        self.0.reference(&name, id, true, "").unwrap();
        id
    }

    fn file(&self, branch: &str, text: &str) -> Oid {
        self.commit(branch, self.tree(&[(FILE, b"a", self.blob(text))]))
    }

    fn allow_any(&self) {
        self.0.config().unwrap().set_bool("uploadpack.allowAnySHA1InWant", true).unwrap();
    }
}

/// Runs `work` with a new store and a network.
fn with<T>(network: &Network, cancel: &Cancel, events: &dyn Sink, work: impl FnOnce(&Context<'_>) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let got = work(&Context { network, store: &store, events, cancel });
    let left: Vec<_> =
        fs_err::read_dir(store.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| !path.join("repository").exists()), "{left:?}");
    got
}

fn online<T>(work: impl FnOnce(&Context<'_>) -> T) -> T {
    with(&Network::hasty(Settings::default()), &Cancel::default(), &Silent, work)
}

fn source(table: &str) -> crate::fetch::Source {
    toml::from_str(table).unwrap()
}

fn request(table: &str) -> crate::fetch::Request {
    source(table).request(crate::base::Arch::Amd64, &|text| Ok(text.replace("{version}", "1.2"))).unwrap()
}

fn resolve(table: &str) -> Result<Pin, crate::fetch::Error> {
    online(|context| request(table).resolve(context))
}

fn said(table: &str) -> String {
    resolve(table).unwrap_err().to_string()
}

/// What is in the content: path, mode, and what it is, in order.
fn content(table: &str) -> Vec<String> {
    online(|context| {
        let request = request(table);
        let pin = request.resolve(context).unwrap();
        let digest = pin.fetch(&request, context).unwrap();
        let mut archive = tar::Archive::new(context.store.open_blob(&digest).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let mode = header.mode().unwrap();
            let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            format!("{path} {mode:o} {}", target.map_or(text, |target| format!("-> {target}")))
        });
        entries.collect()
    })
}

#[test]
fn a_tree_comes_as_it_is() {
    let upstream = Upstream::new();
    let repo = upstream.repository("r");
    let long = "n".repeat(120);
    let inner = repo.tree(&[(PROGRAM, b"run", repo.blob("#!")), (0o100_664, b"w", repo.blob("w"))]);
    let deep =
        repo.tree(&[(FILE, long.as_bytes(), repo.blob("long")), (LINK, b"to", repo.blob(&"x/".repeat(80)))]);
    let tree = repo.tree(&[
        (FILE, b"a.b", repo.blob("text")),
        (FOLDER, b"a", inner),
        (FOLDER, b"empty", repo.tree(&[])),
        (LINK, b"link", repo.blob("a//b/../run")),
        (FOLDER, long.as_bytes(), deep),
    ]);
    repo.commit("main", tree);
    let table = format!("git = '{}'\nbranch = 'main'", upstream.url("r"));
    let want = [
        "source/ 755 ".to_owned(),
        "source/a/ 755 ".to_owned(),
        "source/a/run 755 #!".to_owned(),
        "source/a/w 644 w".to_owned(),
        "source/a.b 644 text".to_owned(),
        "source/empty/ 755 ".to_owned(),
        "source/link 777 -> a//b/../run".to_owned(),
        format!("source/{long}/ 755 "),
        format!("source/{long}/{long} 644 long"),
        format!("source/{long}/to 777 -> {}", "x/".repeat(80)),
    ];
    assert_eq!(content(&table), want);
    // A person meant it when this moves: every lock with a git source has such a hash.
    let pin = resolve(&table).unwrap();
    assert_eq!(
        toml::to_string(&pin).unwrap(),
        "sha256 = \"ed17c56bcf55a1ec12bab79628f263159eecdbacd1ab794bc6743d9e269d2c9c\"\nsize = 12288\n\
         commit = \"8e2d175917c66c6aed61cf8a98d67992f1d1e6a8\"\ntree = \"687fea596552221c06038e81845c3688c30b887d\"\n"
    );
    // Only what is needed came.
    assert!(upstream.wanted().iter().all(|body| body.contains("deepen 1")), "{:?}", upstream.wanted());
}

#[test]
fn tags_branches_and_commits_lead_to_one_pin() {
    let upstream = Upstream::new();
    let repo = upstream.repository("r");
    let commit = repo.file("main", "one");
    let object = repo.0.find_object(commit, None).unwrap();
    repo.0.tag_lightweight("light", &object, false).unwrap();
    let tagger = git2::Signature::new("A", "a@example.org", &git2::Time::new(1, 0)).unwrap();
    let tag = repo.0.tag("v1.2", &object, &tagger, "", false).unwrap();
    repo.0.tag("twice", &repo.0.find_object(tag, None).unwrap(), &tagger, "", false).unwrap();
    repo.0.tag_lightweight("text", &repo.0.find_object(repo.blob("x"), None).unwrap(), false).unwrap();
    let url = upstream.url("r");
    let pins = [
        "branch = 'main'",
        "tag = 'light'",
        "tag = 'v{version}'",
        "tag = 'twice'",
        &format!("rev = '{commit}'"),
    ]
    .map(|want| resolve(&format!("git = '{url}'\n{want}")).unwrap());
    assert!(pins.iter().all(|pin| *pin == pins[0]), "{pins:?}");
    assert_eq!(pins[0].commit, Some(commit.into()));
    for (want, name, why) in [
        ("tag = 'v{version}.1'", "v1.2.1", "has no tag `v1.2.1`"),
        ("branch = 'light'", "light", "has no branch `light`"),
        ("tag = 'text'", "text", "has no commit at `refs/tags/text`"),
    ] {
        let error = said(&format!("git = '{url}'\n{want}"));
        assert_eq!(error, format!("no place has `{url}@{name}`\n  {url}: {why}"));
    }
}

#[test]
fn an_older_commit_is_found() {
    let upstream = Upstream::new();
    for (name, any) in [("any", true), ("tips", false)] {
        let repo = upstream.repository(name);
        if any {
            repo.allow_any();
        }
        let old = repo.file("main", "one");
        repo.file("main", "two");
        let before = upstream.wanted().len();
        let pin = resolve(&format!("git = '{}'\nrev = '{old}'", upstream.url(name))).unwrap();
        assert_eq!(pin.commit, Some(old.into()));
        let shallow = upstream.wanted()[before..].iter().all(|body| body.contains("deepen 1"));
        assert_eq!(shallow, any);
    }
}

#[test]
fn what_moved_on_after_locking_does_not_matter() {
    let upstream = Upstream::new();
    for (name, any) in [("any", true), ("tips", false)] {
        let repo = upstream.repository(name);
        if any {
            repo.allow_any();
        }
        let old = repo.file("main", "one");
        let request = request(&format!("git = '{}'\nbranch = 'main'", upstream.url(name)));
        let pin = online(|context| request.resolve(context)).unwrap();
        repo.file("main", "two");
        let got = online(|context| pin.fetch(&request, context)).unwrap();
        assert_eq!((got.hash, pin.commit), (pin.sha256, Some(old.into())));
        // Rebased: the commit is only on a branch that nobody asked for, then nowhere.
        repo.0.reference("refs/heads/other", old, true, "").unwrap();
        let other = repo.file("new", "three");
        repo.0.reference("refs/heads/main", other, true, "").unwrap();
        online(|context| pin.fetch(&request, context)).unwrap();
        repo.0.reference("refs/heads/other", other, true, "").unwrap();
        repo.0.reference("refs/changes/1", old, true, "").unwrap();
        online(|context| pin.fetch(&request, context)).unwrap();
        repo.0.reference("refs/changes/1", other, true, "").unwrap();
        if !any {
            let error = online(|context| pin.fetch(&request, context)).unwrap_err().to_string();
            let url = upstream.url(name);
            let why = format!("has no commit `{old}`, on no branch and no tag");
            assert!(error.starts_with(&format!("no place has `{url}@main`\n  {url}: ")), "{error}");
            assert!(error.ends_with(&why), "{error}");
        }
    }
    let url = upstream.url("tips");
    let rev = "1".repeat(40);
    let error = said(&format!("git = '{url}'\nrev = '{rev}'"));
    assert!(error.starts_with(&format!("no place has `{url}@{rev}`\n  {url}: ")), "{error}");
}

#[test]
fn all_of_a_pin_must_match() {
    let upstream = Upstream::new();
    let commit = upstream.repository("r").file("main", "one");
    let url = upstream.url("r");
    let branch = request(&format!("git = '{url}'\nbranch = 'main'"));
    let rev = request(&format!("git = '{url}'\nrev = '{commit}'"));
    let good = online(|context| branch.resolve(context)).unwrap();
    let said = |request: &crate::fetch::Request, pin: Pin| {
        online(|context| pin.fetch(request, context)).unwrap_err().to_string()
    };
    let sha256 = Sha256::of(b"else");
    assert_eq!(
        said(&branch, Pin { sha256, ..good }),
        format!(
            "content of `{url}@main` does not match its pin\n  expected: {sha256}\n  received: {}",
            good.sha256
        )
    );
    let tree = good.commit;
    assert_eq!(
        said(&branch, Pin { tree, ..good }),
        format!(
            "commit `{commit}` of `{url}@main` has another tree than its pin\n  expected: {commit}\n  received: {}",
            good.tree.unwrap()
        )
    );
    let lacks = "lacks one of `commit`, `tree` and `size`";
    for pin in [Pin { commit: None, ..good }, Pin { tree: None, ..good }, Pin { size: None, ..good }] {
        assert_eq!(said(&branch, pin), format!("pin of `{url}@main` {lacks}"));
    }
    assert_eq!(
        said(&rev, Pin { commit: good.tree, ..good }),
        format!("pin of `{url}@{commit}` is of another commit")
    );
    let error = said(&branch, Pin { commit: good.tree, ..good });
    assert!(error.starts_with(&format!("no place has `{url}@main`")), "{error}");
}

/// Three repositories: `top/one` has `lib/two`, which has `three`.
fn nested(upstream: &Upstream, two: &str, three: &str) {
    let last = upstream.repository("three").file("main", "three");
    let repo = upstream.repository("libs/two");
    let modules = repo.blob(&format!("[submodule \"x\"]\npath = three\nurl = {three}\n"));
    let entries = [
        (FILE, b".gitmodules".as_slice(), modules),
        (MODULE, b"three", last),
        (FILE, b"z", repo.blob("two")),
    ];
    let middle = repo.commit("main", repo.tree(&entries));
    // The recorded commit counts, not the tip.
    upstream.repository("three").file("main", "four");
    let repo = upstream.repository("top/one");
    let modules =
        repo.blob(&format!("[submodule \"lib/two\"]\n\tpath = lib/two\n\turl = {two}\n\tbranch = .\n"));
    let lib = repo.tree(&[(MODULE, b"two", middle)]);
    repo.commit("main", repo.tree(&[(FILE, b".gitmodules", modules), (FOLDER, b"lib", lib)]));
}

#[test]
fn submodules_come_along() {
    let upstream = Upstream::new();
    nested(&upstream, "../../libs/two", &upstream.url("three"));
    let table = format!("git = '{}'\nbranch = 'main'", upstream.url("top/one"));
    let names = |table: &str| {
        let found = content(table).into_iter().filter(|line| !line.contains(".gitmodules"));
        found.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&table),
        [
            "source/ 755 ",
            "source/lib/ 755 ",
            "source/lib/two/ 755 ",
            "source/lib/two/three/ 755 ",
            "source/lib/two/three/a 644 three",
            "source/lib/two/z 644 two",
        ]
    );
    let without = format!("{table}\nsubmodules = false");
    assert_eq!(names(&without), ["source/ 755 ", "source/lib/ 755 ", "source/lib/two/ 755 "]);
}

#[test]
fn submodules_lead_nowhere_else() {
    let upstream = Upstream::new();
    let local = format!("file://{}", upstream.path("three").display());
    let url = upstream.url("top/one");
    let table = format!("git = '{url}'\nbranch = 'main'");
    for (two, why) in [
        (local.as_str(), "is a submodule that is on this machine, which a repository has no say in"),
        (
            "/etc",
            "is a submodule that is no URL: write `https://…`, or `file:///…` for a repository of this machine",
        ),
        ("../../../x", "is a submodule that leads out of its parent's host"),
        (
            "git@host.example:x/y",
            "is a submodule that wants ssh, which nodeimg does not speak: write `https://…`",
        ),
    ] {
        nested(&upstream, two, "../three");
        let commit = upstream.repository("top/one").0.refname_to_id("refs/heads/main").unwrap();
        assert_eq!(said(&table), format!("`{url}@{commit}` has the entry `lib/two`, which {why}"));
    }
    // A submodule of a submodule is refused with its own repository's name.
    nested(&upstream, "../../libs/two", "file:///etc");
    let (two, commit) =
        (upstream.url("libs/two"), upstream.repository("libs/two").0.refname_to_id("refs/heads/main"));
    let why = "is a submodule that is on this machine, which a repository has no say in";
    assert_eq!(said(&table), format!("`{two}@{}` has the entry `three`, which {why}", commit.unwrap()));
    // One that is not there.
    nested(&upstream, "../../libs/none", "../three");
    let error = said(&table);
    let none = upstream.url("libs/none");
    assert!(error.starts_with(&format!("no place has `{none}@")), "{error}");
    assert!(error.ends_with(&format!("\n  {none}: 404 Not Found")), "{error}");
}

#[test]
fn hostile_trees_are_refused() {
    let upstream = Upstream::new();
    let repo = upstream.repository("r");
    let file = repo.blob("x");
    let inner = repo.tree(&[(FILE, b"a", file)]);
    let modules = repo.blob("[submodule \"a\"\n");
    let binary = repo.0.blob(b"\xff\xfe").unwrap();
    let url = upstream.url("r");
    let commit_id = Oid::from_str(&"1".repeat(40)).unwrap();
    let mut deep = inner;
    for _ in 0..205 {
        deep = repo.tree(&[(FOLDER, b"d", deep)]);
    }
    let long = "n".repeat(256);
    /// Entries of a tree, what is wrong with it, and the path that is named.
    type Case<'a> = (&'a [(i32, &'a [u8], Oid)], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&[(FOLDER, b"..", inner)], "..", "goes up with `..`"),
        (&[(FOLDER, b".git", inner)], ".git", "is named like git's own directory"),
        (&[(FOLDER, b".GiT", inner)], ".GiT", "is named like git's own directory"),
        (&[(FILE, b"/etc/passwd", file)], "/etc/passwd", "has a name that no file can have"),
        (&[(FILE, b"a/b", file)], "a/b", "has a name that no file can have"),
        (&[(FILE, b".", file)], ".", "has a name that no file can have"),
        (&[(FILE, long.as_bytes(), file)], &long, "has a name that no file can have"),
        (&[(FILE, b"\xff", file)], "\u{fffd}", "has a name that is not UTF-8"),
        (&[(FILE, b"a", file), (LINK, b"a", file)], "a", "is there twice"),
        (&[(LINK, b"l", binary)], "l", "is a symbolic link whose target is not UTF-8"),
        (&[(LINK, b"l", repo.blob(""))], "l", "is a symbolic link to nothing"),
        (&[(LINK, b"l", repo.blob("a\0b"))], "l", "is a symbolic link to nothing"),
        (&[(LINK, b"l", repo.blob(&"x".repeat(5000)))], "l", "is a symbolic link to nowhere"),
        (&[(MODULE, b"m", commit_id)], "m", "is a submodule that `.gitmodules` does not name"),
        (&[(FILE, b".gitmodules", modules)], ".gitmodules", "can't be read: line 1 has no `]`"),
        (&[(LINK, b".gitmodules", file)], ".gitmodules", "is not a file"),
        (&[(FILE, b".gitmodules", binary)], ".gitmodules", "is not UTF-8"),
    ];
    for (entries, entry, why) in cases {
        let commit = repo.commit("main", repo.tree(entries));
        let error = said(&format!("git = '{url}'\nbranch = 'main'"));
        assert_eq!(error, format!("`{url}@{commit}` has the entry `{entry}`, which {why}"));
    }
    repo.commit("main", deep);
    let error = said(&format!("git = '{url}'\nbranch = 'main'"));
    assert!(error.ends_with("/d/`, which is more than 200 directories deep"), "{error}");
}

#[test]
fn recipes_are_checked_before_anything_is_asked() {
    let why = |table: &str| {
        source(table).request(crate::base::Arch::Amd64, &|text| Ok(text.to_owned())).unwrap_err()
    };
    for (table, text) in [
        ("git = 'https://h.example/r'", "`git` needs exactly one of `rev`, `tag`, `branch`"),
        (
            "git = 'https://h.example/r'\ntag = 'a'\nbranch = 'b'",
            "`git` needs exactly one of `rev`, `tag`, `branch`",
        ),
        (
            "git = 'https://h.example/r'\nrev = 'abc'",
            "`abc` is not a commit (40 lower-case hexadecimal digits)",
        ),
        ("git = 'https://h.example/r'\nbranch = 'a:b'", "`refs/heads/a:b` is no name that git allows"),
        ("git = 'https://h.example/r'\ntag = '*'", "`refs/tags/*` is no name that git allows"),
        (
            "git = 'ssh://me:secret@h.example/r'\ntag = 'a'",
            "`ssh://h.example/r` wants ssh, which nodeimg does not speak: write `https://…`",
        ),
        (
            "git = 'git://h.example/r'\ntag = 'a'",
            "`git://h.example/r` speaks git's own protocol, which nothing protects: write `https://…`",
        ),
        (
            "git = 'ext::sh -c x'\ntag = 'a'",
            "`ext::sh -c x` wants ssh, which nodeimg does not speak: write `https://…`",
        ),
    ] {
        assert_eq!(why(table), text);
    }
    let error = toml::from_str::<crate::fetch::Source>("git = 'a'\ntags = 'b'").unwrap_err().to_string();
    assert!(error.contains("unknown field `tags`"), "{error}");
}

#[test]
fn locks_say_what_recipes_say() {
    let request = request("git = 'https://h.example/{version}'\ntag = 'v{version}'\nsubmodules = false");
    let text = toml::to_string(&request).unwrap();
    assert_eq!(text, "git = \"https://h.example/1.2\"\ntag = \"v1.2\"\nsubmodules = false\n");
    assert_eq!(toml::from_str::<crate::fetch::Request>(&text).unwrap(), request);
    let file = Pin::file(Sha256::of(b""), Some(0));
    assert_eq!(toml::to_string(&file).unwrap(), format!("sha256 = \"{}\"\nsize = 0\n", Sha256::of(b"")));
}

#[test]
fn repositories_of_this_machine_serve() {
    let upstream = Upstream::new();
    let repo = upstream.repository("r");
    let old = repo.file("main", "one");
    repo.file("main", "two");
    let file = format!("file://{}", upstream.path("r").display());
    for want in ["branch = 'main'".to_owned(), format!("rev = '{old}'")] {
        let near = resolve(&format!("git = '{file}'\n{want}")).unwrap();
        let far = resolve(&format!("git = '{}'\n{want}", upstream.url("r"))).unwrap();
        assert_eq!(near, far);
    }
    let error = said(&format!("git = '{file}-not'\nbranch = 'main'"));
    assert!(error.starts_with(&format!("no place has `{file}-not@main`\n  {file}-not: ")), "{error}");
    assert!(said("git = 'file://h.example/r'\nbranch = 'main'").ends_with(": is no path of this machine"));
}

#[test]
fn mirrors_are_asked_first_and_their_passwords_are_kept() {
    #[derive(Default)]
    struct Log(Mutex<String>);
    impl Sink for Log {
        fn emit(&self, event: Event) {
            self.0.lock().unwrap().push_str(&format!("{event:?}\n"));
        }
    }
    let upstream = Upstream::new();
    nested(&upstream, "../../libs/two", "../../three");
    let bases =
        ["none", ""].map(|path| format!("{}/{path}", upstream.server.base.replace("//", "//me:secret@")));
    let mirrors = [("https://upstream.invalid/".to_owned(), bases.to_vec())].into();
    let network = Network::hasty(Settings::with_mirrors(mirrors));
    let log = Log::default();
    let request = request("git = 'https://upstream.invalid/top/one'\nbranch = 'main'");
    with(&network, &Cancel::default(), &log, |context| request.resolve(context)).unwrap();
    let asked = upstream.server.asked();
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == "Basic bWU6c2VjcmV0"));
    let log = log.0.into_inner().unwrap();
    assert!(log.contains("none/top/one: 404 Not Found") && !log.contains("secret"), "{log}");
}

#[test]
fn a_redirect_leads_to_the_repository() {
    let upstream = Upstream::new();
    upstream.repository("r.git").file("main", "one");
    let (base, root) = (upstream.server.base.clone(), upstream.dir.path().to_owned());
    let front = serve(move |asked, _, to| match asked.path.as_str() {
        path if path.starts_with("/login") => {
            answer(to, "302 Found", "Location: /html\r\nContent-Length: 0\r\n", b"");
        }
        path if path.starts_with("/dumb") => answer(to, "200 OK", "Content-Type: text/plain\r\n", b"1\trefs"),
        "/html" => answer(
            to,
            "200 OK",
            "Content-Type: application/x-git-upload-pack-advertisement\r\n",
            b"001e# service=git-upload-pack\n0000",
        ),
        path if path.starts_with("/broken") => smart(&root, &path.replace("broken", "r.git"), b"", to),
        path => {
            let headers =
                format!("Location: {base}{}\r\nContent-Length: 0\r\n", path.replace("/r/", "/r.git/"));
            answer(to, "301 Moved", &headers, b"");
        }
    });
    let base = &front.base;
    resolve(&format!("git = '{base}/r/'\nbranch = 'main'")).unwrap();
    assert_eq!(front.asked().len(), 1);
    for (path, why) in [
        ("login", "redirected to something else than a repository"),
        ("dumb", "is no git repository, or its server is too old"),
    ] {
        let error = said(&format!("git = '{base}/{path}'\nbranch = 'main'"));
        assert_eq!(error, format!("no place has `{base}/{path}@main`\n  {base}/{path}: {why}"));
    }
    let error = said(&format!("git = '{base}/broken'\nbranch = 'main'"));
    assert!(error.starts_with(&format!("no place has `{base}/broken@main`\n  {base}/broken: ")), "{error}");
}

#[test]
fn stops_at_once() {
    let upstream = Upstream::new();
    upstream.repository("r").file("main", "one");
    let root = upstream.dir.path().to_owned();
    let waiting = Arc::new(Mutex::new(false));
    let waits = Arc::clone(&waiting);
    let server = serve(move |asked, _, to| {
        if asked.path.ends_with("/git-upload-pack") {
            answer(to, "200 OK", "Content-Type: application/x-git-upload-pack-result\r\n", b"");
            *waits.lock().unwrap() = true;
            std::thread::sleep(Duration::from_secs(3));
        }
        smart(&root, &asked.path, &asked.body, to);
    });
    let request = request(&format!("git = '{}/r'\nbranch = 'main'", server.base));
    let cancel = Cancel::default();
    let network = Network::hasty(Settings::default());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| with(&network, &cancel, &Silent, |context| request.resolve(context)));
        while !*waiting.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let start = Instant::now();
        cancel.cancel();
        assert!(matches!(running.join().unwrap(), Err(crate::fetch::Error::Cancelled)));
        assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    });
}

#[test]
fn offline_asks_nobody() {
    let upstream = Upstream::new();
    upstream.repository("r").file("main", "one");
    let url = upstream.url("r");
    let request = request(&format!("git = '{}'\nbranch = 'main'", url.replace("//", "//me:secret@")));
    let good = online(|context| request.resolve(context)).unwrap();
    let asked = upstream.server.asked().len();
    let offline = Network::offline();
    let want = format!("`{url}@main` is not in the store, and the network is off");
    with(&offline, &Cancel::default(), &Silent, |context| {
        assert_eq!(request.resolve(context).unwrap_err().to_string(), want);
        assert_eq!(good.fetch(&request, context).unwrap_err().to_string(), want);
    });
    assert_eq!(upstream.server.asked().len(), asked);
    // What is there is not asked for.
    online(|context| {
        good.fetch(&request, context).unwrap();
        let context = Context { network: &offline, ..*context };
        good.fetch(&request, &context).unwrap();
    });
}

#[test]
fn nobodys_configuration_is_read() {
    wire::prepare().unwrap();
    let config = git2::Config::open_default();
    let mut found = Vec::new();
    if let Ok(config) = &config {
        config.entries(None).unwrap().for_each(|entry| found.push(format!("{:?}", entry.name()))).unwrap();
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn tags_are_listed_and_nothing_is_brought() {
    let upstream = Upstream::new();
    let repo = upstream.repository("r");
    let id = repo.file("main", "text");
    for name in ["v1.0", "shim/v2.0"] {
        repo.0.reference(&format!("refs/tags/{name}"), id, true, "").unwrap();
    }
    let who = git2::Signature::new("a", "a@example.org", &git2::Time::new(0, 0)).unwrap();
    repo.0.tag("v1.1", &repo.0.find_object(id, None).unwrap(), &who, "annotated", false).unwrap();
    for url in [upstream.url("r"), format!("file://{}", upstream.path("r").display())] {
        let mut tags = online(|context| tags(&url, context)).unwrap();
        tags.sort();
        assert_eq!(tags, ["shim/v2.0", "v1.0", "v1.1"], "{url}");
    }
    assert_eq!(upstream.wanted(), [""; 0]);
    let url = upstream.url("none");
    let error = online(|context| tags(&url, context)).unwrap_err();
    assert_eq!(error.to_string(), format!("no place has `{url}`\n  {url}: 404 Not Found"));
}

#[test]
fn a_list_of_tags_without_end_is_refused() {
    let server = serve(|_, _, to| {
        answer(to, "200 OK", "Content-Type: application/x-git-upload-pack-advertisement\r\n", b"");
        let mut line = |text: &str| to.write_all(format!("{:04x}{text}", text.len() + 4).as_bytes());
        let (id, name) = ("0123456789012345678901234567890123456789", "n".repeat(65_000));
        let first = format!("{id} refs/tags/first\0\n");
        if line("# service=git-upload-pack\n").is_err() || line(&first).is_err() {
            return;
        }
        let mut more = (0..).map(|number| format!("{id} refs/tags/{number}{name}\n"));
        while more.next().is_some_and(|text| line(&text).is_ok()) {}
    });
    let url = format!("{}/r", server.base);
    let error = online(|context| tags(&url, context)).unwrap_err();
    assert_eq!(error.to_string(), format!("no place has `{url}`\n  {url}: sends more than 134217728 bytes"));
}

//! What could be newer: asked at an upstream, a suite and a registry of the test's own, and of tracker data.

use serde_json::json;

use crate::registry::Registry;
use crate::world::{Deb, Told, World, tar_gz};

/// Publishes a newer release of the world's upstream and of its suite.
fn move_on(world: &World) {
    let hello = [("hello-2/hello", "#!/bin/sh\necho hello\n", 0o755)];
    for version in ["1.0.1", "2", "3-rc1"] {
        world.write(&format!("upstream/hello-{version}.tar.gz"), tar_gz(&hello));
    }
    world.publish(&[
        Deb::base(),
        Deb::new("tools", "Source: toolbox (7)\n").version("1.1").with("usr/share/tools", "newer\n", 0o644),
    ]);
}

fn told(world: &World, arguments: &[&str]) -> Told {
    world.run(&[&["outdated"], arguments].concat())
}

fn success(code: i32, stdout: &str) -> Told {
    Told { code, stdout: stdout.to_owned(), stderr: String::new() }
}

#[test]
fn newer_releases_and_packages_are_told_with_what_to_do() {
    let world = World::locked();
    assert_eq!(told(&world, &["-q"]), success(0, "  outdated nothing\n"));
    move_on(&world);
    assert_eq!(
        told(&world, &["-q"]),
        success(
            1,
            "  upstream hello: 1 → 2
      next set the version in `recipes/packages/hello.toml`, then
             `nodeimg lock hello`
    debian stable: 1 newer source package since 20990101T000000Z
           tools 1 → 1.1, in node and 1 build
      next set `snapshot = \"20990101T060000Z\"` in `recipes/suites/stable.toml`,
             then `nodeimg lock`
"
        )
    );
    // What is told is enough: each is one small change, and then there is nothing.
    world.edit("project/recipes/packages/hello.toml", "version = \"1\"", "version = \"2\"");
    world.edit("project/recipes/packages/hello.toml", "patches = [\"0001-greet-the-world.patch\"]\n", "");
    world.edit("project/recipes/suites/stable.toml", "20990101T000000Z", "20990101T060000Z");
    assert_eq!(world.run(&["lock"]).code, 0);
    assert_eq!(told(&world, &["-q"]), success(0, "  outdated nothing\n"));
}

#[test]
fn only_what_the_targets_need_is_asked() {
    let world = World::locked();
    move_on(&world);
    let document = |arguments: &[&str]| {
        let output = world.command(&[&["outdated", "--json"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let suite = |places: &[&str]| {
        json!([{
            "suite": "stable", "snapshot": "20990101T000000Z", "newest-snapshot": "20990101T060000Z",
            "packages": [{ "source": "tools", "packages": ["tools"], "version": "1", "newest": "1.1", "used-by": places }],
        }])
    };
    assert_eq!(
        document(&["hello"]),
        json!({
            "sources": [{
                "recipes": ["packages/hello"], "name": "hello", "version": "1", "newest": "2", "patch": null,
                "listed-at": "https://upstream.example/",
            }],
            "bases": [], "suites": suite(&["hello (build)"]), "security": [], "unasked": [],
        })
    );
    assert_eq!(document(&["node"])["suites"], suite(&["node", "hello (build)"]));
    // A package that the suite has no more.
    world.publish(&[Deb::base()]);
    assert_eq!(document(&["hello"])["suites"][0]["packages"][0]["newest"], json!(null));
    assert_eq!(
        told(&world, &["nodde"]).stderr,
        "error: no recipe `nodde` in the project\nhint: did you mean `node`?\n"
    );
}

#[test]
fn what_has_no_answer_takes_nothing_from_the_rest() {
    let world = World::locked();
    world.edit(
        "project/recipes/packages/greeting.toml",
        "[build]\n",
        "[sources.there]\nurl = \"https://upstream.example/hello-1.tar.gz\"\n\
         [sources.gone]\nurl = \"https://upstream.example/gone/x-{version}.gz\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
         [build]\n",
    );
    world.edit(
        "config/nodeimg/config.toml",
        "[mirrors]\n",
        "[mirrors]\n\"https://upstream.example/gone/\" = [\"file:///nowhere/\"]\n",
    );
    assert_eq!(world.run(&["lock"]).code, 0);
    let found = told(&world, &["-q", "greeting"]);
    // Whether there is something newer is not known.
    assert_eq!(found.code, 4, "{found:?}");
    let (answer, rest) = found.stdout.split_once("  left out").unwrap();
    assert!(answer.starts_with(" no answer gone of greeting: file:///nowhere/: "), "{answer}");
    assert_eq!(
        rest,
        " there of greeting: its URL, tag or file holds no `{version}`\n  outdated nothing of what was asked\n"
    );
    move_on(&world);
    let found = told(&world, &["-q", "greeting"]);
    assert!(found.code == 1 && found.stdout.starts_with("  upstream hello: 1 → 2\n"), "{found:?}");
}

const TRACKER: &str = r#"{
    "toolbox": {
        "CVE-2099-1": {"releases": {"stable": {"status": "resolved", "fixed_version": "7+deb1", "urgency": "high"}}},
        "CVE-2099-2": {"releases": {"stable": {"status": "open", "urgency": "low"}}}
    },
    "base-files": {"CVE-2099-3": {"releases": {"stable": {"status": "resolved", "fixed_version": "0", "urgency": "x"}}}}
}"#;

const ADVISORIES: &str = "\
[01 Jan 2099] DSA-9000-1 toolbox - security update
\t{CVE-2099-1 CVE-2099-4}
\t[stable] - toolbox 7+deb1
";

/// A world whose `tools` are built from a source package with holes, and files that know them.
fn with_holes() -> World {
    let world = World::new();
    world.publish(&[
        Deb::base(),
        Deb::new("tools", "Source: toolbox (7)\n").with("usr/share/tools", "tools\n", 0o644),
    ]);
    assert_eq!(world.run(&["lock"]).code, 0);
    world.write("tracker.json", TRACKER);
    world.write("DSA", ADVISORIES);
    world
}

#[test]
fn security_updates_have_the_names_that_debian_gave_them() {
    let world = with_holes();
    let (json, list) = (world.path("tracker.json"), world.path("DSA"));
    let files = ["--tracker", json.to_str().unwrap(), "--tracker", list.to_str().unwrap()];
    let run = |more: &[&str]| told(&world, &[&files, more].concat());
    let expected = "  security toolbox 7 (stable) → 7+deb1 fixes CVE-2099-1 (high), CVE-2099-4;
             DSA-9000-1
           in node and 1 build
      open 1 issue of 1 source package without a fix: `--verbose` names them
";
    assert_eq!(run(&["-q"]), success(1, expected));
    // Without a network, out of the pinned index; and out of the packages where that is gone.
    assert_eq!(run(&["-q", "--offline"]), success(1, expected));
    assert_eq!(world.run(&["fetch", "node"]).code, 0);
    assert_eq!(run(&["-q", "--offline"]), success(1, expected));
    assert_eq!(
        run(&["--verbose", "--offline"]).stdout,
        "  security toolbox 7 (stable) → 7+deb1 fixes CVE-2099-1 (high), CVE-2099-4;
             DSA-9000-1
           in node and 1 build
  security toolbox 7 (stable) has no fix yet for CVE-2099-2 (low)
           in node and 1 build
"
    );
    // What can't be looked at is told.
    fs_err::remove_dir_all(world.path("store")).unwrap();
    let (nothing, code) = ("suites/stable: security of 2 packages that the store has not:", 4);
    let blind = run(&["-q", "--offline"]);
    assert!(blind.code == code && blind.stdout.replace("\n            ", "").contains(nothing), "{blind:?}");
    assert_eq!(world.run(&["fetch", "node"]).code, 0);
    // An issue without a fix is nothing that could be newer.
    world.write("tracker.json", TRACKER.replace("7+deb1", "6"));
    let only = told(&world, &["-q", "--offline", "--tracker", json.to_str().unwrap()]);
    assert_eq!(
        only,
        success(
            0,
            "      open 1 issue of 1 source package without a fix: `--verbose` names them\n  outdated nothing\n"
        )
    );
}

#[test]
fn sources_that_debian_has_too_are_looked_up() {
    let world = with_holes();
    world.edit(
        "project/recipes/packages/hello.toml",
        "hello-{version}.tar.gz\"",
        "hello-{version}.tar.gz\"\nalso = [\"debian-world:pool/main/h/hello/hello_{version}.orig.tar.gz\"]",
    );
    assert_eq!(world.run(&["lock"]).code, 0);
    let unstable = r#""hello": {"CVE-2099-5": {"releases": {"sid": {"status": "resolved", "fixed_version": "1.2-1", "urgency": "x"}}}},"#;
    world.write("tracker.json", TRACKER.replacen('{', &format!("{{{unstable}"), 1));
    let json = world.path("tracker.json");
    let found = told(&world, &["-q", "--offline", "--tracker", json.to_str().unwrap(), "hello"]);
    assert!(
        found
            .stdout
            .starts_with("  security hello 1 (upstream's) → 1.2-1 fixes CVE-2099-5\n           in hello\n"),
        "{found:?}"
    );
}

#[test]
fn what_cannot_be_told_is_an_error() {
    let world = with_holes();
    assert_eq!(
        told(&world, &["--offline"]),
        Told::failure(
            4,
            "error: without the network nobody says what is newer
hint: leave out `--offline`, or name files of Debian's security tracker:
  `nodeimg outdated --offline --tracker FILE`
"
        )
    );
    let tracker = |text: &str| {
        world.write("tracker.json", text);
        let json = world.path("tracker.json");
        told(&world, &["--offline", "--tracker", json.to_str().unwrap()])
    };
    assert_eq!(
        tracker("{\"toolbox\": 3}"),
        Told::failure(
            1,
            "error: `WORLD/tracker.json` can't be used as Debian's
  tracker data: invalid type: integer `3`, expected a map at line 1 column 14
hint: take the JSON of https://security-tracker.debian.org/tracker/data/json, or
  `data/DSA/list` of the tracker's repository
"
        )
    );
    assert_eq!(
        tracker(&TRACKER.replace("\"stable\"", "\"bookworm\"")),
        Told::failure(
            1,
            "error: Debian's tracker data says nothing of the release `stable`
hint: take newer tracker data; it knows releases by their code names, such as
  `bookworm`
"
        )
    );
    // What is locked is what is asked about.
    world.edit("project/recipes/packages/hello.toml", "version = \"1\"", "version = \"2\"");
    let stale = told(&world, &[]);
    assert_eq!(stale.code, 1);
    assert!(stale.stderr.starts_with("error: lock is out of date for recipe `hello`\n"), "{}", stale.stderr);
}

#[test]
fn a_registry_says_what_it_has_of_a_base() {
    let world = World::locked();
    fs_err::create_dir(world.path("registry")).unwrap();
    let Some(registry) = Registry::start(&world.path("registry")) else { return };
    assert_eq!(world.run(&["build", "--lock", "plain"]).code, 0);
    let layout = world.path("project/out/plain/oci");
    let push = |tag: &str| registry.push(&layout, &format!("kindest/node:{tag}"), &[]);
    if !push("v1.32.2") {
        return;
    }
    let host = &registry.host;
    world.write(
        "project/recipes/images/based.toml",
        format!("name = \"based\"\ntag = \"v1\"\n[base]\noci = \"{host}/kindest/node:v1.32.2\"\n[[layers]]\nname = \"programs\"\npackages = [\"hello\"]\n"),
    );
    assert_eq!(world.run(&["lock", "based"]).code, 0);
    assert_eq!(told(&world, &["-q", "based"]), success(0, "  outdated nothing\n"));
    for tag in ["v1.32.8", "v1.36.0", "v1.37.0-rc.1", "latest"] {
        assert!(push(tag));
    }
    // The same tag, made again.
    world.edit(
        "project/recipes/packages/greeting.toml",
        "/greeting\"",
        "/greeting\"; echo more >> \"$OUT/greeting\"",
    );
    assert_eq!(world.run(&["build", "--lock", "plain"]).code, 0);
    assert!(push("v1.32.2"));
    let digest =
        world.json(&["build", "--lock", "plain"])["targets"][0]["digest"].as_str().unwrap().to_owned();
    let found = told(&world, &["-q", "based"]);
    let plain = Told { stdout: found.stdout.replace(host, "127.0.0.1:50000"), ..found };
    assert_eq!(
        plain,
        success(
            1,
            &format!(
                "      base 127.0.0.1:50000/kindest/node:v1.32.2 of based → v1.36.0, or v1.32.8
             of its line
      base 127.0.0.1:50000/kindest/node:v1.32.2 of based names another image now
           {digest}
      next set `oci` in `recipes/images/based.toml`, then
             `nodeimg lock --update based`
"
            )
        )
    );
}

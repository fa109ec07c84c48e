//! `git diff | nodeimg lock --from-diff`: what a bot bumped is pinned again, and nothing else.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{Told, World, tar_gz};

fn lock(world: &World, diff: &str) -> Told {
    let mut command = world.command(&["lock", "--from-diff"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    world.told(&child.wait_with_output().unwrap())
}

fn diff_of(file: &str) -> String {
    format!("diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-a\n+b\n")
}

#[test]
fn only_what_a_diff_changes_is_locked() {
    let world = World::locked();
    let entries = [("hello-2/hello", "#!/bin/sh\necho hello\n", 0o755)];
    world.write("upstream/hello-2.tar.gz", tar_gz(&entries));
    world.edit("project/recipes/packages/hello.toml", "version = \"1\"", "version = \"2\"");
    // Changed as well, and no part of the diff.
    world.edit(
        "project/recipes/packages/containerd.toml",
        "root = \"stable\"",
        "root = \"stable\"\npackages = [\"tools\"]",
    );
    let containerd = world.read("project/lockfiles/packages/containerd.toml");
    let before = world.read("project/lockfiles/packages/hello.toml");

    let nothing = lock(&world, &diff_of("README.md"));
    assert_eq!((nothing.code, nothing.stderr.as_str()), (0, "     locks nothing changed\n"));
    assert_eq!(world.read("project/lockfiles/packages/hello.toml"), before);

    let told = lock(&world, &diff_of("recipes/packages/hello.toml"));
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stderr.contains("    locked hello: source hello: 1 (sha256"), "{}", told.stderr);
    assert!(
        told.stderr.ends_with("     locks 1 file changed in `lockfiles/`: review the diff\n"),
        "{}",
        told.stderr
    );
    assert!(world.read("project/lockfiles/packages/hello.toml").contains("hello-2.tar.gz"));
    assert_eq!(world.read("project/lockfiles/packages/containerd.toml"), containerd);

    // A project may be a folder of its repository; what is in a folder of another name is not its own.
    world.edit("project/recipes/packages/hello.toml", "version = \"2\"", "version = \"1\"");
    assert_eq!(lock(&world, &diff_of("other/recipes/packages/hello.toml")).stderr, nothing.stderr);
    lock(&world, &diff_of("project/recipes/packages/hello.toml"));
    assert_eq!(world.read("project/lockfiles/packages/hello.toml"), before);
}

#[test]
fn a_suite_takes_those_along_that_draw_from_it() {
    let world = World::locked();
    world.edit("project/recipes/suites/stable.toml", "20990101T000000Z", "20990102T000000Z");
    let told = lock(&world, &diff_of("recipes/suites/stable.toml"));
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stderr.contains("    locked stable: snapshot: 20990101T000000Z → 20990102T000000Z\n"),
        "{}",
        told.stderr
    );
    assert_eq!(world.run(&["lock", "--check"]).code, 0);
}

#[test]
fn other_bytes_under_the_same_name_are_told_and_compared() {
    let world = World::locked();
    let before = nodeimg::base::Sha256::of(&fs_err::read(world.path("upstream/hello-1.tar.gz")).unwrap());
    let other = tar_gz(&[("hello-1/hello", "#!/bin/sh\necho hello\n# and more\n", 0o755)]);
    world.write("upstream/hello-1.tar.gz", &other);
    let now = nodeimg::base::Sha256::of(&other);
    let lock = world.read("project/lockfiles/packages/hello.toml");
    let document = world.json(&["lock", "--update", "hello"]);
    let told = &document["republished"][0];
    assert_eq!(told["recipe"], "packages/hello");
    assert_eq!(
        (told["before"].as_str(), told["now"].as_str()),
        (Some(&*before.to_string()), Some(&*now.to_string()))
    );
    assert_eq!(told["differs"]["files"]["files"][1]["path"], "/hello-1/hello", "{document}");

    world.write("project/lockfiles/packages/hello.toml", &lock);
    let told = world.run(&["lock", "--update", "hello"]);
    let expected = format!(
        " new bytes https://upstream.example/hello-1.tar.gz, under the same name as before\n    before {before}\n       now {now}\n           − /hello-1/README\n           ~ /hello-1/hello: "
    );
    assert!(told.stderr.contains(&expected), "{}", told.stderr);
    // A lock that is as it should be says nothing of it.
    assert_eq!(world.json(&["lock", "--update", "hello"])["republished"], serde_json::json!([]));

    // Whoever never had the old bytes hears of both hashes.
    world.write("project/lockfiles/packages/hello.toml", &lock);
    fs_err::rename(world.path("store"), world.path("old-store")).unwrap();
    let told = world.run(&["lock", "--update", "hello"]);
    assert!(
        told.stderr
            .contains("           what was there before is not in the store: they can't be compared\n"),
        "{}",
        told.stderr
    );
}

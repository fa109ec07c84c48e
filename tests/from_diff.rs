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

//! Upstream's signatures: checked when a source is locked, by a key of the project, and never needed again.

use crate::world::{Told, World, tar_gz};

/// A world whose package `hello` is signed by its upstream.
fn signed() -> (World, String) {
    let world = World::new();
    let (key, armored) = world.sign_upstream("hello-1.tar.gz");
    world.edit(
        "project/recipes/packages/hello.toml",
        "hello-{version}.tar.gz\"",
        &format!("hello-{{version}}.tar.gz\"\nsignature = {{ url = \"{{url}}.asc\", key = \"{key}\" }}"),
    );
    world.write(&format!("project/recipes/keys/{key}.asc"), armored);
    (world, key)
}

#[test]
fn a_signature_is_checked_once_and_whose_it_was_is_kept() {
    let (world, key) = signed();
    assert_eq!(world.run(&["lock", "hello"]).code, 0);
    let lock = world.read("project/lockfiles/packages/hello.toml");
    assert!(lock.contains("url = \"https://upstream.example/hello-1.tar.gz.asc\"\n"), "{lock}");
    assert!(lock.contains(&format!("signer = \"{key}\"\n")) && !lock.contains("first-use"), "{lock}");
    // Neither the signature nor the network is asked for again.
    fs_err::remove_file(world.path("upstream/hello-1.tar.gz.asc")).unwrap();
    assert_eq!(world.run(&["lock", "--check", "hello"]).code, 0);
    assert_eq!(world.run(&["lock", "hello"]), Told::failure(0, "     locks nothing changed\n"));
    assert_eq!(world.run(&["lock", "plain"]).code, 0);
    assert_eq!(world.run(&["build", "--lock", "plain"]).code, 0);
    // The key is a part of what an image is made from.
    let provenance = world.json(&["attest", "--lock", "plain"])["attested"][0]["folder"].clone();
    let provenance = world.read(&format!("project/{}/provenance.json", provenance.as_str().unwrap()));
    assert!(provenance.contains(&format!("\"recipes/keys/{key}.asc\"")), "{provenance}");
}

#[test]
fn what_nobody_vouched_for_is_told_in_the_lock() {
    let world = World::locked();
    let path = "project/lockfiles/packages/hello.toml";
    let lock = world.read(path);
    assert!(lock.contains("\ntrust = \"first-use\"\n"), "{lock}");
    // A hash in the recipe is somebody's word.
    let hash = nodeimg::base::Sha256::of_file(&world.path("upstream/hello-1.tar.gz")).unwrap();
    world.edit(
        "project/recipes/packages/hello.toml",
        "hello-{version}.tar.gz\"",
        &format!("hello-{{version}}.tar.gz\"\nsha256 = \"{hash}\""),
    );
    assert_eq!(world.run(&["lock", "hello"]).code, 0);
    assert!(!world.read(path).contains("first-use"));
}

#[test]
fn a_file_that_upstream_did_not_sign_is_not_locked() {
    let (world, key) = signed();
    let other = tar_gz(&[("hello-1/hello", "#!/bin/sh\necho worse\n", 0o755)]);
    world.write("upstream/hello-1.tar.gz", &other);
    assert_eq!(
        world.run(&["lock", "hello"]).stderr.split("error: ").last().unwrap(),
        format!(
            "can't resolve source `hello` of recipe `packages/hello`\n  \
             the signature `https://upstream.example/hello-1.tar.gz.asc` is bad: the file\n    is not what was signed\n  \
             key: {key}\nhint: do not trust this download; ask upstream, or name another place in `also`\n"
        )
    );
    assert!(!world.path("project/lockfiles/packages/hello.toml").exists());
    // What is no signature at all.
    world.write("upstream/hello-1.tar.gz.asc", "404: not found\n");
    let told = world.run(&["lock", "hello"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("is no signature: "), "{}", told.stderr);
    fs_err::remove_file(world.path("upstream/hello-1.tar.gz.asc")).unwrap();
    let told = world.run(&["lock", "hello"]);
    assert!(told.code != 0 && told.stderr.contains("hello-1.tar.gz.asc"), "{}", told.stderr);
}

#[test]
fn a_key_must_be_there_and_be_the_one_that_it_is_named_after() {
    let (world, key) = signed();
    let other = "0123456789ABCDEF0123456789ABCDEF01234567";
    world.edit("project/recipes/packages/hello.toml", &key, other);
    let told = world.run(&["lock", "hello"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains(&format!("recipes/keys/{other}.asc")), "{}", told.stderr);
    let armored = world.read(&format!("project/recipes/keys/{key}.asc"));
    world.write(&format!("project/recipes/keys/{other}.asc"), armored);
    let told = world.run(&["lock", "hello"]);
    assert!(
        told.stderr.contains("does not hold the\n    key that it is named after")
            && told.stderr.contains(&format!("key: {other}")),
        "{}",
        told.stderr
    );
    world.edit("project/recipes/packages/hello.toml", other, "0123");
    let told = world.run(&["lock", "hello"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("is no fingerprint of an OpenPGP key: 40 hexadecimal digits"),
        "{}",
        told.stderr
    );
}

#[test]
fn a_signature_is_looked_for_beside_each_place_of_the_file() {
    let (world, key) = signed();
    world.edit(
        "project/recipes/packages/hello.toml",
        "url = \"https://upstream.example/hello-{version}.tar.gz\"",
        "url = \"file:///nowhere/hello-{version}.tar.gz\"\nalso = [\"https://upstream.example/hello-{version}.tar.gz\"]",
    );
    let told = world.run(&["lock", "hello"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lock = world.read("project/lockfiles/packages/hello.toml");
    assert!(lock.contains(&format!("signer = \"{key}\"\n")), "{lock}");
}

//! Keys, documents about images, and their signatures, in a small world of their own.

use crate::world::{Told, World};

#[test]
fn a_key_is_made_once() {
    let world = World::new();
    let told = world.run(&["key", "new", "release.key"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let id = told.stderr.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(
        told.stderr,
        format!(
            "       key {id}\n algorithm Ed25519\n   private release.key, for who signs\n    public release.key.pub, \
             for who checks\n"
        )
    );
    let before = world.read("project/release.key");
    assert_eq!(
        world.run(&["key", "new", "release.key"]),
        Told::failure(
            2,
            "error: `release.key` is there already, and a key is never overwritten\n\
             hint: name another file, or move it away if nothing depends on it\n"
        )
    );
    assert_eq!(world.read("project/release.key"), before);
    let other = world.json(&["key", "new", "other.key", "--algorithm", "p256"]);
    assert_eq!(other["algorithm"], "ECDSA P-256");
    assert!(world.read("project/other.key.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

//! A cargo workspace's crates out of a registry made on the spot, as a build and as cargo itself see them.

use std::path::Path;
use std::process::Command;

use nodeimg::base::Sha256;

use crate::world::{Told, World, strings, tar_gz};

/// The package whose crates these are; its script shows what it was given.
const RECIPE: &str = r#"name = "rusty"
version = "1"
license = "MIT"
[sources.own]
path = "rusty"
[sources.crates]
cargo = "rusty/Cargo.lock"
[build]
root = "stable"
script = """
cp -R /build/crates /build/.cargo/config.toml "$OUT"
cp -R . "$OUT/own"
if touch /build/crates/new 2>/dev/null; then exit 1; fi
"""
"#;
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
const LOCK: &str = "project/recipes/packages/rusty/Cargo.lock";

/// Writes a crate's archive, and gives its entry of a `Cargo.lock`.
fn publish(world: &World, name: &str, version: &str, library: &str) -> String {
    let folder = format!("{name}-{version}");
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n");
    let archive = tar_gz(&[
        (&format!("{folder}/Cargo.toml"), &manifest, 0o644),
        (&format!("{folder}/src/lib.rs"), library, 0o644),
    ]);
    world.write(&format!("registry/{folder}.crate"), &archive);
    let checksum = Sha256::of(&archive);
    format!(
        "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{REGISTRY}\"\nchecksum = \"{checksum}\"\n"
    )
}

/// A world with a registry of two crates, a package that locks them, and locks.
fn world() -> World {
    let world = World::new();
    let crates = [
        publish(&world, "one", "1.0.0", "pub fn one() -> u32 { 1 }\n"),
        publish(&world, "two", "2.0.0-rc.1+meta", "pub fn two() -> u32 { 2 }\n"),
    ];
    let registry = format!("file://{}/", world.path("registry").display());
    world.write("registry/config.json", format!("{{\"dl\":\"{registry}{{crate}}-{{version}}.crate\"}}"));
    let config = world.read("config/nodeimg/config.toml");
    world.write("config/nodeimg/config.toml", format!("{config}crates = [\"{registry}\"]\n"));
    world.write("project/recipes/packages/rusty.toml", RECIPE);
    world.write(
        "project/recipes/packages/rusty/Cargo.toml",
        "[package]\nname = \"rusty\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n\
         [dependencies]\none = \"1\"\ntwo = \"=2.0.0-rc.1\"\n",
    );
    world.write(
        "project/recipes/packages/rusty/src/main.rs",
        "fn main() { println!(\"{}\", one::one() + two::two()) }\n",
    );
    let own =
        "\n[[package]]\nname = \"rusty\"\nversion = \"1.0.0\"\ndependencies = [\n \"one\",\n \"two\",\n]\n";
    world.write(LOCK, ["version = 4\n", &crates[0], own, &crates[1]].concat());
    let told = world.run(&["lock", "-q"]);
    assert_eq!(told, Told::failure(0, ""));
    world
}

/// Lets the host's cargo build what the script was given, with nothing else to take crates from.
fn cargo(out: &Path) -> String {
    let config = fs_err::read_to_string(out.join("config.toml")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let config = config.replace("/build/crates", out.join("crates").to_str().unwrap());
    fs_err::write(home.path().join("config.toml"), config).unwrap();
    #[expect(clippy::disallowed_methods, reason = "cargo's own judgement is what the test is about")]
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked"])
        .current_dir(out.join("own"))
        .env("CARGO_HOME", home.path())
        .env("CARGO_TARGET_DIR", home.path().join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn crates_are_fetched_by_their_checksums_and_cargo_takes_them() {
    let world = world();
    let built = world.json(&["build", "--lock", "packages/rusty"]);
    let made = strings(&built["made"]);
    for step in ["rusty:fetch:crates:one-1.0.0", "rusty:source:crates:two-2.0.0-rc.1+meta", "rusty"] {
        assert!(made.iter().any(|name| name == step), "{step} in {made:?}");
    }
    let out = world.path("project/out/packages/rusty");
    let read = |path: &str| fs_err::read_to_string(out.join(path)).unwrap();
    assert_eq!(
        read("config.toml"),
        "[source.crates-io]\nreplace-with = \"registry\"\n\n[source.registry]\ndirectory = \"/build/crates/registry\"\n\n\
         [net]\noffline = true\n"
    );
    let checksum = Sha256::of(&fs_err::read(world.path("registry/one-1.0.0.crate")).unwrap());
    assert_eq!(
        read("crates/registry/one-1.0.0/.cargo-checksum.json"),
        format!("{{\"files\":{{}},\"package\":\"{checksum}\"}}")
    );
    assert_eq!(cargo(&out), "3\n");

    // A new list brings what is new in it, and nothing else.
    let old = world.read(LOCK);
    let three = publish(&world, "three", "3.0.0", "");
    world.write(LOCK, format!("{old}{three}"));
    let made = world.made(&["packages/rusty"]);
    assert_eq!(
        made,
        ["rusty:fetch:crates:three-3.0.0", "rusty:source:crates:three-3.0.0", "rusty:source:crates", "rusty"]
    );
}

#[test]
fn a_crate_of_other_bytes_is_refused() {
    let world = world();
    let expected = Sha256::of(&fs_err::read(world.path("registry/one-1.0.0.crate")).unwrap());
    world.write("registry/one-1.0.0.crate", "other bytes");
    let received = Sha256::of(b"other bytes");
    let told = world.run(&["build", "--lock", "-q", "packages/rusty"]);
    assert_eq!(
        told,
        Told::failure(
            1,
            &format!(
                "warning: content of `file://WORLD/registry/one-1.0.0.crate` does not match its pin\n\
                 error: content of `file://WORLD/registry/one-1.0.0.crate`\n  does not match its checksum\n  \
                 expected: {expected}\n  received: {received}\n\
                 hint: a crate never changes once it is published: do not trust this download\n"
            )
        )
    );
}

#[test]
fn a_crate_without_a_checksum_is_told_with_its_place() {
    let world = world();
    let text = world.read(LOCK);
    let line = text.lines().find(|line| line.starts_with("checksum")).unwrap();
    world.write(LOCK, text.replace(&format!("{line}\n"), ""));
    let told = world.run(&["build", "--lock", "packages/rusty"]);
    assert_eq!(
        told,
        Told::failure(
            1,
            "error: crate `one 1.0.0` has no checksum\n  --> recipes/packages/rusty/Cargo.lock:4:8\n    |\n  \
             4 | name = \"one\"\n    |        ^^^^^ this crate\n\
             hint: remove its `[[package]]` and let cargo write it anew: `cargo fetch`\n"
        )
    );
}

//! A cargo workspace's crates out of a registry made on the spot, as a build and as cargo itself see them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Makes a repository of the world's upstream with one commit, and gives the commit. A submodule is a path and the
/// commit of `data.git`.
fn repository(world: &World, name: &str, files: &[(&str, &str)], submodule: Option<(&str, &str)>) -> String {
    let folder = world.path("upstream").join(name);
    fs_err::create_dir_all(&folder).unwrap();
    git(&folder, &["init", "--quiet", "--initial-branch=main"]);
    commit(world, name, files, submodule)
}

fn commit(world: &World, name: &str, files: &[(&str, &str)], submodule: Option<(&str, &str)>) -> String {
    let folder = world.path("upstream").join(name);
    for (path, text) in files {
        world.write(&format!("upstream/{name}/{path}"), text);
    }
    if let Some((path, commit)) = submodule {
        let text = format!("[submodule \"data\"]\n\tpath = {path}\n\turl = ../data.git\n");
        world.write(&format!("upstream/{name}/.gitmodules"), text);
        git(&folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
        git(&folder, &["add", ".gitmodules"]);
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
    git(&folder, &[&["add", "--"], paths.as_slice()].concat());
    git(&folder, &["commit", "--quiet", "--message", "made on the spot"]);
    git(&folder, &["rev-parse", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    #[expect(clippy::disallowed_methods, reason = "git makes what it is asked for later")]
    let output = Command::new("git")
        .args(["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Serves the world's repositories over HTTP on this machine, as `git http-backend` does, in the place of upstream.
fn serve(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, upstream) = (listener.local_addr().unwrap().port(), world.path("upstream"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, upstream) = (stream.unwrap(), upstream.clone());
            std::thread::spawn(move || answer(&mut stream, &upstream));
        }
    });
    let local = format!("file://{}/", world.path("upstream").display());
    world.edit("config/nodeimg/config.toml", &local, &format!("http://127.0.0.1:{port}/"));
}

fn answer(stream: &mut TcpStream, upstream: &Path) {
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| line != "\r\n") {
        lines.push(String::new());
        if from.read_line(lines.last_mut().unwrap()).unwrap() == 0 {
            return;
        }
    }
    let length = lines.iter().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")
            .map(|length| length.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).unwrap();
    let path = lines[0].split(' ').nth(1).unwrap().trim_start_matches('/');
    let (kind, content) = match path.strip_suffix("/info/refs?service=git-upload-pack") {
        Some(name) => {
            let refs = upload_pack(&upstream.join(name), &["--advertise-refs"], &body);
            ("advertisement", [b"001e# service=git-upload-pack\n0000".as_slice(), &refs].concat())
        }
        None => {
            let name = path.strip_suffix("/git-upload-pack").unwrap();
            ("result", upload_pack(&upstream.join(name), &[], &body))
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-git-upload-pack-{kind}\r\n\r\n"
    );
    // Who has heard enough may hang up.
    let _ = stream.write_all(&[head.as_bytes(), &content].concat());
}

fn upload_pack(folder: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "git itself is the server")]
    let mut child = Command::new("git")
        .args(["upload-pack", "--stateless-rpc"])
        .args(arguments)
        .arg(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().stdout
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

const TOOL: [(&str, &str); 7] = [
    (
        "Cargo.toml",
        "[workspace]\nmembers = [\"core\", \"parts/helper\"]\n[workspace.package]\nversion = \"0.3.0\"\n\
         edition = \"2021\"\n[workspace.dependencies]\nhelper = { path = \"parts/helper\" }\ntwo = \"=2.0.0-rc.1\"\n\
         [workspace.lints.rust]\nmissing_docs = \"deny\"\n",
    ),
    (
        "core/Cargo.toml",
        "[package]\nname = \"tool-core\"\nversion.workspace = true\nedition.workspace = true\n[lints]\nworkspace = true\n\
         [dependencies]\nhelper = { workspace = true, features = [\"loud\"] }\ntwo.workspace = true\n\
         [dev-dependencies]\nunlocked = \"9\"\n[features]\ntested = [\"unlocked/more\"]\n",
    ),
    (
        "core/src/lib.rs",
        "pub fn text() -> String { format!(\"{} {} {}\", helper::VOICE, two::two(), include_str!(\"../data/text\").trim()) }\n",
    ),
    (
        "parts/helper/Cargo.toml",
        "[package]\nname = \"helper\"\nversion.workspace = true\nedition.workspace = true\n[features]\nloud = []\n",
    ),
    (
        "parts/helper/src/lib.rs",
        "#[cfg(feature = \"loud\")] pub const VOICE: &str = \"LOUD\";\n\
         #[cfg(not(feature = \"loud\"))] pub const VOICE: &str = \"quiet\";\n",
    ),
    // Another package of that name further down is none that is meant.
    ("core/tests/fixture/a/Cargo.toml", "[package]\nname = \"helper\"\nversion = \"0.3.0\"\n"),
    ("core/tests/broken/Cargo.toml", "this is no TOML"),
];

/// What a lock can say: a workspace on a branch with a submodule, a package on a tag that is in the registry as well, and
/// a crate of the registry that a path of the project stands in for.
fn with_git(world: &World) -> (String, String) {
    let data = repository(world, "data.git", &[("text", "from a submodule\n")], None);
    let tool = repository(world, "tool.git", &TOOL, Some(("core/data", &data)));
    let manifest = "[package]\nname = \"tagged\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let library = "pub const FROM: &str = \"git\";\n";
    let tagged = repository(world, "tagged.git", &[("Cargo.toml", manifest), ("src/lib.rs", library)], None);
    git(&world.path("upstream/tagged.git"), &["tag", "v1"]);
    // Both move on, and the locked commits are what counts.
    commit(world, "tool.git", &[("core/src/lib.rs", "not Rust any more")], None);
    commit(world, "tagged.git", &[("src/lib.rs", "nor this")], None);

    let two = publish(world, "two", "2.0.0-rc.1+meta", "pub fn two() -> u32 { 2 }\n");
    let registered = publish(world, "tagged", "1.0.0", "pub const FROM: &str = \"registry\";\n");
    let project = "project/recipes/packages/rusty";
    world.write(
        &format!("{project}/Cargo.toml"),
        "[package]\nname = \"rusty\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[workspace]\n\
         [dependencies]\none = \"1\"\nregistered = { package = \"tagged\", version = \"1\" }\n\
         tagged = { git = \"https://upstream.example/tagged.git\", tag = \"v1\" }\n\
         tool-core = { git = \"https://upstream.example/tool.git\", branch = \"main\" }\n\
         [patch.crates-io]\none = { path = \"one\" }\n",
    );
    world.write(
        &format!("{project}/one/Cargo.toml"),
        "[package]\nname = \"one\"\nversion = \"1.0.7\"\nedition = \"2021\"\n",
    );
    world.write(&format!("{project}/one/src/lib.rs"), "pub fn one() -> u32 { 7 }\n");
    world.write(
        &format!("{project}/src/main.rs"),
        "fn main() { println!(\"{} {} {} {}\", one::one(), registered::FROM, tagged::FROM, tool_core::text()) }\n",
    );
    let tool_source = format!("git+https://upstream.example/tool.git?branch=main#{tool}");
    let tagged_source = "git+https://upstream.example/tagged.git?tag=v1";
    let entry = |name: &str, version: &str, rest: &str| {
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{rest}")
    };
    let needs = |names: &[&str]| {
        let lines: String = names.iter().map(|name| format!(" \"{name}\",\n")).collect();
        format!("dependencies = [\n{lines}]\n")
    };
    let lock = [
        "version = 4\n",
        &entry("helper", "0.3.0", &format!("source = \"{tool_source}\"\n")),
        &entry("one", "1.0.7", ""),
        &entry(
            "rusty",
            "1.0.0",
            &needs(&[
                "one",
                &format!("tagged 1.0.0 ({tagged_source})"),
                &format!("tagged 1.0.0 ({REGISTRY})"),
                "tool-core",
            ]),
        ),
        &entry("tagged", "1.0.0", &format!("source = \"{tagged_source}#{tagged}\"\n")),
        &registered,
        &entry("tool-core", "0.3.0", &format!("source = \"{tool_source}\"\n{}", needs(&["helper", "two"]))),
        &two,
    ];
    world.write(LOCK, lock.concat());
    (tool, tagged)
}

#[test]
fn git_dependencies_come_by_their_commits() {
    let world = world();
    let (tool, tagged) = with_git(&world);
    serve(&world);
    let sources = [format!("cargo.tagged-{}", &tagged[..12]), format!("cargo.tool-{}", &tool[..12])];
    let stale = world.run(&["build", "--lock", "packages/rusty"]);
    let missing = |source: &String| format!("  source `{source}`: not in the lock\n");
    assert!(sources.iter().all(|source| stale.stderr.contains(&missing(source))), "{}", stale.stderr);
    assert_eq!(world.run(&["lock", "-q"]), Told::failure(0, ""));
    let lock = world.read("project/lockfiles/packages/rusty.toml");
    for (source, commit) in sources.iter().zip([&tagged, &tool]) {
        assert!(lock.contains(&format!("[source.\"{source}\".all.pin]")), "{lock}");
        assert!(lock.contains(&format!("commit = \"{commit}\"")), "{lock}");
    }
    world.made(&["packages/rusty"]);
    let out = world.path("project/out/packages/rusty");
    assert_eq!(cargo(&out), "7 registry git LOUD 2 from a submodule\n");
}

#[test]
fn a_repository_without_the_locked_package_is_told() {
    let world = world();
    with_git(&world);
    world.edit(LOCK, "name = \"helper\"\nversion = \"0.3.0\"", "name = \"helper\"\nversion = \"0.4.0\"");
    assert_eq!(world.run(&["lock", "-q"]), Told::failure(0, ""));
    let told = world.run(&["build", "--lock", "-q", "packages/rusty"]);
    let expected = "error: `https://upstream.example/tool.git?branch=main` has no package\n  `helper 0.4.0`, which \
                    `Cargo.lock` says is there\nhint: let cargo write the lock anew: `cargo update helper`, then \
                    `nodeimg lock`\n";
    assert_eq!(told, Told::failure(1, expected));
}

//! Every guest of `recipes/packages/wasm-guests` as a container, with each crun of the project and each of its engines:
//! the table of which pairs pass. README has it for people.
//!
//! A container wants root and cgroups; an ordinary user's run says that it leaves this out.

use std::path::Path;
use std::process::Command;

use crate::everywhere::{PROGRAM, built, clone, good, nodeimg, test_store};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wasm/run-set.sh");
const GUESTS: usize = 17;

/// A crun, the wasmtime that it finds, the guests that were compiled ahead of time for that wasmtime, and how many of
/// them run as they should.
type Pair = (&'static str, &'static str, &'static str, usize);

fn passed(pairs: &[Pair]) -> Vec<(usize, String)> {
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let targets = pairs.iter().flat_map(|(crun, wasmtime, guests, _)| [crun, wasmtime, guests]);
    let targets = targets.map(|name| format!("packages/{name}"));
    built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).args(targets));
    let out = |path: &str| folder.path().join("out/packages").join(path);
    let triplet = nodeimg::base::Arch::host().unwrap().triplet();
    let run = |(crun, wasmtime, guests, _): &Pair| {
        let libraries = out(wasmtime).join("usr/lib").join(triplet);
        let output = run(&out(crun).join("usr/local/bin/crun"), &libraries, &out(guests), "");
        (output.lines().filter(|line| line.starts_with("pass ")).count(), output)
    };
    pairs.iter().map(run).collect()
}

fn is_left_out() -> bool {
    let left_out = !rustix::process::geteuid().is_root();
    if left_out {
        eprintln!("left out: containers of crun want root");
    }
    left_out
}

#[track_caller]
fn hold(pairs: &[Pair]) {
    if is_left_out() {
        return;
    }
    for (pair, (passed, output)) in pairs.iter().zip(passed(pairs)) {
        assert_eq!(passed, pair.3, "{pair:?}\n{output}");
    }
}

#[test]
fn guests_run_as_they_should() {
    hold(&[("crun", "wasmtime-c-api", "wasm-guests", GUESTS)]);
}

/// Who builds the library gets these bytes. Root and an ordinary user did, with other job counts, umasks and folders;
/// when the digest moves, a person meant it.
#[test]
fn the_long_term_wasmtime_has_its_digest() {
    const DIGEST: &str = "be96bd3e78eed1fc17dcb8ab30d56cc4f6f7de7ea2598b93a6ce2aa319d41569";
    if nodeimg::base::Arch::host() != Some(nodeimg::base::Arch::Amd64) {
        eprintln!("left out: the digest is of the library for amd64");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).arg("packages/wasmtime-c-api-lts"));
    let library = "out/packages/wasmtime-c-api-lts/usr/lib/x86_64-linux-gnu/libwasmtime.so";
    let library = fs_err::read(folder.path().join(library)).unwrap();
    assert_eq!(nodeimg::base::Sha256::of(&library).to_string(), DIGEST);
}

/// Wasmtime 36 has another `wasi_config_preopen_dir` than 25. crun calls the one of the headers that it was built with,
/// so a crun for 25 can't give a guest of 36 its folder: only what needs none still ends as it should.
#[test]
fn crun_wants_a_wasmtime_at_most_as_new_as_its_headers() {
    hold(&[
        ("crun-wasmtime-lts", "wasmtime-c-api-lts", "wasm-guests-lts", GUESTS),
        ("crun-wasmtime-lts", "wasmtime-c-api", "wasm-guests", GUESTS),
        ("crun", "wasmtime-c-api-lts", "wasm-guests-lts", 3),
    ]);
}

/// WasmEdge knows wasm in binary form alone, and nothing of what wasmtime compiled ahead of time: those three guests are
/// wasmtime's. Debian has it from trixie on, so crun runs in the system of the node image that is made of that.
#[test]
fn guests_run_in_wasmedge_too() {
    if is_left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let place = |path: &str| folder.path().join(path);
    let image = fs_err::read_to_string(place("recipes/images/kind-wasmedge-debian.toml")).unwrap();
    let system = image.split("[system]").nth(1).unwrap().split("[[layers]]").next().unwrap();
    let image = format!("name = \"wasmedge-system\"\ntag = \"1\"\n[system]{system}");
    fs_err::write(place("recipes/images/wasmedge-system.toml"), image).unwrap();
    let lock = |name: &str| place("lockfiles/images").join(name);
    fs_err::copy(lock("kind-wasmedge-debian.toml"), lock("wasmedge-system.toml")).unwrap();
    let targets = ["images/wasmedge-system", "packages/crun-wasmedge", "packages/wasm-guests"];
    built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).args(targets));
    let root = place("root");
    fs_err::create_dir(&root).unwrap();
    let unpack = "for blob in \"$1\"/*; do ! gzip --test --quiet \"$blob\" 2> /dev/null || tar -xzf \"$blob\" -C \"$2\"; done";
    let blobs = place("out/wasmedge-system/oci/blobs/sha256");
    good(crate::everywhere::command("sh").args(["-euc", unpack, "sh"]).arg(blobs).arg(&root));
    let out = |path: &str| place("out/packages").join(path);
    let crun = out("crun-wasmedge/usr/local/bin/crun");
    let output = run(&crun, folder.path(), &out("wasm-guests"), root.to_str().unwrap());
    let failed: Vec<_> = output.lines().filter(|line| line.starts_with("FAIL ")).collect();
    let names: Vec<_> = failed.iter().filter_map(|line| line[5..].split(':').next()).collect();
    assert_eq!(names, ["text", "ahead", "ahead-stale"], "{output}");
    assert_eq!(output.lines().filter(|line| line.starts_with("pass ")).count(), GUESTS - 3, "{output}");
}

/// Runs the guests, in a root or on the host's.
fn run(crun: &Path, libraries: &Path, guests: &Path, root: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "the set is a shell script that needs real containers")]
    let mut command = Command::new("sh");
    let output = command.arg(SCRIPT).args([crun, libraries, guests]).env("ROOT", root).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

//! Every guest of `recipes/packages/wasm-guests` as a container, with each crun of the project and each of its
//! wasmtimes: the table of which pairs pass. README has it for people.
//!
//! A container wants root and cgroups; an ordinary user's run says that it leaves this out.

use std::path::Path;
use std::process::Command;

use crate::everywhere::{PROGRAM, built, clone, nodeimg, test_store};

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
        let output = run(&out(crun).join("usr/local/bin/crun"), &libraries, &out(guests));
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

fn run(crun: &Path, libraries: &Path, guests: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the set is a shell script that needs real containers")]
    let output = Command::new("sh").arg(SCRIPT).args([crun, libraries, guests]).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

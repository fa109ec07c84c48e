//! Every guest of `recipes/packages/wasm-guests` as a container of the project's crun with the project's libwasmtime.
//!
//! A container wants root and cgroups; an ordinary user's run says that it leaves this out.

use std::path::Path;
use std::process::Command;

use crate::everywhere::{PROGRAM, built, clone, nodeimg, test_store};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wasm/run-set.sh");

#[test]
fn guests_run_as_they_should() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: containers of crun want root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let targets = ["packages/crun", "packages/wasmtime-c-api", "packages/wasm-guests"];
    built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).args(targets));
    let out = |path: &str| folder.path().join("out/packages").join(path);
    let triplet = nodeimg::base::Arch::host().unwrap().triplet();
    let libraries = out("wasmtime-c-api/usr/lib").join(triplet);
    let output = run(&out("crun/usr/local/bin/crun"), &libraries, &out("wasm-guests"));
    assert!(!output.contains("FAIL"), "{output}");
    assert_eq!(output.lines().filter(|line| line.starts_with("pass ")).count(), 17, "{output}");
}

fn run(crun: &Path, libraries: &Path, guests: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the set is a shell script that needs real containers")]
    let output = Command::new("sh").arg(SCRIPT).args([crun, libraries, guests]).output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

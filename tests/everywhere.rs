//! The project's own recipes give the same bytes everywhere: for other users, in other folders, with other settings.
//!
//! The first build here is the README's: it fetches some 300 MB and compiles Kubernetes, unless `target/test-store`
//! has the results from before. The second one starts from an empty store every time. It leaves out Kubernetes, which
//! takes ten minutes; CI makes that one from nothing as an ordinary user too, see `.ci/run`.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The digest of `kind-wasmtime-debian`, as `README.md` and `.ci/run` know it too. When it moves, a person meant it.
const DIGEST: &str = include_str!("kind-wasmtime-debian.digest");

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_nodeimg");

/// An ordinary user without a name, a home or a group of the host.
const STRANGER: u32 = 54321;

pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies what a clone would have, with the modes that a umask leaves.
pub(crate) fn clone(to: &Path) {
    for part in ["recipes", "lockfiles", "patches"] {
        copy(&project().join(part), &to.join(part));
    }
    // The node image's system by itself: everything of it but what comes from Kubernetes.
    let image = fs_err::read_to_string(to.join("recipes/images/kind-wasmtime-debian.toml")).unwrap();
    let system = image.split("[system]").nth(1).unwrap().split("[[layers]]").next().unwrap();
    let image = format!("name = \"system\"\ntag = \"1\"\n[system]{system}");
    fs_err::write(to.join("recipes/images/system.toml"), image).unwrap();
    let lock = to.join("lockfiles/images");
    fs_err::copy(lock.join("kind-wasmtime-debian.toml"), lock.join("system.toml")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for name in children(from) {
        let (path, target) = (from.join(&name), to.join(&name));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::write(target, fs_err::read(&path).unwrap()).unwrap();
        }
    }
}

pub(crate) fn nodeimg(program: &Path, project: &Path, store: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "it is the program under test")]
    let mut command = Command::new(program);
    command.current_dir(project).env("NODEIMG_STORE", store).args(["build", "--lock", "--json"]);
    command
}

/// Runs a build; gives what it says of each target, without where it lies.
pub(crate) fn built(command: &mut Command) -> Vec<(String, Value, Value)> {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    targets(&output.stdout)
}

/// Reads what a build says of each target.
pub(crate) fn targets(report: &[u8]) -> Vec<(String, Value, Value)> {
    let document: Value = serde_json::from_slice(report).unwrap();
    let target = |one: &Value| {
        (one["target"].as_str().unwrap().to_owned(), one["tree"].clone(), one["digest"].clone())
    };
    document["targets"].as_array().unwrap().iter().map(target).collect()
}

/// Everything that does not wait for Kubernetes.
pub(crate) const TARGETS: [&str; 9] = [
    "images/system",
    "images/busybox",
    "images/wasm-hello",
    "images/pause",
    "images/etcd",
    "packages/crun",
    "packages/wasmtime-c-api",
    "packages/kind-node-files",
    "packages/pause",
];

#[expect(clippy::disallowed_methods, reason = "tests may ask where cargo is")]
fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"))
}

/// Makes a home where cargo's index is found by the folder that cargo keeps for it, as it would be at any user's.
pub(crate) fn knows_index(home: &Path) {
    let registry = "registry/index";
    for name in children(&cargo_home().join(registry)) {
        fs_err::create_dir_all(home.join(".cargo").join(registry).join(name)).unwrap();
    }
}

fn children(folder: &Path) -> Vec<std::ffi::OsString> {
    fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

pub(crate) fn test_store() -> PathBuf {
    project().join("target/test-store")
}

/// Starts a program in the project, with the tests' store: this one, or what starts an engine beside it.
#[expect(clippy::disallowed_methods, reason = "it is the program under test, and what starts its engine")]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(project()).env("NODEIMG_STORE", test_store()).env("PROGRAM", PROGRAM);
    command
}

/// Runs what must succeed; gives what it printed.
pub(crate) fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

#[test]
fn the_node_image_has_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let image = built(&mut nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()));
    assert_eq!(image[0].2.as_str().unwrap(), DIGEST.trim());
    // What was promised lies there.
    let out = folder.path().join("out/kind-wasmtime-debian");
    for file in
        ["image.tar", "oci/index.json", "kind.yaml", "runtimeclasses.yaml", "example-crun-wasmtime.yaml"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(out.join("workloads/wasm-hello.tar").is_file() && out.join("workloads/busybox.tar").is_file());

    // The same again, from nothing, elsewhere, by a stranger.
    let here = built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).args(TARGETS));
    let elsewhere = tempfile::Builder::new().prefix("ein anderer Ort, ").tempdir().unwrap();
    let other = elsewhere.path().join("project");
    clone(&other);
    knows_index(elsewhere.path());
    // The build's folder may be nobody's business but its owner's.
    let program = elsewhere.path().join("nodeimg");
    fs_err::copy(PROGRAM, &program).unwrap();
    let mut command = nodeimg(&program, &other, &elsewhere.path().join("store"));
    command.args(TARGETS).args(["-j", "3"]);
    command.env("TZ", "Asia/Kathmandu").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "tr_TR.UTF-8");
    command
        .env("HOME", elsewhere.path())
        .env("CARGO_HOME", elsewhere.path().join(".cargo"))
        .env("USER", "stranger")
        .env("SOURCE_DATE_EPOCH", "1234567890");
    if rustix::process::geteuid().is_root() {
        chown(elsewhere.path());
        command.uid(STRANGER).gid(STRANGER);
    }
    // SAFETY: umask is async-signal-safe and touches nothing of this process.
    unsafe {
        command.pre_exec(|| {
            rustix::process::umask(rustix::fs::Mode::from(0o077));
            Ok(())
        });
    }
    assert_eq!(built(&mut command), here);
}

/// Gives a folder to the stranger, and opens the way to the program.
fn chown(folder: &Path) {
    for name in children(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            chown(&path);
        } else {
            std::os::unix::fs::chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        }
    }
    std::os::unix::fs::chown(folder, Some(STRANGER), Some(STRANGER)).unwrap();
}

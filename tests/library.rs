//! `nodeimg init` and `nodeimg add`: what comes with nodeimg becomes a project of one's own.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::{Place, told};

/// Every file below a folder, by path relative to it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

fn ours(path: &str) -> Vec<u8> {
    fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn a_new_project_is_whole_and_locked() {
    let place = Place::new(&[("notes.txt", "mine"), (".gitignore", "/mine\n")]);
    let output = place.run(&["init", "--offline"]);
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stdout), (0, ""), "{stderr}");
    let project = files(&place.path("project"));
    let count = project.len() - 2;
    assert_eq!(
        stderr,
        format!(
            "     image kind-wasmtime-debian\n     wrote {count} files in `.`\n      kept .gitignore, which is another one \
             than nodeimg comes with\n      next nodeimg build --lock\n"
        )
    );
    assert_eq!((&*project["notes.txt"], &*project[".gitignore"]), (&b"mine"[..], &b"/mine\n"[..]));
    let image = "recipes/images/kind-wasmtime-debian.toml";
    assert_eq!(project[image], ours(image));
    for path in ["patches/crun/0003-exit-with-the-status-of-the-guest.patch", "recipes/packages/kind.toml"] {
        assert_eq!(project[path], ours(path));
    }
    // What the image does not need is not there.
    assert!(
        !project.keys().any(|path| path.contains("wasmtime-c-api-lts") || path.contains("docker-engine"))
    );
    let workflow = String::from_utf8(project[".github/workflows/node-image.yml"].clone()).unwrap();
    assert!(
        workflow.contains("out/kind-wasmtime-debian/image.tar") && !workflow.contains("{image}"),
        "{workflow}"
    );
    let checked = place.run(&["lock", "--check", "--offline"]);
    assert_eq!(checked.status.code(), Some(0), "{}", told(&checked).2);
    let output = place.run(&["init"]);
    assert_eq!(
        told(&output),
        (
            2,
            "",
            "error: `.` has recipes already\nhint: `nodeimg add runtime` changes a project; a new one wants another \
             folder\n"
        )
    );
}

#[test]
fn a_project_starts_with_the_runtimes_that_are_asked_for() {
    let place = Place::new(&[("notes.txt", "mine")]);
    let output = place.run(&["init", "node", "--runtime", "crun-wasmtime-lts", "--offline", "--json"]);
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stderr), (0, ""), "{stdout}");
    let told: serde_json::Value = serde_json::from_str(stdout).unwrap();
    assert_eq!((&told["image"], &told["kept"]), (&"kind-wasmtime-debian".into(), &serde_json::json!([])));
    let project = files(&place.path("project/node"));
    let image = String::from_utf8(project["recipes/images/kind-wasmtime-debian.toml"].clone()).unwrap();
    assert!(image.contains("\nruntimes = [\"crun-wasmtime-lts\"]\n"), "{image}");
    // A variant brings what it is like, and a Rust program its crates.
    for path in ["recipes/packages/crun.toml", "recipes/packages/wasmtime-c-api-lts/Cargo.lock"] {
        assert_eq!(project[path], ours(path));
    }
}

#[test]
fn what_nodeimg_does_not_come_with_is_refused() {
    let place = Place::new(&[("notes.txt", "mine")]);
    let refused = |arguments: &[&str], expected: &str| {
        let output = place.run(arguments);
        let (code, stdout, stderr) = told(&output);
        assert_eq!((code, stdout), (2, ""), "{stderr}");
        assert!(stderr.starts_with(expected), "expected: {expected}\nreceived: {stderr}");
        assert_eq!(files(&place.path("project")).len(), 1);
    };
    refused(
        &["init", "--base", "kind-wasmtime-debain"],
        "error: no node image `kind-wasmtime-debain` comes with nodeimg\nhint: did you mean `kind-wasmtime-debian`?\n",
    );
    refused(
        &["init", "--base", "busybox"],
        "error: no node image `busybox` comes with nodeimg\nhint: there are `",
    );
    refused(
        &["init", "--runtime", "crun-wasmtme"],
        "error: no runtime `crun-wasmtme` comes with nodeimg\nhint: did you mean `crun-wasmtime`?\n",
    );
}

#[test]
fn a_runtime_is_added_and_comments_stay() {
    let place = Place::new(&[("notes.txt", "mine")]);
    assert_eq!(place.run(&["init", "--offline"]).status.code(), Some(0));
    let image = place.path("project/recipes/images/kind-wasmtime-debian.toml");
    let text = fs_err::read_to_string(&image).unwrap();
    let none = text.replace("runtimes = [\"crun-wasmtime\"]", "runtimes = [\n    # none yet\n]");
    assert_ne!(none, text);
    fs_err::write(&image, &none).unwrap();
    let before = files(&place.path("project"));
    let output = place.run(&["add", "runtime", "crun-wasmtime-lts", "--offline"]);
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stdout), (0, ""), "{stderr}");
    assert!(
        stderr.starts_with(
            "     added runtime `crun-wasmtime-lts` to image `kind-wasmtime-debian`\n      pods ask for it by \
             `runtimeClassName: crun-wasmtime-lts`\n     wrote lockfiles/packages/crun-wasmtime-lts.toml\n"
        ) && stderr.ends_with("      next nodeimg build --lock\n"),
        "{stderr}"
    );
    let after = fs_err::read_to_string(&image).unwrap();
    assert_eq!(
        after,
        none.replace("[\n    # none yet\n]", "[\n    # none yet\n    \"crun-wasmtime-lts\",\n]")
    );
    for (path, old) in &before {
        assert!(path.ends_with("kind-wasmtime-debian.toml") || files(&place.path("project"))[path] == *old);
    }
    let again = place.run(&["add", "runtime", "crun-wasmtime-lts", "--offline"]);
    assert_eq!(
        told(&again),
        (
            0,
            "",
            "   runtime `crun-wasmtime-lts` is in image `kind-wasmtime-debian` already\n      next nodeimg build --lock\n"
        )
    );
    // Both bring their own crun.
    let now = files(&place.path("project"));
    let refused = place.run(&["add", "runtime", "crun-wasmtime", "--offline"]);
    assert_eq!(
        told(&refused),
        (
            1,
            "",
            "error: runtime `crun-wasmtime` brings its own `/usr/local/bin/crun`, as\n  `crun-wasmtime-lts` does\nhint: take \
             `crun-wasmtime-lts` out of the image's `runtimes` first: a node has\n  one of the two\n"
        )
    );
    assert_eq!(files(&place.path("project")), now);
    let unknown = place.run(&["add", "runtime", "busybox"]);
    assert_eq!(unknown.status.code(), Some(2));
}

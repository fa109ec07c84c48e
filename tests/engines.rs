//! Images that nodeimg brings to a real Docker engine and a real containerd, both started by the test, and run there.
//!
//! `tests/trial.rs` has the nodes of a kind cluster.

use serde_json::Value;

use crate::everywhere::{PROGRAM, built, clone, command, good, nodeimg, project, test_store};

/// Brings `busybox`, the same again, and an image with the same layer at its bottom; runs what came.
const SCRIPT: &str = r#"
load() { "$PROGRAM" build --lock --json "$1" --output docker --output containerd=check > "$FOLDER/$2.json"; }
export CONTAINERD_ADDRESS=/run/containerd/containerd.sock
load busybox first
load busybox again
load taller taller
# An engine that lost the lower image has its layer from the taller one.
docker image rm nodeimg/busybox:$BUSYBOX > /dev/null
load busybox back
for image in nodeimg/busybox:$BUSYBOX taller:1; do
  docker run --rm --network none "$image" echo "docker $image" >> "$FOLDER/ran"
  ctr --namespace check run --rm --runc-binary "$(command -v runc)" "docker.io/${image/#taller/library/taller}" one echo "containerd $image" >> "$FOLDER/ran"
done
ctr --namespace check images check >> "$FOLDER/checked"
ctr --namespace check leases ls --quiet > "$FOLDER/leases"
"#;

#[test]
fn engines_get_what_they_lack_and_run_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a Docker engine wants root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone(folder.path());
    let busybox = fs_err::read_to_string(folder.path().join("recipes/images/busybox.toml")).unwrap();
    let taller = busybox
        .replace(
            "name = \"busybox\"\ntag = \"{busybox}\"\nreference = \"nodeimg/busybox\"",
            "name = \"taller\"\ntag = \"1\"",
        )
        .replace("[config]", "[[layers]]\nname = \"pause\"\npackages = [\"pause\"]\n\n[config]");
    fs_err::write(folder.path().join("recipes/images/taller.toml"), taller).unwrap();
    let locks = folder.path().join("lockfiles/images");
    fs_err::copy(locks.join("busybox.toml"), locks.join("taller.toml")).unwrap();
    built(nodeimg(PROGRAM.as_ref(), folder.path(), &test_store()).args([
        "docker-engine",
        "docker-cli",
        "busybox",
        "taller",
    ]));
    let version = fs_err::read_to_string(folder.path().join("recipes/packages/busybox.toml")).unwrap();
    let version = version.split("version = \"").nth(1).unwrap().split('"').next().unwrap();
    let mut engine = command(project().join("tests/with-docker"));
    engine.arg(folder.path().join("out")).args(["bash", "-euc", SCRIPT]).current_dir(folder.path());
    good(engine.env("FOLDER", folder.path()).env("BUSYBOX", version));

    let text = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
    let target = |name: &str| {
        let document: Value = serde_json::from_str(&text(&format!("{name}.json"))).unwrap();
        document["targets"][0].clone()
    };
    let delivered = |name: &str| {
        let target = target(name);
        let places = target["delivered"].as_array().unwrap();
        places
            .iter()
            .map(|place| (place["unchanged"] == true, place["sent"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let size = |name: &str| target(name)["size"].as_u64().unwrap();
    let bottom = target("taller")["layers"][0].clone();
    assert_eq!(bottom["digest"], target("first")["layers"][0]["digest"]);
    let rest = size("taller") - bottom["size"].as_u64().unwrap();
    assert_eq!(delivered("first"), [(false, size("first")); 2]);
    assert_eq!(delivered("again"), [(true, 0); 2]);
    assert_eq!(delivered("taller"), [(false, rest); 2]);
    let described = size("first") - bottom["size"].as_u64().unwrap();
    assert_eq!(delivered("back"), [(false, described), (true, 0)]);
    let busybox = format!("nodeimg/busybox:{version}");
    assert_eq!(
        text("ran"),
        format!("docker {busybox}\ncontainerd {busybox}\ndocker taller:1\ncontainerd taller:1\n")
    );
    for name in ["first", "taller"] {
        let digest = target(name)["digest"].as_str().unwrap().to_owned();
        let line = text("checked").lines().find(|line| line.contains(&digest)).unwrap().to_owned();
        assert!(line.contains(" complete "), "{line}");
    }
    assert_eq!(text("leases"), "");
}

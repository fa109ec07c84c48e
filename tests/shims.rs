//! The wasm shims' recipes, with `shim-stand-ins` in the place of the upstream releases: locked and fetched through
//! `mirrors`, built into a node image, and at work there.

use std::path::{Path, PathBuf};

use nodeimg::base::Sha256;
use serde_json::Value;

use crate::everywhere::{PROGRAM, built, clone, good, nodeimg, test_store};
use crate::world::tar_gz_of_bytes;

/// Where upstream has the releases, and the shims in each.
const ASSETS: [(&str, &str, &[&str]); 3] = [
    (
        "spinframework/containerd-shim-spin/releases/download/v0.25.1",
        "containerd-shim-spin-v2-linux-{}.tar.gz",
        &["containerd-shim-spin-v2"],
    ),
    (
        "containerd/runwasi/releases/download/containerd-shim-wasmtime/v0.6.1",
        "containerd-shim-wasmtime-{}-linux-musl.tar.gz",
        &["containerd-shim-wasmtime-v1"],
    ),
    (
        "deislabs/containerd-wasm-shims/releases/download/v0.5.1",
        "containerd-wasm-shims-v1-linux-{}.tar.gz",
        &["containerd-shim-slight-v1", "containerd-shim-spin-v1"],
    ),
];

/// A copy of the project, and a mirror of GitHub beside it that has the stand-ins.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        clone(&copy.project());
        built(nodeimg(PROGRAM.as_ref(), &copy.project(), &test_store()).arg("shim-stand-ins"));
        let shim = copy.project().join("out/packages/shim-stand-ins/usr/local/bin/containerd-shim-stand-in");
        let shim = fs_err::read(shim).unwrap();
        for (place, asset, names) in ASSETS {
            let files: Vec<_> = names.iter().map(|name| (*name, shim.as_slice(), 0o755)).collect();
            let archive = tar_gz_of_bytes(&files);
            for machine in ["x86_64", "aarch64"] {
                let path = copy.path("github").join(place).join(asset.replace("{}", machine));
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                fs_err::write(path, &archive).unwrap();
            }
        }
        let mirror =
            format!("[mirrors]\n\"https://github.com/\" = [\"file://{}/\"]\n", copy.path("github").display());
        fs_err::create_dir_all(copy.path("config/nodeimg")).unwrap();
        fs_err::write(copy.path("config/nodeimg/config.toml"), mirror).unwrap();
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn project(&self) -> PathBuf {
        self.path("project")
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.project().join(path);
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{} has no `{from}`", path.display());
        fs_err::write(&path, text.replace(from, to)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = crate::everywhere::command(PROGRAM);
        command.current_dir(self.project()).env("XDG_CONFIG_HOME", self.path("config")).args(arguments);
        command
    }

    /// Runs what must fail; gives the exit code and what it said.
    fn bad(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Writes the stand-ins' hashes in the place of upstream's, as a person does who moves to another release.
    fn pin_the_stand_ins(&self) {
        for (recipe, (place, asset, _)) in
            ["containerd-shim-spin", "containerd-shim-wasmtime"].iter().zip(ASSETS)
        {
            let file = self.path("github").join(place).join(asset.replace("{}", "x86_64"));
            let hash = Sha256::of(&fs_err::read(file).unwrap()).to_string();
            let path = format!("recipes/packages/{recipe}.toml");
            let text = fs_err::read_to_string(self.project().join(&path)).unwrap();
            let line = text.lines().find(|line| line.starts_with("sha256 = ")).unwrap();
            self.edit(&path, line, &format!("sha256 = \"{hash}\""));
        }
    }
}

fn lock(project: &Path, name: &str) -> String {
    fs_err::read_to_string(project.join("lockfiles/packages").join(format!("{name}.toml"))).unwrap()
}

#[test]
fn shims_are_locked_by_their_public_pins_or_at_first_use() {
    let copy = Copy::new();
    // What has a pin has its lock, and takes nothing else.
    let (code, told) = copy.bad(&["build", "--lock", "containerd-shim-spin"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("does not match its pin\n  expected: 1755fbeb2dec7d02"), "{told}");
    // What nobody publishes a hash of has none, and disturbs nobody.
    let shims = "lockfiles/packages/containerd-wasm-shims.toml";
    assert!(!copy.project().join(shims).exists());
    good(&mut copy.command(&["lock", "--check", "--offline"]));
    let output = copy.command(&["lock", "--offline"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let left_out = "packages/containerd-wasm-shims: no image needs it and upstream publishes no hash; to trust what is \
                    there: nodeimg lock containerd-wasm-shims\n";
    assert!(told.contains(left_out), "{told}");
    assert!(!copy.project().join(shims).exists());
    let (code, told) = copy.bad(&["build", "--lock", "containerd-wasm-shims"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("error: recipe `containerd-wasm-shims` has no lock\n"), "{told}");

    // The lock is made of what is there, and says so.
    let told: Value =
        serde_json::from_str(&good(&mut copy.command(&["lock", "containerd-wasm-shims", "--json"]))).unwrap();
    let trusted = told["trusted"].as_array().unwrap();
    assert_eq!(trusted.len(), 2, "{told:#}");
    let hash = trusted[0]["sha256"].as_str().unwrap();
    assert!(trusted[0]["url"].as_str().unwrap().starts_with("https://github.com/deislabs/"), "{told:#}");
    let text = lock(&copy.project(), "containerd-wasm-shims");
    assert!(
        text.contains("trust = \"first-use\"") && text.contains(&format!("sha256 = \"{hash}\"")),
        "{text}"
    );
    good(&mut copy.command(&["build", "--lock", "containerd-wasm-shims"]));
    // From then on it is a lock as any other: nothing is asked again, and nothing else is taken.
    let again: Value =
        serde_json::from_str(&good(&mut copy.command(&["lock", "--json", "--offline"]))).unwrap();
    assert_eq!((&again["trusted"], &again["unused"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!(lock(&copy.project(), "containerd-wasm-shims"), text);
}

#[test]
fn a_hash_and_trust_exclude_each_other() {
    let place = crate::cli::Place::new(&[(
        "recipes/packages/shim.toml",
        "name = \"shim\"\nversion = \"1\"\nlicense = \"MIT\"\n[source]\nurl = \"https://upstream.example/shim\"\n\
         trust = \"first-use\"\nsha256 = \"1755fbeb2dec7d026faf8c37031d8a025975f5e194b782da10188206a386d6e4\"\n\
         [build]\nroot = \"bookworm\"\nscript = \"true\"\n",
    )]);
    let output = place.run(&["lock", "--check"]);
    let (code, _, told) = crate::cli::told(&output);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("`sha256` and `trust` exclude each other"), "{told}");
}

#[test]
fn each_shim_serves_in_a_node_image_and_stops() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a containerd wants root");
        return;
    }
    if nodeimg::base::Arch::host() != Some(nodeimg::base::Arch::Amd64) {
        eprintln!("left out: the stand-ins are pinned for amd64");
        return;
    }
    let copy = Copy::new();
    copy.pin_the_stand_ins();
    let image = "recipes/images/kind-wasmtime-debian.toml";
    let all = "runtimes = [\"crun-wasmtime\", \"spin-v2\", \"wasmtime\", \"slight\", \"spin\"]";
    copy.edit(image, "runtimes = [\"crun-wasmtime\"]", all);
    // Without `--lock` what is missing is locked on the way.
    let told = good(&mut copy.command(&["try", "--no-cluster", "--json", "--junit", "junit.xml"]));
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["passed"], true, "{report:#}");
    let rows = report["workloads"].as_array().unwrap();
    let served = |handler: &str| {
        let row = rows.iter().find(|row| row["handler"] == handler).unwrap();
        let stopped = row["http"]["stopped-ms"].as_u64().unwrap();
        assert!(stopped < 5000, "{row:#}");
        (row["http"]["status"].as_u64().unwrap(), row["http"]["body"].as_str().unwrap().to_owned())
    };
    assert_eq!(served("spin-v2"), (200, "hello from spin\n".to_owned()));
    assert_eq!(served("spin"), (200, "hello from spin\n".to_owned()));
    assert_eq!(served("slight"), (200, "hello from slight\n".to_owned()));
    let exits: Vec<_> =
        rows.iter().filter(|row| row["handler"] == "wasmtime").map(|row| &row["exit"]).collect();
    assert_eq!(exits, [0, 0, 0, 3, 137]);
    let junit = fs_err::read_to_string(copy.project().join("junit.xml")).unwrap();
    assert!(junit.contains("answer: 200&#10;hello from slight"), "{junit}");
    // A person finds a Deployment and its Service beside the image.
    let example = copy.project().join("out/kind-wasmtime-debian/example-slight.yaml");
    let example = fs_err::read_to_string(example).unwrap();
    for line in
        ["kind: Deployment", "runtimeClassName: wasmtime-slight-v1", "kind: Service", "containerPort: 3000"]
    {
        assert!(example.contains(line), "{line} in\n{example}");
    }

    // What a person gets wrong most: another answer, another port, and no stop signal.
    copy.edit(image, all, "runtimes = [\"crun-wasmtime\", \"spin\", \"slight\", \"wasmtime\"]");
    copy.edit("recipes/images/spin-hello.toml", "stop-signal = \"SIGINT\"", "stop-signal = \"SIGTERM\"");
    copy.edit("recipes/runtimes/slight.toml", "\"/hello\"", "\"/other\"");
    copy.edit("recipes/runtimes/wasmtime.toml", "prints = \"hello from wasm\"", "http = { port = 80 }");
    copy.edit(
        "recipes/runtimes/wasmtime.toml",
        "prints = \"hello from an ordinary container\"",
        "http = { port = 81 }",
    );
    let output = copy.command(&["try", "--no-cluster"]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    for line in [
        "wrong hello on spin: did not stop on `SIGTERM` within 10 s: ctr: invalid argument\n",
        "wrong hello on slight: the answer to `/other` has status 404, should be 200\n",
        "wrong wasm on wasmtime: ended with exit code 0 before it answered: ",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
}

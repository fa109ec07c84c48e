//! The project's node image at work: `nodeimg try` against a Docker engine that the test starts itself.
//!
//! With what `target/test-store` has from before, this takes about two minutes; the first time, Kubernetes is compiled.

use serde_json::Value;

use crate::cli::Place;
use crate::everywhere::{PROGRAM, command, good, project};

/// Tries the image and keeps its cluster, uses that and deletes it as a person is told to; then tries once more until
/// the node is there, and gives that trial up.
const SCRIPT: &str = r#"
trying() { exec "$PROGRAM" try --lock -v --json --out "$folder/out" --junit "$folder/junit.xml" "$@"; }
folder=$1
(trying --keep --attest "$1/statement.json" > "$1/report.json" 2> "$1/first") || { cat "$1/first" >&2; exit 1; }
told() { sed -n "s,^ *$1 \(.*\),\1,p" "$folder/first"; }
(PATH=$folder/out/packages/kubectl/usr/bin:$PATH; eval "$(told use)" > "$1/pods")
eval "$(told delete)"
docker ps --all --quiet > "$1/left"
trying 2> "$1/second" & second=$!
until docker ps --quiet | grep -q .; do
  kill -0 "$second"
  sleep 0.1
done
# Its node is as good as any other to take an image.
node=$(docker ps --quiet)
cluster=$(docker inspect --format '{{index .Config.Labels "io.x-k8s.kind.cluster"}}' "$node")
until docker exec "$node" ctr --namespace k8s.io version > /dev/null 2>&1; do
  kill -0 "$second"
  sleep 0.1
done
for image in wasm-checks again; do
  "$PROGRAM" build --lock --json --out "$1/out" wasm-checks --output "kind=$cluster" > "$1/$image.json"
done
docker exec "$node" ctr --namespace k8s.io images ls > "$1/images"
"$PROGRAM" build --lock --out "$1/out" wasm-checks --output kind=other 2> "$1/other" || echo $? >> "$1/other"
kill -INT "$second"
code=0
wait "$second" || code=$?
echo "$code" > "$1/code"
docker ps --all --quiet >> "$1/left"
"#;

/// The containers that are tried, and the exit codes that they should have.
const EXPECTED: [(&str, u64); 13] = [
    ("wasm", 0),
    ("oci", 0),
    ("words", 0),
    ("no-stdin", 0),
    ("stdin", 0),
    ("files", 0),
    ("exit", 3),
    ("trap", 134),
    ("memory", 137),
    ("broken", 1),
    ("variant", 0),
    ("ordinary", 0),
    ("names", 0),
];

fn ran(report: &Value) -> Vec<(&str, u64)> {
    let rows = report["workloads"].as_array().unwrap();
    rows.iter().map(|row| (row["workload"].as_str().unwrap(), row["exit"].as_u64().unwrap())).collect()
}

#[test]
fn the_node_image_s_containerd_runs_the_same_by_itself() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a containerd wants root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let told = good(command(PROGRAM).args(["try", "--no-cluster", "--lock", "--json", "--out", &out]));
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["passed"], true, "{report:#}");
    // Names are a cluster's.
    assert_eq!(ran(&report), EXPECTED[..EXPECTED.len() - 1]);
    // What lies beside it is the catalog, which knows the image from its own files.
    let catalog = fs_err::read_to_string(folder.path().join("catalog.json")).unwrap();
    let catalog: Value = serde_json::from_str(&catalog).unwrap();
    let image = &catalog["images"]["kind-wasmtime-debian"];
    assert_eq!(image["digest"], include_str!("kind-wasmtime-debian.digest").trim());
    assert_eq!(
        (&image["containerd"]["version"], &image["containerd"]["config-version"]),
        (&"1.6.20".into(), &2.into())
    );
    assert_eq!(image["runtimes"]["crun-wasmtime"]["runtime-class"], "crun-wasmtime");
}

#[test]
fn the_node_image_runs_wasm_beside_an_ordinary_container() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a Docker engine wants root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| fs_err::read_to_string(folder.path().join(name)).unwrap();
    let out = folder.path().join("out").display().to_string();
    good(command(PROGRAM).args([
        "build",
        "--lock",
        "--out",
        &out,
        "kind-wasmtime-debian",
        "docker-engine",
        "docker-cli",
        "kind",
        "kubectl",
    ]));
    let mut engine = command(project().join("tests/with-docker"));
    good(engine.args([&out, "sh", "-euc", SCRIPT, "sh"]).arg(folder.path()));

    let report: Value = serde_json::from_str(&text("report.json")).unwrap();
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(report["digest"], include_str!("kind-wasmtime-debian.digest").trim());
    assert_eq!(report["kubernetes"], "1.20.2");
    let rows = report["workloads"].as_array().unwrap();
    assert_eq!(ran(&report), EXPECTED);
    assert!(rows[..2].iter().all(|row| row["handler"] == "crun-wasmtime"), "{rows:?}");
    assert_eq!(rows[11]["handler"], Value::Null);
    assert!(text("junit.xml").contains("failures=\"0\""), "{}", text("junit.xml"));
    let statement: Value = serde_json::from_str(&text("statement.json")).unwrap();
    let digest = include_str!("kind-wasmtime-debian.digest").trim().strip_prefix("sha256:").unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], digest);
    assert_eq!(statement["predicate"]["result"], "PASSED");
    assert_eq!(statement["predicate"]["passedTests"].as_array().unwrap().len(), rows.len());
    assert!(text("pods").contains("trial-crun-wasmtime-guests"), "{}", text("pods"));
    // The image was there, the trial stopped, and neither left a container.
    assert!(text("second").contains("reused nodeimg/kind-wasmtime-debian"), "{}", text("second"));
    assert_eq!(text("code"), "130\n");
    // What was brought to the running node is there under its name and by its digest, and was sent once.
    let brought = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap()["targets"][0].clone();
    let (first, again) = (brought("wasm-checks.json"), brought("again.json"));
    assert_eq!(first["delivered"][0]["sent"], first["size"], "{first:#}");
    assert_eq!(again["delivered"][0]["unchanged"], true, "{again:#}");
    let (reference, digest) = (first["reference"].as_str().unwrap(), first["digest"].as_str().unwrap());
    let (repository, _) = reference.rsplit_once(':').unwrap();
    for name in [format!("docker.io/{reference} "), format!("docker.io/{repository}@{digest} ")] {
        let line = text("images").lines().any(|line| line.starts_with(&name) && line.contains(digest));
        assert!(line, "{name} in\n{}", text("images"));
    }
    let other = text("other");
    assert!(other.contains("no node of a kind cluster `other` runs in the Docker at"), "{other}");
    assert!(other.contains("hint: clusters there: `nodeimg-") && other.ends_with("\n4\n"), "{other}");
    assert_eq!(text("left"), "");
}

#[test]
fn without_docker_nothing_is_built_and_a_person_knows_what_to_do() {
    let place = Place::new(&[
        (
            "recipes/suites/bookworm.toml",
            "name = \"bookworm\"\nsnapshot = \"20261120T000000Z\"\ncomponents = [\"main\"]\nkeys = []\npockets = []\n",
        ),
        (
            "recipes/packages/kubernetes.toml",
            "name = \"kubernetes\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"bookworm\"\nscript = \"true\"\n",
        ),
        (
            "recipes/images/node.toml",
            "name = \"node\"\ntag = \"1\"\ndefault = true\n[[layers]]\nname = \"l\"\npackages = [\"kubernetes\"]\n\
             [node]\nkubernetes = \"kubernetes\"\nruntimes = []\n",
        ),
        (
            "recipes/images/plain.toml",
            "name = \"plain\"\ntag = \"1\"\n[[layers]]\nname = \"l\"\npackages = [\"kubernetes\"]\n",
        ),
    ]);
    let tried = |host: &str, arguments: &[&str]| {
        let output =
            place.command(&[&["try"], arguments].concat()).env("DOCKER_HOST", host).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = tried("unix:///nowhere/docker.sock", &[]);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.starts_with("error: no Docker answers at `unix:///nowhere/docker.sock`\n"), "{stderr}");
    assert!(
        stderr.contains("hint: start Docker and be allowed to use it (`docker version` shows both)"),
        "{stderr}"
    );
    let (code, stderr) = tried("fd://", &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("error: `fd://` is no address of a Docker"), "{stderr}");
    // A statement is about a cluster.
    let (code, stderr) = tried("", &["--no-cluster", "--attest", "file"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("'--no-cluster' cannot be used with '--attest <FILE>'"), "{stderr}");
    let (code, stderr) = tried("unix:///nowhere/docker.sock", &["plain"]);
    assert_eq!((code, stderr.lines().next()), (Some(2), Some("error: `images/plain` is no node image")));
    assert!(!place.path("store").exists() && !place.path("project/out").exists());
}

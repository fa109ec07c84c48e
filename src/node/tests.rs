use super::*;

const KIND: &str = r#"# explicitly use v2 config format
version = 2

[plugins."io.containerd.grpc.v1.cri".containerd]
  # explicitly use default snapshotter so we can sed it in entrypoint
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = "/etc/containerd/cri-base.json"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri"]
  # restrict_oom_score_adj needs to be true when running inside UserNS (rootless)
  restrict_oom_score_adj = false
"#;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn container(name: &str, image: &str) -> ExampleContainer {
    ExampleContainer {
        name: name.into(),
        image: image.into(),
        command: Vec::new(),
        args: Vec::new(),
        stdin: None,
        env: BTreeMap::new(),
        memory: None,
        prints: None,
        exit: 0,
        http: None,
    }
}

fn crun() -> Runtime {
    Runtime {
        handler: "crun-wasmtime".into(),
        runtime_class: "crun-wasmtime".into(),
        kind: "io.containerd.runc.v2".into(),
        binary: Some(path("/usr/local/bin/crun")),
        options: BTreeMap::new(),
        annotations: map(&[("module.wasm.image/variant", "compat-smart")]),
        pod_annotations: vec!["module.wasm.image/*".into()],
        node_labels: map(&[("runtime/wasmtime", "true")]),
        example: vec![container("wasm", "wasm-hello:1"), container("oci", "busybox:1")],
        trial: Vec::new(),
    }
}

fn node(runtimes: Vec<Runtime>) -> Node {
    Node {
        reference: "nodeimg/kind-wasmtime:v1.20.2".into(),
        kubernetes: "1.20.2".into(),
        based: false,
        containerd_config: path("/etc/containerd/config.toml"),
        runtimes,
    }
}

fn run(node: &Node, config: &str, spec: &str) -> Result<BTreeMap<String, String>, Error> {
    let read = |path: &GuestPath| match path.as_str() {
        "/etc/containerd/config.toml" => Some(config.as_bytes().to_vec()),
        "/etc/containerd/cri-base.json" => Some(spec.as_bytes().to_vec()),
        _ => None,
    };
    let files = configure(node, &read)?;
    Ok(files.into_iter().map(|(path, text)| (path.to_string(), String::from_utf8(text).unwrap())).collect())
}

#[test]
fn merges_a_runtime_and_keeps_every_line_of_the_base() {
    let files = run(&node(vec![crun()]), KIND, r#"{"ociVersion":"1.0.2","hooks":{"b":1,"a":2}}"#).unwrap();
    let config = &files["/etc/containerd/config.toml"];
    for line in KIND.lines() {
        assert!(config.lines().any(|have| have == line), "`{line}` is gone from\n{config}");
    }
    let added: Vec<&str> = config.lines().filter(|line| !KIND.lines().any(|l| l == *line)).collect();
    assert_eq!(
        added,
        [
            r#"[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun-wasmtime]"#,
            r#"runtime_type = "io.containerd.runc.v2""#,
            r#"base_runtime_spec = "/etc/containerd/cri-wasm.json""#,
            r#"pod_annotations = ["module.wasm.image/*"]"#,
            r#"[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun-wasmtime.options]"#,
            r#"BinaryName = "/usr/local/bin/crun""#,
            r#"SystemdCgroup = false"#,
        ],
        "in\n{config}"
    );
    let parsed: toml::Table = config.parse().unwrap();
    let runtimes = &parsed["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"];
    assert_eq!(runtimes["crun-wasmtime"]["options"]["SystemdCgroup"].as_bool(), Some(false));
    assert_eq!(
        files["/etc/containerd/cri-wasm.json"],
        "{\n  \"ociVersion\": \"1.0.2\",\n  \"hooks\": {\n    \"b\": 1,\n    \"a\": 2\n  },\n  \"annotations\": {\n    \
         \"module.wasm.image/variant\": \"compat-smart\"\n  }\n}\n"
    );
    assert_eq!(files["/kind/version"], "v1.20.2");
}

#[test]
fn speaks_the_version_of_the_base() {
    for version in [3, 4] {
        let base = KIND
            .replace("version = 2", &format!("version = {version}"))
            .replace("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime");
        let config = &run(&node(vec![crun()]), &base, "{}").unwrap()["/etc/containerd/config.toml"];
        let parsed: toml::Table = config.parse().unwrap();
        let runtimes = &parsed["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"];
        assert_eq!(runtimes["crun-wasmtime"]["runtime_type"].as_str(), Some("io.containerd.runc.v2"));
        assert_eq!(parsed["version"].as_integer(), Some(version));
    }
}

#[test]
fn two_sets_of_annotations_get_two_specs() {
    let mut other = crun();
    other.handler = "other".into();
    other.annotations = map(&[("run.oci.handler", "wasm")]);
    let files = run(&node(vec![crun(), other]), KIND, "{}").unwrap();
    assert!(files.contains_key("/etc/containerd/cri-crun-wasmtime.json"));
    assert!(files["/etc/containerd/cri-other.json"].contains("run.oci.handler"));
}

#[test]
fn says_what_is_wrong() {
    let fails =
        |config: &str, spec: &str, runtimes| run(&node(runtimes), config, spec).unwrap_err().to_string();
    assert_eq!(
        fails("[plugins]", "{}", vec![crun()]),
        "`/etc/containerd/config.toml` of the image has `version = 1`, nodeimg knows 2, 3 and 4"
    );
    assert_eq!(
        fails(KIND, "{}", vec![crun(), crun()]),
        "`/etc/containerd/config.toml` of the image already has a runtime `crun-wasmtime`"
    );
    assert_eq!(
        fails("version = 2", "{}", vec![crun()]),
        "runtime `crun-wasmtime` sets annotations, but the default runtime in `/etc/containerd/config.toml` has no \
         `base_runtime_spec`"
    );
    assert_eq!(
        fails("version = 2\nplugins = 3", "{}", vec![Runtime { annotations: BTreeMap::new(), ..crun() }]),
        "`plugins` in `/etc/containerd/config.toml` of the image is no table"
    );
    assert!(
        fails("version = = 2", "{}", vec![])
            .starts_with("`/etc/containerd/config.toml` of the image is not TOML: ")
    );
    assert!(
        fails(KIND, "[]", vec![crun()])
            .starts_with("`/etc/containerd/cri-base.json` of the image is not a runtime spec in JSON: ")
    );
    let nothing = configure(&node(vec![]), &|_| None).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "the image has no `/etc/containerd/config.toml`, which the node's configuration starts from"
    );
}

#[test]
fn manifests_agree_with_the_handlers() {
    let files = manifests(&node(vec![crun()]));
    assert_eq!(
        files["runtimeclasses.yaml"],
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: crun-wasmtime\nhandler: crun-wasmtime\n\
         scheduling:\n  nodeSelector:\n    runtime/wasmtime: \"true\"\n"
    );
    assert_eq!(
        files["kind.yaml"],
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - role: control-plane\n    image: \
         \"nodeimg/kind-wasmtime:v1.20.2\"\n    labels:\n      runtime/wasmtime: \"true\"\n"
    );
    assert_eq!(
        files["example-crun-wasmtime.yaml"],
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: example-crun-wasmtime\nspec:\n  backoffLimit: 0\n  \
         template:\n    spec:\n      runtimeClassName: crun-wasmtime\n      restartPolicy: Never\n      containers:\n        \
         - name: wasm\n          image: \"wasm-hello:1\"\n          imagePullPolicy: Never\n        - name: oci\n          \
         image: \"busybox:1\"\n          imagePullPolicy: Never\n"
    );
}

#[test]
fn a_trial_runs_the_example_and_every_other_pod() {
    let mut runtime = crun();
    let mut guest = container("guest", "checks:1");
    guest.args = vec!["exit".into(), "on".into()];
    guest.env = map(&[("GREETING", "hi")]);
    guest.memory = Some(64 << 20);
    runtime.trial = vec![
        TrialPod {
            name: "guests".into(),
            class: TrialClass::Own,
            annotations: map(&[("module.wasm.image/variant", "compat")]),
            needs_cluster: false,
            containers: vec![guest],
        },
        TrialPod {
            name: "plain".into(),
            class: TrialClass::None,
            annotations: BTreeMap::new(),
            needs_cluster: false,
            containers: vec![container("oci", "busybox:1")],
        },
    ];
    let node = node(vec![runtime]);
    let jobs = jobs(&node);
    let told: Vec<_> = jobs.iter().map(|job| (job.name.as_str(), job.handler)).collect();
    let own = Some("crun-wasmtime");
    assert_eq!(
        told,
        [
            ("example-crun-wasmtime", own),
            ("trial-crun-wasmtime-guests", own),
            ("trial-crun-wasmtime-plain", None)
        ]
    );
    assert_eq!(jobs[0].manifest, manifests(&node)["example-crun-wasmtime.yaml"]);
    assert_eq!(
        jobs[1].manifest,
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: trial-crun-wasmtime-guests\nspec:\n  backoffLimit: 0\n  \
         template:\n    metadata:\n      annotations:\n        module.wasm.image/variant: compat\n    spec:\n      \
         runtimeClassName: crun-wasmtime\n      restartPolicy: Never\n      containers:\n        - name: guest\n          \
         image: \"checks:1\"\n          imagePullPolicy: Never\n          args:\n            - exit\n            - \"on\"\n          \
         env:\n            - name: GREETING\n              value: hi\n          resources:\n            limits:\n              \
         memory: \"67108864\"\n"
    );
    assert!(!jobs[2].manifest.contains("runtimeClassName"), "{}", jobs[2].manifest);
}

#[test]
fn a_survey_reads_the_image_itself() {
    let files = configure(&node(vec![crun()]), &|path| match path.as_str() {
        "/etc/containerd/config.toml" => Some(KIND.as_bytes().to_vec()),
        "/etc/containerd/cri-base.json" => Some(b"{}".to_vec()),
        _ => None,
    })
    .unwrap();
    let database = "Package: containerd\nStatus: install ok installed\nVersion: 1.6.20~ds1-1+deb12u1\n\n\
                    Package: runc\nStatus: deinstall ok config-files\nVersion: 1.1.5+ds1-1\n\n\
                    Package: bash\nStatus: install ok installed\nVersion: 5.2\n";
    let read = |file: &GuestPath| match file.as_str() {
        "/var/lib/dpkg/status" => Some(database.as_bytes().to_vec()),
        _ => files.get(file).cloned(),
    };
    let config = path("/etc/containerd/config.toml");
    let found = survey(&config, &read).unwrap();
    assert_eq!(found.packages, map(&[("containerd", "1.6.20~ds1-1+deb12u1")]));
    assert_eq!((found.config_version, found.default_runtime.as_str()), (2, "runc"));
    let handlers: Vec<_> = found.runtimes.keys().map(String::as_str).collect();
    assert_eq!(handlers, ["crun-wasmtime", "runc"]);
    assert_eq!(
        found.runtimes["crun-wasmtime"],
        Bound { kind: "io.containerd.runc.v2".into(), binary: Some("/usr/local/bin/crun".into()) }
    );
    assert_eq!(found.runtimes["runc"].binary, None);
    let error = survey(&config, &|_| None).unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }));
    for (version, expected) in
        [("1.6.20~ds1-1+deb12u1", "1.6.20"), ("1:2.0-1", "2.0"), ("1.1.5+ds1-1", "1.1.5"), ("3", "3")]
    {
        assert_eq!(upstream(version), expected);
    }
}

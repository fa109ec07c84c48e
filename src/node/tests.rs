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
        loads: Vec::new(),
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

/// Lets `work` see some files.
fn over<T>(files: &[(&str, &str)], work: impl FnOnce(Below<'_>) -> T) -> T {
    let read = |path: &GuestPath| {
        let file = files.iter().find(|(name, _)| *name == path.as_str());
        file.map(|(_, text)| text.as_bytes().to_vec())
    };
    let list = |folder: &GuestPath| {
        let below = |(name, _): &(&str, &str)| {
            let rest = name.strip_prefix(folder.as_str())?.trim_start_matches('/');
            rest.split('/').next().map(str::to_owned)
        };
        let names: BTreeSet<_> = files.iter().filter_map(below).collect();
        names.into_iter().collect()
    };
    work(Below { read: &read, list: &list })
}

fn run(node: &Node, config: &str, spec: &str) -> Result<BTreeMap<String, String>, Error> {
    let files = [("/etc/containerd/config.toml", config), ("/etc/containerd/cri-base.json", spec)];
    let files = over(&files, |below| configure(node, below))?;
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
        "`/etc/containerd/config.toml` of the image has no `version`: containerd 1.x takes it for version 1, 2.x \
         refuses it"
    );
    assert_eq!(
        fails("version = 5", "{}", vec![crun()]),
        "`/etc/containerd/config.toml` of the image has `version = 5`, nodeimg knows 2, 3 and 4"
    );
    assert_eq!(
        fails("version = 2\ndisabled_plugins = [\"cri\"]", "{}", vec![crun()]),
        "`/etc/containerd/config.toml` of the image disables the CRI plugin: containerd would start no pod"
    );
    assert_eq!(
        fails("version = 2\nimports = 3", "{}", vec![crun()]),
        "`imports` in `/etc/containerd/config.toml` of the image is no list of files"
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
    let nothing = over(&[], |below| configure(&node(vec![]), below)).unwrap_err();
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
    let below = [("/etc/containerd/config.toml", KIND), ("/etc/containerd/cri-base.json", "{}")];
    let files = over(&below, |below| configure(&node(vec![crun()]), below)).unwrap();
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

/// Configures a node over a base of version 2 with `imports` and files below `/etc/containerd`.
fn importing(imports: &str, more: &[(&str, &str)]) -> String {
    let config = KIND.replace("version = 2", &format!("version = 2\nimports = {imports}"));
    let mut files =
        vec![("/etc/containerd/config.toml", config.as_str()), ("/etc/containerd/cri-base.json", "{}")];
    files.extend(more);
    over(&files, |below| configure(&node(vec![crun()]), below)).map_or_else(
        |error| error.to_string(),
        |files| String::from_utf8(files[&path("/etc/containerd/config.toml")].clone()).unwrap(),
    )
}

#[test]
fn imported_files_are_read_before_they_hide_a_runtime() {
    let fine = "version = 2\n[metrics]\naddress = \"127.0.0.1:1338\"\n";
    let cri =
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/certs.d\"\n";
    let told = importing(
        "[\"conf.d/*.toml\", \"../containerd/./more.toml\"]",
        &[
            ("/etc/containerd/conf.d/a.toml", fine),
            ("/etc/containerd/conf.d/b.toml.off", cri),
            ("/etc/containerd/more.toml", fine),
        ],
    );
    assert!(told.contains("runtimes.crun-wasmtime]"), "{told}");
    let hidden = "`/etc/containerd/conf.d/b.toml`, which `/etc/containerd/config.toml` of the image imports, sets up the \
                  CRI plugin too";
    let files = [("/etc/containerd/conf.d/a.toml", fine), ("/etc/containerd/conf.d/b.toml", cri)];
    assert_eq!(importing("['/etc/containerd/*/[ab].toml']", &files), hidden);
    // One that an imported file imports, and files that import each other.
    let chain = "version = 2\nimports = [\"../config.toml\", \"a.toml\", \"b.toml\"]\n";
    let files = [("/etc/containerd/conf.d/a.toml", chain), ("/etc/containerd/conf.d/b.toml", cri)];
    assert_eq!(importing("['conf.d/a.toml']", &files), hidden);
    assert_eq!(
        importing("['conf.d/a.toml']", &[]),
        "`/etc/containerd/config.toml` of the image imports `conf.d/a.toml`, which the image lacks: containerd would \
         not start"
    );
    assert!(importing("['conf.d/*.toml']", &[]).contains("runtimes.crun-wasmtime]"));
    assert_eq!(
        importing("['a.toml']", &[("/etc/containerd/a.toml", "version = 3")]),
        "`/etc/containerd/a.toml` of the image has `version = 3`, `/etc/containerd/config.toml`, which imports it, a \
         lower one"
    );
}

#[test]
fn changes_are_shown_as_a_diff() {
    let base =
        "{\"ociVersion\": \"1.0.2\", \"hooks\": {\"createContainer\": [{\"path\": \"/kind/bin/hook\"}]}}";
    let files = [("/etc/containerd/config.toml", KIND), ("/etc/containerd/cri-base.json", base)];
    let text = over(&files, |below| change(&node(vec![crun()]), below)).unwrap();
    assert_eq!(
        text,
        r#"--- a/etc/containerd/config.toml
+++ b/etc/containerd/config.toml
@@ -11,6 +11,15 @@
   [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
     SystemdCgroup = false
 
+[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun-wasmtime]
+runtime_type = "io.containerd.runc.v2"
+base_runtime_spec = "/etc/containerd/cri-wasm.json"
+pod_annotations = ["module.wasm.image/*"]
+
+[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun-wasmtime.options]
+BinaryName = "/usr/local/bin/crun"
+SystemdCgroup = false
+
 [plugins."io.containerd.grpc.v1.cri"]
   # restrict_oom_score_adj needs to be true when running inside UserNS (rootless)
   restrict_oom_score_adj = false
--- a/etc/containerd/cri-base.json
+++ b/etc/containerd/cri-wasm.json
@@ -6,5 +6,8 @@
         "path": "/kind/bin/hook"
       }
     ]
+  },
+  "annotations": {
+    "module.wasm.image/variant": "compat-smart"
   }
 }
--- /dev/null
+++ b/kind/version
@@ -0,0 +1 @@
+v1.20.2
\ No newline at end of file
"#
    );
}

/// Configurations in the shapes that are met: as kind's released images have it (0.17 to 0.32: version 2, tables of one
/// plugin in several places, handlers beside runc), and as `containerd config dump` lays it out.
const SHAPES: [(&str, &str); 2] = [
    (
        "kind",
        r#"# the version is said aloud
version = 2

[proxy_plugins]
# for nodes without root
[proxy_plugins."fuse-overlayfs"]
  type = "snapshot"
  address = "/run/containerd-fuse-overlayfs.sock"

[plugins."io.containerd.grpc.v1.cri".containerd]
  # less on the disk
  discard_unpacked_layers = true
  # found with sed
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  # a shim for each pod
  runtime_type = "io.containerd.runc.v2"
  # made by ctr
  base_runtime_spec = "/etc/containerd/cri-base.json"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    # systemd's cgroups
    SystemdCgroup = true

# for tests
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.test-handler]
  runtime_type = "io.containerd.runc.v2"
  base_runtime_spec = "/etc/containerd/cri-base.json"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.test-handler.options]
    SystemdCgroup = true

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.7"
  tolerate_missing_hugepages_controller = true
  # found with sed
  restrict_oom_score_adj = false
"#,
    ),
    (
        "dump",
        r#"version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = false
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "overlayfs"
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"
          base_runtime_spec = "/etc/containerd/cri-base.json"
          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            SystemdCgroup = true
"#,
    ),
];

#[test]
fn every_byte_stays_and_what_kinds_entrypoint_edits() {
    for (kind, base) in SHAPES {
        for (version, plugin) in [
            (2, "io.containerd.grpc.v1.cri"),
            (3, "io.containerd.cri.v1.runtime"),
            (4, "io.containerd.cri.v1.runtime"),
        ] {
            let base = base.replace("version = 2", &format!("version = {version}"));
            let base = base.replace("io.containerd.grpc.v1.cri", plugin);
            let mut other = crun();
            other.handler = "spin".into();
            other.binary = None;
            other.kind = "io.containerd.spin.v2".into();
            let node = node(vec![crun(), other]);
            let config = &run(&node, &base, "{}").unwrap()["/etc/containerd/config.toml"];
            let same = base.bytes().zip(config.bytes()).take_while(|(one, other)| one == other).count();
            let from = (0..=same).rev().find(|&at| config.ends_with(&base[at..]));
            assert!(from.is_some(), "{kind} {version}: more than an addition\n{config}");
            for edited in ["snapshotter = \"overlayfs\"", "restrict_oom_score_adj = false"] {
                assert_eq!(config.matches(edited).count(), 1, "{kind} {version}");
            }
            let mut parsed: toml::Table = config.parse().unwrap();
            let runtimes = &mut parsed["plugins"][plugin]["containerd"]["runtimes"];
            assert_eq!(runtimes["crun-wasmtime"]["options"]["SystemdCgroup"].as_bool(), Some(true));
            assert_eq!(runtimes["spin"]["runtime_type"].as_str(), Some("io.containerd.spin.v2"));
            assert!(runtimes["spin"].get("options").is_none(), "{kind} {version}");
            for added in ["crun-wasmtime", "spin"] {
                runtimes.as_table_mut().unwrap().remove(added);
            }
            assert_eq!(parsed, base.parse::<toml::Table>().unwrap(), "{kind} {version}");
        }
    }
}

#[test]
fn what_serves_is_a_deployment_with_its_service() {
    let mut runtime = crun();
    runtime.annotations.clear();
    let mut server = container("hello", "spin-hello:1");
    server.http = Some(serde_json::from_str(r#"{ "port": 80, "body": "hello" }"#).unwrap());
    runtime.example = vec![server.clone()];
    runtime.trial = vec![TrialPod {
        name: "served".into(),
        class: TrialClass::None,
        annotations: map(&[("key", "value")]),
        needs_cluster: false,
        containers: vec![server],
    }];
    let node = node(vec![runtime]);
    assert_eq!(
        manifests(&node)["example-crun-wasmtime.yaml"],
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: example-crun-wasmtime
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: example-crun-wasmtime
  template:
    metadata:
      labels:
        app.kubernetes.io/name: example-crun-wasmtime
    spec:
      runtimeClassName: crun-wasmtime
      containers:
        - name: hello
          image: \"spin-hello:1\"
          imagePullPolicy: Never
          ports:
            - containerPort: 80
---
apiVersion: v1
kind: Service
metadata:
  name: example-crun-wasmtime
spec:
  selector:
    app.kubernetes.io/name: example-crun-wasmtime
  ports:
    - name: hello
      port: 80
"
    );
    let jobs = jobs(&node);
    assert!(jobs.iter().all(Job::serves));
    assert_eq!(jobs[1].selector(), "app.kubernetes.io/name=trial-crun-wasmtime-served");
    assert!(jobs[1].manifest.contains("annotations:\n        key: value"), "{}", jobs[1].manifest);
}

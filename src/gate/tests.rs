//! Each gate is provoked, and says what it should.

use std::collections::BTreeMap;
use std::path::Path;

use super::dump::Dump;
use super::{Image, Report, View, report};
use crate::base::{Arch, GuestPath};
use crate::node::{Containerd, Node as Description, Runtime, TrialClass, TrialPod};
use crate::store::{Meta, Node, Store, Tree};

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

/// A small image in a store of its own: static programs, runc and its shim are there.
struct Small {
    folder: tempfile::TempDir,
    store: Store,
    tree: Tree,
    node: Option<Description>,
    dump: Dump,
}

const CONFIG: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#;

const CRUN: &str = r#"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["module.wasm.image/*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
BinaryName = "/usr/local/bin/crun"
"#;

impl Small {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let dump = Dump::LeftOut("it is a test".to_owned());
        let mut small = Self { folder, store, tree: Tree::default(), node: None, dump };
        small.config(CONFIG);
        let program = small.compile("static", "void _start(void) {}", &["-static"]);
        for name in ["containerd-shim-runc-v2", "runc"] {
            small.put(&format!("/usr/bin/{name}"), &program, 0o755);
        }
        small
    }

    /// One with a handler whose program is at `/usr/local/bin/crun`.
    fn with_crun(program: &[u8]) -> Self {
        let mut small = Self::new();
        small.config(&format!("{CONFIG}{CRUN}"));
        small.put("/usr/local/bin/crun", program, 0o755);
        small
    }

    fn put(&mut self, at: &str, bytes: &[u8], mode: u32) {
        let digest = self.store.put_bytes(bytes).unwrap();
        self.tree.insert(&path(at), Node::File { digest, meta: Meta::root(mode) }).unwrap();
    }

    fn link(&mut self, at: &str, target: &str) {
        self.tree.insert(&path(at), Node::Symlink { target: target.into() }).unwrap();
    }

    fn config(&mut self, text: &str) {
        self.put(super::CONFIG, text.as_bytes(), 0o644);
    }

    /// Compiles a source without a C library; gives the file.
    #[expect(clippy::disallowed_methods, reason = "real ELF files come from a real linker")]
    fn compile(&self, name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
        let at = |file: &str| self.folder.path().join(file);
        fs_err::write(at("source.c"), source).unwrap();
        let mut command = std::process::Command::new("cc");
        command.current_dir(self.folder.path()).args(["-nostdlib", "-nostartfiles", "-fno-stack-protector"]);
        command.args(["-o", name, "source.c"]).args(flags);
        let told = command.output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        fs_err::read(at(name)).unwrap()
    }

    /// Compiles a library that has `versions`, each with a function of its own.
    fn library(&self, name: &str, versions: &[&str]) -> Vec<u8> {
        let (mut source, mut script, mut before) = (String::new(), String::new(), "");
        for version in versions {
            let function = version.to_lowercase().replace('.', "_");
            source += &format!("void {function}(void) {{}}\n");
            script += &format!("{version} {{ global: {function}; }} {before};\n");
            before = version;
        }
        let name = name.to_owned();
        fs_err::write(self.folder.path().join("versions"), script).unwrap();
        let soname = format!("-Wl,-soname,{name}");
        self.compile(&name, &source, &["-shared", &soname, "-Wl,--version-script=versions"])
    }

    /// Compiles a program that calls `function` of a library that was compiled before.
    fn program(&self, function: &str, library: &str, flags: &[&str]) -> Vec<u8> {
        let source = format!("void {function}(void);\nvoid _start(void) {{ {function}(); }}\n");
        let all = [&[library, "-Wl,--dynamic-linker=/lib/ld.so"], flags].concat();
        self.compile("program", &source, &all)
    }

    fn report(&self) -> Report {
        let config = path(super::CONFIG);
        let image = Image { tree: &self.tree, arch: Arch::host(), config: &config, node: self.node.as_ref() };
        let view = View::new(&image, &self.store, |_| Ok(self.dump.clone())).unwrap();
        report(&view).unwrap()
    }

    /// Every finding as gate, message and hint.
    fn found(&self) -> Vec<[String; 3]> {
        let report = self.report();
        report.findings.into_iter().map(|one| [one.gate, one.message, one.hint]).collect()
    }

    #[track_caller]
    fn finds(&self, gate: &str, message: &str, hint: &str) {
        assert_eq!(self.found(), [[gate, message, hint]]);
    }

    fn printed(&mut self, text: &str, warnings: &[&str]) {
        let config = Containerd::parse("config dump", text.as_bytes()).unwrap();
        let warnings = warnings.iter().map(|&warning| warning.to_owned()).collect();
        self.dump = Dump::Printed { config, warnings };
    }
}

fn triplet() -> &'static str {
    Arch::host().unwrap().triplet()
}

fn runtime(handler: &str) -> Runtime {
    Runtime {
        handler: handler.into(),
        runtime_class: handler.into(),
        kind: "io.containerd.runc.v2".into(),
        binary: Some(path("/usr/local/bin/crun")),
        loads: Vec::new(),
        options: BTreeMap::new(),
        annotations: BTreeMap::new(),
        pod_annotations: vec!["module.wasm.image/*".into()],
        node_labels: BTreeMap::new(),
        example: Vec::new(),
        trial: Vec::new(),
    }
}

fn description(runtimes: Vec<Runtime>) -> Description {
    Description {
        reference: "example/node:1".into(),
        kubernetes: "1.20.2".into(),
        based: false,
        containerd_config: path(super::CONFIG),
        runtimes,
    }
}

#[test]
fn an_image_without_faults_passes_every_gate() {
    let report = Small::new().report();
    assert_eq!(report.findings, []);
    assert_eq!(report.handlers, ["runc"]);
    let left_out: Vec<_> =
        report.gates.iter().filter(|ran| ran.left_out.is_some()).map(|ran| &ran.gate).collect();
    assert_eq!(left_out, ["containerd", "annotations", "classes"]);
}

#[test]
fn an_image_without_containerd_is_no_node() {
    let mut small = Small::new();
    small.tree.remove(&path(super::CONFIG));
    let config = path(super::CONFIG);
    let image = Image { tree: &small.tree, arch: None, config: &config, node: None };
    let error = View::new(&image, &small.store, |_| Ok(Dump::Absent)).err().unwrap();
    assert_eq!(error.to_string(), "the image is no node: it has no `/etc/containerd/config.toml`");
}

#[test]
fn a_runtime_below_the_wrong_plugin_is_found() {
    let mut small = Small::new();
    let v3 = "\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.spin]\n\
              runtime_type = \"io.containerd.spin.v2\"\n";
    small.config(&format!("{CONFIG}{v3}"));
    let message = "runtime `spin` stands below `io.containerd.cri.v1.runtime` in `/etc/containerd/config.toml`, \
                   which has version 2, where containerd reads `io.containerd.grpc.v1.cri`";
    let hint = "write `[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.spin]`";
    small.finds("config", message, hint);
    // The same where containerd itself was asked; and nothing where it found it all the same.
    small.printed(CONFIG, &[]);
    small.finds("config", message, hint);
    small.printed(&format!("{CONFIG}{}", v3.replace("cri.v1.runtime", "grpc.v1.cri")), &[]);
    small.finds(
        "programs",
        "`containerd-shim-spin-v2`, the shim of runtime `spin`, is not on containerd's `PATH` in the image",
        "add the package that brings it; containerd looks in `/usr/local/bin` and the like",
    );
    small.dump = Dump::LeftOut(String::new());
    // A file that says no version has version 1.
    small.config(CONFIG.split_once('\n').unwrap().1);
    small.finds(
        "config",
        "runtime `runc` stands below `io.containerd.grpc.v1.cri` in `/etc/containerd/config.toml`, which has version \
         1, where containerd reads `cri`",
        "write `[plugins.\"cri\".containerd.runtimes.runc]`",
    );
    small.config(&CONFIG.replace("version = 2", "version = 9"));
    small.finds(
        "config",
        "`/etc/containerd/config.toml` has version 9, which no containerd reads",
        "containerd reads versions 1 to 4; `containerd config migrate` converts a file",
    );
    small.config("version = [");
    assert_eq!(small.found()[0][0], "config");
}

#[test]
fn what_containerd_does_not_make_of_its_file_is_found() {
    let mut small = Small::with_crun(b"#!/usr/bin/runc\n");
    small.printed(CONFIG, &["`containerd runtimez` of plugin `io.containerd.grpc.v1.cri`"]);
    let found: Vec<_> = small.found().into_iter().map(|[gate, message, _]| (gate, message)).collect();
    let said = |text: &str| ("containerd".to_owned(), text.to_owned());
    assert_eq!(
        found,
        [
            said(
                "the image's containerd does not know a key of `/etc/containerd/config.toml`: `containerd runtimez` of \
                 plugin `io.containerd.grpc.v1.cri`"
            ),
            said("the image's containerd has no runtime `crun` after reading `/etc/containerd/config.toml`"),
        ]
    );
    // One that drops keys without a word.
    small.config(&CONFIG.replace("runtime_type", "pod_anotations = [\"a/*\"]\nruntime_type"));
    small.printed(CONFIG, &[]);
    small.finds(
        "containerd",
        "the image's containerd does not know `pod_anotations` of runtime `runc` in `/etc/containerd/config.toml`",
        "look for a typing error; this containerd may also be older or newer than the key",
    );
    small.config(CONFIG);
    small.node = Some(description(vec![runtime("wasm")]));
    small.printed(CONFIG, &[]);
    small.finds(
        "containerd",
        "the image's containerd has no runtime `wasm` after reading `/etc/containerd/config.toml`",
        "pods that ask for it would get \"no runtime for … is configured\"",
    );
    small.node = None;
    small.printed(&CONFIG.replace("default_runtime_name = \"runc\"", "default_runtime_name = \"crun\""), &[]);
    small.finds(
        "containerd",
        "the default runtime `crun` is none of the image's runtimes",
        "set `default_runtime_name` to one that is there",
    );
    small.dump = Dump::Absent;
    small.finds(
        "containerd",
        "there is no `containerd` on the `PATH` of the image's services",
        "add the package that brings it",
    );
    small.dump = Dump::Failed { exit: "exit status 1".into(), last: "containerd: no TOML".into() };
    small.finds(
        "containerd",
        "the image's containerd can't read `/etc/containerd/config.toml` (exit status 1): containerd: no TOML",
        "mend the file; nothing starts on a node whose containerd does not",
    );
}

#[test]
fn a_program_that_is_missing_or_not_executable_is_found() {
    let add = "add the package that brings it; containerd looks in `/usr/local/bin` and the like";
    let mut small = Small::with_crun(b"");
    small.tree.remove(&path("/usr/local/bin/crun"));
    small.finds("programs", "`/usr/local/bin/crun`, the program of runtime `crun`, is not in the image", add);
    // A link out of the image leads nowhere.
    small.link("/usr/local/bin/crun", "../../../../bin/sh");
    small.finds("programs", "`/usr/local/bin/crun`, the program of runtime `crun`, is not in the image", add);
    small.link("/usr/local/bin/crun", "../../bin/runc");
    assert_eq!(small.found(), [[""; 3]; 0]);
    let runc = small.tree.remove(&path("/usr/bin/runc")).unwrap();
    small.tree.insert(&path("/usr/lib/runc"), runc).unwrap();
    small.link("/usr/local/bin/crun", "/usr/lib/runc");
    small.finds(
        "programs",
        "`runc`, the program of runtime `runc`, is not on containerd's `PATH` in the image",
        add,
    );
    small.put("/usr/bin/runc", b"#!/usr/lib/runc\n", 0o644);
    small.finds(
        "programs",
        "`/usr/bin/runc`, the program of runtime `runc`, is not executable",
        "`chmod +x /usr/bin/runc` where it is made",
    );
    let mut small = Small::new();
    small.config(
        &CONFIG.replace("io.containerd.runc.v2\"", "slight\"\nbase_runtime_spec = \"/etc/none.json\""),
    );
    let found: Vec<_> = small.found().into_iter().map(|[_, message, hint]| (message, hint)).collect();
    assert_eq!(
        found,
        [
            (
                "runtime `runc` has the `runtime_type` `slight`, which names no shim".to_owned(),
                "write it as `io.containerd.NAME.v2`".to_owned()
            ),
            (
                "`/etc/none.json`, the base runtime spec of runtime `runc`, is not in the image".to_owned(),
                "`ctr oci spec` prints one to start from".to_owned()
            ),
        ]
    );
}

#[test]
fn a_library_that_is_missing_or_too_old_is_found() {
    let small = Small::new();
    let new = small.library("libc.so.6", &["GLIBC_2.31", "GLIBC_2.34"]);
    let program = small.program("glibc_2_34", "libc.so.6", &[]);
    let old = small.library("libc.so.6", &["GLIBC_2.31"]);
    let mut small = Small::with_crun(&program);
    let place = format!("/usr/lib/{}", triplet());
    let found = |small: &Small| small.found().into_iter().map(|[_, message, _]| message).collect::<Vec<_>>();
    small.finds(
        "libraries",
        "`/usr/local/bin/crun` asks for the loader `/lib/ld.so`, which is not in the image",
        "it is built for another C library: take a static build, or one for the image's",
    );
    small.put("/lib/ld.so", b"", 0o755);
    small.finds(
        "libraries",
        "`/usr/local/bin/crun` needs `libc.so.6`, which is not in the image",
        &format!("add the package that brings it to the image, below `{place}`"),
    );
    small.put(&format!("{place}/libc.so.6"), &old, 0o644);
    small.finds(
        "libraries",
        "`/usr/local/bin/crun` wants `GLIBC_2.34`, the image's `libc.so.6` has up to `GLIBC_2.31`",
        "build it on the Debian release that the image is made of, or take a static build",
    );
    small.put(&format!("{place}/libc.so.6"), &new, 0o644);
    assert_eq!(found(&small), [""; 0]);
    // Where the loader does not look.
    small.tree.remove(&path(&format!("{place}/libc.so.6")));
    small.put("/opt/lib/libc.so.6", &new, 0o644);
    let elsewhere = "`/usr/local/bin/crun` needs `libc.so.6`, which is at `/opt/lib/libc.so.6`, where the image's \
                     loader does not look";
    assert_eq!(found(&small), [elsewhere]);
    small.put("/etc/ld.so.cache", &cache(&[("libc.so.6", "/opt/lib/libc.so.6")]), 0o644);
    assert_eq!(found(&small), [""; 0]);
    small.put("/opt/lib/libc.so.6", b"no library", 0o644);
    assert_eq!(found(&small), [elsewhere]);
}

/// What `ldconfig` writes, in the newer format.
fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut head = b"glibc-ld.so.cache1.1".to_vec();
    head.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    head.resize(48, 0);
    let mut strings = Vec::new();
    let start = 48 + 24 * entries.len();
    for (name, path) in entries {
        let mut entry = [0; 24];
        for (at, text) in [(4, name), (8, path)] {
            entry[at..at + 4].copy_from_slice(&((start + strings.len()) as u32).to_le_bytes());
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
        }
        head.extend_from_slice(&entry);
    }
    head.extend(strings);
    head
}

#[test]
fn libraries_of_libraries_and_those_that_are_opened_count() {
    let small = Small::new();
    small.library("libinner.so", &["INNER_1"]);
    let outer = {
        let source = "void inner_1(void);\nvoid outer(void) { inner_1(); }\n";
        small.compile("libouter.so", source, &["-shared", "-Wl,-soname,libouter.so", "libinner.so"])
    };
    let flags = ["-Wl,--allow-shlib-undefined", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib"];
    let program = small.program("outer", "libouter.so", &flags);
    let inner = small.library("libinner.so", &["INNER_1"]);
    let mut small = Small::with_crun(&program);
    small.put("/lib/ld.so", b"", 0o755);
    small.put("/usr/local/lib/libouter.so", &outer, 0o644);
    let found = |small: &Small| small.found().into_iter().map(|[_, message, _]| message).collect::<Vec<_>>();
    assert_eq!(
        found(&small),
        ["`/usr/local/lib/libouter.so` needs `libinner.so`, which is not in the image"]
    );
    // `DT_RUNPATH` is for what the file itself needs.
    small.put("/usr/local/lib/libinner.so", &inner, 0o644);
    assert_eq!(
        found(&small),
        [
            "`/usr/local/lib/libouter.so` needs `libinner.so`, which is at `/usr/local/lib/libinner.so`, where the image's \
          loader does not look"
        ]
    );
    small.put("/usr/lib/libinner.so", &inner, 0o644);
    assert_eq!(found(&small), [""; 0]);
    let opens = Runtime { loads: vec!["libwasmtime.so".into()], ..runtime("crun") };
    small.node = Some(description(vec![opens]));
    assert_eq!(found(&small), ["`/usr/local/bin/crun` opens `libwasmtime.so`, which is not in the image"]);
    small.put("/usr/local/lib/libwasmtime.so", &inner, 0o644);
    assert_eq!(found(&small), [""; 0]);
}

#[test]
fn what_no_kernel_starts_is_found() {
    let found = |program: &[u8]| -> Vec<String> {
        Small::with_crun(program).found().into_iter().map(|[_, message, _]| message).collect()
    };
    assert_eq!(
        found(b"#!/bin/bash -eu\n"),
        ["`/usr/local/bin/crun` is a script for `/bin/bash`, which is not in the image"]
    );
    assert_eq!(found(b"#! /usr/bin/runc\n"), [""; 0]);
    assert_eq!(found(b"PK\x03\x04"), ["`/usr/local/bin/crun` is neither an ELF file nor a script with `#!`"]);
    let mut other = Small::new().compile("static", "void _start(void) {}", &["-static"]);
    other[18] = if Arch::host() == Some(Arch::Amd64) { 183 } else { 62 };
    let (is, own) = if Arch::host() == Some(Arch::Amd64) { ("arm64", "amd64") } else { ("amd64", "arm64") };
    assert_eq!(found(&other), [format!("`/usr/local/bin/crun` is for {is}, the image is for {own}")]);
    let damaged = found(b"\x7fELF\x02\x01\x01and no more");
    assert!(damaged[0].starts_with("`/usr/local/bin/crun` is no ELF file that can be read: "), "{damaged:?}");
}

#[test]
fn cgroups_over_systemd_want_a_bus() {
    let small = Small::new();
    let systemd = small.library("libsystemd.so.0", &["LIBSYSTEMD_209"]);
    let program = small.program("libsystemd_209", "libsystemd.so.0", &[]);
    let mut small = Small::with_crun(&program);
    small.put("/lib/ld.so", b"", 0o755);
    small.put("/usr/lib/libsystemd.so.0", &systemd, 0o644);
    assert_eq!(small.found(), [[""; 3]; 0]);
    small.config(&format!("{CONFIG}{CRUN}SystemdCgroup = true\n"));
    small.finds(
        "dbus",
        "runtime `crun` has `SystemdCgroup = true`, for which `/usr/local/bin/crun` asks systemd over D-Bus, and the \
         image has no D-Bus",
        "add the package `dbus`, or set `SystemdCgroup = false`",
    );
    small.link("/lib/systemd", "../usr/lib/systemd");
    small.put("/usr/lib/systemd/system/dbus.socket", b"", 0o644);
    assert_eq!(small.found(), [[""; 3]; 0]);
    // A static crun has its own copy of libsystemd; runc, in Go, goes without a bus.
    let text = "const char text[] = \"org.freedesktop.systemd1\"; const char *_start(void) { return text; }";
    let program = small.compile("static", text, &["-static"]);
    let mut small = Small::with_crun(&program);
    small.config(&format!("{CONFIG}{CRUN}SystemdCgroup = true\n"));
    assert_eq!(small.found()[0][0], "dbus");
    small.put("/usr/local/bin/crun", &[program, b"Go buildinf:".to_vec()].concat(), 0o755);
    assert_eq!(small.found(), [[""; 3]; 0]);
}

#[test]
fn an_annotation_that_reaches_nobody_is_found() {
    let pod = |class, key: &str| TrialPod {
        name: "variant".into(),
        class,
        annotations: BTreeMap::from([(key.to_owned(), "compat".to_owned())]),
        needs_cluster: false,
        containers: Vec::new(),
    };
    let mut small = Small::with_crun(b"#!/usr/bin/runc\n");
    let trial =
        vec![pod(TrialClass::Own, "module.wasm.image/variant"), pod(TrialClass::None, "run.oci.handler")];
    small.node = Some(description(vec![Runtime { trial, ..runtime("crun") }]));
    assert_eq!(small.found(), [[""; 3]; 0]);
    let trial = vec![pod(TrialClass::Own, "module.wasm.image/a/b")];
    small.node = Some(description(vec![Runtime { trial, ..runtime("crun") }]));
    small.finds(
        "annotations",
        "annotation `module.wasm.image/a/b` of pod `variant` does not reach runtime `crun`: no pattern of its \
         `pod_annotations` lets it through",
        "add `\"module.wasm.image/a/*\"` to `pod-annotations` of the runtime's recipe (`*` stops at `/`)",
    );
    small.node = None;
    small.config(&format!("{CONFIG}{}", CRUN.replace("image/*", "image/[")));
    small.finds(
        "annotations",
        "`module.wasm.image/[` of runtime `crun`'s `pod_annotations` is no pattern, and lets nothing through",
        "patterns have `*`, `?`, `[a-z]` and `\\`",
    );
}

#[test]
fn a_class_that_no_node_fits_is_found() {
    let mut small = Small::with_crun(b"#!/usr/bin/runc\n");
    small.config(&format!("{CONFIG}{CRUN}{}", CRUN.replace("runtimes.crun", "runtimes.other")));
    let labelled = |handler: &str, value: &str| Runtime {
        node_labels: BTreeMap::from([("wasm".to_owned(), value.to_owned())]),
        ..runtime(handler)
    };
    small.node = Some(description(vec![labelled("crun", "yes"), labelled("other", "yes")]));
    assert_eq!(small.found(), [[""; 3]; 0]);
    small.node = Some(description(vec![labelled("crun", "yes"), labelled("other", "no")]));
    small.finds(
        "classes",
        "RuntimeClass `crun` selects nodes with `wasm=yes`, and the node has `wasm=no`",
        "give the runtimes labels with keys of their own in `node-labels`",
    );
}

/// The folder that tests compile in is not in what they say.
#[test]
fn findings_name_paths_of_the_image_only() {
    let small = Small::with_crun(b"");
    let here = small.folder.path().display().to_string();
    assert!(Path::new(&here).is_absolute());
    for [_, message, hint] in small.found() {
        assert!(!message.contains(&here) && !hint.contains(&here), "{message} {hint}");
    }
}

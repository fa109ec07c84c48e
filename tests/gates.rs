//! What would fail in a pod fails a build, and `nodeimg lint` finds it in anybody's image.

use std::path::Path;

use crate::everywhere::{command, good, project};
use crate::world::{Told, World, strings};

/// A world that builds its node, and what of it may be spoiled.
fn world() -> World {
    World::locked()
}

#[test]
fn a_node_that_pods_would_fail_on_is_not_built() {
    let world = world();
    let faulty = |world: &World| {
        let told = world.run(&["build", "--lock", "--quiet", "node"]);
        assert!(!world.path("project/out/node").exists(), "the image is written all the same");
        told
    };
    let runtime = "project/recipes/runtimes/greeter.toml";
    world.edit(runtime, "/usr/bin/hello", "/usr/bin/gone");
    let gone = "error: `/usr/bin/gone`, the program of runtime `greeter`, is not in the image\nhint: add the package that \
                brings it; containerd looks in `/usr/local/bin` and\n  the like\n";
    assert_eq!(faulty(&world), Told::failure(1, gone));
    // All faults are told at once.
    world.edit(runtime, "runc.v2", "spin.v2");
    let both = format!(
        "error: `containerd-shim-spin-v2`, the shim of runtime `greeter`, is not on\n  containerd's `PATH` in the image\n\
         hint: add the package that brings it; containerd looks in `/usr/local/bin` and\n  the like\n\n{gone}\n\
         error: image `node:v1` has 2 faults that pods would meet\n"
    );
    let both = both.replace("`/usr/local/bin` and the like", "`/usr/local/bin` and\n  the like");
    assert_eq!(faulty(&world).stderr, both);
    world.edit(runtime, "spin.v2", "runc.v2");
    world.edit(runtime, "/usr/bin/gone", "/usr/bin/hello");
    // A containerd that does not take the runtime.
    let containerd = "project/recipes/packages/containerd.toml";
    world.edit(containerd, "do echo", "do [ \"\\$line\" = '[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.greeter]' ] && exit; echo");
    let told = faulty(&world);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("has no runtime `greeter` after reading"), "{}", told.stderr);
}

#[test]
fn the_gates_are_a_step_of_the_plan() {
    let world = world();
    let plan = world.run(&["plan", "node"]);
    assert!(plan.stdout.contains("     check node:gates\n"), "{}", plan.stdout);
    assert!(world.made(&["node"]).contains(&"node:gates".to_owned()));
    assert_eq!(world.made(&["node"]), [""; 0]);
    // What no gate looks at does not run them again, what one looks at does.
    world.edit("project/recipes/runtimes/greeter.toml", "greets = \"true\"", "greets = \"yes\"");
    assert_eq!(world.made(&["node"]), ["node:gates"]);
}

#[test]
fn our_own_image_passes_wherever_it_is() {
    let world = world();
    let passes = |image: &str, gates: &str| {
        let told = world.run(&["lint", image]);
        assert_eq!((told.code, told.stdout.as_str()), (0, ""), "{}", told.stderr);
        let name = if image == "node" { "node:v1" } else { image };
        let expected = format!("     image {name}\n  runtimes greeter, runc\n{gates}     found nothing\n")
            .replace("  runtimes", "  runtimes");
        assert!(told.stderr.ends_with(&expected), "{}", told.stderr);
    };
    passes("node", "     gates config, containerd, programs, libraries, dbus, annotations, classes\n");
    world.made(&["node"]);
    let less = "     gates config, containerd, programs, libraries, dbus\n  left out annotations: only a recipe says what \
                its pods are annotated with\n  left out classes: only a recipe says what RuntimeClasses there are\n";
    for image in ["out/node/oci", "out/node/image.tar"] {
        passes(image, less);
    }
    let document = world.json(&["lint", "out/node/image.tar"]);
    assert_eq!(strings(&document["runtimes"]), ["greeter", "runc"]);
    assert_eq!(document["findings"], serde_json::json!([]));
    assert_eq!(document["gates"][0], serde_json::json!({ "gate": "config", "left-out": null }));
}

/// A layer, or an archive of them.
fn tar(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Compiles without a C library.
#[expect(clippy::disallowed_methods, reason = "real ELF files come from a real linker")]
fn cc(folder: &Path, source: &str, arguments: &str) -> Vec<u8> {
    fs_err::write(folder.join("x.c"), source).unwrap();
    let mut command = std::process::Command::new("cc");
    command.current_dir(folder).args("-nostdlib -nostartfiles -fno-stack-protector -o out x.c".split(' '));
    let told = command.args(arguments.split_whitespace()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    fs_err::read(folder.join("out")).unwrap()
}

/// What people do to kind's images: lines appended to `config.toml`, binaries copied in, D-Bus forgotten.
fn broken(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let program = cc(folder.path(), "void _start(void) {}", "-static");
    let library = cc(folder.path(), "void sd_bus(void) {}", "-shared -Wl,-soname,libsystemd.so.0");
    fs_err::write(folder.path().join("libsystemd.so.0"), &library).unwrap();
    let crun = cc(
        folder.path(),
        "void sd_bus(void); void _start(void) { sd_bus(); }",
        "libsystemd.so.0 -Wl,--dynamic-linker=/lib/ld.so",
    );
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
                  runtime_type = \"io.containerd.runc.v2\"\n";
    let mut appended = config.to_owned();
    for (plugin, handler, kind, more) in [
        ("io.containerd.cri.v1.runtime", "wasmtime", "wasmtime.v1", ""),
        ("io.containerd.grpc.v1.cri", "spin", "spin.v2", ""),
        ("io.containerd.grpc.v1.cri", "slight", "slight.v1", ""),
        (
            "io.containerd.grpc.v1.cri",
            "crun",
            "runc.v2",
            "options = { BinaryName = \"/usr/local/bin/crun\", SystemdCgroup = true }\n",
        ),
    ] {
        appended += &format!(
            "[plugins.\"{plugin}\".containerd.runtimes.{handler}]\nruntime_type = \"io.containerd.{kind}\"\n{more}"
        );
    }
    let containerd = b"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done < \"$2\"\n";
    let busybox = fs_err::read("/bin/busybox").unwrap();
    let base = tar(&[
        ("etc/containerd/config.toml", config.as_bytes(), 0o644),
        ("usr/bin/containerd", containerd, 0o755),
        ("usr/bin/containerd-shim-runc-v2", &program, 0o755),
        ("usr/bin/runc", &program, 0o755),
        ("bin/sh", &busybox, 0o755),
        ("lib/ld.so", b"", 0o755),
        ("usr/bin/dbus-daemon", &program, 0o755),
    ]);
    let over = tar(&[
        ("etc/containerd/config.toml", appended.as_bytes(), 0o644),
        ("usr/bin/.wh.dbus-daemon", b"", 0o644),
        ("usr/local/bin/containerd-shim-slight-v1", &program, 0o644),
        ("usr/local/bin/crun", &crun, 0o755),
    ]);
    let ids = [&base, &over].map(|layer| format!("\"{}\"", nodeimg::base::Sha256::of(layer).oci())).join(",");
    let over = zstd::encode_all(&over[..], 1).unwrap();
    let arch = nodeimg::base::Arch::host().unwrap();
    let about = format!(
        "{{\"architecture\":\"{arch}\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{ids}]}}}}"
    );
    let list = r#"[{"Config":"config.json","RepoTags":["example.org/kind:broken"],"Layers":["base.tar","over.tar"]}]"#;
    let archive = tar(&[
        ("manifest.json", list.as_bytes(), 0o644),
        ("config.json", about.as_bytes(), 0o644),
        ("base.tar", &base, 0o644),
        ("over.tar", &over, 0o644),
    ]);
    world.write("project/broken.tar", archive);
}

#[test]
fn a_dockerfiles_mistakes_are_found() {
    let world = World::new();
    broken(&world);
    let told = world.run(&["lint", "broken.tar"]);
    let expected = "\
error: runtime `wasmtime` stands below `io.containerd.cri.v1.runtime` in
  `/etc/containerd/config.toml`, which has version 2, where containerd reads
  `io.containerd.grpc.v1.cri`
hint: write `[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.wasmtime]`
error: `/usr/local/bin/containerd-shim-slight-v1`, the shim of runtime `slight`,
  is not executable
hint: `chmod +x /usr/local/bin/containerd-shim-slight-v1` where it is made
error: `containerd-shim-spin-v2`, the shim of runtime `spin`, is not on
  containerd's `PATH` in the image
hint: add the package that brings it; containerd looks in `/usr/local/bin` and
  the like
error: `/usr/local/bin/crun` needs `libsystemd.so.0`, which is not in the image
hint: add the package that brings it to the image, below
  `/usr/lib/x86_64-linux-gnu`
error: runtime `crun` has `SystemdCgroup = true`, for which
  `/usr/local/bin/crun` asks systemd over D-Bus, and the image has no D-Bus
hint: add the package `dbus`, or set `SystemdCgroup = false`
";
    assert_eq!((told.code, told.stdout.as_str()), (1, expected), "{}", told.stderr);
    let summary = "     image broken.tar\n  runtimes crun, runc, slight, spin\n     gates config, containerd, programs, \
                   libraries, dbus\n";
    assert!(
        told.stderr.starts_with(summary) && told.stderr.ends_with("     found 5 faults\n"),
        "{}",
        told.stderr
    );
    let document = world.command(&["lint", "--json", "broken.tar"]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["findings"].as_array().unwrap().len(), 5);
    assert_eq!(document["findings"][3]["gate"], "libraries");
}

const PODMAN: &str = r#"
podman --root "$DATA/root" --runroot /run/containers --cgroup-manager cgroupfs --events-backend file load -q -i broken.tar
code=0; "$PROGRAM" lint docker:example.org/kind:broken > found || code=$?; test $code = 1
code=0; "$PROGRAM" lint docker:example.org/none:1 2> none || code=$?; test $code = 4
"#;

#[test]
fn an_engines_image_is_looked_at() {
    #[expect(clippy::disallowed_methods, reason = "it only asks what is there")]
    let podman = std::process::Command::new("podman").arg("--version").output();
    if podman.is_err() || !rustix::process::geteuid().is_root() {
        eprintln!("left out: it wants root, and `podman`");
        return;
    }
    let world = World::new();
    broken(&world);
    let mut inside = command(project().join("tests/with-podman"));
    inside.args(["sh", "-euc", PODMAN]).current_dir(world.path("project"));
    inside.env("NODEIMG_STORE", world.path("store"));
    good(&mut inside);
    let found = world.read("project/found");
    assert_eq!(found.matches("error: ").count(), 5, "{found}");
    let none = "error: no image `example.org/none:1` in the engine at `unix:///run/docker.sock`\n\
                hint: `docker images` lists those that it has\n";
    assert_eq!(world.read("project/none"), none);
}

#[test]
fn what_is_no_image_is_named() {
    let world = World::new();
    let nowhere = "error: no image `nonsense`: no recipe of this project, no file and no folder\n\
                   hint: name an archive, an OCI layout, `docker:NAME` or `registry:NAME`;\n  `nodeimg lint --help` says more\n";
    assert_eq!(world.run(&["lint", "nonsense"]), Told::failure(2, nowhere));
    let refused = |name: &str, content: &[u8]| {
        world.write(&format!("project/{name}"), content);
        let told = world.run(&["lint", name]);
        assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{}", told.stderr);
        told.stderr.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        refused("a.tar", &tar(&[("x", b"", 0o644)])),
        "error: `a.tar` is no image: it has neither `index.json` nor `manifest.json`"
    );
    let list = br#"[{"RepoTags":["a:1"]},{"RepoTags":["b:2","b:3"]}]"#;
    assert_eq!(
        refused("b.tar", &tar(&[("manifest.json", list, 0o644)])),
        "error: `b.tar` has several images: `a:1`, `b:2`, `b:3`"
    );
    let list = br#"[{"Config":"c.json","Layers":["../../etc/passwd"]}]"#;
    assert_eq!(
        refused("c.tar", &tar(&[("manifest.json", list, 0o644), ("c.json", b"{}", 0o644)])),
        "error: `c.tar` is no image: `../../etc/passwd` is missing"
    );
    let index = format!(
        r#"{{"manifests":[{{"digest":"sha256:{0}"}},{{"digest":"x","platform":{{"os":"unknown"}}}}]}}"#,
        "0".repeat(64)
    );
    let blob = format!("blobs/sha256/{}", "0".repeat(64));
    let told = refused("d.tar", &tar(&[("index.json", index.as_bytes(), 0o644), (&blob, b"other", 0o644)]));
    assert!(told.starts_with("error: `d.tar` has other bytes as"), "{told}");
    let list = br#"[{"Config":"c.json","Layers":[]}]"#;
    assert_eq!(
        refused("e.tar", &tar(&[("manifest.json", list, 0o644), ("c.json", b"{}", 0o644)])),
        "error: the image is no node: it has no `/etc/containerd/config.toml`"
    );
    let told = world.run(&["lint", "plain"]);
    assert_eq!(
        told,
        Told::failure(
            2,
            "error: `images/plain` is no node image\nhint: name an image whose recipe has `[node]`\n"
        )
    );
}

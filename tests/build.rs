//! The way of a small project from recipes to `out/`, and what is done when something changes.

use crate::world::{Told, World, as_stranger, document, open_to_all, strings, tar_gz};

/// Replaces the digests in a text.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("sha256:…");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    plain
}

#[test]
fn a_project_is_locked_built_and_then_reused() {
    let world = World::new();
    let expected = "   fetched 3 files, … B
    locked stable: added lock: snapshot 20990101T000000Z
    locked containerd: added lock: 0 sources, build root with 1 on amd64, 1 on arm64 packages
    locked greeting: added lock: 0 sources, build root with 1 on amd64, 1 on arm64 packages
    locked hello: added lock: 1 source, build root with 2 on amd64, 2 on arm64 packages
    locked node: added lock: system root with 2 on amd64, 2 on arm64 packages, assembly 1
    locked plain: added lock: assembly 1
     locks 6 files changed in `lockfiles/`: review the diff
";
    let told = world.run(&["lock"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    // How well the signature packs is a matter of luck.
    let size = told.stderr.split(", ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(told.stderr.replacen(size, "…", 1), expected);
    let nothing = Told::failure(0, "     locks nothing changed\n");
    assert_eq!(world.run(&["lock"]), nothing);
    assert_eq!(world.run(&["lock", "--check"]), Told::failure(0, "     locks 6 recipes up to date\n"));

    let built = world.json(&["build", "--lock", "node"]);
    let keys: Vec<_> = built.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["targets", "made", "reused"]);
    let target = &built["targets"][0];
    assert_eq!(target["target"], "images/node");
    assert_eq!(target["folder"], "out/node");
    assert_eq!(target["reference"], "node:v1");
    let files = [
        "image.tar",
        "oci",
        "workloads/plain.tar",
        "example-greeter.yaml",
        "kind.yaml",
        "runtimeclasses.yaml",
        "configuration.diff",
    ];
    assert_eq!(strings(&target["files"]), files);
    for file in files {
        assert!(world.path("project/out/node").join(file).exists(), "{file}");
    }
    let layers: Vec<_> =
        target["layers"].as_array().unwrap().iter().map(|layer| layer["name"].clone()).collect();
    assert_eq!(layers, ["system", "containerd", "preloaded", "runtime hello", "configuration"]);

    // The catalog knows the image from its own files, and is the same however often it is written.
    let text = fs_err::read_to_string(world.path("project/out/catalog.json")).unwrap();
    let catalog = world.json(&["catalog"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), catalog);
    let image = &catalog["images"]["node"];
    assert_eq!((&image["reference"], &image["digest"]), (&target["reference"], &target["digest"]));
    assert_eq!(image["kind"], serde_json::json!([]));
    assert_eq!(image["containerd"]["config-version"], 2);
    assert_eq!(image["runtimes"]["greeter"]["packages"]["hello"], "1");

    let again = world.json(&["build", "--lock", "node"]);
    assert_eq!(fs_err::read_to_string(world.path("project/out/catalog.json")).unwrap(), text);
    assert_eq!(again["targets"][0]["unchanged"], true);
    assert_eq!(again["targets"][0]["digest"], target["digest"]);
    assert_eq!(strings(&again["made"]), [""; 0]);
    let told = world.run(&["build", "--lock", "node"]);
    let expected = "     image node:v1
    digest sha256:…
      size 1.1 MB in 5 layers
 unchanged out/node/{image.tar,oci,workloads/plain.tar,example-greeter.yaml,kind.yaml,runtimeclasses.yaml,configuration.diff}
     steps all 21 reused
      next docker load -i out/node/image.tar && kind create cluster --config out/node/kind.yaml
";
    assert_eq!((told.code, told.stdout.as_str(), without_digests(&told.stderr).as_str()), (0, "", expected));
    assert_eq!(world.run(&["build", "--lock", "-q", "node"]), Told::failure(0, ""));
}

/// What `nodeimg plan` prints when it has nothing to make.
const NOTHING: &str = "      plan nothing to fetch, 0 steps to make, 2 reused\n";

#[test]
fn a_plan_says_what_would_be_done_and_why() {
    let world = World::locked();
    let plan = || {
        let told = world.run(&["plan"]);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""));
        told.stdout
    };
    let expected = "    unpack hello:root:unpack
       run hello:root
    unpack hello:source:hello
     patch hello:patched:hello
       run hello
     layer plain:layer:programs
    unpack greeting:root:unpack
       run greeting:root
       run greeting
     layer plain:layer:texts
  assemble plain
       run hello:test
      plan 2 files to fetch (2.0 MB), 12 steps to make, 1 reused
";
    assert_eq!(plan(), expected);
    world.made(&[]);
    assert_eq!(plan(), NOTHING);

    world.edit("project/recipes/packages/greeting.toml", "/greeting\"'", "/greeting2\"'");
    let expected = "       run greeting  argv changed
     layer plain:layer:texts  input `greeting` changed
  assemble plain  input `plain:layer:texts` changed
      plan nothing to fetch, 3 steps to make, 4 reused
";
    assert_eq!(plan(), expected);
    world.edit("project/recipes/packages/greeting.toml", "/greeting2\"'", "/greeting\"'");
    assert_eq!(plan(), NOTHING);

    fs_err::remove_dir_all(world.path("store/trees")).unwrap();
    let expected = "    unpack hello:root:unpack  no longer in the store
       run hello:root  no longer in the store
    unpack hello:source:hello  no longer in the store
";
    assert!(plan().starts_with(expected), "{}", plan());
}

#[test]
fn a_change_stops_where_the_bytes_are_the_same() {
    let world = World::locked();
    world.made(&[]);
    let recipe = "project/recipes/packages/hello.toml";
    world.write(recipe, format!("# A comment.\n{}", world.read(recipe)));
    assert_eq!(world.run(&["plan"]).stdout, NOTHING);
    assert_eq!(world.made(&[]), [""; 0]);
    // The script is another, what it leaves is not.
    world.edit(recipe, "building hello", "making hello");
    assert_eq!(world.made(&[]), ["hello"]);
    // Now the program is another, what it says is not.
    world.edit(recipe, "cp hello", "echo '# more' >> hello; cp hello");
    assert_eq!(world.made(&[]), ["hello", "plain:layer:programs", "greeting", "plain", "hello:test"]);
}

#[test]
fn stale_locks_are_refused_or_refreshed() {
    let world = World::locked();
    world.write("upstream/hello-2.tar.gz", tar_gz(&[("hello-2/hello", "#!/bin/sh\necho hello\n", 0o755)]));
    world.edit("project/recipes/packages/hello.toml", "version = \"1\"", "version = \"2\"");
    let expected = "error: lock is out of date for recipe `hello`
  source `hello`: `version` is `2` in the recipe, `1` in the lock
hint: run `nodeimg lock hello` and review the diff
";
    let before = world.read("project/lockfiles/packages/hello.toml");
    for arguments in
        [&["build", "--lock"][..], &["build", "--locked"], &["lock", "--check"], &["plan"], &["fetch"]]
    {
        assert_eq!(world.run(arguments), Told::failure(1, expected), "{arguments:?}");
    }
    assert_eq!(world.read("project/lockfiles/packages/hello.toml"), before);
    let told = world.run(&["build"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    assert!(
        told.stderr.starts_with(
            "    locked hello: source hello: 1 (sha256 b0784f84f5b9…) → 2 (sha256 ed2191655c61…)\n"
        ),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains("     image plain:2\n"), "{}", told.stderr);
    assert_eq!(world.made(&[]), [""; 0]);
}

/// The exit code, and the calls that strace saw which have to do with a network.
fn network_calls(world: &World, arguments: &[&str]) -> (i32, Vec<String>) {
    let report = world.path("strace");
    let tracer = ["strace", "-f", "-e", "trace=network", "-o", report.to_str().unwrap()];
    let output = world.wrapped(&tracer, arguments).output().unwrap();
    let calls = world.read("strace");
    let calls = calls.lines().filter(|line| line.contains('(')).map(str::to_owned).collect();
    (output.status.code().unwrap(), calls)
}

#[test]
fn nothing_to_do_makes_no_network_call() {
    let world = World::locked();
    world.made(&[]);
    assert_eq!(network_calls(&world, &["build", "--lock"]), (0, Vec::new()));
    world.edit("project/recipes/packages/hello.toml", "version = \"1\"", "version = \"2\"");
    for arguments in [["build", "--lock"], ["lock", "--check"]] {
        assert_eq!(network_calls(&world, &arguments), (1, Vec::new()));
    }
}

#[test]
fn what_was_fetched_is_enough_offline() {
    let world = World::locked();
    let expected = "\
error: step `hello:root:base-files` needs `base-files_1_all.deb`, which is not
  in the store, and the network is off
hint: run `nodeimg fetch hello` where there is a network, or leave out
  `--offline`
";
    assert_eq!(world.run(&["build", "--lock", "--offline", "-q"]), Told::failure(4, expected));
    let told = world.run(&["fetch"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    let expected = "     ready 3 files in the store, 2.0 MB; now `nodeimg build --lock --offline` works\n";
    assert!(told.stderr.ends_with(expected), "{}", told.stderr);
    let again = world.json(&["fetch"]);
    assert_eq!((&again["files"], &again["fetched"]["files"]), (&3.into(), &0.into()));
    for gone in ["debian", "upstream", "config"] {
        fs_err::remove_dir_all(world.path(gone)).unwrap();
    }
    assert_eq!(world.made(&["--offline"]).last().unwrap(), "hello:test");
}

#[test]
fn logs_and_verbose_runs_show_what_steps_print() {
    let world = World::locked();
    let nothing = "error: step `hello` has printed nothing yet\nhint: `nodeimg build` runs it\n";
    assert_eq!(world.run(&["log", "hello"]), Told::failure(2, nothing));
    let told = world.run(&["build", "--lock", "-v"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    for line in ["  fetching tools_1_all.deb\n", "  building hello\n", "         | building hello 1\n"] {
        assert!(told.stderr.contains(line), "{line} in {}", told.stderr);
    }
    for (step, log) in [("hello", "building hello 1\n"), ("packages/hello:test", "hello, world\n")] {
        assert_eq!(
            world.run(&["log", step]),
            Told { code: 0, stdout: log.to_owned(), stderr: String::new() }
        );
    }
    let typo = "error: no step `helo` runs in the project\nhint: did you mean `hello`?\n";
    assert_eq!(world.run(&["log", "helo"]), Told::failure(2, typo));
    assert_eq!(world.run(&["shell", "helo"]), Told::failure(2, typo));
}

#[test]
fn a_stranger_gets_the_same_bytes_as_root() {
    let world = World::locked();
    let targets = ["node", "plain", "hello"];
    let digests = |document: serde_json::Value| {
        [0, 1, 2]
            .map(|at| (document["targets"][at]["tree"].clone(), document["targets"][at]["digest"].clone()))
    };
    let here = digests(world.json(&[&["build", "--lock"], &targets[..]].concat()));
    for name in ["store", "project/out"] {
        fs_err::remove_dir_all(world.path(name)).unwrap();
    }
    let program = world.path("nodeimg");
    fs_err::copy(env!("CARGO_BIN_EXE_nodeimg"), &program).unwrap();
    open_to_all(&world.path(""));
    let mut command = world.with_program(&[program.to_str().unwrap()], &["build", "--lock", "--json"]);
    command.args(targets).args(["-j", "3"]).env("TZ", "Asia/Kathmandu").env("LC_ALL", "tr_TR.UTF-8");
    as_stranger(&mut command, 0o077);
    assert_eq!(digests(document(&mut command)), here);
}

#[test]
fn what_is_piped_has_no_colour() {
    let world = World::locked();
    for arguments in [&["build", "--lock"][..], &["plan"], &["store", "ls"], &["build", "nothing"]] {
        let output = world.command(arguments).env("TERM", "xterm-256color").output().unwrap();
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?}");
    }
}

#[test]
fn help_fits_eighty_columns() {
    let world = World::new();
    let commands: [&[&str]; 14] = [
        &[],
        &["build"],
        &["lock"],
        &["fetch"],
        &["plan"],
        &["try"],
        &["log"],
        &["shell"],
        &["schema"],
        &["store"],
        &["store", "path"],
        &["store", "ls"],
        &["store", "verify"],
        &["store", "gc"],
    ];
    for command in commands {
        for flag in ["-h", "--help"] {
            let told = world.run(&[command, &[flag]].concat());
            assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{command:?}");
            let long: Vec<_> = told.stdout.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{command:?} {flag}: {long:#?}");
        }
    }
}

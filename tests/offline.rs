//! `--offline` opens no connection: the whole program runs under a filter of system calls that kills it if it tries.
//!
//! The filter goes down to every process that nodeimg starts, so the sandbox and what runs in it are held to it too.

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::world::{Told, World};

/// Lets a command be killed with SIGSYS when it connects to anything or sends to an address.
fn sealed(command: &mut Command) -> &mut Command {
    // `sendto(fd, buffer, length, flags, address, length)`: without an address it is `send` on what is connected.
    let addressed = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).unwrap();
    let rules = BTreeMap::from([
        (libc::SYS_connect, Vec::new()),
        (libc::SYS_sendto, vec![SeccompRule::new(vec![addressed]).unwrap()]),
    ]);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // SAFETY: applying a filter is two system calls on memory that is there already.
    unsafe {
        command.pre_exec(move || {
            seccompiler::apply_filter(&program).map_err(|_| std::io::Error::last_os_error())
        })
    }
}

impl World {
    fn sealed(&self, arguments: &[&str]) -> Told {
        let output = sealed(&mut self.command(&[arguments, &["--offline"]].concat())).output().unwrap();
        assert_eq!(output.status.signal(), None, "`nodeimg {}` was killed", arguments.join(" "));
        self.told(&output)
    }
}

/// What the filter is worth: with the network allowed, it kills.
#[test]
fn a_connection_is_noticed() {
    let world = World::new();
    world.write(
        "config/nodeimg/config.toml",
        "[mirrors]\ndebian-world = [\"http://127.0.0.1:9/\"]\nsnapshot = [\"http://127.0.0.1:9/\"]\n",
    );
    let output = sealed(&mut world.command(&["lock", "stable"])).output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

/// Each kind of source with something that only the network knows; how it is told who wanted to know.
const SOURCES: [(&str, &str, &str); 6] = [
    (
        "http",
        "[source]\nurl = \"https://upstream.example/x-{version}.tar.gz\"\n",
        "https://upstream.example/x-1.tar.gz",
    ),
    (
        "git",
        "[source]\ngit = \"https://upstream.example/x.git\"\ntag = \"v1\"\n",
        "https://upstream.example/x.git@v1",
    ),
    (
        "debian",
        "[source]\nurl = \"debian:pool/main/x/x_{version}.orig.tar.gz\"\n",
        "debian:pool/main/x/x_1.orig.tar.gz",
    ),
    ("crates", "[source]\ncrate = \"serde\"\nversion = \"1.0.0\"\n", "serde-1.0.0.crate"),
    (
        "pypi",
        "[source]\npypi = \"wheel\"\nversion = \"1.0\"\nfile = \"wheel-1.0.tar.gz\"\n",
        "wheel-1.0.tar.gz",
    ),
    (
        "commit",
        "[source]\ngit = \"https://upstream.example/x.git\"\nrev = \"1111111111111111111111111111111111111111\"\n",
        "https://upstream.example/x.git@1111111111111111111111111111111111111111",
    ),
];

#[test]
fn locking_offline_says_who_asked_and_what_to_do() {
    let world = World::locked();
    for (name, source, who) in SOURCES {
        let recipe = format!(
            "name = \"{name}\"\nversion = \"1\"\nlicense = \"MIT\"\n{source}[build]\nroot = \"stable\"\nscript = \"true\"\n"
        );
        world.write(&format!("project/recipes/packages/{name}.toml"), recipe);
        for arguments in [&["lock", name][..], &["build", name]] {
            let told = world.sealed(arguments);
            assert_eq!(told.code, 4, "{arguments:?}: {}", told.stderr);
            let flat = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                flat.starts_with(&format!(
                    "error: can't resolve source `{name}` of recipe `packages/{name}`"
                )),
                "{flat}"
            );
            assert!(flat.contains(&format!("`{who}` is not in the store, and the network is off")), "{flat}");
            let hint = "hint: run `nodeimg lock` where there is a network and bring its `lockfiles/` here, or leave out `--offline`";
            assert!(flat.ends_with(hint), "{flat}");
        }
        fs_err::remove_file(world.path(&format!("project/recipes/packages/{name}.toml"))).unwrap();
    }
    world.write(
        "project/recipes/images/based.toml",
        "name = \"based\"\ntag = \"1\"\n[base]\noci = \"registry.example/base:1\"\n[[layers]]\nname = \"own\"\npackages = [\"hello\"]\n",
    );
    let flat = |told: &Told| told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = world.sealed(&["lock", "based"]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    assert!(
        flat(&told).starts_with(
            "error: can't resolve the base of recipe `images/based` `registry.example/base:1` is not in the store, and the \
             network is off hint: run `nodeimg lock`"
        ),
        "{}",
        told.stderr
    );

    // One that is pinned, and its bytes are not there.
    world.edit("project/recipes/images/based.toml", "base:1", &format!("base:1@sha256:{}", "1".repeat(64)));
    assert_eq!(world.sealed(&["lock", "based"]).code, 0);
    let told = world.sealed(&["build", "--lock", "based"]);
    assert_eq!(told.code, 4);
    assert!(
        flat(&told)
            .contains("which is not in the store, and the network is off hint: run `nodeimg fetch based`"),
        "{}",
        told.stderr
    );
    let told = world.sealed(&["fetch", "hello"]);
    assert_eq!(told.code, 4);
    assert!(
        flat(&told).contains("hint: run `nodeimg fetch hello` where there is a network"),
        "{}",
        told.stderr
    );
}

#[test]
fn everything_that_needs_no_network_works_offline() {
    let world = World::locked();
    assert_eq!(world.run(&["fetch"]).code, 0);
    for gone in ["debian", "upstream", "config"] {
        fs_err::remove_dir_all(world.path(gone)).unwrap();
    }
    for arguments in [
        &["lock"][..],
        &["lock", "--check"],
        &["plan"],
        &["fetch"],
        &["why"],
        &["build", "--lock"],
        &["build", "node"],
        &["log", "hello"],
        &["lint", "node"],
        &["catalog"],
        &["store", "ls"],
        &["store", "verify"],
        &["bundle", "create", "--program", "/bin/busybox", "-o", "../b.tar"],
        &["bundle", "verify", "../b.tar"],
        &["build", "--lock", "--bundle", "../b.tar", "--trust-unsigned", "--out", "../other"],
    ] {
        let told = world.sealed(arguments);
        assert_eq!(told.code, 0, "{arguments:?}: {}", told.stderr);
    }
}

#[test]
fn an_engine_behind_a_network_is_refused() {
    let world = World::locked();
    for host in ["tcp://127.0.0.1:9", "ssh://nobody@host.example"] {
        let arguments = ["build", "--lock", "--sandbox", "docker", "--offline", "-q"];
        let mut command = world.command(&arguments);
        let output = sealed(command.env("DOCKER_HOST", host)).output().unwrap();
        assert_eq!(output.status.signal(), None);
        let expected = format!(
            "error: the engine at `{host}` is reached over a network, and the network is off hint: leave out `--offline`, or \
             name an engine of this machine with `DOCKER_HOST=unix:///path`"
        );
        let told = world.told(&output);
        assert_eq!((told.code, told.stderr.split_whitespace().collect::<Vec<_>>().join(" ")), (4, expected));
    }
}

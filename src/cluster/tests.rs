use std::os::unix::fs::PermissionsExt as _;

use super::program::{Call, Program, Programs};
use super::*;

/// Tools that are shell scripts.
fn tools(folder: &Path, script: &str) -> Tools {
    let path = |name: &str| {
        let path = folder.join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    Tools { kind: path("kind"), kubectl: path("kubectl"), docker: path("docker") }
}

fn engine() -> [(&'static str, OsString); 1] {
    [("DOCKER_HOST", "unix:///docker".into())]
}

fn run(script: &str, limit: Duration, cancel: &Cancel) -> Result<String, Error> {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(folder.path(), script);
    let programs = Programs::new(&tools, &engine(), folder.path());
    let call = Call { program: Program::Kind, arguments: &["say", "it"], input: "in\n", limit };
    programs.run(call, cancel)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_program_sees_its_input_and_nothing_of_the_users() {
    let told =
        run("read line; echo \"$line $1 $2 $DOCKER_HOST ${USER-}\"", LONG, &Cancel::default()).unwrap();
    assert_eq!(told, "in say it unix:///docker \n");
}

#[test]
fn a_failed_program_shows_its_last_words() {
    let error = run("echo out; echo no such node >&2; exit 1", LONG, &Cancel::default()).unwrap_err();
    assert_eq!(error.to_string(), "`kind say it` failed\nno such node\nout");
    let error = run("echo waiting >&2; exec /bin/sleep 60", Duration::from_millis(200), &Cancel::default());
    assert_eq!(error.unwrap_err().to_string(), "`kind say it` did not end within 0 s\nwaiting");
}

#[test]
fn a_stopped_program_goes_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (started, survived) = (folder.path().join("started"), folder.path().join("survived"));
    let script = format!(
        "(/bin/sleep 1; echo x > {}) & echo x > {}; /bin/sleep 60",
        survived.display(),
        started.display()
    );
    let cancel = Cancel::default();
    let since = Instant::now();
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| run(&script, LONG, &cancel));
        while !started.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        cancel.cancel();
        assert!(matches!(ran.join().unwrap(), Err(Error::Cancelled)));
    });
    assert!(since.elapsed() < Duration::from_secs(5));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!survived.exists());
}

/// A `kind` that keeps its clusters in a file, and fails or hangs on request; nothing else works.
fn attempt(create: &str, cancel: &Cancel) -> (Result<Report, Error>, String) {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let script = format!(
        "echo \"${{0##*/}} $1 $2\" >> {0}; case \"$1\" in create) {create};; delete) exit 0;; *) exit 1;; esac",
        calls.display()
    );
    let node = Node {
        reference: "nodeimg/node:1".into(),
        kubernetes: "1.20.2".into(),
        based: false,
        containerd_config: crate::base::GuestPath::new("/etc/containerd/config.toml").unwrap(),
        runtimes: Vec::new(),
    };
    let tools = tools(folder.path(), &script);
    let digest = Digest { hash: crate::base::Sha256::of(b""), size: 0 };
    let trial = Trial {
        node: &node,
        digest: &digest,
        workloads: &[],
        logs: &folder.path().join("logs"),
        after: After::Keep,
    };
    let context = Context { tools: &tools, engine: &engine(), events: &event::Silent, cancel };
    let done = run_trial(&trial, &context);
    (done, fs_err::read_to_string(calls).unwrap())
}

use super::run as run_trial;

#[test]
fn a_cluster_that_fails_is_looked_at_and_deleted_even_if_it_was_to_be_kept() {
    let (done, calls) = attempt("echo no kubelet >&2; exit 1", &Cancel::default());
    let error = done.unwrap_err();
    assert!(error.to_string().ends_with("failed\nno kubelet"), "{error}");
    assert_eq!(calls, "kind create cluster\nkind export logs\nkubectl get events\nkind delete cluster\n");
}

#[test]
fn a_cluster_that_is_given_up_is_deleted() {
    let cancel = Cancel::default();
    let stop = cancel.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            stop.cancel();
        });
        let (done, calls) = attempt("exec /bin/sleep 60", &cancel);
        assert!(matches!(done, Err(Error::Cancelled)));
        assert_eq!(calls, "kind create cluster\nkind delete cluster\n");
    });
}

//! The namespace sandbox, seen from inside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nodeimg::base::{Cancel, GuestPath};
use nodeimg::sandbox::{
    Access, Error, Exit, Finished, Identity, Job, Limit, Limits, Mount, Namespace, Root, Sandbox as _,
};

/// A root with nothing but the host's `/usr`.
struct Fixture {
    folder: tempfile::TempDir,
    job: Job,
}

fn guest(path: &str) -> GuestPath {
    GuestPath::new(path).unwrap()
}

impl Fixture {
    fn new(identity: Identity, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "build", "input", "changes"] {
            fs_err::create_dir(folder.path().join(name)).unwrap();
        }
        fs_err::write(folder.path().join("input/file"), "input").unwrap();
        let root = folder.path().join("root");
        for name in ["bin", "sbin", "lib", "lib64"] {
            fs_err::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        let mount = |source: PathBuf, target: &str, access| Mount { source, target: guest(target), access };
        let job = Job {
            surroundings: nodeimg::sandbox::Surroundings::default(),
            argv: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: guest("/build"),
            root: Root::ReadOnly { dir: root },
            mounts: vec![
                mount("/usr".into(), "/usr", Access::ReadOnly),
                mount(folder.path().join("build"), "/build", Access::Writable),
                mount(folder.path().join("input"), "/in/input", Access::ReadOnly),
            ],
            identity,
            emulator: None,
            limits: Limits { time: Duration::from_secs(60), ..Limits::default() },
            known: BTreeMap::new(),
        };
        Self { folder, job }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn changeable(mut self) -> Self {
        self.job.root = Root::Changeable { lower: self.path("root"), changes: self.path("changes") };
        self
    }

    fn try_run(&self) -> (Result<Finished, Error>, String) {
        let sandbox = Namespace::with_program(Path::new(env!("CARGO_BIN_EXE_nodeimg")).to_owned());
        let mut output = Vec::new();
        let result = sandbox.run(&self.job, &mut |part| output.extend_from_slice(part), &Cancel::default());
        (result, String::from_utf8(output).unwrap())
    }

    fn run(&self) -> String {
        let (result, output) = self.try_run();
        let finished = result.unwrap_or_else(|error| panic!("{error:?}\n{output}"));
        assert_eq!(finished.exit, Exit::Code(0), "{output}");
        output
    }
}

fn builder(script: &str) -> String {
    Fixture::new(Identity::Builder, script).run()
}

#[test]
fn ids_names_and_environment_are_fixed() {
    let output =
        builder("id -u; id -G; uname -n; umask; pwd; env | sort; echo $$; cat /proc/sys/kernel/domainname");
    let lines: Vec<_> = output.lines().filter(|line| !line.starts_with("_=")).collect();
    assert_eq!(
        lines,
        ["1000", "1000", "nodeimg", "0022", "/build", "PATH=/usr/bin:/bin", "PWD=/build", "2", "(none)"]
    );
    let root = Fixture::new(Identity::Administrator, "id -u; id -G").run();
    assert_eq!(root, "0\n0\n");
}

#[test]
fn nothing_of_the_host_is_there() {
    let output = builder("ls /; ls /proc | grep -c '^[0-9]'; ls /sys; ls /proc/self/fd | wc -l");
    // `ls` itself has one descriptor open for the folder that it reads.
    assert_eq!(output, "bin\nbuild\ndev\nin\nlib\nlib64\nproc\nsbin\nsys\ntmp\nusr\n4\n4\n",);
}

#[test]
fn there_is_no_network_but_its_own() {
    let output = builder("cat /proc/net/route | wc -l; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '");
    assert_eq!(output, "1\nlo\n");
}

#[test]
fn inputs_and_root_cannot_be_written() {
    let script = "for f in /in/input/file /in/input/new /usr/new /new /in/new; do
        (echo x > $f) 2>/dev/null && echo wrote $f; done; cat /in/input/file; echo ok > /build/mine; echo ok > /tmp/mine";
    let fixture = Fixture::new(Identity::Builder, script);
    assert_eq!(fixture.run(), "input");
    assert_eq!(fs_err::read_to_string(fixture.path("build/mine")).unwrap(), "ok\n");
    let fixture = Fixture::new(Identity::Administrator, script);
    assert_eq!(fixture.run(), "input");
}

#[test]
fn exit_codes_and_signals_come_back() {
    let (result, _) = Fixture::new(Identity::Builder, "exit 3").try_run();
    assert_eq!(result.unwrap().exit, Exit::Code(3));
    let (result, _) = Fixture::new(Identity::Builder, "kill -9 $$").try_run();
    assert_eq!(result.unwrap().exit, Exit::Signal(9));
    let mut missing = Fixture::new(Identity::Builder, "");
    missing.job.argv[0] = "/no/such/program".to_owned();
    let error = missing.try_run().0.unwrap_err().to_string();
    assert_eq!(error, "the sandbox could not start /no/such/program: No such file or directory (os error 2)");
}

#[test]
fn no_process_outlives_the_step() {
    let started = Instant::now();
    builder("(sleep 1000 &) ; (setsid sleep 1000 >/dev/null 2>&1 &) ; true");
    assert!(started.elapsed() < Duration::from_secs(50));
}

#[test]
fn limits_end_a_step_and_say_which() {
    let limited = |script: &str, limits: Limits| {
        let mut fixture = Fixture::new(Identity::Builder, script);
        fixture.job.limits = Limits { time: Duration::from_secs(30), ..limits };
        match fixture.try_run().0 {
            Err(Error::Limit { limit, .. }) => limit,
            other => panic!("{other:?}"),
        }
    };
    let hang = Fixture::new(Identity::Builder, "sleep 1000");
    let hang = Fixture {
        job: Job { limits: Limits { time: Duration::from_secs(1), ..Limits::default() }, ..hang.job.clone() },
        ..hang
    };
    let error = hang.try_run().0.unwrap_err();
    assert_eq!(error.to_string(), "the step used more than its limit of time: 1 s");
    let fork = "f() { f | f & }; f; sleep 20";
    assert_eq!(limited(fork, Limits { processes: 100, ..Limits::default() }), Limit::Processes);
    let fill = "for i in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero > /build/$i; done; sleep 20";
    assert_eq!(limited(fill, Limits { disk: 16 << 20, ..Limits::default() }), Limit::Disk);
    let eat = "head -c 300000000 /dev/zero | tail -c 299000000 | sleep 20";
    assert_eq!(limited(eat, Limits { memory: 64 << 20, ..Limits::default() }), Limit::Memory);
}

#[test]
fn a_stop_is_at_once() {
    let fixture = Fixture::new(Identity::Builder, "sleep 1000");
    let cancel = Cancel::default();
    let from_elsewhere = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        from_elsewhere.cancel();
    });
    let started = Instant::now();
    let sandbox = Namespace::with_program(Path::new(env!("CARGO_BIN_EXE_nodeimg")).to_owned());
    let result = sandbox.run(&fixture.job, &mut |_| {}, &cancel);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn owners_are_recorded() {
    let script = "
        cd /srv
        echo a > file; mkdir dir; ln -s file link
        chown 42:7 file; chown 5 dir; chgrp -h 9 link
        stat -c '%n %u:%g %a' file dir link
        # As useradd does: a new file gets the old one's owner and takes its place.
        echo b > new; chown --reference=file new; mv new file; stat -c '%u:%g' file
        # A new file of an old name has no past.
        rm file; echo c > file; stat -c '%u:%g' file
        chmod 6755 file; chown 1:1 file; stat -c '%a %u:%g' file
        chown 0:0 file; cp -a dir copy; stat -c '%u:%g' file copy
        python3 -c 'import os; f = os.open(\"dir\", 0); print(os.fstat(f).st_uid); os.fchown(f, 8, 8); print(os.stat(\"dir\").st_gid)' \
          2>/dev/null || printf '5\\n8\\n'
        chown 1:1 missing 2>&1 | grep -o 'No such file or directory'
        sync
    ";
    let mut fixture = Fixture::new(Identity::Administrator, script).changeable();
    fs_err::create_dir(fixture.path("root/srv")).unwrap();
    fixture.job.cwd = guest("/");
    let output = fixture.run();
    assert_eq!(
        output,
        "file 42:7 644\ndir 5:0 755\nlink 0:0 777\n42:7\n0:0\n755 1:1\n0:0\n5:0\n5\n8\nNo such file or directory\n"
    );
    assert!(fixture.path("changes/upper/srv/file").exists());
    assert!(!fixture.path("root/srv/file").exists(), "the lower folder is as it was");
}

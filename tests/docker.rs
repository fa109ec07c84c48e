//! The Docker sandbox gives what the namespace sandbox gives: byte for byte, word for word.
//!
//! What is below `inside` runs beside an engine of the project's own, which the first test starts: it runs this same
//! binary again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::everywhere::{PROGRAM, command, good, project};

#[test]
fn containers_give_what_namespaces_give() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a Docker engine wants root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut build = command(PROGRAM);
    build.args(["build", "--lock", "--out"]).arg(&out).args(["docker-engine", "docker-cli"]);
    good(&mut build);
    // There is no network inside: what the recipes need is in the store before, and what they give.
    let recipes = tempfile::tempdir().unwrap();
    crate::everywhere::clone(recipes.path());
    let mut build =
        crate::everywhere::nodeimg(PROGRAM.as_ref(), recipes.path(), &crate::everywhere::test_store());
    crate::everywhere::built(build.args(crate::everywhere::TARGETS));
    // Stands for a way to another machine, which leads to this engine.
    let ssh = "#!/bin/sh\necho \"$*\" >> \"$SSH_LOG\"\ncase \"$*\" in *closed*) echo 'me@closed: Permission denied (publickey).' >&2\n\
               exit 255;; esac\nexec docker system dial-stdio\n";
    fs_err::write(folder.path().join("ssh"), ssh).unwrap();
    fs_err::set_permissions(folder.path().join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    #[expect(clippy::disallowed_methods, reason = "tests may add to PATH")]
    let path = std::env::var("PATH").unwrap();
    let mut inside = command(project().join("tests/with-docker"));
    inside.arg(&out).arg(std::env::current_exe().unwrap());
    inside.args(["docker::inside", "--ignored", "--test-threads=1"]);
    inside
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("SSH_LOG", folder.path().join("ssh.log"));
    let told = good(&mut inside);
    assert!(told.contains("5 passed; 0 failed"), "{told}");
    let asked = fs_err::read_to_string(folder.path().join("ssh.log")).unwrap();
    assert_eq!(asked.lines().next(), Some("-o BatchMode=yes -T -p 2222 -- me@far docker system dial-stdio"));
}

/// What of the contract a Podman is tried with, and an image that it is given twice.
const PODMAN: &str = r#"
"$BINARY" docker::inside::probes docker::inside::limits --ignored --test-threads=1
for time in first again; do
  "$PROGRAM" build --lock --json --out "$FOLDER/out" --output docker busybox > "$FOLDER/$time.json"
done
"#;

#[test]
fn podman_is_as_good_as_docker() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a Podman that others can't see wants root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut build = command(PROGRAM);
    good(build.args(["build", "--lock", "busybox", "--out"]).arg(folder.path().join("out")));
    let mut inside = command(project().join("tests/with-podman"));
    inside.args(["sh", "-euc", PODMAN]).env("FOLDER", folder.path());
    inside.env("BINARY", std::env::current_exe().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it only asks what is there")]
    let podman = std::process::Command::new("podman").arg("--version").output();
    if podman.is_err() {
        eprintln!("left out: no `podman` on this machine");
        return;
    }
    let told = good(&mut inside);
    assert!(told.contains("2 passed; 0 failed"), "{told}");
    let unchanged = |time: &str| {
        let text = fs_err::read_to_string(folder.path().join(format!("{time}.json"))).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["targets"][0]["delivered"][0]["unchanged"].clone()
    };
    assert_eq!((unchanged("first"), unchanged("again")), (false.into(), true.into()));
}

#[test]
fn without_an_engine_nothing_is_built_another_way() {
    let place = crate::cli::Place::new(&[
        (
            "recipes/packages/a.toml",
            "name = \"a\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"bookworm\"\nscript = \"true\"\n",
        ),
        (
            "recipes/suites/bookworm.toml",
            "name = \"bookworm\"\nsnapshot = \"20261120T000000Z\"\ncomponents = [\"main\"]\nkeys = []\npockets = []\n",
        ),
    ]);
    let built = |kind: &str| {
        let mut build = place.command(&["build", "--sandbox", kind, "a"]);
        let output = build.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stderr) = built("docker");
    assert_eq!(code, Some(4), "{stderr}");
    let expected =
        "error: no Docker answers at `unix:///nowhere/docker.sock`\n  not there\nhint: start Docker";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert!(!place.path("store").exists() && !place.path("project/out").exists());
    let (code, stderr) = built("chroot");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("[possible values: namespace, docker]"), "{stderr}");
}

mod inside {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use nodeimg::base::{Cancel, Digest, GuestPath, Sha256};
    use nodeimg::engine::{Engine, Settings};
    use nodeimg::sandbox::{
        Access, Docker, Error, Exit, Identity, Job, Limit, Limits, Mount, Namespace, Root, Sandbox,
    };

    use super::*;
    use crate::everywhere;

    fn guest(path: &str) -> GuestPath {
        GuestPath::new(path).unwrap()
    }

    fn docker() -> Docker {
        let engine = Engine::connect(&Settings::at("unix:///run/docker.sock")).unwrap();
        Docker::with_program(engine, PROGRAM.into()).unwrap()
    }

    fn namespace() -> Namespace {
        Namespace::with_program(PROGRAM.into())
    }

    /// What Docker knows of containers that run or did.
    fn containers() -> String {
        good(command("docker").args(["ps", "--all", "--quiet"]))
    }

    const APPLETS: &str = "sh awk cat chgrp chmod chown cut dd echo env false find grep head id kill ln ls mkdir mkfifo \
        mknod mount mv rm rmdir seq setuidgid sleep sort stat su sync tail test touch tr true umount uname unshare wc";

    /// A root with nothing but BusyBox, and the folders of a step.
    struct Fixture {
        folder: tempfile::TempDir,
        job: Job,
    }

    impl Fixture {
        fn new(identity: Identity, script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["root/bin", "root/etc", "root/srv/dir/below", "build", "out", "input", "changes"] {
                fs_err::create_dir_all(folder.path().join(name)).unwrap();
            }
            let root = folder.path().join("root");
            let busybox =
                ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists()).unwrap();
            fs_err::copy(busybox, root.join("bin/busybox")).unwrap();
            for applet in APPLETS.split_whitespace() {
                fs_err::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
            let users = "root:x:0:0::/root:/bin/sh\nuser:x:42:7::/srv:/bin/sh\n";
            fs_err::write(root.join("etc/passwd"), users).unwrap();
            fs_err::write(root.join("etc/group"), "root:x:0:\nusers:x:7:\n").unwrap();
            fs_err::write(root.join("srv/old"), "old").unwrap();
            fs_err::write(root.join("srv/dir/below/file"), "file").unwrap();
            fs_err::write(folder.path().join("input/file"), "input").unwrap();
            fs_err::write(folder.path().join("build/source"), "source").unwrap();
            let at = |name: &str| folder.path().join(name);
            let mount =
                |name: &str, target, access| Mount { source: at(name), target: guest(target), access };
            let mut mounts = vec![mount("input", "/in/input", Access::ReadOnly)];
            let root = match identity {
                Identity::Builder => {
                    mounts.push(mount("build", "/build", Access::Scratch));
                    mounts.push(mount("out", "/out", Access::Writable));
                    Root::ReadOnly { dir: root }
                }
                Identity::Administrator => Root::Changeable { lower: root, changes: at("changes") },
            };
            let cwd = if identity == Identity::Builder { "/build" } else { "/srv" };
            let job = Job {
                surroundings: nodeimg::sandbox::Surroundings::default(),
                argv: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: [("PATH", "/bin"), ("EMPTY", ""), ("TEXT", "two words\nand a line")]
                    .map(|(name, text)| (name.to_owned(), text.to_owned()))
                    .into(),
                cwd: guest(cwd),
                root,
                mounts,
                identity,
                emulator: None,
                limits: Limits { time: Duration::from_secs(120), ..Limits::default() },
                known: BTreeMap::new(),
            };
            Self { folder, job }
        }

        /// Runs the job and writes down all that can be seen of it from outside.
        fn account(&self, sandbox: &dyn Sandbox) -> String {
            let mut output = Vec::new();
            let mut take = |part: &[u8]| output.extend_from_slice(part);
            let result = sandbox.run(&self.job, &mut take, &Cancel::default());
            let how = match &result {
                Ok(finished) => finished.exit.to_string(),
                // How far over it was differs between two runs.
                Err(Error::Limit { limit, .. }) => format!("limit {limit}"),
                Err(error) => error.to_string().replace("the container could", "the sandbox could"),
            };
            let mut account = format!("{how}\n{}\n", String::from_utf8_lossy(&output));
            if result.is_ok() {
                for name in ["out", "changes/upper", "input", "root"] {
                    describe(&self.folder.path().join(name), &mut account);
                }
            }
            account
        }
    }

    /// Writes down a folder: names, kinds, modes, attributes, contents, times that a step set, which files are one.
    fn describe(top: &Path, account: &mut String) {
        let mut open = vec![top.to_owned()];
        let mut seen: BTreeMap<u64, PathBuf> = BTreeMap::new();
        while let Some(path) = open.pop() {
            let Ok(metadata) = fs_err::symlink_metadata(&path) else { continue };
            let below = path.strip_prefix(top).unwrap();
            let (mode, device) = (metadata.mode(), metadata.rdev());
            let name = top.file_name().unwrap().to_string_lossy();
            write!(account, "{name}/{} {mode:o} {device}", below.display()).unwrap();
            if (1..1_000_000_000).contains(&metadata.mtime()) {
                write!(account, " at {}.{}", metadata.mtime(), metadata.mtime_nsec()).unwrap();
            }
            if metadata.is_symlink() {
                write!(account, " to {}", fs_err::read_link(&path).unwrap().display()).unwrap();
            } else if metadata.is_dir() {
                let mut names: Vec<_> = fs_err::read_dir(&path).unwrap().flatten().collect();
                names.sort_by_key(|entry| entry.file_name());
                open.extend(names.iter().rev().map(|entry| entry.path()));
            } else if metadata.is_file() {
                let first = seen.entry(metadata.ino()).or_insert_with(|| below.to_owned());
                write!(account, " {} as {}", Sha256::of(&fs_err::read(&path).unwrap()), first.display())
                    .unwrap();
            }
            for name in ["user.nodeimg.owner", "user.overlay.opaque", "user.overlay.whiteout"] {
                let mut value = [0; 64];
                if let Ok(length) = rustix::fs::lgetxattr(&path, name, &mut value) {
                    write!(account, " {name}={}", String::from_utf8_lossy(&value[..length])).unwrap();
                }
            }
            account.push('\n');
        }
    }

    fn same(identity: Identity, script: &str) -> String {
        same_but(identity, script, |_| ())
    }

    fn same_but(identity: Identity, script: &str, change: impl Fn(&mut Job)) -> String {
        let account = |sandbox: &dyn Sandbox| {
            let mut fixture = Fixture::new(identity, script);
            change(&mut fixture.job);
            fixture.account(sandbox)
        };
        let (here, there) = (account(&namespace()), account(&docker()));
        if here != there {
            let differs = |(here, there): &(&str, &str)| here != there;
            let first = here.lines().zip(there.lines()).find(differs);
            panic!("{script}\nfirst difference: {first:?}\n--- namespace\n{here}\n--- docker\n{there}");
        }
        there
    }

    use Identity::{Administrator, Builder};

    #[test]
    #[ignore = "runs inside the engine of `containers_give_what_namespaces_give`"]
    fn probes_see_and_leave_the_same() {
        let surroundings = "
            id -u; id -g; uname -a; umask; pwd; env | sort; echo $$; cat /proc/sys/kernel/domainname
            ls -a / /dev /dev/shm /dev/pts /sys /tmp /in /proc/self/fd
            stat -c '%n %F %a %u:%g' / /* /dev/* /in/* /etc/* /proc/self/exe
            while read device at kind options rest; do echo $at ${options%%,*}; done < /proc/mounts | sort
            grep -E '^(Cap|NoNewPrivs|Seccomp:|NSpid)' /proc/self/status
            ulimit -c; ulimit -f
            wc -l < /proc/net/route; tail -n +3 /proc/net/dev | cut -d: -f1
            cat /proc/self/uid_map | tr -s ' ' | cut -d' ' -f2,4; cat /proc/self/setgroups
            cat /proc/self/cgroup | cut -d: -f3 | sort -u
            for f in null zero full random urandom tty ptmx; do test -c /dev/$f && echo $f; done
        ";
        let told = same(Builder, surroundings);
        assert!(told.contains("nodeimg"), "{told}");
        same(Administrator, surroundings);

        let told = same(
            Builder,
            "for f in /in/input/file /in/input/new /bin/new /new /etc/passwd; do
               (echo x > $f) 2>&1 || true; done; rm -f /in/input/file 2>&1 || true; cat /in/input/file",
        );
        assert!(told.contains("Read-only file system"), "{told}");
        let told = same(
            Builder,
            "for c in 'mknod /out/n c 1 3' 'mount -t tmpfs x /out' 'umount /tmp' 'unshare -U true' 'unshare -n true' \
               'chown 0:0 source' 'setuidgid user true' 'su user -c true' 'kill -9 1'; do
               $c 2>&1 && echo done $c || echo no $c; done; kill -0 1 2>/dev/null || echo alone",
        );
        assert!(told.contains("no mount"), "{told}");
        same(
            Administrator,
            "for c in 'mknod n c 1 3' 'mknod n b 8 0' 'mount -t tmpfs x /srv' 'umount /proc' 'unshare -m true' \
               'setuidgid user id -u' 'su user -c id' 'kill -9 1'; do
               $c 2>&1 && echo done $c || echo no $c; done; su user -c 'echo mine > as-user; stat -c %u:%g as-user'",
        );
        same(
            Administrator,
            "echo a > file; mkdir made; ln -s file link
             chown 42:7 file; chown 5 made; chgrp -h 9 link; stat -c '%n %u:%g %a' file made link
             echo b > new; chown 4294967294:65535 new; mv new file; stat -c '%u:%g' file
             rm file; echo c > file; stat -c '%u:%g' file; chmod 6755 file; chown 1:1 file; stat -c '%a %u:%g' file
             mkdir shared; chown 0:7 shared; chmod 2775 shared; echo x > shared/x; mkdir shared/y
             stat -c '%a %u:%g' shared/*; chown 1:1 missing 2>&1 || true
             rm old; rm -r dir; mkdir dir; echo anew > dir/file; mv /etc/passwd /etc/moved; rmdir /in 2>&1 || true
             chmod 000 made; chmod 4711 /bin/busybox; touch -d @1234 file; mkfifo pipe; sync; ls -l /proc/1/exe 2>&1 | wc -l",
        );
        let told = same(
            Builder,
            "cd /out; mkdir -p a/b/c closed; echo 1 > a/one; ln a/one a/b/two; ln a/one three; ln -s nowhere dangling
             ln -s / root; touch 'with space' '-option' '*'; touch -d @77 a/b/c a/one; chmod 000 three; chmod 2755 closed
             echo hidden > closed/x; chmod 000 closed; dd if=/dev/zero of=big bs=1M count=40 2>/dev/null
             dd if=/dev/zero of=sparse bs=1 count=1 seek=9000000 2>/dev/null; mkfifo p; cat /build/source; echo y > /build/y",
        );
        assert!(told.contains("three"), "{told}");
        same(
            Builder,
            "seq 1 30000; seq 1 30000 >&2; head -c 100000 /dev/zero | tr '\\0' '\\377'; printf 'no end'",
        );
        assert!(same(Builder, "echo left > /out/left; exit 3").starts_with("exit status 3\n"));
        assert!(same(Builder, "kill -9 $$").starts_with("signal 9\n"));
        assert!(same(Builder, "kill -TERM $$; sleep 5").starts_with("signal 15\n"));
        same_but(Builder, "", |job| job.argv[0] = "/no/such".to_owned());
        same_but(Builder, "", |job| job.cwd = guest("/no/such"));
        let started = Instant::now();
        same(Builder, "(sleep 1000 &); (sleep 1000 >/dev/null 2>&1 </dev/null &); true");
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!(containers(), "");
    }

    #[test]
    #[ignore = "runs inside the engine of `containers_give_what_namespaces_give`"]
    fn limits_end_a_step_and_are_named_the_same() {
        let limited = |limit: Limit, script: &str, limits: Limits| {
            let told = same_but(Builder, script, |job| job.limits = limits);
            assert!(told.starts_with(&format!("limit {limit}\n")), "{told}");
        };
        let limits = || Limits { time: Duration::from_secs(60), ..Limits::default() };
        limited(Limit::Time, "sleep 1000", Limits { time: Duration::from_secs(1), ..limits() });
        limited(
            Limit::Processes,
            "for i in $(seq 300); do sleep 30 & done; sleep 30",
            Limits { processes: 100, ..limits() },
        );
        limited(
            Limit::Disk,
            "for i in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero > /out/$i; done; sleep 30",
            Limits { disk: 16 << 20, ..limits() },
        );
        let eat = "x=0123456789abcdef; while :; do x=$x$x; done";
        limited(Limit::Memory, eat, Limits { memory: 64 << 20, ..limits() });
    }

    #[test]
    #[ignore = "runs inside the engine of `containers_give_what_namespaces_give`"]
    fn a_container_is_closed_and_gone_when_it_is_stopped() {
        let fixture = Fixture::new(Builder, "echo running; sleep 1000");
        let sandbox = docker();
        let cancel = Cancel::default();
        let mut seen = String::new();
        let started = Instant::now();
        let mut take = |_: &[u8]| {
            if seen.is_empty() {
                let id = containers();
                let inspect = [
                    "{{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}",
                    "{{.HostConfig.CapAdd}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.AutoRemove}}",
                    "{{.HostConfig.LogConfig.Type}} {{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}",
                ];
                let mut docker = command("docker");
                docker.args(["inspect", "--format", &inspect.join(" "), id.trim()]);
                seen = good(&mut docker);
                cancel.cancel();
            }
        };
        let result = sandbox.run(&fixture.job, &mut take, &cancel);
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(30));
        let mut words: Vec<&str> = seen.split_whitespace().collect();
        words[8..].sort_unstable();
        let expected =
            "none true [ALL] [SYS_ADMIN SETFCAP] 8256 9663676416 true none volume:/inputs volume:/work";
        assert_eq!(words.join(" "), expected);
        assert_eq!(containers(), "");

        // What is known by its digest is sent once.
        let digest = Digest { hash: Sha256::of(b"input"), size: 5 };
        for content in ["first", "second"] {
            let mut fixture = Fixture::new(Builder, "cat /in/input/file");
            fs_err::write(fixture.folder.path().join("input/file"), content).unwrap();
            fixture.job.known.insert(fixture.folder.path().join("input"), digest);
            let mut output = Vec::new();
            let mut take = |part: &[u8]| output.extend_from_slice(part);
            let finished = sandbox.run(&fixture.job, &mut take, &Cancel::default()).unwrap();
            assert_eq!((finished.exit, &*output), (Exit::Code(0), &b"first"[..]));
        }
    }

    #[test]
    #[ignore = "runs inside the engine of `containers_give_what_namespaces_give`"]
    fn an_engine_behind_ssh_is_as_good() {
        let engine = Engine::connect(&Settings::at("ssh://me@far:2222")).unwrap();
        assert_eq!(engine.host(), "ssh://me@far:2222");
        let far = Docker::with_program(engine, PROGRAM.into()).unwrap();
        let account =
            |sandbox: &dyn Sandbox| Fixture::new(Builder, "cat source; seq 9999 > /out/x").account(sandbox);
        assert_eq!(account(&far), account(&namespace()));
        let error = Engine::connect(&Settings::at("ssh://me@closed")).unwrap_err();
        let refused = "no Docker answers at `ssh://me@closed`\n  me@closed: Permission denied (publickey).";
        assert_eq!(error.to_string(), refused);
    }

    /// Starts a build and stops it, by asking and by force, then lets it go on to its end.
    const SCRIPT: &str = r#"
building() { exec "$PROGRAM" build --sandbox docker --lock --offline --json --out "$1/out" $TARGETS; }
for signal in INT KILL; do
  building "$1" > /dev/null 2>&1 & build=$!
  until docker ps --quiet | grep -q .; do kill -0 "$build"; sleep 0.1; done
  kill -"$signal" "$build"
  wait "$build" || echo "$?"
  for i in $(seq 100); do docker ps --all --quiet | grep -q . || break; sleep 0.1; done
  docker ps --all --quiet
done
(building "$1") > "$1/report.json"
docker ps --all --quiet
"#;

    #[test]
    #[ignore = "runs inside the engine of `containers_give_what_namespaces_give`"]
    fn recipes_give_the_same_artifacts() {
        let folder = tempfile::tempdir().unwrap();
        everywhere::clone(folder.path());
        let targets = everywhere::TARGETS;
        let mut build = everywhere::nodeimg(PROGRAM.as_ref(), folder.path(), &everywhere::test_store());
        let here = everywhere::built(build.arg("--offline").args(targets));
        // What was fetched, and nothing that was made of it. On the same file system, so that links do.
        let store = tempfile::Builder::new().prefix("docker-").tempdir_in(project().join("target")).unwrap();
        link(&everywhere::test_store().join("blobs"), &store.path().join("blobs"));
        fs_err::copy(everywhere::test_store().join("VERSION"), store.path().join("VERSION")).unwrap();
        let mut stopped = command("sh");
        stopped.args(["-euc", SCRIPT, "sh"]).arg(folder.path()).current_dir(folder.path());
        stopped.env("NODEIMG_STORE", store.path()).env("PROGRAM", PROGRAM).env("TARGETS", targets.join(" "));
        // Stopped, killed, and no container left after any of the three.
        assert_eq!(good(&mut stopped), "130\n137\n");
        let report = fs_err::read(folder.path().join("report.json")).unwrap();
        assert_eq!(everywhere::targets(&report), here);
    }

    fn link(from: &Path, to: &Path) {
        fs_err::create_dir_all(to).unwrap();
        for entry in fs_err::read_dir(from).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            match path.is_dir() {
                true => link(&path, &to.join(name)),
                false => fs_err::hard_link(&path, to.join(name)).unwrap(),
            }
        }
    }
}

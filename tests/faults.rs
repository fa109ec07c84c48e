//! What a person reads when something is wrong, through the whole program: exit code, nothing on stdout, the text.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use crate::world::{Deb, Told, World, as_stranger, open_to_all, tar_gz};

const HELLO: &str = "project/recipes/packages/hello.toml";
const PATCH: &str = "project/patches/hello/0001-greet-the-world.patch";
const ARCHIVE: &str = "upstream/hello-1.tar.gz";
const BUILD: [&str; 3] = ["build", "--lock", "-q"];

/// What a strict and quiet build says of a world that was changed after it was locked.
fn refused(change: impl FnOnce(&World)) -> Told {
    let world = World::locked();
    change(&world);
    world.run(&BUILD)
}

/// The same of one that was changed before.
fn refused_when_locked(change: impl FnOnce(&World)) -> Told {
    let world = World::new();
    change(&world);
    let told = world.run(&["lock", "-q"]);
    if told.code == 0 { world.run(&BUILD) } else { told }
}

/// Serves the world's upstream over HTTP. A file `NAME.length` says what length to claim for `NAME`.
fn serve(world: &World) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, folder) = (listener.local_addr().unwrap().port(), world.path("upstream"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = folder.join(first.split(' ').nth(1).unwrap().trim_start_matches('/'));
            let answer = match fs_err::read(&path) {
                Ok(content) => {
                    let claimed = fs_err::read_to_string(path.with_added_extension("length"));
                    let length = claimed.unwrap_or_else(|_| content.len().to_string());
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    [head.into_bytes(), content].concat()
                }
                Err(_) => {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
                }
            };
            drop(stream.write_all(&answer));
        }
    });
    port
}

/// Locks, then changes what upstream has; gives what a fetch into an empty store says.
fn download(change: impl FnOnce(&World, Vec<u8>)) -> Told {
    let world = World::new();
    let port = serve(&world);
    // The first place has the file only while it is locked.
    world.edit(
        "config/nodeimg/config.toml",
        "[mirrors]",
        &format!("[mirrors]\n\"https://mirrored.example/\" = [\"http://127.0.0.1:{port}/mirror/\"]"),
    );
    world.edit(HELLO, "https://upstream.example", &format!("http://127.0.0.1:{port}"));
    assert_eq!(world.run(&["lock", "-q"]), Told::failure(0, ""));
    fs_err::remove_dir_all(world.path("store")).unwrap();
    change(&world, fs_err::read(world.path(ARCHIVE)).unwrap());
    let told = world.run(&["fetch", "-q", "hello"]);
    Told { stderr: told.stderr.replace(&port.to_string(), "PORT"), ..told }
}

#[test]
fn downloads_that_are_not_what_was_pinned() {
    let other_hash = "warning: content of `http://127.0.0.1:PORT/hello-1.tar.gz` does not match its pin
error: content of `http://127.0.0.1:PORT/hello-1.tar.gz` does not match its pin
  expected: b0784f84f5b9d55681b829c854eb428b7b1bf5b6fb52d20a2118d5184d5431db
  received: eaee9d6dcd3785c864bbb6752c0be1e741d75464b770dc7f392ab6f995318637
hint: if upstream really changed, run `nodeimg lock`; otherwise do not trust
  this download
";
    let told = download(|world, mut archive| {
        archive[20] ^= 1;
        world.write(ARCHIVE, archive);
    });
    assert_eq!(told, Told::failure(1, other_hash));
    let too_long = "warning: `http://127.0.0.1:PORT/hello-1.tar.gz` has another size than its pin
error: `http://127.0.0.1:PORT/hello-1.tar.gz` has another size than its pin
  expected: 175 bytes
  received: 176 bytes
hint: if upstream really changed, run `nodeimg lock`; otherwise do not trust
  this download
";
    let told = download(|world, archive| world.write(ARCHIVE, [archive.as_slice(), b"x"].concat()));
    assert_eq!(told, Told::failure(1, too_long));
    let cut_off = "error: no place has `http://127.0.0.1:PORT/hello-1.tar.gz`
  http://127.0.0.1:PORT/hello-1.tar.gz: end of file before message length
    reached
hint: check the network, or name a place that has the same bytes under
  `[mirrors]` in nodeimg's config.toml
";
    let told = download(|world, archive| {
        world.write(&format!("{ARCHIVE}.length"), archive.len().to_string());
        world.write(ARCHIVE, &archive[..100]);
    });
    assert_eq!(told, Told::failure(4, cut_off));
}

#[test]
fn a_file_that_no_mirror_has() {
    let told = download(|world, _| {
        fs_err::remove_file(world.path(ARCHIVE)).unwrap();
        let recipe = world.read(HELLO);
        let base = recipe.split("url = \"").nth(1).unwrap().split("/hello").next().unwrap();
        let nearer = format!("[mirrors]\n\"{base}/\" = [\"file://{}/\"]", world.path("upstream").display());
        world.edit("config/nodeimg/config.toml", "[mirrors]", &nearer);
    });
    let expected = "error: no place has `http://127.0.0.1:PORT/hello-1.tar.gz`
  file://WORLD/upstream/hello-1.tar.gz: No such file or
    directory (os error 2)
  http://127.0.0.1:PORT/hello-1.tar.gz: 404 Not Found
hint: check the network, or name a place that has the same bytes under
  `[mirrors]` in nodeimg's config.toml
";
    assert_eq!(told, Told::failure(4, expected));
}

#[test]
fn patches_that_are_missing_or_do_not_apply() {
    let missing = "error: no file `patches/hello/0001-greet-the-world.patch`
  --> recipes/packages/hello.toml:9:12
    |
  9 | patches = [\"0001-greet-the-world.patch\"]
    |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no such file
";
    let told = refused(|world| fs_err::remove_file(world.path(PATCH)).unwrap());
    assert_eq!(told, Told::failure(1, missing));
    let other_line = "error: patch `0001-greet-the-world.patch` does not apply: `hello`, hunk 1, line
  2
  expected: `echo hullo`
  found:    `echo hello`
hint: make the patch anew against this version of the source, or remove it if
  upstream has it
";
    assert_eq!(
        refused(|world| world.edit(PATCH, "-echo hello", "-echo hullo")),
        Told::failure(1, other_line)
    );
    let no_file = "error: patch `0001-greet-the-world.patch` does not apply: `hullo` does not exist
hint: paths are taken without their first component (`-p1`); compare them with
  the source
";
    assert_eq!(refused(|world| world.edit(PATCH, "/hello", "/hullo")), Told::failure(1, no_file));
}

#[test]
fn archives_that_reach_out() {
    let told =
        |entries: &[(&str, &str, u32)]| refused_when_locked(|world| world.write(ARCHIVE, tar_gz(entries)));
    let up = "error: `hello-1.tar.gz` has the entry `hello-1/../../../etc/passwd`, which goes
  up with `..`
hint: such an archive is not unpacked; use another release, or set
  `unpack = false`
";
    assert_eq!(told(&[("hello-1/../../../etc/passwd", "x", 0o644)]), Told::failure(1, up));
    let absolute = "error: `hello-1.tar.gz` has the entry `/etc/passwd`, which has an absolute name
hint: such an archive is not unpacked; use another release, or set
  `unpack = false`
";
    assert_eq!(told(&[("/etc/passwd", "x", 0o644)]), Told::failure(1, absolute));
    let through = "error: `hello-1.tar.gz` has the entry `hello-1/l/passwd`, which is below a file
  or a link
hint: such an archive is not unpacked; use another release, or set
  `unpack = false`
";
    let entries = [("hello-1/l", "-> /etc", 0o777), ("hello-1/l/passwd", "x", 0o644)];
    assert_eq!(told(&entries), Told::failure(1, through));
}

#[test]
fn a_failed_step_is_explained_logged_and_can_be_entered() {
    let world = World::locked();
    world.edit(HELLO, "cp hello", "printf 'a\\\\tb\\\\033[31m\\\\n'; cp hullo");
    let expected = "error: step `hello` failed: exit status 1
  building hello 1
  a b[31m
  cp: can't stat 'hullo': No such file or directory
hint: see all it printed with `nodeimg log hello`, look around in its sandbox
  with `nodeimg shell hello`
";
    assert_eq!(world.run(&BUILD), Told::failure(3, expected));
    let log = "building hello 1\na\tb\x1b[31m\ncp: can't stat 'hullo': No such file or directory\n";
    assert_eq!(world.run(&["log", "hello"]), Told { stdout: log.to_owned(), ..Told::failure(0, "") });

    let mut shell = world.command(&["shell", "hello"]);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let commands = "id -u; pwd; ls; ls /out; echo $VERSION; grep -c . /step.sh; exit 5\n";
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let told = world.told(&child.wait_with_output().unwrap());
    let stdout = "1000\n/build/hello\nREADME\nhello\n1\n3\n";
    let stderr = "the step's script is `/step.sh`; run it with `sh -eu /step.sh`\n";
    assert_eq!(told, Told { code: 5, stdout: stdout.to_owned(), stderr: stderr.to_owned() });
}

#[test]
fn a_shell_at_a_terminal_asks_for_commands() {
    let world = World::locked();
    let shell = format!("{} shell -q hello", env!("CARGO_BIN_EXE_nodeimg"));
    let mut terminal = world.with_program(&["script", "-qec", &shell, "/dev/null"], &[]);
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = terminal.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"test -t 0 && echo inter''active; exit 5\n").unwrap();
    let told = world.told(&child.wait_with_output().unwrap());
    assert_eq!(told.code, 5, "{}", told.stdout);
    assert!(
        told.stdout.contains("/build/hello $ ") && told.stdout.contains("interactive"),
        "{}",
        told.stdout
    );
}

#[test]
fn steps_that_do_not_end_well() {
    let test = "error: step `hello:test` failed: exit status 1
hint: see all it printed with `nodeimg log hello:test`, look around in its
  sandbox with `nodeimg shell hello:test`
";
    assert_eq!(refused(|world| world.edit(HELLO, "'hello, world'", "bye")), Told::failure(3, test));
    let limit = "error: step `hello` did not end by itself
  building hello 1
  the step used more than its limit of time: 1 s
hint: if it rightly needs more, raise `time` under `[build] limits` in its
  recipe
";
    let told = refused(|world| {
        world.edit(HELLO, "[test]", "limits = { time = \"1s\" }\n[test]");
        world.edit(HELLO, "cp hello", "sleep 100; cp hello");
    });
    assert_eq!(told, Told::failure(3, limit));
    let postinst = "error: step `hello:root` failed: exit status 3
  setting up
hint: see all it printed with `nodeimg log hello:root`, look around in its
  sandbox with `nodeimg shell hello:root`
";
    let told = refused_when_locked(|world| {
        world.publish(&[Deb::base(), Deb::new("tools", "").postinst("echo setting up; exit 3")]);
    });
    assert_eq!(told, Told::failure(3, postinst));
}

#[test]
fn several_failures_are_told_only_when_going_on() {
    let world = World::locked();
    world.edit(HELLO, "cp hello", "exit 1; cp hello");
    world.edit("project/recipes/packages/containerd.toml", "mkdir", "exit 2; mkdir");
    let targets = ["hello", "containerd"];
    let told = world.run(&[&BUILD[..], &["--keep-going"], &targets].concat());
    assert_eq!(told.code, 3);
    for part in
        ["`hello` failed: exit status 1\n", "`containerd` failed: exit status 2\n", "error: 2 steps failed\n"]
    {
        assert!(told.stderr.contains(part), "{}", told.stderr);
    }
    let told = world.run(&[&BUILD[..], &targets].concat());
    assert_eq!((told.code, told.stderr.matches("error: ").count()), (3, 1), "{}", told.stderr);
}

#[test]
fn packages_that_do_not_go_together() {
    let layer = "error: `hello` and `greeting` don't go into one layer: `/usr` is a directory and
  a file
  layer: plain:layer:programs
hint: leave the path out of one package, or put the packages into two layers
";
    let told = refused(|world| {
        world.edit("project/recipes/packages/greeting.toml", "$OUT/greeting", "$OUT/usr");
        world.edit("project/recipes/images/plain.toml", "[\"hello\"]", "[\"hello\", \"greeting\"]");
    });
    assert_eq!(told, Told::failure(1, layer));
    let link = "error: layer `texts` has a directory at `/bin`, where a layer below has a
  symbolic link
hint: a layer can't turn one into the other: put its files where the lower
  layers expect them, such as below `/usr/lib` and not `/lib`
";
    let told = refused_when_locked(|world| {
        let greeting = "project/recipes/packages/greeting.toml";
        world.edit(greeting, "> \"$OUT/greeting\"", "> /tmp/x; mkdir \"$OUT/bin\"; cp /tmp/x \"$OUT/bin\"");
        let image = "project/recipes/images/plain.toml";
        world.edit(image, "default = true", "default = true\n[system]\nsuite = \"stable\"");
    });
    assert_eq!(told, Told::failure(1, link));
    let debs = "error: packages `base-files` and `tools` both have `/usr/bin/ls`
hint: they can't be installed together: leave one of them out
";
    let told = refused_when_locked(|world| {
        world.publish(&[Deb::base(), Deb::new("tools", "").with("usr/bin/ls", "x", 0o755)]);
    });
    assert_eq!(told, Told::failure(1, debs));
}

#[test]
fn archives_that_can_not_be_locked() {
    let unsatisfiable = "error: can't resolve the build root of recipe `packages/hello` on amd64
  the wanted packages don't go together on amd64
  `tools 1` needs `more-tools (>= 2)`, which the suite does not have
hint: leave one out, ask for another version as `name=version`, or draw from
  another suite or moment
";
    let told = refused_when_locked(|world| {
        world.publish(&[Deb::base(), Deb::new("tools", "Depends: more-tools (>= 2)\n")]);
    });
    assert_eq!(told, Told::failure(1, unsatisfiable));
    let told = refused_when_locked(|world| {
        world.edit("debian/dists/stable/InRelease", "Suite: stable", "Suite: Stable");
    });
    let signature = "error: can't resolve suite `suites/stable`
  the signature of
    `file://WORLD/debian/dists/stable/InRelease` is bad
";
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.starts_with(signature), "{}", told.stderr);
    let newer = "error: can't resolve suite `suites/stable`
  the releases that can be had are newer than the suite's moment
  moment: 20980101T000000Z
";
    let told = refused_when_locked(|world| {
        world.edit("project/recipes/suites/stable.toml", "2099", "2098");
    });
    assert_eq!((told.code, told.stdout.as_str()), (1, ""));
    assert!(told.stderr.starts_with(newer), "{}", told.stderr);
}

/// What a build says in other namespaces: `prepare` is a shell command for their administrator; the store is `$STORE`.
fn elsewhere(world: &World, prepare: &str, arguments: &[&str]) -> Told {
    let script = format!("{prepare} && exec \"$@\"");
    let mut command = world.wrapped(&["unshare", "-Urm", "sh", "-c", &script, "sh"], arguments);
    world.told(&command.env("STORE", world.path("store")).output().unwrap())
}

#[test]
fn hosts_that_forbid_user_namespaces() {
    let expected = "error: step `hello:root` did not end by itself
  this host does not let nodeimg make a user namespace: it has as many as it may
    have
hint: run `sudo sysctl -w user.max_user_namespaces=15000`
";
    let told = elsewhere(
        &World::locked(),
        "echo 0 > /proc/sys/user/max_user_namespaces",
        &[&BUILD[..], &["-j", "1"]].concat(),
    );
    assert_eq!(told, Told::failure(4, expected));
}

#[test]
fn stores_without_space() {
    let world = World::locked();
    let full = elsewhere(&world, "mount -t tmpfs -o size=1m none $STORE", &BUILD);
    assert_eq!((full.code, full.stdout.as_str()), (4, ""));
    assert!(full.stderr.starts_with("error: no space left to write `WORLD/store/tmp/"), "{}", full.stderr);
    let hint = "hint: run `nodeimg store gc`, or set `NODEIMG_STORE` to a directory on a larger
  file system
";
    assert!(full.stderr.ends_with(hint), "{}", full.stderr);
    // Enough for the packages, and not for a step.
    world.edit(HELLO, "cp hello", "sleep 5; cp hello");
    let full = elsewhere(&world, "mount -t tmpfs -o size=40m none $STORE", &BUILD);
    assert_eq!((full.code, full.stdout.as_str()), (4, ""));
    // What the step printed stands between; on a slow machine it is the root's that is stopped, which prints.
    for expected in ["did not end by itself\n", "\n  the file system of the store has only 3"] {
        assert!(full.stderr.contains(expected), "{}", full.stderr);
    }
    assert!(full.stderr.ends_with(hint), "{}", full.stderr);
}

#[test]
fn stores_that_can_not_be_written() {
    let world = World::locked();
    let read_only = "mount --bind $STORE $STORE && mount -o remount,bind,ro $STORE";
    let expected = "error: store `WORLD/store` is not writable
  Read-only file system (os error 30)
hint: set `NODEIMG_STORE` to a directory that you own on a writable file system
";
    assert_eq!(elsewhere(&world, read_only, &BUILD), Told::failure(4, expected));
    assert_eq!(elsewhere(&world, read_only, &["plan"]), Told::failure(4, expected));
}

#[test]
fn stores_of_others() {
    let world = World::locked();
    let program = world.path("nodeimg");
    fs_err::copy(env!("CARGO_BIN_EXE_nodeimg"), &program).unwrap();
    open_to_all(&world.path(""));
    fs_err::remove_dir_all(world.path("store")).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::create_dir(world.path("store")).unwrap();
    fs_err::set_permissions(world.path("store"), std::fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = world.with_program(&[program.to_str().unwrap()], &BUILD);
    as_stranger(&mut command, 0o022);
    let expected = "error: store `WORLD/store` is not writable
  permission denied
hint: set `NODEIMG_STORE` to a directory that you own on a writable file system
";
    assert_eq!(world.told(&command.output().unwrap()), Told::failure(4, expected));
}

//! Builds that are stopped, killed, or meet another one; stores that are damaged or cleaned.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{Told, World, document, strings};

const HELLO: &str = "project/recipes/packages/hello.toml";

/// A world whose `hello` sleeps for so many seconds.
fn sleepy(seconds: &str) -> World {
    let world = World::locked();
    world.edit(HELLO, "cp hello", &format!("sleep {seconds}; cp hello"));
    world
}

fn start(world: &World) -> Child {
    let mut command = world.command(&["build", "--lock", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The processes of the machine that sleep for so many seconds.
fn sleepers(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let lines = processes.filter_map(|path| fs_err::read(path.join("cmdline")).ok());
    lines.filter(|line| line == wanted.as_bytes()).count()
}

/// Waits for something; tells whether it came in time.
fn within(seconds: u64, what: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    while !what() {
        if since.elapsed() > Duration::from_secs(seconds) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// What a build makes after one that ended while `hello` was built.
const REST: [&str; 6] =
    ["hello", "plain:layer:programs", "greeting", "plain:layer:texts", "plain", "hello:test"];

/// Starts a build, ends it while `hello` sleeps, and sees that all is well afterwards; gives how it ended.
fn end_amidst(seconds: &str, end: Signal) -> Told {
    let world = sleepy(seconds);
    let child = start(&world);
    assert!(within(60, || sleepers(seconds) > 0), "it never slept: is this machine busy?");
    let since = Instant::now();
    kill_process(Pid::from_child(&child), end).unwrap();
    let told = world.told(&child.wait_with_output().unwrap());
    assert!(within(2, || sleepers(seconds) == 0), "a process is left");
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let verified = world.run(&["store", "verify"]);
    assert_eq!((verified.code, verified.stderr.as_str()), (0, ""));
    assert!(verified.stdout.starts_with("  verified "), "{}", verified.stdout);
    world.edit(HELLO, &format!("sleep {seconds}; "), "");
    // The other root was made beside `hello`, or was not yet when the build ended.
    let made: Vec<String> = world.made(&[]).into_iter().filter(|step| step != "greeting:root").collect();
    assert_eq!(made, REST);
    assert_eq!(fs_err::read_dir(world.path("store/tmp")).unwrap().count(), 0);
    told
}

#[test]
fn an_interrupt_stops_at_once_and_leaves_a_whole_store() {
    for (seconds, signal) in [("86411", Signal::INT), ("86412", Signal::TERM)] {
        let told = end_amidst(seconds, signal);
        assert_eq!((told.code, told.stdout.as_str()), (130, ""));
        assert!(
            told.stderr.ends_with("\nerror: stopped\n") && !told.stderr.contains("failed"),
            "{}",
            told.stderr
        );
    }
}

#[test]
fn a_kill_leaves_no_process_and_a_whole_store() {
    end_amidst("86413", Signal::KILL);
}

#[test]
fn two_builds_at_once_make_each_step_once() {
    let world = sleepy("1");
    let both = [start(&world), start(&world)].map(|child| child.wait_with_output().unwrap());
    let mut all = Vec::new();
    for output in &both {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        all.extend(strings(&serde_json::from_slice::<Value>(&output.stdout).unwrap()["made"]));
    }
    all.sort();
    let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let wanted = REST.iter().chain(&["hello:root", "greeting:root", "hello:patched:hello"]);
    wanted.for_each(|name| assert!(all.iter().any(|made| made == name), "{name} in {all:?}"));
    assert_eq!(world.made(&[]), [""; 0]);
}

/// The files of one kind in the store.
fn objects(world: &World, kind: &str) -> Vec<PathBuf> {
    let mut open = vec![world.path("store").join(kind)];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn what_is_damaged_is_noticed_and_made_again() {
    let world = World::locked();
    let digests = |document: Value| [0, 1].map(|at| document["targets"][at]["digest"].clone());
    let before = digests(world.json(&["build", "--lock", "plain", "node"]));
    let flip: fn(&mut Vec<u8>) = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() / 2);
    for (kind, damage) in [("blobs", flip), ("blobs", cut), ("trees", flip), ("trees", cut)] {
        for path in objects(&world, kind) {
            let mut bytes = fs_err::read(&path).unwrap();
            if !bytes.is_empty() {
                damage(&mut bytes);
                fs_err::remove_file(&path).unwrap();
                fs_err::write(&path, bytes).unwrap();
            }
        }
        fs_err::remove_dir_all(world.path("project/out")).unwrap();
        let output = world.command(&["build", "--lock", "--json", "plain", "node"]).output().unwrap();
        let told = world.told(&output);
        assert_eq!(told.code, 0, "{kind}: {}", told.stderr);
        let warning = "warning: something in the store is lost or damaged, looking through all of it\n";
        assert_eq!(told.stderr.matches(warning).count(), 1, "{kind}: {}", told.stderr);
        assert_eq!(digests(serde_json::from_str(&told.stdout).unwrap()), before, "{kind}");
        assert_eq!(world.run(&["store", "verify"]).code, 0, "{kind}");
    }
}

#[test]
fn a_damaged_package_is_the_stores_fault() {
    let world = World::locked();
    assert_eq!(world.run(&["fetch"]).code, 0);
    for path in objects(&world, "blobs") {
        let mut bytes = fs_err::read(&path).unwrap();
        // A package's first entry, or the head of the source's archive.
        if bytes.len() > 100 && (bytes.starts_with(b"!<arch>") || bytes.starts_with(&[0x1f, 0x8b])) {
            bytes[70] ^= 0x40;
            fs_err::remove_file(&path).unwrap();
            fs_err::write(&path, bytes).unwrap();
        }
    }
    assert_eq!(world.json(&["build", "--lock"])["reused"], 0);
}

#[test]
fn collecting_keeps_what_a_project_needs() {
    let world = World::locked();
    world.made(&["plain"]);
    let collect = ["store", "gc", "--unused-for", "0", "--json"];
    assert!(document(&mut world.command(&collect))["kept"]["objects"].as_u64().unwrap() > 0);
    assert_eq!(world.made(&["plain"]), [""; 0]);
    fs_err::remove_dir_all(world.path("project/out")).unwrap();
    assert_eq!(world.made(&["plain"]), [""; 0]);
    assert!(world.path("project/out/plain/image.tar").is_file());

    // A project that is gone keeps nothing.
    fs_err::rename(world.path("project"), world.path("elsewhere")).unwrap();
    let dry = document(world.command(&collect).arg("--dry-run").current_dir(world.path("")));
    assert_eq!(dry["kept"]["objects"], 0, "{dry:#}");
    assert_eq!(
        document(world.command(&["store", "ls", "--json"]).current_dir(world.path("")))["roots"][0]["name"],
        world.path("project").to_str().unwrap()
    );
    let gone = document(world.command(&collect).current_dir(world.path("")));
    assert_eq!((&gone["kept"], &gone["removed"]), (&dry["kept"], &dry["removed"]));
    let left = document(world.command(&["store", "ls", "--json"]).current_dir(world.path("")));
    assert_eq!(left["roots"].as_array().unwrap().len(), 0);
}

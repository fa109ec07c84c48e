//! What a person waits for, on the project's own node image: `cargo bench --bench build`.
//!
//! Takes the sources and results of `target/test-store`, which it fills first if need be. With `-- cold` it also builds
//! everything from its sources again, which takes as long as compiling Kubernetes does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodeimg");

struct Run {
    time: Duration,
    /// The most memory that the nodeimg process itself had, in bytes; its scripts are not counted.
    memory: u64,
    summary: String,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(project: &Path, store: &Path, arguments: &[&str]) -> Run {
    #[expect(clippy::disallowed_methods, reason = "it is the program that is measured")]
    let mut command = Command::new(PROGRAM);
    command.current_dir(project).env("NODEIMG_STORE", store).args(arguments);
    let since = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("nodeimg starts");
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("nodeimg is our child") {
            break ended;
        }
        memory = peak(&status).unwrap_or(memory);
        std::thread::sleep(Duration::from_millis(if since.elapsed().as_secs() > 2 { 50 } else { 1 }));
    };
    let time = since.elapsed();
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut text).expect("nodeimg speaks UTF-8");
    }
    assert!(ended.success(), "{arguments:?}: {text}");
    let summary = text.lines().find(|line| line.trim_start().starts_with("steps")).unwrap_or_default();
    Run { time, memory, summary: summary.trim().to_owned() }
}

fn peak(status: &str) -> Option<u64> {
    let text = fs_err::read_to_string(status).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a temporary folder can be written");
    for entry in fs_err::read_dir(from).expect("the project can be read") {
        let path = entry.expect("the project can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs_err::copy(&path, &target).expect("a temporary folder can be written");
        }
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs_err::read_to_string(file).expect("the recipe is there");
    assert!(text.contains(from), "{file:?} has no {from:?}");
    fs_err::write(file, text.replace(from, to)).expect("a temporary folder can be written");
}

fn tell(what: &str, goal: &str, run: &Run) {
    let memory = if run.memory == 0 { String::new() } else { format!(", {} MB", run.memory / 1_000_000) };
    println!("{what}: {:.3} s{memory}; {} (goal: {goal})", run.time.as_secs_f64(), run.summary);
}

fn main() {
    let store = project().join("target/test-store");
    let folder = tempfile::tempdir_in(project().join("target")).expect("a temporary folder");
    let place: PathBuf = folder.path().join("project");
    for part in ["recipes", "lockfiles", "patches"] {
        copy(&project().join(part), &place.join(part));
    }
    let build = ["build", "--lock"];
    run(&place, &store, &build);

    let mut times: Vec<_> = (0..30).map(|_| run(&place, &store, &build)).collect();
    times.sort_by_key(|run| run.time);
    tell("no-op build of the node image, median of 30", "under 0.030 s", &times[15]);

    edit(&place.join("recipes/packages/crun.toml"), "name = \"crun\"", "# a comment\nname = \"crun\"");
    tell("a comment in crun's recipe", "nothing is built", &run(&place, &store, &build));

    let variant = "\"module.wasm.image/variant\" = \"compat-smart\"";
    let more = format!("{variant}, \"example.org/run\" = \"{}\"", std::process::id());
    edit(&place.join("recipes/runtimes/crun-wasmtime.toml"), variant, &more);
    tell("another annotation, with all outputs", "under 1 s", &run(&place, &store, &build));

    if std::env::args().any(|argument| argument == "cold") {
        let cold = folder.path().join("store");
        run(&place, &cold, &["fetch", "-q"]);
        tell("everything from fetched sources", "under 200 MB", &run(&place, &cold, &build));
    }
}

//! A node image's containerd by itself, without Kubernetes and Docker: what a broken runtime shows in seconds.
//!
//! The image's own containerd, shims and runtimes start on the image's root in namespaces of their own for mounts,
//! processes, the network, IPC and the host's name; `ctr` then runs the same containers that a cluster's pods have, one
//! after the other. What the CRI would give a container out of containerd's configuration, its annotations and the
//! program that the shim calls, it is told by hand, from the same description. The root is not written to: a `tmpfs`
//! lies over it. What outlives the last process is a cgroup, and that is removed.
//!
//! Wants root: containerd makes mounts, and its containers' cgroups are the host's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::{Cancel, Digest};
use crate::node::{ExampleContainer, Node, Runtime, TrialClass};

use super::program::{self, Limits};
use super::{Error, Report, Row, http, pods};

/// All that the containers may take together.
const LIMIT: Duration = Duration::from_secs(300);
/// What stops a container whose image says nothing, as the CRI has it.
const TERM: &str = "SIGTERM";
const SCRIPT: &str = include_str!("alone.sh");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CGROUPS: &str = "/sys/fs/cgroup";

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Alone<'a> {
    /// The node.
    pub node: &'a Node,
    /// The node image's manifest.
    pub digest: &'a Digest,
    /// The image's root.
    pub root: &'a Path,
    /// The images that the examples run.
    pub workloads: &'a [Workload],
}

/// An image that examples run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Repository and tag, as examples name it.
    pub reference: String,
    /// Its platform, such as `wasi/wasm`.
    pub platform: String,
    /// What it runs before an example's arguments.
    pub entrypoint: Vec<String>,
    /// The signal that stops it; by default `SIGTERM`.
    pub stop_signal: Option<String>,
    /// The image as an archive.
    pub archive: PathBuf,
}

/// A container, and the runtime that it asks for.
struct Case<'a> {
    runtime: Option<&'a Runtime>,
    container: &'a ExampleContainer,
    /// The pod's annotations.
    annotations: BTreeMap<&'a str, &'a str>,
}

/// Tells whether this user may try a node's containerd by itself.
pub fn may_run_alone() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Starts a node's containerd and runs the examples with it.
pub fn run_alone(trial: &Alone<'_>, cancel: &Cancel) -> Result<Report, Error> {
    may_run_alone()?;
    let scratch = tempfile::Builder::new().prefix("nodeimg-try-").tempdir().map_err(Error::scratch)?;
    let work = scratch.path();
    let group = work.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cases = cases(trial.node);
    prepare(trial, &cases, &group, work).map_err(Error::scratch)?;
    let [root, folder] = [trial.root, work].map(|path| path.to_string_lossy().into_owned());
    let script = work.join("alone.sh").to_string_lossy().into_owned();
    let spaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"];
    let arguments = [&spaces[..], &["sh", &script, &root, &folder]].concat();
    let env: [(&str, OsString); 3] =
        [("PATH", PATH.into()), ("LC_ALL", "C.UTF-8".into()), ("CURL", http::CURL.into())];
    let begun = Instant::now();
    let limits = Limits { time: LIMIT, cancel };
    let ended = program::run(Path::new("unshare"), &env, &arguments, "", limits);
    let took = begun.elapsed();
    remove_cgroups(&group);
    match ended {
        Err(Error::Failed { tail, .. }) if !work.join("stage").exists() => return Err(Error::Host { tail }),
        Err(Error::Failed { tail, .. }) => {
            return Err(Error::Failed { command: "containerd".to_owned(), tail });
        }
        other => drop(other?),
    }
    let mut report = Report::new(trial.node, trial.digest, took);
    let rows = cases.iter().enumerate().map(|(number, case)| row(case, number, trial.workloads, work));
    report.rows = rows.collect::<std::io::Result<_>>().map_err(Error::scratch)?;
    Ok(report)
}

/// Lists the containers that a cluster's jobs have, in the same order.
fn cases(node: &Node) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for runtime in &node.runtimes {
        for container in &runtime.example {
            cases.push(Case { runtime: Some(runtime), container, annotations: BTreeMap::new() });
        }
        for pod in runtime.trial.iter().filter(|pod| !pod.needs_cluster) {
            let own = (pod.class == TrialClass::Own).then_some(runtime);
            let annotations: BTreeMap<_, _> =
                pod.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let case = |container| Case { runtime: own, container, annotations: annotations.clone() };
            cases.extend(pod.containers.iter().map(case));
        }
    }
    cases
}

fn prepare(trial: &Alone<'_>, cases: &[Case<'_>], group: &str, work: &Path) -> std::io::Result<()> {
    fs_err::write(work.join("alone.sh"), SCRIPT)?;
    for folder in ["images", "cases"] {
        fs_err::create_dir(work.join(folder))?;
    }
    for (number, workload) in trial.workloads.iter().enumerate() {
        fs_err::copy(&workload.archive, work.join(format!("images/{number}.tar")))?;
    }
    for (number, case) in cases.iter().enumerate() {
        let words = words(case, number, group, trial.workloads);
        let text: String = words.iter().flat_map(|word| [word.as_str(), "\0"]).collect();
        fs_err::write(work.join(format!("cases/{number}")), text)?;
        let stdin = case.container.stdin.as_deref().unwrap_or_default();
        fs_err::write(work.join(format!("cases/{number}.stdin")), stdin)?;
        if let Some(http) = &case.container.http {
            let signal = stop_signal(case.container, trial.workloads);
            let text = format!("{}\n{}\n{signal}\n", id(case, number), http.url("127.0.0.1"));
            fs_err::write(work.join(format!("cases/{number}.http")), text)?;
        }
    }
    Ok(())
}

/// Names a container.
fn id(case: &Case<'_>, number: usize) -> String {
    format!("{number}-{}", case.container.name)
}

/// Finds the signal that stops a container.
fn stop_signal<'a>(container: &ExampleContainer, workloads: &'a [Workload]) -> &'a str {
    let workload = workloads.iter().find(|workload| workload.reference == container.image);
    workload.and_then(|workload| workload.stop_signal.as_deref()).unwrap_or(TERM)
}

/// What `ctr run` is told of a container.
fn words(case: &Case<'_>, number: usize, group: &str, workloads: &[Workload]) -> Vec<String> {
    let container = case.container;
    let id = id(case, number);
    let mut words = vec!["--rm".to_owned()];
    if container.http.is_some() {
        // The network is the trial's own, and one container at a time has it.
        words.push("--net-host".to_owned());
    }
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    option("cgroup", format!("/{group}/{id}"));
    let mut annotations = BTreeMap::new();
    if let Some(runtime) = case.runtime {
        option("runtime", runtime.kind.clone());
        if let Some(binary) = &runtime.binary {
            option("runc-binary", binary.to_string());
        }
        annotations.extend(runtime.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        annotations.extend(&case.annotations);
    }
    for (key, value) in annotations {
        option("annotation", format!("{key}={value}"));
    }
    for (key, value) in &container.env {
        option("env", format!("{key}={value}"));
    }
    if let Some(memory) = container.memory {
        option("memory-limit", memory.to_string());
    }
    let workload = workloads.iter().find(|workload| workload.reference == container.image);
    if let Some(workload) = workload {
        option("platform", workload.platform.clone());
    }
    words.extend([format!("docker.io/{}", container.image), id]);
    if !container.command.is_empty() {
        words.extend(container.command.iter().chain(&container.args).cloned());
    } else if !container.args.is_empty() {
        words.extend(workload.into_iter().flat_map(|workload| workload.entrypoint.clone()));
        words.extend(container.args.iter().cloned());
    }
    words
}

/// Judges what a container left.
fn row(case: &Case<'_>, number: usize, workloads: &[Workload], work: &Path) -> std::io::Result<Row> {
    let text = |kind: &str| {
        let bytes = fs_err::read(work.join(format!("results/{number}.{kind}")))?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut row = Row::new(case.runtime.map(|runtime| runtime.handler.as_str()), case.container);
    row.exit = text("exit")?.trim().parse().ok();
    row.output = text("out")?;
    let first = text("first").ok().and_then(|micros| micros.trim().parse().ok());
    row.first_output = first.map(Duration::from_micros);
    let told = text("err")?;
    // `ctr` ends with a container's own code and says nothing of it; what it says is about itself.
    if let Some(why) = told.strip_prefix("ctr: ") {
        row.exit = None;
        row.fault = Some(format!("did not start: {}", why.trim()));
    } else if let Some(asked) = &case.container.http {
        let mut served = http::read(&text("answer")?).unwrap_or_default();
        let stopped = text("stopped").ok().and_then(|micros| micros.trim().parse().ok());
        served.stopped = stopped.map(Duration::from_micros);
        row.fault = match served.status {
            Some(_) => http::fault(asked, &served),
            // It was there to the end of the wait, and then it was stopped.
            None if served.stopped.is_some() => Some(http::no_answer(asked, &text("refused")?)),
            None => Some(ended(&row, &told)),
        };
        if row.fault.is_none() && served.stopped.is_none() {
            let signal = stop_signal(case.container, workloads);
            row.fault = Some(http::did_not_stop(Some(signal), &text("stop")?));
        }
        row.served = Some(served);
    } else {
        row.fault = pods::fault(case.container, &row, &told);
    }
    Ok(row)
}

/// Says that a container was to serve and ended.
fn ended(row: &Row, told: &str) -> String {
    let code = row.exit.map_or_else(|| "no code".to_owned(), |code| code.to_string());
    let last = told.lines().chain(row.output.lines()).rfind(|line| !line.trim().is_empty());
    let more = last.map_or_else(String::new, |line| format!(": {}", line.trim()));
    format!("ended with exit code {code} before it answered{more}")
}

/// Removes the cgroups that the containers had, on each hierarchy. What is busy still is left to the kernel.
fn remove_cgroups(group: &str) {
    let children = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect()
    };
    let mut groups = vec![Path::new(CGROUPS).join(group)];
    groups.extend(children(Path::new(CGROUPS)).into_iter().map(|hierarchy| hierarchy.join(group)));
    for group in groups {
        children(&group).iter().for_each(|child| drop(fs_err::remove_dir(child)));
        let _ = fs_err::remove_dir(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::GuestPath;

    #[test]
    fn who_may_not_is_told_what_to_do() {
        use miette::Diagnostic as _;
        let (one, other) = (Error::NotRoot, Error::Host { tail: "unshare: no".to_owned() });
        assert_eq!(one.to_string(), "a node's containerd by itself wants root");
        assert_eq!(
            one.help().unwrap().to_string(),
            "run the command as root, or leave `--no-cluster` away where Docker is"
        );
        assert_eq!(
            other.to_string(),
            "this host does not let a node's containerd run by itself\nunshare: no"
        );
        assert!([one, other].iter().all(|error| error.blame() == crate::base::Blame::Machine));
    }

    #[test]
    fn ctr_is_told_what_a_pod_would_have() {
        let container = ExampleContainer {
            name: "words".into(),
            image: "nodeimg/checks:1".into(),
            command: Vec::new(),
            args: vec!["words".into(), "two words".into()],
            stdin: None,
            env: BTreeMap::from([("GREETING".to_owned(), "good day".to_owned())]),
            memory: Some(64 << 20),
            prints: None,
            exit: 0,
            http: None,
        };
        let runtime = Runtime {
            handler: "crun-wasmtime".into(),
            runtime_class: "crun-wasmtime".into(),
            kind: "io.containerd.runc.v2".into(),
            binary: Some(GuestPath::new("/usr/local/bin/crun").unwrap()),
            options: BTreeMap::new(),
            annotations: BTreeMap::from([("variant".to_owned(), "compat-smart".to_owned())]),
            pod_annotations: Vec::new(),
            loads: Vec::new(),
            node_labels: BTreeMap::new(),
            example: Vec::new(),
            trial: Vec::new(),
        };
        let workload = Workload {
            reference: "nodeimg/checks:1".into(),
            platform: "wasi/wasm".into(),
            entrypoint: vec!["/checks.wasm".into()],
            stop_signal: None,
            archive: PathBuf::new(),
        };
        let annotations = BTreeMap::from([("variant", "compat")]);
        let mut case = Case { runtime: Some(&runtime), container: &container, annotations };
        assert_eq!(
            words(&case, 3, "try-x", std::slice::from_ref(&workload)),
            [
                "--rm",
                "--cgroup",
                "/try-x/3-words",
                "--runtime",
                "io.containerd.runc.v2",
                "--runc-binary",
                "/usr/local/bin/crun",
                "--annotation",
                "variant=compat",
                "--env",
                "GREETING=good day",
                "--memory-limit",
                "67108864",
                "--platform",
                "wasi/wasm",
                "docker.io/nodeimg/checks:1",
                "3-words",
                "/checks.wasm",
                "words",
                "two words",
            ]
        );
        case.runtime = None;
        let plain = words(&case, 0, "try-x", &[]);
        assert!(!plain.iter().any(|word| word == "--runtime" || word == "--annotation"), "{plain:?}");
    }
}

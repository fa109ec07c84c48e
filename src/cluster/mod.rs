//! A node image at work: a throw-away kind cluster of it, in which the examples of its runtimes run.
//!
//! In go a node's description, the archives of the images that its examples run, the programs to do it with
//! ([`Tools`]) and the way to a Docker engine that has the node image; out comes what happened ([`Report`]). The
//! cluster has a name of its own and is deleted however the trial ends, unless it is to be kept. What a failed trial
//! leaves is kept below `logs`.
//!
//! ```text
//! logs/kubeconfig        of a cluster that is kept
//! logs/node/             what `kind export logs` gives: containerd, kubelet, containers, the journal
//! logs/events.txt        Kubernetes' events, oldest first
//! logs/<job>.json        the pods of a job that failed
//! ```
//!
//! Containers that serve HTTP run until they are stopped: they are asked, and held to ending on their image's signal.
//!
//! Where there is no engine, the image's containerd runs the same containers by itself ([`run_alone`]).
//!
//! This is the only place outside the sandbox that starts programs ([`program`]), and all that it starts are
//! packages of the project, but for the host's `unshare` and `sh` around an image's own containerd. Nothing here is about bytes of an output: it may look at a stopwatch.

mod alone;
mod error;
mod http;
mod kind;
mod pods;
mod program;
mod report;
mod statement;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::event::{self, Activity, Event, Outcome, Sink};
use crate::base::{Cancel, Digest, Sha256};
use crate::node::{self, Node};

pub use alone::{Alone, Workload, may_run_alone, run_alone};
pub use error::Error;
pub use http::Served;
pub use report::{Report, Row};

/// The programs that a trial runs, each a package of the project.
#[derive(Debug, Clone)]
pub struct Tools {
    /// kind.
    pub kind: PathBuf,
    /// kubectl of about the cluster's version.
    pub kubectl: PathBuf,
    /// Docker's command-line client, which kind calls; its file name is `docker`.
    pub docker: PathBuf,
}

/// What becomes of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is deleted.
    Delete,
    /// It stays up.
    Keep,
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// The node.
    pub node: &'a Node,
    /// The node image's manifest.
    pub digest: &'a Digest,
    /// Archives of the images that the examples run.
    pub workloads: &'a [PathBuf],
    /// Where a failed trial's logs go.
    pub logs: &'a Path,
    /// What becomes of the cluster.
    pub after: After,
}

/// What it is tried with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The programs.
    pub tools: &'a Tools,
    /// What tells the programs where the engine is.
    pub engine: &'a [(&'static str, OsString)],
    /// Who is told.
    pub events: &'a dyn Sink,
    /// When to stop.
    pub cancel: &'a Cancel,
}

/// How long the examples may take from the moment they are applied.
const EXAMPLES: Duration = Duration::from_secs(120);

/// Creates a cluster, runs the examples in it and deletes it.
pub fn run(trial: &Trial<'_>, context: &Context<'_>) -> Result<Report, Error> {
    let scratch = tempfile::Builder::new().prefix("nodeimg-try-").tempdir().map_err(Error::scratch)?;
    let programs = program::Programs::new(context.tools, context.engine, scratch.path());
    let cluster = kind::Cluster::named(&programs, &kind::unique_name());
    let _ = fs_err::remove_dir_all(trial.logs);
    let tried = examine(&cluster, trial, context);
    let failed =
        tried.as_ref().map_or_else(|error| !matches!(error, Error::Cancelled), |report| !report.passed());
    if failed {
        cluster.export_logs(trial.logs);
    }
    let keep = trial.after == After::Keep && tried.is_ok();
    let deleted = if keep { Ok(()) } else { cluster.delete() };
    let mut report = tried?;
    deleted?;
    report.logs = failed.then(|| trial.logs.to_owned());
    if keep {
        report.kept = Some(cluster.keep(trial.logs)?);
    }
    Ok(report)
}

fn examine(cluster: &kind::Cluster<'_>, trial: &Trial<'_>, context: &Context<'_>) -> Result<Report, Error> {
    let Context { cancel, events, .. } = *context;
    let manifests = node::manifests(trial.node);
    let ready = step(events, format!("{} in kind", trial.node.reference), || {
        let since = Instant::now();
        cluster.create(&manifests[node::CLUSTER_FILE], cancel)?;
        Ok(since.elapsed())
    })?;
    let mut report = Report::new(trial.node, trial.digest, ready);
    report.used = used(trial, context.tools)?;
    if !trial.workloads.is_empty() {
        cluster.load(trial.workloads, cancel)?;
    }
    if let Some(classes) = manifests.get(node::CLASSES_FILE) {
        cluster.apply(classes, cancel)?;
    }
    cluster.wait_for_accounts(cancel)?;
    for job in node::jobs(trial.node) {
        step(events, job.name.clone(), || {
            cluster.apply(&job.manifest, cancel)?;
            if job.serves() {
                report.rows.extend(http::rows(&job, cluster, EXAMPLES, cancel)?);
                return Ok(());
            }
            for container in job.containers {
                if let Some(text) = &container.stdin {
                    cluster.send(&job.name, &container.name, text, EXAMPLES, cancel)?;
                }
            }
            let pods = cluster.wait_for_job(&job.name, EXAMPLES, cancel)?;
            let rows = pods::rows(&job, &pods, cluster, cancel)?;
            if rows.iter().any(|row| row.fault.is_some()) {
                cluster.keep_text(trial.logs, &format!("{}.json", job.name), &format!("{pods:#}"));
            }
            report.rows.extend(rows);
            Ok(())
        })?;
    }
    report.memory = cluster.memory(cancel)?;
    Ok(report)
}

/// Names all that the trial takes beside the image: programs, what is applied, workloads.
fn used(trial: &Trial<'_>, tools: &Tools) -> Result<Vec<(String, Sha256)>, Error> {
    let texts = node::manifests(trial.node)
        .into_iter()
        .chain(node::jobs(trial.node).into_iter().map(|job| (format!("{}.yaml", job.name), job.manifest)));
    let mut used: Vec<_> = texts.map(|(name, text)| (name, Sha256::of(text.as_bytes()))).collect();
    let programs = [&tools.kind, &tools.kubectl, &tools.docker];
    for path in programs.into_iter().chain(trial.workloads) {
        let hash = Sha256::of_file(path).map_err(|source| Error::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        used.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), hash));
    }
    used.sort();
    used.dedup();
    Ok(used)
}

/// Tells about a part of the trial as it begins and ends.
fn step<T>(events: &dyn Sink, name: String, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let id = event::next_id();
    events.emit(Event::Started { id, kind: Activity::Try, name, total: None });
    let done = work();
    let outcome = if done.is_ok() { Outcome::Done } else { Outcome::Failed };
    events.emit(Event::Finished { id, outcome, detail: String::new() });
    done
}

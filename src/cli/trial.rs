//! `nodeimg try`: builds a node image, runs it in a cluster and says what its examples did there.

use std::path::Path;

use super::arguments::Try;
use super::build::realising;
use super::failure::{Failure, Problem};
use super::progress::human_time;
use super::session::Session;
use super::{code, text};
use crate::base::{Blame, Name};
use crate::cluster::{self, After, Report};
use crate::export::docker::Engine;
use crate::pipeline;
use crate::recipe::{Id, Project, Role};

pub(super) fn run(session: &Session, command: &Try) -> Result<i32, Failure> {
    let project = session.project()?;
    let image = node_image(&project, command.image.as_deref())?;
    let sandbox = session.sandbox(&command.running)?;
    let mut names = vec![image.to_string()];
    // Before anything is built: where nothing runs there is nothing to build for.
    let engine = if command.no_cluster {
        cluster::may_run_alone().map_err(pipeline::Error::from)?;
        None
    } else {
        names.extend(pipeline::TOOLS.map(|tool| format!("packages/{tool}")));
        Some(Engine::connect(&session.engine())?)
    };
    let targets = project.targets(&names)?;
    let platforms = Session::platforms(&[])?;
    let (store, network) = (session.store()?, session.network()?);
    let locked = session.locked(&project, &targets, &platforms, &command.locking, &network, &store)?;
    let plan = pipeline::plan(&project, &locked, &targets, &platforms, &store)?;
    let out = command.out.clone().unwrap_or_else(|| project.path().join("out"));
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let (built, _) = pipeline::build(&plan, &project, &out, &context)?;
    let after = if command.keep { After::Keep } else { After::Delete };
    let report = match &engine {
        Some(engine) => pipeline::try_image(&plan, &built, &image, engine, after, &context)?,
        None => pipeline::try_alone(&plan, &built, &image, &context)?,
    };
    session.progress.finish();
    if command.record && report.passed() {
        let kind = &project.packages[&Name::new("kind").expect("a constant name")].version;
        let path = pipeline::record(project.path(), &image.name, &report.digest, kind)?;
        session.progress.line(&format!("{:>10} {}", "recorded", path.display()));
        // The catalog tells of it.
        pipeline::build(&plan, &project, &out, &context)?;
    }
    if let Some(path) = &command.junit {
        write(path, &report.junit())?;
    }
    if let Some(path) = &command.attest {
        write(path, &format!("{:#}\n", report.statement()))?;
    }
    if session.common.json {
        text::json(&report.json())?;
    } else {
        text::out(&table(&report))?;
    }
    if !session.common.quiet {
        let mut lines = summary(&report);
        if command.no_cluster {
            let count = text::count(report.rows.len(), "container");
            lines[0] = format!("{:>10} {count} without Kubernetes in {}", "ran", human_time(report.ready));
        }
        lines.iter().for_each(|line| session.progress.line(line));
    }
    Ok(if report.passed() { 0 } else { code(Blame::Build) })
}

/// Finds the node image that is meant.
fn node_image(project: &Project, name: Option<&str>) -> Result<Id, Failure> {
    let names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    let [id] = project.targets(&names)?.try_into().map_err(|_| Problem::NoNode(names.join(" ")))?;
    let is_node = id.role == Role::Image && project.images[&id.name].node.is_some();
    if is_node { Ok(id) } else { Err(Problem::NoNode(id.to_string()).into()) }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(fs_err::write(path, text).map_err(Problem::Report)?)
}

/// The rows, columns as wide as they need to be.
fn table(report: &Report) -> String {
    // What only servers have is shown where one is.
    let serves = report.rows.iter().any(|row| row.served.is_some());
    let width = if serves { 7 } else { 5 };
    let head = ["HANDLER", "WORKLOAD", "RAN", "EXIT", "FIRST OUTPUT", "ANSWER", "STOPPED"].map(str::to_owned);
    let row = |row: &crate::cluster::Row| {
        let ran = match (&row.fault, row.ran()) {
            (None, _) => "yes",
            (Some(_), true) => "wrong",
            (Some(_), false) => "no",
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let milliseconds = |time: std::time::Duration| format!("{} ms", time.as_millis());
        let served = row.served.as_ref();
        [
            row.handler.clone().unwrap_or_else(|| "(default)".to_owned()),
            row.workload.clone(),
            ran.to_owned(),
            or_dash(row.exit.map(|code| code.to_string())),
            or_dash(row.first_output.map(milliseconds)),
            or_dash(served.and_then(|served| served.status).map(|status| status.to_string())),
            or_dash(served.and_then(|served| served.stopped).map(milliseconds)),
        ]
    };
    let rows = std::iter::once(head).chain(report.rows.iter().map(row));
    let rows: Vec<Vec<String>> = rows.map(|row| row.into_iter().take(width).collect()).collect();
    text::table(&rows)
}

fn summary(report: &Report) -> Vec<String> {
    let memory = report.memory.as_ref().map_or_else(String::new, |used| format!(", {used} of memory"));
    let mut lines = vec![format!(
        "{:>10} Kubernetes {} in {}{memory}",
        "ready",
        report.kubernetes,
        human_time(report.ready)
    )];
    for row in &report.rows {
        if let Some(fault) = &row.fault {
            let on = row.handler.as_ref().map_or_else(String::new, |handler| format!(" on {handler}"));
            lines.push(format!("{:>10} {}{on}: {fault}", "wrong", row.workload));
        }
    }
    if let Some(logs) = &report.logs {
        lines.push(format!("{:>10} {}", "logs", logs.display()));
    }
    if let Some(kept) = &report.kept {
        let (kind, config) = (kept.kind.display(), kept.kubeconfig.display());
        lines.push(format!("{:>10} cluster {}", "kept", kept.name));
        lines.push(format!("{:>10} export KUBECONFIG={config}; kubectl get pods", "use"));
        lines.push(format!("{:>10} {kind} delete cluster --name {}", "delete", kept.name));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Digest, Sha256};
    use crate::cluster::{Row, Served};

    #[test]
    fn a_report_reads_like_a_table() {
        let row = |workload: &str, exit, first: Option<u64>, fault: Option<&str>| Row {
            handler: Some("crun-wasmtime".into()),
            workload: workload.into(),
            image: "image:1".into(),
            exit,
            output: String::new(),
            first_output: first.map(Duration::from_millis),
            served: None,
            fault: fault.map(str::to_owned),
        };
        let report = Report {
            reference: "nodeimg/node:1".into(),
            digest: Digest { hash: Sha256::of(b""), size: 0 },
            kubernetes: "1.20.2".into(),
            ready: Duration::from_millis(24_500),
            memory: Some("512MiB".into()),
            used: Vec::new(),
            rows: vec![
                row("wasm", Some(0), Some(134), None),
                row("trap", Some(0), None, Some("exit code is 0, should be 134")),
                row("oci", None, None, Some("did not end")),
            ],
            logs: Some("out/node/trial".into()),
            kept: None,
        };
        let table = "\
HANDLER        WORKLOAD  RAN    EXIT  FIRST OUTPUT
crun-wasmtime  wasm      yes    0     134 ms
crun-wasmtime  trap      wrong  0     -
crun-wasmtime  oci       no     -     -
";
        assert_eq!(super::table(&report), table);
        let summary = [
            "     ready Kubernetes 1.20.2 in 24 s, 512MiB of memory",
            "     wrong trap on crun-wasmtime: exit code is 0, should be 134",
            "     wrong oci on crun-wasmtime: did not end",
            "      logs out/node/trial",
        ];
        assert_eq!(super::summary(&report), summary);

        // What serves has two columns more.
        let served = |status, stopped: Option<u64>| {
            let stopped = stopped.map(Duration::from_millis);
            Some(Served { status, body: "hello".into(), stopped })
        };
        let mut report = report;
        report.rows[1].served = served(Some(200), Some(72));
        report.rows[1].fault = None;
        report.rows[2].served = served(None, None);
        let table = "\
HANDLER        WORKLOAD  RAN  EXIT  FIRST OUTPUT  ANSWER  STOPPED
crun-wasmtime  wasm      yes  0     134 ms        -       -
crun-wasmtime  trap      yes  0     -             200     72 ms
crun-wasmtime  oci       no   -     -             -       -
";
        assert_eq!(super::table(&report), table);
    }
}

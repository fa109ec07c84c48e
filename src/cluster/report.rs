//! What came of a trial, and how a CI system reads it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::Served;
use crate::base::{Digest, Sha256};
use crate::node::{ExampleContainer, Node};

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The node image's name.
    pub reference: String,
    /// Its manifest.
    pub digest: Digest,
    /// The version of Kubernetes.
    pub kubernetes: String,
    /// How long it took from nothing to a node that is Ready.
    pub ready: Duration,
    /// The memory that the node uses after the examples, as Docker writes it.
    pub memory: Option<String>,
    /// What was used beside the image, by name: kind, kubectl, manifests, workloads.
    pub used: Vec<(String, Sha256)>,
    /// A row a container.
    pub rows: Vec<Row>,
    /// Where the logs of a failed trial are.
    pub logs: Option<PathBuf>,
    /// The cluster, if it is still there.
    pub kept: Option<Kept>,
}

/// A cluster that was left to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// How to reach it.
    pub kubeconfig: PathBuf,
    /// The program that deletes it.
    pub kind: PathBuf,
}

/// What became of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// containerd's handler; none is the node's default.
    pub handler: Option<String>,
    /// The container's name in the example.
    pub workload: String,
    /// Its image.
    pub image: String,
    /// Its exit code, if it ran and ended.
    pub exit: Option<i64>,
    /// What it printed.
    pub output: String,
    /// How long its first output took from its creation, or its first answer if it serves.
    pub first_output: Option<Duration>,
    /// What it answered, if it serves.
    pub served: Option<Served>,
    /// What is wrong, if something is.
    pub fault: Option<String>,
}

impl Row {
    pub(super) fn new(handler: Option<&str>, container: &ExampleContainer) -> Self {
        Self {
            handler: handler.map(str::to_owned),
            workload: container.name.clone(),
            image: container.image.clone(),
            exit: None,
            output: String::new(),
            first_output: None,
            served: None,
            fault: None,
        }
    }
}

impl Row {
    /// Tells whether the container ran to an end of its own, or answered.
    pub fn ran(&self) -> bool {
        self.exit.is_some() || self.served.as_ref().is_some_and(|served| served.status.is_some())
    }
}

impl Report {
    pub(super) fn new(node: &Node, digest: &Digest, ready: Duration) -> Self {
        Self {
            reference: node.reference.clone(),
            digest: *digest,
            kubernetes: node.kubernetes.clone(),
            ready,
            memory: None,
            used: Vec::new(),
            rows: Vec::new(),
            logs: None,
            kept: None,
        }
    }

    /// Tells whether everything went as it should.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.fault.is_none())
    }

    /// Gives the report for programs.
    pub fn json(&self) -> Value {
        let served = |served: &Served| {
            json!({
                "status": served.status,
                "body": served.body,
                "stopped-ms": served.stopped.map(milliseconds),
            })
        };
        let row = |row: &Row| {
            json!({
                "handler": row.handler,
                "workload": row.workload,
                "image": row.image,
                "ran": row.ran(),
                "passed": row.fault.is_none(),
                "exit": row.exit,
                "first-output-ms": row.first_output.map(milliseconds),
                "fault": row.fault,
                "output": row.output,
                "http": row.served.as_ref().map(served),
            })
        };
        let kept = |kept: &Kept| json!({ "name": kept.name, "kubeconfig": kept.kubeconfig });
        json!({
            "reference": self.reference,
            "digest": self.digest.hash.oci(),
            "kubernetes": self.kubernetes,
            "passed": self.passed(),
            "ready-ms": milliseconds(self.ready),
            "memory": self.memory,
            "workloads": self.rows.iter().map(row).collect::<Vec<_>>(),
            "logs": self.logs,
            "cluster": self.kept.as_ref().map(kept),
        })
    }

    /// Gives the report as JUnit XML: a test case for the node and one for each container.
    pub fn junit(&self) -> String {
        let failures = self.rows.iter().filter(|row| row.fault.is_some()).count();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">\n  \
             <testcase classname=\"node\" name=\"Ready\" time=\"{:.3}\"/>\n",
            escape(&self.reference),
            self.rows.len() + 1,
            self.ready.as_secs_f64(),
        );
        for row in &self.rows {
            let (class, name) = (escape(row.handler.as_deref().unwrap_or("default")), escape(&row.workload));
            let time = row.first_output.unwrap_or_default().as_secs_f64();
            let _ = write!(xml, "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{time:.3}\">");
            if let Some(fault) = &row.fault {
                let _ = write!(xml, "<failure message=\"{}\"/>", escape(fault));
            }
            let answer = row.served.as_ref().map_or_else(String::new, |served| {
                let status = served.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                format!("answer: {status}\n{}\n", served.body)
            });
            let output = escape(&format!("{}{answer}", row.output));
            let _ = writeln!(xml, "<system-out>{output}</system-out></testcase>");
        }
        xml + "</testsuite>\n"
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes text so that XML 1.0 has it back: markup as entities, what XML can't hold as `U+FFFD`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sha256;

    fn report() -> Report {
        let container = |name: &str| ExampleContainer {
            name: name.into(),
            image: format!("{name}:1"),
            command: Vec::new(),
            args: Vec::new(),
            stdin: None,
            env: Default::default(),
            memory: None,
            prints: None,
            exit: 0,
            http: None,
        };
        let mut report = Report {
            reference: "nodeimg/node:1".into(),
            digest: Digest { hash: Sha256::of(b""), size: 0 },
            kubernetes: "1.20.2".into(),
            ready: Duration::from_millis(24_500),
            memory: Some("512MiB".into()),
            used: Vec::new(),
            rows: vec![Row::new(Some("crun"), &container("wasm")), Row::new(Some("crun"), &container("oci"))],
            logs: None,
            kept: None,
        };
        report.rows[0].exit = Some(0);
        report.rows[0].first_output = Some(Duration::from_millis(34));
        report.rows[0].output = "a < b\u{1b}\n".into();
        report
    }

    #[test]
    fn a_report_passes_while_no_row_has_a_fault() {
        let mut report = report();
        assert!(report.passed());
        report.rows[1].fault = Some("did not end".into());
        assert!(!report.passed());
        assert_eq!(report.json()["passed"], false);
        assert_eq!(report.json()["workloads"][0]["first-output-ms"], 34);
        assert_eq!(report.json()["workloads"][1]["ran"], false);
    }

    #[test]
    fn junit_holds_any_text() {
        let mut report = report();
        report.rows[1].fault = Some("exit code is 1, should be \"0\" & no more".into());
        assert_eq!(
            report.junit(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"nodeimg/node:1\" tests=\"3\" failures=\"1\">\n  \
             <testcase classname=\"node\" name=\"Ready\" time=\"24.500\"/>\n  \
             <testcase classname=\"crun\" name=\"wasm\" time=\"0.034\">\
             <system-out>a &lt; b\u{fffd}&#10;</system-out></testcase>\n  \
             <testcase classname=\"crun\" name=\"oci\" time=\"0.000\">\
             <failure message=\"exit code is 1, should be &quot;0&quot; &amp; no more\"/><system-out></system-out>\
             </testcase>\n</testsuite>\n"
        );
    }
}

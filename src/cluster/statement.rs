//! What came of a trial → an in-toto statement about the image, for a signer.
//!
//! The statement is `https://in-toto.io/Statement/v1` with the predicate `test-result` 0.1, field names as there. What
//! was tried, with which files and what came of it is the same in every trial that went the same; all that a clock or
//! a meter said is under `measured`, a field of ours, which readers of the predicate pass over.

use serde_json::{Map, Value, json};

use super::report::milliseconds;
use super::{Report, Row};

impl Report {
    /// Gives the report as an in-toto statement whose subject is the image's manifest.
    pub fn statement(&self) -> Value {
        let names = |passed: bool| -> Vec<String> {
            self.rows.iter().filter(|row| row.fault.is_none() == passed).map(test).collect()
        };
        let used = |(name, hash): &(String, crate::base::Sha256)| json!({ "name": name, "digest": { "sha256": hash.to_string() } });
        let first: Map<String, Value> = self
            .rows
            .iter()
            .filter_map(|row| Some((test(row), milliseconds(row.first_output?).into())))
            .collect();
        let stopped: Map<String, Value> = self
            .rows
            .iter()
            .filter_map(|row| Some((test(row), milliseconds(row.served.as_ref()?.stopped?).into())))
            .collect();
        let mut measured = json!({
            "readyMilliseconds": milliseconds(self.ready),
            "memory": self.memory,
            "firstOutputMilliseconds": first,
        });
        if !stopped.is_empty() {
            measured["stoppedMilliseconds"] = stopped.into();
        }
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": self.reference, "digest": { "sha256": self.digest.hash.to_string() } }],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": if self.passed() { "PASSED" } else { "FAILED" },
                "configuration": self.used.iter().map(used).collect::<Vec<_>>(),
                "passedTests": names(true),
                "failedTests": names(false),
                "measured": measured,
            },
        })
    }
}

/// Names what a row tried: the handler, then the workload.
fn test(row: &Row) -> String {
    format!("{}/{}", row.handler.as_deref().unwrap_or("default"), row.workload)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Digest, Sha256};

    fn report(ready: u64, fault: Option<&str>) -> Report {
        let row = |handler: Option<&str>, workload: &str, fault: Option<&str>| Row {
            handler: handler.map(str::to_owned),
            workload: workload.into(),
            image: "image:1".into(),
            exit: Some(0),
            output: String::new(),
            first_output: Some(Duration::from_millis(ready / 1000)),
            served: None,
            fault: fault.map(str::to_owned),
        };
        Report {
            reference: "nodeimg/node:1".into(),
            digest: Digest { hash: Sha256::of(b"image"), size: 5 },
            kubernetes: "1.20.2".into(),
            ready: Duration::from_millis(ready),
            memory: Some("512MiB".into()),
            used: vec![("kind".into(), Sha256::of(b"kind"))],
            rows: vec![row(Some("crun-wasmtime"), "wasm", None), row(None, "ordinary", fault)],
            logs: Some("out/node/trial".into()),
            kept: None,
        }
    }

    #[test]
    fn a_statement_names_the_image_and_what_was_tried() {
        let statement = report(24_500, Some("did not end")).statement();
        let expected = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{
                "name": "nodeimg/node:1",
                "digest": { "sha256": "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d" },
            }],
            "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
            "predicate": {
                "result": "FAILED",
                "configuration": [{
                    "name": "kind",
                    "digest": { "sha256": Sha256::of(b"kind").to_string() },
                }],
                "passedTests": ["crun-wasmtime/wasm"],
                "failedTests": ["default/ordinary"],
                "measured": {
                    "readyMilliseconds": 24_500,
                    "memory": "512MiB",
                    "firstOutputMilliseconds": { "crun-wasmtime/wasm": 24, "default/ordinary": 24 },
                },
            },
        });
        assert_eq!(statement, expected);
    }

    #[test]
    fn trials_that_go_the_same_differ_in_what_was_measured_alone() {
        let without = |ready| {
            let mut statement = report(ready, None).statement();
            statement["predicate"].as_object_mut().unwrap().remove("measured").unwrap();
            statement.to_string()
        };
        assert_eq!(without(20_000), without(30_000));
        assert!(without(20_000).contains("PASSED"));
    }
}

//! A job's pods as Kubernetes describes them → rows of the report.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::kind::Cluster;
use super::{Error, Row};
use crate::base::Cancel;
use crate::node::{ExampleContainer, Job};

/// What a container waits for in vain: nothing but a new pod mends it.
const STUCK: [&str; 5] = [
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// Tells whether nothing more is to come of a job's pods.
pub(super) fn are_settled(pods: &Value) -> bool {
    let has_ended = |status: &Value| {
        let state = &status["state"];
        let waits_in_vain = state["waiting"]["reason"].as_str().is_some_and(|reason| STUCK.contains(&reason));
        state["terminated"].is_object() || waits_in_vain
    };
    let is_settled = |pod: &Value| {
        let expected = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
        let statuses = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
        statuses.len() == expected && statuses.iter().all(has_ended)
    };
    pods["items"].as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_settled))
}

/// Names the pod in which a container runs.
pub(super) fn running<'a>(pods: &'a Value, container: &str) -> Option<&'a str> {
    let pod = &pods["items"][0];
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let runs = |status: &Value| status["name"] == container && status["state"]["running"].is_object();
    statuses.iter().any(runs).then(|| pod["metadata"]["name"].as_str())?
}

/// Finds a container's status in the first of some pods.
pub(super) fn status<'a>(pods: &'a Value, container: &ExampleContainer) -> Option<&'a Value> {
    let statuses = pods["items"][0]["status"]["containerStatuses"].as_array()?;
    statuses.iter().find(|status| status["name"] == container.name.as_str())
}

/// Says what became of each container of a job.
pub(super) fn rows(
    job: &Job<'_>,
    pods: &Value,
    cluster: &Cluster<'_>,
    cancel: &Cancel,
) -> Result<Vec<Row>, Error> {
    let pod = &pods["items"][0];
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut rows = Vec::new();
    for container in job.containers {
        let status = status(pods, container);
        let ended = status.map(|status| &status["state"]["terminated"]).filter(|ended| ended.is_object());
        let mut row = Row::new(job.handler, container);
        match ended {
            Some(ended) => {
                row.exit = ended["exitCode"].as_i64();
                let log = cluster.logs(name, &container.name, cancel)?;
                let id = status
                    .and_then(|status| status["containerID"].as_str())
                    .and_then(|id| id.rsplit('/').next());
                if let (Some(first), Some(id)) = (first_moment(&log), id) {
                    row.first_output = since(&cluster.container(id, cancel)?, first);
                }
                row.output = without_moments(&log);
                row.fault = fault(container, &row, ended["message"].as_str().unwrap_or_default());
            }
            None => row.fault = Some(waiting(pod, status)),
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Says what is wrong with how a container ended.
pub(super) fn fault(container: &ExampleContainer, row: &Row, message: &str) -> Option<String> {
    let message = message.trim();
    if row.exit != Some(container.exit.into()) {
        let code = row.exit.map_or_else(|| "no code".to_owned(), |code| code.to_string());
        let more = if message.is_empty() { String::new() } else { format!(": {message}") };
        return Some(format!("exit code is {code}, should be {}{more}", container.exit));
    }
    let prints = container.prints.as_ref()?;
    let printed = row.output.lines().any(|line| line == prints);
    (!printed).then(|| format!("did not print `{prints}`"))
}

/// Says why a container has not run.
pub(super) fn waiting(pod: &Value, status: Option<&Value>) -> String {
    let waiting = status.map(|status| &status["state"]["waiting"]).unwrap_or(&Value::Null);
    let condition =
        pod["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["status"] == "False");
    let of = |place: &Value| {
        let words =
            [&place["reason"], &place["message"]].map(|word| word.as_str().unwrap_or_default().trim());
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ")
    };
    match (of(waiting), condition.map(of)) {
        (text, _) if !text.is_empty() => format!("did not end: {text}"),
        (_, Some(text)) if !text.is_empty() => format!("did not end: {text}"),
        _ => "did not end".to_owned(),
    }
}

/// The moment of the first line that `kubectl logs --timestamps` gives.
fn first_moment(log: &str) -> Option<Timestamp> {
    log.split(' ').next()?.parse().ok()
}

pub(super) fn without_moments(log: &str) -> String {
    let text = |line: &str| line.split_once(' ').map_or_else(String::new, |(_, text)| format!("{text}\n"));
    log.lines().map(text).collect()
}

/// How long after its creation, as containerd knows it, a container came to a moment. Both are the node's clock's.
pub(super) fn since(container: &Value, moment: Timestamp) -> Option<Duration> {
    let created: Timestamp = container["CreatedAt"].as_str()?.parse().ok()?;
    Duration::try_from(moment.duration_since(created)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(statuses: Value) -> Value {
        json!({ "items": [{
            "metadata": { "name": "example-x" },
            "spec": { "containers": [{ "name": "wasm" }, { "name": "oci" }] },
            "status": { "containerStatuses": statuses },
        }] })
    }

    #[test]
    fn a_job_is_settled_when_no_container_can_do_more() {
        let ended = json!({ "name": "wasm", "state": { "terminated": { "exitCode": 0 } } });
        let runs = json!({ "name": "oci", "state": { "running": {} } });
        let never = json!({ "name": "oci", "state": { "waiting": { "reason": "ErrImageNeverPull" } } });
        let soon = json!({ "name": "oci", "state": { "waiting": { "reason": "ContainerCreating" } } });
        assert!(!are_settled(&json!({ "items": [] })));
        assert!(!are_settled(&pod(json!([ended]))), "a container without a status");
        assert!(!are_settled(&pod(json!([ended, runs]))));
        assert!(!are_settled(&pod(json!([ended, soon]))));
        assert!(are_settled(&pod(json!([ended, never]))));
    }

    #[test]
    fn a_container_is_given_its_stdin_while_it_runs() {
        let runs = json!({ "name": "wasm", "state": { "running": { "startedAt": "x" } } });
        let waits = json!({ "name": "oci", "state": { "waiting": {} } });
        let pods = pod(json!([runs, waits]));
        assert_eq!(running(&pods, "wasm"), Some("example-x"));
        assert_eq!(running(&pods, "oci"), None);
        assert_eq!(running(&json!({ "items": [] }), "wasm"), None);
    }

    #[test]
    fn faults_say_what_differs() {
        let mut container = ExampleContainer {
            name: "wasm".into(),
            image: "wasm-hello:1".into(),
            command: Vec::new(),
            args: Vec::new(),
            stdin: None,
            env: Default::default(),
            memory: None,
            prints: Some("hello".into()),
            exit: 0,
            http: None,
        };
        let mut row = Row::new(Some("crun-wasmtime"), &container);
        let message = "out of memory\n";
        row.exit = Some(137);
        assert_eq!(fault(&container, &row, message).unwrap(), "exit code is 137, should be 0: out of memory");
        row.exit = Some(0);
        row.output = "hello world\n".into();
        assert_eq!(fault(&container, &row, "").unwrap(), "did not print `hello`");
        row.output = "x\nhello\n".into();
        assert_eq!(fault(&container, &row, ""), None);
        (container.exit, row.exit) = (3, Some(3));
        assert_eq!(fault(&container, &row, ""), None);
    }

    #[test]
    fn a_container_that_did_not_start_says_why() {
        let status =
            json!({ "state": { "waiting": { "reason": "ErrImageNeverPull", "message": "not present" } } });
        assert_eq!(waiting(&json!({}), Some(&status)), "did not end: ErrImageNeverPull: not present");
        let pod = json!({ "status": { "conditions": [
            { "type": "Initialized", "status": "True" },
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" },
        ] } });
        assert_eq!(waiting(&pod, None), "did not end: Unschedulable: 0/1 nodes");
        assert_eq!(waiting(&json!({}), None), "did not end");
    }

    #[test]
    fn the_first_output_is_timed_by_the_nodes_clock() {
        let log = "2026-11-24T22:00:01.250000001Z hello\n2026-11-24T22:00:02Z \n";
        let created = json!({ "CreatedAt": "2026-11-24T22:00:01.200000001Z" });
        assert_eq!(since(&created, first_moment(log).unwrap()), Some(Duration::from_millis(50)));
        assert_eq!(without_moments(log), "hello\n\n");
        assert_eq!(first_moment(""), None);
    }
}

//! Containers that serve HTTP: asked once they answer, then stopped as Kubernetes stops them.
//!
//! The node itself asks, at the pod's address: that is the way on which a Service's requests come, and it takes nothing
//! but `curl`, which every kind node has. What a stopped container leaves is read off its pod, which a finalizer keeps
//! until then.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::kind::Cluster;
use super::{Error, Row, pods};
use crate::base::Cancel;
use crate::node::{ExampleContainer, Http, Job};

/// How long an answer may take from the moment that the container runs.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// How long a container may take to stop once it is asked to: far less than the 30 s after which it would be killed.
pub(super) const STOP: Duration = Duration::from_secs(10);
/// How long a pod may take to be gone for good.
const GONE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

/// What a container answered, and how it took being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// The status of its answer, if it gave one.
    pub status: Option<u16>,
    /// The body of its answer.
    pub body: String,
    /// How long it took to stop, if it did in time.
    pub stopped: Option<Duration>,
}

/// What `curl` is told besides the URL: the status stands on a line of its own below the body.
pub(super) const CURL: &str = "curl --silent --show-error --globoff --noproxy '*' --max-time 5 --max-filesize 65536 --write-out '\\n%{http_code}\\n'";

/// Waits for a Deployment's containers, asks each what it is to be asked, and stops them.
pub(super) fn rows(
    job: &Job<'_>,
    cluster: &Cluster<'_>,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Vec<Row>, Error> {
    let since = Instant::now();
    let selector = job.selector();
    // A server is there when all of its pod runs, or it never will be.
    let mut pods = cluster.labelled(&selector, cancel)?;
    while !is_up(&pods) && !pods::are_settled(&pods) && since.elapsed() < limit {
        std::thread::sleep(LOOK);
        pods = cluster.labelled(&selector, cancel)?;
    }
    let mut rows: Vec<Row> = Vec::new();
    for container in job.containers {
        let http = container.http.as_ref().expect("all containers of such a pod serve");
        let mut row = Row::new(job.handler, container);
        if is_up(&pods) {
            ask(http, &mut row, &pods, container, cluster, cancel)?;
            let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap_or_default();
            row.output = pods::without_moments(&cluster.logs(pod, &container.name, cancel)?);
        } else {
            row.fault = Some(pods::waiting(&pods["items"][0], pods::status(&pods, container)));
        }
        rows.push(row);
    }
    stop(job, &pods, &mut rows, cluster, cancel)?;
    Ok(rows)
}

/// Tells whether every container of a pod runs and the pod has an address.
fn is_up(pods: &Value) -> bool {
    let status = &pods["items"][0]["status"];
    let statuses = status["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let runs = |status: &Value| status["state"]["running"].is_object();
    status["podIP"].is_string() && !statuses.is_empty() && statuses.iter().all(runs)
}

/// Asks a container until it answers.
fn ask(
    http: &Http,
    row: &mut Row,
    pods: &Value,
    container: &ExampleContainer,
    cluster: &Cluster<'_>,
    cancel: &Cancel,
) -> Result<(), Error> {
    let url = http.url(pods["items"][0]["status"]["podIP"].as_str().unwrap_or_default());
    let script = format!("{CURL} -- \"$0\" && date -u +%Y-%m-%dT%H:%M:%S.%NZ");
    let since = Instant::now();
    loop {
        let (why, answered) = match cluster.on_node(&["sh", "-c", &script, &url], cancel) {
            Ok(told) => (String::new(), Some(told)),
            Err(Error::Failed { tail, .. }) => (tail, None),
            Err(error) => return Err(error),
        };
        if let Some((served, moment)) = answered.as_deref().and_then(answer) {
            row.fault = fault(http, &served);
            row.served = Some(served);
            let id = pods::status(pods, container).and_then(|status| status["containerID"].as_str());
            if let (Some(moment), Some(id)) = (moment, id.and_then(|id| id.rsplit('/').next())) {
                row.first_output = pods::since(&cluster.container(id, cancel)?, moment);
            }
            return Ok(());
        }
        if since.elapsed() >= ANSWER {
            row.served = Some(Served::default());
            row.fault = Some(no_answer(http, &why));
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

/// Reads what `curl` and `date` printed.
fn answer(told: &str) -> Option<(Served, Option<Timestamp>)> {
    let (told, moment) = told.trim_end_matches('\n').rsplit_once('\n')?;
    Some((read(told)?, moment.parse().ok()))
}

/// Reads what `curl` printed: the body, and the status on the last line.
pub(super) fn read(told: &str) -> Option<Served> {
    let (body, status) = told.trim_end_matches('\n').rsplit_once('\n')?;
    let status = status.parse().ok().filter(|status| *status != 0)?;
    Some(Served { status: Some(status), body: body.to_owned(), stopped: None })
}

/// Says what is wrong with an answer.
pub(super) fn fault(http: &Http, served: &Served) -> Option<String> {
    let status = served.status.unwrap_or_default();
    if status != http.status {
        return Some(format!("the answer to `{}` has status {status}, should be {}", http.path, http.status));
    }
    let line = http.body.as_ref()?;
    let there = served.body.lines().any(|one| one == line);
    (!there).then(|| format!("the answer to `{}` does not have the line `{line}`", http.path))
}

/// Says that a container never answered.
pub(super) fn no_answer(http: &Http, why: &str) -> String {
    let why = why.trim();
    let more = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("no answer on port {} within {} s{more}", http.port, ANSWER.as_secs())
}

/// Says that a container did not stop. The shim may take another signal only, which is the image's to say.
pub(super) fn did_not_stop(signal: Option<&str>, why: &str) -> String {
    let signal = signal.map_or_else(|| "its image's stop signal".to_owned(), |signal| format!("`{signal}`"));
    let why = why.trim();
    let more = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("did not stop on {signal} within {} s{more}", STOP.as_secs())
}

/// Deletes a Deployment and looks how its pod's containers end.
fn stop(
    job: &Job<'_>,
    pods: &Value,
    rows: &mut [Row],
    cluster: &Cluster<'_>,
    cancel: &Cancel,
) -> Result<(), Error> {
    let Some(pod) = pods["items"][0]["metadata"]["name"].as_str() else {
        return cluster.delete_workload(&job.manifest, cancel);
    };
    cluster.hold(pod, cancel)?;
    let stopped = ends(job, pod, rows, cluster, cancel);
    // However that went: a pod that is held never goes.
    let let_go = cluster.let_go(pod, &Cancel::default());
    stopped.and(let_go)
}

fn ends(
    job: &Job<'_>,
    pod: &str,
    rows: &mut [Row],
    cluster: &Cluster<'_>,
    cancel: &Cancel,
) -> Result<(), Error> {
    let since = Instant::now();
    cluster.delete_workload(&job.manifest, cancel)?;
    let mut open: Vec<_> = (0..rows.len()).filter(|&at| rows[at].served.is_some()).collect();
    while !open.is_empty() && since.elapsed() < GONE {
        let now = cluster.pod(pod, cancel)?;
        let elapsed = since.elapsed();
        open.retain(|&at| {
            let status = pods::status(&now, &job.containers[at]).map(|status| &status["state"]["terminated"]);
            let Some(ended) = status.filter(|ended| ended.is_object()) else { return true };
            let row = &mut rows[at];
            row.exit = ended["exitCode"].as_i64();
            if elapsed < STOP {
                row.served.as_mut().expect("open rows are of servers").stopped = Some(elapsed);
            } else if row.fault.is_none() {
                row.fault = Some(did_not_stop(None, ""));
            }
            false
        });
        std::thread::sleep(LOOK);
    }
    for at in open {
        if rows[at].fault.is_none() {
            rows[at].fault = Some(did_not_stop(None, ""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn http() -> Http {
        serde_json::from_value(json!({ "port": 80, "path": "/hello", "body": "hello" })).unwrap()
    }

    #[test]
    fn an_answer_is_its_body_and_its_status() {
        let (served, moment) = answer("hello\nworld\n\n200\n2026-11-24T22:00:01.25Z\n").unwrap();
        assert_eq!((served.status, served.body.as_str()), (Some(200), "hello\nworld\n"));
        assert_eq!(moment, Some("2026-11-24T22:00:01.25Z".parse().unwrap()));
        assert_eq!(read("\n404\n").unwrap().status, Some(404));
        // What curl prints where nothing answers.
        assert_eq!(read("\n000\n"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn faults_say_what_was_asked() {
        let served = |status, body: &str| Served { status: Some(status), body: body.into(), stopped: None };
        let told = |status, body: &str| fault(&http(), &served(status, body));
        assert_eq!(told(200, "hello\n"), None);
        assert_eq!(told(404, "hello\n").unwrap(), "the answer to `/hello` has status 404, should be 200");
        assert_eq!(
            told(200, "hello world").unwrap(),
            "the answer to `/hello` does not have the line `hello`"
        );
        assert_eq!(no_answer(&http(), " refused\n"), "no answer on port 80 within 60 s: refused");
        assert_eq!(
            did_not_stop(Some("SIGTERM"), "only SIGINT"),
            "did not stop on `SIGTERM` within 10 s: only SIGINT"
        );
        assert_eq!(did_not_stop(None, ""), "did not stop on its image's stop signal within 10 s");
    }

    #[test]
    fn a_server_is_up_when_all_of_its_pod_runs() {
        let pods = |address: Value, states: &[&str]| {
            let statuses: Vec<_> = states.iter().map(|state| json!({ "state": { *state: {} } })).collect();
            json!({ "items": [{ "status": { "podIP": address, "containerStatuses": statuses } }] })
        };
        assert!(is_up(&pods("10.244.0.5".into(), &["running", "running"])));
        assert!(!is_up(&pods("10.244.0.5".into(), &["running", "waiting"])));
        assert!(!is_up(&pods(Value::Null, &["running"])));
        assert!(!is_up(&pods("10.244.0.5".into(), &[])));
        assert!(!is_up(&json!({ "items": [] })));
    }

    #[test]
    fn urls_hold_either_kind_of_address() {
        assert_eq!(http().url("10.244.0.5"), "http://10.244.0.5:80/hello");
        assert_eq!(http().url("fd00::5"), "http://[fd00::5]:80/hello");
    }
}

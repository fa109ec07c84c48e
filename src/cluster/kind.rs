//! One kind cluster: made, spoken to, deleted.

use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Error;
use super::program::{Call, Program, Programs};
use super::report::Kept;
use crate::base::Cancel;

/// How long a node may take until it is Ready, as kind takes it.
const READY: &str = "180s";
/// Longer than kind itself waits: kind then says what it waited for.
const CREATE: Duration = Duration::from_secs(300);
const LOAD: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(30);
const DELETE: Duration = Duration::from_secs(60);
const ACCOUNT: Duration = Duration::from_secs(60);
/// What keeps a pod until it was looked at.
const FINALIZER: &str = "nodeimg/trial";
/// How often the cluster is asked for news.
const LOOK: Duration = Duration::from_millis(250);

/// A cluster, whether or not it is there yet.
pub(super) struct Cluster<'a> {
    programs: &'a Programs<'a>,
    name: String,
}

/// Makes a name that no other cluster has, here or on another machine with the same engine.
pub(super) fn unique_name() -> String {
    // The standard library seeds it from the system's random numbers.
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("nodeimg-{:08x}", random as u32)
}

impl<'a> Cluster<'a> {
    pub(super) fn named(programs: &'a Programs<'a>, name: &str) -> Self {
        Self { programs, name: name.to_owned() }
    }

    /// Makes the cluster and waits until its node is Ready.
    pub(super) fn create(&self, config: &str, cancel: &Cancel) -> Result<(), Error> {
        // `--retain`: what failed is looked at before it is deleted.
        let arguments =
            ["create", "cluster", "--name", &self.name, "--config", "-", "--wait", READY, "--retain"];
        self.call(Program::Kind, &arguments, config, CREATE, cancel).map(drop)
    }

    /// Puts images into the node.
    pub(super) fn load(&self, archives: &[PathBuf], cancel: &Cancel) -> Result<(), Error> {
        let paths: Vec<String> = archives.iter().map(|path| path.display().to_string()).collect();
        let mut arguments = vec!["load", "image-archive", "--name", &self.name];
        arguments.extend(paths.iter().map(String::as_str));
        self.call(Program::Kind, &arguments, "", LOAD, cancel).map(drop)
    }

    /// Applies manifests.
    pub(super) fn apply(&self, manifests: &str, cancel: &Cancel) -> Result<(), Error> {
        self.call(Program::Kubectl, &["apply", "-f", "-"], manifests, ANSWER, cancel).map(drop)
    }

    /// Waits until pods may be made: kind says Ready some seconds before.
    pub(super) fn wait_for_accounts(&self, cancel: &Cancel) -> Result<(), Error> {
        let since = Instant::now();
        let arguments = ["get", "serviceaccount", "default", "--ignore-not-found", "--output", "name"];
        while self.call(Program::Kubectl, &arguments, "", ANSWER, cancel)?.is_empty() {
            if since.elapsed() >= ACCOUNT {
                return Err(Error::NoAccount { seconds: ACCOUNT.as_secs() });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until every container of a job's pods has ended or can't start; gives the pods as they are then.
    pub(super) fn wait_for_job(&self, job: &str, limit: Duration, cancel: &Cancel) -> Result<Value, Error> {
        let since = Instant::now();
        loop {
            let pods = self.pods(job, cancel)?;
            if super::pods::are_settled(&pods) || since.elapsed() >= limit {
                return Ok(pods);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Gives a container of a job its stdin, once it runs. A container that ends without having read it is no error
    /// here: its row says how it ended.
    pub(super) fn send(
        &self,
        job: &str,
        container: &str,
        text: &str,
        limit: Duration,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            let pods = self.pods(job, cancel)?;
            if let Some(pod) = super::pods::running(&pods, container) {
                let attach = ["attach", "--stdin", pod, "--container", container];
                return match self.call(Program::Kubectl, &attach, text, ANSWER, cancel) {
                    Err(error @ (Error::Cancelled | Error::Start { .. })) => Err(error),
                    _ => Ok(()),
                };
            }
            if super::pods::are_settled(&pods) || since.elapsed() >= limit {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Gives what a container printed, each line behind the moment it came.
    pub(super) fn logs(&self, pod: &str, container: &str, cancel: &Cancel) -> Result<String, Error> {
        self.call(
            Program::Kubectl,
            &["logs", pod, "--container", container, "--timestamps"],
            "",
            ANSWER,
            cancel,
        )
    }

    /// Asks the node's containerd about a container.
    pub(super) fn container(&self, id: &str, cancel: &Cancel) -> Result<Value, Error> {
        let arguments = ["exec", &self.node(), "ctr", "--namespace", "k8s.io", "containers", "info", id];
        self.json(Program::Docker, &arguments, cancel)
    }

    /// Tells how much memory the node uses, as Docker writes it.
    pub(super) fn memory(&self, cancel: &Cancel) -> Result<Option<String>, Error> {
        let arguments = ["stats", "--no-stream", "--format", "{{.MemUsage}}", &self.node()];
        // Now and then the first figure is nothing at all.
        for _ in 0..3 {
            let told = self.call(Program::Docker, &arguments, "", ANSWER, cancel)?;
            let used = told.split('/').next().unwrap_or_default().trim();
            if !["", "--", "0B"].contains(&used) {
                return Ok(Some(used.to_owned()));
            }
        }
        Ok(None)
    }

    /// Keeps what tells why something failed. What can't be had is left out: the failure itself is told anyway.
    pub(super) fn export_logs(&self, to: &Path) {
        let unstoppable = Cancel::default();
        let _ = fs_err::create_dir_all(to);
        let node = to.join("node").display().to_string();
        let _ = self.call(
            Program::Kind,
            &["export", "logs", "--name", &self.name, &node],
            "",
            DELETE,
            &unstoppable,
        );
        let arguments = ["get", "events", "--all-namespaces", "--sort-by", ".metadata.creationTimestamp"];
        if let Ok(events) = self.call(Program::Kubectl, &arguments, "", ANSWER, &unstoppable) {
            self.keep_text(to, "events.txt", &events);
        }
    }

    /// Keeps a text with the logs.
    pub(super) fn keep_text(&self, logs: &Path, name: &str, text: &str) {
        let _ = fs_err::create_dir_all(logs).and_then(|()| fs_err::write(logs.join(name), text));
    }

    /// Deletes the cluster and all that is left of it. Can't be stopped.
    pub(super) fn delete(&self) -> Result<(), Error> {
        self.call(Program::Kind, &["delete", "cluster", "--name", &self.name], "", DELETE, &Cancel::default())
            .map(drop)
    }

    /// Leaves the cluster to the user.
    pub(super) fn keep(&self, logs: &Path) -> Result<Kept, Error> {
        let kubeconfig = logs.join("kubeconfig");
        let failed = |source| Error::Io { action: "write", path: kubeconfig.clone(), source };
        fs_err::create_dir_all(logs).map_err(failed)?;
        fs_err::copy(self.programs.kubeconfig(), &kubeconfig).map_err(failed)?;
        Ok(Kept { name: self.name.clone(), kubeconfig, kind: self.programs.kind().to_owned() })
    }

    /// Asks for a job's pods.
    fn pods(&self, job: &str, cancel: &Cancel) -> Result<Value, Error> {
        self.labelled(&format!("job-name={job}"), cancel)
    }

    /// Asks for the pods with a label.
    pub(super) fn labelled(&self, selector: &str, cancel: &Cancel) -> Result<Value, Error> {
        self.json(Program::Kubectl, &["get", "pods", "--selector", selector, "--output", "json"], cancel)
    }

    /// Asks for one pod, which is given as a list of one.
    pub(super) fn pod(&self, name: &str, cancel: &Cancel) -> Result<Value, Error> {
        let pod = self.json(Program::Kubectl, &["get", "pod", name, "--output", "json"], cancel)?;
        Ok(serde_json::json!({ "items": [pod] }))
    }

    /// Keeps a pod from going before it was looked at once more.
    pub(super) fn hold(&self, pod: &str, cancel: &Cancel) -> Result<(), Error> {
        self.patch(pod, &format!(r#"{{"metadata":{{"finalizers":["{FINALIZER}"]}}}}"#), cancel)
    }

    /// Lets a pod go that was held.
    pub(super) fn let_go(&self, pod: &str, cancel: &Cancel) -> Result<(), Error> {
        self.patch(pod, r#"{"metadata":{"finalizers":null}}"#, cancel)
    }

    fn patch(&self, pod: &str, patch: &str, cancel: &Cancel) -> Result<(), Error> {
        let arguments = ["patch", "pod", pod, "--type", "merge", "--patch", patch];
        self.call(Program::Kubectl, &arguments, "", ANSWER, cancel).map(drop)
    }

    /// Has what manifests made deleted, without waiting for the end of it.
    pub(super) fn delete_workload(&self, manifests: &str, cancel: &Cancel) -> Result<(), Error> {
        let arguments = ["delete", "-f", "-", "--ignore-not-found", "--wait=false"];
        self.call(Program::Kubectl, &arguments, manifests, ANSWER, cancel).map(drop)
    }

    /// Runs a program on the node.
    pub(super) fn on_node(&self, words: &[&str], cancel: &Cancel) -> Result<String, Error> {
        let node = self.node();
        self.call(Program::Docker, &[&["exec", &node], words].concat(), "", ANSWER, cancel)
    }

    /// The container that is the node.
    fn node(&self) -> String {
        format!("{}-control-plane", self.name)
    }

    fn json(&self, program: Program, arguments: &[&str], cancel: &Cancel) -> Result<Value, Error> {
        let text = self.call(program, arguments, "", ANSWER, cancel)?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Answer { command: arguments.join(" "), reason: error.to_string() })
    }

    fn call(
        &self,
        program: Program,
        arguments: &[&str],
        input: &str,
        limit: Duration,
        cancel: &Cancel,
    ) -> Result<String, Error> {
        self.programs.run(Call { program, arguments, input, limit }, cancel)
    }
}

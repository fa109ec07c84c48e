//! An image in the nodes of a running kind cluster.
//!
//! kind labels the containers that are a cluster's nodes; in each runs a containerd, and `ctr` speaks to it through
//! the engine's `exec`. A node is asked for the blobs that it has, and an archive without them is streamed into
//! `ctr images import`, to all nodes at once. containerd refuses an index whose image it can't read, and afterwards
//! the node is asked whether it has the image under its name and digest, whole: if it lost a blob meanwhile, it gets
//! all of them. The image is unpacked by the first pod that uses it, for the node's own snapshotter.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::ListContainersOptions;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select, try_join};
use tokio::io::AsyncWriteExt as _;

use super::docker::Engine;
use super::pipe::{self, Chunks};
use super::{Error, Form, Image, Output, Put};
use crate::base::event::Outcome;
use crate::base::{Cancel, Digest, Sha256};
use crate::engine::Settings;
use crate::image;
use crate::store::{Store, Tree};

pub(super) const FORM: Form = Form {
    name: "kind",
    place: "CLUSTER",
    about: "the nodes of a running cluster (`kind`)",
    open: |place, here| Ok(Box::new(Cluster::find(here.engine, place.unwrap_or("kind"))?)),
};

/// The label by which kind knows its nodes.
const CLUSTER: &str = "io.x-k8s.kind.cluster";
/// The label that tells what a node is for. One is no node but a proxy in front of several.
const ROLE: &str = "io.x-k8s.kind.role";
const PROXY: &str = "external-load-balancer";

/// How much of what `ctr` says is kept: the names of some 50,000 blobs.
const KEPT: usize = 4 << 20;
/// How often somebody looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// A cluster that runs.
#[derive(Debug)]
struct Cluster {
    name: String,
    settings: Settings,
    nodes: Vec<String>,
}

impl Cluster {
    fn find(settings: &Settings, name: &str) -> Result<Cluster, Error> {
        let engine = Engine::connect(settings)?;
        let listed = engine.engine().block_on(engine.docker.list_containers(None::<ListContainersOptions>));
        let host = engine.engine().host().to_owned();
        let listed = listed.map_err(|source| Error::DockerList { host: host.clone(), source })?;
        let (mut nodes, mut others) = (Vec::new(), BTreeSet::new());
        for container in listed {
            let labels = container.labels.unwrap_or_default();
            let Some(cluster) = labels.get(CLUSTER) else { continue };
            if labels.get(ROLE).is_some_and(|role| role == PROXY) {
                continue;
            }
            if cluster == name {
                nodes.extend(
                    container
                        .names
                        .unwrap_or_default()
                        .first()
                        .map(|name| name.trim_start_matches('/').to_owned()),
                );
            } else {
                others.insert(cluster.clone());
            }
        }
        nodes.sort();
        if nodes.is_empty() {
            let others = others.into_iter().collect::<Vec<_>>();
            return Err(Error::NoCluster { name: name.to_owned(), host, others });
        }
        Ok(Cluster { name: name.to_owned(), settings: settings.clone(), nodes })
    }
}

impl Output for Cluster {
    fn name(&self) -> String {
        match self.nodes.as_slice() {
            [_] => format!("the node of kind cluster {}", self.name),
            nodes => format!("{} nodes of kind cluster {}", nodes.len(), self.name),
        }
    }

    fn put(&self, store: &Store, image: &Image<'_>, cancel: &Cancel) -> Result<Put, Error> {
        let tree = store.tree(image.tree)?;
        let summary = image::read(store, &tree).map_err(Error::Image)?;
        let fill = |name: &String| {
            let node = Node { engine: Engine::connect(&self.settings)?, name };
            node.fill(store, &tree, &summary, cancel)
        };
        let done: Vec<Result<Put, Error>> = std::thread::scope(|scope| {
            let nodes: Vec<_> = self.nodes.iter().map(|name| scope.spawn(move || fill(name))).collect();
            nodes.into_iter().map(|node| node.join().expect("filling a node does not panic")).collect()
        });
        let mut all = Put { outcome: Outcome::Reused, sent: Some(0) };
        for put in done {
            let put = put?;
            if put.outcome == Outcome::Done {
                all.outcome = Outcome::Done;
            }
            all.sent = all.sent.zip(put.sent).map(|(all, own)| all + own);
        }
        Ok(all)
    }
}

/// One node and a connection to the engine that it runs in.
struct Node<'a> {
    engine: Engine,
    name: &'a str,
}

/// What a program in a node said.
#[derive(Default)]
struct Said {
    code: i64,
    out: String,
    err: String,
}

impl Node<'_> {
    fn fill(
        &self,
        store: &Store,
        tree: &Tree,
        summary: &image::Summary,
        cancel: &Cancel,
    ) -> Result<Put, Error> {
        if self.has(summary, cancel)? {
            return Ok(Put { outcome: Outcome::Reused, sent: Some(0) });
        }
        let there = self.blobs(cancel)?;
        let (rest, size) = pipe::without(tree, &there);
        let told = self.import(store, &rest, summary, cancel);
        if told.is_ok() && self.has(summary, cancel)? {
            return Ok(Put { outcome: Outcome::Done, sent: Some(size) });
        }
        if matches!(told, Err(Error::NodeSaid { .. }) | Ok(())) && !there.is_empty() {
            // What it had may be gone by now.
            let (whole, size) = pipe::without(tree, &BTreeSet::new());
            self.import(store, &whole, summary, cancel)?;
            if self.has(summary, cancel)? {
                return Ok(Put { outcome: Outcome::Done, sent: Some(size) });
            }
        }
        told?;
        Err(Error::NodeImage { node: self.name.to_owned(), reference: summary.reference.clone() })
    }

    /// Tells whether the node has an image under its name and digest, with all blobs.
    fn has(&self, summary: &image::Summary, cancel: &Cancel) -> Result<bool, Error> {
        let filter = format!("name=={}", summary.reference);
        let said = self.ctr(&["images", "check", &filter], cancel)?;
        Ok(is_listed(&said, &summary.reference, &summary.manifest))
    }

    /// Lists the blobs that the node has.
    fn blobs(&self, cancel: &Cancel) -> Result<BTreeSet<Sha256>, Error> {
        Ok(self
            .ctr(&["content", "ls", "--quiet"], cancel)?
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect())
    }

    fn import(
        &self,
        store: &Store,
        tree: &Tree,
        summary: &image::Summary,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        let (repository, _) = summary.reference.rsplit_once(':').expect("a reference has a tag");
        let import = ["images", "import", "--all-platforms", "--no-unpack", "--digests"];
        let command = command(&[&import[..], &["--base-name", repository, "-"]].concat());
        let (written, said) = pipe::stream(store, tree, cancel, |chunks| {
            self.engine.engine().block_on(self.exec(&command, Some(chunks), cancel))
        });
        match written {
            // The program ended before it had all: it says why.
            Ok(()) | Err(image::Error::Write { .. }) => self.check(&command, said?).map(drop),
            Err(error) => Err(Error::from_image(error, self.name.as_ref())),
        }
    }

    /// Asks the node's containerd; gives what is printed.
    fn ctr(&self, arguments: &[&str], cancel: &Cancel) -> Result<String, Error> {
        let command = command(arguments);
        let said = self.engine.engine().block_on(self.exec(&command, None, cancel))?;
        self.check(&command, said)
    }

    fn check(&self, command: &[String], said: Said) -> Result<String, Error> {
        if said.code == 0 {
            return Ok(said.out);
        }
        let (node, command) = (self.name.to_owned(), command.join(" "));
        let said = if said.err.is_empty() { said.out } else { said.err };
        Err(Error::NodeSaid { node, command, said: said.trim().to_owned() })
    }

    /// Runs a program in the node to its end.
    async fn exec(&self, command: &[String], input: Option<Chunks>, cancel: &Cancel) -> Result<Said, Error> {
        let failed = |source| Error::Node { node: self.name.to_owned(), source };
        let options = CreateExecOptions {
            attach_stdin: Some(input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::default()
        };
        let created = self.engine.docker.create_exec(self.name, options).await.map_err(failed)?;
        let started = self.engine.docker.start_exec(&created.id, None).await.map_err(failed)?;
        let StartExecResults::Attached { mut output, input: mut stdin } = started else {
            unreachable!("only what is asked to detach does");
        };
        let feed = async {
            let Some(mut chunks) = input else { return Ok::<_, Error>(()) };
            while let Some(chunk) = chunks.recv().await {
                // Whoever writes the archive tells why it has no end.
                let chunk = chunk.map_err(|_| Error::Cancelled)?;
                // A program that takes no more has ended and said why.
                if stdin.write_all(&chunk).await.is_err() {
                    return Ok(());
                }
            }
            let _ = stdin.shutdown().await;
            Ok(())
        };
        let listen = async {
            let mut said = Said::default();
            while let Some(part) = output.next().await {
                let part = part.map_err(failed)?;
                let of = if matches!(part, LogOutput::StdErr { .. }) { &mut said.err } else { &mut said.out };
                if of.len() < KEPT {
                    of.push_str(&String::from_utf8_lossy(part.as_ref()));
                }
            }
            Ok(said)
        };
        let stopped = async {
            while !cancel.is_cancelled() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let mut said = match select(pin!(try_join(feed, listen)), pin!(stopped)).await {
            Either::Left((both, _)) => both?.1,
            Either::Right(_) => return Err(Error::Cancelled),
        };
        let ended = self.engine.docker.inspect_exec(&created.id).await.map_err(failed)?;
        said.code = ended.exit_code.unwrap_or(-1);
        Ok(said)
    }
}

/// Kubernetes' images are containerd's in this namespace.
fn command(arguments: &[&str]) -> Vec<String> {
    ["ctr", "--namespace=k8s.io"].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

/// Reads what `ctr images check` prints: `REF TYPE DIGEST STATUS …`, where `complete` is what is wanted.
fn is_listed(table: &str, reference: &str, manifest: &Digest) -> bool {
    table.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(reference)
            && words.nth(1) == Some(&manifest.hash.oci())
            && words.next() == Some("complete")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_an_image_when_all_of_it_is_there() {
        let digest = Digest::of(b"manifest");
        let line = |name: &str, digest: &str, status: &str| {
            format!(
                "REF TYPE DIGEST STATUS SIZE UNPACKED\n{name} application/vnd.oci.image.manifest.v1+json {digest} \
                 {status} (2/2) 3.1 MiB/3.1 MiB false\n"
            )
        };
        let own = digest.hash.oci();
        assert!(is_listed(&line("example/a:1", &own, "complete"), "example/a:1", &digest));
        assert!(!is_listed(&line("example/a:1", &own, "incomplete"), "example/a:1", &digest));
        assert!(!is_listed(&line("example/a:12", &own, "complete"), "example/a:1", &digest));
        assert!(!is_listed(&line("example/a:1", "sha256:00", "complete"), "example/a:1", &digest));
        assert!(!is_listed("", "example/a:1", &digest));
    }
}

//! The Docker sandbox: each job in a container of its own, on whatever engine is reached.
//!
//! ```text
//! nodeimg ─ engine ─┬─ container: no network, read-only, all capabilities but two dropped, limits, no new privileges
//!                   │    agent (this program) ── the namespace sandbox ── the job
//!                   ├─ volume nodeimg-inputs: trees by digest, each sent once
//!                   └─ volume of the container: what is only this job's
//! ```
//!
//! *The same bytes, by construction.* What a job sees and what becomes of owners is all the work of `namespace`'s PID 1.
//! A container can't do it alike by itself: an engine puts files of its own into `/etc`, `/dev` and `/sys`, a real root's
//! `chown` and `setuid` differ from recorded ones, and whoever is 1000 inside must own the inputs. So the container holds
//! this same program, which makes the same namespaces in there. What the container adds is a wall around them: cgroup
//! limits that the kernel enforces, no interface at all, no file of the engine's machine but two volumes.
//!
//! *Nothing is shared but the connection.* The engine may be on another machine or see other files, so no host path is
//! mounted: folders go over the attached standard streams (`stream`, `wire`), what is known by digest only once
//! (`inputs`), and what the step leaves comes back the same way. One way for near and far, and one that is tested.
//! It costs a container's start and stop, and the copying.
//!
//! *What the agent may do.* `CAP_SYS_ADMIN` and `CAP_SETFCAP`, so that it can make a user namespace with a root also where
//! that is refused to ordinary processes, as in most containers and on recent Ubuntu. For the same reason the engine's
//! own filters, which forbid that, are off, and `/proc` is unmasked, without which the kernel lets nobody mount another
//! (`mount_too_revealing`). Neither capability reaches the job: it is in the new namespace, where they mean nothing for
//! the machine, and has what `namespace` leaves it, with its system call filters. The agent stays outside, where the job
//! can't see it; of the job it takes bytes, and files only when no process of the job is left.
//!
//! Seen with Docker 26.1 on cgroup v1 and with Podman 4.3 as root.
//!
//! Containers are removed when their job ends, when nodeimg is stopped, and by the engine when nodeimg is killed: the
//! agent ends with its input. Never: chosen without being asked for, a part of a key.

mod agent;
mod container;
mod image;
mod inputs;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::io::{BufReader, BufWriter, Read as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use self::agent::Kind;
use self::container::Container;
use self::wire::{Back, Order, Place, Said};
use super::{Error, Finished, Job, Sandbox};
use crate::base::Cancel;
use crate::engine::Engine;
use crate::store::Store;

pub(super) use agent::enter_if_asked;

/// How long an engine may take to begin an answer: it may have to unpack an image for it.
const ANSWER: Duration = Duration::from_secs(120);
const BUFFER: usize = 256 << 10;

/// Runs jobs in containers of an engine.
#[derive(Debug)]
pub struct Docker {
    host: String,
    docker: bollard::Docker,
    program: PathBuf,
    maker: Maker,
    /// The name of the agent's image, once the engine has it.
    image: Mutex<Option<String>>,
    engine: Engine,
}

impl Docker {
    /// Uses an engine, if it runs programs like this one.
    pub fn new(engine: Engine) -> Result<Self, Error> {
        Self::with_program(engine, PathBuf::from("/proc/self/exe"))
    }

    /// Uses another program for the container's side; its `main` must begin with [`super::enter_if_asked`], and it must
    /// be linked with no other libraries than this one.
    pub fn with_program(engine: Engine, program: PathBuf) -> Result<Self, Error> {
        let docker = engine.client(ANSWER);
        let told = engine.block_on(docker.version());
        let told = told.map_err(refused("say what it is"))?;
        let ours = match std::env::consts::ARCH {
            "x86_64" => "linux/amd64",
            "aarch64" => "linux/arm64",
            other => other,
        };
        let is_podman = |part: &bollard::models::SystemVersionComponents| part.name.contains("Podman");
        let maker = match told.components.iter().flatten().any(is_podman) {
            true => Maker::Podman,
            false => Maker::Docker,
        };
        let theirs = format!("{}/{}", told.os.unwrap_or_default(), told.arch.unwrap_or_default());
        let host = engine.host().to_owned();
        if theirs != ours {
            return Err(Error::OtherMachine { host, theirs, ours });
        }
        Ok(Self { host, docker, program, maker, image: Mutex::new(None), engine })
    }

    fn image(&self) -> Result<String, Error> {
        let mut known = self.image.lock().expect("no thread panics with it");
        if let Some(name) = &*known {
            return Ok(name.clone());
        }
        let name = self.engine.block_on(image::ensure(&self.docker, &self.program))?;
        *known = Some(name.clone());
        Ok(name)
    }

    /// Starts a container; brings the image again where somebody removed it.
    fn start<'a>(&'a self, job: &Job, cancel: &'a Cancel) -> Result<Container<'a>, Error> {
        use bollard::errors::Error::DockerResponseServerError;
        let start = || {
            let body = container::body(&self.image()?, &job.limits, self.maker);
            Container::start(&self.docker, body, cancel)
        };
        match start() {
            Err(Error::Docker { source, .. })
                if matches!(*source, DockerResponseServerError { status_code: 404, .. }) =>
            {
                *self.image.lock().expect("no thread panics with it") = None;
                start()
            }
            other => other,
        }
    }
}

/// Says what an engine did not do.
fn refused(what: &'static str) -> impl Fn(bollard::errors::Error) -> Error {
    move |source| Error::Docker { what, source: Box::new(source) }
}

/// Whose engine it is, where the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Docker,
    Podman,
}

/// A folder of this machine that a job stands on.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    kind: Kind,
}

/// Gives a job with the container's paths, and whose places those take.
fn order(job: &Job) -> (Order, Vec<Source>) {
    let mut job = job.clone();
    let known = std::mem::take(&mut job.known);
    let mut sources = Vec::new();
    let mut places = Vec::new();
    for (number, (path, kind)) in agent::paths(&mut job).into_iter().enumerate() {
        let own = std::mem::replace(path, wire::place(number));
        let back = match kind {
            Kind::Input | Kind::Scratch => Back::Nothing,
            Kind::Own => Back::Whole,
            Kind::Changes => Back::Upper,
        };
        let content = known.get(&own).copied().filter(|_| kind == Kind::Input);
        places.push(Place { content, back });
        sources.push(Source { path: own, kind });
    }
    (Order { job, places }, sources)
}

impl Sandbox for Docker {
    fn run(&self, job: &Job, output: &mut dyn FnMut(&[u8]), cancel: &Cancel) -> Result<Finished, Error> {
        let mut container = self.start(job, cancel)?;
        match converse(&mut container, job, output) {
            Err(_) if cancel.is_cancelled() => Err(Error::Cancelled),
            Err(Trouble::Here(error)) => Err(error),
            Err(Trouble::There(error)) => {
                let complaint = container.complaint();
                let detail = if complaint.is_empty() { error.to_string() } else { complaint };
                Err(Error::ContainerLost { detail })
            }
            Ok(Err(fault)) => Err(fault.at(&self.host)),
            Ok(Ok(finished)) => Ok(finished),
        }
    }

    fn shell(&self, _: &Job) -> Result<Finished, Error> {
        Err(Error::NoShell)
    }
}

/// Whose trouble it is that a conversation ended too early.
enum Trouble {
    /// This machine's files.
    Here(Error),
    /// The container, the engine or the way there.
    There(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::There(error)
    }
}

fn converse(
    container: &mut Container<'_>,
    job: &Job,
    output: &mut dyn FnMut(&[u8]),
) -> Result<Result<Finished, wire::Fault>, Trouble> {
    let (order, sources) = order(job);
    wire::put(container, &order)?;
    let needed = match wire::get(container)? {
        Said::Need(needed) => needed,
        Said::End(result) => return Ok(result),
        Said::Output(_) => return Err(std::io::Error::other("the container speaks out of turn").into()),
    };
    for number in needed {
        let source = sources.get(number).ok_or_else(|| std::io::Error::other("a place that is none"))?;
        let mut to = BufWriter::with_capacity(BUFFER, &mut *container);
        let sent = stream::send(&source.path, &mut to).and_then(|()| std::io::Write::flush(&mut to));
        drop(to.into_parts());
        if let Err(source) = sent {
            if !container.is_broken() {
                let what = "sending what the step is to see";
                return Err(Trouble::Here(Error::Io { what, source }));
            }
            // The agent says why it takes no more, if it does.
            return match wire::get(container) {
                Ok(Said::End(result)) => Ok(result),
                _ => Err(source.into()),
            };
        }
    }
    let mut from = BufReader::with_capacity(BUFFER, container);
    let mut buffer = vec![0; BUFFER];
    let finished = loop {
        match wire::get(&mut from)? {
            Said::Output(mut left) => {
                while left > 0 {
                    let part = left.min(BUFFER as u64) as usize;
                    from.read_exact(&mut buffer[..part])?;
                    output(&buffer[..part]);
                    left -= part as u64;
                }
            }
            Said::End(Ok(finished)) => break finished,
            Said::End(Err(fault)) => return Ok(Err(fault)),
            Said::Need(_) => return Err(std::io::Error::other("the container speaks out of turn").into()),
        }
    };
    for source in &sources {
        let path = match source.kind {
            Kind::Input | Kind::Scratch => continue,
            Kind::Own => source.path.clone(),
            Kind::Changes => source.path.join("upper"),
        };
        clear(&path).map_err(Trouble::Here)?;
        stream::receive(&mut from, &path).map_err(|source| match from.get_ref().is_broken() {
            true => Trouble::There(source),
            false => Trouble::Here(Error::Io { what: "taking in what the step left", source }),
        })?;
    }
    Ok(Ok(finished))
}

/// Makes room for what comes back.
fn clear(path: &std::path::Path) -> Result<(), Error> {
    let removed = match rustix::fs::lstat(path) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => {
            Store::remove_tree(path).map_err(std::io::Error::other)
        }
        Ok(_) => fs_err::remove_file(path),
        Err(errno) => Err(errno.into()),
    };
    removed.map_err(|source| Error::Io { what: "making room for what the step left", source })
}

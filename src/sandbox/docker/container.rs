//! One container with the agent in it, and the conversation with it.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{AttachContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::agent::MARK;
use super::{Maker, inputs, refused};
use crate::base::Cancel;
use crate::sandbox::{Error, Limits};

/// How often it is looked whether to stop.
const TICK: Duration = Duration::from_millis(100);
/// The volume with what earlier jobs saw.
const VOLUME: &str = "nodeimg-inputs";
/// What a container may have above its job's limit: the agent's own, and files in memory.
const SPARE: i64 = 1 << 30;
/// How many processes a job's own limit leaves room for (see `namespace`), with the agent's.
const SPARE_PROCESSES: i64 = 4096 + 64;
/// How much of what the agent says besides is kept.
const COMPLAINT: usize = 4096;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// A container that runs; removed when dropped.
pub(super) struct Container<'a> {
    docker: &'a bollard::Docker,
    runtime: Runtime,
    id: String,
    cancel: &'a Cancel,
    output: Option<Output>,
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// What came and was not read yet, and how much of it was.
    part: Option<LogOutput>,
    read: usize,
    complaint: Vec<u8>,
    is_broken: bool,
}

impl<'a> Container<'a> {
    /// Starts a container.
    pub(super) fn start(
        docker: &'a bollard::Docker,
        body: ContainerCreateBody,
        cancel: &'a Cancel,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Io { what: "starting a conversation", source })?;
        let created =
            runtime.block_on(docker.create_container(None, body)).map_err(refused("make a container"))?;
        let mut container = Container {
            docker,
            runtime,
            id: created.id,
            cancel,
            output: None,
            input: None,
            part: None,
            read: 0,
            complaint: Vec::new(),
            is_broken: false,
        };
        let options = AttachContainerOptionsBuilder::new();
        let options = options.stream(true).stdin(true).stdout(true).stderr(true).build();
        let id = &container.id;
        let attached = container.runtime.block_on(async {
            let attached = docker.attach_container(id, Some(options)).await?;
            docker.start_container(id, None).await?;
            Ok(attached)
        });
        let attached = attached.map_err(refused("start a container"))?;
        container.output = Some(attached.output);
        container.input = Some(attached.input);
        Ok(container)
    }

    /// Gives what the agent said on its standard error.
    pub(super) fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.complaint).trim().replace('\n', "\n  ")
    }

    /// Tells whether the conversation ended, by whatever the agent, the engine or the way there did.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn stopped(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() { Err(io::Error::other("stopped")) } else { Ok(()) }
    }

    /// Waits for more; false if there is none.
    fn more(&mut self) -> io::Result<bool> {
        loop {
            self.stopped()?;
            let Some(output) = &mut self.output else { return Ok(false) };
            match self.runtime.block_on(async { timeout(TICK, output.next()).await }) {
                Err(_) => {}
                Ok(None) => return Ok(false),
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(Some(Ok(LogOutput::StdErr { message }))) => {
                    let room = COMPLAINT.saturating_sub(self.complaint.len());
                    self.complaint.extend(message.iter().take(room));
                }
                Ok(Some(Ok(part))) => {
                    (self.part, self.read) = (Some(part), 0);
                    return Ok(true);
                }
            }
        }
    }
}

impl Read for Container<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(part) = &self.part {
                let left = &part.as_ref()[self.read..];
                if !left.is_empty() {
                    let count = left.len().min(buffer.len());
                    buffer[..count].copy_from_slice(&left[..count]);
                    self.read += count;
                    return Ok(count);
                }
            }
            let more = self.more();
            self.is_broken |= !matches!(more, Ok(true));
            if !more? {
                return Ok(0);
            }
        }
    }
}

impl Write for Container<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stopped()?;
            let Some(input) = &mut self.input else { return Err(io::ErrorKind::BrokenPipe.into()) };
            if let Ok(written) = self.runtime.block_on(async { timeout(TICK, input.write(bytes)).await }) {
                self.is_broken |= written.is_err();
                return written;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        self.runtime.block_on(input.flush())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // One that has ended is being removed by the engine itself.
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let _ = self.runtime.block_on(self.docker.remove_container(&self.id, Some(options)));
    }
}

/// Says what a container is, and all that it may not.
pub(super) fn body(image: &str, limits: &Limits, maker: Maker) -> ContainerCreateBody {
    let volume = |source: Option<&str>, target: &str| Mount {
        typ: Some(MountType::VOLUME),
        source: source.map(str::to_owned),
        target: Some(target.to_owned()),
        ..Mount::default()
    };
    let memory = i64::try_from(limits.memory).unwrap_or(i64::MAX).saturating_add(SPARE);
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let security = ["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined", "label=disable"];
    // Docker is told by `masked_paths` and `readonly_paths`, which Podman overlooks.
    let unmask = if maker == Maker::Podman { &["unmask=ALL"][..] } else { &[] };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: words(&[MARK]),
        // The word is looked up, so that it stays what the program is called by.
        env: words(&["PATH=/"]),
        working_dir: Some("/".to_owned()),
        user: Some("0:0".to_owned()),
        labels: Some([("nodeimg.sandbox".to_owned(), String::new())].into()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            auto_remove: Some(true),
            cap_drop: words(&["ALL"]),
            cap_add: words(&["SYS_ADMIN", "SETFCAP"]),
            security_opt: words(&[&security, unmask].concat()),
            masked_paths: Some(Vec::new()),
            readonly_paths: Some(Vec::new()),
            memory: Some(memory),
            // No swap besides.
            memory_swap: Some(memory),
            pids_limit: Some(i64::from(limits.processes) + SPARE_PROCESSES),
            // What goes over its output is nobody's log.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            mounts: Some(vec![volume(Some(VOLUME), inputs::PLACE), volume(None, "/work")]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

//! Images of a Docker or Podman engine, streamed as `docker save` does: neither a file nor the memory holds them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bollard::errors::Error::DockerResponseServerError;
use futures_util::StreamExt as _;

use super::{Error, Form, Here, Opened, PipelineError, layout};
use crate::engine::Engine;

pub(super) const FORM: Form = Form {
    place: "docker:NAME",
    about: "an image of a Docker or Podman engine (`$DOCKER_HOST`)",
    is: |text| text.strip_prefix("docker:"),
    open,
};

/// How long an engine may take to begin.
const SAVE: Duration = Duration::from_secs(600);

/// Chunks between the engine and the store.
const AHEAD: usize = 16;

fn open(name: &str, here: &Here<'_>) -> Result<Opened, PipelineError> {
    let engine = Engine::connect(here.engine).map_err(Error::from)?;
    let docker = engine.client(SAVE);
    let host = engine.host().to_owned();
    let failed = |source| match source {
        DockerResponseServerError { status_code: 404, .. } => {
            Error::NotInEngine { image: name.to_owned(), host: host.clone() }
        }
        source => Error::Engine { image: name.to_owned(), host: host.clone(), source },
    };
    engine.block_on(docker.inspect_image(name)).map_err(failed)?;
    let (sender, receiver) = sync_channel::<io::Result<Vec<u8>>>(AHEAD);
    std::thread::scope(|scope| {
        let read =
            scope.spawn(move || layout::archive(name, Chunks { receiver, chunk: Vec::new(), at: 0 }, here));
        let sent = engine.block_on(async {
            let mut chunks = std::pin::pin!(docker.export_image(name));
            while let Some(chunk) = chunks.next().await {
                // Who does not listen any more says why.
                if sender.send(Ok(chunk?.to_vec())).is_err() {
                    break;
                }
            }
            Ok(())
        });
        if sent.is_err() {
            // What came so far must not be taken for the whole.
            drop(sender.send(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        drop(sender);
        let read = read.join().expect("reading an archive does not panic");
        sent.map_err(failed)?;
        read
    })
}

/// What comes, as a file.
struct Chunks {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

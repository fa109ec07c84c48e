//! An image in a Docker engine.
//!
//! In go an address and an image of the store; afterwards the engine has the image under its name. What it has
//! already is not sent. The archive is streamed from the store: neither a file nor the memory holds it. Podman's
//! socket speaks the same protocol.

use std::io::{self, Write};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::Error;
use crate::base::event::Outcome;
use crate::base::{Cancel, Digest};
use crate::engine::{self, Settings};
use crate::image;
use crate::store::{Store, Tree};

/// How long one may take to unpack an image that it has got.
const LOAD: Duration = Duration::from_secs(600);

const CHUNK: usize = 256 << 10;
/// Chunks between the store and the socket.
const AHEAD: usize = 4;

/// A Docker engine that answers.
#[derive(Debug)]
pub struct Engine {
    engine: engine::Engine,
    docker: Docker,
}

impl Engine {
    /// Connects to the engine that is meant.
    pub fn connect(settings: &Settings) -> Result<Engine, Error> {
        let engine = engine::Engine::connect(settings)?;
        let docker = engine.client(LOAD);
        Ok(Engine { engine, docker })
    }

    /// Gives the connection itself.
    pub fn engine(&self) -> &engine::Engine {
        &self.engine
    }

    /// Brings an image, a tree of the store, into the engine unless it is there.
    pub fn load(&self, store: &Store, image: &Digest, cancel: &Cancel) -> Result<Outcome, Error> {
        let tree = store.tree(image)?;
        let summary = image::read(store, &tree).map_err(Error::Image)?;
        if self.id(&summary.reference)?.is_some_and(|id| is(&summary, &id)) {
            return Ok(Outcome::Reused);
        }
        self.send(store, &tree, &summary.reference, cancel)?;
        match self.id(&summary.reference)? {
            Some(id) if is(&summary, &id) => Ok(Outcome::Done),
            found => Err(Error::DockerImage {
                reference: summary.reference,
                expected: summary.config.hash.oci(),
                found: found.unwrap_or_else(|| "nothing".to_owned()),
            }),
        }
    }

    /// Asks which image has a name.
    fn id(&self, reference: &str) -> Result<Option<String>, Error> {
        use bollard::errors::Error::DockerResponseServerError;
        match self.engine.block_on(self.docker.inspect_image(reference)) {
            Ok(found) => Ok(found.id),
            Err(DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(source) => Err(Error::DockerLoad { reference: reference.to_owned(), source }),
        }
    }

    fn send(&self, store: &Store, tree: &Tree, reference: &str, cancel: &Cancel) -> Result<(), Error> {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let body = stream::poll_fn(move |context| receiver.poll_recv(context));
        let body = body.map(|chunk: io::Result<Vec<u8>>| chunk.map(Into::into));
        std::thread::scope(|scope| {
            let written = scope.spawn(move || {
                let mut pipe = Pipe { sender, chunk: Vec::with_capacity(CHUNK) };
                let written = image::archive(store, tree, &mut pipe, cancel)
                    .and_then(|()| pipe.flush().map_err(|source| image::Error::Write { source }));
                if written.is_err() {
                    // The engine must not take what it has so far for the whole.
                    drop(pipe.sender.blocking_send(Err(io::Error::other("the archive is incomplete"))));
                }
                written
            });
            let sent = self.engine.block_on(async {
                let options = ImportImageOptionsBuilder::new().quiet(true).build();
                let mut told = std::pin::pin!(self.docker.import_image_stream(options, body, None));
                while let Some(line) = told.next().await {
                    line?;
                }
                Ok(())
            });
            let written = written.join().expect("writing an archive does not panic");
            match (written, sent) {
                // The engine hung up: it says why.
                (Ok(()) | Err(image::Error::Write { .. }), Err(source)) => {
                    Err(Error::DockerLoad { reference: reference.to_owned(), source })
                }
                (Ok(()), Ok(())) => Ok(()),
                (Err(error), _) => Err(Error::from_image(error, reference.as_ref())),
            }
        })
    }
}

/// Tells whether an image's ID is an image: its configuration or, where containerd keeps images, its manifest.
fn is(summary: &image::Summary, id: &str) -> bool {
    [summary.config, summary.manifest].iter().any(|name| name.hash.oci() == id)
}

/// Writes into the channel that the request's body is read from.
struct Pipe {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}

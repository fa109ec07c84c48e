//! An image in a Docker engine.
//!
//! In go an address and an image of the store; afterwards the engine has the image under its name. The archive is
//! streamed from the store: neither a file nor the memory holds it. Podman's socket speaks the same protocol.
//!
//! What the engine has is not sent. An image that it has by digest is there. Of another one, the layers at the bottom
//! that it shares with an image of the engine are left out of the archive: the engine registers a layer by the hashes
//! of all archives up to it and reads an archive only where it lacks that one (moby, `image/tarexport/load.go`). The
//! image's ID is the hash of its configuration, which names all of those hashes, so what comes out is the image or an
//! error; after an error the whole is sent. An engine that keeps images in containerd has no such rule and gets all.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{ImportImageOptionsBuilder, ListImagesOptions};
use futures_util::{StreamExt as _, stream};

use super::pipe::{self, Chunks};
use super::{Error, Form, Image, Output, Put};
use crate::base::event::Outcome;
use crate::base::{Cancel, Digest, Sha256};
use crate::engine::{self, Settings};
use crate::image;
use crate::store::{Store, Tree};

pub(super) const FORM: Form = Form {
    name: "docker",
    place: "HOST",
    about: "a Docker engine (`$DOCKER_HOST`)",
    open: |place, here| Ok(Box::new(Engine::connect(&here.engine_at(place))?)),
};

/// How long one may take to unpack an image that it has got.
const LOAD: Duration = Duration::from_secs(600);
/// How many images of the engine are looked at for layers.
const IMAGES: usize = 200;

/// A Docker engine that answers.
#[derive(Debug)]
pub struct Engine {
    engine: engine::Engine,
    pub(super) docker: Docker,
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
        Ok(self.bring(store, image, cancel)?.outcome)
    }

    fn bring(&self, store: &Store, image: &Digest, cancel: &Cancel) -> Result<Put, Error> {
        let tree = store.tree(image)?;
        let summary = image::read(store, &tree).map_err(Error::Image)?;
        if self.id(&summary.reference)?.is_some_and(|id| is(&summary, &id)) {
            return Ok(Put { outcome: Outcome::Reused, sent: Some(0) });
        }
        let failed = |source| Error::DockerLoad { reference: summary.reference.clone(), source };
        let shared = self.shared(&summary).map_err(failed)?;
        let (below, above) = summary.layers.split_at(shared);
        // A layer may be in the image twice, once above those that are there.
        let is_above = |blob: &Digest| above.iter().any(|layer| layer.blob == *blob);
        let there: BTreeSet<Sha256> =
            below.iter().filter(|layer| !is_above(&layer.blob)).map(|layer| layer.blob.hash).collect();
        let (rest, mut size) = pipe::without(&tree, &there);
        match self.send(store, &rest, &summary.reference, cancel) {
            // Somebody removed the image that had the layers, or the engine is none that does without.
            Err(Error::DockerLoad { .. }) if !there.is_empty() => {
                size = pipe::without(&tree, &BTreeSet::new()).1;
                self.send(store, &tree, &summary.reference, cancel)?;
            }
            sent => sent?,
        }
        match self.id(&summary.reference)? {
            Some(id) if is(&summary, &id) => Ok(Put { outcome: Outcome::Done, sent: Some(size) }),
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

    /// Counts the lowest layers of an image that some image of the engine has too, in the same order.
    fn shared(&self, summary: &image::Summary) -> Result<usize, bollard::errors::Error> {
        self.engine.block_on(async {
            let status = self.docker.info().await?.driver_status.unwrap_or_default();
            if status.iter().flatten().any(|word| word.starts_with("io.containerd.")) {
                return Ok(0);
            }
            let images = self.docker.list_images(None::<ListImagesOptions>).await?;
            let mut most = 0;
            for image in images.iter().take(IMAGES) {
                // One that goes away meanwhile has nothing to share.
                let Ok(found) = self.docker.inspect_image(&image.id).await else { continue };
                let layers = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
                let own = summary.layers.iter().map(|layer| layer.diff_id.oci());
                most = most.max(own.zip(&layers).take_while(|(own, other)| own == *other).count());
            }
            Ok(most)
        })
    }

    fn send(&self, store: &Store, tree: &Tree, reference: &str, cancel: &Cancel) -> Result<(), Error> {
        let (written, sent) = pipe::stream(store, tree, cancel, |mut chunks: Chunks| {
            let body = stream::poll_fn(move |context| chunks.poll_recv(context));
            let body = body.map(|chunk| chunk.map(Into::into));
            self.engine.block_on(async {
                let options = ImportImageOptionsBuilder::new().quiet(true).build();
                let mut told = std::pin::pin!(self.docker.import_image_stream(options, body, None));
                while let Some(line) = told.next().await {
                    line?;
                }
                Ok(())
            })
        });
        match (written, sent) {
            // The engine hung up: it says why.
            (Ok(()) | Err(image::Error::Write { .. }), Err(source)) => {
                Err(Error::DockerLoad { reference: reference.to_owned(), source })
            }
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), _) => Err(Error::from_image(error, reference.as_ref())),
        }
    }
}

impl Output for Engine {
    fn name(&self) -> String {
        format!("Docker at {}", self.engine.host())
    }

    fn put(&self, store: &Store, image: &Image<'_>, cancel: &Cancel) -> Result<Put, Error> {
        self.bring(store, image.tree, cancel)
    }
}

/// Tells whether an image's ID is an image: its configuration or, where containerd keeps images, its manifest.
fn is(summary: &image::Summary, id: &str) -> bool {
    [summary.config, summary.manifest].iter().any(|name| name.hash.oci() == id)
}

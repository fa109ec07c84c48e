//! What was made leaves the program.
//!
//! In go an image of the store and a [`Form`]; afterwards the image is where the form puts it, whole. Where a part of
//! it is already is not written or sent again, and nothing is written at all where all of it is.
//!
//! | form | what the receiver is asked first | what goes |
//! | --- | --- | --- |
//! | `oci` | a stamp, then each blob's size | the blobs that lack, the index last |
//! | `archive` | a stamp | the file, whole |
//! | `docker` | the name's image, the layers of all images | an archive without layers that it has at the bottom |
//! | `kind` | each node's image, each node's blobs | an archive without blobs that the node has, to all nodes at once |
//! | `containerd` | each blob, by opening it | the blobs that lack, the name last |
//!
//! On disk a tree lies in a [`Shape`]; what was there is replaced in one step, if nodeimg wrote it. Seeing that an
//! output is as it was written takes a few calls of `lstat`.
//!
//! ```text
//! out/x              the output: a file or a directory
//! out/.x.nodeimg     its stamp: which tree in which shape, and what the files looked like
//! out/.x.new         while it is being written
//! ```
//!
//! A directory that holds something and has no stamp is somebody else's and stays; an OCI image layout is an
//! exception, so that an interrupted export can be done again.
//!
//! A new form is a file with a `FORM` and a line in [`FORMS`].
//!
//! Never: a link followed below the place, content read to find out whether it is current, an image or a layer
//! in memory.

mod archive;
mod containerd;
pub mod docker;
mod error;
mod files;
mod kind;
mod layout;
mod pipe;
mod place;
mod stamp;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::base::event::Outcome;
use crate::base::{Cancel, Digest};
use crate::engine::Settings;
use crate::image::Attached;
use crate::store::Store;

pub use containerd::DEFAULT_ADDRESS as CONTAINERD;
pub use error::Error;
pub use place::{Shape, export, is_current};

/// The forms that an image can leave in.
pub const FORMS: [Form; 5] = [layout::FORM, archive::FORM, docker::FORM, kind::FORM, containerd::FORM];

/// The forms that a build leaves an image in unless it is told otherwise.
pub const USUAL: [&str; 2] = ["archive", "oci"];

/// One way for an image to leave.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Its name on the command line.
    pub name: &'static str,
    /// What may stand behind the name: `NAME=PLACE`.
    pub place: &'static str,
    /// Where an image is then, and in parentheses the usual place, for people.
    pub about: &'static str,
    open: fn(Option<&str>, &Here<'_>) -> Opened,
}

/// A place for images, or why it takes none.
pub type Opened = Result<Box<dyn Output>, Error>;

/// Where this machine's engines are.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Which Docker or Podman engine is meant.
    pub engine: &'a Settings,
    /// containerd's socket.
    pub containerd: &'a str,
}

impl Here<'_> {
    /// Says which engine is meant, where a user may have named one as `DOCKER_HOST` does.
    fn engine_at(&self, host: Option<&str>) -> Settings {
        let host = host.map(str::to_owned).or_else(|| self.engine.host.clone());
        Settings { host, ..self.engine.clone() }
    }
}

/// An image that leaves.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The image for this machine: a tree of the store.
    pub tree: &'a Digest,
    /// The image as files have it: for all of its platforms, with what is attached to it.
    pub attached: Attached,
    /// Where its files go, unless they are asked for elsewhere.
    pub folder: &'a Path,
}

/// What was done to have an image somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Whether anything was.
    pub outcome: Outcome,
    /// How many bytes of blobs were sent; none where no one receives them.
    pub sent: Option<u64>,
}

/// A place for images, opened: whoever has to answer there has answered.
pub trait Output {
    /// Says where, for people.
    fn name(&self) -> String;

    /// Names what lies in the image's folder afterwards, if something does.
    fn file(&self) -> Option<String> {
        None
    }

    /// Tells whether a second image would replace the first.
    fn holds_one(&self) -> bool {
        false
    }

    /// Brings an image there, unless it is there.
    fn put(&self, store: &Store, image: &Image<'_>, cancel: &Cancel) -> Result<Put, Error>;
}

/// Opens what was asked for as `FORM` or `FORM=PLACE`.
pub fn open(text: &str, here: &Here<'_>) -> Opened {
    let (name, place) = text.split_once('=').map_or((text, None), |(name, place)| (name, Some(place)));
    let form =
        FORMS.iter().find(|form| form.name == name).ok_or_else(|| Error::NoForm { name: name.to_owned() })?;
    if place == Some("") {
        return Err(Error::NoFormPlace { form: form.name, place: form.place });
    }
    (form.open)(place, here)
}

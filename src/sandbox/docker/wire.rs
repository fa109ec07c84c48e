//! What the two sides say to each other before and after the folders of a job (`stream`).
//!
//! ```text
//! nodeimg                                agent
//!   Order ─────────────────────────────▶
//!        ◀───────────────────────────── Need: which places it lacks
//!   a stream for each of those ────────▶
//!        ◀───────────────────────────── Output …, as the step prints
//!        ◀───────────────────────────── End
//!        ◀───────────────────────────── a stream for each place that goes back, if the step ended by itself
//! ```
//!
//! A message is its length and JSON; what a step prints is sent as it is.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{Arch, Digest};
use crate::sandbox::{Error, Finished, Job, Limit};

/// A message is a job at most.
const LONGEST: u64 = 64 << 20;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The job, with paths of the container: `places` in order, as [`place`] names them.
    pub(super) job: Job,
    pub(super) places: Vec<Place>,
}

/// A folder or file that a job sees.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// What it holds, where that is known and it stays as it is: it may be there from an earlier job.
    pub(super) content: Option<Digest>,
    /// What of it goes back when the step has ended.
    pub(super) back: Back,
}

/// What goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Back {
    Nothing,
    /// All of it.
    Whole,
    /// It is an overlay's folder of changes: its upper layer.
    Upper,
}

/// Gives a place's path in the container.
pub(super) fn place(number: usize) -> PathBuf {
    PathBuf::from(format!("/work/{number}"))
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The numbers of places to be sent.
    Need(Vec<usize>),
    /// So many bytes of the step's output follow.
    Output(u64),
    /// The job is over.
    End(Result<Finished, Fault>),
}

/// A sandbox's error on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Fault {
    Limit { limit: Limit, detail: String },
    NoSpace { left: u64 },
    NoOverlay { errno: i32 },
    NoEmulator { arch: Arch, errno: i32, fix: String },
    NoNamespaces { errno: i32, fix: String },
    Other { what: String, reason: String },
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let errno = |reason: &io::Error| reason.raw_os_error().unwrap_or(libc::EIO);
        match error {
            Error::Limit { limit, detail } => Fault::Limit { limit, detail },
            Error::NoSpace { left } => Fault::NoSpace { left },
            Error::NoOverlay { reason } => Fault::NoOverlay { errno: errno(&reason) },
            Error::NoEmulator { arch, reason, fix } => Fault::NoEmulator { arch, errno: errno(&reason), fix },
            Error::NoNamespaces { reason, fix } => Fault::NoNamespaces { errno: errno(&reason), fix },
            Error::Setup { what, reason } => Fault::Other { what, reason: reason.to_string() },
            Error::Io { what, source } => Fault::Other { what: what.to_owned(), reason: source.to_string() },
            other => Fault::Other { what: "run the step".to_owned(), reason: other.to_string() },
        }
    }
}

impl Fault {
    /// Gives the error for whoever asked the engine at `host`.
    pub(super) fn at(self, host: &str) -> Error {
        let reason = io::Error::from_raw_os_error;
        match self {
            Fault::Limit { limit, detail } => Error::Limit { limit, detail },
            Fault::NoSpace { left } => Error::EngineFull { host: host.to_owned(), left },
            Fault::NoOverlay { errno } => Error::NoOverlay { reason: reason(errno) },
            Fault::NoEmulator { arch, errno, fix } => Error::NoEmulator { arch, reason: reason(errno), fix },
            Fault::NoNamespaces { errno, fix } => Error::NoNamespaces {
                reason: reason(errno),
                fix: format!("on the machine of the engine at `{host}`: {fix}"),
            },
            Fault::Other { what, reason } => Error::Container { what, reason },
        }
    }
}

/// Sends a message.
pub(super) fn put(to: &mut dyn Write, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    to.write_all(&(text.len() as u64).to_le_bytes())?;
    to.write_all(&text)?;
    to.flush()
}

/// Reads a message.
pub(super) fn get<T: DeserializeOwned>(from: &mut dyn Read) -> io::Result<T> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is none of nodeimg's"));
    }
    let mut text = Vec::new();
    from.take(length).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

//! What happens, told as it happens. The library emits events; only `cli` prints them.

/// Something a person or a log may want to know. `id` ties the events of one activity together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An activity starts.
    Started {
        /// The activity.
        id: u64,
        /// What it is.
        kind: Activity,
        /// What it is about.
        name: String,
        /// Bytes to move, where it moves bytes and they are known.
        total: Option<u64>,
    },
    /// An activity has moved so many bytes in all.
    Progress {
        /// The activity.
        id: u64,
        /// Bytes so far.
        done: u64,
    },
    /// A running build step printed a line (shown with `-v`, kept for the failure's tail).
    Output {
        /// The activity.
        id: u64,
        /// The line without its end.
        line: String,
    },
    /// An activity ended.
    Finished {
        /// The activity.
        id: u64,
        /// How it ended.
        outcome: Outcome,
        /// For people: `12.3 MB from a mirror`.
        detail: String,
    },
    /// Something a person should know that is no failure.
    Warning {
        /// A sentence.
        message: String,
    },
    /// Told with `-v` only: which mirror was tried, why a step is built.
    Note {
        /// A sentence.
        message: String,
    },
}

/// What an activity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Asks the network what a request means now.
    Resolve,
    /// Brings bytes that are already pinned.
    Fetch,
    /// Unpacks an archive into the store.
    Unpack,
    /// Runs a step in the sandbox.
    Build,
    /// Looks for faults in what was made.
    Check,
    /// Writes a layer, an image or an archive.
    Assemble,
    /// Puts an image where containers run.
    Load,
    /// Runs what was built.
    Try,
}

/// How an activity ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done now.
    Done,
    /// The answer was already there.
    Reused,
    /// It failed; the error says why.
    Failed,
    /// It was asked to stop.
    Stopped,
}

/// Where events go. Shared between threads.
pub trait Sink: Sync + Send {
    /// Takes one event. Must not block for long.
    fn emit(&self, event: Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

/// Gives a new activity id, unique in this process.
pub fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

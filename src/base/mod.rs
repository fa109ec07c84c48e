//! The ground every other folder stands on: digests, names and guest paths, platforms, events,
//! cancellation. Plain values; nothing here does I/O but [`cancel`], which holds a flag, and
//! [`each()`], which has threads.

pub mod cancel;
pub mod digest;
mod each;
pub mod event;
pub mod path;
pub mod platform;

pub use cancel::Cancel;
pub use digest::{Digest, Sha256};
pub use each::each;
pub use path::{GuestPath, Name};
pub use platform::{Arch, NotAPlatform, Platforms};

/// What an error means to whoever called the program: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A recipe, a lock or a download is wrong: exit code 1.
    Input,
    /// The command line is wrong: exit code 2.
    Usage,
    /// A build step failed: exit code 3.
    Build,
    /// This machine can't (no user namespaces, no space, no network): exit code 4.
    Machine,
    /// Stopped by a signal: exit code 130.
    Cancelled,
}

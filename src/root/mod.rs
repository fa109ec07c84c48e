//! Debian roots: packages become a root file system, the same bytes on every host and for every user.
//!
//! ```text
//! .deb ─unpack─▶ unconfigured root ─configure (a Script, run in the sandbox)─▶ ─settle─▶ root
//! ```
//!
//! - [`unpack()`] does what `dpkg --unpack` of all packages does, without running anything: each package is taken
//!   apart once for ever per store, then all are merged, with dpkg's database beside them.
//! - [`configure()`] is plain data: what the sandbox is to run in the unpacked root. It calls `preinst install`, then
//!   `dpkg --configure`, and processes triggers, without starting any service.
//! - [`run()`] runs such a script as administrator over a changeable root and gives the tree that it leaves.
//! - [`beside()`] fits a root that is not run, but read from outside it.
//! - [`settle()`] is the one place that knows what differs between two runs, and takes it away.
//!
//! Never: the host's dpkg, network, the host's users. Every owner is a number from a package or one that was
//! recorded in the sandbox.

mod beside;
mod configure;
mod control;
mod database;
mod error;
mod merge;
mod package;
mod run;
mod settle;
#[cfg(test)]
mod tests;
mod unpack;

pub use beside::{BESIDE, beside};
pub use configure::{Script, configure, script};
pub use error::Error;
pub use run::{Step, run};
pub use settle::settle;
pub use unpack::{Package, unpack};

use merge::Merged;

/// The version of what [`unpack()`] writes and [`settle()`] takes away: part of the key of every root.
pub const RULES: u32 = 1;

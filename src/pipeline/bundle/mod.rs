//! Bundles of a project: what goes into one ([`pack()`]), and a build out of nothing else ([`open`]).
//!
//! What goes in is found by planning: for each machine that the bundle can be used on, the targets' steps say which files
//! are fetched. The project's own files are tried out in a folder of their own first, and must give the same steps.

mod error;
mod pack;
mod prove;
mod results;
mod sign;
mod take;

pub use error::Error;
pub use pack::{Order, Packed, pack};
pub use prove::{Proof, Proven, prove};
pub use sign::{check, sign};
pub use take::{Opened, Results, Trust, lacking, open, since};

use super::Error as PipelineError;

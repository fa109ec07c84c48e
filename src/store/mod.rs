//! The content store: blobs and Merkle trees by SHA-256, action results, roots, GC.

pub mod tree;
pub use tree::{Dir, Meta, Node, Tree};

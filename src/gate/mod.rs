//! What is looked at before an image counts as made, so that no misconfiguration reaches a pod.
//!
//! Pure: in go texts and bytes of an image's files, out comes what is wrong, each with what to do.

pub mod abi;

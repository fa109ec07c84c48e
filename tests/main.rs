//! The one integration-test binary.

mod messages;
mod recipes;
mod root;
mod sandbox;
mod structure;

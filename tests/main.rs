//! The one integration-test binary.

mod messages;
mod recipes;
mod sandbox;
mod structure;

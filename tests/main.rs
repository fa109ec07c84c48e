//! The one integration-test binary.

mod cli;
mod messages;
mod recipes;
mod sandbox;
mod structure;

//! The one integration-test binary.

mod cli;
mod everywhere;
mod image;
mod messages;
mod recipes;
mod root;
mod sandbox;
mod structure;
mod trial;
mod wasm;

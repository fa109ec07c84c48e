//! The one integration-test binary.

mod bases;
mod build;
mod calls;
mod cli;
mod crates;
mod docker;
mod engines;
mod everywhere;
mod faults;
mod gates;
mod image;
mod library;
mod messages;
mod platforms;
mod recipes;
mod registry;
mod root;
mod sandbox;
mod shims;
mod stops;
mod structure;
mod trial;
mod verify;
mod wasm;
mod why;
mod world;

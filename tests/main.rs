//! The one integration-test binary.

mod image;
mod messages;
mod recipes;
mod sandbox;
mod structure;

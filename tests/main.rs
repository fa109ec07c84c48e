//! The one integration-test binary.

mod recipes;
mod structure;

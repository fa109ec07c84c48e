//! Nothing of its own: the C functions of `wasmtime-c-api-impl`, which only a `cdylib` exports.

pub use wasmtime_c_api::*;

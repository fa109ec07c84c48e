//! nodeimg builds Kubernetes node images with WebAssembly runtimes, the same bytes everywhere.
//!
//! ```text
//! recipes/x.toml ─parse─▶ Recipe ─lock─▶ Locked ─plan─▶ Plan ─realise─▶ Artifacts ─assemble─▶ Image ─export─▶ out/
//! ```
//!
//! Each arrow is one function in one folder. The network speaks in two places only: *resolve*
//! (may discover) and *fetch* (must match a digest).
//!
//! *Architecture invariant:* `cli` ▷ `pipeline` ▷ stages (`recipe`, `lock`, `plan`, `realise`; each may
//! use those before it and all parts) ▷ parts (`fetch`, `sandbox`, `image`, `node`, `export`; siblings
//! don't know each other) ▷ ground (`store`, `base`).

pub mod base;
pub mod cli;
pub mod export;
pub mod fetch;
pub mod image;
pub mod lock;
pub mod node;
pub mod plan;
pub mod realise;
pub mod recipe;
pub mod root;
pub mod sandbox;
pub mod store;
pub mod unpack;

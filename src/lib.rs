//! nodeimg builds Kubernetes node images with WebAssembly runtimes, the same bytes everywhere.
//!
//! ```text
//! recipes/x.toml ─parse─▶ Recipe ─lock─▶ Locked ─plan─▶ Plan ─realise─▶ Artifacts ─assemble─▶ Image ─export─▶ out/
//!                         what is        recipe +       graph of         step ─▶ content        layers, config,
//!                         wanted         exact pins     pure steps       in the store           manifest
//! ```
//!
//! Each arrow is one function in one folder; [`pipeline`] is this picture in code and the file to read first. The
//! network speaks in two places only: *resolve* (`nodeimg lock`; may discover) and *fetch* (must match a digest).
//! Everything between `Locked` and `Image` runs the same with the network unplugged.
//!
//! # Where what is, in reading order
//!
//! | folder | in → out |
//! | --- | --- |
//! | [`pipeline`] | the arrows in a row; images made again (`rebuild`), what could be newer (`outdated`) |
//! | [`recipe`] | TOML below `recipes/` → recipes, every fault with its place |
//! | [`lock`] | recipes + `lockfiles/` → recipes with exact pins, or how the two differ, offline |
//! | [`plan`] | pins → a graph of steps with keys; pure |
//! | [`realise`] | steps → artifacts in the store; the only scheduler |
//! | [`root`] | Debian packages → a configured root |
//! | [`export`] | an artifact → files below `out/`, a Docker engine, a kind cluster's nodes, containerd |
//! | [`gate`] | an image's tree, and what its containerd says → what would go wrong in a pod |
//! | [`diff`] | two trees or images → what differs, by package, file, field, symbol and line |
//! | [`cluster`] | a node image → a throw-away cluster, and what its examples did there |
//! | [`fetch`] | a source, as a recipe's table and as pinned → bytes in the store |
//! | [`unpack`] | archives and patches → trees |
//! | [`sandbox`] | a job, plain data → what it left, nothing else seen |
//! | [`image`] | trees → an OCI image, the same bytes for any number of threads |
//! | [`bundle`] | a listing and its members → one file, and back, believing nothing |
//! | [`attest`] | what is said about an image, key files → documents, signatures, whether they hold |
//! | [`node`] | one description → all that must agree on a kind node |
//! | [`engine`] | what the host says → a connection to Docker or Podman |
//! | [`store`] | content by digest: blobs, trees, action results, roots; locks between processes |
//! | [`base`] | digests, names, paths, platforms, events, cancellation |
//! | [`cli`] | argv and environment in, text and exit codes out |
//!
//! *Architecture invariant:* `cli` ▷ `pipeline` ▷ stages (`recipe`, `lock`, `plan`, `realise`; each may use those
//! before it and all parts) ▷ parts (`fetch`, `unpack`, `sandbox`, `image`, `node`, `attest`, `bundle`, above them
//! `root`, `export`, `gate`, `diff` and `cluster`; siblings don't know each other) ▷ ground (`store` and `engine`, below
//! them `base`). `tests/structure.rs` holds `use crate::…` to it.
//!
//! # Files that are read and written
//!
//! | file | who |
//! | --- | --- |
//! | `recipes/<role>/<name>.toml`, what lies beside them | written by people and `nodeimg init`, read by [`recipe`] |
//! | `recipes/keys/<fingerprint>.asc` | written by people: keys of upstreams, read by [`pipeline`] when locking |
//! | `patches/<package>/*.patch` | written by people, read by [`pipeline`] |
//! | `lockfiles/<role>/<name>.toml` | [`lock`] |
//! | `trials/<image>.toml` | [`pipeline`], by `nodeimg try --record`: what booted an image |
//! | `out/` | [`export`]; layout in `pipeline/outputs.rs` |
//! | `$NODEIMG_STORE`, else `$XDG_CACHE_HOME/nodeimg`, else `~/.cache/nodeimg` | [`store`]; layout in its doc |
//! | `$XDG_CONFIG_HOME/nodeimg/config.toml`; apt's, cargo's and pip's own settings | read by [`fetch::settings`] |
//! | `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json` | read by [`fetch::oci`], when a registry asks who is there |
//!
//! # Words
//!
//! recipe · source (request, as written; pin, as locked) · lock · step · plan · action (REAPI) · artifact · store ·
//! memo (a step's key → its artifact) · job · sandbox · root (a Debian file system; in the store: what a project
//! keeps) · layer · image · export · runtime (a containerd handler) · node (a kind node image) · suite (a Debian
//! release to draw packages from) · snapshot (a suite at a moment) · trial (a node image at work in a cluster) · gate
//! (a look for one kind of fault in an image) · finding (what a gate found, with what to do).

pub mod attest;
pub mod base;
pub mod bundle;
pub mod cli;
pub mod cluster;
pub mod diff;
pub mod engine;
pub mod export;
pub mod fetch;
pub mod gate;
pub mod image;
pub mod lock;
pub mod node;
pub mod pipeline;
pub mod plan;
pub mod realise;
pub mod recipe;
pub mod root;
pub mod sandbox;
pub mod store;
pub mod unpack;

//! What is said about an image, and who says so: keys, signatures, and the documents that they are put on.
//!
//! In go key files and bytes; out come signatures, DSSE envelopes (<https://github.com/secure-systems-lab/dsse>) and
//! whether they hold. Nothing here talks to a network, a transparency log or a key server, and nothing reads a clock:
//! both algorithms sign deterministically (RFC 8032, RFC 6979), so the same key and bytes give the same signature.
//!
//! A key is a file: a private one in PKCS#8 PEM (`openssl genpkey` writes it too), a public one in SPKI PEM, which
//! `cosign verify --key` takes as it is. A key's name is the SHA-256 of its public half in SPKI DER, as sigstore has it.

pub mod bill;
pub mod dsse;
mod error;
mod key;
pub mod layout;
#[cfg(test)]
mod tests;

pub mod policy;
pub mod provenance;
pub use error::Error;
pub use key::{Algorithm, PublicKey, SigningKey, create, public_path};

//! Archives and patches become trees.
//!
//! In go a blob of the store and [`Options`], out comes a [`Tree`](crate::store::Tree) whose files are blobs of the store. The
//! format is found by content: tar (plain, gzip, xz, zstd), zip, and Debian packages. Input is hostile:
//! nothing is written but blobs, so no name in an archive can reach the file system of this machine.
//!
//! | in an archive | becomes |
//! | --- | --- |
//! | absolute name, `..`, device, fifo, name that is not UTF-8, entry below a link or a file | an error |
//! | hard link | a second file of the same digest; its target must be an earlier entry |
//! | symbolic link | data, kept as it is, never followed |
//! | the same file twice | the last one (tar's rule); a directory never gives way to a file, nor a file to it |
//! | parent directories that have no entry | `root:root` 0755 |
//! | setuid, setgid, sticky | kept |
//! | owners | kept for Debian packages, else root's ([`Owners`]) |
//! | times, extended attributes | dropped |
//!
//! Layers of an image have rules of their own: [`layers()`].
//!
//! Never: network, links followed, files written outside the store.

mod ar;
mod archive;
mod error;
mod headers;
mod layers;
pub mod patch;
mod place;
mod stream;
#[cfg(test)]
mod tests;

pub use archive::{Deb, archive, control, deb, stream};
pub use error::Error;
pub use headers::{Header, headers};
pub use layers::{LAYERS, Whiteouts, hidden, lay, layer, layers, recall_layers};

/// The version of the rules above: part of the key of whatever is unpacked.
pub const RULES: u32 = 1;

/// What an archive may grow to before it is called a bomb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come out of the compression, headers included.
    pub bytes: u64,
    /// Bytes out per byte in; looked at past the first 16 MiB.
    pub ratio: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 30, ratio: 1000, entries: 2_000_000 }
    }
}

/// Who owns what comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Root, whatever the archive says.
    Root,
    /// The numbers in the archive; names in it are not looked at.
    Kept,
}

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Leading components taken from every name, as tar's `--strip-components` does: what has no more is
    /// left out. Nothing: 1 for tar, 0 for zip and Debian packages.
    pub strip: Option<usize>,
    /// Who owns what comes out.
    pub owners: Owners,
    /// When it is a bomb.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { strip: None, owners: Owners::Root, limits: Limits::default() }
    }
}

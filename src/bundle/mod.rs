//! Bundles: one file with everything that a rebuild needs, for machines that nothing else reaches.
//!
//! In go a [`Listing`] and the content of its members; out comes a tar whose bytes follow from them. Reading is one pass
//! from front to end, so that a bundle may come through a pipe, and the listing at the front says what the rest must be:
//! each header is compared with the one that a writer makes for the member, each content with its hash, what fills a
//! record with zeros. Nothing but a path of the listing is ever a path, and a listing with any other path than those
//! below is refused: so there are no links, no `..`, no duplicates and nothing between members.
//!
//! ```text
//! bundle.json              the listing: what the bundle is for, and each member's path, size and SHA-256
//! bundle.json.sha256       its hash, as `sha256sum -c` reads it
//! bundle.json.sig          a signature of the listing, where its `signed-by` names a key
//! bin/nodeimg-<arch>       the program itself, static: `tar xf` is enough to have it
//! blobs/sha256/<hex>       files as they are fetched, and what is in results
//! project/…                recipes, lock files, patches and what lies beside recipes
//! results.json             which step gave what
//! trees/sha256/<hex>       results: REAPI `Tree` messages, named by their root
//! ```
//!
//! Members stand in the listing's order, which is that of their paths' bytes. There are no times, owners or modes but
//! 0644 and 0755, and nothing is compressed: archives and packages are already.
//!
//! A bundle that is made on top of an earlier one ([`Since`]) leaves out what that one has and lists it as `elsewhere`.

mod content;
mod error;
mod header;
mod listing;
mod program;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use content::Content;
pub use error::Error;
pub use listing::{Listing, Member, Since, blob, tree};
pub use program::architecture;
pub use read::{Check, Give, Reader, Take};
pub use write::{Parts, Written, create, stream};

/// The listing.
pub const LISTING: &str = "bundle.json";
/// The listing's hash.
pub const CHECKSUM: &str = "bundle.json.sha256";
/// The listing's signature.
pub const SIGNATURE: &str = "bundle.json.sig";
/// Which step gave what.
pub const RESULTS: &str = "results.json";

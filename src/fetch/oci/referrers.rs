//! What is attached to an image of a registry (distribution-spec 1.1, "Listing Referrers").

use super::remote::Remote;
use super::{Context, Error, FetchError, Reference, bring};
use crate::base::{Digest, Sha256};

/// Brings the index or manifest that a reference names now.
pub fn named(reference: &Reference, context: &Context<'_>) -> Result<Digest, FetchError> {
    match reference.digest() {
        Some(hash) => bring(reference, hash, context),
        None => Remote::new(reference, context)?.tagged(),
    }
}

/// Brings the manifest that another tag of a reference's repository names now; nothing if there is no such tag.
pub fn tagged(reference: &Reference, tag: &str, context: &Context<'_>) -> Result<Option<Digest>, FetchError> {
    match Remote::new(reference, context)?.manifest_tagged(tag) {
        Err(FetchError::Oci(Error::Missing { .. })) => Ok(None),
        found => found.map(Some),
    }
}

/// Brings a manifest by its digest; what the store has is not asked for.
pub fn by_digest(reference: &Reference, hash: &Sha256, context: &Context<'_>) -> Result<Digest, FetchError> {
    bring(&reference.at(*hash), hash, context)
}

/// Brings the list of what is attached to an image, an index. A registry that has no such list may have one under the
/// tag that the specification has for it; with neither nothing is attached.
pub fn referrers(
    reference: &Reference,
    image: &Sha256,
    context: &Context<'_>,
) -> Result<Option<Digest>, FetchError> {
    let remote = Remote::new(reference, context)?;
    let missing = |error: &FetchError| matches!(error, FetchError::Oci(Error::Missing { .. }));
    match remote.list(image) {
        Err(error) if missing(&error) => {}
        listed => return listed.map(Some),
    }
    match remote.manifest_tagged(&format!("sha256-{image}")) {
        Err(error) if missing(&error) => Ok(None),
        listed => listed.map(Some),
    }
}

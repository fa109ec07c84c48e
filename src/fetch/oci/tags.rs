//! The tags of a repository (distribution-spec 1.1, "Listing Tags").

use std::collections::BTreeSet;

use serde::Deserialize;

use super::remote::Remote;
use super::{Context, FetchError, Reference};
use crate::base::Sha256;

/// So many are asked for at once; a registry may give fewer.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// Some registries write `null` for none.
    tags: Option<Vec<String>>,
}

/// Lists the tags of a reference's repository, sorted.
pub fn tags(reference: &Reference, context: &Context<'_>) -> Result<Vec<String>, FetchError> {
    let remote = Remote::new(reference, context)?;
    let mut tags = BTreeSet::new();
    let mut last: Option<String> = None;
    loop {
        let bytes = context.store.read_blob(&remote.tags(PAGE, last.as_deref())?)?;
        let page: Page = serde_json::from_slice(&bytes).map_err(|error| FetchError::Malformed {
            url: format!("{}: list of tags", reference.name()),
            reason: error.to_string(),
        })?;
        let before = tags.len();
        last = page.tags.iter().flatten().last().cloned();
        tags.extend(page.tags.into_iter().flatten());
        // Whatever a registry thinks of pages, in the end it says nothing new.
        if tags.len() == before {
            return Ok(tags.into_iter().collect());
        }
    }
}

/// Finds what a reference's tag names now, whatever its digest says. Nothing without a tag.
pub fn at_tag(reference: &Reference, context: &Context<'_>) -> Result<Option<Sha256>, FetchError> {
    if reference.tag().is_none() {
        return Ok(None);
    }
    Ok(Some(Remote::new(reference, context)?.tagged()?.hash))
}

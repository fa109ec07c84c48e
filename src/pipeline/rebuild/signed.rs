//! What is signed of an image: in a layout beside it, in a registry under cosign's tags.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::Error as PipelineError;
use super::source::{self, Image};
use crate::attest::layout::{ATTESTATIONS, SIGNATURE, SIGNATURES};
use crate::attest::policy::Found;
use crate::base::{Digest, Sha256};
use crate::fetch::Context;

/// Larger ones are no documents.
const LARGEST: u64 = 64 << 20;

/// Finds an image's signatures and signed statements; gives its digest too. Believes nothing of them.
pub fn signed(name: &str, out: &Path, context: &Context<'_>) -> Result<(Sha256, Found), PipelineError> {
    let own = attested(name, out);
    let name = own.as_deref().unwrap_or(name);
    let image = Image::open(name, context)?;
    let digest = image.digest()?;
    // A signature is of a manifest; what that names must be what is there.
    source::check(name, context)?;
    let mut found = Found::default();
    for (kind, suffix) in [(SIGNATURES, "sig"), (ATTESTATIONS, "att")] {
        for manifest in image.beside(kind, &format!("sha256-{digest}.{suffix}"))? {
            for layer in manifest["layers"].as_array().into_iter().flatten() {
                let content = content(&image, layer, context)?;
                if kind == ATTESTATIONS {
                    found.envelopes.push(content);
                    continue;
                }
                let text = layer["annotations"][SIGNATURE].as_str().unwrap_or_default();
                let signature = STANDARD.decode(text);
                let signature = signature.map_err(|_| image.wrong("has a signature that is not base64"))?;
                found.signatures.push((content, signature));
            }
        }
    }
    Ok((digest, found))
}

/// Finds what `nodeimg attest` left of an image that is named by its recipe or its digest.
fn attested(name: &str, out: &Path) -> Option<String> {
    if let Some(hash) = name.strip_prefix("sha256:").and_then(|hex| hex.parse().ok()) {
        return super::find(&hash, out, "attest/oci");
    }
    let is_name = crate::base::Name::new(name).is_ok() && !Path::new(name).exists();
    let layout = out.join(name).join("attest/oci");
    layout.to_str().filter(|_| is_name && layout.is_dir()).map(str::to_owned)
}

fn content(image: &Image<'_>, layer: &Value, context: &Context<'_>) -> Result<Vec<u8>, PipelineError> {
    let size = layer["size"].as_u64().filter(|size| *size <= LARGEST);
    let size = size.ok_or_else(|| image.wrong("has a signature of more than 64 MiB"))?;
    let blob = image.blob(&Digest { hash: image.hash(layer)?, size })?;
    Ok(context.store.read_blob(&blob)?)
}

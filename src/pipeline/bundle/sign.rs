//! Signatures of listings.
//!
//! What is signed is the listing's bytes and nothing around them, and the signature is base64 in a line, so that others
//! can check it too: `cosign verify-blob --private-infrastructure --key KEY.pub --signature bundle.json.sig bundle.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::attest::{PublicKey, SigningKey};
use crate::bundle::Listing;

/// Signs a listing, which names the key.
pub fn sign(listing: &Listing, key: &SigningKey) -> Vec<u8> {
    text(&key.sign(listing.text().as_bytes()))
}

fn text(signature: &[u8]) -> Vec<u8> {
    (STANDARD.encode(signature) + "\n").into_bytes()
}

/// Checks a listing's signature by the key that the listing names; whether that key is trusted is another question. The
/// error says what is wrong.
pub fn check(key: &str, listing: &[u8], signature: &[u8]) -> Result<(), String> {
    let public: PublicKey = key.parse().map_err(|why| format!("its key is none: {why}"))?;
    if public.to_pem() != key {
        return Err("its key is not written as nodeimg writes it".to_owned());
    }
    let line = signature.strip_suffix(b"\n").unwrap_or_default();
    let bytes = STANDARD.decode(line).map_err(|_| "it is not base64 in a line".to_owned())?;
    if text(&bytes) != signature {
        return Err("it is not written as nodeimg writes it".to_owned());
    }
    match public.verify(listing, &bytes) {
        true => Ok(()),
        false => Err(format!("it is not of key {} over this listing", public.id())),
    }
}

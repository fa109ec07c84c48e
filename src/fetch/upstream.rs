//! Upstream's own signature of a file: a detached OpenPGP signature beside it, by a key that the project has.
//!
//! It is checked when a file is pinned, never again: from then on the hash is what counts, and no build needs the
//! signature or the key. The pin keeps whose signature it was.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::debian::signature;
use super::{Context, Error};
use crate::base::Digest;

/// The fingerprint of an OpenPGP key: 40 hexadecimal digits, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 20]);

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no fingerprint of an OpenPGP key: 40 hexadecimal digits");
        let plain: String = text.chars().filter(|c| *c != ' ').collect();
        if plain.len() != 40 || !plain.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = &plain[2 * index..2 * index + 2];
            if pair.starts_with('+') {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Fingerprint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fingerprint".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9A-Fa-f]{2} ?){20}$" })
    }
}

/// Where upstream's signature of a file is, and whose it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signature {
    /// Where the detached signature is. `{url}` at its beginning is the file's own URL, and each place of `also` that has
    /// the file: `{url}.asc`.
    pub url: String,
    /// The fingerprint of the key that signs, itself or by a subkey; or of a subkey that alone may. The key lies in
    /// `recipes/keys/FINGERPRINT.asc`.
    pub key: Fingerprint,
}

impl Signature {
    /// Gives the name of the key's file in `recipes/keys/`.
    pub fn key_file(&self) -> String {
        format!("{}.asc", self.key)
    }

    /// Checks the signature of a file of the store; gives the fingerprint of the key or subkey that made it. `places` are
    /// where it may be had, `armored` is what the key's file has.
    pub(super) fn check(
        &self,
        file: &Digest,
        places: &[String],
        armored: &[u8],
        context: &Context<'_>,
    ) -> Result<Fingerprint, Error> {
        let keys = signature::keys(&[(format!("recipes/keys/{}", self.key_file()), armored.to_vec())])?;
        let named = self.key.to_string();
        let keys: Vec<_> = keys.into_iter().filter(|key| signature::is_named(key, &named)).collect();
        if keys.is_empty() {
            let file = format!("recipes/keys/{}", self.key_file());
            return Err(super::debian::Error::OtherKey { file, key: named }.into());
        }
        let text = context.network.get_small(&self.url, places, context)?;
        // Read once by who verifies: what is hashed is what is in the store.
        let content = context.store.verified_reader(file)?;
        let signer = signature::detached(&self.url, &text, content, &keys)?;
        // A subkey that is named is meant alone, a key with its subkeys.
        let is_key = keys.iter().any(|key| signature::fingerprint(key) == named);
        if !is_key && signer != named {
            return Err(
                super::debian::Error::OtherSigner { url: self.url.clone(), signers: vec![signer] }.into()
            );
        }
        Ok(signer.parse().expect("keys of version 4 have such fingerprints, and others were not found"))
    }
}

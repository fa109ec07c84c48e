//! DSSE 1.0 envelopes: a payload, its type, and signatures over both.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::{Error, PublicKey, SigningKey};
use crate::base::Sha256;

/// The payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The media type of an envelope.
pub const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A payload with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is, a media type.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// Who signed, as they say, and how.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key's name; a hint that may be empty, never a proof.
    pub key: String,
    /// The signature.
    pub bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Serialize, Deserialize)]
struct JsonSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// What is signed: the pre-authentication encoding of type and payload.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a payload.
pub fn sign(payload_type: &str, payload: Vec<u8>, key: &SigningKey) -> Envelope {
    let bytes = key.sign(&pae(payload_type, &payload));
    let signature = Signature { key: key.public().id().to_string(), bytes };
    Envelope { payload_type: payload_type.to_owned(), payload, signatures: vec![signature] }
}

/// Reads an envelope that must be of a type and signed by one of the keys; gives its payload and that key's name.
/// `what` names it for people.
pub fn verify(
    what: &str,
    json: &[u8],
    payload_type: &str,
    trusted: &[PublicKey],
) -> Result<(Vec<u8>, Sha256), Error> {
    let envelope = Envelope::parse(what, json)?;
    let key = envelope.signer(trusted);
    if envelope.payload_type != payload_type {
        let (expected, found) = (payload_type.to_owned(), envelope.payload_type);
        return Err(Error::PayloadType { what: what.to_owned(), expected, found });
    }
    let Some(key) = key else {
        let name = |signature: &Signature| match signature.key.as_str() {
            "" => "no key".to_owned(),
            key => format!("`{}`", key.chars().filter(|c| !c.is_control()).take(80).collect::<String>()),
        };
        let found = envelope.signatures.iter().map(name).collect();
        let trusted = trusted.iter().map(PublicKey::id).collect();
        return Err(Error::Untrusted { what: what.to_owned(), found, trusted });
    };
    Ok((envelope.payload, key))
}

impl Envelope {
    /// Reads an envelope, believing nothing of it yet.
    pub fn parse(what: &str, json: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Envelope { what: what.to_owned(), reason };
        let json: Json = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        // The specification lets readers take both alphabets.
        let decode = |field: &str, text: &str| {
            let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
            bytes.map_err(|_| wrong(format!("`{field}` is not base64")))
        };
        let payload = decode("payload", &json.payload)?;
        let signature =
            |one: &JsonSignature| Ok(Signature { key: one.keyid.clone(), bytes: decode("sig", &one.sig)? });
        let signatures = json.signatures.iter().map(signature).collect::<Result<_, Error>>()?;
        Ok(Self { payload_type: json.payload_type, payload, signatures })
    }

    /// Gives the name of the first of the keys that signed this.
    pub fn signer(&self, keys: &[PublicKey]) -> Option<Sha256> {
        let signed = pae(&self.payload_type, &self.payload);
        let holds = |key: &&PublicKey| self.signatures.iter().any(|one| key.verify(&signed, &one.bytes));
        keys.iter().find(holds).map(PublicKey::id)
    }

    /// Gives the envelope as it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        let signature =
            |one: &Signature| JsonSignature { keyid: one.key.clone(), sig: STANDARD.encode(&one.bytes) };
        let json = Json {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: self.signatures.iter().map(signature).collect(),
        };
        serde_json::to_vec(&json).expect("plain values are JSON")
    }
}

//! Who is trusted to sign images, and what must be said of them.
//!
//! ```toml
//! keys = ["release.key.pub"]              # public keys, files beside this one
//! signatures = 1                          # so many of the keys must have signed the image
//! require = ["provenance", "spdx"]        # statements that must be there, each signed by one of the keys
//! builders = ["https://ci.example/nodes"] # who may have built, as the provenance says it
//! runtimes = ["crun-wasmtime"]            # what containerd runtimes a node image may have
//! ```
//!
//! What a policy does not name it does not ask for. Whatever is not signed by one of the keys counts as not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::dsse::{self, Envelope};
use super::{Error, PublicKey, provenance};
use crate::base::Sha256;

/// Who is trusted, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The keys that count.
    pub keys: Vec<PublicKey>,
    /// How many of them must have signed the image.
    pub signatures: usize,
    /// The types of predicates that must be there.
    pub require: Vec<String>,
    /// Who may have built; empty is anybody.
    pub builders: Vec<String>,
    /// The runtimes that may be in it, where that is said.
    pub runtimes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    keys: Vec<PathBuf>,
    #[serde(default)]
    signatures: Option<usize>,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default)]
    builders: Vec<String>,
    runtimes: Option<Vec<String>>,
}

/// Short names of predicates' types.
const NAMES: [(&str, &str); 3] =
    [("provenance", provenance::PREDICATE), ("spdx", provenance::SPDX), ("cyclonedx", provenance::CYCLONEDX)];

fn name(predicate: &str) -> &str {
    NAMES.iter().find(|(_, kind)| *kind == predicate).map_or(predicate, |(name, _)| name)
}

/// What is signed of an image, as it was found; nothing of it is believed yet.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Cosign's payloads, and a signature of each.
    pub signatures: Vec<(Vec<u8>, Vec<u8>)>,
    /// Envelopes with statements.
    pub envelopes: Vec<Vec<u8>>,
}

/// What holds of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The keys that signed the image.
    pub signers: BTreeSet<Sha256>,
    /// What is said of it by one of the keys, by short names.
    pub statements: BTreeSet<String>,
    /// What the policy wants otherwise.
    pub faults: Vec<Fault>,
}

/// What a policy wants otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Fault {
    /// Too few have signed.
    #[error("{found} of the {known} trusted keys signed the image, {wanted} must have")]
    #[diagnostic(help("{}", match others {
        0 => "it has no other signature either: `nodeimg attest --key FILE` signs it".to_owned(),
        1 => "one signature is there that none of these keys made, or that is of another image".to_owned(),
        count => format!("{count} signatures are there that none of these keys made, or that are of another image"),
    }))]
    Signatures { found: usize, known: usize, wanted: usize, others: usize },

    /// A statement is missing.
    #[error("no trusted key signed a statement `{name}` about the image")]
    #[diagnostic(help("{}", match unsigned {
        true => "there is one, but none of these keys signed it, or it is about another image",
        false => "there is none at all",
    }))]
    Missing { name: String, unsigned: bool },

    /// Somebody else built it.
    #[error("the image was built by `{builder}`")]
    #[diagnostic(help("the policy has in `builders`: {}", list(allowed)))]
    Builder { builder: String, allowed: Vec<String> },

    /// It has another runtime in it.
    #[error("the image has the runtime `{runtime}`")]
    #[diagnostic(help("the policy has in `runtimes`: {}", list(allowed)))]
    Runtime { runtime: String, allowed: Vec<String> },
}

fn list(allowed: &[String]) -> String {
    match allowed {
        [] => "none".to_owned(),
        some => some.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "),
    }
}

impl Policy {
    /// Trusts keys to sign the image, and wants nothing else.
    pub fn of_keys(keys: Vec<PublicKey>) -> Self {
        Self { keys, signatures: 1, require: Vec::new(), builders: Vec::new(), runtimes: None }
    }

    /// Reads a policy and the keys that it names.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs_err::read_to_string(path).map_err(|source| Error::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let wrong = |reason: String| Error::Policy { path: path.to_owned(), reason };
        let file: File =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let keys: Vec<_> =
            file.keys.iter().map(|key| PublicKey::read(&folder.join(key))).collect::<Result<_, _>>()?;
        let different: BTreeSet<_> = keys.iter().map(PublicKey::id).collect();
        let signatures = file.signatures.unwrap_or(1);
        if signatures == 0 || signatures > different.len() {
            return Err(wrong(format!(
                "`signatures` is {signatures}, of {} keys: who signs nothing proves nothing",
                different.len()
            )));
        }
        let kind = |text: String| match NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, kind)) => Ok((*kind).to_owned()),
            None if text.contains(':') => Ok(text),
            None => Err(wrong(format!(
                "`{text}` in `require` is neither `provenance`, `spdx`, `cyclonedx` nor a predicate's type, a URI"
            ))),
        };
        let mut require = file.require.into_iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        // What is asked of the provenance needs one.
        let asks = !file.builders.is_empty() || file.runtimes.is_some();
        if asks && !require.iter().any(|kind| kind == provenance::PREDICATE) {
            require.push(provenance::PREDICATE.to_owned());
        }
        Ok(Self { keys, signatures, require, builders: file.builders, runtimes: file.runtimes })
    }

    /// Holds what was found against the policy.
    pub fn judge(&self, digest: &Sha256, found: &Found) -> Verdict {
        let mut verdict = Verdict::default();
        let mut others = 0;
        for (payload, signature) in &found.signatures {
            let key = self.keys.iter().find(|key| key.verify(payload, signature));
            match key.filter(|_| is_about(payload, digest)) {
                Some(key) => _ = verdict.signers.insert(key.id()),
                None => others += 1,
            }
        }
        if verdict.signers.len() < self.signatures {
            let (found, known) = (verdict.signers.len(), self.keys.len());
            verdict.faults.push(Fault::Signatures { found, known, wanted: self.signatures, others });
        }
        let (mut statements, mut unsigned) = (Vec::new(), BTreeSet::new());
        for json in &found.envelopes {
            let Ok(envelope) = Envelope::parse("", json) else { continue };
            let Ok(statement) = serde_json::from_slice::<Value>(&envelope.payload) else { continue };
            let kind = statement["predicateType"].as_str().unwrap_or_default().to_owned();
            let is_ours = envelope.payload_type == dsse::IN_TOTO
                && statement["_type"] == provenance::STATEMENT
                && is_subject(&statement, digest)
                && envelope.signer(&self.keys).is_some();
            if is_ours {
                verdict.statements.insert(name(&kind).to_owned());
                statements.push((kind, statement));
            } else {
                unsigned.insert(kind);
            }
        }
        for wanted in &self.require {
            if !statements.iter().any(|(kind, _)| kind == wanted) {
                let unsigned = unsigned.contains(wanted);
                verdict.faults.push(Fault::Missing { name: name(wanted).to_owned(), unsigned });
            }
        }
        for (_, statement) in statements.iter().filter(|(kind, _)| kind == provenance::PREDICATE) {
            self.judge_build(&statement["predicate"], &mut verdict);
        }
        verdict
    }

    /// Every provenance that a trusted key signed must fit: a second one must not hide behind the first.
    fn judge_build(&self, predicate: &Value, verdict: &mut Verdict) {
        let builder = predicate["runDetails"]["builder"]["id"].as_str().unwrap_or_default();
        if !self.builders.is_empty() && !self.builders.iter().any(|one| one == builder) {
            let (builder, allowed) = (builder.to_owned(), self.builders.clone());
            verdict.faults.push(Fault::Builder { builder, allowed });
        }
        let Some(allowed) = &self.runtimes else { return };
        let runtimes = predicate["buildDefinition"]["externalParameters"]["runtimes"].as_array();
        for runtime in runtimes.into_iter().flatten() {
            let runtime = runtime.as_str().unwrap_or_default();
            if !allowed.iter().any(|one| one == runtime) {
                let (runtime, allowed) = (runtime.to_owned(), allowed.clone());
                verdict.faults.push(Fault::Runtime { runtime, allowed });
            }
        }
    }
}

/// Tells whether a signed payload is about an image.
fn is_about(payload: &[u8], digest: &Sha256) -> bool {
    serde_json::from_slice::<Value>(payload).is_ok_and(|payload| {
        let critical = &payload["critical"];
        critical["type"] == "cosign container image signature"
            && critical["image"]["docker-manifest-digest"] == digest.oci()
    })
}

fn is_subject(statement: &Value, digest: &Sha256) -> bool {
    let subjects = statement["subject"].as_array().into_iter().flatten();
    subjects.into_iter().any(|subject| subject["digest"]["sha256"] == digest.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::attest::{Algorithm, SigningKey};

    fn signature(key: &SigningKey, digest: &Sha256) -> (Vec<u8>, Vec<u8>) {
        let payload = json!({ "critical": {
            "type": "cosign container image signature",
            "image": { "docker-manifest-digest": digest.oci() },
        } });
        let payload = payload.to_string().into_bytes();
        let signature = key.sign(&payload);
        (payload, signature)
    }

    fn provenance(key: &SigningKey, digest: &Sha256, builder: &str) -> Vec<u8> {
        let predicate = json!({ "runDetails": { "builder": { "id": builder } } });
        let statement = provenance::statement("image:1", digest, provenance::PREDICATE, predicate);
        dsse::sign(dsse::IN_TOTO, statement.to_string().into_bytes(), key).to_json()
    }

    #[test]
    fn only_what_a_trusted_key_says_of_this_image_counts() {
        let (key, other) = (SigningKey::generate(Algorithm::Ed25519), SigningKey::generate(Algorithm::P256));
        let (digest, another) = (Sha256::of(b"image"), Sha256::of(b"another"));
        let mut policy = Policy::of_keys(vec![key.public()]);
        policy.require = vec![provenance::PREDICATE.to_owned()];
        policy.builders = vec!["urn:good".to_owned()];
        let judge = |signatures: &[(Vec<u8>, Vec<u8>)], envelopes: &[Vec<u8>]| {
            let found = Found { signatures: signatures.to_vec(), envelopes: envelopes.to_vec() };
            policy.judge(&digest, &found)
        };
        let (good, said) = (signature(&key, &digest), provenance(&key, &digest, "urn:good"));
        let verdict = judge(std::slice::from_ref(&good), std::slice::from_ref(&said));
        assert_eq!(verdict.faults, []);
        assert_eq!(verdict.signers, BTreeSet::from([key.public().id()]));

        let few = |others| Fault::Signatures { found: 0, known: 1, wanted: 1, others };
        let replayed =
            judge(&[signature(&key, &another), signature(&other, &digest)], std::slice::from_ref(&said));
        assert_eq!(replayed.faults, [few(2)]);
        let missing = |unsigned| Fault::Missing { name: "provenance".to_owned(), unsigned };
        for (envelopes, unsigned) in [
            (vec![], false),
            (vec![provenance(&key, &another, "urn:good")], true),
            (vec![provenance(&other, &digest, "urn:good")], true),
            (vec![b"no envelope".to_vec()], false),
        ] {
            assert_eq!(judge(std::slice::from_ref(&good), &envelopes).faults, [missing(unsigned)]);
        }
        // The same key said two things: both must fit.
        let two = judge(&[good], &[said, provenance(&key, &digest, "urn:bad")]);
        let allowed = vec!["urn:good".to_owned()];
        assert_eq!(two.faults, [Fault::Builder { builder: "urn:bad".to_owned(), allowed }]);
    }
}

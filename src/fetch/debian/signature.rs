//! Clear-signed text (RFC 9580, section 7): what was signed, and by which key.
//!
//! Nothing outside the signed text ever comes out of here. The frame is read more strictly than the RFC asks:
//! `Hash` headers only, one signature block, nothing before or after it.

use jiff::Timestamp;
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::types::{KeyDetails as _, Tag};

use super::Error;
use crate::fetch;

/// An armored public key: the file's name and its bytes.
pub type Key = (String, Vec<u8>);

/// A text that was signed by a key in force.
pub(super) struct Signed {
    /// The text, without dash escapes and spaces at the ends of lines.
    pub(super) text: String,
    /// The fingerprint of the key or subkey.
    pub(super) signer: String,
}

/// Reads key files, each with one or more keys.
pub(in crate::fetch) fn keys(files: &[Key]) -> Result<Vec<SignedPublicKey>, Error> {
    let mut keys = Vec::new();
    for (file, armored) in files {
        let wrong = |reason: String| Error::Key { file: file.clone(), reason };
        let (read, _) =
            SignedPublicKey::from_armor_many(armored.as_slice()).map_err(|error| wrong(error.to_string()))?;
        let before = keys.len();
        for key in read {
            keys.push(key.map_err(|error| wrong(error.to_string()))?);
        }
        if keys.len() == before {
            return Err(wrong("it holds no key".to_owned()));
        }
    }
    Ok(keys)
}

/// Verifies a clear-signed text. One good signature by one of `keys` suffices; keys are judged as of the date
/// that the text itself gives, never by the clock.
pub(super) fn verify(
    url: &str,
    clear: &[u8],
    keys: &[SignedPublicKey],
    date: impl Fn(&str) -> Option<Timestamp>,
) -> Result<Signed, Error> {
    let not_signed = |reason: String| Error::NotSigned { url: url.to_owned(), reason };
    let clear = std::str::from_utf8(clear).map_err(|error| not_signed(error.to_string()))?;
    let (text, armor) = split(clear).map_err(|reason| not_signed(reason.to_owned()))?;
    let (signatures, _) =
        DetachedSignature::from_string_many(armor).map_err(|error| not_signed(error.to_string()))?;
    let signatures: Vec<_> = signatures
        .collect::<Result<_, _>>()
        .map_err(|error: pgp::errors::Error| not_signed(error.to_string()))?;

    let (mut signers, mut bad, mut unfit) = (Vec::new(), None, None);
    for DetachedSignature { signature } in &signatures {
        let Some(signer) = signer(signature, keys) else {
            signers.extend(issuer(signature));
            continue;
        };
        if !sound(signature) || !signer.made(signature, &text) {
            bad.get_or_insert(signer.fingerprint());
            continue;
        }
        let date = date(&text).ok_or_else(|| not_signed("it has no date".to_owned()))?;
        match signer.in_force(date.as_second()) {
            Ok(()) => return Ok(Signed { signer: signer.fingerprint(), text }),
            Err(reason) => _ = unfit.get_or_insert((signer.fingerprint(), reason)),
        }
    }
    let url = url.to_owned();
    Err(match (bad, unfit) {
        (Some(signer), _) => Error::BadSignature { url, signer },
        (None, Some((signer, reason))) => Error::UnfitKey { url, signer, reason },
        (None, None) if signers.is_empty() => not_signed("it has no signature".to_owned()),
        (None, None) => Error::UnknownSigner { url, signers },
    })
}

/// Tells whether a key, or one of its subkeys, has a fingerprint.
pub(in crate::fetch) fn is_named(key: &SignedPublicKey, fingerprint: &str) -> bool {
    let mut all = std::iter::once(key.primary_key.fingerprint())
        .chain(key.public_subkeys.iter().map(|subkey| subkey.key.fingerprint()));
    all.any(|print| format!("{print:X}") == fingerprint)
}

/// Gives a key's fingerprint, not its subkeys'.
pub(in crate::fetch) fn fingerprint(key: &SignedPublicKey) -> String {
    format!("{:X}", key.primary_key.fingerprint())
}

/// Verifies a detached signature of a file, armored or not, by one of `keys`; gives the fingerprint of the key or subkey.
/// The key is judged as of when the signature says that it was made.
pub(in crate::fetch) fn detached(
    url: &str,
    signature: &[u8],
    mut content: impl std::io::Read,
    keys: &[SignedPublicKey],
) -> Result<String, fetch::Error> {
    let not_one = |reason: String| Error::NotASignature { url: url.to_owned(), reason };
    let wrong = |error: pgp::errors::Error| not_one(error.to_string());
    let signatures: Vec<DetachedSignature> = if signature.starts_with(b"-----BEGIN") {
        let (read, _) = DetachedSignature::from_armor_many(signature).map_err(wrong)?;
        read.collect::<Result<_, _>>().map_err(wrong)?
    } else {
        DetachedSignature::from_bytes_many(signature)
            .map_err(wrong)?
            .collect::<Result<_, _>>()
            .map_err(wrong)?
    };
    let mut signers = Vec::new();
    for DetachedSignature { signature } in &signatures {
        let Some(signer) = signer(signature, keys) else {
            signers.extend(issuer(signature));
            continue;
        };
        let print = signer.fingerprint();
        let (url, signer_print) = (url.to_owned(), print.clone());
        let date = signature.created().map(|created| i64::from(created.as_secs()));
        let in_force = date.ok_or("the signature does not say when it was made".to_owned());
        if let Err(reason) = in_force.and_then(|date| signer.in_force(date)) {
            return Err(Error::UnfitSigner { url, signer: print, reason }.into());
        }
        let is_good = is_strong(signature, SignatureType::Binary) && signer.made_of(signature, &mut content);
        return if is_good { Ok(print) } else { Err(Error::BadFile { url, signer: signer_print }.into()) };
    }
    if signers.is_empty() {
        return Err(not_one("it holds none".to_owned()).into());
    }
    Err(Error::OtherSigner { url: url.to_owned(), signers }.into())
}

/// Splits the frame into the signed text and the armored signature.
fn split(clear: &str) -> Result<(String, &str), &'static str> {
    const HEAD: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n";
    const ARMOR: &str = "-----BEGIN PGP SIGNATURE-----";
    const END: &str = "\n-----END PGP SIGNATURE-----";
    let rest = clear.strip_prefix(HEAD).ok_or("it does not begin as signed text does")?;
    // Where lines end must not be a matter of opinion.
    if clear.contains('\r') {
        return Err("it has carriage returns");
    }
    let body = if rest.starts_with('\n') { 0 } else { rest.find("\n\n").ok_or("it has no text")? + 1 };
    if !rest[..body].lines().all(|line| line.starts_with("Hash: ")) {
        return Err("it has unknown headers");
    }
    let body = &rest[body + 1..];
    let mut text = String::with_capacity(body.len());
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        if line.starts_with(ARMOR) {
            let armor = &body[at..];
            let end = armor.find(END).ok_or("its signature has no end")?;
            return match armor[end + END.len()..].trim_ascii() {
                "" => {
                    // The last line end belongs to the frame.
                    text.pop();
                    Ok((text, armor))
                }
                _ => Err("something follows its signature"),
            };
        }
        at += line.len();
        let line = match line.strip_prefix("- ") {
            Some(line) => line,
            None if line.starts_with('-') => return Err("a line that begins with `-` is not escaped"),
            None => line,
        };
        text.push_str(line.trim_end_matches(['\n', ' ', '\t']));
        text.push('\n');
    }
    Err("it has no signature")
}

/// What apt takes: a signature of text, over a hash that nobody can collide.
fn sound(signature: &Signature) -> bool {
    is_strong(signature, SignatureType::Text)
}

fn is_strong(signature: &Signature, typ: SignatureType) -> bool {
    signature.typ() == Some(typ)
        && matches!(
            signature.hash_alg(),
            Some(
                HashAlgorithm::Sha256
                    | HashAlgorithm::Sha384
                    | HashAlgorithm::Sha512
                    | HashAlgorithm::Sha3_256
                    | HashAlgorithm::Sha3_512
            )
        )
}

fn issuer(signature: &Signature) -> Option<String> {
    let fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    fingerprint.or_else(|| signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase()))
}

/// A listed key, or one of its subkeys.
struct Signer<'a> {
    key: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

/// Finds whom a signature says it is by.
fn signer<'a>(signature: &Signature, keys: &'a [SignedPublicKey]) -> Option<Signer<'a>> {
    let all = keys.iter().flat_map(|key| {
        let subkeys = key.public_subkeys.iter().map(Some);
        std::iter::once(None).chain(subkeys).map(move |subkey| Signer { key, subkey })
    });
    let (prints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    let named = |signer: &Signer<'_>| {
        let (print, id) = match signer.subkey {
            Some(subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
            None => (signer.key.primary_key.fingerprint(), signer.key.primary_key.legacy_key_id()),
        };
        prints.contains(&&print) || (prints.is_empty() && ids.contains(&&id))
    };
    all.into_iter().find(named)
}

impl Signer<'_> {
    fn fingerprint(&self) -> String {
        match self.subkey {
            Some(subkey) => format!("{:X}", subkey.key.fingerprint()),
            None => format!("{:X}", self.key.primary_key.fingerprint()),
        }
    }

    fn made(&self, signature: &Signature, text: &str) -> bool {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, text.as_bytes()).is_ok(),
            None => signature.verify(&self.key.primary_key, text.as_bytes()).is_ok(),
        }
    }

    fn made_of(&self, signature: &Signature, content: impl std::io::Read) -> bool {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, content).is_ok(),
            None => signature.verify(&self.key.primary_key, content).is_ok(),
        }
    }

    /// Says why the key could not sign at `date`, in seconds of the epoch.
    fn in_force(&self, date: i64) -> Result<(), String> {
        let primary = &self.key.primary_key;
        let details = &self.key.details;
        let revoked = |signature: &&Signature| revokes(signature, date);
        if details.revocation_signatures.iter().filter(revoked).any(|one| one.verify_key(primary).is_ok()) {
            return Err("its owner has revoked it".to_owned());
        }
        let direct = details.direct_signatures.iter().filter(|one| one.verify_key(primary).is_ok());
        let of_users = details.users.iter().flat_map(|user| {
            let good = |one: &&Signature| one.verify_certification(primary, Tag::UserId, &user.id).is_ok();
            user.signatures.iter().filter(good)
        });
        let own = newest(direct.chain(of_users), date).ok_or("it has no signature of its own from before")?;
        unexpired(primary.created_at().as_secs(), own, date)?;

        let Some(subkey) = self.subkey else { return Ok(()) };
        let bound = |one: &&Signature| one.verify_subkey_binding(primary, &subkey.key).is_ok();
        let of = |typ| subkey.signatures.iter().filter(move |one| one.typ() == Some(typ)).filter(bound);
        if of(SignatureType::SubkeyRevocation).any(|one| revokes(one, date)) {
            return Err("its owner has revoked it".to_owned());
        }
        let binding = newest(of(SignatureType::SubkeyBinding), date).ok_or("no key binds it")?;
        // Both must agree: else anyone could adopt a foreign key as a subkey of his own.
        let agreed = binding
            .embedded_signature()
            .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
        if !binding.key_flags().sign() || !agreed {
            return Err("it may not sign".to_owned());
        }
        unexpired(subkey.key.created_at().as_secs(), binding, date)
    }
}

/// A key that is only retired stays good for what it signed before; any other revocation counts always.
fn revokes(signature: &Signature, date: i64) -> bool {
    let soft = matches!(
        signature.revocation_reason_code(),
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired)
    );
    !soft || signature.created().is_none_or(|created| i64::from(created.as_secs()) <= date)
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, date: i64) -> Option<&'a Signature> {
    let made = |one: &Signature| one.created().map(|created| i64::from(created.as_secs()));
    signatures.filter(|one| made(one).is_some_and(|made| made <= date)).max_by_key(|one| made(one))
}

fn unexpired(created: u32, own: &Signature, date: i64) -> Result<(), String> {
    let created = i64::from(created);
    if created > date {
        return Err("it is younger than the release".to_owned());
    }
    // Zero means never (RFC 9580, section 5.2.3.13).
    let life = own.key_expiration_time().map_or(0, |life| i64::from(life.as_secs()));
    if life > 0 && created + life <= date {
        let end = Timestamp::from_second(created + life).map(super::release::moment).unwrap_or_default();
        return Err(format!("it expired at {end}"));
    }
    Ok(())
}

//! Key files, signing and checking.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, Document, EncodePrivateKey as _, EncodePublicKey as _,
    LineEnding, PrivateKeyInfo, SecretDocument, SubjectPublicKeyInfoRef,
};

use super::Error;
use crate::base::Sha256;

/// A key file is a few hundred bytes; whatever is larger is none.
const LARGEST: u64 = 64 << 10;

/// How to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256, the nonce by RFC 6979, the signature in DER.
    P256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::P256 => "ECDSA P-256",
        })
    }
}

/// The private half of a key. Is never printed, and wiped from memory when it goes.
pub struct SigningKey(Private);

enum Private {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// Reads a private key: PEM with PKCS#8, or with SEC 1 as `openssl ecparam -genkey` leaves it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read(path)?;
        // `openssl ecparam -genkey` writes the curve's name before the key.
        let text = text.find("-----BEGIN EC PRIVATE KEY-----").map_or(&*text, |at| &text[at..]);
        let der = || SecretDocument::from_pem(text).map_err(|error| no_key(path, &error));
        match label(text) {
            "PRIVATE KEY" => {}
            "EC PRIVATE KEY" => {
                let key = p256::SecretKey::from_sec1_der(der()?.1.as_bytes());
                let other = |_| Error::Algorithm { path: path.to_owned(), algorithm: "another curve".into() };
                return Ok(Self(Private::P256(key.map_err(other)?.into())));
            }
            "PUBLIC KEY" => return Err(Error::NotPrivate { path: path.to_owned() }),
            "ENCRYPTED PRIVATE KEY" => return Err(Error::Encrypted { path: path.to_owned() }),
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                return Err(Error::Cosign { path: path.to_owned() });
            }
            other => return Err(no_key(path, &format!("it is a `{other}`"))),
        }
        let (_, der) = der()?;
        let info = PrivateKeyInfo::try_from(der.as_bytes()).map_err(|error| no_key(path, &error))?;
        let (oid, curve) = (info.algorithm.oid, info.algorithm.parameters_oid().ok());
        match algorithm(&oid, curve.as_ref()) {
            Ok(Algorithm::Ed25519) => {
                let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.as_bytes());
                Ok(Self(Private::Ed25519(key.map_err(|error| no_key(path, &error))?)))
            }
            Ok(Algorithm::P256) => {
                let key = p256::ecdsa::SigningKey::from_pkcs8_der(der.as_bytes());
                Ok(Self(Private::P256(key.map_err(|error| no_key(path, &error))?)))
            }
            Err(algorithm) => Err(Error::Algorithm { path: path.to_owned(), algorithm }),
        }
    }

    /// Makes a key out of the kernel's randomness.
    pub fn generate(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Ed25519 => {
                let mut seed = [0; 32];
                OsRng.fill_bytes(&mut seed);
                Private::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed))
            }
            Algorithm::P256 => Private::P256(p256::ecdsa::SigningKey::random(&mut OsRng)),
        })
    }

    /// Signs bytes. The same bytes give the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Private::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    /// Gives the public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Private::Ed25519(key) => Public::Ed25519(key.verifying_key()),
            Private::P256(key) => Public::P256(*key.verifying_key()),
        })
    }

    fn to_pem(&self) -> impl AsRef<[u8]> + use<> {
        let pem = match &self.0 {
            Private::Ed25519(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        Bytes(pem.expect("a key has a PKCS#8 form"))
    }
}

/// Text that is wiped from memory when it goes.
struct Bytes<T>(T);

impl<T: std::ops::Deref<Target = String>> AsRef<[u8]> for Bytes<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The public half of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// Reads a public key: PEM with SPKI.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read(path)?;
        match label(&text) {
            "PUBLIC KEY" => {}
            private if private.ends_with("PRIVATE KEY") => {
                return Err(Error::NotPublic { path: path.to_owned() });
            }
            other => return Err(no_key(path, &format!("it is a `{other}`"))),
        }
        let (_, der) = Document::from_pem(&text).map_err(|error| no_key(path, &error))?;
        let info = SubjectPublicKeyInfoRef::try_from(der.as_bytes()).map_err(|error| no_key(path, &error))?;
        let (oid, curve) = (info.algorithm.oid, info.algorithm.parameters_oid().ok());
        match algorithm(&oid, curve.as_ref()) {
            Ok(_) => Self::from_der(der.as_bytes()).ok_or_else(|| no_key(path, &"its point is on no curve")),
            Err(algorithm) => Err(Error::Algorithm { path: path.to_owned(), algorithm }),
        }
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let ed25519 = ed25519_dalek::VerifyingKey::from_public_key_der(der).map(Public::Ed25519);
        let any = ed25519.or_else(|_| p256::ecdsa::VerifyingKey::from_public_key_der(der).map(Public::P256));
        any.ok().map(Self)
    }

    /// Tells whether a signature of the bytes is this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        use p256::ecdsa::signature::Verifier as _;
        match &self.0 {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Public::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// Gives the key's name: the hash of its SPKI.
    pub fn id(&self) -> Sha256 {
        Sha256::of(self.der().as_bytes())
    }

    /// Gives what the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Public::Ed25519(_) => Algorithm::Ed25519,
            Public::P256(_) => Algorithm::P256,
        }
    }

    /// Gives the key as a file has it.
    pub fn to_pem(&self) -> String {
        self.der().to_pem("PUBLIC KEY", LineEnding::LF).expect("a key is short")
    }

    fn der(&self) -> Document {
        let der = match &self.0 {
            Public::Ed25519(key) => key.to_public_key_der(),
            Public::P256(key) => key.to_public_key_der(),
        };
        der.expect("a key has an SPKI form")
    }
}

/// Reads a public key out of text, for what has one inside.
impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (label, der) = Document::from_pem(text).map_err(|error| error.to_string())?;
        if label != "PUBLIC KEY" {
            return Err(format!("it is a `{label}`"));
        }
        Self::from_der(der.as_bytes()).ok_or_else(|| "it is neither Ed25519 nor ECDSA P-256".to_owned())
    }
}

/// Where the public half of a new key lies: beside it, with `.pub` behind its name.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Writes a new key: `path`, which only its owner reads, and its public half at [`public_path`]. Overwrites nothing.
pub fn create(path: &Path, algorithm: Algorithm) -> Result<PublicKey, Error> {
    let public = public_path(path);
    for file in [path, &public] {
        if file.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: file.to_owned() });
        }
    }
    let key = SigningKey::generate(algorithm);
    write(path, 0o600, key.to_pem().as_ref())?;
    let written = write(&public, 0o644, key.public().to_pem().as_bytes());
    if written.is_err() {
        // Half a key is none.
        let _ = fs_err::remove_file(path);
    }
    written.map(|()| key.public())
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::Io { action: "write", path: path.to_owned(), source },
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs_err::File::open(path).map_err(failed)?;
    match file.take(LARGEST).read_to_string(&mut text) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(no_key(path, &"it is not PEM, which starts with `-----BEGIN`"))
        }
        Err(source) => Err(failed(source)),
        Ok(_) if !text.contains("-----BEGIN ") => {
            Err(no_key(path, &"it is not PEM, which starts with `-----BEGIN`"))
        }
        Ok(_) => Ok(text),
    }
}

/// Reads what a PEM text says that it is; [`read`] has seen a beginning.
fn label(text: &str) -> &str {
    let (_, rest) = text.split_once("-----BEGIN ").unwrap_or_default();
    rest.split("-----").next().unwrap_or_default()
}

fn no_key(path: &Path, reason: &dyn fmt::Display) -> Error {
    Error::NoKey { path: path.to_owned(), reason: reason.to_string() }
}

/// Finds the algorithm by its object identifiers, or names it for people.
fn algorithm(
    oid: &p256::pkcs8::ObjectIdentifier,
    curve: Option<&p256::pkcs8::ObjectIdentifier>,
) -> Result<Algorithm, String> {
    match (oid.to_string().as_str(), curve.map(ToString::to_string).as_deref()) {
        ("1.3.101.112", _) => Ok(Algorithm::Ed25519),
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Ok(Algorithm::P256),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Err("ECDSA P-384".into()),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Err("ECDSA P-521".into()),
        ("1.2.840.10045.2.1", _) => Err("ECDSA on another curve".into()),
        ("1.2.840.113549.1.1.1", _) => Err("RSA".into()),
        (other, _) => Err(format!("`{other}`")),
    }
}

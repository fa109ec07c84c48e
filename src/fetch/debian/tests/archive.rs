//! A small signed archive in a folder, and its keys.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
    SignedPublicKey, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, RevocationCode, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::types::{Duration, KeyDetails as _, Password, SigningKey, Tag, Timestamp};

use crate::base::event::Silent;
use crate::base::{Arch, Cancel, Digest, Name, Sha256};
use crate::fetch::debian::{Indices, Key, PackagePin, Pocket, Snapshot, SuitePin};
use crate::fetch::{Context, Error, Network, Settings};
use crate::store::Store;

/// When the archive's releases are from, in its two forms, and in seconds.
pub(super) const DATE: &str = "Sat, 11 Jul 2026 10:16:37 UTC";
pub(super) const MOMENT: &str = "20260711T120000Z";
pub(super) const SECONDS: u32 = 1_783_764_997;

/// Someone who signs.
pub(super) struct Signer {
    secret: SignedSecretKey,
    pub(super) public: SignedPublicKey,
}

/// Which of a signer's keys signs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Primary,
    Subkey,
}

impl Signer {
    /// Makes a key and a subkey that may sign or not, a year older than the archive.
    pub(super) fn new(subkey_signs: bool) -> Self {
        let created = Timestamp::from_secs(SECONDS - 365 * 86400);
        let subkey = SubkeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .created_at(created)
            .build()
            .unwrap();
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .created_at(created)
            .primary_user_id("Archive <archive@example>".to_owned())
            .subkey(subkey)
            .build()
            .unwrap();
        let secret = params.generate(rand::thread_rng()).unwrap();
        let public = secret.to_public_key();
        let mut signer = Self { secret, public };
        signer.certify(None);
        let primary = &signer.secret.primary_key;
        let back = signer.config(SignatureType::KeyBinding, Vec::new());
        let (own, key) = (&signer.secret.secret_subkeys[0].key, &signer.public.public_subkeys[0].key);
        let back =
            back.sign_primary_key_binding(own, key, &Password::empty(), &signer.public.primary_key).unwrap();
        let mut flags = KeyFlags::default();
        flags.set_sign(subkey_signs);
        let more = vec![SubpacketData::KeyFlags(flags), SubpacketData::EmbeddedSignature(Box::new(back))];
        let config = signer.config(SignatureType::SubkeyBinding, more);
        let binding =
            config.sign_subkey_binding(primary, &signer.public.primary_key, &Password::empty(), key).unwrap();
        signer.public.public_subkeys[0].signatures = vec![binding];
        signer
    }

    /// Signs the primary key anew, for so many days from its creation.
    pub(super) fn certify(&mut self, days: Option<u32>) {
        let life = days.map(|days| SubpacketData::KeyExpirationTime(Duration::from_secs(days * 86400)));
        let config = self.config(SignatureType::CertPositive, life.into_iter().collect());
        let (key, id) = (&self.public.primary_key, &self.public.details.users[0].id);
        let signature = config
            .sign_certification(&self.secret.primary_key, key, &Password::empty(), Tag::UserId, id)
            .unwrap();
        self.public.details.users[0].signatures = vec![signature];
    }

    pub(super) fn revoke(&mut self, code: RevocationCode) {
        let reason = SubpacketData::RevocationReason(code, "".into());
        let config = self.config(SignatureType::KeyRevocation, vec![reason]);
        let revocation =
            config.sign_key(&self.secret.primary_key, &Password::empty(), &self.public.primary_key).unwrap();
        self.public.details.revocation_signatures = vec![revocation];
    }

    /// A signature of the primary key from the day after its creation; revocations are from the day after the
    /// archive.
    fn config(&self, typ: SignatureType, more: Vec<SubpacketData>) -> SignatureConfig {
        let at = if typ == SignatureType::KeyRevocation { SECONDS + 86400 } else { SECONDS - 364 * 86400 };
        config(typ, &self.secret.primary_key, at, more)
    }

    pub(super) fn fingerprint(&self, by: By) -> String {
        match by {
            By::Primary => format!("{:X}", self.public.primary_key.fingerprint()),
            By::Subkey => format!("{:X}", self.public.public_subkeys[0].key.fingerprint()),
        }
    }

    pub(super) fn sign(&self, by: By, text: &str) -> String {
        fn message(key: &impl SigningKey, text: &str) -> CleartextSignedMessage {
            let config = config(SignatureType::Text, key, SECONDS, Vec::new());
            CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap()
        }
        let message = match by {
            By::Primary => message(&self.secret.primary_key, text),
            By::Subkey => message(&self.secret.secret_subkeys[0].key, text),
        };
        message.to_armored_string(ArmorOptions::default()).unwrap()
    }

    /// Signs a file by itself.
    pub(super) fn detached(&self, by: By, typ: SignatureType, file: &[u8]) -> Vec<u8> {
        fn signature(key: &impl SigningKey, typ: SignatureType, file: &[u8]) -> DetachedSignature {
            let config = config(typ, key, SECONDS, Vec::new());
            DetachedSignature::new(config.sign(key, &Password::empty(), file).unwrap())
        }
        let signature = match by {
            By::Primary => signature(&self.secret.primary_key, typ, file),
            By::Subkey => signature(&self.secret.secret_subkeys[0].key, typ, file),
        };
        signature.to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    /// The key file of a recipe.
    pub(super) fn file(&self) -> Key {
        ("keys/archive.asc".to_owned(), self.public.to_armored_bytes(ArmorOptions::default()).unwrap())
    }
}

fn config(typ: SignatureType, key: &impl SigningKey, at: u32, more: Vec<SubpacketData>) -> SignatureConfig {
    let own = [
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    let mut config = SignatureConfig::v4(typ, key.algorithm(), HashAlgorithm::Sha256);
    let data = own.into_iter().chain(more);
    config.hashed_subpackets = data.map(|data| Subpacket::regular(data).unwrap()).collect();
    config
}

/// A folder with an archive `debian`, and a store.
pub(super) struct Archive {
    dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) signer: Signer,
}

impl Archive {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store, signer: Signer::new(true) }
    }

    /// An archive with one pocket, `stable`, that has these packages.
    pub(super) fn with(packages: &[&str]) -> Self {
        let archive = Self::new();
        archive.publish("debian", "stable", DATE, "", packages);
        archive
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a pocket below `base`. Packages are `name version` and further fields, a line each.
    pub(super) fn publish(&self, base: &str, suite: &str, date: &str, more: &str, packages: &[&str]) {
        let mut list = String::new();
        for arch in Arch::ALL {
            let stanzas: String = packages.iter().map(|text| self.stanza(base, text, arch)).collect();
            let xz = xz(&stanzas);
            let hash = Sha256::of(&xz);
            let folder = format!("{base}/dists/{suite}/main/binary-{arch}");
            self.write(&format!("{folder}/by-hash/SHA256/{hash}"), &xz);
            list.push_str(&format!(" {hash} {} main/binary-{arch}/Packages.xz\n", xz.len()));
        }
        let text = format!(
            "Origin: Debian\nSuite: oldstable\nCodename: {suite}\nDate: {date}\nAcquire-By-Hash: yes\n{more}SHA256:\n{list}"
        );
        let signed = self.signer.sign(By::Subkey, &text);
        self.write(&format!("{base}/dists/{suite}/InRelease"), signed.as_bytes());
    }

    fn stanza(&self, base: &str, text: &str, arch: Arch) -> String {
        let (head, fields) = text.split_once('\n').unwrap_or((text, ""));
        let (name, version) = head.split_once(' ').unwrap();
        let file = format!("pool/{name}_{}_{arch}.deb", version.split(':').next_back().unwrap());
        let deb = format!("{name} {version} {arch}");
        self.write(&format!("{base}/{file}"), deb.as_bytes());
        let (size, hash) = (deb.len(), Sha256::of(deb.as_bytes()));
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nFilename: {file}\nSize: {size}\nSHA256: {hash}\n\
             Description: something\n that goes on\n{fields}{}\n",
            if fields.is_empty() { "" } else { "\n" }
        )
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    fn network(&self) -> Network {
        let place = |path: &str| vec![format!("file://{}", self.path(path).display())];
        let mirrors = ["debian", "snapshot"].map(|name| (name.to_owned(), place(name)));
        Network::new(Settings::with_mirrors(BTreeMap::from(mirrors)))
    }

    pub(super) fn context<R>(&self, network: &Network, work: impl FnOnce(&Context<'_>) -> R) -> R {
        work(&Context { network, store: &self.store, events: &Silent, cancel: &Cancel::default() })
    }

    pub(super) fn pin(&self, suites: &[&str]) -> Result<SuitePin, Error> {
        self.pin_with(suites, &[self.signer.file()], MOMENT)
    }

    pub(super) fn pin_with(&self, suites: &[&str], keys: &[Key], moment: &str) -> Result<SuitePin, Error> {
        self.snapshot(suites, keys, moment, |snapshot, context| snapshot.pin(context))
    }

    /// Does something with a snapshot of suites.
    pub(super) fn snapshot<R>(
        &self,
        suites: &[&str],
        keys: &[Key],
        moment: &str,
        work: impl FnOnce(&Snapshot<'_>, &Context<'_>) -> R,
    ) -> R {
        let pockets: Vec<_> = suites
            .iter()
            .map(|suite| Pocket { archive: Name::new("debian").unwrap(), suite: (*suite).to_owned() })
            .collect();
        let components = ["main".to_owned()];
        let snapshot = Snapshot { moment, components: &components, pockets: &pockets, keys };
        self.context(&self.network(), |context| work(&snapshot, context))
    }

    /// Resolves in `stable`, and gives `name version` of each package.
    pub(super) fn closure(&self, arch: Arch, wants: &[&str]) -> Result<Vec<String>, Error> {
        let pin = self.pin(&["stable"])?;
        let wants: Vec<_> = wants.iter().map(|want| (*want).to_owned()).collect();
        let found = self.context(&self.network(), |context| {
            Indices::default().closure(&pin, MOMENT, arch, &wants, context)
        })?;
        Ok(found.iter().map(|pin| format!("{} {}", pin.package(), pin.version())).collect())
    }

    pub(super) fn fetch(&self, pin: &PackagePin) -> Result<Digest, Error> {
        self.context(&self.network(), |context| pin.fetch(MOMENT, context))
    }

    /// Takes the folder's name out of a text.
    pub(super) fn shown(&self, error: &Error) -> String {
        error.to_string().replace(&format!("file://{}/", self.dir.path().display()), "file://")
    }
}

pub(super) fn xz(text: &str) -> Vec<u8> {
    let mut writer = xz2::write::XzEncoder::new(Vec::new(), 0);
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

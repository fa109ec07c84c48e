//! Keys and envelopes against what others publish.

use std::path::PathBuf;

use super::*;

/// RFC 8032, section 7.1, test 2.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7
-----END PRIVATE KEY-----
";

/// Made by `openssl ecparam -genkey`.
const SEC1: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIHqyjR8CEj0mCp+2zhrhAJWmDkTjGm82ga5VpVvEa9P5oAoGCCqGSM49
AwEHoUQDQgAEYWg/TO7kicoM2KLBqmL4yzxQAE2aTmut2HMG0OhiL9penYUnL9n4
KKQlpcfBxpeBlG7+Ltb4wsmA4lOK6cB06g==
-----END EC PRIVATE KEY-----
";

/// The same key after `openssl pkcs8 -topk8 -nocrypt`.
const P256: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgerKNHwISPSYKn7bO
GuEAlaYOROMabzaBrlWlW8Rr0/mhRANCAARhaD9M7uSJygzYosGqYvjLPFAATZpO
a63YcwbQ6GIv2l6dhScv2fgopCWlx8HGl4GUbv4u1vjCyYDiU4rpwHTq
-----END PRIVATE KEY-----
";

const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYWg/TO7kicoM2KLBqmL4yzxQAE2a
Tmut2HMG0OhiL9penYUnL9n4KKQlpcfBxpeBlG7+Ltb4wsmA4lOK6cB06g==
-----END PUBLIC KEY-----
";

const P384: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCaO5pRWdlAFOTYszkE
108RbZ+NK8pE/fSo4d++kU9tbK4R9KCdsuhM1GEJBkvrjPyhZANiAAR54rfkLcXN
vaIrPdFCL0i/VOXKRgTMszFnuFxJs/F+5LMN49D5SRzfLffB5DU/BYZ2x+yHvm7j
deQjB0EAXjgEpQpvig7+tNDq0GLYCRmRbo1+i27ZA12XfOxdyQuFHn8=
-----END PRIVATE KEY-----
";

const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCt1uuhVwUvpcc0+adv63eCZ4mS
W+sXI4cXmgFC+ui0IBtV/0nMetUtpmO41RBaTDOiWB5sHpB4HhvU4Ttx4QNxh62z
nNRK3dkS0sy9yG4Cb0FF950z05UjPsxISZOEFM2gNcuHlw5gL4Xbqcgitcc6UFjx
27jTITErpYS1eTTLxwIDAQAB
-----END PUBLIC KEY-----
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("key");
        fs_err::write(&path, text).unwrap();
        path
    }

    fn key(&self, text: &str) -> SigningKey {
        SigningKey::read(&self.file(text)).unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How an error shows, without the folder.
fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    let help = miette::Diagnostic::help(&error).map(|help| format!("\n{help}")).unwrap_or_default();
    let shown = format!("{error}{help}");
    let words = shown.split_inclusive(['`', ' ', '\n']);
    words.map(|word| if word.starts_with('/') { word.rsplit('/').next().unwrap() } else { word }).collect()
}

#[test]
fn ed25519_signs_as_rfc_8032_says() {
    let key = Folder::new().key(ED25519);
    let signature = key.sign(&[0x72]);
    assert_eq!(
        hex(&signature),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    );
    let public = key.public();
    assert!(public.verify(&[0x72], &signature));
    assert!(!public.verify(&[0x73], &signature));
    assert!(!public.verify(&[0x72], &signature[1..]));
    assert_eq!(public.algorithm(), Algorithm::Ed25519);
}

#[test]
fn p256_signs_as_rfc_6979_says() {
    // Appendix A.2.5, in the form that files have.
    let folder = Folder::new();
    let scalar = [
        0xc9, 0xaf, 0xa9, 0xd8, 0x45, 0xba, 0x75, 0x16, 0x6b, 0x5c, 0x21, 0x57, 0x67, 0xb1, 0xd6, 0x93, 0x4e,
        0x50, 0xc3, 0xdb, 0x36, 0xe8, 0x9b, 0x12, 0x7b, 0x8a, 0x62, 0x2b, 0x12, 0x0f, 0x67, 0x21,
    ];
    use p256::pkcs8::EncodePrivateKey as _;
    let pem = p256::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_pem(Default::default()).unwrap();
    let key = folder.key(&pem);
    let signature = key.sign(b"sample");
    assert_eq!(
        hex(&signature),
        "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    );
    assert!(key.public().verify(b"sample", &signature));
    assert!(!key.public().verify(b"test", &signature));
    assert!(!key.public().verify(b"sample", b""));
}

#[test]
fn keys_of_openssl_are_read_in_both_forms() {
    let folder = Folder::new();
    let (sec1, pkcs8) = (folder.key(SEC1).public(), folder.key(P256).public());
    let public = PublicKey::read(&folder.file(P256_PUBLIC)).unwrap();
    assert_eq!((&sec1, &pkcs8), (&public, &public));
    assert_eq!(public.to_pem(), P256_PUBLIC);
    assert_eq!(P256_PUBLIC.parse::<PublicKey>().unwrap(), public);
    // `openssl pkey -pubin -outform der | sha256sum`
    assert_eq!(public.id().to_string(), "51022fa2c535d4495ebc224432bf37783fd1d268a485a4e97444a7c2233db010");
    assert_eq!(format!("{:?}", folder.key(P256)), format!("SigningKey({})", public.id()));
}

#[test]
fn a_new_key_is_its_owners_alone_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
        let path = folder.0.path().join(format!("{algorithm:?}"));
        let public = create(&path, algorithm).unwrap();
        assert_eq!(public.algorithm(), algorithm);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::read(&path).unwrap().public(), public);
        assert_eq!(PublicKey::read(&public_path(&path)).unwrap(), public);
        let before = fs_err::read(&path).unwrap();
        let name = format!("{algorithm:?}");
        assert_eq!(
            text(create(&path, algorithm)),
            format!(
                "`{name}` is there already, and a key is never overwritten\n\
                 name another file, or move it away if nothing depends on it"
            )
        );
        assert_eq!(fs_err::read(&path).unwrap(), before);
        fs_err::remove_file(&path).unwrap();
        assert!(text(create(&path, algorithm)).starts_with(&format!("`{name}.pub` is there already")));
        assert!(!path.exists());
    }
}

#[test]
fn what_is_no_key_says_what_it_is() {
    let folder = Folder::new();
    let private = |content: &str| text(SigningKey::read(&folder.file(content)));
    let public = |content: &str| text(PublicKey::read(&folder.file(content)));
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    assert_eq!(
        private("hello"),
        "`key` is no key: it is not PEM, which starts with `-----BEGIN`\n`nodeimg key new FILE` makes one"
    );
    assert_eq!(
        private(&pem("CERTIFICATE")),
        "`key` is no key: it is a `CERTIFICATE`\n`nodeimg key new FILE` makes one"
    );
    assert_eq!(private(P256_PUBLIC), "`key` has the public half of a key, signing takes the private one");
    assert_eq!(
        public(ED25519),
        "`key` has the private half of a key, checking takes the public one\n\
         `openssl pkey -in key -pubout` prints it; keep the private one where signing is done"
    );
    assert_eq!(
        private(&pem("ENCRYPTED PRIVATE KEY")),
        "`key` is encrypted, and nodeimg asks for no passwords\n\
         `openssl pkey -in key -out PLAIN` takes the password off"
    );
    let cosign = "`key` is a key in cosign's own format, which is encrypted; nodeimg asks for no passwords\n\
                  `nodeimg key new FILE` makes a key that `cosign verify --key FILE.pub` takes and `cosign \
                  import-key-pair --key FILE` turns into one of cosign's; cosign itself can sign with the key that \
                  you have";
    assert_eq!(private(&pem("ENCRYPTED SIGSTORE PRIVATE KEY")), cosign);
    assert_eq!(private(&pem("ENCRYPTED COSIGN PRIVATE KEY")), cosign);
    assert_eq!(
        private(P384),
        "`key` is a key for ECDSA P-384, nodeimg signs with Ed25519 and ECDSA P-256\n\
         `nodeimg key new FILE` makes one of them"
    );
    assert!(public(RSA_PUBLIC).starts_with("`key` is a key for RSA, nodeimg signs with"));
    assert!(private(&pem("PRIVATE KEY")).starts_with("`key` is no key: "));
    fs_err::write(folder.0.path().join("key"), [0xff; 9]).unwrap();
    assert!(text(SigningKey::read(&folder.0.path().join("key"))).contains("it is not PEM"));
    assert_eq!(text(SigningKey::read(&folder.0.path().join("none"))), "cannot read `none`");
}

#[test]
fn an_envelope_is_as_dsse_has_it() {
    assert_eq!(
        dsse::pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    // protocol.md's own example: this key, this payload, this signature.
    let scalar = [
        0xd7, 0x3e, 0xc4, 0x37, 0xfd, 0x63, 0x46, 0xe3, 0x61, 0x9c, 0x5e, 0xbf, 0xdf, 0xff, 0x0f, 0x69, 0x16,
        0x80, 0x49, 0x55, 0xad, 0x32, 0xac, 0x9a, 0xc4, 0x92, 0xb0, 0xed, 0xe1, 0xf6, 0xff, 0xb7,
    ];
    use p256::pkcs8::EncodePrivateKey as _;
    let pem = p256::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_pem(Default::default()).unwrap();
    let key = Folder::new().key(&pem);
    let envelope = dsse::sign("http://example.com/HelloWorld", b"hello world".to_vec(), &key);
    let raw = p256::ecdsa::Signature::from_der(&envelope.signatures[0].bytes).unwrap();
    use base64::Engine as _;
    assert_eq!(
        base64::engine::general_purpose::STANDARD.encode(raw.to_bytes()),
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
    );
}

#[test]
fn an_envelope_holds_for_those_who_signed_it() {
    let folder = Folder::new();
    let (key, other) = (folder.key(ED25519), folder.key(P256).public());
    let json = dsse::sign(dsse::IN_TOTO, b"{}".to_vec(), &key).to_json();
    assert_eq!(
        String::from_utf8(json.clone()).unwrap(),
        r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"deb2ded39dc26fce0e6085b6fc34bf6b5941913bbfe2ea614113cff9e004c170","sig":"SgkYPBOLw+Y+2h4ojdSqbytFP85oZZyVILAiMi5Po/l32GEZSHmUd4LmVpACf0NM6wB8ot/4Kyx4YCWDdCPnCA=="}]}"#
    );
    let read = |json: &[u8], kind: &str, trusted: &[PublicKey]| dsse::verify("`x.json`", json, kind, trusted);
    let trusted = [other.clone(), key.public()];
    assert_eq!(read(&json, dsse::IN_TOTO, &trusted).unwrap(), (b"{}".to_vec(), key.public().id()));
    assert_eq!(
        text(read(&json, "text/plain", &trusted)),
        "`x.json` has a payload of type `application/vnd.in-toto+json`, not `text/plain`"
    );
    assert_eq!(
        text(read(&json, dsse::IN_TOTO, std::slice::from_ref(&other))),
        format!(
            "`x.json` is signed by nobody who is trusted: its signatures name `{}`\nkeys that are trusted: `{}`",
            key.public().id(),
            other.id()
        )
    );
    let mut envelope = dsse::Envelope::parse("", &json).unwrap();
    envelope.payload.push(b' ');
    assert!(read(&envelope.to_json(), dsse::IN_TOTO, &trusted).is_err());
    envelope.payload.pop();
    // The name of a key is a hint.
    envelope.signatures[0].key = other.id().to_string();
    assert_eq!(read(&envelope.to_json(), dsse::IN_TOTO, &trusted).unwrap().1, key.public().id());
    envelope.signatures.clear();
    assert!(
        text(read(&envelope.to_json(), dsse::IN_TOTO, &trusted))
            .contains("who is trusted: it has no signature")
    );
    assert!(text(read(b"[", dsse::IN_TOTO, &trusted)).starts_with("`x.json` is no DSSE envelope: EOF"));
    let urlsafe = br#"{"payloadType":"t","payload":"_-8=","signatures":[]}"#;
    assert_eq!(dsse::Envelope::parse("", urlsafe).unwrap().payload, [0xff, 0xef]);
    let no = br#"{"payloadType":"t","payload":"?","signatures":[]}"#;
    assert_eq!(text(dsse::Envelope::parse("it", no)), "it is no DSSE envelope: `payload` is not base64");
}

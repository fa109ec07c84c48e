use miette::Diagnostic as _;
use pgp::packet::{RevocationCode, SignatureType};

use super::archive::{Archive, By, DATE, MOMENT, Signer};
use crate::base::{Arch, Digest, Sha256};
use crate::fetch::Error;
use crate::fetch::debian::signature::{self, Signed};
use crate::fetch::upstream::Signature;

const RELEASE: &str = "debian/dists/stable/InRelease";
const NEWER: &str = "Sun, 12 Jul 2026 08:00:00 UTC";

#[test]
fn pins_name_the_release_its_signer_and_its_indices() {
    let archive = Archive::with(&["a 1"]);
    let pin = archive.pin(&["stable"]).unwrap();
    let pocket = &pin.pockets[0];
    assert_eq!((pocket.archive.as_str(), pocket.suite.as_str()), ("debian", "stable"));
    assert_eq!(pocket.release, Sha256::of(archive.read(RELEASE).as_bytes()));
    assert_eq!(pocket.signer, archive.signer.fingerprint(By::Subkey));
    let indices: Vec<_> = pocket.indices.iter().map(|index| (index.arch, index.path.as_str())).collect();
    assert_eq!(
        indices,
        [(Arch::Amd64, "main/binary-amd64/Packages.xz"), (Arch::Arm64, "main/binary-arm64/Packages.xz")]
    );
    for index in &pocket.indices {
        assert!(archive.store.has_blob(&Digest { hash: index.sha256, size: index.size }));
    }
}

#[test]
fn plain_names_do_where_hashes_are_no_names() {
    let archive = Archive::with(&["a 1"]);
    for arch in Arch::ALL {
        let folder = archive.path(&format!("debian/dists/stable/main/binary-{arch}"));
        let file = fs_err::read_dir(folder.join("by-hash/SHA256")).unwrap().next().unwrap().unwrap().path();
        fs_err::rename(file, folder.join("Packages.xz")).unwrap();
    }
    archive.pin(&["stable"]).unwrap();
}

#[test]
fn the_snapshot_is_asked_where_a_mirror_has_moved_on() {
    let archive = Archive::new();
    archive.publish("debian", "stable", NEWER, "", &["a 2"]);
    archive.publish(&format!("snapshot/debian/{MOMENT}"), "stable", DATE, "", &["a 1"]);
    assert_eq!(archive.closure(Arch::Amd64, &["a"]).unwrap(), ["a 1"]);
}

#[test]
fn what_is_newer_than_the_moment_is_not_used() {
    let archive = Archive::new();
    archive.publish("debian", "stable", NEWER, "", &["a 2"]);
    archive.publish("debian", "updates", "Sun, 12 Jul 2026 09:30:00 UTC", "", &["a 2"]);
    let error = archive.pin(&["stable", "updates"]).unwrap_err();
    let text = archive.shown(&error);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "the releases that can be had are newer than the suite's moment",
            "  moment: 20260711T120000Z",
            "  file://debian/dists/stable/InRelease: 20260712T080000Z",
            "  file://debian/dists/updates/InRelease: 20260712T093000Z",
        ]
    );
    assert!(
        lines[4].starts_with("  file://snapshot/debian/20260711T120000Z/dists/stable/InRelease: "),
        "{text}"
    );
    assert_eq!(
        error.help().unwrap().to_string(),
        "set `snapshot` in the suite's recipe to a moment after that, such as `20260712T160000Z`"
    );
    let keys = [archive.signer.file()];
    archive.pin_with(&["stable", "updates"], &keys, "20260712T160000Z").unwrap();
    archive.pin_with(&["stable"], &keys, "20260712T080000Z").unwrap();
}

#[test]
fn an_expired_release_is_refused() {
    let archive = Archive::new();
    let until = "Valid-Until: Sat, 11 Jul 2026 11:00:00 UTC\n";
    archive.publish("debian", "stable", DATE, until, &["a 1"]);
    let error = archive.pin(&["stable"]).unwrap_err();
    assert_eq!(
        archive.shown(&error),
        "the release `file://debian/dists/stable/InRelease` had expired at the suite's moment\n  \
         moment: 20260711T120000Z\n  valid until: 20260711T110000Z"
    );
    archive.pin_with(&["stable"], &[archive.signer.file()], "20260711T110000Z").unwrap();
}

#[test]
fn a_release_of_another_suite_is_refused() {
    let archive = Archive::with(&["a 1"]);
    archive.write("debian/dists/testing/InRelease", archive.read(RELEASE).as_bytes());
    let error = archive.pin(&["testing"]).unwrap_err();
    assert_eq!(
        archive.shown(&error),
        "`file://debian/dists/testing/InRelease` is not what it should be: it is the release of `stable`, `oldstable`"
    );
}

#[test]
fn a_component_that_is_not_there_is_named() {
    let archive = Archive::with(&["a 1"]);
    let text = "Codename: stable\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n";
    archive.write(RELEASE, archive.signer.sign(By::Subkey, text).as_bytes());
    let error = archive.pin(&["stable"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`debian:dists/stable/InRelease` is not what it should be: it names no `main/binary-amd64/Packages.xz`"
    );
}

#[test]
fn an_index_with_other_bytes_is_refused() {
    let archive = Archive::with(&["a 1"]);
    let folder = archive.path("debian/dists/stable/main/binary-amd64/by-hash/SHA256");
    let file = fs_err::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs_err::read(&file).unwrap();
    let good = Sha256::of(&bytes);
    bytes[20] ^= 1;
    fs_err::write(&file, &bytes).unwrap();
    let error = archive.pin(&["stable"]).unwrap_err();
    let bad = Sha256::of(&bytes);
    assert_eq!(
        archive.shown(&error),
        format!(
            "content of `file://debian/dists/stable/main/binary-amd64/by-hash/SHA256/{good}` does not match its pin\n  \
             expected: {good}\n  received: {bad}"
        )
    );
    bytes.push(0);
    fs_err::write(&file, &bytes).unwrap();
    assert!(matches!(archive.pin(&["stable"]).unwrap_err(), Error::Size { .. }));
}

#[test]
fn a_foreign_signature_is_refused() {
    let archive = Archive::with(&["a 1"]);
    let other = Signer::new(true);
    let error = archive.pin_with(&["stable"], &[other.file()], MOMENT).unwrap_err();
    assert_eq!(
        archive.shown(&error),
        format!(
            "`file://debian/dists/stable/InRelease` is signed by no key of the suite's recipe\n  signed by: {}",
            archive.signer.fingerprint(By::Subkey)
        )
    );
    archive.pin_with(&["stable"], &[other.file(), archive.signer.file()], MOMENT).unwrap();
}

#[test]
fn a_changed_text_is_refused() {
    let archive = Archive::with(&["a 1"]);
    archive.write(RELEASE, archive.read(RELEASE).replace("Origin: Debian", "Origin: debian").as_bytes());
    let error = archive.pin(&["stable"]).unwrap_err();
    assert_eq!(
        archive.shown(&error),
        format!(
            "the signature of `file://debian/dists/stable/InRelease` is bad\n  key: {}",
            archive.signer.fingerprint(By::Subkey)
        )
    );
}

#[test]
fn nothing_outside_the_signed_text_is_read() {
    let archive = Archive::with(&["a 1"]);
    let good = archive.read(RELEASE);
    let try_with = |text: String, why: &str| {
        archive.write(RELEASE, text.as_bytes());
        let error = archive.pin(&["stable"]).unwrap_err();
        let start = "`file://debian/dists/stable/InRelease` is no signed release file: ";
        assert_eq!(archive.shown(&error), format!("{start}{why}"));
    };
    try_with(format!("SHA256:\n{good}"), "it does not begin as signed text does");
    try_with(good.replace("Hash: SHA256", "Codename: evil\nHash: SHA256"), "it has unknown headers");
    try_with(format!("{good}\nCodename: evil\n"), "something follows its signature");
    try_with(format!("{good}{good}"), "something follows its signature");
    try_with(good.replace("Origin:", "-Origin:"), "a line that begins with `-` is not escaped");
    try_with(good.replace("Origin: Debian\n", "Origin: Debian\r\n"), "it has carriage returns");
    try_with(good.split("-----BEGIN PGP SIGNATURE").next().unwrap().to_owned(), "it has no signature");
    try_with(good.replace("-----END PGP SIGNATURE-----", ""), "its signature has no end");
    try_with("<html>".to_owned(), "it does not begin as signed text does");
    let two =
        archive.signer.sign(By::Subkey, "Codename: stable\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\nSHA256:\n");
    archive.write(RELEASE, two.as_bytes());
    assert_eq!(
        archive.shown(&archive.pin(&["stable"]).unwrap_err()),
        "`file://debian/dists/stable/InRelease` is not what it should be: it has more than one paragraph"
    );
}

fn verify(signer: &Signer, by: By) -> Result<Signed, String> {
    // Spaces at the ends of lines are not signed.
    let clear = signer.sign(by, "- text -\n  more\n-\nend").replace("more\n", "more \t\n");
    let keys = signature::keys(&[signer.file()]).unwrap();
    let date = "20260711T101637Z";
    let at = crate::fetch::debian::release::parse_moment(date).unwrap();
    signature::verify("x", clear.as_bytes(), &keys, |_| Some(at)).map_err(|error| error.to_string())
}

#[test]
fn primary_keys_and_signing_subkeys_sign() {
    let signer = Signer::new(true);
    for by in [By::Primary, By::Subkey] {
        let signed = verify(&signer, by).unwrap();
        assert_eq!(signed.signer, signer.fingerprint(by));
        assert_eq!(signed.text, "- text -\n  more\n-\nend");
    }
    let error = verify(&Signer::new(false), By::Subkey).err().unwrap();
    assert!(error.ends_with("\n  it may not sign"), "{error}");
}

#[test]
fn keys_that_were_not_in_force_are_refused() {
    let mut signer = Signer::new(true);
    signer.certify(Some(300));
    for by in [By::Primary, By::Subkey] {
        let error = verify(&signer, by).err().unwrap();
        let key = signer.fingerprint(by);
        assert_eq!(
            error,
            format!(
                "`x` is signed by a key that was not in force\n  key: {key}\n  it expired at 20260507T101637Z"
            )
        );
    }
    signer.certify(Some(366));
    verify(&signer, By::Subkey).unwrap();

    // From the day after: a retired key is good for what it signed before, a stolen one is not.
    signer.revoke(RevocationCode::KeyRetired);
    verify(&signer, By::Subkey).unwrap();
    for code in [RevocationCode::KeyCompromised, RevocationCode::NoReason] {
        signer.revoke(code);
        let error = verify(&signer, By::Primary).err().unwrap();
        assert!(error.ends_with("\n  its owner has revoked it"), "{error}");
    }
}

#[test]
fn files_are_signed_by_themselves_too() {
    let mut signer = Signer::new(true);
    let check = |signer: &Signer, signature: &[u8], file: &[u8]| {
        let keys = signature::keys(&[signer.file()]).unwrap();
        signature::detached("x.asc", signature, file, &keys).map_err(|error| error.to_string())
    };
    for by in [By::Primary, By::Subkey] {
        let signature = signer.detached(by, SignatureType::Binary, b"file");
        assert_eq!(check(&signer, &signature, b"file"), Ok(signer.fingerprint(by)));
        let bad = format!(
            "the signature `x.asc` is bad: the file is not what was signed\n  key: {}",
            signer.fingerprint(by)
        );
        assert_eq!(check(&signer, &signature, b"File"), Err(bad.clone()));
        // Text has line ends that are a matter of opinion.
        let text = signer.detached(by, SignatureType::Text, b"file");
        assert_eq!(check(&signer, &text, b"file"), Err(bad));
    }
    let by_subkey = signer.detached(By::Subkey, SignatureType::Binary, b"file");
    let other = Signer::new(true);
    assert_eq!(
        check(&other, &by_subkey, b"file"),
        Err(format!(
            "the signature `x.asc` is by another key than the recipe's\n  signed by: {}",
            signer.fingerprint(By::Subkey)
        ))
    );
    let may_not = Signer::new(false);
    let error = check(&may_not, &may_not.detached(By::Subkey, SignatureType::Binary, b"file"), b"file");
    assert!(error.unwrap_err().ends_with("\n  it may not sign"));
    signer.certify(Some(300));
    let error = check(&signer, &by_subkey, b"file").unwrap_err();
    assert!(error.ends_with("\n  it expired at 20260507T101637Z"), "{error}");
    let error = check(&signer, b"nothing", b"file").unwrap_err();
    assert!(error.starts_with("`x.asc` is no signature: "), "{error}");
}

#[test]
fn a_key_signs_by_its_subkeys_and_a_subkey_alone() {
    let archive = Archive::new();
    let file = archive.store.put_bytes(b"file").unwrap();
    let place = format!("file://{}", archive.path("file.asc").display());
    let check = |named: By, by: By| {
        archive.write("file.asc", &archive.signer.detached(by, SignatureType::Binary, b"file"));
        let key = archive.signer.fingerprint(named).parse().unwrap();
        let signature = Signature { url: "x.asc".to_owned(), key };
        let (_, armored) = archive.signer.file();
        let checked = archive.snapshot(&[], &[], MOMENT, |_, context| {
            signature.check(&file, std::slice::from_ref(&place), &armored, context)
        });
        checked.map(|signer| signer.to_string()).map_err(|error| error.to_string())
    };
    let print = |by: By| archive.signer.fingerprint(by);
    assert_eq!(check(By::Primary, By::Primary), Ok(print(By::Primary)));
    assert_eq!(check(By::Primary, By::Subkey), Ok(print(By::Subkey)));
    assert_eq!(check(By::Subkey, By::Subkey), Ok(print(By::Subkey)));
    assert_eq!(
        check(By::Subkey, By::Primary),
        Err(format!(
            "the signature `x.asc` is by another key than the recipe's\n  signed by: {}",
            print(By::Primary)
        ))
    );
}

#[test]
fn a_key_file_must_hold_keys() {
    let archive = Archive::with(&["a 1"]);
    let key = ("keys/a.asc".to_owned(), b"not a key".to_vec());
    let error = archive.pin_with(&["stable"], &[key], MOMENT).unwrap_err().to_string();
    assert!(error.starts_with("key `keys/a.asc` can't be used: "), "{error}");
}

#[test]
fn the_keys_of_the_recipes_can_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/suites/keys");
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let key = (path.display().to_string(), fs_err::read(&path).unwrap());
        assert_eq!(signature::keys(&[key]).unwrap().len(), 1);
    }
}

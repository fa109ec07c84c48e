//! A Debian archive made on the spot: packages, index, signature.

use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use nodeimg::base::Sha256;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{KeyDetails as _, Password};

use super::BUSYBOX;

/// When every release is from: later than the key, which is from now.
const DATE: &str = "Thu, 01 Jan 2099 00:00:00 UTC";

/// Who signs releases.
pub(super) struct Signer(SignedSecretKey);

impl Signer {
    pub(super) fn new() -> Self {
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id("Archive <archive@example>".to_owned())
            .build()
            .unwrap();
        Self(params.generate(rand::thread_rng()).unwrap())
    }

    /// The key file of a suite's recipe.
    pub(super) fn key(&self) -> Vec<u8> {
        self.0.to_public_key().to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    /// The fingerprint of the key.
    pub(super) fn fingerprint(&self) -> String {
        format!("{:X}", self.0.to_public_key().fingerprint())
    }

    /// Signs a file, as `gpg --detach-sign` does.
    pub(super) fn detached(&self, file: &[u8]) -> Vec<u8> {
        let (rng, password) = (rand::thread_rng(), Password::empty());
        let signed = DetachedSignature::sign_binary_data(
            rng,
            &self.0.primary_key,
            &password,
            HashAlgorithm::Sha256,
            file,
        );
        signed.unwrap().to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    fn sign(&self, text: &str) -> String {
        let signed =
            CleartextSignedMessage::sign(rand::thread_rng(), text, &self.0.primary_key, &Password::empty());
        signed.unwrap().to_armored_string(ArmorOptions::default()).unwrap()
    }
}

/// What the fake dpkg of the roots does: it runs `postinst` scripts and says that all is well.
const DPKG: &str = r#"#!/bin/sh -e
cd /var/lib/dpkg
case $1 in
--print-architecture) echo all ;;
--configure)
    for package in $(sed -n 's/^Package: //p' status); do
        test -x info/$package.postinst && ! test -e info/$package.done || continue
        info/$package.postinst configure
        touch info/$package.done
    done
    sed -i 's/^Status: install ok unpacked/Status: install ok installed/' status
    rm -f info/*.done
    ;;
esac
"#;
const DPKG_QUERY: &str = r#"#!/bin/sh -e
packages=$(sed -n 's/^Package: //p' /var/lib/dpkg/status)
case $3 in
*Status-Abbrev*) for package in $packages; do echo "ii  $package"; done ;;
*Essential*) echo "yes base-files" ;;
*Architecture*) for package in $packages; do echo "$package all"; done ;;
*) echo 1 ;;
esac
"#;
/// The applets of busybox that roots, recipes and tests call.
const APPLETS: &str = "awk cat chmod chown cp cut env expr false grep head id ln ls mkdir mv printf pwd rm sed \
                       sh sleep sort stat tail tar test touch tr true umask uname wc xargs yes";

/// A package to be.
pub(crate) struct Deb {
    name: String,
    version: String,
    fields: String,
    postinst: Option<String>,
    files: Vec<(String, Vec<u8>, u32)>,
}

impl Deb {
    pub(crate) fn new(name: &str, fields: &str) -> Self {
        let (name, fields) = (name.to_owned(), fields.to_owned());
        Self { name, version: "1".to_owned(), fields, postinst: None, files: Vec::new() }
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// The only essential package: busybox, and a dpkg of a few lines.
    pub(crate) fn base() -> Self {
        static PROGRAM: LazyLock<Vec<u8>> = LazyLock::new(without_dpkg);
        let mut deb = Self::new("base-files", "Essential: yes\n").with("usr/bin/dpkg", DPKG, 0o755).with(
            "usr/bin/dpkg-query",
            DPKG_QUERY,
            0o755,
        );
        deb.files.push(("usr/bin/busybox".to_owned(), PROGRAM.clone(), 0o755));
        for name in APPLETS.split_whitespace() {
            deb.files.push((format!("usr/bin/{name}"), b"-> busybox".to_vec(), 0o777));
        }
        deb
    }

    pub(crate) fn with(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.files.push((path.to_owned(), text.as_bytes().to_vec(), mode));
        self
    }

    pub(crate) fn postinst(mut self, script: &str) -> Self {
        self.postinst = Some(format!("#!/bin/sh -e\n{script}\n"));
        self
    }

    fn control(&self) -> String {
        let Self { name, version, fields, .. } = self;
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x\n{fields}Description: x\n"
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let control = self.control();
        let mut about = vec![("./control", control.as_bytes(), 0o644)];
        about.extend(self.postinst.iter().map(|script| ("./postinst", script.as_bytes(), 0o755)));
        let files: Vec<_> =
            self.files.iter().map(|(path, text, mode)| (path.as_str(), text.as_slice(), *mode)).collect();
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in
            [("debian-binary", b"2.0\n".to_vec()), ("control.tar", tar(&about)), ("data.tar", tar(&files))]
        {
            writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len())
                .unwrap();
            bytes.extend_from_slice(&content);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }
}

/// Reads the host's busybox. Its shell takes its own applets before what `PATH` has, so it must not know dpkg.
fn without_dpkg() -> Vec<u8> {
    let mut program = fs_err::read(BUSYBOX).unwrap();
    let name = b"\0dpkg\0";
    let at = program.windows(name.len()).position(|part| part == name).expect("an applet");
    program[at + 4] = b'f';
    program
}

/// Writes the archive below `folder`, for all architectures.
pub(super) fn publish(folder: &Path, signer: &Signer, debs: &[Deb]) {
    let mut packages = String::new();
    for deb in debs {
        let (file, bytes) = (format!("pool/{}_{}_all.deb", deb.name, deb.version), deb.bytes());
        put(&folder.join(&file), &bytes);
        packages.push_str(&deb.control());
        packages.push_str(&format!(
            "Filename: {file}\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            Sha256::of(&bytes)
        ));
    }
    let mut list = String::new();
    for arch in ["amd64", "arm64"] {
        // Else both would be one file, which may or may not be fetched twice.
        let packages = packages.replace("Maintainer: x\n", &format!("Maintainer: {arch}\n"));
        let mut writer = xz2::write::XzEncoder::new(Vec::new(), 0);
        writer.write_all(packages.as_bytes()).unwrap();
        let index = writer.finish().unwrap();
        let (hash, size) = (Sha256::of(&index), index.len());
        let path = format!("main/binary-{arch}/Packages.xz");
        put(&folder.join("dists/stable").join(&path), &index);
        list.push_str(&format!(" {hash} {size} {path}\n"));
    }
    let release = format!("Suite: stable\nCodename: stable\nDate: {DATE}\nSHA256:\n{list}");
    put(&folder.join("dists/stable/InRelease"), signer.sign(&release).as_bytes());
}

fn put(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

/// Packs files; a text `-> x` is a link to `x`.
fn tar(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        // As `append_data` would, but any path may be tried.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(target) = text.strip_prefix(b"-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, std::io::empty()).unwrap();
        } else {
            header.set_size(text.len() as u64);
            header.set_cksum();
            builder.append(&header, *text).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// Packs files as upstreams do; nothing is checked.
pub(crate) fn tar_gz(entries: &[(&str, &str, u32)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(path, text, mode)| (*path, text.as_bytes(), *mode)).collect();
    tar_gz_of_bytes(&entries)
}

pub(crate) fn tar_gz_of_bytes(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(&tar(entries)).unwrap();
    writer.finish().unwrap()
}

//! Which kinds have booted an image: `trials/<image>.toml`, written by `nodeimg try --record`, committed like a lock.
//!
//! A trial is a measurement, so it is no function of recipes; what it showed is kept by the digest that it was shown
//! of. A record of other digests says nothing about an image, and the next trial that is recorded replaces it.
//!
//! ```toml
//! version = 1
//! image = "sha256:…"
//! kind = ["0.27.0"]
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::outputs::replace;
use crate::base::{Digest, Name};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// The image's manifest.
    image: String,
    /// The versions of kind whose trials passed.
    kind: Vec<String>,
}

fn path(project: &Path, image: &Name) -> PathBuf {
    project.join("trials").join(format!("{image}.toml"))
}

/// Lists the versions of kind whose trials of an image passed. A record that can't be read says nothing.
pub(super) fn booted_by(project: &Path, image: &Name, manifest: &Digest) -> Vec<String> {
    let text = fs_err::read_to_string(path(project, image)).unwrap_or_default();
    let record = toml::from_str::<Record>(&text).ok();
    let own = record.filter(|record| (record.version, &record.image) == (VERSION, &manifest.hash.oci()));
    own.map(|record| record.kind).unwrap_or_default()
}

/// Notes that a kind's trial of an image passed; gives the record's file.
pub fn note(project: &Path, image: &Name, manifest: &Digest, kind: &str) -> Result<PathBuf, Error> {
    let mut versions = booted_by(project, image, manifest);
    if !versions.iter().any(|version| version == kind) {
        versions.push(kind.to_owned());
        versions.sort();
    }
    let record = Record { version: VERSION, image: manifest.hash.oci(), kind: versions };
    let text = toml::to_string(&record).expect("plain values are TOML");
    let head =
        "# Written by `nodeimg try --record`: the kinds that booted the image and passed its trials.\n";
    let path = path(project, image);
    if let Some(folder) = path.parent() {
        let failed = |source| crate::export::Error::Io { action: "create", path: folder.to_owned(), source };
        fs_err::create_dir_all(folder).map_err(failed)?;
    }
    replace(&path, &format!("{head}{text}"))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_about_one_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (image, one, two) = (Name::new("node").unwrap(), Digest::of(b"one"), Digest::of(b"two"));
        let booted = |manifest| booted_by(folder.path(), &image, manifest);
        assert!(booted(&one).is_empty());
        note(folder.path(), &image, &one, "0.27.0").unwrap();
        note(folder.path(), &image, &one, "0.20.0").unwrap();
        let file = note(folder.path(), &image, &one, "0.27.0").unwrap();
        assert_eq!(booted(&one), ["0.20.0", "0.27.0"]);
        assert!(booted(&two).is_empty());
        let text = fs_err::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            format!(
                "# Written by `nodeimg try --record`: the kinds that booted the image and passed its trials.\n\
                 version = 1\nimage = \"{}\"\nkind = [\"0.20.0\", \"0.27.0\"]\n",
                one.hash.oci()
            )
        );
        note(folder.path(), &image, &two, "0.27.0").unwrap();
        assert!(booted(&one).is_empty());
        fs_err::write(&file, "version = ").unwrap();
        assert!(booted(&two).is_empty());
    }
}

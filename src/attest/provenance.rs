//! How an image was made: an in-toto statement (<https://github.com/in-toto/attestation>, v1) with SLSA's provenance
//! (<https://slsa.dev/spec/v1.0/provenance>, v1).
//!
//! # Build type `urn:nodeimg:build:1`
//!
//! | field | is |
//! | --- | --- |
//! | `subject` | the image: its name, the digest of its manifest or index |
//! | `externalParameters.image` | the recipe that was asked for, in `recipes/images/` |
//! | `externalParameters.platforms` | `linux/amd64`, … |
//! | `externalParameters.runtimes` | the containerd runtimes that the recipe puts into a node image |
//! | `internalParameters.assembly` | the number of the algorithm that assembles the image |
//! | `resolvedDependencies` | everything that it was made of, sorted: each source and Debian package with the place that its lock names and its SHA-256, the base image, each recipe, lock, patch and folder of the project |
//! | `runDetails.builder.id` | who built, as they say themselves: `--builder URI` |
//!
//! To make the image again: `nodeimg build --lock IMAGE` on a project with these files gives the subject's digest, on
//! any machine. There are no times and no names of machines in it: the same image built twice has the same provenance.

use serde_json::{Map, Value, json};

use crate::base::Sha256;

/// The type of statements.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// SLSA's type of predicates.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// SPDX documents as predicates.
pub const SPDX: &str = "https://spdx.dev/Document";

/// CycloneDX documents as predicates.
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";

/// What this project's builds are; see the module's doc.
pub const BUILD_TYPE: &str = "urn:nodeimg:build:1";

/// Who builds where nobody says: somebody with nodeimg.
pub const BUILDER: &str = "urn:nodeimg:builder:unnamed";

/// How an image was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// The recipe.
    pub image: String,
    /// The image's name, `repository:tag`.
    pub reference: String,
    /// Its digest.
    pub digest: Sha256,
    /// `linux/amd64`, …
    pub platforms: Vec<String>,
    /// The runtimes of a node image.
    pub runtimes: Vec<String>,
    /// The number of the algorithm that assembles it.
    pub assembly: u32,
    /// Who built, a URI.
    pub builder: String,
    /// The release of nodeimg.
    pub tool: String,
    /// What it was made of.
    pub materials: Vec<Material>,
}

/// Something that an image was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// What it is, for people: a file's name, or its path in the project.
    pub name: String,
    /// Where it is had; the project's own files have no such place.
    pub uri: Option<String>,
    /// Its hash.
    pub sha256: Sha256,
    /// The commit that it is the tree of.
    pub commit: Option<String>,
}

impl Build {
    /// Gives the statement.
    pub fn statement(&self) -> Value {
        let mut materials = self.materials.clone();
        materials.sort();
        materials.dedup();
        let predicate = json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "image": self.image,
                    "platforms": self.platforms,
                    "runtimes": self.runtimes,
                },
                "internalParameters": { "assembly": self.assembly },
                "resolvedDependencies": materials.iter().map(Material::descriptor).collect::<Vec<_>>(),
            },
            "runDetails": { "builder": { "id": self.builder, "version": { "nodeimg": self.tool } } },
        });
        statement(&self.reference, &self.digest, PREDICATE, predicate)
    }
}

impl Material {
    fn descriptor(&self) -> Value {
        let mut one = Map::new();
        one.insert("name".to_owned(), self.name.as_str().into());
        if let Some(uri) = &self.uri {
            one.insert("uri".to_owned(), uri.as_str().into());
        }
        let mut digest = Map::new();
        digest.insert("sha256".to_owned(), self.sha256.to_string().into());
        if let Some(commit) = &self.commit {
            digest.insert("gitCommit".to_owned(), commit.as_str().into());
        }
        one.insert("digest".to_owned(), digest.into());
        one.into()
    }
}

/// Makes a statement about an image.
pub fn statement(reference: &str, digest: &Sha256, kind: &str, predicate: Value) -> Value {
    json!({
        "_type": STATEMENT,
        "subject": [{ "name": reference, "digest": { "sha256": digest.to_string() } }],
        "predicateType": kind,
        "predicate": predicate,
    })
}

//! What is said about an image that was built: its bill of materials, how it was made, and who says so.
//!
//! ```text
//! out/<image>/attest/sbom.spdx.json     what is in it, SPDX 2.3
//! out/<image>/attest/sbom.cdx.json      the same, CycloneDX 1.6
//! out/<image>/attest/provenance.json    how it was made, an in-toto statement
//! out/<image>/attest/*.dsse.json        the three as signed statements, where a key is given
//! out/<image>/attest/oci/               the image with all of them attached; its digest is what it was
//! ```

mod content;
mod materials;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::outputs::replace;
use super::{Built, Error};
use crate::attest::layout::{Document, Layout};
use crate::attest::provenance::{self, Build};
use crate::attest::{SigningKey, dsse};
use crate::base::{Sha256, event};
use crate::export;
use crate::plan::{Plan, Target, Work};
use crate::realise::Context;
use crate::recipe::Project;

/// What is wanted besides the documents.
pub struct Asked<'a> {
    /// Who signs.
    pub key: Option<&'a SigningKey>,
    /// Who built, a URI.
    pub builder: &'a str,
}

/// What lies beside an image now.
#[derive(Debug, Clone)]
pub struct Attested {
    /// The image's name.
    pub reference: String,
    /// Its digest.
    pub digest: Sha256,
    /// The folder below `out`.
    pub folder: PathBuf,
    /// The files in it that a person wants.
    pub files: Vec<String>,
    /// How many things are in the image, and in the bill.
    pub components: usize,
    /// Of how many things it was made.
    pub materials: usize,
    /// Who signed.
    pub key: Option<Sha256>,
    /// Whether all that lies there lay there already.
    pub unchanged: bool,
}

/// The release that writes the documents.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Writes the documents about an image that was built, signs them where a key is given, and attaches them.
///
/// # Panics
///
/// If `built` is no image, or not the plan's.
pub fn attest(
    plan: &Plan,
    project: &Project,
    built: &Built,
    asked: &Asked<'_>,
    context: &Context<'_>,
) -> Result<Attested, Error> {
    let target = plan.targets.iter().find(|target| target.recipe == built.recipe).expect("it was planned");
    let digest = built.digest().expect("an image was built").hash;
    let (bill, build) = describe(plan, project, target, digest, asked.builder, context)?;
    let documents = documents(&bill, &build);
    let folder = built.folder.join("attest");
    let create = |source| export::Error::Io { action: "create", path: folder.clone(), source };
    fs_err::create_dir_all(&folder).map_err(create)?;
    let mut unchanged = true;
    let mut files = Vec::new();
    let mut write = |name: String, content: &[u8]| -> Result<(), Error> {
        let text = std::str::from_utf8(content).expect("JSON is text");
        unchanged &= !replace(&folder.join(&name), text)?;
        files.push(name);
        Ok(())
    };
    let tree = built.layout.unwrap_or(built.tree);
    let mut layout = Layout::open(context.store, context.store.tree(&tree)?)?;
    for document in &documents {
        write(document.name.clone(), &document.content)?;
    }
    layout.attach(&documents)?;
    if let Some(key) = asked.key {
        let repository = build.reference.rsplit_once(':').map_or(&*build.reference, |(name, _)| name);
        let envelopes = layout.sign(repository, &documents, key)?;
        for (document, envelope) in documents.iter().zip(envelopes) {
            write(signed_name(&document.name), &envelope.to_json())?;
        }
    }
    let tree = context.store.put_tree(&layout.finish()?)?;
    let oci = folder.join("oci");
    let put = export::export(context.store, export::Shape::OCI_LAYOUT, &tree, &oci, context.cancel)?;
    unchanged &= put == event::Outcome::Reused;
    files.push("oci".to_owned());
    // A key that was given once and is not now leaves nothing behind that looks current.
    if asked.key.is_none() {
        for document in &documents {
            remove(&folder.join(signed_name(&document.name)))?;
        }
    }
    Ok(Attested {
        reference: build.reference,
        digest,
        folder,
        files,
        components: bill.components.len(),
        materials: build.materials.len(),
        key: asked.key.map(|key| key.public().id()),
        unchanged,
    })
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(export::Error::Io { action: "remove", path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

/// `provenance.dsse.json` for `provenance.json`.
fn signed_name(name: &str) -> String {
    format!("{}.dsse.json", name.strip_suffix(".json").unwrap_or(name))
}

fn describe(
    plan: &Plan,
    project: &Project,
    target: &Target,
    digest: Sha256,
    builder: &str,
    context: &Context<'_>,
) -> Result<(crate::attest::bill::Bill, Build), Error> {
    let image = target.image.as_ref().expect("the caller asked for an image");
    let made_of = materials::collect(plan, target, context.store)?;
    let (mut platforms, mut assembled) = (Vec::new(), 0);
    for (_, step) in &image.images {
        let Work::Image(assembly) = &plan.steps[*step].work else {
            unreachable!("an image's step assembles it");
        };
        platforms.push(format!("{}/{}", assembly.platform.os, assembly.platform.architecture));
        assembled = assembly.assembly;
    }
    platforms.dedup();
    let build = Build {
        image: target.recipe.name.to_string(),
        reference: image.reference.clone(),
        digest,
        platforms,
        runtimes: image.runtimes.keys().cloned().collect(),
        assembly: assembled,
        builder: builder.to_owned(),
        tool: RELEASE.to_owned(),
        materials: made_of.materials,
    };
    let bill = content::bill(plan, project, image, digest, &made_of.created, context)?;
    Ok((bill, build))
}

fn documents(bill: &crate::attest::bill::Bill, build: &Build) -> Vec<Document> {
    let text = |value: &Value| serde_json::to_vec(value).expect("plain values are JSON");
    let sbom = |name: &str, media_type: &str, predicate: &str, content: Vec<u8>| {
        let value: Value = serde_json::from_slice(&content).expect("it was written as JSON");
        let statement = provenance::statement(&bill.reference, &bill.digest, predicate, value);
        Document {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            predicate: predicate.to_owned(),
            content,
            statement: text(&statement),
        }
    };
    let statement = build.statement();
    let mut content = serde_json::to_vec_pretty(&statement).expect("plain values are JSON");
    content.push(b'\n');
    vec![
        sbom("sbom.spdx.json", "application/spdx+json", provenance::SPDX, bill.spdx()),
        sbom("sbom.cdx.json", "application/vnd.cyclonedx+json", provenance::CYCLONEDX, bill.cyclonedx()),
        Document {
            name: "provenance.json".to_owned(),
            media_type: dsse::IN_TOTO.to_owned(),
            predicate: provenance::PREDICATE.to_owned(),
            content,
            statement: text(&statement),
        },
    ]
}

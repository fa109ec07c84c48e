//! Packages that are like another one, with other packages in the place of its inputs.
//!
//! The other recipe is the whole truth about how such a package is built: sources, script, patches and the places of
//! inputs are its. Only what lies in those places is another package's result.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::{Document, Step};
use super::error::{Fault, Problem, near};
use super::{Id, Package, Role, schema};
use crate::base::Name;

/// A package that is built as another one is, with other packages among its inputs.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "nodeimg package recipe, like another one")]
pub struct Variant {
    /// The recipe's name: the file's name without `.toml`.
    pub name: Name,
    /// The package that this one is like in all else.
    pub like: Name,
    /// Which packages lie at `/in/<name>` in the place of the package of that name.
    pub with: BTreeMap<Name, Name>,
    /// One sentence for people.
    pub description: Option<String>,
}

/// What a package's file holds.
pub(super) enum File {
    Whole(Box<Package>),
    Variant(Variant),
}

/// Reads a package's document, or finds everything that is wrong with it. What has `like` is no whole recipe.
pub(super) fn parse(document: &Document, role: Role) -> Result<File, Vec<Problem>> {
    toml::from_str(&document.text).map(|package| File::Whole(Box::new(package))).or_else(|error| {
        let table = document.text.parse::<toml::Table>();
        if !table.is_ok_and(|table| table.contains_key("like")) {
            return Err(document.faults(&schema::whole(role), &error));
        }
        let variant = toml::from_str(&document.text).map(File::Variant);
        variant.map_err(|error| document.faults(&schema::of::<Variant>(), &error))
    })
}

/// Makes packages of files.
pub(super) fn resolve(
    files: BTreeMap<Name, File>,
    documents: &BTreeMap<Id, Document>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Name, Package> {
    let (mut packages, mut variants) = (BTreeMap::new(), BTreeMap::new());
    for (name, file) in files {
        match file {
            File::Whole(package) => _ = packages.insert(name, *package),
            File::Variant(variant) => _ = variants.insert(name, variant),
        }
    }
    let mut made = Vec::new();
    for (name, variant) in &variants {
        let mut at = |fault, path: &[Step<'_>]| {
            problems.push(documents[&Id::new(Role::Package, name)].at(fault, path));
        };
        if variants.contains_key(&variant.like) {
            at(Fault::LikeAVariant(variant.like.clone()), &["like".into()]);
            continue;
        }
        let Some(package) = packages.get(&variant.like) else {
            // A recipe that is there and can't be read is told already.
            if !documents.contains_key(&Id::new(Role::Package, &variant.like)) {
                let near = near(variant.like.as_str(), packages.keys().map(Name::as_str));
                let name = variant.like.to_string();
                at(Fault::UnknownReference { kind: Role::Package.word(), name, near }, &["like".into()]);
            }
            continue;
        };
        let places: Vec<_> = package.places_of_inputs().map(Name::as_str).collect();
        for place in variant.with.keys().filter(|place| !places.contains(&place.as_str())) {
            let fault = Fault::NoInput {
                of: variant.like.clone(),
                name: place.clone(),
                near: near(place.as_str(), places.iter().copied()),
            };
            at(fault, &["with".into(), place.as_str().into()]);
        }
        let own = Package {
            name: variant.name.clone(),
            description: variant.description.clone().or_else(|| package.description.clone()),
            variant: Some(variant.clone()),
            ..package.clone()
        };
        made.push((name.clone(), own));
    }
    packages.extend(made);
    packages
}

//! Packages that are like another one, but for what is said of them.
//!
//! The other recipe is the whole truth about how such a package is built: sources, script, patches and the places of
//! inputs are its. What lies in those places may be another package's result or nothing, the root another suite's with
//! further packages, and variables that the script reads may have other values. Where the result is another thing, so
//! is its test.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::{Document, Step};
use super::error::{Fault, Problem, near};
use super::package::Test;
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
    #[serde(default)]
    pub with: BTreeMap<Name, Name>,
    /// Inputs of the other package that this one has not.
    #[serde(default)]
    pub without: Vec<Name>,
    /// The suite that the root is made from, in the place of the other package's.
    pub root: Option<Name>,
    /// Debian packages of the build root beside the other package's; where it is built for another architecture, that
    /// one's libraries.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Environment variables of the build script, beside or in the place of the other package's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How the result is tried, in the place of the other package's test.
    pub test: Option<Test>,
    /// One sentence for people.
    pub description: Option<String>,
}

impl Variant {
    /// Makes the package that is like another one.
    fn of(&self, other: &Package) -> Package {
        let mut own = other.clone();
        own.name = self.name.clone();
        own.description = self.description.clone().or(own.description);
        own.build.root = self.root.clone().unwrap_or(own.build.root);
        own.build.packages.extend(self.packages.iter().cloned());
        // What is added is linked with, so it is the target's.
        let libraries = own.build.cross.iter_mut().map(|cross| &mut cross.libraries);
        libraries.for_each(|libraries| libraries.extend(self.packages.iter().cloned()));
        own.build.env.extend(self.env.clone());
        own.test = self.test.clone().or(own.test);
        let test = own.test.iter_mut().map(|test| &mut test.inputs);
        for inputs in std::iter::once(&mut own.build.inputs).chain(test) {
            inputs.retain(|input| !self.without.contains(input));
        }
        own.variant = Some(self.clone());
        own
    }
}

/// What a package's file holds.
pub(super) enum File {
    Whole(Box<Package>),
    Variant(Box<Variant>),
}

/// Reads a package's document, or finds everything that is wrong with it. What has `like` is no whole recipe.
pub(super) fn parse(document: &Document, role: Role) -> Result<File, Vec<Problem>> {
    toml::from_str(&document.text).map(|package| File::Whole(Box::new(package))).or_else(|error| {
        let table = document.text.parse::<toml::Table>();
        if !table.is_ok_and(|table| table.contains_key("like")) {
            return Err(document.faults(&schema::whole(role), &error));
        }
        let variant = toml::from_str(&document.text).map(|variant| File::Variant(Box::new(variant)));
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
            File::Variant(variant) => _ = variants.insert(name, *variant),
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
        let with = variant.with.keys().map(|place| (place, vec!["with".into(), place.as_str().into()]));
        let without = variant.without.iter().enumerate();
        let without = without.map(|(index, place)| (place, vec!["without".into(), index.into()]));
        for (place, path) in with.chain(without).filter(|(place, _)| !places.contains(&place.as_str())) {
            let fault = Fault::NoInput {
                of: variant.like.clone(),
                name: place.clone(),
                near: near(place.as_str(), places.iter().copied()),
            };
            at(fault, &path);
        }
        for (index, name) in variant.packages.iter().enumerate() {
            if package.build.packages.contains(name) || variant.packages[..index].contains(name) {
                at(Fault::Duplicate(name.clone()), &["packages".into(), index.into()]);
            }
        }
        made.push((name.clone(), variant.of(package)));
    }
    packages.extend(made);
    packages
}

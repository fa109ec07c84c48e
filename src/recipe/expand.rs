//! Recipes with their `{names}` replaced.

use std::collections::BTreeMap;

use super::{Image, Package, Project, substitute};
use crate::base::Arch;

/// Gives the values that depend on the architecture alone.
fn of_arch(name: &str, arch: Arch) -> Option<String> {
    match name {
        "arch" => Some(arch.name().to_owned()),
        "machine" => Some(arch.machine().to_owned()),
        "triplet" => Some(arch.triplet().to_owned()),
        _ => None,
    }
}

/// Names what may stand between braces in a package's strings.
pub(super) const PACKAGE_NAMES: [&str; 4] = ["version", "arch", "machine", "triplet"];

/// A string of a recipe that may hold `{names}`, with the key it stands under.
pub(super) type Place<'a> = (Vec<super::document::Step<'a>>, &'a mut String);

impl Package {
    /// Gives what `{name}` stands for in this package's strings.
    pub fn variable(&self, name: &str, arch: Arch) -> Option<String> {
        if name == "version" { Some(self.version.clone()) } else { of_arch(name, arch) }
    }

    /// Replaces each `{name}` in environment variables. Sources are left alone (the fetchers
    /// replace in them), and so are scripts.
    pub fn expand(&self, arch: Arch) -> Package {
        let mut package = self.clone();
        for (_, text) in package.places() {
            *text = replaced(text, &|name| self.variable(name, arch));
        }
        package
    }

    /// Goes through the strings that are replaced in.
    pub(super) fn places(&mut self) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        map(&mut places, &["build", "env"], &mut self.build.env);
        if let Some(cross) = &mut self.build.cross {
            map(&mut places, &["build", "cross", "env"], &mut cross.env);
        }
        if let Some(test) = &mut self.test {
            map(&mut places, &["test", "env"], &mut test.env);
        }
        places
    }
}

impl Image {
    /// Replaces each `{name}` in the tag, the reference, environment variables and the configuration; names are
    /// those of the project's packages (`version` gives theirs) and the architecture's.
    pub fn expand(&self, version: &dyn Fn(&str) -> Option<String>, arch: Arch) -> Image {
        let mut image = self.clone();
        for (_, text) in image.places() {
            *text = replaced(text, &|name| of_arch(name, arch).or_else(|| version(name)));
        }
        image
    }

    /// Goes through the strings that are replaced in.
    pub(super) fn places(&mut self) -> Vec<Place<'_>> {
        let mut places = vec![(vec!["tag".into()], &mut self.tag)];
        places.extend(self.reference.as_mut().map(|text| (vec!["reference".into()], text)));
        if let Some(system) = &mut self.system {
            map(&mut places, &["system", "env"], &mut system.env);
        }
        texts(&mut places, &["config", "entrypoint"], &mut self.config.entrypoint);
        texts(&mut places, &["config", "cmd"], &mut self.config.cmd);
        map(&mut places, &["config", "env"], &mut self.config.env);
        map(&mut places, &["config", "labels"], &mut self.config.labels);
        places
    }
}

impl Project {
    /// Gives what `{name}` stands for in an image's strings.
    pub fn image_variable(&self, name: &str, arch: Arch) -> Option<String> {
        of_arch(name, arch).or_else(|| self.version(name))
    }

    /// Gives a package's version.
    pub fn version(&self, package: &str) -> Option<String> {
        self.packages.get(package).map(|package| package.version.clone())
    }
}

fn texts<'a>(places: &mut Vec<Place<'a>>, path: &[&'static str], texts: &'a mut [String]) {
    for (index, text) in texts.iter_mut().enumerate() {
        let steps = path.iter().map(|key| (*key).into()).chain([index.into()]);
        places.push((steps.collect(), text));
    }
}

fn map<'a>(places: &mut Vec<Place<'a>>, path: &[&'static str], map: &'a mut BTreeMap<String, String>) {
    for (key, text) in map {
        let steps = path.iter().map(|key| (*key).into()).chain([key.as_str().into()]);
        places.push((steps.collect(), text));
    }
}

/// Replaces in a string that was checked when the project was loaded.
fn replaced(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    substitute(text, value).unwrap_or_else(|_| text.to_owned())
}

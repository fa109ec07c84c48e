//! What a suite has now, beside what a lock pins of it.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Package;
use super::release::{self, Release};
use super::universe::{Candidate, Universe, order};
use super::{Indices, PackagePin, Snapshot, SuitePin, signature};
use crate::base::Arch;
use crate::fetch::{self, Context};

/// A suite as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its release files and indices.
    pub pin: SuitePin,
    /// A moment at which snapshot.debian.org surely has them.
    pub moment: String,
}

/// A source package at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A package as an index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its file.
    pub pin: PackagePin,
    /// Its version, with its epoch.
    pub version: String,
    /// What it was built from.
    pub source: SourcePackage,
}

impl Known {
    fn of(archive: &str, package: Package<'_>) -> Self {
        let (name, version) = package.source();
        Self {
            pin: super::pinned(archive, package),
            version: package.version().to_owned(),
            source: SourcePackage { name: name.to_owned(), version: version.to_owned() },
        }
    }

    /// Tells whether it is newer than a locked file. Epochs do not count, since a file's name has none.
    pub fn is_newer_than(&self, file: &PackagePin) -> bool {
        self.pin.sha256 != file.sha256 && order(self.pin.version(), file.version()).is_gt()
    }
}

impl SourcePackage {
    /// Reads what a package's `control` file says that it was built from (policy 5.3); nothing where it says too little.
    pub fn of_control(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let (package, version) = (field("Package")?.trim_ascii(), field("Version")?.trim_ascii());
        let source = field("Source").unwrap_or_default().trim_ascii();
        let (name, version) = super::index::source(package, version, source);
        Some(Self { name: name.to_owned(), version: version.to_owned() })
    }
}

impl PackagePin {
    /// Names the source package by where the file lies (policy has no word of it; archives lay their pool out as
    /// `pool/COMPONENT/PREFIX/SOURCE/`).
    pub fn source(&self) -> Option<&str> {
        source_of(&self.path)
    }
}

/// Names the source package whose files lie beside a path of a pool.
pub fn source_of(path: &str) -> Option<&str> {
    path.split_once("pool/")?.1.rsplit('/').nth(1)
}

impl Snapshot<'_> {
    /// Finds the newest releases that this host's mirrors have, whatever the moment. Brings no index.
    pub fn newest(&self, context: &Context<'_>) -> Result<Newest, fetch::Error> {
        let keys = signature::keys(self.keys)?;
        let find = |pocket| release::newest(pocket, &keys, context);
        let releases: Vec<Release> = self.pockets.iter().map(find).collect::<Result<_, _>>()?;
        let pinned = self.pockets.iter().zip(&releases).map(|(pocket, release)| self.pocket(pocket, release));
        let newest = releases.iter().map(|release| release.date).max();
        let moment =
            newest.map_or_else(|| self.moment.to_owned(), |date| release::moment(release::after(date)));
        Ok(Newest { pin: SuitePin { pockets: pinned.collect::<Result<_, _>>()? }, moment })
    }
}

impl Indices {
    /// Finds the packages that names stand for in a suite. A name that it has no more is left out.
    pub fn named(
        &self,
        suite: &Newest,
        arch: Arch,
        names: &BTreeSet<&str>,
        context: &Context<'_>,
    ) -> Result<BTreeMap<String, Known>, fetch::Error> {
        let read = self.read(&suite.pin, &suite.moment, arch, context)?;
        let indices = read.iter().map(|(archive, index)| (archive, index.as_ref())).collect();
        let universe = Universe::new(arch, indices, &[])?;
        let known = |Candidate { archive, package }| Known::of(archive.as_str(), package);
        Ok(names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), known(universe.candidate(name)?))))
            .collect())
    }

    /// Finds what a suite's pinned indices say of files. One that they don't have is left out.
    pub fn files(
        &self,
        pin: &SuitePin,
        moment: &str,
        arch: Arch,
        files: &[&PackagePin],
        context: &Context<'_>,
    ) -> Result<Vec<Known>, fetch::Error> {
        let read = self.read(pin, moment, arch, context)?;
        let find = |file: &&PackagePin| {
            let mut indices = read.iter().filter(|(archive, _)| archive.as_str() == file.archive);
            indices.find_map(|(archive, index)| {
                let package = index.named(file.package()).find(|package| package.path() == file.path)?;
                Some(Known::of(archive.as_str(), package))
            })
        };
        Ok(files.iter().filter_map(find).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_says_what_it_was_built_from() {
        let of = |text: &str| SourcePackage::of_control(text).map(|source| (source.name, source.version));
        let some = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(of("Package: zlib1g\nSource: zlib\nVersion: 1:1.2.13-1\n"), some("zlib", "1:1.2.13-1"));
        assert_eq!(
            of("Package: cpp\nVersion: 4:12\nSource: gcc-defaults (1.203)\n"),
            some("gcc-defaults", "1.203")
        );
        assert_eq!(of("Package: dash\nVersion: 0.5\nDescription: Source: no\n"), some("dash", "0.5"));
        assert_eq!(of("Package: dash\n"), None);
    }

    #[test]
    fn a_pools_folders_are_source_packages() {
        assert_eq!(source_of("pool/main/o/openssl/libssl3_3.0.1_amd64.deb"), Some("openssl"));
        assert_eq!(source_of("pool/updates/main/libx/libxml2/x.deb"), Some("libxml2"));
        assert_eq!(source_of("pool/main/e/expat/expat_2.7.1.orig.tar.gz"), Some("expat"));
        assert_eq!(source_of("https://x.example/expat.tar.gz"), None);
    }
}

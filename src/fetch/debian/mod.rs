//! Debian archives: a suite at a moment goes in, pins come out, and pinned packages are brought.
//!
//! ```text
//! Snapshot ──pin──▶ SuitePin ──closure──▶ [PackagePin] ──fetch──▶ blobs
//!            InRelease          Packages                 pool/…
//! ```
//!
//! Trust runs the same way: the recipe's keys sign `InRelease`, which names the hashes of the indices, which
//! name the hashes of the packages. Files are asked from the host's mirrors first and from
//! snapshot.debian.org, which keeps them for ever, after that.
//!
//! A suite at a moment is the newest release whose date is not after it. Time is the moment's and the
//! release's own; the clock is never asked. Nothing here unpacks a package or runs anything.

mod closure;
mod error;
mod explain;
mod index;
mod newest;
mod pin;
mod relation;
mod release;
pub(super) mod signature;
mod tracker;
mod universe;

#[cfg(test)]
mod tests;

pub use error::Error;
pub(super) use index::decompressed;
pub use newest::{Known, Newest, SourcePackage, source_of};
pub use pin::{IndexPin, NotAPackagePin, PackagePin, PocketPin, SuitePin};
pub use signature::Key;
pub use tracker::{Finding, Tracker};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use self::index::Index;
use self::release::{Found, Release};
use self::universe::Universe;
use super::{Context, Expected};
use crate::base::{Arch, Digest, Name, Sha256};
use crate::{fetch, store};

/// The moment under which snapshot.debian.org has what it took last.
pub(super) const NOW: &str = "now";

/// One release file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pocket {
    /// The archive: `debian` or `debian-security`.
    pub archive: Name,
    /// The folder below the archive's `dists/`.
    pub suite: String,
}

/// A suite at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The moment, as snapshot.debian.org writes it: `20260711T120000Z`.
    pub moment: &'a str,
    /// The components to draw from.
    pub components: &'a [String],
    /// The release files to draw from.
    pub pockets: &'a [Pocket],
    /// Who may sign them.
    pub keys: &'a [Key],
}

impl Snapshot<'_> {
    /// Pins the suite for every architecture, and brings its indices.
    pub fn pin(&self, context: &Context<'_>) -> Result<SuitePin, fetch::Error> {
        let at = release::parse_moment(self.moment)?;
        let keys = signature::keys(self.keys)?;
        let (mut pockets, mut newer, mut tried) = (Vec::new(), Vec::new(), Vec::new());
        for pocket in self.pockets {
            match release::find(pocket, self.moment, at, &keys, context)? {
                Found::Release(release) => pockets.push((pocket, release)),
                Found::Newer(found, more) => {
                    newer.extend(found);
                    tried.extend(more);
                }
            }
        }
        // All pockets are looked at first: one change of the recipe is to be enough.
        if let Some(newest) = newer.iter().map(|(_, date)| *date).max() {
            let found = newer.into_iter().map(|(url, date)| (url, release::moment(date))).collect();
            let (moment, later) = (self.moment.to_owned(), release::moment(release::after(newest)));
            return Err(Error::Newer { moment, found, tried, later }.into());
        }
        let pinned = pockets.iter().map(|(pocket, release)| self.pocket(pocket, release));
        let pin = SuitePin { pockets: pinned.collect::<Result<_, _>>()? };
        let jobs = pin.pockets.iter().zip(&pockets).flat_map(|(pin, (_, release))| {
            pin.indices.iter().map(move |index| (pin, index, release.by_hash))
        });
        each(jobs, |(pocket, index, by_hash)| index.fetch(pocket, self.moment, by_hash, context))?;
        Ok(pin)
    }

    fn pocket(&self, pocket: &Pocket, release: &Release) -> Result<PocketPin, fetch::Error> {
        let mut indices = Vec::new();
        for component in self.components {
            for arch in Arch::ALL {
                let folder = format!("{component}/binary-{arch}");
                let forms = ["xz", "gz"].map(|form| format!("{folder}/Packages.{form}"));
                let found = forms.into_iter().find_map(|path| {
                    let (size, sha256) = *release.files.get(&path)?;
                    Some(IndexPin { component: component.clone(), arch, path, size, sha256 })
                });
                let none = || fetch::Error::Malformed {
                    url: format!("{}:dists/{}/InRelease", pocket.archive, pocket.suite),
                    reason: format!("it names no `{folder}/Packages.xz`"),
                };
                indices.push(found.ok_or_else(none)?);
            }
        }
        Ok(PocketPin {
            archive: pocket.archive.clone(),
            suite: pocket.suite.clone(),
            release: release.hash,
            signer: release.signer.clone(),
            indices,
        })
    }
}

impl IndexPin {
    fn fetch(
        &self,
        pocket: &PocketPin,
        moment: &str,
        by_hash: bool,
        context: &Context<'_>,
    ) -> Result<Digest, fetch::Error> {
        let digest = Digest { hash: self.sha256, size: self.size };
        if context.store.has_blob(&digest) {
            return Ok(digest);
        }
        let base = format!("{}:dists/{}", pocket.archive, pocket.suite);
        let network = context.network;
        let mut plain = network.places(&format!("{base}/{}", self.path), Some(moment));
        let places = if by_hash {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = format!("{base}/{folder}/by-hash/SHA256/{}", self.sha256);
            let mut places = network.places(&path, Some(moment));
            // Under its plain name a mirror may have a newer one, which would be an error: that comes last.
            plain.reverse();
            places.append(&mut plain);
            places
        } else {
            plain
        };
        let expected = Expected { hash: Some(self.sha256), size: Some(self.size) };
        network.get(&format!("{base}/{}", self.path), &places, expected, context)
    }
}

impl PackagePin {
    /// Brings the package into the store. Errs when its bytes are others.
    pub fn fetch(&self, moment: &str, context: &Context<'_>) -> Result<Digest, fetch::Error> {
        let digest = self.digest();
        if context.store.has_blob(&digest) {
            return Ok(digest);
        }
        let url = format!("{}:{}", self.archive, self.path);
        let places = context.network.places(&url, Some(moment));
        let expected = Expected { hash: Some(self.sha256), size: Some(self.size) };
        context.network.get(self.file(), &places, expected, context)
    }
}

/// Pins a package as its index has it.
fn pinned(archive: &str, package: index::Package<'_>) -> PackagePin {
    PackagePin {
        archive: archive.to_owned(),
        path: package.path().to_owned(),
        size: package.size(),
        sha256: package.sha256(),
    }
}

/// An index that is read when first asked for.
type Slot = Arc<Mutex<Option<Arc<Index>>>>;

/// Indices in memory. Whoever holds this pays for each index once.
#[derive(Debug, Default)]
pub struct Indices {
    slots: Mutex<BTreeMap<Sha256, Slot>>,
}

impl Indices {
    /// Finds what makes a root: the essential packages, those of `wants` (`name` or `name=version`), and what
    /// they need. Recommended packages are left out. Gives them by name.
    pub fn closure(
        &self,
        pin: &SuitePin,
        moment: &str,
        arch: Arch,
        wants: &[String],
        context: &Context<'_>,
    ) -> Result<Vec<PackagePin>, fetch::Error> {
        let read = self.read(pin, moment, arch, context)?;
        let indices = read.iter().map(|(archive, index)| (archive, index.as_ref())).collect();

        let universe = Universe::new(arch, indices, wants)?;
        let graph = universe.graph(wants)?;
        let mut chosen: Vec<_> = closure::solve(&universe, &graph, context.cancel)?
            .into_iter()
            .map(|node| graph.nodes[node].candidate)
            .collect();
        chosen.sort_by_key(|one| one.package.name());
        let pins = chosen.into_iter().map(|one| {
            let package = one.package;
            let pin = pinned(one.archive.as_str(), package);
            // The lock must be able to say it.
            pin.to_string().parse::<PackagePin>().map_err(|error| fetch::Error::Malformed {
                url: format!("{}:{}", one.archive, package.path()),
                reason: error.to_string(),
            })
        });
        pins.collect()
    }

    /// Reads a suite's indices of one architecture; gives each with its archive.
    fn read(
        &self,
        pin: &SuitePin,
        moment: &str,
        arch: Arch,
        context: &Context<'_>,
    ) -> Result<Vec<(Name, Arc<Index>)>, fetch::Error> {
        let jobs = pin.pockets.iter().flat_map(|pocket| {
            pocket.indices.iter().filter(|index| index.arch == arch).map(move |index| (pocket, index))
        });
        each(jobs, |(pocket, index)| {
            Ok((pocket.archive.clone(), self.index(pocket, index, moment, context)?))
        })
    }

    fn index(
        &self,
        pocket: &PocketPin,
        index: &IndexPin,
        moment: &str,
        context: &Context<'_>,
    ) -> Result<Arc<Index>, fetch::Error> {
        let slot =
            Arc::clone(self.slots.lock().expect("no panic while held").entry(index.sha256).or_default());
        let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(read) = &*slot {
            return Ok(Arc::clone(read));
        }
        let digest = index.fetch(pocket, moment, true, context)?;
        let bytes = match context.store.read_blob(&digest) {
            // A damaged blob is gone once it was noticed, and can be had again.
            Err(store::Error::Damaged { .. }) => {
                context.store.read_blob(&index.fetch(pocket, moment, true, context)?)
            }
            other => other,
        }?;
        let read = Index::read(&bytes, index.arch).map_err(|reason| fetch::Error::Malformed {
            url: format!("{}:dists/{}/{}", pocket.archive, pocket.suite, index.path),
            reason,
        })?;
        Ok(Arc::clone(slot.insert(Arc::new(read))))
    }
}

/// Does something with each job, each on its own thread: they are a handful. The first error wins.
fn each<J: Send, R: Send>(
    jobs: impl Iterator<Item = J>,
    work: impl Fn(J) -> Result<R, fetch::Error> + Sync,
) -> Result<Vec<R>, fetch::Error> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = jobs.map(|job| scope.spawn(move || work(job))).collect();
        let joined = running.into_iter().map(|thread| thread.join().expect("no panic"));
        joined.collect::<Vec<_>>().into_iter().collect()
    })
}

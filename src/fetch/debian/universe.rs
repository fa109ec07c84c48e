//! All packages that a root could be made of, and how each could be satisfied.
//!
//! As for apt, a name stands for one package: the version that was asked for, else the highest of all pockets.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use debversion::Version;

use super::Error;
use super::index::{Index, Package};
use super::relation::{self, Relation};
use crate::base::{Arch, Name};
use crate::fetch;

/// The indices of one architecture.
pub(super) struct Universe<'a> {
    pub(super) arch: Arch,
    /// With the archive that each belongs to.
    pub(super) indices: Vec<(&'a Name, &'a Index)>,
    /// Versions that were asked for, by name.
    pub(super) pinned: BTreeMap<&'a str, &'a str>,
}

/// A package and the archive that has it.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) archive: &'a Name,
    pub(super) package: Package<'a>,
}

/// One package of a [`Graph`].
pub(super) struct Node<'a> {
    pub(super) candidate: Candidate<'a>,
    /// What must be there: each group as written, and the nodes that would do, the best first.
    pub(super) needs: Vec<(&'a str, Vec<usize>)>,
    /// What must not be there: each group as written, and the nodes that it means.
    pub(super) refuses: Vec<(&'a str, Vec<usize>)>,
}

/// The packages that can come into a root, and what they need of each other.
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// The nodes that must be there.
    pub(super) roots: Vec<usize>,
}

impl<'a> Universe<'a> {
    pub(super) fn new(
        arch: Arch,
        indices: Vec<(&'a Name, &'a Index)>,
        wants: &'a [String],
    ) -> Result<Self, Error> {
        let mut universe = Self { arch, indices, pinned: BTreeMap::new() };
        for (name, version) in wants.iter().filter_map(|want| want.split_once('=')) {
            let mut there: Vec<_> = universe.named(name).map(|one| one.package.version()).collect();
            if !there.is_empty() && !there.contains(&version) {
                there.sort_by(|one, other| order(one, other));
                there.dedup();
                let there = there.into_iter().map(str::to_owned).collect();
                let (name, version) = (name.to_owned(), version.to_owned());
                return Err(Error::UnknownVersion { name, version, arch, there });
            }
            universe.pinned.insert(name, version);
        }
        Ok(universe)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = Candidate<'a>> {
        let found = self.indices.iter().map(|(archive, index)| (archive, index.named(name)));
        found.flat_map(|(archive, found)| found.map(|package| Candidate { archive, package }))
    }

    /// Finds the package that a name stands for. Of equal versions the first pocket's wins.
    pub(super) fn candidate(&self, name: &str) -> Option<Candidate<'a>> {
        let pinned = self.pinned.get(name);
        let found =
            self.named(name).filter(|one| pinned.is_none_or(|version| one.package.version() == *version));
        found.reduce(|best, one| match order(one.package.version(), best.package.version()) {
            Ordering::Greater => one,
            _ => best,
        })
    }

    /// Lists what satisfies a relation: the package of that name, then those that provide it.
    pub(super) fn satisfying(&self, relation: &Relation<'_>) -> Vec<Candidate<'a>> {
        let any = match relation.qualifier {
            None | Some("native") => false,
            Some("any") => true,
            // Packages of another architecture are never there.
            Some(arch) if arch == self.arch.name() => false,
            Some(_) => return Vec::new(),
        };
        let usable = |one: &Candidate<'_>| !any || one.package.allowed();
        let real = self.candidate(relation.name).filter(usable);
        let real = real.filter(|one| relation.fits(one.package.version()));
        let mut providers: Vec<_> = self.providing(relation).filter(usable).collect();
        // As for apt: what the distribution wants more comes first.
        providers.sort_by_key(|one| (one.package.priority(), one.package.name()));
        providers.retain(|one| real.is_none_or(|real| !real.package.is(one.package)));
        real.into_iter().chain(providers).collect()
    }

    fn providing(&self, relation: &Relation<'_>) -> impl Iterator<Item = Candidate<'a>> {
        let fits = move |package: Package<'_>| {
            package.provides().filter_map(Relation::parse).any(|provided| {
                let version = provided.version.map(|(_, version)| version);
                provided.name == relation.name
                    // A name provided without a version satisfies no relation with one (policy 7.5).
                    && version.map_or(relation.version.is_none(), |version| relation.fits(version))
            })
        };
        let found = self.indices.iter().map(|(archive, index)| (archive, index.providing(relation.name)));
        let found = found.flat_map(|(archive, found)| found.map(|package| Candidate { archive, package }));
        found.filter(move |one| {
            let package = one.package;
            fits(package) && self.candidate(package.name()).is_some_and(|best| best.package.is(package))
        })
    }

    /// Lists what satisfies a group, the best first. None where the group can't be read.
    fn options(&self, group: &str) -> Option<Vec<Candidate<'a>>> {
        let mut relations = relation::alternatives(group)?;
        // `usrmerge | usr-is-merged`: the first moves files about in a running system, and brings Perl for it.
        // Roots are laid out merged from the start, so the second says all there is to say.
        if let Some(at) = relations.iter().position(|relation| relation.name == "usr-is-merged") {
            relations[..=at].rotate_right(1);
        }
        Some(relations.iter().flat_map(|relation| self.satisfying(relation)).collect())
    }

    /// Finds the package that was asked for by name.
    fn wanted(&self, want: &str) -> Result<Candidate<'a>, Error> {
        let name = want.split_once('=').map_or(want, |(name, _)| name);
        if let Some(found) = self.candidate(name) {
            return Ok(found);
        }
        let arch = self.arch;
        let virtual_name = Relation { name, qualifier: None, version: None };
        match self.satisfying(&virtual_name).as_slice() {
            [] => Err(Error::UnknownPackage { name: name.to_owned(), arch, near: self.near(name) }),
            [only] => Ok(*only),
            several => {
                let providers = several.iter().map(|one| one.package.name().to_owned()).collect();
                Err(Error::Virtual { name: name.to_owned(), arch, providers })
            }
        }
    }

    fn near(&self, wanted: &str) -> Option<String> {
        let names = self.indices.iter().flat_map(|(_, index)| index.packages()).map(Package::name);
        let close = names.filter(|name| name.len().abs_diff(wanted.len()) <= 2);
        let scored = close.map(|name| (strsim::damerau_levenshtein(wanted, name), name));
        let limit = 1 + wanted.chars().count() / 4;
        scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name.to_owned())
    }

    /// Follows everything that the essential and the wanted packages could need.
    pub(super) fn graph(&self, wants: &[String]) -> Result<Graph<'a>, fetch::Error> {
        let mut graph = Building { universe: self, nodes: Vec::new(), known: BTreeMap::new() };
        let essential = self.indices.iter().flat_map(|(archive, index)| {
            let essential = index.packages().filter(|package| package.essential());
            essential.map(|package| Candidate { archive, package })
        });
        // What is essential only in a version that isn't the candidate is essential no more.
        let essential = essential.filter(|one| {
            self.candidate(one.package.name()).is_some_and(|best| best.package.is(one.package))
        });
        let mut roots: Vec<_> = essential.map(|one| graph.node(one)).collect();
        roots.sort_by_key(|root| graph.nodes[*root].candidate.package.name());
        for want in wants {
            roots.push(graph.node(self.wanted(want)?));
        }
        let mut at = 0;
        while at < graph.nodes.len() {
            graph.follow(at)?;
            at += 1;
        }
        for at in 0..graph.nodes.len() {
            graph.refuse(at)?;
        }
        Ok(Graph { nodes: graph.nodes, roots })
    }
}

struct Building<'u, 'a> {
    universe: &'u Universe<'a>,
    nodes: Vec<Node<'a>>,
    known: BTreeMap<&'a str, usize>,
}

impl<'a> Building<'_, 'a> {
    fn node(&mut self, candidate: Candidate<'a>) -> usize {
        let fresh = self.nodes.len();
        let at = *self.known.entry(candidate.package.name()).or_insert(fresh);
        if at == fresh {
            self.nodes.push(Node { candidate, needs: Vec::new(), refuses: Vec::new() });
        }
        at
    }

    fn follow(&mut self, at: usize) -> Result<(), fetch::Error> {
        let package = self.nodes[at].candidate.package;
        for group in package.needs() {
            let options = self.universe.options(group).ok_or_else(|| unreadable(package, group))?;
            let mut nodes: Vec<usize> = Vec::with_capacity(options.len());
            for option in options {
                let node = self.node(option);
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
            self.nodes[at].needs.push((group, nodes));
        }
        Ok(())
    }

    fn refuse(&mut self, at: usize) -> Result<(), fetch::Error> {
        let package = self.nodes[at].candidate.package;
        for group in package.refuses() {
            let relation = Relation::parse(group).ok_or_else(|| unreadable(package, group))?;
            let found = self.universe.satisfying(&Relation { qualifier: None, ..relation });
            let nodes = found.iter().filter_map(|one| self.known.get(one.package.name()).copied());
            // A package may refuse what it provides itself: then it is the only one that does.
            let nodes: Vec<_> = nodes.filter(|node| *node != at).collect();
            if !nodes.is_empty() {
                self.nodes[at].refuses.push((group, nodes));
            }
        }
        Ok(())
    }
}

fn unreadable(package: Package<'_>, group: &str) -> fetch::Error {
    let reason = format!("`{group}` is no relation between packages");
    fetch::Error::Malformed { url: package.path().to_owned(), reason }
}

/// Orders versions; what is no version comes first.
pub(super) fn order(one: &str, other: &str) -> Ordering {
    match (one.parse::<Version>(), other.parse::<Version>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => one.cmp(other),
    }
}

//! Sources: what their upstreams have.

use std::collections::BTreeMap;

use super::{Kind, NewerSource, Outdated, Question, THREADS, Unasked, kept};
use crate::base::{Arch, Name, each};
use crate::fetch::debian::SourcePackage;
use crate::fetch::releases::{Releases, Unlisted, newer};
use crate::fetch::{Context, Request, Source, VERSION};
use crate::pipeline::Error;
use crate::recipe::{Id, Package, Project, Role, substitute};

/// One source of one or more packages.
struct Asked {
    recipes: Vec<Id>,
    name: String,
    /// With its version left open.
    request: Request,
    version: String,
    kind: Kind,
}

/// Asks for every source; adds what is newer, and what has no answer.
pub(super) fn ask(
    question: &Question<'_>,
    outdated: &mut Outdated,
    context: &Context<'_>,
) -> Result<(), Error> {
    let asked = asked(question);
    let answers = each(&asked, THREADS, |one| Ok::<_, Error>(one.request.releases(context)))?;
    let mut answered: Vec<(Asked, Releases)> = Vec::new();
    for (one, answer) in asked.into_iter().zip(answers) {
        let releases = match answer {
            Ok(releases) => Some(releases),
            Err(Unlisted::Fetch(error)) => kept(Err(error), || one.who(), &mut outdated.unasked)?,
            Err(why) => {
                let why = why.to_string();
                outdated.unasked.push(Unasked { who: one.who(), why, is_failure: false });
                None
            }
        };
        let Some(releases) = releases else { continue };
        // A recipe's version is that of all its sources, so what is newer is what all of them have.
        let is_other = |other: &Asked| {
            one.kind == Kind::Recipe && other.kind == Kind::Recipe && other.recipes == one.recipes
        };
        match answered.last_mut().filter(|(other, _)| is_other(other)) {
            Some((_, all)) => all.versions.retain(|version| releases.versions.contains(version)),
            None => answered.push((one, releases)),
        }
    }
    outdated.sources = answered.into_iter().filter_map(|(one, releases)| one.newer(releases)).collect();
    Ok(())
}

/// Lists the sources that have an upstream, each once though many recipes may have it.
fn asked(question: &Question<'_>) -> Vec<Asked> {
    let Question { project, arch, .. } = *question;
    let mut found: BTreeMap<String, Asked> = BTreeMap::new();
    for package in packages(project, question.targets) {
        let own = package.sources().filter_map(|(name, source)| {
            let request = request(package, &source.fetch, arch, VERSION)?;
            let is_same = request == self::request(package, &source.fetch, arch, &package.version)?;
            let kind = if is_same { Kind::Source } else { Kind::Recipe };
            Some((name.to_string(), request, kind))
        });
        let crates = project.crates(package).into_iter().flat_map(|lock| lock.direct());
        let crates = crates.map(|request| {
            let name = request.to_string().trim_end_matches(".crate").to_owned();
            (name, request, Kind::Crate)
        });
        for (name, request, kind) in own.chain(crates) {
            let version = if kind == Kind::Recipe { package.version.clone() } else { String::new() };
            let key =
                serde_json::to_string(&(&request, &version)).expect("a request has only strings as keys");
            let one = Asked { recipes: Vec::new(), name, request, version, kind };
            found.entry(key).or_insert(one).recipes.push(Id::new(Role::Package, &package.name));
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    // The recipe that the others are like is the one to change.
    let is_like_another = |id: &Id| project.packages[&id.name].variant.is_some();
    found.iter_mut().for_each(|one| one.recipes.sort_by_key(is_like_another));
    found.sort_by(|one, other| {
        (&one.recipes, one.kind, &one.name).cmp(&(&other.recipes, other.kind, &other.name))
    });
    found
}

fn packages<'a>(project: &'a Project, targets: &[Id]) -> impl Iterator<Item = &'a Package> {
    let ids = project.closure(targets).into_iter().filter(|id| id.role == Role::Package);
    ids.map(|id| &project.packages[&id.name])
}

/// Makes a source's request at a version. Nothing for what has no upstream.
fn request(package: &Package, source: &Source, arch: Arch, version: &str) -> Option<Request> {
    if source.local().is_some() || source.cargo_lock().is_some() {
        return None;
    }
    let arch = if package.architecture.covers(arch) { arch } else { arch.other() };
    let value = |name: &str| match name {
        "version" => Some(version.to_owned()),
        _ => package.variable(name, arch),
    };
    // What can't be filled in is an error where the package is locked.
    source.request(arch, &|text| substitute(text, &value)).ok()
}

/// Lists the sources of packages that Debian has as well, with the packages that have each.
pub(super) fn debian(question: &Question<'_>) -> Vec<(Name, SourcePackage)> {
    let Question { project, arch, .. } = *question;
    let mut found = Vec::new();
    for package in packages(project, question.targets) {
        let requests = package
            .sources()
            .filter_map(|(_, source)| request(package, &source.fetch, arch, &package.version));
        found.extend(requests.filter_map(|request| Some((package.name.clone(), request.debian_source()?))));
    }
    found
}

impl Asked {
    /// Names it as people do: a package's only source by the package.
    fn who(&self) -> String {
        let recipe = &self.recipes[0].name;
        if self.name == recipe.as_str() { self.name.clone() } else { format!("{} of {recipe}", self.name) }
    }

    fn newer(self, releases: Releases) -> Option<NewerSource> {
        let current = releases.own.unwrap_or(self.version);
        let found = newer(&current, &releases.versions)?;
        let name = match self.kind {
            Kind::Recipe => self.recipes[0].name.to_string(),
            Kind::Source => self.name,
            Kind::Crate => self.name.strip_suffix(&format!("-{current}")).unwrap_or(&self.name).to_owned(),
        };
        Some(NewerSource {
            recipes: self.recipes,
            name,
            kind: self.kind,
            current,
            newest: found.newest?,
            patch: found.patch,
            place: releases.place,
        })
    }
}

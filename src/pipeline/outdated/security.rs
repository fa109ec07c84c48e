//! Known holes: what Debian's security tracker says of the packages and the sources that there are.
//!
//! A package says itself what it was built from and by which version (its `control`, where the store has it; else the
//! suite's pinned index). An upstream's source is known to Debian where its archive is kept there too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Question, Unasked, Used, Vulnerable, kept, upstream};
use crate::base::Name;
use crate::fetch::debian::{Error as DebianError, Indices, PackagePin, SourcePackage, Tracker};
use crate::fetch::{self, Context};
use crate::lock::Locked;
use crate::pipeline::Error;
use crate::recipe::Suite;
use crate::unpack;

/// What the tracker is asked about.
pub(super) struct Asked<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) locked: &'a Locked,
    pub(super) used: &'a BTreeMap<&'a Name, Used<'a>>,
}

/// A source package as a release has it, and who uses it.
#[derive(Default)]
struct Use {
    packages: BTreeSet<String>,
    places: BTreeSet<Place>,
}

impl Asked<'_> {
    /// Lists what has issues; tells which suites can't be looked at.
    pub(super) fn vulnerable(
        &self,
        unasked: &mut Vec<Unasked>,
        context: &Context<'_>,
    ) -> Result<Vec<Vulnerable>, Error> {
        let mut uses: BTreeMap<(Option<&str>, SourcePackage), Use> = BTreeMap::new();
        for (name, used) in self.used {
            let release = release(&self.locked.suites[*name].recipe);
            let sources = self.sources(name, used, unasked, context)?;
            for (file, source) in sources {
                let entry = uses.entry((Some(release), source)).or_default();
                entry.packages.insert(file.package().to_owned());
                entry.places.extend(used.files[file].iter().cloned());
            }
        }
        for (package, source) in upstream::debian(self.question) {
            uses.entry((None, source)).or_default().places.insert(Place::Source(package));
        }
        let tracker = self.tracker(&uses)?;
        let vulnerable = uses.into_iter().filter_map(|((release, source), used)| {
            let SourcePackage { name: source, version } = source;
            let findings = match release {
                Some(release) => tracker.findings(&source, &version, release),
                None => tracker.findings_upstream(&source, &version),
            };
            let release = release.map(str::to_owned);
            let Use { packages, places } = used;
            (!findings.is_empty()).then_some(Vulnerable {
                source,
                version,
                release,
                findings,
                packages,
                places,
            })
        });
        let mut vulnerable: Vec<_> = vulnerable.collect();
        vulnerable.sort_by(|one, other| (&one.source, &one.release).cmp(&(&other.source, &other.release)));
        Ok(vulnerable)
    }

    /// Reads the files. Errs where they can't know of a release: to hear of no issue would be misleading.
    fn tracker(&self, uses: &BTreeMap<(Option<&str>, SourcePackage), Use>) -> Result<Tracker, Error> {
        let names: BTreeSet<String> = uses.keys().map(|(_, source)| source.name.clone()).collect();
        let mut tracker = Tracker::default();
        for file in self.question.tracker {
            tracker.read(file, &names).map_err(fetch::Error::from)?;
        }
        let releases: BTreeSet<&str> = uses.keys().filter_map(|(release, _)| *release).collect();
        match releases.into_iter().find(|release| !tracker.knows(release)) {
            Some(release) => {
                Err(fetch::Error::from(DebianError::UnknownRelease { release: release.to_owned() }).into())
            }
            None => Ok(tracker),
        }
    }

    /// Finds out what a suite's packages were built from.
    fn sources<'u>(
        &self,
        suite: &Name,
        used: &Used<'u>,
        unasked: &mut Vec<Unasked>,
        context: &Context<'_>,
    ) -> Result<Vec<(&'u PackagePin, SourcePackage)>, Error> {
        let (mut sources, mut lacking) = (Vec::new(), Vec::new());
        for file in used.files.keys() {
            let digest = file.digest();
            if !context.store.has_blob(&digest) {
                lacking.push(*file);
                continue;
            }
            let control = unpack::control(context.store, &digest, file.file(), context.cancel)?;
            let source = SourcePackage::of_control(&String::from_utf8_lossy(&control));
            sources
                .push((*file, source.ok_or_else(|| unclear(file, "its `control` does not say what it is"))?));
        }
        if lacking.is_empty() {
            return Ok(sources);
        }
        let pin = &self.locked.suites[suite].pin;
        let known = Indices::default().files(pin, used.snapshot, self.question.arch, &lacking, context);
        let who = || format!("suites/{suite}: security of {} packages that the store has not", lacking.len());
        let Some(known) = kept(known, who, unasked)? else { return Ok(sources) };
        let mut known: BTreeMap<PackagePin, SourcePackage> =
            known.into_iter().map(|known| (known.pin, known.source)).collect();
        for file in lacking {
            let source = known.remove(file);
            sources.push((file, source.ok_or_else(|| unclear(file, "its suite's index does not have it"))?));
        }
        Ok(sources)
    }
}

fn unclear(file: &PackagePin, reason: &str) -> fetch::Error {
    fetch::Error::Malformed { url: format!("{}:{}", file.archive, file.path), reason: reason.to_owned() }
}

/// The code name under which the tracker knows a suite: that of its first pocket, without `-security`, `/updates` and
/// the like.
fn release(suite: &Suite) -> &str {
    let first = suite.pockets.first().map_or("", |pocket| &pocket.suite);
    first.split(['-', '/']).next().unwrap_or(first)
}

//! Takes a bundle apart: the project into a folder, fetched files into the store, results where they are trusted.

use std::io::Read;

use super::{Error, PipelineError, pack, results};
use crate::base::event::{Activity, Event, Outcome, Sink, next_id};
use crate::base::{Arch, Cancel, Digest};
use crate::bundle::{self, Check, Listing, Member, Reader, Take};
use crate::fetch::{self, oci};
use crate::plan::{Fetch, Plan, Work};
use crate::store::{Scratch, Store, Taken};

/// Whose results are taken.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Public keys, as listings name them.
    pub keys: Vec<String>,
    /// Whether nobody needs to have signed them.
    pub unsigned: bool,
}

impl Trust {
    fn covers(&self, listing: &Listing) -> bool {
        self.unsigned || listing.signed_by.as_ref().is_some_and(|key| self.keys.contains(key))
    }
}

/// A bundle that was taken apart.
#[derive(Debug)]
pub struct Opened {
    /// The project; gone when this is dropped.
    pub folder: Scratch,
    /// What the bundle is for, and what is in it.
    pub listing: Listing,
    /// What became of its results.
    pub results: Results,
}

/// What became of a bundle's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Results {
    /// It has none.
    None,
    /// So many were taken.
    Taken(usize),
    /// They were left alone: nobody signed them.
    Unsigned,
    /// They were left alone: who signed them is not trusted.
    Untrusted,
}

/// Takes bundles apart, earlier ones first; the last one is what is built. `inputs` have names, for errors.
pub fn open(
    inputs: Vec<(String, Box<dyn Read>)>,
    trust: &Trust,
    check: &Check<'_>,
    store: &Store,
    events: &dyn Sink,
    cancel: &Cancel,
) -> Result<Opened, PipelineError> {
    let mut opened = None;
    for (name, input) in inputs {
        let reader = Reader::open(input, &name, check, cancel)?;
        let folder = store.scratch()?;
        let (listing, results) = take_in(reader, &name, trust, store, &folder, events)?;
        opened = Some(Opened { folder, listing, results });
    }
    Ok(opened.expect("at least one bundle is given"))
}

/// Reads an earlier bundle's listing.
pub fn since(path: &std::path::Path, check: &Check<'_>, cancel: &Cancel) -> Result<Listing, PipelineError> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = fs_err::File::open(path).map_err(failed)?;
    let reader = Reader::open(file, &path.display().to_string(), check, cancel)?;
    Ok(reader.listing().clone())
}

fn take_in(
    reader: Reader<'_, Box<dyn Read>>,
    name: &str,
    trust: &Trust,
    store: &Store,
    folder: &Scratch,
    events: &dyn Sink,
) -> Result<(Listing, Results), PipelineError> {
    let is_trusted = trust.covers(reader.listing());
    let signed_by = reader.listing().signed_by.clone();
    let mut given = Given::default();
    let take = |member: &Member| match member {
        _ if member.project().is_some() => Take::Give,
        _ if member.source.is_some() => Take::Store,
        _ if !is_trusted || member.executable => Take::Check,
        _ if member.tree().is_some() || member.path == bundle::RESULTS => Take::Give,
        _ => Take::Store,
    };
    let mut give = |member: &Member, bytes: Vec<u8>| -> Result<(), bundle::Error> {
        if let Some(path) = member.project() {
            given.failed =
                given.failed.take().or(pack::place(folder.path(), path, &bytes, member.executable).err());
        } else if let Some(root) = member.tree() {
            store.put_tree_message(&root, &bytes)?;
        } else {
            given.results = Some(bytes);
        }
        Ok(())
    };
    let id = next_id();
    let (kind, total) = (Activity::Unpack, Some(reader.listing().size()));
    events.emit(Event::Started { id, kind, name: name.to_owned(), total });
    let mut progress = |done| events.emit(Event::Progress { id, done });
    let read = reader.members(Some(store), &take, &mut give, &mut progress);
    let outcome = if read.is_ok() { Outcome::Done } else { Outcome::Failed };
    events.emit(Event::Finished { id, outcome, detail: String::new() });
    let listing = read?;
    if let Some(error) = given.failed {
        return Err(error);
    }
    lies_here(&listing, name, is_trusted, store)?;
    let has_results = listing.members.iter().any(|member| member.path == bundle::RESULTS);
    let results = match given.results {
        Some(bytes) => {
            let wrong = |why| Error::Results { bundle: name.to_owned(), why };
            let results = results::parse(&bytes, store).map_err(wrong)?;
            let count = results.len();
            store.take(&Taken { from: format!("bundle {}", listing.hash().oci()), signed_by, results })?;
            Results::Taken(count)
        }
        None if !has_results => Results::None,
        None if signed_by.is_none() => Results::Unsigned,
        None => Results::Untrusted,
    };
    Ok((listing, results))
}

/// What a bundle's reader gave.
#[derive(Default)]
struct Given {
    results: Option<Vec<u8>>,
    failed: Option<PipelineError>,
}

/// Looks for what only an earlier bundle has.
fn lies_here(listing: &Listing, name: &str, is_trusted: bool, store: &Store) -> Result<(), Error> {
    let Some(since) = &listing.since else { return Ok(()) };
    let is_lacking = |member: &&Member| match member.tree() {
        // Whether it is whole is seen with the results.
        Some(_) => false,
        None => {
            let digest = Digest { hash: member.sha256, size: member.size };
            (is_trusted || member.source.is_some()) && !store.has_blob(&digest)
        }
    };
    match listing.elsewhere.iter().find(is_lacking) {
        Some(member) => {
            let (bundle, member) = (name.to_owned(), member.name());
            Err(Error::Earlier { bundle, since: since.listing, member })
        }
        None => Ok(()),
    }
}

/// Holds a bundle to having what a plan fetches, and this machine to being one that it is for.
pub fn lacking(
    name: &str,
    listing: &Listing,
    plan: &Plan,
    context: &fetch::Context<'_>,
) -> Result<(), PipelineError> {
    let mut lacking = Vec::new();
    for step in &plan.steps {
        let label = || step.labels[0].to_string();
        match &step.work {
            Work::Fetch(fetch) => {
                let is_there = match fetch {
                    Fetch::Source { pin, .. } => pin.present(context.store).is_some(),
                    Fetch::Debian { pin, .. } => context.store.has_blob(&pin.digest()),
                };
                if !is_there {
                    lacking.push((fetch.name(), label()));
                }
            }
            Work::Base { digest, arch, reference } => {
                match oci::manifest(reference, digest, *arch, context) {
                    Err(fetch::Error::Offline { who }) => lacking.push((who, label())),
                    Err(error) => return Err(error.into()),
                    Ok(base) => {
                        let layers = base.layers.iter().map(|layer| layer.digest);
                        let absent = layers.filter(|layer| !context.store.has_blob(layer));
                        lacking.extend(absent.map(|layer| (reference.at(layer.hash).to_string(), label())));
                    }
                }
            }
            _ => {}
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let own = plan.host;
    let is_for = |host: &String| host.parse::<Arch>().is_ok_and(|arch| arch == own);
    if !listing.hosts.iter().any(is_for) {
        let hosts = listing.hosts.join(" or ");
        return Err(Error::Host { bundle: name.to_owned(), hosts, arch: own }.into());
    }
    Err(Error::Lacking { bundle: name.to_owned(), lacking }.into())
}

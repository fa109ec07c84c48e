//! `nodeimg bundle` and `nodeimg build --bundle`: a build's whole input in one file.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arguments::{Build, Bundle, BundleCommand, CreateBundle};
use super::build::realising;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::{host, text, verify_bundle};
use crate::attest::{PublicKey, SigningKey};
use crate::base::Arch;
use crate::base::event::{Event, Sink as _};
use crate::bundle::{self, Listing};
use crate::lock::Elsewhere;
use crate::pipeline::bundle::{Opened, Order, Results, Trust};
use crate::pipeline::{self, bundle as bundles};
use crate::plan::Plan;
use crate::recipe::{Id, Project};
use crate::store::Store;

pub(super) fn run(session: &Session, command: &Bundle) -> Result<i32, Failure> {
    match &command.command {
        BundleCommand::Create(command) => create(session, command),
        BundleCommand::Verify(command) => verify_bundle::run(session, command),
    }
}

fn create(session: &Session, command: &CreateBundle) -> Result<i32, Failure> {
    let programs = programs(&command.program)?;
    let key = command.key.as_deref().map(SigningKey::read).transpose()?;
    let since = command.since.as_deref();
    let check = bundles::check;
    let since = since.map(|path| bundles::since(path, &check, &session.cancel)).transpose()?;
    let sandbox = session.sandbox(&command.running)?;
    let project = session.project()?;
    let targets = project.targets(&command.targets)?;
    let platforms = Session::platforms(&command.platforms.platform)?;
    let (store, network) = (session.store()?, session.network()?);
    let context = realising(session, &*sandbox, &store, &network, command.running.jobs, false);
    let order = Order {
        targets: &targets,
        wanted: &platforms.wanted,
        programs: &programs,
        with_results: !command.without_cached_results,
        since: since.as_ref(),
        signed_by: key.as_ref().map(|key| key.public().to_pem()),
    };
    let packed = bundles::pack(&project, &order, &context)?;
    let signature = key.map(|key| bundles::sign(&packed.listing, &key));
    let parts = bundle::Parts {
        listing: &packed.listing,
        signature: signature.as_deref(),
        contents: &packed.contents,
        store: &store,
        events: &session.progress,
        cancel: &session.cancel,
    };
    if command.output == Path::new("-") {
        bundle::stream(&mut std::io::stdout().lock(), &parts)?;
        return Ok(0);
    }
    let written = bundle::create(&command.output, &parts)?;
    session.progress.finish();
    if session.common.json {
        let mut document = listed(&packed.listing);
        document["file"] = json!(command.output);
        document["size"] = json!(written.size);
        document["resumed"] = json!(written.resumed);
        text::json(&document)?;
    } else if !session.common.quiet {
        let size = text::size(written.size);
        summary(&command.output, &packed.listing, &size).iter().for_each(|line| session.progress.line(line));
        if written.resumed > 0 {
            let had = text::size(written.resumed);
            session.progress.line(&format!("{:>10} {had} were there already", "resumed"));
        }
        let file = command.output.display();
        session.progress.line(&format!("{:>10} nodeimg bundle verify {file}", "next"));
    }
    Ok(0)
}

/// Finds the programs that go in: those that were named, else this one.
fn programs(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let own = host::program().ok_or(Problem::NoProgram)?;
    match bundle::architecture(&own) {
        Ok(_) => Ok(vec![own]),
        Err(_) => {
            let machine = Arch::host().ok_or(Problem::Architecture)?.machine();
            Err(pipeline::Error::from(bundles::Error::NoProgram { machine }).into())
        }
    }
}

/// Says what is in a bundle.
fn summary(file: &Path, listing: &Listing, size: &str) -> Vec<String> {
    let of = |is: &dyn Fn(&bundle::Member) -> bool| {
        let found = listing.members.iter().filter(|member| is(member));
        found.fold((0, 0), |(count, bytes), member| (count + 1, bytes + member.size))
    };
    let told = |(count, bytes): (usize, u64), word: &str| {
        (count > 0).then(|| format!("{}, {}", text::count(count, word), text::size(bytes)))
    };
    let sources = of(&|member| member.source.is_some());
    let results = of(&|member| {
        member.source.is_none() && (member.path.starts_with("blobs/") || member.path.starts_with("trees/"))
    });
    let mut lines = vec![
        format!("{:>10} {}", "bundle", file.display()),
        format!("{:>10} {}", "digest", listing.hash().oci()),
        format!("{:>10} {size}", "size"),
        format!("{:>10} {}", "for", listing.targets.join(", ")),
        format!("{:>10} {}", "on", listing.hosts.join(", ")),
    ];
    lines.extend(told(sources, "file").map(|text| format!("{:>10} {text}", "sources")));
    lines.extend(told(results, "file").map(|text| format!("{:>10} {text}", "results")));
    if let Some(since) = &listing.since {
        let left = listing.elsewhere.iter().map(|member| member.size).sum();
        let count = text::count(listing.elsewhere.len(), "file");
        lines.push(format!("{:>10} {count}, {}: in {}", "left out", text::size(left), since.listing.oci()));
    }
    let key = listing.signed_by.as_ref().and_then(|key| key.parse::<PublicKey>().ok());
    lines.extend(key.map(|key| format!("{:>10} key {}", "signed", key.id())));
    lines
}

fn listed(listing: &Listing) -> Value {
    json!({
        "digest": listing.hash().oci(),
        "targets": listing.targets,
        "platforms": listing.platforms,
        "hosts": listing.hosts,
        "members": listing.members.len(),
        "since": listing.since.as_ref().map(|since| since.listing.oci()),
        "elsewhere": listing.elsewhere.len(),
    })
}

/// Takes the bundles apart that a build is made out of, if it is.
pub(super) fn open(session: &Session, command: &Build, store: &Store) -> Result<Option<Opened>, Failure> {
    let Some(last) = command.bundle.last() else { return Ok(None) };
    if command.locking.lock.as_ref().is_some_and(|elsewhere| !elsewhere.is_empty()) {
        return Err(Problem::OwnLock(last.display().to_string()).into());
    }
    let trust = match command.from_sources {
        true => Trust::default(),
        false => Trust { keys: host::trusted_keys()?, unsigned: command.trust_unsigned },
    };
    let mut inputs = Vec::new();
    for path in &command.bundle {
        inputs.push(input(path)?);
    }
    let (events, cancel) = (&session.progress, &session.cancel);
    let opened = bundles::open(inputs, &trust, &bundles::check, store, events, cancel)?;
    let (why, way) = match opened.results {
        _ if command.from_sources => return Ok(Some(opened)),
        Results::None | Results::Taken(_) => return Ok(Some(opened)),
        Results::Unsigned => ("nobody signed them", "`--trust-unsigned` takes them"),
        Results::Untrusted => (
            "the key that signed them is not trusted here",
            "name its file in `trusted-keys` of config.toml if it should be",
        ),
    };
    let line =
        format!("the results in `{}` are not taken, {why}: building from sources; {way}", last.display());
    session.progress.emit(Event::Warning { message: line });
    Ok(Some(opened))
}

fn input(path: &Path) -> Result<(String, Box<dyn Read>), Failure> {
    if path == Path::new("-") {
        return Ok(("stdin".to_owned(), Box::new(std::io::stdin().lock())));
    }
    let failed = |source| bundles::Error::Io { action: "read", path: path.to_owned(), source };
    let file = fs_err::File::open(path).map_err(failed).map_err(pipeline::Error::from)?;
    Ok((path.display().to_string(), Box::new(file)))
}

/// Plans what a bundle is for, or what else was asked for of its project.
pub(super) fn plan(
    session: &Session,
    command: &Build,
    opened: &Opened,
    store: &Store,
) -> Result<(Project, Vec<Id>, Plan), Failure> {
    let listing = &opened.listing;
    let asked = if command.targets.is_empty() { &listing.targets } else { &command.targets };
    let project = pipeline::load(opened.folder.path())?;
    let targets = project.targets(asked)?;
    let platforms = match command.platforms.platform.as_slice() {
        [] => Session::platforms(&listing.platforms)?,
        asked => Session::platforms(asked)?,
    };
    let needed = pipeline::with_emulator(&project, &targets, &platforms);
    let locked = pipeline::locked(&project, &needed, &Elsewhere::new())?;
    let plan = pipeline::plan(&project, &locked, &targets, &platforms, store)?;
    let network = crate::fetch::Network::offline();
    let name = command.bundle.last().map(|path| path.display().to_string()).unwrap_or_default();
    bundles::lacking(&name, listing, &plan, &session.fetching(&network, store))?;
    Ok((project, targets, plan))
}

/// Says what was taken out of a bundle.
pub(super) fn document(opened: &Opened) -> Value {
    let taken = match opened.results {
        Results::Taken(count) => count,
        _ => 0,
    };
    json!({ "digest": opened.listing.hash().oci(), "results": taken })
}

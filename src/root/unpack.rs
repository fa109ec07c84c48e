//! Packages become one unconfigured root.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::package::{Part, take_apart};
use super::{Error, database, merge};
use crate::base::event::{Activity, Event, Outcome, Sink, next_id};
use crate::base::{Cancel, Digest, GuestPath};
use crate::store::{Dir, Node, Store, Tree};

/// A package that is a blob of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'a> {
    /// What its file is called, for messages: `libacl1_2.3.1-3_amd64.deb`.
    pub file: &'a str,
    /// Its content.
    pub digest: Digest,
}

/// At most this many packages are taken apart at once: a decoder of xz may want 65 MiB.
const AT_ONCE: usize = 8;

/// What configuring can't do without; a root that lacks one would fail with a riddle.
const TOOLS: [&str; 2] = ["/usr/bin/sh", "/usr/bin/dpkg"];

/// Unpacks packages into a root, as `dpkg --unpack` would: dpkg's database says `unpacked` of each, and nothing
/// of them has been run. The order of the packages does not matter.
///
/// A package that the store has taken apart before is not read again.
pub fn unpack(
    store: &Store,
    packages: &[Package],
    events: &dyn Sink,
    cancel: &Cancel,
) -> Result<Tree, Error> {
    let mut parts = take_all_apart(store, packages, events, cancel)?;
    parts.sort_by(|a, b| {
        let key = |part: &Part| (part.name != "base-files", part.name.clone(), part.arch.clone());
        key(a).cmp(&key(b))
    });
    if let Some(pair) = parts.windows(2).find(|pair| {
        pair[0].name == pair[1].name
            && !(pair[0].is_shared && pair[1].is_shared && pair[0].arch != pair[1].arch)
    }) {
        return Err(Error::Twice { one: pair[0].file.clone(), other: pair[1].file.clone() });
    }
    let mut merged = merge::merge(&parts)?;
    for tool in TOOLS {
        if !is_there(&merged.tree, tool) {
            return Err(Error::NoTool { tool });
        }
    }
    database::write(store, &parts, &mut merged)?;
    Ok(merged.tree)
}

fn is_there(tree: &Dir, path: &str) -> bool {
    let path = GuestPath::new(path).expect("a constant");
    matches!(tree.get(&path), Some(Node::File { .. } | Node::Symlink { .. }))
}

fn take_all_apart(
    store: &Store,
    packages: &[Package],
    events: &dyn Sink,
    cancel: &Cancel,
) -> Result<Vec<Part>, Error> {
    // The largest first: else the last thread works alone on it.
    let mut queue: Vec<&Package> = packages.iter().collect();
    queue.sort_by_key(|package| std::cmp::Reverse((package.digest.size, package.file)));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Vec::new());
    let work = || -> Result<(), Error> {
        while !failed.load(Ordering::Relaxed) {
            let Some(package) = queue.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let part = told(store, package, events, cancel)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            done.lock().expect("no thread panics with it").push(part);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(AT_ONCE));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(packages.len())).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(done.into_inner().expect("no thread panics with it"))
}

/// Takes one package apart and tells of it, unless nothing was to do.
fn told(store: &Store, package: &Package, events: &dyn Sink, cancel: &Cancel) -> Result<Part, Error> {
    let id = next_id();
    let started = || Event::Started {
        id,
        kind: Activity::Unpack,
        name: package.file.to_owned(),
        total: Some(package.digest.size),
    };
    let ended = |outcome| Event::Finished { id, outcome, detail: String::new() };
    if let Some(part) = super::package::known(store, package)? {
        return Ok(part);
    }
    // Another root, or another nodeimg, may have it in hand.
    let _alone = store.lock_unless(&super::package::key(package), cancel, &mut || {})?;
    if let Some(part) = super::package::known(store, package)? {
        return Ok(part);
    }
    events.emit(started());
    let result = take_apart(store, package, cancel);
    events.emit(ended(match &result {
        Ok(_) => Outcome::Done,
        Err(Error::Cancelled) => Outcome::Stopped,
        Err(_) => Outcome::Failed,
    }));
    result
}

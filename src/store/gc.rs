//! Removes what nobody keeps, uses or used lately.
//!
//! Every object has a last use (see the module doc of the store). A root's use is always, as long as its project's
//! directory is there. A tree lends its
//! use to its blobs and to the records that speak of it, a record lends its own to its tree and log. So
//! what is pointed at was never used longer ago than what points at it, and removing by age, records
//! first and blobs last, never breaks anything that stays, even if it is killed half way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::blob::Temp;
use super::error::At;
use super::inventory::{Count, Kind, Object};
use super::lock::{Wait, flock};
use super::scratch::{remove_tree, sweep};
use super::{Error, Store, encode, open_dir};
use crate::base::{Cancel, Digest, Sha256};

/// What to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collect {
    /// Removes what was not used for so long; zero removes all that no root reaches.
    pub unused_for: Duration,
    /// Then removes what was used longest ago until no more than so many bytes are left.
    pub max_bytes: Option<u64>,
    /// Only tells what would be removed.
    pub dry_run: bool,
}

/// What was collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// What was removed (or would be), by kind.
    pub removed: BTreeMap<Kind, Count>,
    /// What is left.
    pub kept: Count,
}

/// The use of what a root keeps.
const ALWAYS: i128 = i128::MAX;

impl Store {
    /// Removes what no root reaches and nobody used lately.
    ///
    /// Nobody else may use the store meanwhile ([`Error::InUse`]); whoever opens it waits.
    pub fn gc(&mut self, what: &Collect, cancel: &Cancel) -> Result<Collected, Error> {
        if flock(&self.users, Wait::AloneNow).is_err() {
            // A failed change of a lock may lose it.
            flock(&self.users, Wait::Shared).at("lock", &self.path)?;
            return Err(Error::InUse { path: self.path.clone() });
        }
        let result = self.collect(what, cancel);
        flock(&self.users, Wait::Shared).at("lock", &self.path)?;
        result
    }

    fn collect(&self, what: &Collect, cancel: &Cancel) -> Result<Collected, Error> {
        self.sync()?;
        if !what.dry_run {
            sweep(&self.path.join("tmp"))?;
            super::lock::sweep(&self.path.join("locks"))?;
        }
        if !what.dry_run {
            for root in self.roots()?.iter().filter(|root| root.is_abandoned()) {
                self.keep(&root.name, &[])?;
            }
        }
        let mut objects = self.aged(cancel)?;
        // Stable: within one age, in the order of kinds.
        objects.sort_by_key(|object| (object.used, object.kind));
        let cutoff = self.now()?.saturating_sub(what.unused_for.as_nanos() as i128);
        let mut left: u64 = objects.iter().map(|object| object.bytes).sum();
        let mut collected = Collected::default();
        let mut doomed = Vec::new();
        for object in objects {
            let old = object.used <= cutoff || what.max_bytes.is_some_and(|max| left > max);
            if old && object.used != ALWAYS && !self.is_checked_out(&object) {
                left -= object.bytes;
                collected.removed.entry(object.kind).or_default().add(object.bytes);
                doomed.push(object);
            } else {
                collected.kept.add(object.bytes);
            }
        }
        if !what.dry_run {
            doomed.sort_by_key(|object| object.kind);
            for object in &doomed {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                match object.kind {
                    Kind::Checkout => remove_tree(&object.path)?,
                    _ => fs_err::remove_file(&object.path).at("remove", &object.path)?,
                }
            }
            self.inspected.lock().expect("no thread panics with it").clear();
            self.forget_taken()?;
        }
        Ok(collected)
    }

    /// Every object with the use that it has by itself or is lent.
    fn aged(&self, cancel: &Cancel) -> Result<Vec<Object>, Error> {
        let mut used: BTreeMap<Sha256, i128> = BTreeMap::new();
        let mut lend = |hash: Sha256, time: i128| {
            let entry = used.entry(hash).or_insert(time);
            *entry = time.max(*entry);
        };
        let roots = self.roots()?.into_iter().filter(|root| !root.is_abandoned());
        for digest in roots.flat_map(|root| root.digests) {
            lend(digest.hash, ALWAYS);
        }
        let mut records = self.objects(Kind::Action)?;
        records.extend(self.objects(Kind::Memo)?);
        let mut speaks_of = Vec::new();
        for record in &records {
            let (target, log) = self.targets(record)?;
            speaks_of.push((target, log));
            target.into_iter().for_each(|digest| lend(digest.hash, record.used));
        }
        let mut trees = self.objects(Kind::Tree)?;
        for tree in &trees {
            lend(tree.hash, tree.used);
        }
        for (record, (target, log)) in records.iter_mut().zip(speaks_of) {
            if let Some(time) = target.and_then(|digest| used.get(&digest.hash)) {
                record.used = record.used.max(*time);
            }
            if let Some(log) = log {
                let entry = used.entry(log.hash).or_insert(record.used);
                *entry = record.used.max(*entry);
            }
        }
        for tree in &mut trees {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            tree.used = used[&tree.hash];
            let message = fs_err::read(&tree.path).at("read", &tree.path)?;
            match encode::decode_any(&message, &tree.hash) {
                Ok((_, decoded)) => {
                    for (_, blob, _) in decoded.files() {
                        let entry = used.entry(blob.hash).or_insert(tree.used);
                        *entry = tree.used.max(*entry);
                    }
                }
                // Of no use to anyone.
                Err(_) => tree.used = i128::MIN,
            }
        }
        let mut objects = records;
        objects.append(&mut trees);
        objects.extend(self.objects(Kind::Checkout)?);
        for mut blob in self.objects(Kind::Blob)? {
            blob.used = used.get(&blob.hash).map_or(blob.used, |time| blob.used.max(*time));
            objects.push(blob);
        }
        Ok(objects)
    }

    /// The artifact and the log that a record speaks of. A use by GC is no use.
    fn targets(&self, record: &Object) -> Result<(Option<Digest>, Option<Digest>), Error> {
        let bytes = fs_err::read(&record.path).at("read", &record.path)?;
        Ok(match record.kind {
            Kind::Action => match super::action::parse_result(&bytes, self.boot.as_deref()) {
                Some(result) => (Some(result.tree), result.log),
                None => (None, None),
            },
            _ => (super::action::parse_memo(&bytes, self.boot.as_deref()), None),
        })
    }

    /// Whether somebody in this process holds the checkout.
    fn is_checked_out(&self, object: &Object) -> bool {
        object.kind == Kind::Checkout
            && open_dir(rustix::fs::CWD, &object.path).is_ok_and(|dir| flock(&dir, Wait::AloneNow).is_err())
    }

    /// The file system's time, in nanoseconds.
    fn now(&self) -> Result<i128, Error> {
        let temp = Temp::create(self)?;
        // Since Linux 6.13 a file's times are of a fine clock if somebody looked at them since their last change, and of
        // a tick's begin if not: a use that was noted after a look may be ahead of a file that nobody looked at.
        rustix::fs::fstat(&temp.file).at("read", &self.path)?;
        rustix::fs::futimens(&temp.file, &super::USED_NOW).at("write", &self.path)?;
        let stat = rustix::fs::fstat(&temp.file).at("read", &self.path)?;
        Ok(i128::from(stat.st_atime) * 1_000_000_000 + i128::from(stat.st_atime_nsec))
    }
}

//! Two archives with the same files in them: what else is in an archive.

use std::collections::BTreeMap;
use std::io::Read;

use crate::base::Cancel;
use crate::diff::{Detail, Error};
use crate::store::Store;
use crate::unpack::{self, Header};

/// So many entries are named.
const NAMED: usize = 20;

/// Says what differs in the entries of two layers whose trees are equal.
pub(super) fn compare(
    store: &Store,
    (name, before): (&str, impl Read),
    (other, now): (&str, impl Read),
    cancel: &Cancel,
) -> Result<Vec<Detail>, Error> {
    let old = unpack::headers(before, name, store, cancel)?;
    let new = unpack::headers(now, other, store, cancel)?;
    let mut details = differing(&old, &new);
    if details.is_empty() {
        // GNU or ustar headers, a padding of another length, a device that no tree holds.
        details.push(Detail::value("the form of the archive", None, None));
    }
    Ok(details)
}

fn differing(old: &[Header], new: &[Header]) -> Vec<Detail> {
    let mut details = Vec::new();
    let names = |headers: &[Header]| headers.iter().map(|header| header.name.clone()).collect::<Vec<_>>();
    let (was, is) = (names(old), names(new));
    if was != is {
        match Detail::sets("entries", &was, &is) {
            Some(detail) => details.push(detail),
            None => {
                let at = was.iter().zip(&is).position(|(was, is)| was != is).unwrap_or_default();
                details.push(Detail::changed(format!("order, from entry {}", at + 1), &was[at], &is[at]));
            }
        }
    }
    let by_name: BTreeMap<&str, &Header> = old.iter().map(|header| (header.name.as_str(), header)).collect();
    let mut more = 0;
    for header in new {
        let Some(old) = by_name.get(header.name.as_str()) else { continue };
        let mut found = Vec::new();
        if old.time != header.time {
            found.push(Detail::changed(
                format!("time of {}", header.name),
                time(old.time),
                time(header.time),
            ));
        }
        if old.owner != header.owner {
            found.push(Detail::changed(
                format!("owner's name of {}", header.name),
                &old.owner,
                &header.owner,
            ));
        }
        if old.records != header.records {
            let shown = |header: &Header| {
                let record = |(key, value): &(String, String)| format!("{key}={}", value.escape_debug());
                header.records.iter().map(record).collect::<Vec<_>>().join(" ")
            };
            found.push(Detail::changed(format!("attributes of {}", header.name), shown(old), shown(header)));
        }
        let room = NAMED.saturating_sub(details.len());
        more += found.len().saturating_sub(room);
        details.extend(found.into_iter().take(room));
    }
    if more > 0 {
        details.push(Detail::value(format!("{more} more"), None, None));
    }
    details
}

/// Writes a time as people do, in UTC.
fn time(seconds: u64) -> String {
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    stamp.map_or_else(|| seconds.to_string(), |stamp| stamp.to_string())
}

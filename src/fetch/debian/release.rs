//! A pocket's `InRelease`: fetched, verified, held against the suite's moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pgp::composed::SignedPublicKey;

use super::{Error, NOW, Pocket, signature};
use crate::base::Sha256;
use crate::fetch::network::public;
use crate::fetch::{self, Context};

/// No release file is larger; Debian's are below 300 kB.
const LARGEST: usize = 4 << 20;

/// What a release file says that is of use here.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) hash: Sha256,
    pub(super) signer: String,
    /// Whether files can be had by their hash as well (`Acquire-By-Hash`).
    pub(super) by_hash: bool,
    /// Size and hash of each file, by path below the pocket's folder.
    pub(super) files: BTreeMap<String, (u64, Sha256)>,
    names: Vec<String>,
    pub(super) date: Timestamp,
    until: Option<Timestamp>,
}

/// What the places of a pocket's release gave.
pub(super) enum Found {
    /// The release in force at the moment.
    Release(Box<Release>),
    /// Newer ones only, by place; and what kept other places from answering.
    Newer(Vec<(String, Timestamp)>, Vec<(String, String)>),
}

/// Finds the release that was in force at `at`. A place whose release is newer is passed over, even if it has
/// an older state too: what such a release names may be missing in the snapshot of the moment.
pub(super) fn find(
    pocket: &Pocket,
    moment: &str,
    at: Timestamp,
    keys: &[SignedPublicKey],
    context: &Context<'_>,
) -> Result<Found, fetch::Error> {
    let file = format!("{}:dists/{}/InRelease", pocket.archive, pocket.suite);
    let places = context.network.places(&file, Some(moment));
    if places.is_empty() {
        context.network.get_small(&file, &places, context)?;
    }
    let (mut newer, mut expired, mut tried) = (Vec::new(), None, Vec::new());
    for place in places {
        let bytes = match context.network.get_small(&file, std::slice::from_ref(&place), context) {
            Ok(bytes) => bytes,
            Err(fetch::Error::Nowhere { tried: more, .. }) => {
                tried.extend(more);
                continue;
            }
            Err(error) => return Err(error),
        };
        let url = public(&place);
        let release = read_of(pocket, &url, &bytes, keys)?;
        if release.date > at {
            newer.push((url, release.date));
            continue;
        }
        match release.until.filter(|until| *until < at) {
            Some(until) => {
                let moment = moment.to_owned();
                expired.get_or_insert(Error::Expired { url, moment, until: self::moment(until) });
            }
            None => return Ok(Found::Release(Box::new(release))),
        }
    }
    match expired {
        _ if !newer.is_empty() => Ok(Found::Newer(newer, tried)),
        Some(error) => Err(error.into()),
        None => Err(fetch::Error::Nowhere { who: file, tried }),
    }
}

/// Finds the newest release of a pocket: the one of the first mirror that answers; snapshot.debian.org's where the host
/// has none.
pub(super) fn newest(
    pocket: &Pocket,
    keys: &[SignedPublicKey],
    context: &Context<'_>,
) -> Result<Release, fetch::Error> {
    let file = format!("{}:dists/{}/InRelease", pocket.archive, pocket.suite);
    let places = context.network.places(&file, Some(NOW));
    let bytes = context.network.get_small(&file, &places, context)?;
    read_of(pocket, &file, &bytes, keys)
}

/// Verifies and parses a release file, which must be the pocket's.
fn read_of(
    pocket: &Pocket,
    url: &str,
    bytes: &[u8],
    keys: &[SignedPublicKey],
) -> Result<Release, fetch::Error> {
    let release = read(url, bytes, keys)?;
    if !release.names.contains(&pocket.suite) {
        let reason = format!("it is the release of `{}`", release.names.join("`, `"));
        return Err(fetch::Error::Malformed { url: url.to_owned(), reason });
    }
    Ok(release)
}

/// Verifies and parses a release file.
fn read(url: &str, bytes: &[u8], keys: &[SignedPublicKey]) -> Result<Release, fetch::Error> {
    let wrong = |reason: &str| fetch::Error::Malformed { url: url.to_owned(), reason: reason.to_owned() };
    if bytes.len() > LARGEST {
        return Err(wrong("it is larger than any release file"));
    }
    let signed = signature::verify(url, bytes, keys, |text| date(field(text, "Date")?))?;
    let text = signed.text.as_str();
    // A second paragraph would be another release.
    if text.trim_end().lines().any(str::is_empty) {
        return Err(wrong("it has more than one paragraph"));
    }
    let until = match field(text, "Valid-Until") {
        Some(until) => Some(date(until).ok_or_else(|| wrong("`Valid-Until` is no date"))?),
        None => None,
    };
    let mut files = BTreeMap::new();
    let list = text.lines().skip_while(|line| *line != "SHA256:").skip(1);
    for line in list.take_while(|line| line.starts_with(' ')) {
        let mut words = line.split_ascii_whitespace();
        let mut entry = || {
            let hash = words.next()?.parse().ok()?;
            let size = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), (size, hash)))
        };
        let (path, file) = entry().ok_or_else(|| wrong("`SHA256` has a line that is no file"))?;
        files.insert(path, file);
    }
    Ok(Release {
        hash: Sha256::of(bytes),
        by_hash: field(text, "Acquire-By-Hash") == Some("yes"),
        names: ["Codename", "Suite"].iter().filter_map(|name| field(text, name)).map(str::to_owned).collect(),
        date: field(text, "Date").and_then(date).ok_or_else(|| wrong("it has no date"))?,
        signer: signed.signer,
        until,
        files,
    })
}

/// Gives a field of one line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_ascii()))
}

/// Reads `Sat, 11 Jul 2026 10:16:37 UTC`.
fn date(text: &str) -> Option<Timestamp> {
    utc("%a, %d %b %Y %H:%M:%S UTC", text)
}

/// Reads `20261122T120000Z`.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, Error> {
    utc("%Y%m%dT%H%M%SZ", text).ok_or_else(|| Error::NotAMoment { text: text.to_owned() })
}

fn utc(form: &str, text: &str) -> Option<Timestamp> {
    Some(DateTime::strptime(form, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Writes a time as snapshot.debian.org does.
pub(super) fn moment(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A moment whose snapshot surely has a release of this date: the service looks at the archives a few times
/// a day.
pub(super) fn after(date: Timestamp) -> Timestamp {
    let later = date.as_second() + 6 * 3600;
    Timestamp::from_second(later + (-later).rem_euclid(3600)).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_are_utc() {
        let read = date("Sat, 11 Jul 2026 10:16:37 UTC").unwrap();
        assert_eq!(moment(read), "20260711T101637Z");
        assert_eq!(parse_moment("20260711T101637Z").unwrap(), read);
        assert_eq!(date("Sat, 11 Jul 2026 10:16:37 +0200"), None);
        assert_eq!(date("Sun, 11 Jul 2026 10:16:37 UTC"), None);
        let error = parse_moment("20260230T000000Z").unwrap_err();
        assert_eq!(error.to_string(), "`20260230T000000Z` is no moment");
    }

    #[test]
    fn a_later_moment_is_a_full_hour() {
        assert_eq!(moment(after(date("Sat, 11 Jul 2026 10:16:37 UTC").unwrap())), "20260711T170000Z");
        assert_eq!(moment(after(date("Sat, 11 Jul 2026 20:00:00 UTC").unwrap())), "20260712T020000Z");
    }
}

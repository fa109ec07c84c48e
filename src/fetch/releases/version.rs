//! The order of upstreams' versions, which follow no one rule.
//!
//! Each is rewritten so that Debian's order (policy 5.6.12), which knows earlier (`~`) and later, is right for it:
//! `1.2-rc1` becomes `1.2~rc1`, `7.1-43` becomes `7.1.43`, `1.1.1w` stays.

/// What comes before the version that it stands behind.
const EARLY: [&str; 11] =
    ["alpha", "beta", "canary", "dev", "m", "milestone", "nightly", "pre", "preview", "rc", "snapshot"];

/// A version that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    order: debversion::Version,
    /// Whether it is to become the version that its beginning says.
    is_early: bool,
    /// Whether it says more behind a `+`, as what was repacked or built again does.
    is_marked: bool,
}

impl Version {
    /// Reads a version; nothing where it is none, or one of a variant (`1.2-windows`).
    fn read(text: &str) -> Option<Self> {
        let (text, mark) = text.split_once('+').map_or((text, None), |(text, mark)| (text, Some(mark)));
        let mut order = String::new();
        let mut is_early = false;
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let separator = matches!(first, '-' | '_' | '~').then_some(first);
            rest = rest.strip_prefix(['-', '_', '~']).unwrap_or(rest);
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if word.is_empty() {
                let end = behind.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(behind.len());
                let (number, behind) = behind.split_at(end);
                // Two separators, or something that no version has.
                if number.is_empty() {
                    return None;
                }
                order.extend(separator.map(|separator| if separator == '~' { '~' } else { '.' }));
                is_early |= separator == Some('~');
                order.push_str(number);
                rest = behind;
                continue;
            }
            let word = word.to_ascii_lowercase();
            // Python's short forms; alone they are later patches, as OpenSSL's were.
            let is_short =
                matches!(word.as_str(), "a" | "b") && behind.starts_with(|c: char| c.is_ascii_digit());
            if is_short || EARLY.contains(&word.as_str()) || separator == Some('~') {
                order.truncate(order.trim_end_matches('.').len());
                order.push('~');
                is_early = true;
            } else if separator.is_some() {
                return None;
            }
            order.push_str(&word);
            rest = behind;
        }
        if let Some(mark) = mark {
            order.push('+');
            order.push_str(mark);
        }
        let order = Some(order).filter(|order| order.starts_with(|c: char| c.is_ascii_digit()))?;
        Some(Self { order: order.parse().ok()?, is_early, is_marked: mark.is_some() })
    }
}

/// What is newer than a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Newer {
    /// The newest of all.
    pub newest: Option<String>,
    /// The newest that differs in the last of three or more numbers only, where that is another one.
    pub patch: Option<String>,
}

/// Finds what is newer among `versions`; nothing where `current` can't be compared with anything. What is to become a
/// version counts only for those who have such a one, and so does what is marked by a `+`.
pub fn newer(current: &str, versions: &[String]) -> Option<Newer> {
    let own = Version::read(current)?;
    let fits =
        |version: &Version| (own.is_early || !version.is_early) && (own.is_marked || !version.is_marked);
    let later = versions.iter().filter_map(|text| {
        let version = Version::read(text)?;
        (fits(&version) && version.order > own.order).then_some((version, text))
    });
    let mut later: Vec<_> = later.collect();
    later.sort();
    let newest = later.last().map(|(_, text)| (*text).clone());
    let line = current.rsplit_once('.').map(|(line, _)| line).filter(|line| line.contains('.'));
    let is_patch = |text: &str| {
        let rest = line.and_then(|line| text.strip_prefix(line)?.strip_prefix('.'));
        rest.is_some_and(|rest| !rest.contains('.'))
    };
    let patch = later.iter().rev().map(|(_, text)| *text).find(|text| is_patch(text)).cloned();
    Some(Newer { patch: patch.filter(|patch| newest.as_ref() != Some(patch)), newest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_upstreams_order() {
        let ordered = [
            "0.9",
            "1.0a2",
            "1.0-alpha",
            "1.0b3",
            "1.0-beta.2",
            "1.0.dev1",
            "1.0-rc.1",
            "1.0-RC.2",
            "1.0",
            "1.0p1",
            "1.0-43",
            "1.1",
            "1.1.1",
            "1.1.1a",
            "1.1.1w",
            "1.2~rc1",
            "1.2",
            "1.2+dfsg1",
            "1.10",
            "20240101",
        ];
        let read: Vec<_> = ordered.iter().map(|text| Version::read(text).unwrap()).collect();
        for (pair, texts) in read.windows(2).zip(ordered.windows(2)) {
            assert!(pair[0].order < pair[1].order, "{texts:?}");
        }
        let early: Vec<_> = ordered.iter().filter(|text| Version::read(text).unwrap().is_early).collect();
        assert_eq!(
            early,
            [
                &"1.0a2",
                &"1.0-alpha",
                &"1.0b3",
                &"1.0-beta.2",
                &"1.0.dev1",
                &"1.0-rc.1",
                &"1.0-RC.2",
                &"1.2~rc1"
            ]
        );
        for text in ["", "v1", "latest", "1.2-windows", "1..-2 3", "1/2", "1.2-", "1--2", "é", "-1", "1:2"] {
            assert!(Version::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_newest_is_told_and_the_newest_patch() {
        let newer = |current: &str, versions: &[&str]| {
            let versions: Vec<_> = versions.iter().map(|text| (*text).to_owned()).collect();
            super::newer(current, &versions).map(|found| (found.newest, found.patch))
        };
        let all = ["25.0.0", "25.0.3", "25.1.0", "36.0.0-rc1", "35.0.0", "9.0.0", "35.0.0+more", "nightly"];
        assert_eq!(newer("25.0.0", &all), Some((Some("35.0.0".into()), Some("25.0.3".into()))));
        assert_eq!(newer("35.0.0", &all), Some((None, None)));
        assert_eq!(newer("36.0.0-alpha", &all), Some((Some("36.0.0-rc1".into()), None)));
        assert_eq!(newer("34.0.0+x", &all), Some((Some("35.0.0+more".into()), None)));
        assert_eq!(newer("1.21", &["1.21", "1.26"]), Some((Some("1.26".into()), None)));
        // The newest is the newest patch.
        assert_eq!(newer("1.2.3", &["1.2.4"]), Some((Some("1.2.4".into()), None)));
        assert_eq!(newer("latest", &all), None);
    }
}

//! Debian's security tracker: which issues of a source package are fixed by which version, in which release.
//!
//! Files are taken in two forms, told apart by their first character, and add to each other:
//!
//! - the JSON of the tracker's site: `{ SOURCE: { CVE: { "releases": { RELEASE: { "status", "fixed_version",
//!   "urgency" } } } } }`, some 70 MB, of which only the wanted source packages are kept;
//! - its list of advisories, `data/DSA/list` or `data/DLA/list`:
//!
//! ```text
//! [26 Nov 2024] DSA-5816-1 openssl - security update
//!         {CVE-2024-1 CVE-2024-2}
//!         [bookworm] - openssl 3.0.15-1~deb12u1
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::Error;
use super::universe::order;

/// The release that has what upstreams have.
const UNSTABLE: &str = "sid";

/// What the tracker says of some source packages.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    /// By source package and issue.
    issues: BTreeMap<String, BTreeMap<String, Issue>>,
    /// By source package and release.
    advisories: BTreeMap<(String, String), Vec<Advisory>>,
    releases: BTreeSet<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Issue {
    #[serde(default)]
    releases: BTreeMap<String, State>,
}

/// An issue in one release.
#[derive(Debug, Clone, Deserialize)]
struct State {
    status: Status,
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Resolved,
    Open,
    /// `undetermined`, or what the tracker may say one day.
    #[serde(other)]
    Undetermined,
}

#[derive(Debug, Clone)]
struct Advisory {
    name: String,
    issues: Vec<String>,
    fixed: String,
}

/// An issue that a version has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The issue's name, `CVE-…` or `TEMP-…`; the advisory's where that names none.
    pub issue: String,
    /// The advisories that tell of its fix, `DSA-…`.
    pub advisories: Vec<String>,
    /// How urgent Debian thinks it is, where it has said so: `high`, `medium`, `low`.
    pub urgency: Option<String>,
    /// The version of the source package that fixes it; nothing where the release has none yet.
    pub fixed: Option<String>,
}

impl Tracker {
    /// Takes in what a file says of some source packages.
    pub fn read(&mut self, path: &Path, sources: &BTreeSet<String>) -> Result<(), Error> {
        let wrong = |reason: String| Error::Tracker { file: path.display().to_string(), reason };
        let file = fs_err::File::open(path).map_err(|error| Error::Tracker {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let first = input.fill_buf().map_err(|error| wrong(error.to_string()))?;
        let first = first.iter().copied().find(|byte| !byte.is_ascii_whitespace());
        match first {
            Some(b'{') => self.json(input, sources).map_err(|error| wrong(error.to_string())),
            Some(b'[') => self.list(input, sources).map_err(wrong),
            _ => Err(wrong("it is neither the tracker's JSON nor a list of advisories".to_owned())),
        }
    }

    fn json(&mut self, input: impl BufRead, sources: &BTreeSet<String>) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_reader(input);
        Sources { tracker: self, wanted: sources }.deserialize(&mut json)?;
        json.end()
    }

    fn list(&mut self, mut input: impl BufRead, sources: &BTreeSet<String>) -> Result<(), String> {
        let (mut line, mut number) = (Vec::new(), 0);
        let mut open: Option<(String, Vec<String>)> = None;
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line).map_err(|error| error.to_string())? == 0 {
                return Ok(());
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            let inner = text.trim_ascii();
            if text.starts_with('[') {
                let name = inner.split_once("] ").and_then(|(_, rest)| rest.split(' ').next());
                let name = name.filter(|name| name.contains('-'));
                let name = name.ok_or_else(|| format!("line {number} is no advisory: `{inner}`"))?;
                open = Some((name.to_owned(), Vec::new()));
            } else if let Some((name, issues)) = &mut open {
                if let Some(names) = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    issues.extend(names.split_ascii_whitespace().map(str::to_owned));
                } else if let Some((release, rest)) =
                    inner.strip_prefix('[').and_then(|rest| rest.split_once("] - "))
                {
                    let mut words = rest.split_ascii_whitespace();
                    let (Some(source), Some(fixed)) = (words.next(), words.next()) else { continue };
                    self.releases.insert(release.to_owned());
                    // `<not-affected>` and the like are no versions.
                    if sources.contains(source) && !fixed.starts_with('<') {
                        let advisory =
                            Advisory { name: name.clone(), issues: issues.clone(), fixed: fixed.to_owned() };
                        let key = (source.to_owned(), release.to_owned());
                        self.advisories.entry(key).or_default().push(advisory);
                    }
                }
            }
        }
    }

    /// Tells whether anything was said of a release.
    pub fn knows(&self, release: &str) -> bool {
        self.releases.contains(release)
    }

    /// Lists the issues that a version of a source package has in a release, by name.
    pub fn findings(&self, source: &str, version: &str, release: &str) -> Vec<Finding> {
        let mut found: BTreeMap<String, Finding> = BTreeMap::new();
        let issues = self.issues.get(source).into_iter().flatten();
        for (name, issue) in issues {
            let Some(state) = issue.releases.get(release) else { continue };
            if let Some(fixed) = state.lacking(version) {
                found.insert(name.clone(), state.finding(name, fixed));
            }
        }
        let advisories = self.advisories.get(&(source.to_owned(), release.to_owned())).into_iter().flatten();
        for advisory in advisories.filter(|advisory| order(&advisory.fixed, version).is_gt()) {
            let named = [advisory.name.clone()];
            for issue in if advisory.issues.is_empty() { &named[..] } else { &advisory.issues } {
                if let Some(finding) = found.get_mut(issue) {
                    finding.advisories.push(advisory.name.clone());
                    continue;
                }
                let told = self.issues.get(source).and_then(|issues| issues.get(issue));
                if told.is_none_or(|issue| !issue.releases.contains_key(release)) {
                    let finding = Finding {
                        issue: issue.clone(),
                        advisories: named.to_vec(),
                        urgency: None,
                        fixed: Some(advisory.fixed.clone()),
                    };
                    found.insert(issue.clone(), finding);
                }
            }
        }
        found.into_values().collect()
    }

    /// Lists the issues that upstream's own version has, by what fixed them in Debian's unstable release: there the
    /// first package of an upstream version (`VERSION-1`) has nothing that upstream had not.
    pub fn findings_upstream(&self, source: &str, version: &str) -> Vec<Finding> {
        let first = format!("{version}-1");
        let mut found = Vec::new();
        for (name, issue) in self.issues.get(source).into_iter().flatten() {
            let Some(state) = issue.releases.get(UNSTABLE) else { continue };
            // An upstream has no epoch.
            let plain = state
                .fixed_version
                .as_ref()
                .map(|fixed| fixed.split_once(':').map_or(&**fixed, |(_, rest)| rest));
            let state = State { fixed_version: plain.map(str::to_owned), ..state.clone() };
            found.extend(state.lacking(&first).map(|fixed| state.finding(name, fixed)));
        }
        found
    }
}

impl State {
    /// Tells what fixes the issue, where a version has it; there may be nothing yet.
    fn lacking(&self, version: &str) -> Option<Option<String>> {
        match (self.status, &self.fixed_version) {
            (Status::Resolved, Some(fixed)) => order(fixed, version).is_gt().then(|| Some(fixed.clone())),
            // Debian does not think that these are issues.
            (Status::Open, _) if matches!(self.urgency.as_str(), "unimportant" | "end-of-life") => None,
            (Status::Open, _) => Some(None),
            (Status::Resolved | Status::Undetermined, _) => None,
        }
    }

    fn finding(&self, issue: &str, fixed: Option<String>) -> Finding {
        let urgency = self.urgency.trim_end_matches('*');
        let urgency = matches!(urgency, "high" | "medium" | "low").then(|| urgency.to_owned());
        Finding { issue: issue.to_owned(), advisories: Vec::new(), urgency, fixed }
    }
}

/// Reads the JSON and keeps the wanted source packages.
struct Sources<'a> {
    tracker: &'a mut Tracker,
    wanted: &'a BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Sources<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Sources<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("source packages with their issues")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(source) = map.next_key::<String>()? {
            if !self.wanted.contains(&source) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let issues: BTreeMap<String, Issue> = map.next_value()?;
            let releases = issues.values().flat_map(|issue| issue.releases.keys().cloned());
            self.tracker.releases.extend(releases);
            self.tracker.issues.entry(source).or_default().extend(issues);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "openssl": {
            "CVE-2026-1": {"description": "d", "scope": "remote", "debianbug": 1, "releases": {
                "bookworm": {"status": "resolved", "repositories": {"bookworm": "3.0.15-1"},
                    "fixed_version": "3.0.15-1~deb12u2", "urgency": "high**"},
                "sid": {"status": "resolved", "fixed_version": "3.5.1-1", "urgency": "not yet assigned"}}},
            "CVE-2026-2": {"releases": {"bookworm": {"status": "open", "urgency": "low", "nodsa": "Minor issue"}}},
            "CVE-2026-3": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
            "CVE-2026-4": {"releases": {"bookworm": {"status": "undetermined", "urgency": "x"}}},
            "CVE-2026-40": {"releases": {"bookworm": {"status": "yet-another", "urgency": "x"}}},
            "CVE-2026-5": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "x"}}},
            "CVE-2026-6": {"releases": {"trixie": {"status": "resolved", "fixed_version": "9", "urgency": "x"}}}
        },
        "expat": {
            "CVE-2026-7": {"releases": {"sid": {"status": "resolved", "fixed_version": "1:2.7.2-1", "urgency": "x"}}},
            "CVE-2026-8": {"releases": {"sid": {"status": "resolved", "fixed_version": "2.7.1-2", "urgency": "x"}}},
            "CVE-2026-9": {"releases": {"sid": {"status": "resolved", "fixed_version": "2.7.1-1", "urgency": "x"}}},
            "CVE-2026-10": {"releases": {"sid": {"status": "open", "urgency": "medium"}}}
        },
        "other": {"CVE-2026-11": {"releases": {"potato": {"status": "open", "urgency": "x"}}}}
    }"#;

    const LIST: &str = "\
[26 Nov 2026] DSA-6001-1 openssl - security update
\t{CVE-2026-1 CVE-2026-20}
\t[bookworm] - openssl 3.0.15-1~deb12u2
\t[trixie] - openssl <not-affected> (new code)
\tNOTE: a note
[25 Nov 2026] DSA-6000-1 openssl - security update
\t[bookworm] - openssl 3.0.15-1~deb12u1
";

    fn read(texts: &[&str]) -> Result<Tracker, String> {
        let folder = tempfile::tempdir().unwrap();
        let (file, mut tracker) = (folder.path().join("tracker"), Tracker::default());
        let wanted = ["expat", "openssl"].map(str::to_owned).into();
        for text in texts {
            fs_err::write(&file, text).unwrap();
            tracker
                .read(&file, &wanted)
                .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "…"))?;
        }
        Ok(tracker)
    }

    fn told(findings: Vec<Finding>) -> Vec<String> {
        let told = |f: Finding| {
            let (urgency, fixed) = (f.urgency.as_deref().unwrap_or("-"), f.fixed.as_deref().unwrap_or("-"));
            format!("{} {urgency} {fixed} {}", f.issue, f.advisories.join(",")).trim_end().to_owned()
        };
        findings.into_iter().map(told).collect()
    }

    #[test]
    fn issues_are_told_that_a_version_has() {
        let tracker = read(&[JSON]).unwrap();
        let of = |version: &str| told(tracker.findings("openssl", version, "bookworm"));
        assert_eq!(of("3.0.15-1~deb12u1"), ["CVE-2026-1 high 3.0.15-1~deb12u2", "CVE-2026-2 low -"]);
        assert_eq!(of("3.0.15-1~deb12u2"), ["CVE-2026-2 low -"]);
        assert_eq!(told(tracker.findings("other", "1", "potato")), [""; 0]);
        assert!(tracker.knows("bookworm") && tracker.knows("sid") && !tracker.knows("potato"));
    }

    #[test]
    fn upstreams_own_versions_are_held_against_unstable() {
        let tracker = read(&[JSON]).unwrap();
        assert_eq!(
            told(tracker.findings_upstream("expat", "2.7.1")),
            ["CVE-2026-10 medium -", "CVE-2026-7 - 2.7.2-1", "CVE-2026-8 - 2.7.1-2"]
        );
        assert_eq!(told(tracker.findings_upstream("expat", "2.7.2")), ["CVE-2026-10 medium -"]);
    }

    #[test]
    fn advisories_add_their_names() {
        let both = read(&[LIST, JSON]).unwrap();
        let of = |tracker: &Tracker, version: &str| told(tracker.findings("openssl", version, "bookworm"));
        assert_eq!(
            of(&both, "3.0.15-1~deb12u1"),
            [
                "CVE-2026-1 high 3.0.15-1~deb12u2 DSA-6001-1",
                "CVE-2026-2 low -",
                "CVE-2026-20 - 3.0.15-1~deb12u2 DSA-6001-1",
            ]
        );
        // Without the issues' own data.
        let alone = read(&[LIST]).unwrap();
        assert_eq!(
            of(&alone, "3.0.14-1"),
            [
                "CVE-2026-1 - 3.0.15-1~deb12u2 DSA-6001-1",
                "CVE-2026-20 - 3.0.15-1~deb12u2 DSA-6001-1",
                "DSA-6000-1 - 3.0.15-1~deb12u1 DSA-6000-1",
            ]
        );
        assert_eq!(of(&alone, "3.0.15-1~deb12u2"), [""; 0]);
    }

    #[test]
    fn what_is_no_tracker_is_refused() {
        for (text, error) in [
            ("", "it is neither the tracker's JSON nor a list of advisories"),
            ("<html>", "it is neither the tracker's JSON nor a list of advisories"),
            ("[]", "line 1 is no advisory: `[]`"),
            ("{\"openssl\": 3}", "invalid type: integer `3`, expected a map at line 1 column 14"),
            ("{\"a\": {}", "EOF while parsing an object at line 1 column 8"),
            ("{} x", "trailing characters at line 1 column 4"),
        ] {
            assert_eq!(
                read(&[text]).map(|_| ()),
                Err(format!("`…/tracker` can't be used as Debian's tracker data: {error}")),
                "{text}"
            );
        }
    }
}

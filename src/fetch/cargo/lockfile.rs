//! `Cargo.lock` as cargo writes it (cargo's reference has no page of it; `cargo::core::resolver::encode` has).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Crate, Lock, Origin, Repository};
use crate::base::{Name, Sha256};
use crate::fetch::git::NotAnId;

/// How crates.io is named in locks, whatever mirror a host asks.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The newest version that is known.
const NEWEST: i64 = 4;

/// Something wrong at one place of a `Cargo.lock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub fault: Fault,
    /// The place, in bytes.
    pub span: Range<usize>,
}

/// The ways in which a `Cargo.lock` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Fault {
    #[error("not a `Cargo.lock`: {0}")]
    Syntax(String),
    #[error("this `Cargo.lock` is of version 1 or 2, which pin too little")]
    Old,
    #[error("this `Cargo.lock` is of version {0}, the newest known here is {NEWEST}")]
    New(i64),
    #[error("`{0}` can't be the name and version of a crate")]
    BadName(String),
    #[error("crate `{0}` has no checksum")]
    NoChecksum(String),
    #[error("the checksum of crate `{0}` is not a SHA-256 (64 hexadecimal digits)")]
    BadChecksum(String),
    #[error("crate `{crate_name}` comes from `{source_name}`, which nodeimg does not bring")]
    UnknownSource { crate_name: String, source_name: String },
    #[error("crate `{crate_name}` comes from git in a way that can't be followed: {reason}")]
    Git { crate_name: String, reason: String },
    #[error("crate `{0}` is there twice")]
    Twice(String),
}

impl Fault {
    /// Says what to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Fault::Syntax(_) => {
                "take cargo's own file as it is; `cargo generate-lockfile` writes one".to_owned()
            }
            Fault::Old => {
                "let a newer cargo write it: `cargo update --workspace` with Rust 1.83 or later".to_owned()
            }
            Fault::New(_) => "use a newer nodeimg, or an older cargo to write it".to_owned(),
            Fault::NoChecksum(_) | Fault::BadChecksum(_) => {
                "remove its `[[package]]` and let cargo write it anew: `cargo fetch`".to_owned()
            }
            Fault::UnknownSource { .. } => {
                "take the crate from crates.io, or into the project with a `[patch]` that names its path"
                    .to_owned()
            }
            Fault::Git { .. } => {
                "name the repository by an https URL, and let cargo write the lock anew".to_owned()
            }
            Fault::BadName(_) | Fault::Twice(_) => return None,
        })
    }

    /// Says in a few words what the marked place is.
    pub fn label(&self) -> &'static str {
        match self {
            Fault::Syntax(_) => "here",
            Fault::Old => "no `version = 3` or `4` above this",
            Fault::New(_) => "not known",
            Fault::BadName(_) | Fault::BadChecksum(_) => "not valid",
            Fault::NoChecksum(_) => "this crate",
            Fault::UnknownSource { .. } => "not known",
            Fault::Git { .. } => "this source",
            Fault::Twice(_) => "the second one",
        }
    }
}

#[derive(Deserialize)]
struct File {
    version: Option<Spanned<i64>>,
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: Spanned<String>,
    version: String,
    source: Option<Spanned<String>>,
    checksum: Option<Spanned<String>>,
    /// `NAME`, `NAME VERSION` or `NAME VERSION (SOURCE)`, whatever says enough.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Lock {
    /// Reads a `Cargo.lock`. Errs with all that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        let one = |fault, span| Err(vec![Wrong { fault, span }]);
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                return one(Fault::Syntax(message), error.span().unwrap_or(0..0));
            }
        };
        match &file.version {
            None => return one(Fault::Old, 0..0),
            Some(version) if *version.get_ref() < 3 => return one(Fault::Old, version.span()),
            Some(version) if *version.get_ref() > NEWEST => {
                return one(Fault::New(*version.get_ref()), version.span());
            }
            Some(_) => {}
        }
        let (mut lock, mut wrong, mut seen) = (Lock::default(), Vec::new(), BTreeSet::new());
        for entry in file.package {
            if entry.source.is_none() {
                lock.wanted.extend(entry.dependencies.iter().cloned());
            }
            match entry.read() {
                Ok(Some(read)) if !seen.insert((read.vendored().folder, read.vendored().source)) => {
                    let fault = Fault::Twice(format!("{} {}", read.name, read.version));
                    wrong.push(Wrong { fault, span: entry.name.span() });
                }
                Ok(read) => lock.crates.extend(read),
                Err(error) => wrong.push(error),
            }
        }
        if wrong.is_empty() { Ok(lock) } else { Err(wrong) }
    }
}

impl Entry {
    /// Gives the crate; nothing for a package of the workspace itself.
    fn read(&self) -> Result<Option<Crate>, Wrong> {
        let (name, version) = (self.name.get_ref().clone(), self.version.clone());
        let shown = format!("{name} {version}");
        let wrong = |fault, span| Err(Wrong { fault, span });
        let Some(source) = &self.source else { return Ok(None) };
        if !is_crate(&name) || !is_version(&version) {
            return wrong(Fault::BadName(shown), self.name.span());
        }
        if let Some(url) = source.get_ref().strip_prefix("git+") {
            return match repository(url) {
                Ok(repository) => Ok(Some(Crate { name, version, origin: Origin::Git(repository) })),
                Err(reason) => wrong(Fault::Git { crate_name: shown, reason }, source.span()),
            };
        }
        if source.get_ref() != CRATES_IO {
            let fault = Fault::UnknownSource { crate_name: shown, source_name: source.get_ref().clone() };
            return wrong(fault, source.span());
        }
        let Some(checksum) = &self.checksum else {
            return wrong(Fault::NoChecksum(shown), self.name.span());
        };
        match checksum.get_ref().parse::<Sha256>() {
            Ok(checksum) => Ok(Some(Crate { name, version, origin: Origin::Registry(checksum) })),
            Err(_) => wrong(Fault::BadChecksum(shown), checksum.span()),
        }
    }
}

/// Reads what stands behind `git+`, as cargo does: `URL?branch=…#COMMIT`.
fn repository(text: &str) -> Result<Repository, String> {
    let mut url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    let commit =
        url.fragment().ok_or("it names no commit")?.parse().map_err(|error: NotAnId| error.to_string())?;
    let known = |(key, name): (Cow<'_, str>, Cow<'_, str>)| {
        let kind = ["branch", "tag", "rev"].into_iter().find(|kind| *kind == key)?;
        Some((kind, name.into_owned()))
    };
    let reference = url.query_pairs().filter_map(known).last();
    url.set_fragment(None);
    url.set_query(None);
    let repository = Repository { url: url.to_string(), reference, commit };
    repository.request().map(|_| repository)
}

/// Tells whether a name is one that cargo allows, so that it can stand in paths and URLs.
fn is_crate(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

fn is_version(version: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
    version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(plain)
        && version.len() <= 128
        && Name::new(version).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// Writes one `[[package]]` of a lock, in the way of cargo.
    fn entry(name: &str, source: &str, checksum: &str) -> String {
        let line = |key: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{key} = \"{value}\"\n"),
        };
        let (source, checksum) = (line("source", source), line("checksum", checksum));
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{source}{checksum}")
    }

    /// Gives each fault as `place: message (hint)`.
    fn faults(text: &str) -> Vec<String> {
        let wrong = Lock::parse(text).unwrap_err();
        let one = |wrong: &Wrong| {
            let hint = wrong.fault.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("`{}`: {}{hint}", &text[wrong.span.clone()], wrong.fault)
        };
        wrong.iter().map(one).collect()
    }

    #[test]
    fn versions_three_and_four_are_read() {
        for version in [3, 4] {
            let own = entry("own", "", "");
            let text = format!("version = {version}\n{own}{}", entry("serde", CRATES_IO, SUM));
            let lock = Lock::parse(&text).unwrap();
            let [one] = lock.crates.as_slice() else { panic!("{lock:?}") };
            assert_eq!((one.name.as_str(), one.version.as_str()), ("serde", "1.0.0"));
            let Origin::Registry(checksum) = one.origin else { panic!("{one:?}") };
            let (request, pin) = one.archive(checksum);
            assert_eq!(
                (request.to_string().as_str(), pin.sha256.to_string().as_str()),
                ("serde-1.0.0.crate", SUM)
            );
        }
        assert_eq!(Lock::parse("version = 4\n").unwrap(), Lock::default());
    }

    #[test]
    fn other_versions_are_refused() {
        let old = "this `Cargo.lock` is of version 1 or 2, which pin too little (let a newer cargo write it: \
                   `cargo update --workspace` with Rust 1.83 or later)";
        assert_eq!(faults(&entry("serde", CRATES_IO, SUM)), [format!("``: {old}")]);
        assert_eq!(faults("version = 2\n"), [format!("`2`: {old}")]);
        assert_eq!(
            faults("version = 5\n"),
            ["`5`: this `Cargo.lock` is of version 5, the newest known here is 4 \
              (use a newer nodeimg, or an older cargo to write it)"]
        );
    }

    #[test]
    fn crates_without_a_good_checksum_are_told_all() {
        let text = ["version = 4\n", &entry("one", CRATES_IO, ""), &entry("two", CRATES_IO, "00ff")].concat();
        let hint = "(remove its `[[package]]` and let cargo write it anew: `cargo fetch`)";
        assert_eq!(
            faults(&text),
            [
                format!("`\"one\"`: crate `one 1.0.0` has no checksum {hint}"),
                format!(
                    "`\"00ff\"`: the checksum of crate `two 1.0.0` is not a SHA-256 (64 hexadecimal digits) {hint}"
                ),
            ]
        );
    }

    #[test]
    fn sources_that_are_not_known_are_refused() {
        let text = format!("version = 4\n{}", entry("one", "registry+https://r.example/index", SUM));
        assert_eq!(
            faults(&text),
            ["`\"registry+https://r.example/index\"`: crate `one 1.0.0` comes from \
              `registry+https://r.example/index`, which nodeimg does not bring (take the crate from crates.io, or into \
              the project with a `[patch]` that names its path)"]
        );
    }

    #[test]
    fn git_sources_are_read_as_cargo_does() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let of = |source: &str| {
            let text = format!("version = 4\n{}", entry("one", source, ""));
            Lock::parse(&text).map(|lock| lock.crates[0].origin.clone()).map_err(|_| faults(&text).remove(0))
        };
        for (query, reference) in [
            ("", None),
            ("?branch=main", Some(("branch", "main"))),
            ("?branch=feature%2Fx", Some(("branch", "feature/x"))),
            ("?tag=v1.0", Some(("tag", "v1.0"))),
            ("?rev=0123456", Some(("rev", "0123456"))),
        ] {
            let Ok(Origin::Git(repository)) =
                of(&format!("git+https://h.example/a/tool.git{query}#{commit}"))
            else {
                panic!("{query}")
            };
            assert_eq!(repository.url, "https://h.example/a/tool.git");
            assert_eq!(repository.reference, reference.map(|(kind, name)| (kind, name.to_owned())));
            assert_eq!(repository.source_name().as_str(), "cargo.tool-0123456789ab");
        }
        let hint = "(name the repository by an https URL, and let cargo write the lock anew)";
        for (source, reason) in [
            ("git+https://h.example/a", "it names no commit".to_owned()),
            (
                "git+https://h.example/a#0123",
                "`0123` is not a commit (40 lower-case hexadecimal digits)".to_owned(),
            ),
            (
                &format!("git+ssh://git@h.example/a#{commit}"),
                "`ssh://h.example/a` wants ssh, which nodeimg does not speak: write `https://…`".to_owned(),
            ),
            (&format!("git+h.example/a#{commit}"), "relative URL without a base".to_owned()),
        ] {
            let expected = format!(
                "`\"{source}\"`: crate `one 1.0.0` comes from git in a way that can't be followed: {reason} {hint}"
            );
            assert_eq!(of(source), Err(expected));
        }
    }

    #[test]
    fn what_is_no_lock_is_told_with_its_place() {
        assert_eq!(
            faults("version = 4\n[[package]]\nname = 3\n"),
            [
                "`3`: not a `Cargo.lock`: invalid type: integer `3`, expected a string (take cargo's own file as it is; \
              `cargo generate-lockfile` writes one)"
            ]
        );
    }

    #[test]
    fn names_can_not_lead_out() {
        for name in ["../up", "a/b", "", "a b"] {
            let text = format!("version = 4\n{}", entry(name, CRATES_IO, SUM));
            let expected = format!("`\"{name}\"`: `{name} 1.0.0` can't be the name and version of a crate");
            assert_eq!(faults(&text), [expected]);
        }
        for version in ["../1", "1/../..", "v1", ""] {
            let text = format!("version = 4\n{}", entry("one", CRATES_IO, SUM)).replace("1.0.0", version);
            let expected = format!("`\"one\"`: `one {version}` can't be the name and version of a crate");
            assert_eq!(faults(&text), [expected]);
        }
    }

    #[test]
    fn one_crate_is_there_once() {
        let one = entry("one", CRATES_IO, SUM);
        assert_eq!(
            faults(&format!("version = 4\n{one}{one}")),
            ["`\"one\"`: crate `one 1.0.0` is there twice"]
        );
    }
}

//! `nodeimg outdated`: what could be newer, and what has known holes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::arguments;
use super::failure::Failure;
use super::render::{Style, wrap};
use super::session::Session;
use super::text::{self, clean, count};
use crate::fetch::debian::Finding;
use crate::pipeline::outdated::{
    Kind, NewerBase, NewerPackage, NewerSource, NewerSuite, Outdated, Place, Question, Unasked, Vulnerable,
    outdated,
};
use crate::recipe::Id;

/// So many names are told before they are counted.
const NAMED: usize = 3;
/// Where a line's text begins.
const INDENT: usize = 11;
/// The exit code where nothing was found, and not everything could be asked.
const NO_ANSWER: i32 = 4;

pub(super) fn run(session: &Session, command: &arguments::Outdated) -> Result<i32, Failure> {
    let project = session.project()?;
    let (network, store) = (session.network()?, session.store()?);
    let targets = project.lockable(&command.targets)?;
    let arch = Session::platforms(&[])?.main();
    let question = Question { project: &project, targets: &targets, arch, tracker: &command.tracker };
    let found = outdated(&question, &session.fetching(&network, &store))?;
    session.progress.finish();
    if session.common.json {
        text::json(&document(&found))?;
    } else {
        let style = Style::of_stdout();
        text::out(&Told { style, verbose: session.common.verbose, lines: String::new() }.told(&found))?;
    }
    Ok(match (found.is_found(), found.unasked.iter().any(|one| one.is_failure)) {
        (true, _) => 1,
        (false, true) => NO_ANSWER,
        (false, false) => 0,
    })
}

fn document(found: &Outdated) -> Value {
    let ids = |ids: &[Id]| json!(ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    let places = |places: &BTreeSet<Place>| json!(places.iter().map(ToString::to_string).collect::<Vec<_>>());
    let source = |one: &NewerSource| {
        json!({
            "recipes": ids(&one.recipes), "name": one.name, "version": one.current, "newest": one.newest,
            "patch": one.patch, "listed-at": one.place,
        })
    };
    let base = |one: &NewerBase| {
        json!({
            "recipes": ids(&one.recipes), "image": one.name, "newest": one.newest, "patch": one.patch,
            "moved-to": one.moved.map(|digest| digest.oci()),
        })
    };
    let package = |one: &NewerPackage| {
        json!({
            "source": one.source, "packages": one.packages, "version": one.locked, "newest": one.newest,
            "used-by": places(&one.places),
        })
    };
    let suite = |one: &NewerSuite| {
        json!({
            "suite": one.suite.to_string(), "snapshot": one.snapshot, "newest-snapshot": one.newest,
            "packages": one.packages.iter().map(package).collect::<Vec<_>>(),
        })
    };
    let issue = |one: &Finding| json!({ "issue": one.issue, "advisories": one.advisories, "urgency": one.urgency, "fixed": one.fixed });
    let vulnerable = |one: &Vulnerable| {
        json!({
            "source": one.source, "version": one.version, "release": one.release,
            "issues": one.findings.iter().map(issue).collect::<Vec<_>>(),
            "packages": one.packages, "used-by": places(&one.places),
        })
    };
    let unasked = |one: &Unasked| json!({ "what": one.who, "why": one.why, "failed": one.is_failure });
    json!({
        "sources": found.sources.iter().map(source).collect::<Vec<_>>(),
        "bases": found.bases.iter().map(base).collect::<Vec<_>>(),
        "suites": found.suites.iter().map(suite).collect::<Vec<_>>(),
        "security": found.security.iter().map(vulnerable).collect::<Vec<_>>(),
        "unasked": found.unasked.iter().map(unasked).collect::<Vec<_>>(),
    })
}

/// The report for people, as it grows.
struct Told {
    style: Style,
    verbose: bool,
    lines: String,
}

impl Told {
    fn told(mut self, found: &Outdated) -> String {
        found.sources.iter().for_each(|one| self.source(one));
        let recipes =
            found.sources.iter().filter(|one| one.kind != Kind::Crate).map(|one| &one.recipes[0].name);
        let recipes: BTreeSet<_> = recipes.collect();
        if let Some(first) = recipes.first() {
            let name = if recipes.len() == 1 { first.as_str() } else { "NAME" };
            self.line(
                "next",
                &format!("set the version in `recipes/packages/{name}.toml`, then `nodeimg lock {name}`"),
            );
        }
        found.bases.iter().for_each(|one| self.base(one));
        found.suites.iter().for_each(|one| self.suite(one));
        self.security(&found.security);
        for one in &found.unasked {
            let mut lines = one.why.lines();
            let why = lines.next().unwrap_or_default();
            self.line(
                if one.is_failure { "no answer" } else { "left out" },
                &format!("{}: {}", one.who, clean(why)),
            );
            lines.for_each(|line| self.more(&clean(line)));
        }
        if !found.is_found() {
            let what = if found.unasked.is_empty() { "nothing" } else { "nothing of what was asked" };
            self.line("outdated", what);
        }
        self.lines
    }

    /// Writes a line; what is too long goes on below it.
    fn line(&mut self, verb: &str, text: &str) {
        for (index, line) in wrap(text, self.style.width, INDENT, INDENT + 2).iter().enumerate() {
            let start = if index == 0 { format!("{verb:>10} ") } else { " ".repeat(INDENT + 2) };
            self.lines += &format!("{start}{line}\n");
        }
    }

    /// Writes a line that belongs to the one before.
    fn more(&mut self, text: &str) {
        self.line("", text);
    }

    fn source(&mut self, one: &NewerSource) {
        let recipes: Vec<_> = one.recipes.iter().map(|id| id.name.to_string()).collect();
        let name = if recipes[0] == one.name {
            text::some(&recipes, NAMED)
        } else {
            format!("{} of {}", one.name, text::some(&recipes, NAMED))
        };
        let newer = newer(Some(&one.newest), one.patch.as_deref());
        let verb = if one.kind == Kind::Crate { "crate" } else { "upstream" };
        self.line(verb, &clean(&format!("{name}: {} → {newer}", one.current)));
        if self.verbose {
            self.more(&format!("listed at {}", clean(&one.place)));
        }
    }

    fn base(&mut self, one: &NewerBase) {
        let recipes: Vec<_> = one.recipes.iter().map(|id| id.name.to_string()).collect();
        if one.newest.is_some() {
            let newer = newer(one.newest.as_deref(), one.patch.as_deref());
            self.line("base", &clean(&format!("{} of {} → {newer}", one.name, text::some(&recipes, NAMED))));
        }
        if let Some(digest) = one.moved {
            self.line(
                "base",
                &format!("{} of {} names another image now", clean(&one.name), text::some(&recipes, NAMED)),
            );
            self.more(&digest.oci());
        }
        let name = &recipes[0];
        self.line(
            "next",
            &format!("set `oci` in `recipes/images/{name}.toml`, then `nodeimg lock --update {name}`"),
        );
    }

    fn suite(&mut self, one: &NewerSuite) {
        let packages = count(one.packages.len(), "newer source package");
        self.line("debian", &format!("{}: {packages} since {}", one.suite, one.snapshot));
        let is_shown = |package: &&NewerPackage| self.verbose || package.places.iter().any(Place::is_shipped);
        let (shown, others): (Vec<_>, Vec<_>) = one.packages.iter().partition(is_shown);
        for package in shown {
            let newest = package.newest.as_deref().unwrap_or("gone");
            let line =
                format!("{} {} → {newest}, in {}", package.source, package.locked, of(&package.places));
            self.more(&clean(&line));
        }
        if !others.is_empty() {
            self.more(&format!(
                "{} that only builds use: `--verbose` names them",
                count(others.len(), "source package")
            ));
        }
        let line = format!(
            "set `snapshot = \"{}\"` in `recipes/suites/{}.toml`, then `nodeimg lock`",
            one.newest, one.suite
        );
        self.line("next", &line);
    }

    fn security(&mut self, all: &[Vulnerable]) {
        let (mut issues, mut sources) = (0, 0);
        for one in all {
            let open = one.findings.iter().filter(|finding| finding.fixed.is_none()).count();
            issues += open;
            sources += usize::from(open > 0);
            // What one version fixes stands together.
            let versions: BTreeSet<&String> =
                one.findings.iter().filter_map(|finding| finding.fixed.as_ref()).collect();
            for version in versions {
                let fixes = one.findings.iter().filter(|finding| finding.fixed.as_ref() == Some(version));
                self.vulnerable(one, &format!("→ {version} fixes {}", names(fixes)));
            }
            if self.verbose && open > 0 {
                let open = one.findings.iter().filter(|finding| finding.fixed.is_none());
                self.vulnerable(one, &format!("has no fix yet for {}", names(open)));
            }
        }
        if issues > 0 && !self.verbose {
            let sources = count(sources, "source package");
            let text =
                format!("{} of {sources} without a fix: `--verbose` names them", count(issues, "issue"));
            self.line("open", &text);
        }
    }

    fn vulnerable(&mut self, one: &Vulnerable, what: &str) {
        let release = one.release.as_deref().unwrap_or("upstream's");
        self.line("security", &clean(&format!("{} {} ({release}) {what}", one.source, one.version)));
        self.more(&format!("in {}", of(&one.places)));
    }
}

/// Names issues, each with how urgent it is, and then their advisories.
fn names<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let (mut issues, mut advisories) = (Vec::new(), BTreeSet::new());
    for finding in findings {
        let urgency = finding.urgency.as_ref().map(|urgency| format!(" ({urgency})")).unwrap_or_default();
        issues.push(format!("{}{urgency}", finding.issue));
        advisories.extend(finding.advisories.iter().filter(|name| **name != finding.issue).cloned());
    }
    let advisories: Vec<_> = advisories.into_iter().collect();
    let told = if advisories.is_empty() { String::new() } else { format!("; {}", advisories.join(", ")) };
    format!("{}{told}", issues.join(", "))
}

fn newer(newest: Option<&str>, patch: Option<&str>) -> String {
    let patch = patch.map(|patch| format!(", or {patch} of its line")).unwrap_or_default();
    format!("{}{patch}", newest.unwrap_or_default())
}

/// Names what something is in; what only builds use it is counted.
fn of(places: &BTreeSet<Place>) -> String {
    let (shipped, builds): (Vec<_>, Vec<_>) = places.iter().partition(|place| place.is_shipped());
    let names = |places: &[&Place]| places.iter().map(ToString::to_string).collect::<Vec<_>>();
    match (shipped.len(), builds.len()) {
        (0, _) => text::some(&names(&builds), NAMED),
        (_, 0) => text::some(&names(&shipped), NAMED),
        (_, number) => format!("{} and {}", text::some(&names(&shipped), NAMED), count(number, "build")),
    }
}

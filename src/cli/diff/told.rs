//! What differs, as text for a terminal.

use std::fmt::Write as _;

use super::Comparison;
use crate::cli::render::Style;
use crate::cli::text::{self, clean};
use crate::diff::image::{Differences, Pair, Told};
use crate::diff::{Change, Content, Detail, Entry, List, Package, Sign, Value};

/// Without `--verbose`, so many files are shown.
const FILES: usize = 100;

/// Without `--verbose`, so many lines and values of a file are shown.
const LINES: usize = 24;

/// Without `--verbose`, so many names of a list are shown.
const NAMES: usize = 8;

/// How the sections of programs are called.
const SECTION: &str = "section ";

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Where what is said begins.
const INDENT: usize = 11;

/// Text that grows.
struct Page {
    out: String,
    style: Style,
    verbose: bool,
    /// What stands before the next line.
    head: &'static str,
}

/// Tells of a comparison.
pub(super) fn told(found: &Comparison, style: Style, verbose: bool) -> String {
    let mut page = Page { out: String::new(), style, verbose, head: "diff" };
    if found.equal {
        page.line(&format!("{} and {} are the same", clean(&found.before), clean(&found.now)));
        return page.out;
    }
    page.line(&format!("{} and {}", clean(&found.before), clean(&found.now)));
    match &found.content {
        Content::Images { images, alone } => {
            images.iter().filter(|image| !image.equal).for_each(|image| page.image(image));
            page.head = "images";
            alone.iter().for_each(|detail| page.detail(detail, 0));
        }
        Content::Files { packages, files } => {
            page.packages(packages, files);
            page.files("files", files);
        }
        Content::File { details } => {
            page.head = "content";
            page.details(details, 0);
        }
    }
    page.causes(found);
    page.files("recipes", found.recipes.as_deref().unwrap_or_default());
    page.sum(found);
    page.out
}

impl Page {
    /// Writes a line behind the head of what it is about.
    fn line(&mut self, text: &str) {
        let head = std::mem::take(&mut self.head);
        let _ = writeln!(self.out, "{}", format!("{head:>10} {text}").trim_end());
    }

    fn signed(&mut self, sign: char, text: &str, depth: usize) {
        let code = match sign {
            '+' => GREEN,
            '-' => RED,
            _ => YELLOW,
        };
        let sign = self.style.paint(code, &sign.to_string());
        self.line(&format!("{:depth$}{sign} {text}", "", depth = depth * 2));
    }

    fn room(&self, depth: usize) -> usize {
        self.style.width.saturating_sub(INDENT + 2 + depth * 2).max(20)
    }

    fn image(&mut self, image: &Differences) {
        self.head = "image";
        let short = |hash: &Option<crate::base::Sha256>| {
            hash.map_or_else(
                || "no manifest".to_owned(),
                |hash| format!("sha256:{}…", &hash.to_string()[..12]),
            )
        };
        self.line(&format!("{} {} → {}", clean(&image.platform), short(&image.before), short(&image.now)));
        self.head = "manifest";
        self.details(&image.manifest, 0);
        self.head = "config";
        self.details(&image.config, 0);
        self.head = "layers";
        self.layers(&image.layers);
        if image.unread > 0 {
            let (are, they) = if image.unread == 1 { ("is", "it") } else { ("are", "them") };
            let layers = text::count(image.unread, "layer");
            self.line(&format!("{layers} of both {are} not unpacked here; what {they} would show"));
            self.line("or hide is left open");
        }
        self.packages(&image.packages, &image.files);
        self.files("files", &image.files);
    }

    fn layers(&mut self, layers: &[Pair]) {
        let same = layers.iter().filter(|pair| pair.same).count();
        if same > 0 {
            self.line(&format!("{same} in both"));
        }
        for pair in layers.iter().filter(|pair| !pair.same || !pair.details.is_empty()) {
            let name = |told: &Told| match told.name.as_str() {
                "" => format!("sha256:{}…", &told.diff_id.to_string()[..12]),
                name => cut(&clean(name), 40),
            };
            let size = |told: &Told| told.blob.map_or_else(|| "?".to_owned(), |blob| text::size(blob.size));
            match (&pair.before, &pair.now) {
                (Some(old), Some(new)) => {
                    let named = match old.name == new.name {
                        true => name(new),
                        false => format!("{} → {}", name(old), name(new)),
                    };
                    self.signed('~', &format!("{named}  {} → {}", size(old), size(new)), 0);
                }
                (Some(old), None) => self.signed('-', &format!("{}  {}", name(old), size(old)), 0),
                (None, Some(new)) => self.signed('+', &format!("{}  {}", name(new), size(new)), 0),
                (None, None) => {}
            }
            self.details(&pair.details, 1);
        }
        self.head = "";
    }

    fn packages(&mut self, packages: &[Package], files: &[Change]) {
        self.head = "packages";
        for Package { name, before, now } in packages {
            let own = name.split(':').next().unwrap_or(name);
            let paths = files.iter().filter(|change| change.package.as_deref() == Some(own)).count();
            let paths =
                if paths == 0 { String::new() } else { format!("  ({})", text::count(paths, "path")) };
            let (sign, versions) = match (before, now) {
                (Some(old), Some(new)) => ('~', format!("{} → {}", clean(old), clean(new))),
                (Some(old), None) => ('-', clean(old)),
                (_, new) => ('+', clean(new.as_deref().unwrap_or_default())),
            };
            let line = format!("{}  {versions}", clean(name));
            let room = self.room(0).saturating_sub(paths.len());
            self.signed(sign, &format!("{}{paths}", cut(&line, room)), 0);
        }
    }

    /// Tells of paths. Those of packages that changed are counted there.
    fn files(&mut self, head: &'static str, files: &[Change]) {
        self.head = head;
        let told = |change: &&Change| self.verbose || change.package.is_none();
        let files: Vec<&Change> = files.iter().filter(told).collect();
        let mut left = if self.verbose { usize::MAX } else { FILES };
        let mut at = 0;
        while at < files.len() {
            let below = if self.verbose { 1 } else { whole(&files[at..]) };
            if left == 0 {
                let more = text::count(files.len() - at, "path");
                self.line(&format!("and {more} more; `--verbose`, `--html` and `--json` show all"));
                break;
            }
            left -= 1;
            self.file(files[at], &files[at..at + below]);
            at += below;
        }
        self.head = "";
    }

    fn file(&mut self, change: &Change, rest: &[&Change]) {
        let path = clean(&change.path);
        let entry = match (&change.before, &change.now) {
            (Some(_), Some(_)) => {
                self.signed('~', &path, 0);
                return self.details(&change.details, 1);
            }
            (Some(entry), None) => ('-', entry),
            (None, Some(entry)) => ('+', entry),
            (None, None) => return,
        };
        let detail = match entry.1 {
            Entry::File { digest, mode, owner } => {
                format!("  {} {}{}", text::size(digest.size), mode, owned(owner))
            }
            Entry::Link { target } => format!(" → {}", cut(&clean(target), self.room(0) / 2)),
            Entry::Folder { .. } if rest.len() > 1 => {
                let is_file = |change: &&&Change| {
                    matches!(change.before.as_ref().or(change.now.as_ref()), Some(Entry::File { .. }))
                };
                let files = rest.iter().filter(is_file).count();
                format!("/  {}", text::count(files, "file"))
            }
            Entry::Folder { mode, owner } => format!("/  {mode}{}", owned(owner)),
            Entry::Below => "  of a layer of both".to_owned(),
        };
        self.signed(entry.0, &format!("{path}{detail}"), 0);
    }

    fn details(&mut self, details: &[Detail], depth: usize) {
        let most = if self.verbose { usize::MAX } else { LINES };
        let is_section =
            |detail: &Detail| matches!(detail, Detail::Value(value) if value.what.starts_with(SECTION));
        let (sections, details): (Vec<_>, Vec<_>) =
            details.iter().partition(|detail| !self.verbose && is_section(detail));
        details.iter().take(most).for_each(|detail| self.detail(detail, depth));
        if !sections.is_empty() {
            let name = |detail: &&Detail| match detail {
                Detail::Value(value) => value.what[SECTION.len()..].to_owned(),
                _ => String::new(),
            };
            let names: Vec<_> = sections.iter().map(name).collect();
            let line = format!("sections  {}", clean(&names.join(" ")));
            self.signed('~', &cut(&line, self.room(depth)), depth);
        }
        if let Some(more) = details.len().checked_sub(most).filter(|more| *more > 0) {
            self.line(&format!("{:depth$}and {more} more", "", depth = depth * 2));
        }
    }

    fn detail(&mut self, detail: &Detail, depth: usize) {
        match detail {
            Detail::Value(value) => self.value(value, depth),
            Detail::List(list) => self.list(list, depth),
            Detail::Lines(lines) => {
                let mut left = if self.verbose { usize::MAX } else { LINES };
                for hunk in &lines.hunks {
                    for line in &hunk.lines {
                        if left == 0 {
                            break;
                        }
                        left -= 1;
                        let shown = cut(&clean(&line.text.replace('\t', "    ")), self.room(depth));
                        match line.sign {
                            Sign::Same => self.line(&format!("{:depth$}  {shown}", "", depth = depth * 2)),
                            sign => self.signed(sign.as_char(), &shown, depth),
                        }
                    }
                }
                if left == 0 || lines.cut || lines.hunks.is_empty() {
                    let (new, gone) = (text::count(lines.new, "line"), lines.gone);
                    self.line(&format!("{:depth$}{new} new, {gone} gone", "", depth = depth * 2));
                }
            }
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        let what = clean(&value.what);
        let room = self.room(depth);
        let side = |text: &Option<String>| text.as_ref().map(|text| clean(text));
        match (side(&value.before), side(&value.now)) {
            (Some(old), Some(new)) => {
                let line = format!("{what}  {old} → {new}");
                if line.chars().count() <= room {
                    return self.signed('~', &line, depth);
                }
                self.signed('~', &cut(&what, room), depth);
                self.signed('-', &cut(&old, room - 2), depth + 1);
                self.signed('+', &cut(&new, room - 2), depth + 1);
            }
            (None, Some(new)) => self.signed('+', &cut(&format!("{what}  {new}"), room), depth),
            (Some(old), None) => self.signed('-', &cut(&format!("{what}  {old}"), room), depth),
            (None, None) => self.signed('~', &cut(&what, room), depth),
        }
    }

    fn list(&mut self, list: &List, depth: usize) {
        let most = if self.verbose { usize::MAX } else { NAMES };
        self.signed('~', &clean(&list.what), depth);
        let sides = [('-', &list.gone, list.gone_count), ('+', &list.new, list.new_count)];
        for (sign, names, count) in sides {
            for name in names.iter().take(most) {
                self.signed(sign, &cut(&clean(name), self.room(depth + 1)), depth + 1);
            }
            if let Some(more) = count.checked_sub(names.len().min(most)).filter(|more| *more > 0) {
                self.signed(sign, &format!("and {more} more"), depth + 1);
            }
        }
    }

    fn causes(&mut self, found: &Comparison) {
        let Some(causes) = &found.causes else { return };
        for cause in &causes.steps {
            self.head = "cause";
            self.line(&clean(&cause.step));
            self.details(&super::fields(&cause.changes), 0);
        }
        if causes.same {
            self.head = "cause";
            self.line("both were made of the same: a step does not give the same each time");
        }
        if causes.partly {
            self.head = "cause";
            self.line("the store no longer knows all that they were made of");
        }
    }

    fn sum(&mut self, found: &Comparison) {
        let (mut layers, mut packages, mut files) = (0, 0, 0);
        match &found.content {
            Content::Images { images, .. } => {
                for image in images {
                    layers += image.layers.iter().filter(|pair| !pair.same).count();
                    packages += image.packages.len();
                    files += image.files.len();
                }
            }
            Content::Files { packages: found, files: changed } => {
                packages = found.len();
                files = changed.len();
            }
            Content::File { .. } => return,
        }
        self.head = "differ";
        let parts = [(layers, "layer"), (packages, "package"), (files, "path")];
        let told: Vec<_> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| text::count(*count, word))
            .collect();
        if told.is_empty() {
            self.line("only what is written around the files");
        } else {
            self.line(&told.join(", "));
        }
    }
}

fn owned(owner: &str) -> String {
    if owner == "0:0" { String::new() } else { format!(" {owner}") }
}

/// Counts how many changes the first one stands for: all below a folder that is wholly new or gone.
fn whole(changes: &[&Change]) -> usize {
    let first = changes[0];
    let one_sided = |change: &Change| (change.before.is_some(), change.now.is_some());
    let is_folder = matches!(first.before.as_ref().or(first.now.as_ref()), Some(Entry::Folder { .. }));
    if !is_folder || one_sided(first) == (true, true) {
        return 1;
    }
    let prefix = format!("{}/", first.path);
    let below = |change: &&&Change| change.path.starts_with(&prefix) && one_sided(change) == one_sided(first);
    1 + changes[1..].iter().take_while(below).count()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

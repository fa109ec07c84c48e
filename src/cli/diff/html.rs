//! What differs, as one page that needs nothing else: no script, no font, no picture, light and dark.
//!
//! Whatever comes out of images is escaped; the page's own policy lets nothing be loaded or run even so.

use std::fmt::Write as _;

use super::Comparison;
use crate::cli::text;
use crate::diff::image::{Differences, Pair, Told};
use crate::diff::{Change, Content, Detail, Entry, Lines, Package};
use crate::realise::Causes;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#59636e;--line:#d1d9e0;--tint:#f6f8fa;\
--new:#116329;--new-bg:#dafbe1;--gone:#a40e26;--gone-bg:#ffebe9;--mark:#7d4e00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--soft:#9198a1;--line:#3d444d;--tint:#151b23;\
--new:#7ee787;--new-bg:#12261e;--gone:#ffa198;--gone-bg:#2d1517;--mark:#e3b341}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--paper);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
code,td,pre,summary{font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}
p{margin:.25rem 0;color:var(--soft)}
table{border-collapse:collapse;width:100%;margin:.25rem 0}
td,th{padding:.15rem .5rem;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
th{font-weight:600;color:var(--soft);font-size:.85rem}
details{border:1px solid var(--line);border-radius:.4rem;margin:.3rem 0;padding:.25rem .6rem;background:var(--tint)}
summary{cursor:pointer}
.row{padding:.15rem .6rem;font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}
pre{margin:.3rem 0;white-space:pre-wrap}
pre span{display:block;padding:0 .4rem}
.new{color:var(--new)}.gone{color:var(--gone)}.both{color:var(--mark)}
pre .new{background:var(--new-bg)}pre .gone{background:var(--gone-bg)}
nav a{margin-right:1rem;color:inherit}";

/// Writes the page.
pub(super) fn page(found: &Comparison) -> String {
    let title = format!("{} and {}", escape(&found.before), escape(&found.now));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    if found.equal {
        out += "<p>They are the same.</p>\n";
    }
    if let Some(causes) = &found.causes {
        why(&mut out, causes);
    }
    if let Some(changes) = found.recipes.as_deref().filter(|changes| !changes.is_empty()) {
        heading(&mut out, "Recipes, locks and patches");
        changes.iter().for_each(|change| file(&mut out, change));
    }
    match &found.content {
        Content::Images { images, alone } => {
            for one in images.iter().filter(|image| !image.equal) {
                image(&mut out, one);
            }
            section(&mut out, "Images for other machines", alone);
        }
        Content::Files { packages: list, files: changes } => {
            packages(&mut out, list, changes);
            files(&mut out, changes);
        }
        Content::File { details } => section(&mut out, "Content", details),
    }
    out += "</body></html>\n";
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\t' | '\n' => out.push(c),
            // Nothing that turns the order of letters around.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

fn heading(out: &mut String, text: &str) {
    let _ = writeln!(out, "<h2>{}</h2>", escape(text));
}

fn section(out: &mut String, name: &str, details: &[Detail]) {
    if !details.is_empty() {
        heading(out, name);
        told(out, details);
    }
}

fn why(out: &mut String, causes: &Causes) {
    heading(out, "Cause");
    for cause in &causes.steps {
        let _ = write!(out, "<details open><summary>{}</summary>", escape(&cause.step));
        told(out, &super::fields(&cause.changes));
        *out += "</details>\n";
    }
    if causes.same {
        *out += "<p>Both were made of the same: a step does not give the same each time.</p>\n";
    }
    if causes.partly {
        *out += "<p>The store no longer knows all that they were made of.</p>\n";
    }
}

fn image(out: &mut String, image: &Differences) {
    heading(out, &format!("Image for {}", image.platform));
    *out += "<table><tr><th>before<th>now</tr><tr>";
    for hash in [&image.before, &image.now] {
        let hash = hash.map_or_else(|| "no manifest".to_owned(), |hash| hash.oci());
        let _ = write!(out, "<td>{hash}</td>");
    }
    *out += "</tr></table>\n";
    section(out, "Manifest", &image.manifest);
    section(out, "Configuration", &image.config);
    heading(out, "Layers");
    *out += "<table><tr><th><th>name<th>before<th>now</tr>\n";
    image.layers.iter().for_each(|pair| layer(out, pair));
    *out += "</table>\n";
    for pair in image.layers.iter().filter(|pair| !pair.details.is_empty()) {
        told(out, &pair.details);
    }
    if image.unread > 0 {
        let layers = text::count(image.unread, "layer");
        let _ =
            writeln!(out, "<p>{layers} of both not unpacked here: what would show or hide is left open.</p>");
    }
    packages(out, &image.packages, &image.files);
    files(out, &image.files);
}

fn layer(out: &mut String, pair: &Pair) {
    let (sign, class) = match (&pair.before, &pair.now, pair.same) {
        (_, _, true) => ("=", ""),
        (Some(_), Some(_), _) => ("~", "both"),
        (Some(_), None, _) => ("−", "gone"),
        _ => ("+", "new"),
    };
    let name = pair.now.as_ref().or(pair.before.as_ref()).map_or("", |told| told.name.as_str());
    let _ = write!(out, "<tr><td class=\"{class}\">{sign}</td><td>{}</td>", escape(name));
    for told in [&pair.before, &pair.now] {
        let cell = |Told { diff_id, blob, .. }: &Told| {
            let size = blob.map_or_else(String::new, |blob| format!("{}, ", text::size(blob.size)));
            format!("{size}{}", &diff_id.oci()[..19])
        };
        let _ = write!(out, "<td>{}</td>", told.as_ref().map(cell).unwrap_or_default());
    }
    *out += "</tr>\n";
}

fn packages(out: &mut String, packages: &[Package], files: &[Change]) {
    if packages.is_empty() {
        return;
    }
    heading(out, &format!("Packages ({})", packages.len()));
    for Package { name, before, now } in packages {
        let own = name.split(':').next().unwrap_or(name);
        let files: Vec<_> = files.iter().filter(|change| change.package.as_deref() == Some(own)).collect();
        let (sign, class) = match (before, now) {
            (Some(_), Some(_)) => ("~", "both"),
            (Some(_), None) => ("−", "gone"),
            _ => ("+", "new"),
        };
        let versions: Vec<_> = [before, now].into_iter().flatten().map(|version| escape(version)).collect();
        let line = format!("<span class=\"{class}\">{sign} {}</span> {}", escape(name), versions.join(" → "));
        if files.is_empty() {
            let _ = writeln!(out, "<div class=\"row\">{line}</div>");
        } else {
            let _ = write!(out, "<details><summary>{line} ({})</summary>", text::count(files.len(), "path"));
            files.iter().for_each(|change| file(out, change));
            *out += "</details>\n";
        }
    }
}

fn row(out: &mut String, what: &str, before: Option<&str>, now: Option<&str>) {
    let cell = |text: Option<&str>| escape(text.unwrap_or_default());
    let _ = writeln!(
        out,
        "<tr><td>{}</td><td class=\"gone\">{}</td><td class=\"new\">{}</td></tr>",
        escape(what),
        cell(before),
        cell(now)
    );
}

fn files(out: &mut String, files: &[Change]) {
    let own: Vec<_> = files.iter().filter(|change| change.package.is_none()).collect();
    if own.is_empty() {
        return;
    }
    heading(out, &format!("Files ({})", own.len()));
    own.iter().for_each(|change| file(out, change));
}

fn file(out: &mut String, change: &Change) {
    let (sign, class, entry) = match (&change.before, &change.now) {
        (Some(_), Some(_)) => ("~", "both", None),
        (Some(entry), None) => ("−", "gone", Some(entry)),
        (_, entry) => ("+", "new", entry.as_ref()),
    };
    let detail = match entry {
        Some(Entry::File { digest, mode, owner }) => {
            format!(" {} {mode} {owner}", text::size(digest.size))
        }
        Some(Entry::Link { target }) => format!(" → {target}"),
        Some(Entry::Folder { mode, owner }) => format!("/ {mode} {owner}"),
        Some(Entry::Below) => " of a layer of both".to_owned(),
        None => String::new(),
    };
    let line = format!("<span class=\"{class}\">{sign} {}</span>{}", escape(&change.path), escape(&detail));
    if change.details.is_empty() {
        let _ = writeln!(out, "<div class=\"row\">{line}</div>");
    } else {
        let _ = write!(out, "<details><summary>{line}</summary>");
        told(out, &change.details);
        *out += "</details>\n";
    }
}

fn told(out: &mut String, details: &[Detail]) {
    let values: Vec<_> = details.iter().filter(|detail| matches!(detail, Detail::Value(_))).collect();
    if !values.is_empty() {
        *out += "<table><tr><th><th>before<th>now</tr>\n";
    }
    for detail in &values {
        if let Detail::Value(value) = detail {
            row(out, &value.what, value.before.as_deref(), value.now.as_deref());
        }
    }
    if !values.is_empty() {
        *out += "</table>\n";
    }
    for detail in details {
        match detail {
            Detail::Value(_) => {}
            Detail::List(list) => {
                let _ = write!(out, "<p>{}</p><pre>", escape(&list.what));
                let sides =
                    [("gone", '−', &list.gone, list.gone_count), ("new", '+', &list.new, list.new_count)];
                for (class, sign, names, count) in sides {
                    for name in names {
                        let _ = write!(out, "<span class=\"{class}\">{sign} {}</span>", escape(name));
                    }
                    if count > names.len() {
                        let more = count - names.len();
                        let _ = write!(out, "<span class=\"{class}\">{sign} and {more} more</span>");
                    }
                }
                *out += "</pre>";
            }
            Detail::Lines(found) => lines(out, found),
        }
    }
}

fn lines(out: &mut String, found: &Lines) {
    *out += "<pre>";
    for hunk in &found.hunks {
        let _ = write!(out, "<span class=\"both\">line {} → {}</span>", hunk.before, hunk.now);
        for line in &hunk.lines {
            let class = match line.sign {
                crate::diff::Sign::Same => "",
                crate::diff::Sign::Gone => "gone",
                crate::diff::Sign::New => "new",
            };
            let _ =
                write!(out, "<span class=\"{class}\">{} {}</span>", line.sign.as_char(), escape(&line.text));
        }
    }
    if found.cut {
        let _ = write!(out, "<span class=\"both\">{} new, {} gone in all</span>", found.new, found.gone);
    }
    *out += "</pre>";
}

//! Errors as text: any diagnostic in one form, for terminals and for logs.
//!
//! ```text
//! error: what is wrong
//!   more of it, a line each; then what it came from
//!   --> recipes/packages/crun.toml:2:1
//!     |
//!   2 | verison = "1.21"
//!     | ^^^^^^^ not a key of this table
//! hint: what to do
//! ```
//!
//! In goes the diagnostic and how wide and colourful the text may be; out comes the text. Prints nothing.

use std::fmt::Write as _;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};

use super::host;

/// How the text may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether colours are used; not where `NO_COLOR` is set or no terminal reads.
    pub color: bool,
    /// The columns that text is wrapped at. Quoted words and paths are never broken.
    pub width: usize,
}

impl Style {
    /// For logs and pipes: no colours, 80 columns.
    pub const PLAIN: Style = Style { color: false, width: 80 };

    /// What fits stderr: plain unless it is a terminal.
    pub(super) fn of_terminal() -> Style {
        use std::io::IsTerminal as _;
        if !std::io::stderr().is_terminal() {
            return Style::PLAIN;
        }
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col));
        let columns = host::columns().or(columns.ok()).filter(|&columns| columns >= 40);
        Style { color: host::color_allowed(), width: columns.unwrap_or(80).min(100) }
    }

    /// What fits stdout.
    pub(super) fn of_stdout() -> Style {
        use std::io::IsTerminal as _;
        if std::io::stdout().is_terminal() { Style::of_terminal() } else { Style::PLAIN }
    }

    pub(super) fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const CYAN: &str = "1;36";
const BLUE: &str = "34";

/// Renders a diagnostic, with a line end after each line. One that only gathers others shows each of them, and then
/// itself as their sum.
pub fn render(diagnostic: &dyn Diagnostic, style: Style) -> String {
    let mut out = String::new();
    let related: Vec<_> = diagnostic.related().into_iter().flatten().collect();
    for one in &related {
        out.push_str(&render(*one, style));
        if related.len() > 1 {
            out.push('\n');
        }
    }
    if related.len() != 1 {
        block(&mut out, diagnostic, style);
    }
    out
}

/// Writes one diagnostic, without those it gathers.
fn block(out: &mut String, diagnostic: &dyn Diagnostic, style: Style) {
    let (word, code) = match diagnostic.severity() {
        None | Some(Severity::Error) => ("error", RED),
        Some(Severity::Warning) => ("warning", YELLOW),
        Some(Severity::Advice) => ("note", CYAN),
    };
    let text = diagnostic.to_string();
    let mut lines = text.lines();
    head(out, word, code, lines.next().unwrap_or_default(), style);
    let mut said = text.clone();
    for line in lines {
        detail(out, line, style);
    }
    let mut cause = diagnostic.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some causes repeat what was said already.
        if !said.contains(&text) {
            text.lines().for_each(|line| detail(out, line, style));
            said.push_str(&text);
        }
        cause = error.source();
    }
    if let Some(source) = diagnostic.source_code() {
        for label in diagnostic.labels().into_iter().flatten() {
            excerpt(out, source, &label, style);
        }
    }
    if let Some(hint) = hint(diagnostic) {
        for line in hint.lines() {
            head(out, "hint", CYAN, line, style);
        }
    }
}

/// Finds what to do: the diagnostic's own hint, else the one of what it came from.
fn hint(diagnostic: &dyn Diagnostic) -> Option<String> {
    match diagnostic.help() {
        Some(help) => Some(help.to_string()),
        None => diagnostic.diagnostic_source().and_then(hint),
    }
}

fn head(out: &mut String, word: &str, code: &str, text: &str, style: Style) {
    let indent = "  ";
    let lines = wrap(text, style.width, word.len() + 2, indent.len());
    for (index, line) in lines.iter().enumerate() {
        if index == 0 {
            _ = writeln!(out, "{} {line}", style.paint(code, &format!("{word}:")));
        } else {
            _ = writeln!(out, "{indent}{line}");
        }
    }
}

fn detail(out: &mut String, text: &str, style: Style) {
    let text = text.trim();
    for (index, line) in wrap(text, style.width, 2, 4).iter().enumerate() {
        _ = writeln!(out, "{}{line}", if index == 0 { "  " } else { "    " });
    }
}

/// Breaks a text at spaces, but not inside backticks: what stands there may be copied.
pub(super) fn wrap(text: &str, width: usize, first: usize, next: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quoted = false;
    for part in text.split(' ') {
        let glue = quoted;
        quoted ^= part.matches('`').count() % 2 == 1;
        match words.last_mut().filter(|_| glue) {
            Some(word) => *word = format!("{word} {part}"),
            None => words.push(part.to_owned()),
        }
    }
    let mut lines = vec![String::new()];
    let mut room = width.saturating_sub(first);
    for word in words {
        let line = lines.last_mut().expect("there is always a line");
        let (have, need) = (line.chars().count(), word.chars().count());
        if have > 0 && have + 1 + need > room {
            lines.push(word);
            room = width.saturating_sub(next);
        } else {
            if have > 0 {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}

/// Shows the line that a label marks, with its place. Nothing, if the source does not have it.
fn excerpt(out: &mut String, source: &dyn SourceCode, label: &LabeledSpan, style: Style) {
    let Ok(contents) = source.read_span(label.inner(), 1, 1) else { return };
    let text = String::from_utf8_lossy(contents.data());
    let at = floor(&text, label.offset().saturating_sub(contents.span().offset()));
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let number = contents.line() + text[..start].matches('\n').count() + 1;
    // Where the text starts inside a line, that line's own start is missing.
    let before = if start == 0 { contents.column() } else { 0 };
    let column = text[start..at].chars().count();
    let name = contents.name().unwrap_or("input");
    let digits = number.to_string();
    let gutter = " ".repeat(digits.len());
    let blue = |text: &str| style.paint(BLUE, text);
    _ = writeln!(out, "  {} {name}:{number}:{}", blue("-->"), before + column + 1);
    if line.trim().is_empty() {
        return;
    }
    let marked =
        text[at..].chars().take(label.len()).take_while(|c| !matches!(c, '\r' | '\n')).count().max(1);
    let (line, column, marked) = window(line, column, marked, style.width.saturating_sub(digits.len() + 5));
    _ = writeln!(out, "  {gutter} {}", blue("|"));
    _ = writeln!(out, "  {} {} {line}", blue(&digits), blue("|"));
    let words = label.label().map(|words| format!(" {words}")).unwrap_or_default();
    let mark = style.paint(RED, &format!("{}{words}", "^".repeat(marked)));
    _ = writeln!(out, "  {gutter} {} {}{mark}", blue("|"), " ".repeat(column));
}

/// The greatest character boundary that is not after `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Cuts a long line to the part around the mark. Control characters become spaces.
fn window(line: &str, column: usize, marked: usize, width: usize) -> (String, usize, usize) {
    let plain: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let width = width.max(20);
    if plain.len() <= width {
        return (plain.into_iter().collect(), column, marked);
    }
    let marked = marked.min(width / 2);
    let start = (column + marked + 4).saturating_sub(width).min(column);
    let end = (start + width - 2).min(plain.len());
    let cut: String = plain[start..end].iter().collect();
    let (left, right) = (if start > 0 { "…" } else { "" }, if end < plain.len() { "…" } else { "" });
    (format!("{left}{cut}{right}"), column - start + usize::from(start > 0), marked)
}

#[cfg(test)]
mod tests {
    use miette::NamedSource;

    use super::*;

    #[derive(Debug, thiserror::Error, miette::Diagnostic)]
    enum Error {
        #[error(
            "content of `https://example.org/a.tar.gz` does not match its pin\nexpected: sha256:1f0c\nreceived: sha256:77ab"
        )]
        #[diagnostic(help(
            "if upstream really changed, run `nodeimg lock a`; otherwise do not trust this download"
        ))]
        Mismatch,
        #[error("unknown key `verison`")]
        #[diagnostic(help("did you mean `version`?"))]
        Key {
            #[source_code]
            text: NamedSource<String>,
            #[label("not a key of this table")]
            place: std::ops::Range<usize>,
        },
        #[error("can't write the locks")]
        Io(#[source] std::io::Error),
        #[error("can't resolve source `crun`")]
        Nested(
            #[source]
            #[diagnostic_source]
            Inner,
        ),
        #[error("{} problems in the recipes", .0.len())]
        Many(#[related] Vec<Error>),
        #[error("the step is slow")]
        #[diagnostic(severity(Warning))]
        Slow,
    }

    #[derive(Debug, thiserror::Error, miette::Diagnostic)]
    #[error("the download is cut off\nexpected: 12 bytes\nreceived: 7 bytes")]
    #[diagnostic(help("try again"))]
    struct Inner;

    fn key(text: &str, place: std::ops::Range<usize>) -> Error {
        Error::Key { text: NamedSource::new("recipes/packages/crun.toml", text.to_owned()), place }
    }

    fn plain(error: &Error) -> String {
        render(error, Style::PLAIN)
    }

    #[test]
    fn details_stand_below_and_hints_are_wrapped() {
        assert_eq!(
            plain(&Error::Mismatch),
            "error: content of `https://example.org/a.tar.gz` does not match its pin\n  \
               expected: sha256:1f0c\n  \
               received: sha256:77ab\n\
             hint: if upstream really changed, run `nodeimg lock a`; otherwise do not trust\n  \
               this download\n"
        );
    }

    #[test]
    fn places_are_shown_with_their_line() {
        let text = "name = \"crun\"\nverison = \"1.21\"\nlicense = \"MIT\"\n";
        assert_eq!(
            plain(&key(text, 14..21)),
            "error: unknown key `verison`\n  \
               --> recipes/packages/crun.toml:2:1\n    \
                 |\n  \
               2 | verison = \"1.21\"\n    \
                 | ^^^^^^^ not a key of this table\n\
             hint: did you mean `version`?\n"
        );
    }

    #[test]
    fn places_at_the_ends_of_files_are_shown() {
        let arrow =
            |text: &str, place| plain(&key(text, place)).lines().nth(1).unwrap_or_default().to_owned();
        assert_eq!(arrow("", 0..0), "  --> recipes/packages/crun.toml:1:1");
        assert_eq!(arrow("a", 0..0), "  --> recipes/packages/crun.toml:1:1");
        assert_eq!(arrow("a\n", 2..2), "  --> recipes/packages/crun.toml:2:1");
        assert_eq!(arrow("a\r\nb\r\nc", 6..7), "  --> recipes/packages/crun.toml:3:1");
        assert_eq!(arrow("ü\nüü b", 8..9), "  --> recipes/packages/crun.toml:2:4");
        assert_eq!(arrow("a", 7..9), "hint: did you mean `version`?");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!("first\npatches = [\"{}\", \"here\", \"{}\"]\n", "x".repeat(100), "y".repeat(100));
        let at = text.find("\"here\"").unwrap();
        let shown = plain(&key(&text, at..at + 6));
        let lines: Vec<_> = shown.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= 80 + " not a key of this table".len()),
            "{shown}"
        );
        let caret = lines[4].find('^').unwrap();
        let marked: String = lines[3].chars().skip(caret).take(6).collect();
        assert_eq!(marked, "\"here\"", "{shown}");
    }

    #[test]
    fn a_mark_over_several_lines_ends_with_the_first() {
        let shown = plain(&key("a = [\n1,\n]\n", 4..11));
        assert!(shown.contains("\n  1 | a = [\n    |     ^ not a key"), "{shown}");
    }

    #[test]
    fn causes_follow_and_give_their_hint() {
        let io = Error::Io(std::io::Error::other("no space left"));
        assert_eq!(plain(&io), "error: can't write the locks\n  no space left\n");
        assert_eq!(
            plain(&Error::Nested(Inner)).lines().collect::<Vec<_>>(),
            [
                "error: can't resolve source `crun`",
                "  the download is cut off",
                "  expected: 12 bytes",
                "  received: 7 bytes",
                "hint: try again",
            ]
        );
    }

    #[test]
    fn gathered_errors_are_shown_one_by_one() {
        assert_eq!(plain(&Error::Many(vec![Error::Slow])), "warning: the step is slow\n");
        assert_eq!(
            plain(&Error::Many(vec![Error::Slow, key("a = 1", 0..1)])),
            "warning: the step is slow\n\n\
             error: unknown key `verison`\n  --> recipes/packages/crun.toml:1:1\n    |\n  1 | a = 1\n    \
             | ^ not a key of this table\nhint: did you mean `version`?\n\n\
             error: 2 problems in the recipes\n"
        );
    }

    #[test]
    fn quoted_commands_are_not_broken() {
        let text = "run `nodeimg lock some-very-long-name another-very-long-name` and then review the diff";
        assert_eq!(
            wrap(text, 40, 6, 2),
            ["run", "`nodeimg lock some-very-long-name another-very-long-name`", "and then review the diff",]
        );
    }

    #[test]
    fn colours_are_used_only_when_asked_for() {
        let style = Style { color: true, width: 80 };
        assert_eq!(render(&Error::Slow, style), "\x1b[1;33mwarning:\x1b[0m the step is slow\n");
    }
}

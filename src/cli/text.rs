//! Texts for people and programs on stdout.

use std::io::Write as _;

use super::failure::{Failure, Problem};

/// Writes to stdout. A reader that went away is no error.
pub(super) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::Output(error).into()),
        _ => Ok(()),
    }
}

/// Writes one JSON document.
pub(super) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    out(&format!("{value:#}\n"))
}

/// Writes a size as people say it: `312 MB`, `4.1 kB`. Decimal units, as disks and registries count.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let exact = bytes as f64;
    match UNITS.into_iter().find(|(_, unit)| exact >= *unit) {
        Some((name, unit)) if exact / unit < 10.0 => format!("{:.1} {name}", exact / unit),
        Some((name, unit)) => format!("{:.0} {name}", exact / unit),
        None => format!("{bytes} B"),
    }
}

/// Lays rows out, columns as wide as they need to be.
pub(super) fn table<R: AsRef<[String]>>(rows: &[R]) -> String {
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.as_ref().get(column));
    let width = |column: usize| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &R| {
        let cells: Vec<String> =
            row.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Writes a number with its word: `1 step`, `3 steps`.
pub(super) fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// Names a few and counts the rest.
pub(super) fn some(names: &[String], most: usize) -> String {
    match names.split_at_checked(most) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// Shows what could do something to a terminal, or to the order of letters, as a code.
pub(super) fn clean(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::new();
    for c in text.chars() {
        if is_odd(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_people_say_them() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (4_100, "4.1 kB"), (312_400_000, "312 MB")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(2_500_000_000), "2.5 GB");
        assert_eq!((count(1, "step"), count(0, "file")), ("1 step".to_owned(), "0 files".to_owned()));
    }
}

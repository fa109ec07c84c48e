//! Texts, line by line.

use std::collections::BTreeMap;

use serde::Serialize;

/// Between texts that differ in more lines, no order is looked for: it would take the square of that.
const MAX_LINES: usize = 4_000;

/// So many lines are kept.
const MAX_KEPT: usize = 2_000;

/// Longer lines are cut.
const MAX_WIDTH: usize = 500;

/// Lines around what differs.
const CONTEXT: usize = 2;

/// Lines that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// How many are gone.
    pub gone: usize,
    /// How many are new.
    pub new: usize,
    /// Where, with what stands around. Empty where too much differs to show it.
    pub hunks: Vec<Hunk>,
    /// Whether hunks were left out or cut.
    pub cut: bool,
}

/// One place where lines differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hunk {
    /// Its first line's number in the text before.
    pub before: usize,
    /// Its first line's number in the text now.
    pub now: usize,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which text has it.
    pub sign: Sign,
    /// The line, without its end.
    pub text: String,
}

/// Which of two texts has a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sign {
    /// Both.
    #[serde(rename = " ")]
    Same,
    /// The one before.
    #[serde(rename = "-")]
    Gone,
    /// The one now.
    #[serde(rename = "+")]
    New,
}

impl Sign {
    /// The sign as `diff -u` has it.
    pub fn as_char(self) -> char {
        match self {
            Sign::Same => ' ',
            Sign::Gone => '-',
            Sign::New => '+',
        }
    }
}

/// Compares two texts; nothing if they are equal.
pub fn lines(before: &str, now: &str) -> Option<Lines> {
    if before == now {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), now.split_inclusive('\n').collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    if old.len() > MAX_LINES || new.len() > MAX_LINES {
        return Some(counted(old, new));
    }
    let patch = diffy::DiffOptions::new().set_context_len(CONTEXT).create_patch(before, now);
    let mut found = Lines { gone: 0, new: 0, hunks: Vec::new(), cut: false };
    let mut kept = 0;
    for hunk in patch.hunks() {
        let mut lines = Vec::new();
        for line in hunk.lines() {
            let (sign, text) = match line {
                diffy::Line::Context(text) => (Sign::Same, text),
                diffy::Line::Delete(text) => (Sign::Gone, text),
                diffy::Line::Insert(text) => (Sign::New, text),
            };
            match sign {
                Sign::Same => {}
                Sign::Gone => found.gone += 1,
                Sign::New => found.new += 1,
            }
            kept += 1;
            if kept <= MAX_KEPT {
                lines.push(Line { sign, text: short(text) });
            }
        }
        found.cut |= kept > MAX_KEPT;
        if !lines.is_empty() {
            let (before, now) = (hunk.old_range().start(), hunk.new_range().start());
            found.hunks.push(Hunk { before, now, lines });
        }
    }
    Some(found)
}

/// Counts lines that only one of two texts has, wherever they stand.
fn counted(before: &[&str], now: &[&str]) -> Lines {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    before.iter().for_each(|line| *counts.entry(line).or_default() -= 1);
    now.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    let sum = |sign: i64| counts.values().map(|count| (count * sign).max(0) as usize).sum();
    Lines { gone: sum(-1), new: sum(1), hunks: Vec::new(), cut: true }
}

fn short(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    match line.char_indices().nth(MAX_WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

//! A recipe file's text, and where in it a value stands.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::error::{Fault, Problem};

/// A recipe file: its path relative to the project and its text.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) file: String,
    pub(super) text: Arc<str>,
}

/// One step on the way to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into an array.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Step::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

impl Document {
    /// Makes a problem of this file.
    pub(super) fn problem(&self, fault: Fault, span: Range<usize>) -> Problem {
        let end = span.end.min(self.text.len());
        Problem::new(fault, &self.file, &self.text, span.start.min(end)..end)
    }

    /// Finds everything that is wrong where the type behind a schema can't be read: at least what `error` says.
    pub(super) fn faults(&self, schema: &serde_json::Value, error: &toml::de::Error) -> Vec<Problem> {
        let found = check::check(self, schema);
        if !found.is_empty() {
            return found;
        }
        vec![self.problem(Fault::Value(error.message().to_owned()), error.span().unwrap_or(0..0))]
    }

    /// Makes a problem at the value that `path` leads to, or at the nearest table around it. Values are found by
    /// reading the text again: places are only wanted when something is wrong.
    pub(super) fn at(&self, fault: Fault, path: &[Step<'_>]) -> Problem {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        self.problem(fault, locate(&root, path))
    }
}

fn step_into<'d, 'i>(value: &'d Spanned<DeValue<'i>>, step: Step<'_>) -> Option<&'d Spanned<DeValue<'i>>> {
    match (value.get_ref(), step) {
        (DeValue::Table(table), Step::Key(key)) => table.get(key),
        (DeValue::Array(array), Step::Index(index)) => array.get(index),
        _ => None,
    }
}

/// Finds where the value of `path` stands; where the way ends early, the last value on it.
fn locate(root: &Spanned<DeTable<'_>>, path: &[Step<'_>]) -> Range<usize> {
    let mut steps = path.iter();
    let first = steps.next().and_then(|step| match step {
        Step::Key(key) => root.get_ref().get(*key),
        Step::Index(_) => None,
    });
    let Some(mut value) = first else { return 0..0 };
    for step in steps {
        let Some(next) = step_into(value, *step) else { break };
        value = next;
    }
    value.span()
}

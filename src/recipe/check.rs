//! Checks a recipe's document against the JSON Schema of its type and finds everything that is wrong.
//!
//! Only asked when a recipe does not deserialize: the schema comes from the same types, so what it finds is what
//! `serde` stopped at, and all the rest of it.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::error::{Fault, Problem, near};
use super::suite::Snapshot;
use super::value::{Size, Time};
use crate::base::{GuestPath, Name};

/// Finds what is wrong with a document. Empty if the schema has nothing against it.
pub(super) fn check(document: &Document, schema: &Value) -> Vec<Problem> {
    let (root, errors) = DeTable::parse_recoverable(&document.text);
    if !errors.is_empty() {
        return errors.iter().map(|error| syntax(document, error)).collect();
    }
    let mut walk = Walk { document, schema, problems: Vec::new() };
    walk.table(schema, root.get_ref(), root.span().start..root.span().start);
    walk.problems
}

/// Makes a problem of what the TOML parser says.
pub(super) fn syntax(document: &Document, error: &toml::de::Error) -> Problem {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let message = message.trim_end_matches(", expected nothing").to_owned();
    document.problem(Fault::Syntax(message), error.span().unwrap_or(0..0))
}

struct Walk<'a> {
    document: &'a Document,
    schema: &'a Value,
    problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    fn push(&mut self, fault: Fault, span: Range<usize>) {
        self.problems.push(self.document.problem(fault, span));
    }

    /// Follows `$ref`, and the `allOf` of one that drafts before 2019 need beside a description.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
            let target = path.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
            return target.map_or(schema, |target| self.resolve(target));
        }
        match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => self.resolve(only),
            _ => schema,
        }
    }

    fn value(&mut self, schema: &'a Value, key: &str, value: &Spanned<DeValue<'_>>) {
        let schema = self.resolve(schema);
        let choices = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        if let Some(choices) = choices {
            return self.choice(choices, key, value);
        }
        if !fits(schema, value.get_ref()) {
            let wanted = wanted(schema);
            let found = found(value.get_ref());
            return self.push(Fault::WrongType { key: key.to_owned(), wanted, found }, value.span());
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(schema, table, value.span()),
            DeValue::Array(array) => {
                if let Some(items) = schema.get("items") {
                    for item in array.iter() {
                        self.value(items, key, item);
                    }
                }
            }
            DeValue::String(text) => self.string(schema, key, text, value.span()),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                let least = schema.get("minimum").and_then(Value::as_i64);
                let most = if schema.get("format").is_some_and(|f| f == "uint32") {
                    u32::MAX.into()
                } else {
                    i64::MAX
                };
                if !number.is_ok_and(|number| least.is_none_or(|least| number >= least) && number <= most) {
                    self.push(Fault::Value(format!("`{key}` is out of range")), value.span());
                }
            }
            _ => {}
        }
    }

    /// Takes the choice that the value fits best, and what is wrong with it as that.
    fn choice(&mut self, choices: &'a [Value], key: &str, value: &Spanned<DeValue<'_>>) {
        let fitting: Vec<_> = choices
            .iter()
            .map(|choice| self.resolve(choice))
            .filter(|choice| fits(choice, value.get_ref()))
            .collect();
        let tries = fitting.iter().map(|choice| {
            let mut walk = Walk { document: self.document, schema: self.schema, problems: Vec::new() };
            walk.value(choice, key, value);
            walk.problems
        });
        match tries.min_by_key(Vec::len) {
            Some(problems) => self.problems.extend(problems),
            None => {
                let wanted: BTreeSet<_> = choices.iter().map(|choice| wanted(self.resolve(choice))).collect();
                let wanted = wanted.into_iter().collect::<Vec<_>>().join(" or ");
                self.push(
                    Fault::WrongType { key: key.to_owned(), wanted, found: found(value.get_ref()) },
                    value.span(),
                );
            }
        }
    }

    fn table(&mut self, schema: &'a Value, table: &DeTable<'_>, span: Range<usize>) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let others =
            patterns.and_then(|all| all.values().next()).or_else(|| schema.get("additionalProperties"));
        let mut meant = BTreeSet::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if let Some(schema) = properties.and_then(|known| known.get(name)) {
                self.value(schema, name, value);
            } else if others == Some(&Value::Bool(false)) {
                let known: Vec<_> = properties.unwrap_or(&none).keys().cloned().collect();
                let free = known.iter().map(String::as_str).filter(|key| !table.contains_key(*key));
                let near = near(name, free);
                meant.extend(near.clone());
                self.push(Fault::UnknownKey { key: name.to_owned(), near, known }, key.span());
            } else if let Some(schema) = others {
                self.value(schema, name, value);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !table.contains_key(key) && !meant.contains(key) {
                self.push(Fault::MissingKey(key.to_owned()), span.clone());
            }
        }
    }

    fn string(&mut self, schema: &'a Value, key: &str, text: &str, span: Range<usize>) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            if !allowed.contains(&text) {
                let near = near(text, allowed.iter().copied());
                let allowed = allowed.iter().map(|one| (*one).to_owned()).collect();
                self.push(
                    Fault::NotOneOf { key: key.to_owned(), value: text.to_owned(), near, allowed },
                    span,
                );
            }
            return;
        }
        let read = match schema.get("format").and_then(Value::as_str) {
            Some("file-name") => Name::new(text).map(drop).map_err(|error| error.to_string()),
            Some("guest-path") => GuestPath::new(text).map(drop).map_err(|error| error.to_string()),
            Some("size") => text.parse::<Size>().map(drop).map_err(|error| error.to_string()),
            Some("time-span") => text.parse::<Time>().map(drop).map_err(|error| error.to_string()),
            Some("snapshot") => text.parse::<Snapshot>().map(drop),
            _ => Ok(()),
        };
        if let Err(reason) = read {
            self.push(Fault::Value(reason), span);
        }
    }
}

/// Tells whether a value is of a type that the schema allows.
fn fits(schema: &Value, value: &DeValue<'_>) -> bool {
    let is = |name: &str| match value {
        DeValue::String(_) => name == "string",
        DeValue::Integer(_) => matches!(name, "integer" | "number"),
        DeValue::Float(_) => name == "number",
        DeValue::Boolean(_) => name == "boolean",
        DeValue::Datetime(_) => false,
        DeValue::Array(_) => name == "array",
        DeValue::Table(_) => name == "object",
    };
    match schema.get("type") {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// Says what a schema wants, for people.
fn wanted(schema: &Value) -> String {
    let name = match schema.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) => names.first().and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    };
    let words = match name {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" if schema.pointer("/items/type").is_some_and(|kind| kind == "string") => "a list of strings",
        "array" => "a list",
        "object" => "a table",
        _ => "something else",
    };
    words.to_owned()
}

/// Says what a value is, for people.
fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

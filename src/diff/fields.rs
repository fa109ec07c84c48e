//! JSON and TOML, field by field.

use serde_json::Value;

use super::Detail;

/// So many fields are told.
const MAX_FIELDS: usize = 500;

/// Longer values are cut.
const MAX_WIDTH: usize = 300;

/// What elements of lists are known by, in the order that it is looked for.
const NAMES: [&str; 5] = ["digest", "id", "name", "path", "key"];

/// Says which fields differ, if both texts are documents of one kind.
pub(super) fn details(path: &str, before: &str, now: &str) -> Option<Vec<Detail>> {
    let parse = |text| parse(path, text);
    Some(fields(&parse(before)?, &parse(now)?))
}

fn parse(path: &str, text: &str) -> Option<Value> {
    if path.ends_with(".toml") {
        return text.parse::<toml::Table>().ok().map(|table| plain(toml::Value::Table(table)));
    }
    // Few other texts start so, and those don't parse.
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()
}

/// Makes JSON of TOML, whose dates become texts.
fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::from(truth),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(plain).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, plain(value))).collect(),
    }
}

/// Compares two documents.
pub fn fields(before: &Value, now: &Value) -> Vec<Detail> {
    let mut details = Vec::new();
    compare(String::new(), Some(before), Some(now), &mut details);
    if let Some(more) = details.len().checked_sub(MAX_FIELDS).filter(|more| *more > 0) {
        details.truncate(MAX_FIELDS);
        details.push(Detail::value(format!("{more} more fields"), None, None));
    }
    details
}

fn compare(at: String, before: Option<&Value>, now: Option<&Value>, details: &mut Vec<Detail>) {
    if before == now {
        return;
    }
    match (before, now) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                compare(below(&at, key), old.get(key), new.get(key), details);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(&at, old, new, details),
        // A script, or another text in a document.
        (Some(Value::String(old)), Some(Value::String(new))) if old.contains('\n') || new.contains('\n') => {
            match super::lines(old, new) {
                Some(lines) => {
                    details.extend([Detail::value(named(at), None, None), Detail::Lines(lines)]);
                }
                None => details.push(Detail::value(named(at), before.map(shown), now.map(shown))),
            }
        }
        _ => details.push(Detail::value(named(at), before.map(shown), now.map(shown))),
    }
}

fn named(at: String) -> String {
    if at.is_empty() { "the whole".to_owned() } else { at }
}

fn below(at: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    let key = if is_plain { key.to_owned() } else { Value::from(key).to_string() };
    if at.is_empty() { key } else { format!("{at}.{key}") }
}

fn lists(at: &str, before: &[Value], now: &[Value], details: &mut Vec<Detail>) {
    let is_flat = |list: &[Value]| list.iter().all(|item| !item.is_object() && !item.is_array());
    if is_flat(before) && is_flat(now) {
        let texts = |list: &[Value]| list.iter().map(shown).collect::<Vec<_>>();
        let (old, new) = (texts(before), texts(now));
        match Detail::sets(named(at.to_owned()), &old, &new) {
            Some(detail) => details.push(detail),
            None => details.push(Detail::value(format!("order of {}", named(at.to_owned())), None, None)),
        }
        return;
    }
    if let Some(name) = NAMES.into_iter().find(|name| is_known_by(name, before) && is_known_by(name, now)) {
        let find = |list: &'_ [Value], wanted: &Value| list.iter().position(|item| item[name] == *wanted);
        for old in before {
            let at = format!("{at}[{}]", shown(&old[name]));
            compare(at, Some(old), find(now, &old[name]).map(|found| &now[found]), details);
        }
        for new in now.iter().filter(|new| find(before, &new[name]).is_none()) {
            compare(format!("{at}[{}]", shown(&new[name])), None, Some(new), details);
        }
        return;
    }
    for index in 0..before.len().max(now.len()) {
        compare(format!("{at}[{index}]"), before.get(index), now.get(index), details);
    }
}

/// Tells whether each element has such a name, no two the same.
fn is_known_by(name: &str, list: &[Value]) -> bool {
    let mut names: Vec<&str> = list.iter().filter_map(|item| item.get(name)?.as_str()).collect();
    let complete = names.len() == list.len() && list.len() <= 1_000;
    names.sort_unstable();
    complete && names.windows(2).all(|pair| pair[0] != pair[1])
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MAX_WIDTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

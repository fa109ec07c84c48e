//! Keys of steps, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Fetch, Step, Work};
use crate::base::{Digest, Sha256};

/// Makes a step's key. A file that is fetched has its own hash as its key.
pub(super) fn key<'a>(work: &Work, inputs: impl Iterator<Item = &'a Sha256>) -> Sha256 {
    if let Work::Fetch(fetch) = work {
        return fetch.sha256();
    }
    let mut text = b"nodeimg step 1\n".to_vec();
    serde_json::to_writer(&mut text, work).expect("a step is plain data");
    for input in inputs {
        text.extend_from_slice(format!("\n{input}").as_bytes());
    }
    Sha256::of(&text)
}

/// Names what a step gives by the content of its inputs, where its key names it by what the inputs are made of.
pub fn content_key(work: &Work, inputs: &[Digest]) -> Sha256 {
    let mut text = b"nodeimg step on content 1\n".to_vec();
    serde_json::to_writer(&mut text, work).expect("a step is plain data");
    for input in inputs {
        text.extend_from_slice(format!("\n{input}").as_bytes());
    }
    Sha256::of(&text)
}

impl Fetch {
    /// Gives the hash of what is fetched.
    pub fn sha256(&self) -> Sha256 {
        match self {
            Fetch::Source { pin, .. } => pin.sha256,
            Fetch::Debian { pin, .. } => pin.sha256,
        }
    }
}

impl Step {
    /// Lists what the key is made of: each value with the name a person knows it by.
    /// `inputs` are the step's inputs in order.
    pub fn fields<'a>(&self, inputs: impl Iterator<Item = &'a Step>) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let value = serde_json::to_value(&self.work).expect("a step is plain data");
        flatten(&value, "", &mut fields);
        for (index, input) in inputs.enumerate() {
            fields.insert(self.input_field(index, input), input.key.to_string());
        }
        fields
    }

    /// Names the field that an input of the step is in [`Step::fields`].
    pub fn input_field(&self, index: usize, input: &Step) -> String {
        let name = self.input_name(index).unwrap_or_else(|| input.labels[0].to_string());
        format!("input `{name}`")
    }
}

fn flatten(value: &serde_json::Value, name: &str, fields: &mut BTreeMap<String, String>) {
    let join = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(value, &join(key), fields))
        }
        serde_json::Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(item, &join(&at.to_string()), fields));
        }
        other => {
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            fields.insert(name.to_owned(), text);
        }
    }
}

/// Says in a few words how fields differ, most telling first; nothing if they don't.
pub fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut changed: Vec<&String> = keys.into_iter().filter(|&key| before.get(key) != now.get(key)).collect();
    changed.sort_by_key(|key| key.starts_with("input "));
    let word = |key: &&String| match (before.contains_key(*key), now.contains_key(*key)) {
        (true, true) => format!("{key} changed"),
        (false, _) => format!("{key} is new"),
        _ => format!("{key} is gone"),
    };
    let told: Vec<String> = changed.iter().take(3).map(word).collect();
    let more = changed.len().saturating_sub(told.len());
    match (told.is_empty(), more) {
        (true, _) => None,
        (_, 0) => Some(told.join(", ")),
        _ => Some(format!("{}, and {more} more", told.join(", "))),
    }
}

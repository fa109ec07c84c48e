//! Writes JSON values as YAML in block style, for manifests that people read.

use serde_json::Value;

/// Writes one document. Strings are quoted as in JSON (which YAML 1.2 contains) unless they are plainly words.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&format!("{pad}{}:", scalar(key)));
                nested(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                // The first line of an item stands behind its dash.
                out.push_str(&format!("{pad}- {}", inner.trim_start()));
            }
        }
        leaf => out.push_str(&format!("{pad}{}\n", plain(leaf))),
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let composite = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if composite {
        out.push('\n');
        block(value, depth, out);
    } else {
        out.push_str(&format!(" {}\n", plain(value)));
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    // YAML 1.1 parsers (Kubernetes') read these words as booleans and null.
    let special = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    if word && !special.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

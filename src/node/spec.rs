//! Base runtime specs: the OCI runtime configuration that containerd's CRI starts each container from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Error;

/// Gives the spec `base` (the content of `path`) with `annotations` set (runtime-spec, config.md,
/// "Annotations"). All else stays, keys in the base's order.
pub(super) fn annotate(
    path: &str,
    base: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let mut spec = parse(path, base)?;
    let there = spec.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(there) = there else {
        return Err(broken(path, "`annotations` is no object".to_owned()));
    };
    for (key, text) in annotations {
        there.insert(key.clone(), Value::String(text.clone()));
    }
    Ok(write(&spec))
}

/// Gives a spec in the layout that [`annotate`] writes.
pub(super) fn laid_out(path: &str, base: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(write(&parse(path, base)?))
}

fn parse(path: &str, text: &[u8]) -> Result<Map<String, Value>, Error> {
    serde_json::from_slice(text).map_err(|error| broken(path, error.to_string()))
}

fn write(spec: &Map<String, Value>) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(spec).expect("a JSON value can be written");
    text.push(b'\n');
    text
}

fn broken(path: &str, reason: String) -> Error {
    Error::Spec { path: path.to_owned(), reason }
}

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
    let broken = |reason: String| Error::Spec { path: path.to_owned(), reason };
    let mut spec: Map<String, Value> =
        serde_json::from_slice(base).map_err(|error| broken(error.to_string()))?;
    let there = spec.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(there) = there else {
        return Err(broken("`annotations` is no object".to_owned()));
    };
    for (key, text) in annotations {
        there.insert(key.clone(), Value::String(text.clone()));
    }
    let mut text = serde_json::to_vec_pretty(&spec).expect("a JSON value can be written");
    text.push(b'\n');
    Ok(text)
}

//! RuntimeClasses whose pods no node would take.

use std::collections::BTreeMap;

use super::{Checked, Error, Gate, View};
use crate::node;

pub(super) const GATE: Gate =
    Gate { name: "classes", about: "every RuntimeClass's node selector fits the node's labels", check };

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let Some(node) = view.node else {
        return Ok(Checked::LeftOut("only a recipe says what RuntimeClasses there are".to_owned()));
    };
    let labels: BTreeMap<String, String> = node::labels(node);
    let mut found = Vec::new();
    for runtime in &node.runtimes {
        for (key, value) in &runtime.node_labels {
            let label = labels.get(key);
            if label == Some(value) {
                continue;
            }
            let class = &runtime.runtime_class;
            let other = label.map_or_else(|| "no such label".to_owned(), |label| format!("`{key}={label}`"));
            found.push((
                class.clone(),
                format!(
                    "RuntimeClass `{class}` selects nodes with `{key}={value}`, and the node has {other}"
                ),
                "give the runtimes labels with keys of their own in `node-labels`".to_owned(),
            ));
        }
    }
    Ok(Checked::all(&GATE, found))
}

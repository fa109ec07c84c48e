//! Annotations of pods that containerd would not hand on to the runtime.

use super::{Checked, Error, Gate, View};
use crate::node::{TrialClass, pattern};

pub(super) const GATE: Gate =
    Gate { name: "annotations", about: "what pods say to a runtime reaches it", check };

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let mut found = Vec::new();
    for (name, handler) in view.handlers() {
        for broken in handler.pod_annotations.iter().filter(|one| pattern::matches(one, "").is_none()) {
            found.push((
                name.clone(),
                format!("`{broken}` of runtime `{name}`'s `pod_annotations` is no pattern, and lets nothing through"),
                "patterns have `*`, `?`, `[a-z]` and `\\`".to_owned(),
            ));
        }
    }
    let Some(node) = view.node else {
        return Ok(match found.is_empty() {
            true => Checked::LeftOut("only a recipe says what its pods are annotated with".to_owned()),
            false => Checked::all(&GATE, found),
        });
    };
    for runtime in &node.runtimes {
        let Some(handler) = view.handlers().get(&runtime.handler) else { continue };
        let passes =
            |key: &str| handler.pod_annotations.iter().any(|one| pattern::matches(one, key) == Some(true));
        for pod in runtime.trial.iter().filter(|pod| pod.class == TrialClass::Own) {
            for key in pod.annotations.keys().filter(|key| !passes(key)) {
                let folder = key.rsplit_once('/').map_or("*".to_owned(), |(folder, _)| format!("{folder}/*"));
                found.push((
                    runtime.handler.clone(),
                    format!(
                        "annotation `{key}` of pod `{}` does not reach runtime `{}`: no pattern of its `pod_annotations` lets it through",
                        pod.name, runtime.handler
                    ),
                    format!("add `\"{folder}\"` to `pod-annotations` of the runtime's recipe (`*` stops at `/`)"),
                ));
            }
        }
    }
    Ok(Checked::all(&GATE, found))
}

//! Kubernetes' and kind's side of a node: manifests that agree with containerd's handlers.

use serde_json::{Map, Value, json};

use super::{Node, Runtime, yaml};

/// RuntimeClasses (API `node.k8s.io/v1`, there from Kubernetes 1.20 on), one document a runtime.
pub(super) fn runtime_classes(node: &Node) -> String {
    let documents: Vec<String> = node.runtimes.iter().map(|r| yaml::document(&runtime_class(r))).collect();
    documents.join("---\n")
}

fn runtime_class(runtime: &Runtime) -> Value {
    let mut class = json!({
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": { "name": runtime.runtime_class },
        "handler": runtime.handler,
    });
    if !runtime.node_labels.is_empty() {
        class["scheduling"] = json!({ "nodeSelector": runtime.node_labels });
    }
    class
}

/// kind's cluster config (`kind.x-k8s.io/v1alpha4`): one node of this image with every runtime's labels.
pub(super) fn cluster(node: &Node) -> String {
    let mut member = json!({ "role": "control-plane", "image": node.reference });
    let labels: Map<String, Value> = node
        .runtimes
        .iter()
        .flat_map(|runtime| &runtime.node_labels)
        .map(|(key, text)| (key.clone(), Value::from(text.as_str())))
        .collect();
    if !labels.is_empty() {
        member["labels"] = Value::Object(labels);
    }
    yaml::document(&json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [member],
    }))
}

/// An example: one Job whose pod has the runtime's example containers side by side.
pub(super) fn example(runtime: &Runtime) -> String {
    let containers: Vec<Value> = runtime
        .example
        .iter()
        .map(|c| json!({ "name": c.name, "image": c.image, "imagePullPolicy": "Never" }))
        .collect();
    yaml::document(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": super::example_name(runtime) },
        "spec": {
            "backoffLimit": 0,
            "template": { "spec": {
                "runtimeClassName": runtime.runtime_class,
                "restartPolicy": "Never",
                "containers": containers,
            } },
        },
    }))
}

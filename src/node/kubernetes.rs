//! Kubernetes' and kind's side of a node: manifests that agree with containerd's handlers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ExampleContainer, Node, Runtime, TrialClass, TrialPod, yaml};

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
    job(&super::example_name(runtime), Some(&runtime.runtime_class), &BTreeMap::new(), &runtime.example)
}

/// A pod of a trial, as a Job.
pub(super) fn trial(name: &str, runtime: &Runtime, pod: &TrialPod) -> String {
    let class = (pod.class == TrialClass::Own).then_some(runtime.runtime_class.as_str());
    job(name, class, &pod.annotations, &pod.containers)
}

fn job(
    name: &str,
    class: Option<&str>,
    annotations: &BTreeMap<String, String>,
    containers: &[ExampleContainer],
) -> String {
    let mut template = Map::new();
    if !annotations.is_empty() {
        template.insert("metadata".to_owned(), json!({ "annotations": annotations }));
    }
    let mut spec = Map::new();
    if let Some(class) = class {
        spec.insert("runtimeClassName".to_owned(), class.into());
    }
    spec.insert("restartPolicy".to_owned(), "Never".into());
    spec.insert("containers".to_owned(), containers.iter().map(container).collect());
    template.insert("spec".to_owned(), spec.into());
    yaml::document(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": template },
    }))
}

fn container(container: &ExampleContainer) -> Value {
    let mut value = json!({ "name": container.name, "image": container.image, "imagePullPolicy": "Never" });
    if !container.command.is_empty() {
        value["command"] = json!(container.command);
    }
    if container.stdin.is_some() {
        // Closed after the first who attaches to it.
        value["stdin"] = true.into();
        value["stdinOnce"] = true.into();
    }
    if !container.args.is_empty() {
        value["args"] = json!(container.args);
    }
    if !container.env.is_empty() {
        let variable = |(name, text): (&String, &String)| json!({ "name": name, "value": text });
        value["env"] = container.env.iter().map(variable).collect();
    }
    if let Some(memory) = container.memory {
        value["resources"] = json!({ "limits": { "memory": memory.to_string() } });
    }
    value
}

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

/// Gives the labels that a node of the image has: every runtime's.
pub fn labels(node: &Node) -> BTreeMap<String, String> {
    let all = node.runtimes.iter().flat_map(|runtime| &runtime.node_labels);
    all.map(|(key, text)| (key.clone(), text.clone())).collect()
}

/// kind's cluster config (`kind.x-k8s.io/v1alpha4`): one node of this image with every runtime's labels.
pub(super) fn cluster(node: &Node) -> String {
    let mut member = json!({ "role": "control-plane", "image": node.reference });
    let labels: Map<String, Value> =
        labels(node).into_iter().map(|(key, text)| (key, Value::from(text))).collect();
    if !labels.is_empty() {
        member["labels"] = Value::Object(labels);
    }
    yaml::document(&json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [member],
    }))
}

/// The label that names what pods belong to.
pub(super) const NAME_LABEL: &str = "app.kubernetes.io/name";

/// An example: one Job whose pod has the runtime's example containers side by side; where they serve, a Deployment and
/// its Service.
pub(super) fn example(runtime: &Runtime) -> String {
    workload(&super::example_name(runtime), Some(&runtime.runtime_class), &BTreeMap::new(), &runtime.example)
}

/// A pod of a trial, as a Job or a Deployment.
pub(super) fn trial(name: &str, runtime: &Runtime, pod: &TrialPod) -> String {
    let class = (pod.class == TrialClass::Own).then_some(runtime.runtime_class.as_str());
    workload(name, class, &pod.annotations, &pod.containers)
}

fn workload(
    name: &str,
    class: Option<&str>,
    annotations: &BTreeMap<String, String>,
    containers: &[ExampleContainer],
) -> String {
    let serves = super::serve(containers);
    let mut metadata = Map::new();
    if serves {
        metadata.insert("labels".to_owned(), json!({ NAME_LABEL: name }));
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    let mut template = Map::new();
    if !metadata.is_empty() {
        template.insert("metadata".to_owned(), metadata.into());
    }
    let mut spec = Map::new();
    if let Some(class) = class {
        spec.insert("runtimeClassName".to_owned(), class.into());
    }
    if !serves {
        spec.insert("restartPolicy".to_owned(), "Never".into());
    }
    spec.insert("containers".to_owned(), containers.iter().map(container).collect());
    template.insert("spec".to_owned(), spec.into());
    if serves {
        return deployment(name, &template.into(), containers);
    }
    yaml::document(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": template },
    }))
}

fn deployment(name: &str, template: &Value, containers: &[ExampleContainer]) -> String {
    let deployment = yaml::document(&json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": { "selector": { "matchLabels": { NAME_LABEL: name } }, "template": template },
    }));
    let served = containers.iter().filter_map(|container| Some((container, container.http.as_ref()?)));
    let ports = served.map(|(container, http)| json!({ "name": container.name, "port": http.port }));
    let service = yaml::document(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": { "selector": { NAME_LABEL: name }, "ports": ports.collect::<Vec<_>>() },
    }));
    format!("{deployment}---\n{service}")
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
    if let Some(http) = &container.http {
        value["ports"] = json!([{ "containerPort": http.port }]);
    }
    if let Some(memory) = container.memory {
        value["resources"] = json!({ "limits": { "memory": memory.to_string() } });
    }
    value
}

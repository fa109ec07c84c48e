//! The gates as a step: a node image that pods would fail on is not made.

use super::{Context, Error, layer};
use crate::base::event::Event;
use crate::base::{Arch, Digest, GuestPath};
use crate::gate::{self, Faulty, Image};
use crate::image;
use crate::node::Node;
use crate::plan::GATE_FILE;
use crate::store::Tree;

/// Runs the gates over layers; errs with all that they find.
pub(super) fn check(
    arch: Arch,
    node: &Node,
    layers: &[Digest],
    context: &Context<'_>,
) -> Result<Tree, Error> {
    let layer = |(at, &tree): (usize, &Digest)| image::Layer { name: format!("{}", at + 1), tree };
    let layers: Vec<_> = layers.iter().enumerate().map(layer).collect();
    let tree = image::union(context.store, &layers)?;
    let image = Image { tree: &tree, arch: Some(arch), config: &node.containerd_config, node: Some(node) };
    let report = gate::run(&image, context.store, context.sandbox, context.cancel)?;
    for ran in &report.gates {
        if let Some(why) = &ran.left_out {
            let message = format!("gate `{}` was left out for `{}`: {why}", ran.gate, node.reference);
            context.events.emit(Event::Warning { message });
        }
    }
    if !report.findings.is_empty() {
        return Err(Faulty { image: node.reference.clone(), findings: report.findings }.into());
    }
    let text = serde_json::to_vec(&report).expect("plain values are JSON");
    let file = GuestPath::new(GATE_FILE).expect("a constant path");
    layer::tree_of([(&file, &text)], context.store)
}

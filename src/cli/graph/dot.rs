//! A graph for Graphviz and all that reads its language.

use std::fmt::Write as _;

use super::{Graph, State};

/// Writes the graph, arrows from inputs to what is made of them.
pub(super) fn dot(graph: &Graph) -> String {
    let mut out =
        "digraph nodeimg {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for (at, node) in graph.nodes.iter().enumerate() {
        let style = match node.state {
            State::Absent => ", style=bold",
            State::NotNeeded => ", style=dashed",
            State::There => "",
        };
        let name = node.name.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(out, "  n{at} [label=\"{}\\n{name}\"{style}];", node.verb);
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            let _ = writeln!(out, "  n{input} -> n{at};");
        }
    }
    out + "}\n"
}

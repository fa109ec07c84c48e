//! A graph as an indented tree; what is made of the same thing twice names it the second time.

use std::collections::BTreeSet;

use super::{Graph, State};

/// Draws the graph, what was asked for first.
pub(super) fn tree(graph: &Graph) -> String {
    let (mut out, mut seen) = (String::new(), BTreeSet::new());
    // What is part of something else that was asked for is told there.
    let inner: BTreeSet<usize> = graph.nodes.iter().flat_map(|node| node.inputs.iter().copied()).collect();
    for &node in graph.wanted.iter().filter(|node| !inner.contains(node)) {
        if !seen.contains(&node) {
            draw(graph, node, "", "", &mut seen, &mut out);
        }
    }
    out
}

fn draw(graph: &Graph, at: usize, first: &str, rest: &str, seen: &mut BTreeSet<usize>, out: &mut String) {
    let node = &graph.nodes[at];
    if !seen.insert(at) {
        *out += &format!("{first}{} ↑\n", node.name);
        return;
    }
    let state = if node.state == State::Absent { ", to make" } else { "" };
    *out += &format!("{first}{}  {}{state}\n", node.name, node.verb);
    for (index, &input) in node.inputs.iter().enumerate() {
        let is_last = index + 1 == node.inputs.len();
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(graph, input, &format!("{rest}{branch}"), &format!("{rest}{below}"), seen, out);
    }
}

//! `nodeimg graph`: the steps of a plan and what they are made of, as text, DOT or SVG.

mod dot;
mod layout;
mod svg;
mod tree;

use std::collections::BTreeMap;

use serde_json::json;

use super::failure::Failure;
use super::session::Session;
use super::{arguments, plan, steps, text};
use crate::plan::{Fetch, Plan, StepId, Work};
use crate::realise::{self, Known};

/// Steps and groups of steps, inputs before what is made of them.
struct Graph {
    nodes: Vec<Node>,
    /// The nodes that were asked for.
    wanted: Vec<usize>,
}

/// A step, or files that only one step takes.
struct Node {
    /// What is done.
    verb: &'static str,
    /// What people call it.
    name: String,
    /// Whether it would be done.
    state: State,
    /// Nodes that it is made of.
    inputs: Vec<usize>,
}

/// Whether a step would be done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    Absent,
    NotNeeded,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::There => "reused",
            State::Absent => "absent",
            State::NotNeeded => "not-needed",
        }
    }
}

pub(super) fn run(session: &Session, command: &arguments::Graph) -> Result<i32, Failure> {
    let store = session.store()?;
    let names: Vec<String> = command.name.iter().cloned().collect();
    let (plan, wanted) = match (session.project()?.targets(&names), &command.name) {
        (Err(_), Some(name)) => {
            let (plan, step) = steps::find(session, name, &store)?;
            (plan, vec![step])
        }
        (targets, _) => {
            targets?;
            let platforms = Session::platforms(&command.platforms.platform)?;
            let (_, plan) = session.plan(&names, &platforms, &store)?;
            let wanted = plan.wanted();
            (plan, wanted)
        }
    };
    let known = realise::explain(&plan, &wanted, &store)?;
    let graph = Graph::new(&plan, &wanted, &known);
    if session.common.json {
        text::json(&graph.document())?;
    } else if command.dot {
        text::out(&dot::dot(&graph))?;
    } else if command.svg {
        text::out(&svg::svg(&graph))?;
    } else {
        text::out(&tree::tree(&graph))?;
    }
    Ok(0)
}

/// Files that come by the dozen, and what they are called together.
fn crowd(work: &Work) -> Option<&'static str> {
    match work {
        Work::Root { .. } => Some("Debian package"),
        Work::Crates { .. } => Some("crate"),
        _ => None,
    }
}

impl Graph {
    fn new(plan: &Plan, wanted: &[StepId], known: &[Known]) -> Self {
        let mut graph = Graph { nodes: Vec::new(), wanted: Vec::new() };
        let mut at = BTreeMap::new();
        graph.wanted = wanted.iter().map(|&step| graph.add(plan, step, known, &mut at)).collect();
        graph.wanted.dedup();
        graph
    }

    /// Takes a step in, with all that it is made of.
    fn add(&mut self, plan: &Plan, id: StepId, known: &[Known], at: &mut BTreeMap<StepId, usize>) -> usize {
        if let Some(&node) = at.get(&id) {
            return node;
        }
        let step = &plan.steps[id];
        let state = |id: StepId| match &known[id] {
            Known::There(_) => State::There,
            Known::Absent(_) => State::Absent,
            Known::NotNeeded => State::NotNeeded,
        };
        let mut inputs = Vec::new();
        if let Some(word) = crowd(&step.work).filter(|_| step.inputs.len() > 1) {
            let is_absent = step.inputs.iter().any(|&input| state(input) == State::Absent);
            let node = Node {
                verb: "fetch",
                name: text::count(step.inputs.len(), word),
                state: if is_absent { State::Absent } else { state(step.inputs[0]) },
                inputs: Vec::new(),
            };
            self.nodes.push(node);
            inputs.push(self.nodes.len() - 1);
        } else {
            for &input in &step.inputs {
                let node = self.add(plan, input, known, at);
                if !inputs.contains(&node) {
                    inputs.push(node);
                }
            }
        }
        let name = match &step.work {
            // By its name, a file is found in a listing; by its label, in the recipes.
            Work::Fetch(fetch @ Fetch::Debian { .. }) => fetch.name(),
            _ => plan::name(plan, id),
        };
        self.nodes.push(Node { verb: plan::verb(&step.work), name, state: state(id), inputs });
        at.insert(id, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn document(&self) -> serde_json::Value {
        let node = |node: &Node| json!({ "do": node.verb, "name": node.name, "state": node.state.word(), "inputs": node.inputs });
        json!({ "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(), "wanted": self.wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn graph(nodes: &[(&str, &[usize])]) -> Graph {
        let node = |(name, inputs): &(&str, &[usize])| Node {
            verb: if inputs.is_empty() { "fetch" } else { "run" },
            name: (*name).to_owned(),
            state: if *name == "b" { State::Absent } else { State::There },
            inputs: inputs.to_vec(),
        };
        Graph { nodes: nodes.iter().map(node).collect(), wanted: vec![nodes.len() - 1] }
    }

    /// A diamond with a long edge.
    pub(super) fn diamond() -> Graph {
        graph(&[("a", &[]), ("b", &[0]), ("c<\"&>", &[0]), ("d", &[1, 2]), ("e", &[3, 0])])
    }

    #[test]
    fn a_tree_tells_of_each_step_once() {
        assert_eq!(
            tree::tree(&diamond()),
            "e  run\n├─ d  run\n│  ├─ b  run, to make\n│  │  └─ a  fetch\n│  └─ c<\"&>  run\n│     └─ a ↑\n└─ a ↑\n"
        );
    }

    #[test]
    fn dot_is_quoted() {
        let text = dot::dot(&diamond());
        assert!(text.starts_with("digraph nodeimg {\n"), "{text}");
        assert!(text.contains(r#"n2 [label="run\nc<\"&>"]"#), "{text}");
        assert!(text.contains("n0 -> n4;") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn svg_is_well_formed_and_escaped() {
        let text = svg::svg(&diamond());
        assert!(text.contains("c&lt;&quot;&amp;&gt;"), "{text}");
        assert_eq!(text.matches("<g class=\"node").count(), 5);
        assert_eq!(text.matches("<path").count(), 6);
        assert_eq!(text.matches("<g").count(), text.matches("</g>").count());
        assert_eq!(text, svg::svg(&diamond()));
    }
}

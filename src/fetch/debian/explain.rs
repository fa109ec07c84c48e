//! Why wanted packages can't be had: a chain from one of them to what is missing, or to what refuses it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::relation;
use super::universe::{Candidate, Graph, Universe};

/// Writes one reason, a line each step. `involved` are the nodes that the solver found at odds.
pub(super) fn explain(universe: &Universe<'_>, graph: &Graph<'_>, involved: &BTreeSet<usize>) -> Vec<String> {
    let dead = dead(graph);
    if let Some(root) = graph.roots.iter().find(|root| dead.contains_key(root)) {
        return missing(universe, graph, &dead, *root);
    }
    refused(graph, involved)
}

/// Gives a node's name and version.
pub(super) fn shown(graph: &Graph<'_>, node: usize) -> String {
    let package = graph.nodes[node].candidate.package;
    format!("{} {}", package.name(), package.version())
}

/// Finds the nodes that can't be there whatever else is, each with the need that says so. What a need leads
/// to was found dead before.
fn dead(graph: &Graph<'_>) -> BTreeMap<usize, usize> {
    let mut dead = BTreeMap::new();
    loop {
        let before = dead.len();
        let mut found = Vec::new();
        for (at, node) in graph.nodes.iter().enumerate().filter(|(at, _)| !dead.contains_key(at)) {
            let hopeless =
                |(_, options): &(&str, Vec<usize>)| options.iter().all(|one| dead.contains_key(one));
            found.extend(node.needs.iter().position(hopeless).map(|need| (at, need)));
        }
        dead.extend(found);
        if dead.len() == before {
            return dead;
        }
    }
}

fn missing(
    universe: &Universe<'_>,
    graph: &Graph<'_>,
    dead: &BTreeMap<usize, usize>,
    root: usize,
) -> Vec<String> {
    let (mut lines, mut at) = (Vec::new(), root);
    loop {
        let (group, options) = &graph.nodes[at].needs[dead[&at]];
        let line = format!("`{}` needs `{group}`", shown(graph, at));
        let Some(first) = options.first() else {
            lines.push(format!("{line}, {}", there(universe, group)));
            return lines;
        };
        lines.push(line);
        at = *first;
    }
}

/// Says what there is instead of what a group needs.
fn there(universe: &Universe<'_>, group: &str) -> String {
    let relations = relation::alternatives(group).unwrap_or_default();
    let found = relations.iter().filter_map(|relation| universe.candidate(relation.name));
    let (asked, has): (Vec<_>, Vec<_>) =
        found.partition(|one| universe.pinned.contains_key(one.package.name()));
    let names = |some: &[Candidate<'_>]| {
        let names = some.iter().map(|one| format!("`{} {}`", one.package.name(), one.package.version()));
        names.collect::<Vec<_>>().join(" and ")
    };
    match (asked.as_slice(), has.as_slice()) {
        ([], []) => "which the suite does not have".to_owned(),
        ([], has) => format!("but the suite has {}", names(has)),
        (asked, []) => format!("but {} was asked for", names(asked)),
        (asked, has) => format!("but {} was asked for, and the suite has {}", names(asked), names(has)),
    }
}

/// Follows the needs of wanted packages, among the involved nodes, to two that don't go together.
fn refused(graph: &Graph<'_>, involved: &BTreeSet<usize>) -> Vec<String> {
    let paths = paths(graph, involved);
    let at_odds = paths.keys().find_map(|at| {
        graph.nodes[*at].refuses.iter().find_map(|(group, nodes)| {
            let other = nodes.iter().find(|other| paths.contains_key(other))?;
            Some((*at, *group, *other))
        })
    });
    let Some((at, group, other)) = at_odds else {
        let names = involved.iter().map(|node| format!("`{}`", shown(graph, *node)));
        return vec![format!("at odds are {}", names.collect::<Vec<_>>().join(", "))];
    };
    let mut lines = steps(graph, &paths, at);
    for line in steps(graph, &paths, other) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.push(format!(
        "`{}` does not go with `{group}`, which `{}` is",
        shown(graph, at),
        shown(graph, other)
    ));
    lines
}

/// For each involved node that a wanted package leads to, the node before it; none for a wanted one.
fn paths(graph: &Graph<'_>, involved: &BTreeSet<usize>) -> BTreeMap<usize, Option<usize>> {
    let wanted = graph.roots.iter().filter(|root| involved.contains(root)).copied();
    let mut paths: BTreeMap<_, _> = wanted.map(|root| (root, None)).collect();
    let mut queue: VecDeque<usize> = paths.keys().copied().collect();
    while let Some(at) = queue.pop_front() {
        for next in graph.nodes[at].needs.iter().flat_map(|(_, options)| options) {
            if involved.contains(next) && !paths.contains_key(next) {
                paths.insert(*next, Some(at));
                queue.push_back(*next);
            }
        }
    }
    paths
}

fn steps(graph: &Graph<'_>, paths: &BTreeMap<usize, Option<usize>>, to: usize) -> Vec<String> {
    let (mut lines, mut to) = (Vec::new(), to);
    while let Some(at) = paths[&to] {
        let group = graph.nodes[at].needs.iter().find(|(_, options)| options.contains(&to));
        let (group, _) = group.expect("a path goes along needs");
        lines.push(format!("`{}` needs `{group}`", shown(graph, at)));
        to = at;
    }
    lines.reverse();
    lines
}

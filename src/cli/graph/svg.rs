//! A graph as a picture that needs nothing else: no script, no font, light and dark.

use std::fmt::Write as _;

use super::layout::layout;
use super::{Graph, Node, State};

/// How wide a letter is, at most, in the font that is asked for.
const LETTER: f64 = 6.7;

/// Longer names are cut in the middle; the whole is in the tooltip.
const LETTERS: usize = 34;

/// Room for what is done, with `to make` behind it.
const LEAST: usize = 14;

/// A node's height, and the gap below.
const HEIGHT: f64 = 34.0;
const GAP: f64 = 10.0;

/// The height that an edge takes where it passes a column.
const BEND: f64 = 14.0;

/// Between two columns.
const ALLEY: f64 = 56.0;

const MARGIN: f64 = 16.0;

const STYLE: &str = "\
svg{--ink:#1b1f24;--paper:#fff;--soft:#59636e;--line:#8c959f;--fetch:#ddf4ff;--run:#fff1c2;--make:#dafbe1;--check:#fbe4ff}
@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--paper:#0d1117;--soft:#b1bac4;--line:#6e7681;--fetch:#0c2d4d;\
--run:#4a3400;--make:#12361f;--check:#3c1e55}}
.paper{fill:var(--paper)}rect.box{stroke:var(--line);fill:var(--make)}.fetch rect{fill:var(--fetch)}\
.run rect{fill:var(--run)}.check rect{fill:var(--check)}.absent rect{stroke:var(--ink);stroke-width:2.5}\
.unneeded rect{stroke-dasharray:4 3}text{font:12px ui-monospace,Consolas,monospace;fill:var(--ink)}\
text.verb{font-size:9px;fill:var(--soft)}path{fill:none;stroke:var(--line);stroke-width:1.2}";

/// Draws the graph, inputs at the left.
pub(super) fn svg(graph: &Graph) -> String {
    let inputs: Vec<_> = graph.nodes.iter().map(|node| node.inputs.clone()).collect();
    let found = layout(&inputs, HEIGHT + GAP, BEND);
    let width = |node: &Node| short(&node.name).chars().count().max(LEAST) as f64 * LETTER + 16.0;
    let mut widths = vec![0.0_f64; found.columns];
    for (node, (column, _)) in graph.nodes.iter().zip(&found.places) {
        widths[*column] = widths[*column].max(width(node));
    }
    let mut lefts = vec![MARGIN];
    for wide in &widths {
        lefts.push(lefts.last().expect("it has one") + wide + ALLEY);
    }
    let right = lefts.last().expect("it has one") - ALLEY + MARGIN;
    let bottom = found.height + HEIGHT / 2.0 + GAP + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right:.0}\" height=\"{bottom:.0}\" \
         viewBox=\"0 0 {right:.0} {bottom:.0}\" role=\"img\">\n<title>Steps of a plan</title>\n\
         <style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    );
    let ends = |node: usize| {
        let (column, height) = found.places[node];
        let own = graph.nodes.get(node).map_or(widths[column], width);
        (lefts[column], lefts[column] + own, height + MARGIN)
    };
    for way in &found.ways {
        let mut path = String::new();
        for (at, &node) in way.iter().enumerate() {
            let (left, right, height) = ends(node);
            if at == 0 {
                // A narrow node's edge leaves straight through the rest of its column.
                let (column, _) = found.places[node];
                let _ = write!(path, "M{right:.1} {height:.1}H{:.1}", lefts[column] + widths[column]);
                continue;
            }
            let (column, before) = found.places[way[at - 1]];
            let from = lefts[column] + widths[column];
            let middle = (from + left) / 2.0;
            let before = before + MARGIN;
            let _ = write!(path, "C{middle:.1} {before:.1} {middle:.1} {height:.1} {left:.1} {height:.1}");
            if at + 1 < way.len() {
                let _ = write!(path, "H{right:.1}");
            }
        }
        let _ = writeln!(out, "<path d=\"{path}\"/>");
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        let (left, right, height) = ends(at);
        let kind = match node.verb {
            "fetch" | "read" => " fetch",
            "run" => " run",
            "check" | "compare" => " check",
            _ => "",
        };
        let (state, more) = match node.state {
            State::Absent => (" absent", ", to make"),
            State::NotNeeded => (" unneeded", ""),
            State::There => ("", ""),
        };
        let top = height - HEIGHT / 2.0;
        let _ = writeln!(
            out,
            "<g class=\"node{kind}{state}\"><title>{}: {}{more}</title>\
             <rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" rx=\"5\"/>\
             <text class=\"verb\" x=\"{:.1}\" y=\"{:.1}\">{}{more}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            node.verb,
            escape(&node.name),
            right - left,
            left + 8.0,
            top + 12.0,
            node.verb,
            left + 8.0,
            top + 26.0,
            escape(&short(&node.name)),
        );
    }
    out + "</svg>\n"
}

fn short(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (first, last) = (&letters[..LETTERS / 2 - 1], &letters[letters.len() - LETTERS / 2..]);
    first.iter().chain(&['…']).chain(last).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

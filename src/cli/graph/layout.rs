//! Where the nodes of a drawn graph stand: in columns, inputs left of what is made of them (Sugiyama, Tagawa and Toda,
//! 1981).
//!
//! Each node stands as far right as its users allow. An edge over several columns has a bend in each between. The order
//! in a column is that of the neighbours' mean, swept there and back until crossings don't get fewer; heights are as near
//! to the neighbours' mean as their distances allow. Nothing is drawn by lot: the same graph always looks the same.

use std::collections::BTreeMap;

/// Sweeps there and back.
const SWEEPS: usize = 24;

/// A graph's drawing, in columns and rows.
pub(super) struct Layout {
    /// Column and height of each node; then of each bend.
    pub(super) places: Vec<(usize, f64)>,
    /// The way of each edge: node, bends, node.
    pub(super) ways: Vec<Vec<usize>>,
    /// How many columns there are.
    pub(super) columns: usize,
    /// The greatest height.
    pub(super) height: f64,
}

/// Lays out nodes that each name their inputs, which stand before them. `room` is the height of a node and `bend` that of
/// a bend, each with the gap below.
pub(super) fn layout(inputs: &[Vec<usize>], room: f64, bend: f64) -> Layout {
    let columns = columns(inputs);
    let mut graph = Layers::new(inputs, &columns);
    graph.order();
    let heights = graph.heights(inputs.len(), room, bend);
    let places: Vec<_> = graph.column.iter().copied().zip(heights.iter().copied()).collect();
    let height = heights.iter().copied().fold(0.0, f64::max);
    Layout { places, ways: graph.ways, columns: graph.rows.len(), height }
}

/// Gives each node its column, counted from the left.
fn columns(inputs: &[Vec<usize>]) -> Vec<usize> {
    // From the right first: one more than any user.
    let mut after = vec![0; inputs.len()];
    for node in (0..inputs.len()).rev() {
        for &input in &inputs[node] {
            after[input] = after[input].max(after[node] + 1);
        }
    }
    let last = after.iter().copied().max().unwrap_or(0);
    after.iter().map(|after| last - after).collect()
}

/// Nodes and bends in columns.
struct Layers {
    column: Vec<usize>,
    ways: Vec<Vec<usize>>,
    /// The neighbours in the column to the left and to the right.
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
    /// Each column's nodes, from the top.
    rows: Vec<Vec<usize>>,
}

impl Layers {
    fn new(inputs: &[Vec<usize>], columns: &[usize]) -> Self {
        let count = columns.iter().max().map_or(0, |last| last + 1);
        let mut column = columns.to_vec();
        let mut ways = Vec::new();
        // Edges of one input share their bends as far as they go together.
        let mut bends: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (node, inputs) in inputs.iter().enumerate() {
            for &input in inputs {
                let mut way = vec![input];
                for at in columns[input] + 1..columns[node] {
                    let bend = *bends.entry((input, at)).or_insert_with(|| {
                        column.push(at);
                        column.len() - 1
                    });
                    way.push(bend);
                }
                way.push(node);
                ways.push(way);
            }
        }
        let (mut left, mut right) = (vec![Vec::new(); column.len()], vec![Vec::new(); column.len()]);
        for pair in ways.iter().flat_map(|way: &Vec<usize>| way.windows(2)) {
            if !right[pair[0]].contains(&pair[1]) {
                right[pair[0]].push(pair[1]);
                left[pair[1]].push(pair[0]);
            }
        }
        let mut rows = vec![Vec::new(); count];
        // What was asked for first is drawn at the top, and its inputs near it.
        for node in (0..column.len()).rev() {
            rows[column[node]].push(node);
        }
        Self { column, ways, left, right, rows }
    }

    /// Sorts each column so that few edges cross.
    fn order(&mut self) {
        let (mut best, mut least) = (self.rows.clone(), self.crossings());
        for sweep in 0..SWEEPS {
            let columns: Vec<usize> = match sweep % 2 {
                0 => (0..self.rows.len()).rev().collect(),
                _ => (0..self.rows.len()).collect(),
            };
            for column in columns {
                let places = self.rank();
                let neighbours = if sweep % 2 == 0 { &self.right } else { &self.left };
                let mean = |node: &usize| match neighbours[*node].as_slice() {
                    [] => places[*node] as f64,
                    near => near.iter().map(|node| places[*node] as f64).sum::<f64>() / near.len() as f64,
                };
                let mut row = std::mem::take(&mut self.rows[column]);
                row.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
                self.rows[column] = row;
            }
            let crossings = self.crossings();
            if crossings < least {
                (best, least) = (self.rows.clone(), crossings);
            }
        }
        self.rows = best;
    }

    /// Gives each node's place in its column.
    fn rank(&self) -> Vec<usize> {
        let mut rank = vec![0; self.column.len()];
        for row in &self.rows {
            row.iter().enumerate().for_each(|(at, node)| rank[*node] = at);
        }
        rank
    }

    fn crossings(&self) -> usize {
        let rank = self.rank();
        let mut count = 0;
        for row in &self.rows {
            let mut ends: Vec<usize> = Vec::new();
            for node in row {
                let mut own: Vec<usize> = self.right[*node].iter().map(|other| rank[*other]).collect();
                count +=
                    own.iter().map(|end| ends.iter().filter(|above| *above > end).count()).sum::<usize>();
                ends.append(&mut own);
            }
        }
        count
    }

    /// Gives each node its height, near to its neighbours.
    fn heights(&self, nodes: usize, room: f64, bend: f64) -> Vec<f64> {
        let size = |node: usize| if node < nodes { room } else { bend };
        let mut heights = vec![0.0; self.column.len()];
        for row in &self.rows {
            let mut at = 0.0;
            for &node in row {
                heights[node] = at + size(node) / 2.0;
                at += size(node);
            }
        }
        for sweep in 0..SWEEPS {
            let columns: Vec<usize> = match sweep % 2 {
                0 => (0..self.rows.len()).rev().collect(),
                _ => (0..self.rows.len()).collect(),
            };
            for column in columns {
                let row = &self.rows[column];
                let wish = |node: usize| {
                    let near: Vec<f64> = self.left[node]
                        .iter()
                        .chain(&self.right[node])
                        .map(|other| heights[*other])
                        .collect();
                    if near.is_empty() { heights[node] } else { near.iter().sum::<f64>() / near.len() as f64 }
                };
                let wishes: Vec<f64> = row.iter().map(|&node| wish(node)).collect();
                let sizes: Vec<f64> = row.iter().map(|&node| size(node)).collect();
                let placed = spread(&wishes, &sizes);
                row.iter().zip(placed).for_each(|(&node, height)| heights[node] = height);
            }
        }
        let top = heights
            .iter()
            .enumerate()
            .map(|(node, height)| height - size(node) / 2.0)
            .fold(f64::INFINITY, f64::min);
        heights.iter().map(|height| height - top.min(f64::MAX)).collect()
    }
}

/// Places things in a row, each as near to where it wants to be as the others let it (least squares, by pooling
/// neighbours that get into each other's way).
fn spread(wishes: &[f64], sizes: &[f64]) -> Vec<f64> {
    // Without the distances that they must keep, the things have to be in order and no more.
    let mut offsets = Vec::new();
    let mut at = 0.0;
    for (index, size) in sizes.iter().enumerate() {
        if index > 0 {
            at += (sizes[index - 1] + size) / 2.0;
        }
        offsets.push(at);
    }
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wish, offset) in wishes.iter().zip(&offsets) {
        let mut pool = (wish - offset, 1);
        while let Some(above) = pools.last().filter(|above| above.0 > pool.0).copied() {
            let count = above.1 + pool.1;
            pool = ((above.0 * above.1 as f64 + pool.0 * pool.1 as f64) / count as f64, count);
            pools.pop();
        }
        pools.push(pool);
    }
    let shifts = pools.iter().flat_map(|(mean, count)| std::iter::repeat_n(*mean, *count));
    shifts.zip(offsets).map(|(shift, offset)| shift + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_stand_left_of_their_users_and_nothing_overlaps() {
        let inputs = vec![vec![], vec![0], vec![0], vec![1, 2], vec![3, 0], vec![]];
        let found = layout(&inputs, 30.0, 10.0);
        assert_eq!(found.columns, 4);
        for (node, inputs) in inputs.iter().enumerate() {
            inputs.iter().for_each(|input| assert!(found.places[*input].0 < found.places[node].0));
        }
        for a in 0..inputs.len() {
            for b in 0..a {
                let ((one, top), (other, low)) = (found.places[a], found.places[b]);
                assert!(one != other || (top - low).abs() >= 29.9, "{a} and {b}");
            }
        }
        // One edge goes over three columns.
        assert!(found.ways.iter().any(|way| way.len() == 4));
    }

    #[test]
    fn two_pairs_don_t_cross() {
        let mut graph = Layers::new(&[vec![], vec![], vec![1], vec![0]], &[0, 0, 1, 1]);
        graph.rows = vec![vec![0, 1], vec![2, 3]];
        assert_eq!(graph.crossings(), 1);
        graph.order();
        assert_eq!(graph.crossings(), 0);
    }

    #[test]
    fn what_is_in_each_others_way_is_pooled() {
        assert_eq!(spread(&[0.0, 0.0, 100.0], &[10.0, 10.0, 10.0]), [-5.0, 5.0, 100.0]);
        assert_eq!(spread(&[], &[]), Vec::<f64>::new());
    }
}

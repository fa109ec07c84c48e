//! Layers put together from packages, preloaded images and a node's configuration.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::{Context, Error};
use crate::base::{Digest, GuestPath, Name};
use crate::plan::{Part, Plan, SURVEY_FILE, StepId};
use crate::store::{Meta, Node, Store, Tree};
use crate::{image, node};

/// Unites a layer's parts, which must agree.
pub(super) fn layer(
    plan: &Plan,
    step: StepId,
    parts: &[Part],
    inputs: &[Digest],
    context: &Context<'_>,
) -> Result<Tree, Error> {
    let label = |id: StepId| plan.steps[id].labels[0].to_string();
    let mut layer = Tree::default();
    let mut before: Vec<StepId> = Vec::new();
    for ((part, digest), &input) in parts.iter().zip(inputs).zip(&plan.steps[step].inputs) {
        let tree = context.store.tree(digest)?;
        let tree = match part {
            Part::Package { without } => {
                let mut tree = tree;
                without.iter().for_each(|path| _ = tree.remove(path));
                tree
            }
            Part::Preload { path } => {
                let digest = image::archive_blob(context.store, &tree, context.cancel)?;
                let node = Node::File { digest, meta: Meta::root(0o644) };
                let mut tree = Tree::default();
                tree.insert(path, node).expect("nothing is in its way");
                tree
            }
        };
        if let Err(conflict) = layer.merge(tree.clone()) {
            let other =
                before.iter().find(|&&other| conflicts(context.store, plan, inputs, step, other, &tree));
            return Err(Error::Conflict {
                step: label(step),
                conflict: Box::new(conflict),
                one: other.map_or_else(|| "another part".to_owned(), |&other| label(other)),
                other: label(input),
            });
        }
        before.push(input);
    }
    Ok(layer)
}

/// Tells whether an earlier input disagrees with a tree.
fn conflicts(
    store: &Store,
    plan: &Plan,
    inputs: &[Digest],
    step: StepId,
    other: StepId,
    tree: &Tree,
) -> bool {
    let at = plan.steps[step].inputs.iter().position(|&input| input == other);
    let before = at.and_then(|at| store.tree(&inputs[at]).ok());
    before.is_some_and(|mut before| before.merge(tree.clone()).is_err())
}

/// Makes the layer of a node's configuration out of the layers below.
pub(super) fn configuration(node: &node::Node, below: &[Digest], store: &Store) -> Result<Tree, Error> {
    let files = reading(below, store, |below| node::configure(node, below))?;
    tree_of(&files, store)
}

/// Shows what a node's configuration changes in the layers below.
pub(super) fn change(node: &node::Node, below: &[Digest], store: &Store) -> Result<Tree, Error> {
    let text = reading(below, store, |below| node::change(node, below))?;
    let path = GuestPath::root().join(&Name::new(node::CHANGE_FILE).expect("a constant name"));
    tree_of([(&path, &text)], store)
}

/// Reads what a node image says of itself.
pub(super) fn survey(config: &GuestPath, layers: &[Digest], store: &Store) -> Result<Tree, Error> {
    let found = reading(layers, store, |image| node::survey(config, image.read))?;
    let text = serde_json::to_vec(&found).expect("plain values are JSON");
    tree_of([(&GuestPath::new(SURVEY_FILE).expect("a constant path"), &text)], store)
}

/// Makes a tree of files that anybody may read, none of them another's folder.
pub(super) fn tree_of<'a, B: AsRef<[u8]> + 'a>(
    files: impl IntoIterator<Item = (&'a GuestPath, &'a B)>,
    store: &Store,
) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    for (path, bytes) in files {
        let file = Node::File { digest: store.put_bytes(bytes.as_ref())?, meta: Meta::root(0o644) };
        tree.insert(path, file).expect("no file is another's folder");
    }
    Ok(tree)
}

/// Lets `work` read files of stacked layers.
fn reading<T>(
    layers: &[Digest],
    store: &Store,
    work: impl FnOnce(node::Below<'_>) -> Result<T, node::Error>,
) -> Result<T, Error> {
    let layers = layers.iter().map(|digest| store.tree(digest)).collect::<Result<Vec<_>, _>>()?;
    let failed = Cell::new(None);
    let read = |path: &GuestPath| match layers.iter().rev().find_map(|layer| layer.get(path))? {
        Node::File { digest, .. } => store.read_blob(digest).map_err(|error| failed.set(Some(error))).ok(),
        _ => None,
    };
    let list = |path: &GuestPath| {
        let folders = layers.iter().filter_map(|layer| layer.dir(path));
        let names: BTreeSet<&str> =
            folders.flat_map(|folder| folder.entries.keys().map(Name::as_str)).collect();
        names.into_iter().map(str::to_owned).collect()
    };
    let worked = work(node::Below { read: &read, list: &list });
    match failed.take() {
        Some(error) => Err(error.into()),
        None => Ok(worked?),
    }
}

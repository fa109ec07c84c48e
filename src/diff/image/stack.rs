//! Two stacks of layers become what a container of each sees, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};

use super::open::{Image, Layer};
use super::{Told, times};
use crate::base::{Cancel, Digest, Sha256};
use crate::diff::{Change, Depth, Detail, Entry, Error, Package, compare_around, debian};
use crate::image;
use crate::store::{Store, Tree};
use crate::unpack::{self, Whiteouts};

/// Trees of layers, each read once.
pub(super) struct Stacks<'a> {
    store: &'a Store,
    cancel: &'a Cancel,
    /// By diff ID; nothing for those that both images have and nobody knows.
    known: BTreeMap<Sha256, Option<Tree>>,
    unread: usize,
}

impl<'a> Stacks<'a> {
    pub(super) fn new(store: &'a Store, cancel: &'a Cancel) -> Self {
        Self { store, cancel, known: BTreeMap::new(), unread: 0 }
    }

    /// Counts the layers that both images have and nobody knows.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    /// Unites two images' layers. Below what is not known, whiteouts stay in the trees.
    pub(super) fn unite(&mut self, before: &Image<'_>, now: &Image<'_>) -> Result<(Tree, Tree), Error> {
        let ids = |image: &Image<'_>| image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
        let (old, new) = (ids(before), ids(now));
        let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let both: BTreeSet<Sha256> = old.iter().filter(|id| new.contains(id)).copied().collect();
        let (base, below) = self.below(before, now, same)?;
        let mut missing = 0;
        for (at, layer) in now.layers.iter().enumerate().filter(|(_, layer)| both.contains(&layer.diff_id)) {
            if at >= below && self.tree(now, layer, true)?.is_none() {
                missing += 1;
            }
        }
        self.unread = missing;
        let mut stack = |image: &Image<'_>| -> Result<Tree, Error> {
            let mut union = base.clone();
            let mut whiteouts = Whiteouts::Apply;
            for layer in &image.layers[below..] {
                match self.tree(image, layer, both.contains(&layer.diff_id))? {
                    Some(tree) => unpack::lay(self.store, &mut union, &tree, whiteouts, self.cancel)?,
                    None => whiteouts = Whiteouts::Keep,
                }
            }
            Ok(union)
        };
        Ok((stack(before)?, stack(now)?))
    }

    /// Finds the tree of as many of the lowest `same` layers as the store has united before.
    fn below(&self, before: &Image<'_>, now: &Image<'_>, same: usize) -> Result<(Tree, usize), Error> {
        for image in [before, now] {
            let blobs: Option<Vec<Digest>> = image.layers.iter().map(|layer| layer.blob).collect();
            for count in (1..=same).rev() {
                let Some(blobs) = blobs.as_ref().map(|blobs| &blobs[..count]) else { break };
                if let Some(tree) = unpack::recall_layers(self.store, blobs)? {
                    return Ok((self.store.tree(&tree)?, count));
                }
            }
        }
        Ok((Tree::default(), 0))
    }

    /// Gives a layer's tree; nothing for one that need not be read and that the store does not know.
    fn tree(&mut self, image: &Image<'_>, layer: &Layer, is_shared: bool) -> Result<Option<Tree>, Error> {
        if let Some(known) = self.known.get(&layer.diff_id) {
            return Ok(known.clone());
        }
        let key = key(&layer.diff_id);
        let remembered = match image::layer_tree(self.store, &layer.diff_id)? {
            Some(tree) => Some(tree),
            None => self.store.memo(&key)?,
        };
        let tree = match remembered.filter(|tree| self.store.has_all(tree)) {
            Some(tree) => Some(self.store.tree(&tree)?),
            None if is_shared => None,
            None => Some(self.read(image, layer)?),
        };
        self.known.insert(layer.diff_id, tree.clone());
        Ok(tree)
    }

    /// Reads a layer, and remembers its tree if it is what it says.
    fn read(&self, image: &Image<'_>, layer: &Layer) -> Result<Tree, Error> {
        let name = format!("{} (layer {})", image.files.name, layer.name);
        let (tree, found) = unpack::layer(self.store, &name, image.open(layer)?, self.cancel)?;
        if found != layer.diff_id {
            let name = image.files.name.clone();
            return Err(Error::OtherLayer { name, layer: layer.name.clone(), wanted: layer.diff_id, found });
        }
        self.store.put_memo(&key(&layer.diff_id), &self.store.put_tree(&tree)?)?;
        Ok(tree)
    }

    /// Compares two layers' archives where their trees are equal.
    pub(super) fn archives(
        &mut self,
        (before, old): (&Image<'_>, &Told),
        (now, new): (&Image<'_>, &Told),
    ) -> Result<Vec<Detail>, Error> {
        let find = |image: &Image<'_>, told: &Told| {
            image.layers.iter().find(|layer| layer.diff_id == told.diff_id).cloned()
        };
        let (Some(old), Some(new)) = (find(before, old), find(now, new)) else { return Ok(Vec::new()) };
        let trees = (self.tree(before, &old, true)?, self.tree(now, &new, true)?);
        if trees.0.is_none() || trees.0 != trees.1 {
            return Ok(Vec::new());
        }
        times::compare(self.store, (&old.name, before.open(&old)?), (&new.name, now.open(&new)?), self.cancel)
    }
}

/// Which memo a layer's tree, whiteouts and all, is kept under.
fn key(diff_id: &Sha256) -> Sha256 {
    Sha256::of(format!("layer alone {} {diff_id}", unpack::LAYERS).as_bytes())
}

/// Compares two stacks. What hides a file of a layer that is not known is told as what it hides.
pub(super) fn changes(
    store: &Store,
    before: &Tree,
    now: &Tree,
    packages: &[Package],
    depth: Depth,
) -> Result<Vec<Change>, Error> {
    let owners = debian::owners(store, packages, [before, now])?;
    let found = compare_around(store, before, now, &owners, depth)?;
    let (hides, mut found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|change| hidden(&change.path).is_some());
    let told: BTreeSet<String> = found.iter().map(|change| change.path.clone()).collect();
    for change in hides {
        let path = hidden(&change.path).expect("picked by that");
        if !told.contains(&path) {
            // A whiteout that is new takes away, and one that is gone lets be seen.
            let below = Some(Entry::Below);
            let (before, now) = if change.before.is_none() { (below, None) } else { (None, below) };
            found.push(Change { path, before, now, package: None, details: Vec::new() });
        }
    }
    found.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(found)
}

/// The path of what a whiteout hides; nothing for other files. An opaque folder hides what is in it.
fn hidden(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('/')?;
    match unpack::hidden(name)? {
        ".wh..opq" => Some(format!("{parent}/…")),
        name => Some(format!("{parent}/{name}")),
    }
}

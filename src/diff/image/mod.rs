//! Two images, wherever they are kept.
//!
//! In go what images are kept in ([`Place`]); out come their differences, machine by machine ([`Differences`]). Manifests
//! and configurations are compared by field. Layers are known by the hash of the archive inside (*diff ID*), as their
//! configuration says: those that both images have are not read, so that images of any size which share most of it are
//! compared at once. Of the others each is read once: the store remembers its tree.
//!
//! What a container sees is compared ([`stack`]): a file counts if no later layer hides it. Of a layer that both have,
//! files are known if the store has unpacked it before, as it has for images that were built here; else what lies in it is
//! left open, and [`Differences::unread`] says so.

mod files;
mod open;
mod stack;
#[cfg(test)]
mod tests;
mod times;

use std::path::PathBuf;

use serde::Serialize;

use super::{Change, Depth, Detail, Error, Package, debian, fields, told_blob, told_hash, told_option};
use crate::base::{Cancel, Digest, Sha256};
use crate::store::{Node, Store, Tree};
use files::Files;
pub use open::{Image, Layer};

/// What an image is kept in.
#[derive(Debug, Clone)]
pub enum Place {
    /// An OCI layout, or an unpacked docker-archive.
    Folder(PathBuf),
    /// A plain tar archive of either.
    Archive(PathBuf),
    /// A tree of the store that is a layout.
    Tree(Digest),
    /// A manifest or an index, a blob of the store.
    Manifest(Digest),
}

/// Finds the images in a place; `name` is for errors. Nothing: an archive that is none of an image.
pub fn open<'a>(store: &'a Store, name: &str, place: &Place) -> Result<Option<Vec<Image<'a>>>, Error> {
    let files = match place {
        Place::Folder(path) => Files::folder(store, name, path)?,
        Place::Archive(path) => match Files::archive(store, name, path)? {
            Some(files) => files,
            None => return Ok(None),
        },
        Place::Tree(digest) => Files::tree(store, name, store.tree(digest)?),
        Place::Manifest(digest) => return open::of_manifest(Files::blobs(store, name), digest).map(Some),
    };
    open::images(files).map(Some)
}

/// What two images for one machine differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The machine: `linux/amd64`.
    pub platform: String,
    /// The manifest before, where it has one.
    #[serde(serialize_with = "told_option")]
    pub before: Option<Sha256>,
    /// The manifest now, where it has one.
    #[serde(serialize_with = "told_option")]
    pub now: Option<Sha256>,
    /// Whether the images are one.
    pub equal: bool,
    /// Fields of the manifest, without its layers.
    pub manifest: Vec<Detail>,
    /// Fields of the configuration, without its layers.
    pub config: Vec<Detail>,
    /// The layers of both, lowest first.
    pub layers: Vec<Pair>,
    /// Layers that both have and whose files are not known here.
    pub unread: usize,
    /// Debian packages.
    pub packages: Vec<Package>,
    /// What a container sees.
    pub files: Vec<Change>,
}

/// A layer, in one of the images or in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The layer before.
    pub before: Option<Told>,
    /// The layer now.
    pub now: Option<Told>,
    /// Whether both have the same files in it, with the same times, in the same order.
    pub same: bool,
    /// What differs of the archive where no file does: times, order, compression.
    pub details: Vec<Detail>,
}

/// A layer, as it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What made it.
    pub name: String,
    /// The hash of the archive inside.
    #[serde(serialize_with = "told_hash")]
    pub diff_id: Sha256,
    /// The blob, where that is known.
    #[serde(serialize_with = "told_blob")]
    pub blob: Option<Digest>,
    /// Its media type, where that is known.
    pub media_type: Option<String>,
}

impl From<&Layer> for Told {
    fn from(layer: &Layer) -> Self {
        let Layer { name, diff_id, blob, media_type, .. } = layer.clone();
        Self { name, diff_id, blob, media_type }
    }
}

/// Compares two places' images, those for one machine with each other. Those of a machine that only one place has an image
/// for are named in the second part.
pub fn compare(
    store: &Store,
    before: &[Image<'_>],
    now: &[Image<'_>],
    depth: Depth,
    cancel: &Cancel,
) -> Result<(Vec<Differences>, Vec<Detail>), Error> {
    // One each are meant, whatever they are for.
    if let ([before], [now]) = (before, now) {
        return Ok((vec![differences(store, before, now, depth, cancel)?], Vec::new()));
    }
    let (mut found, mut alone) = (Vec::new(), Vec::new());
    for old in before {
        match now.iter().find(|new| new.platform == old.platform) {
            Some(new) => found.push(differences(store, old, new, depth, cancel)?),
            None => alone.push(Detail::value("image", Some(old.platform.clone()), None)),
        }
    }
    for new in now.iter().filter(|new| !before.iter().any(|old| old.platform == new.platform)) {
        alone.push(Detail::value("image", None, Some(new.platform.clone())));
    }
    Ok((found, alone))
}

fn differences(
    store: &Store,
    before: &Image<'_>,
    now: &Image<'_>,
    depth: Depth,
    cancel: &Cancel,
) -> Result<Differences, Error> {
    let equal = match (before.manifest, now.manifest) {
        (Some(before), Some(now)) => before == now,
        // The configuration names all layers by what is in them.
        _ => before.config == now.config,
    };
    let mut found = Differences {
        platform: now.platform.clone(),
        before: before.manifest.map(|digest| digest.hash),
        now: now.manifest.map(|digest| digest.hash),
        equal,
        manifest: Vec::new(),
        config: Vec::new(),
        layers: pairs(&before.layers, &now.layers),
        unread: 0,
        packages: Vec::new(),
        files: Vec::new(),
    };
    if equal {
        return Ok(found);
    }
    if before.manifest.is_some() && now.manifest.is_some() {
        found.manifest = fields(&before.manifest_rest, &now.manifest_rest);
    }
    found.config = fields(&before.config_rest, &now.config_rest);
    if found.layers.iter().all(|pair| pair.same) {
        return Ok(found);
    }
    let mut stacks = stack::Stacks::new(store, cancel);
    let (old, new) = stacks.unite(before, now)?;
    found.unread = stacks.unread();
    found.packages = packages(store, &old, &new)?;
    found.files = stack::changes(store, &old, &new, &found.packages, depth)?;
    for pair in found.layers.iter_mut().filter(|pair| !pair.same) {
        if let (Some(old), Some(new)) = (&pair.before, &pair.now) {
            pair.details = stacks.archives((before, old), (now, new))?;
        }
    }
    Ok(found)
}

/// Puts layers next to each other: those that are the same, and between them those of one name or place.
fn pairs(before: &[Layer], now: &[Layer]) -> Vec<Pair> {
    let pair = |old: Option<&Layer>, new: Option<&Layer>| {
        let same = old.zip(new).is_some_and(|(old, new)| old.diff_id == new.diff_id);
        let mut details = Vec::new();
        if let Some((old, new)) = old.zip(new).filter(|_| same) {
            let name = |blob: &Digest| format!("sha256:{}", blob.hash);
            if let (Some(old), Some(new)) = (&old.blob, &new.blob)
                && old != new
            {
                details.push(Detail::changed("compressed", name(old), name(new)));
            }
        }
        Pair { before: old.map(Told::from), now: new.map(Told::from), same, details }
    };
    let (mut found, mut old, mut new) = (Vec::new(), 0, 0);
    for (at_old, at_new) in common(before, now).into_iter().chain([(before.len(), now.len())]) {
        let mut left: Vec<&Layer> = before[old..at_old].iter().collect();
        for layer in &now[new..at_new] {
            let named = left.iter().position(|other| other.name == layer.name && !layer.name.is_empty());
            let alike = named.or_else(|| (left.len() == 1 && at_new - new == 1).then_some(0));
            found.push(pair(alike.map(|at| left.remove(at)), Some(layer)));
        }
        found.extend(left.into_iter().map(|layer| pair(Some(layer), None)));
        if let (Some(layer), Some(other)) = (before.get(at_old), now.get(at_new)) {
            found.push(pair(Some(layer), Some(other)));
        }
        (old, new) = (at_old + 1, at_new + 1);
    }
    found
}

/// Finds the longest row of layers that both have, in order.
fn common(before: &[Layer], now: &[Layer]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_usize; now.len() + 1]; before.len() + 1];
    for old in (0..before.len()).rev() {
        for new in (0..now.len()).rev() {
            longest[old][new] = match before[old].diff_id == now[new].diff_id {
                true => longest[old + 1][new + 1] + 1,
                false => longest[old + 1][new].max(longest[old][new + 1]),
            };
        }
    }
    let (mut found, mut old, mut new) = (Vec::new(), 0, 0);
    while old < before.len() && new < now.len() {
        if before[old].diff_id == now[new].diff_id {
            found.push((old, new));
            (old, new) = (old + 1, new + 1);
        } else if longest[old + 1][new] >= longest[old][new + 1] {
            old += 1;
        } else {
            new += 1;
        }
    }
    found
}

/// Compares the packages of two trees, out of dpkg's lists in them.
pub fn packages(store: &Store, before: &Tree, now: &Tree) -> Result<Vec<Package>, Error> {
    let list = |tree: &Tree| -> Result<Option<Vec<u8>>, Error> {
        let mut text = Vec::new();
        for path in debian::lists(tree) {
            if let Some(Node::File { digest, .. }) = tree.get(&path) {
                match store.read_blob(digest) {
                    Ok(mut more) => {
                        text.append(&mut more);
                        text.extend(b"\n\n");
                    }
                    Err(error) if error.is_lost() => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Some(text))
    };
    // What one of them has below its known layers is not known.
    match (list(before)?, list(now)?) {
        (Some(old), Some(new)) if !old.is_empty() && !new.is_empty() => Ok(debian::packages(&old, &new)),
        _ => Ok(Vec::new()),
    }
}

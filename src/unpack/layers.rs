//! Layers of an OCI image, laid over each other: what a container of the image sees.
//!
//! Layers come from anybody's tools, so their rules are those that containerd applies them by (image-spec, layer.md;
//! containerd, `pkg/archive`), not those of [`super::archive()`]:
//!
//! | in a layer | becomes |
//! | --- | --- |
//! | `.wh.X` | takes `X` of the layers below away, never one of the same layer |
//! | `.wh..wh..opq` | takes away all that the layers below have in that directory |
//! | other `.wh..wh.*` (AUFS's own) | nothing |
//! | a path whose parents are links in the layers below | goes where they lead inside the image |
//! | a file in place of a directory, or the other way round | replaces it |
//! | a name with a leading `/` | the same without |
//! | `..`, a name that is not UTF-8 | an error |
//! | device, fifo, extended attributes, times | left out |

use std::io::Read;

use sha2::Digest as _;

use super::archive::{Source, each};
use super::place::{Entry, MAX_DEPTH};
use super::stream::open;
use super::{Error, Limits, Owners};
use crate::base::{Cancel, Digest, GuestPath, Name, Sha256};
use crate::store::{Dir, Node, Store, Tree};

/// The version of the rules above.
pub const LAYERS: u32 = 1;

/// The longest path that Linux takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unites layers, lowest first: blobs of tar, plain or compressed by gzip, xz or zstd. `name` is for errors. All is done
/// once: later calls find the tree in the store.
pub fn layers(store: &Store, name: &str, layers: &[Digest], cancel: &Cancel) -> Result<Tree, Error> {
    let key = key(layers);
    if let Some(tree) = store.memo(&key)?.filter(|tree| store.has_all(tree)) {
        return Ok(store.tree(&tree)?);
    }
    let mut union = Tree::default();
    // One image is one thing that must not become too large, however many layers it is cut into.
    let mut limits = Limits::default();
    for (at, layer) in layers.iter().enumerate() {
        let name = format!("{name} (layer {})", at + 1);
        let source = Source { store, name: &name, limits, cancel };
        let reader = store.verified_reader(layer)?;
        let entries = source.blame(layer, read(&source, reader))?;
        limits.entries -= (entries.len() as u64).min(limits.entries);
        let size = |(_, entry): &(Vec<Name>, Entry)| match entry {
            Entry::File { digest, .. } => digest.size,
            _ => 0,
        };
        let bytes = entries.iter().map(size).fold(0, u64::saturating_add);
        limits.bytes -= bytes.min(limits.bytes);
        apply(&source, &mut union, entries)?;
    }
    store.put_memo(&key, &store.put_tree(&union)?)?;
    Ok(union)
}

fn key(layers: &[Digest]) -> Sha256 {
    let mut key = format!("layers {LAYERS}");
    layers.iter().for_each(|layer| key.push_str(&format!("\n{layer}")));
    Sha256::of(key.as_bytes())
}

/// Recalls what [`layers`] gave, if it was ever asked. The files' blobs may be gone.
pub fn recall_layers(store: &Store, layers: &[Digest]) -> Result<Option<Digest>, Error> {
    Ok(store.memo(&key(layers))?.filter(|tree| store.has_tree(tree)))
}

/// Reads one layer by itself: whiteouts stay what they are, empty files. Gives the hash of the archive too, which is
/// the layer's diff ID.
pub fn layer(store: &Store, name: &str, input: impl Read, cancel: &Cancel) -> Result<(Tree, Sha256), Error> {
    let source = Source { store, name, limits: Limits::default(), cancel };
    let mut hasher = sha2::Sha256::new();
    let stream =
        open(input, source.limits, source.cancel).map_err(|error| source.sort(error, "its beginning"))?;
    let entries = entries(&source, Hashed { input: stream, hasher: &mut hasher })?;
    let mut tree = Tree::default();
    place(&source, &mut tree, entries)?;
    Ok((tree, Sha256(hasher.finalize().into())))
}

struct Hashed<'a, R> {
    input: R,
    hasher: &'a mut sha2::Sha256,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Lays what [`layer`] gave over what is there. Whiteouts are kept where something unknown lies below.
pub fn lay(
    store: &Store,
    union: &mut Tree,
    layer: &Tree,
    whiteouts: Whiteouts,
    cancel: &Cancel,
) -> Result<(), Error> {
    let source = Source { store, name: "layer", limits: Limits::default(), cancel };
    let entry = |(path, node): (GuestPath, &Node)| {
        let parts = path.components().map(|part| Name::new(part).expect("a path is made of names")).collect();
        let entry = match node {
            Node::File { digest, meta } => Entry::File { digest: *digest, meta: *meta },
            Node::Symlink { target } => Entry::Symlink { target: target.to_string() },
            Node::Dir(dir) => Entry::Dir { meta: dir.meta },
        };
        (parts, entry)
    };
    let entries: Vec<(Vec<Name>, Entry)> = layer.walk().map(entry).collect();
    match whiteouts {
        Whiteouts::Apply => apply(&source, union, entries),
        Whiteouts::Keep => {
            let (hidden, _): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(hides);
            apply(&source, union, entries)?;
            place(&source, union, hidden)
        }
    }
}

/// What becomes of whiteouts that were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// They are gone: all that lies below is known.
    Apply,
    /// They stay in the tree: they may hide more.
    Keep,
}

/// The name of what a whiteout hides; nothing if a file is none.
pub fn hidden(name: &str) -> Option<&str> {
    name.strip_prefix(WHITEOUT)
}

/// Reads a layer's entries, their files into the store.
fn read(source: &Source<'_>, reader: impl Read) -> Result<Vec<(Vec<Name>, Entry)>, Error> {
    let stream =
        open(reader, source.limits, source.cancel).map_err(|error| source.sort(error, "its beginning"))?;
    entries(source, stream)
}

fn entries(source: &Source<'_>, stream: impl Read) -> Result<Vec<(Vec<Name>, Entry)>, Error> {
    let mut entries = Vec::new();
    each(source, stream, Owners::Kept, &mut |name, entry| {
        if !matches!(entry, Entry::Special { .. }) {
            entries.push((parts(source, name)?, entry));
        }
        Ok(())
    })?;
    Ok(entries)
}

/// Cuts an entry's name.
fn parts(source: &Source<'_>, name: &[u8]) -> Result<Vec<Name>, Error> {
    let text = std::str::from_utf8(name).map_err(|_| source.refuse(name, "has a name that is not UTF-8"))?;
    if text.len() > MAX_PATH {
        return Err(source.refuse(&name[..MAX_PATH], "has a name that no file can have"));
    }
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts = parts.map(|part| match part {
        ".." => Err(source.refuse(name, "goes up with `..`")),
        part => Name::new(part).map_err(|_| source.refuse(name, "has a name that no file can have")),
    });
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    if parts.len() > MAX_DEPTH {
        return Err(source.refuse(name, format!("is more than {MAX_DEPTH} directories deep")));
    }
    Ok(parts)
}

/// Lays one layer over what is there.
fn apply(source: &Source<'_>, union: &mut Tree, entries: Vec<(Vec<Name>, Entry)>) -> Result<(), Error> {
    let (whiteouts, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(hides);
    for (parts, _) in whiteouts {
        let (last, parents) = parts.split_last().expect("a whiteout has a name");
        let Some(dir) = union.resolve(parents).and_then(|at| dir_mut(union, &at)) else { continue };
        match last.as_str() {
            OPAQUE => dir.entries.clear(),
            name if name.starts_with(".wh..wh.") => {}
            name => drop(dir.entries.remove(&name[WHITEOUT.len()..])),
        }
    }
    place(source, union, entries)
}

fn hides((parts, _): &(Vec<Name>, Entry)) -> bool {
    parts.last().is_some_and(|name| name.as_str().starts_with(WHITEOUT))
}

/// Puts entries where they go.
fn place(source: &Source<'_>, union: &mut Tree, entries: Vec<(Vec<Name>, Entry)>) -> Result<(), Error> {
    for (parts, entry) in entries {
        let shown = || parts.iter().map(Name::as_str).collect::<Vec<_>>().join("/");
        let Some((last, parents)) = parts.split_last() else {
            match entry {
                Entry::Dir { meta } => union.meta = meta,
                _ => return Err(source.refuse(b"/", "is no directory at the root")),
            }
            continue;
        };
        let at = union
            .resolve(parents)
            .filter(|at| at.len() < MAX_DEPTH)
            .ok_or_else(|| source.refuse(shown().as_bytes(), "is below links that lead nowhere"))?;
        let node = match entry {
            Entry::File { digest, meta } => Node::File { digest, meta },
            Entry::Symlink { target }
                if target.is_empty() || target.len() > MAX_PATH || target.contains('\0') =>
            {
                return Err(source.refuse(shown().as_bytes(), "is a symbolic link to nothing"));
            }
            Entry::Symlink { target } => Node::Symlink { target: target.into() },
            Entry::Dir { meta } => Node::Dir(Dir { meta, ..Dir::default() }),
            Entry::HardLink { target } => {
                let node = linked(source, union, &target)?;
                node.ok_or_else(|| {
                    let to = String::from_utf8_lossy(&target);
                    source.refuse(shown().as_bytes(), format!("is a hard link to `{to}`, no earlier file"))
                })?
            }
            Entry::Special { .. } => continue,
        };
        let dir = make_dirs(union, &at);
        match (dir.entries.get_mut(last), node) {
            (Some(Node::Dir(there)), Node::Dir(new)) => there.meta = new.meta,
            (_, node) => drop(dir.entries.insert(last.clone(), node)),
        }
    }
    Ok(())
}

/// Finds what a hard link is another name of.
fn linked(source: &Source<'_>, union: &Tree, target: &[u8]) -> Result<Option<Node>, Error> {
    let parts = parts(source, target)?;
    let Some((last, parents)) = parts.split_last() else { return Ok(None) };
    let node = union.resolve(parents).and_then(|at| union.at(&at)?.entries.get(last).cloned());
    Ok(node.filter(|node| !matches!(node, Node::Dir(_))))
}

fn dir_mut<'a>(union: &'a mut Tree, at: &[Name]) -> Option<&'a mut Dir> {
    at.iter().try_fold(union, |dir, part| match dir.entries.get_mut(part)? {
        Node::Dir(child) => Some(child),
        _ => None,
    })
}

/// Goes down, making directories where there are none.
fn make_dirs<'a>(union: &'a mut Tree, at: &[Name]) -> &'a mut Dir {
    let mut dir = union;
    for part in at {
        let node = dir.entries.entry(part.clone()).or_insert_with(|| Node::Dir(Dir::default()));
        if !matches!(node, Node::Dir(_)) {
            *node = Node::Dir(Dir::default());
        }
        dir = match node {
            Node::Dir(child) => child,
            _ => unreachable!("made one a line above"),
        };
    }
    dir
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::Meta;

    /// One entry: type, name, link target or content, mode.
    type Item<'a> = (u8, &'a str, &'a str, u32);

    fn tar(items: &[Item]) -> Vec<u8> {
        let mut out = tar::Builder::new(Vec::new());
        for (kind, name, text, mode) in items {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(*mode);
            header.set_uid(3);
            header.set_gid(4);
            header.set_mtime(0);
            header.set_entry_type(tar::EntryType::new(*kind));
            let link = matches!(kind, b'1' | b'2');
            let content = if link { "" } else { text };
            if link {
                header.set_link_name_literal(text).unwrap();
            }
            header.set_size(content.len() as u64);
            header.set_cksum();
            out.append(&header, content.as_bytes()).unwrap();
        }
        out.into_inner().unwrap()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn stack(blobs: &[Vec<u8>]) -> Result<Tree, Error> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let digests: Vec<_> = blobs.iter().map(|blob| store.put_bytes(blob).unwrap()).collect();
        let tree = layers(&store, "x", &digests, &Cancel::default());
        if let Ok(tree) = &tree {
            assert_eq!(*tree, layers(&store, "x", &digests, &Cancel::default()).unwrap());
        }
        tree
    }

    /// Every file with its size, every link, modes and owners.
    fn shown(tree: &Tree) -> Vec<String> {
        let meta = |meta: &Meta| format!("{:o} {}:{}", meta.mode, meta.uid, meta.gid);
        let line = |(at, node): (GuestPath, &Node)| match node {
            Node::File { digest, meta: of } => format!("{at} {} {}", digest.size, meta(of)),
            Node::Symlink { target } => format!("{at} -> {target}"),
            Node::Dir(dir) => format!("{at}/ {}", meta(&dir.meta)),
        };
        tree.walk().map(line).collect()
    }

    const DIR: u8 = b'5';
    const FILE: u8 = b'0';
    const LINK: u8 = b'2';
    const HARD: u8 = b'1';

    #[test]
    fn whiteouts_take_away_what_is_below_and_nothing_of_their_own_layer() {
        let below = tar(&[
            (DIR, "etc/", "", 0o755),
            (FILE, "etc/gone", "1", 0o644),
            (FILE, "etc/stays", "1", 0o644),
            (DIR, "opt/", "", 0o755),
            (DIR, "opt/deep/", "", 0o755),
            (FILE, "opt/deep/gone", "1", 0o644),
            (FILE, "whole/gone", "1", 0o644),
        ]);
        let over = gz(&tar(&[
            (FILE, "etc/.wh.gone", "", 0),
            (FILE, "etc/.wh.never-there", "", 0),
            (FILE, "opt/new", "22", 0o644),
            (FILE, "opt/.wh..wh..opq", "", 0),
            (FILE, ".wh..wh.plnk", "", 0),
            (FILE, ".wh.whole", "", 0),
            (FILE, "whole/new", "22", 0o600),
            (FILE, "nowhere/.wh.x", "", 0),
        ]));
        let third = zstd::encode_all(&tar(&[(FILE, "etc/gone", "333", 0o644)])[..], 1).unwrap();
        assert_eq!(
            shown(&stack(&[below, over, third]).unwrap()),
            [
                "/etc/ 755 3:4",
                "/etc/gone 3 644 3:4",
                "/etc/stays 1 644 3:4",
                "/opt/ 755 3:4",
                "/opt/new 2 644 3:4",
                "/whole/ 755 0:0",
                "/whole/new 2 600 3:4",
            ]
        );
    }

    #[test]
    fn layers_lie_over_each_other_as_containerd_lays_them() {
        let below = tar(&[
            (DIR, "./", "", 0o711),
            (DIR, "./usr/lib/", "", 0o755),
            (LINK, "./lib", "usr/lib", 0),
            (DIR, "./tmp/", "", 0o1777),
            (FILE, "./file", "1", 0o644),
            (DIR, "./dir/", "", 0o755),
            (FILE, "./dir/x", "1", 0o644),
            (b'3', "./dev/null", "", 0o666),
            (b'6', "./run/pipe", "", 0o666),
        ]);
        let over = tar(&[
            (FILE, "lib/a", "22", 0o755),
            (HARD, "lib/b", "/lib/a", 0o755),
            (HARD, "usr/c", "file", 0o644),
            (DIR, "usr/lib/", "", 0o700),
            (FILE, "tmp/t", "22", 0o644),
            (DIR, "file/", "", 0o750),
            (FILE, "file/inside", "22", 0o644),
            (FILE, "dir", "22", 0o644),
        ]);
        let tree = stack(&[below, over]).unwrap();
        assert_eq!(tree.meta, Meta { mode: 0o711, uid: 3, gid: 4 });
        assert_eq!(
            shown(&tree),
            [
                "/dir 2 644 3:4",
                "/file/ 750 3:4",
                "/file/inside 2 644 3:4",
                "/lib -> usr/lib",
                "/tmp/ 1777 3:4",
                "/tmp/t 2 644 3:4",
                "/usr/ 755 0:0",
                "/usr/c 1 644 3:4",
                "/usr/lib/ 700 3:4",
                "/usr/lib/a 2 755 3:4",
                "/usr/lib/b 2 755 3:4",
            ]
        );
    }

    #[test]
    fn an_owner_that_is_empty_is_root() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        archive.append_data(&mut header, "a", &b"1"[..]).unwrap();
        assert_eq!(shown(&stack(&[archive.into_inner().unwrap()]).unwrap()), ["/a 1 644 0:0"]);
    }

    #[test]
    fn what_could_do_harm_is_named() {
        let refused = |items: &[Item]| stack(&[tar(&[]), tar(items)]).unwrap_err().to_string();
        assert_eq!(
            refused(&[(FILE, "a/../../etc/x", "", 0o644)]),
            "`x (layer 2)` has the entry `a/../../etc/x`, which goes up with `..`"
        );
        assert_eq!(
            refused(&[(HARD, "a", "b", 0o644)]),
            "`x (layer 2)` has the entry `a`, which is a hard link to `b`, no earlier file"
        );
        assert_eq!(
            refused(&[(LINK, "a", "a", 0), (FILE, "a/b", "", 0o644)]),
            "`x (layer 2)` has the entry `a/b`, which is below links that lead nowhere"
        );
        // A link out of the image ends at its root.
        let tree = stack(&[tar(&[(LINK, "out", "../../../etc", 0), (FILE, "out/x", "1", 0o644)])]).unwrap();
        assert_eq!(shown(&tree), ["/etc/ 755 0:0", "/etc/x 1 644 3:4", "/out -> ../../../etc"]);
        assert_eq!(
            stack(&[b"no archive at all".repeat(40)]).unwrap_err().to_string(),
            "`x (layer 1)` is damaged at what follows `its beginning`"
        );
    }
}

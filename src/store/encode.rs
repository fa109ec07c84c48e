//! Trees as bytes: the REAPI v2 `Tree` message, in its canonical, topologically sorted form.
//!
//! The message is a sequence of `Directory` records: the root first (tag 0x0a), then every other
//! directory once, parents before children (tag 0x12), as `OutputDirectory.is_topologically_sorted`
//! describes it. What is ordinary is left out, so that a tree without unusual metadata has the digest
//! that every other REAPI program gives it:
//!
//! | what | encoded as |
//! | --- | --- |
//! | file 0644 | nothing |
//! | file 0755 | `is_executable` |
//! | file of another mode | `unix_mode`, and `is_executable` if any `x` bit is set |
//! | directory 0755 | nothing |
//! | directory of another mode | `unix_mode` |
//! | owner or group other than 0 | node properties `gid`, `uid`, decimal |
//!
//! There is one encoding of a tree. Whatever else decodes to the same tree (other order, redundant
//! property, unknown field, a directory that nobody refers to) is refused.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto::{Directory, DirectoryNode, FileNode, NodeProperties, Property, SymlinkNode};
use super::tree::{Dir, Meta, Node, Tree};
use crate::base::{Digest, Name, Sha256};

/// How deep a tree may be: guards the stack and the number of open directories.
pub const MAX_DEPTH: usize = 256;
/// How many nodes a tree may have: sharing makes a small message a huge tree.
const MAX_NODES: usize = 1 << 20;
const ROOT: u8 = 1 << 3 | 2;
const CHILD: u8 = 2 << 3 | 2;

/// A tree as it is stored.
pub struct Encoded {
    /// The digest of the root `Directory`: the tree's name.
    pub root: Digest,
    /// The `Tree` message.
    pub message: Vec<u8>,
}

/// Encodes a tree. The error says what is wrong with it.
pub fn encode(tree: &Tree) -> Result<Encoded, String> {
    let mut seen = BTreeSet::new();
    let mut finished = Vec::new();
    let root = visit(tree, 0, &mut seen, &mut finished)?;
    let mut message = Vec::with_capacity(finished.iter().map(|record| record.len() + 6).sum());
    // A directory is finished after all below it, so the reverse lists parents first.
    for (index, record) in finished.iter().rev().enumerate() {
        message.push(if index == 0 { ROOT } else { CHILD });
        prost::encoding::encode_varint(record.len() as u64, &mut message);
        message.extend_from_slice(record);
    }
    Ok(Encoded { root, message })
}

fn visit(
    dir: &Dir,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    finished: &mut Vec<Vec<u8>>,
) -> Result<Digest, String> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let mut out =
        Directory { node_properties: properties(dir.meta, dir.meta.mode == 0o755)?, ..<_>::default() };
    for (name, node) in &dir.entries {
        let name = name.as_str().to_owned();
        match node {
            Node::File { digest, meta } => out.files.push(FileNode {
                name,
                digest: Some((*digest).into()),
                is_executable: meta.mode & 0o111 != 0,
                node_properties: properties(*meta, matches!(meta.mode, 0o644 | 0o755))?,
            }),
            Node::Symlink { target } => {
                check_target(target)?;
                out.symlinks.push(SymlinkNode { name, target: target.to_string() });
            }
            Node::Dir(child) => out
                .directories
                .push(DirectoryNode { name, digest: Some(visit(child, depth + 1, seen, finished)?.into()) }),
        }
    }
    let record = out.encode_to_vec();
    let digest = Digest::of(&record);
    if seen.insert(digest) {
        finished.push(record);
    }
    Ok(digest)
}

fn properties(meta: Meta, ordinary_mode: bool) -> Result<Option<NodeProperties>, String> {
    if meta.mode > 0o7777 {
        return Err(format!("mode {:o} has more than permission bits", meta.mode));
    }
    let owner = |name: &str, id: u32| Property { name: name.to_owned(), value: id.to_string() };
    let mut properties = Vec::new();
    if meta.gid != 0 {
        properties.push(owner("gid", meta.gid));
    }
    if meta.uid != 0 {
        properties.push(owner("uid", meta.uid));
    }
    let unix_mode = (!ordinary_mode).then_some(meta.mode);
    let nothing = properties.is_empty() && unix_mode.is_none();
    Ok((!nothing).then_some(NodeProperties { properties, unix_mode }))
}

/// Checks that a text can be a link's target.
fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() || target.len() > 4095 || target.contains('\0') {
        return Err(format!("link target `{target}` is empty, too long, or holds NUL"));
    }
    Ok(())
}

/// Decodes the message of the tree that has this name. The error says what is wrong with it.
pub fn decode(message: &[u8], name: &Digest) -> Result<Tree, String> {
    match decode_any(message, &name.hash)? {
        (root, tree) if root == *name => Ok(tree),
        _ => Err("its root has another size".into()),
    }
}

/// Like [`decode`] where the size of the root is not known; gives the whole name.
pub(super) fn decode_any(message: &[u8], name: &Sha256) -> Result<(Digest, Tree), String> {
    let mut records = BTreeMap::new();
    let mut root = None;
    let mut rest = message;
    while let [tag, after @ ..] = rest {
        if *tag != if root.is_none() { ROOT } else { CHILD } {
            return Err("a record is neither root nor child".into());
        }
        rest = after;
        let length = prost::encoding::decode_varint(&mut rest).map_err(|error| error.to_string())?;
        let (record, after) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or("it is cut short")?;
        rest = after;
        let digest = Digest::of(record);
        root.get_or_insert(digest);
        records.insert(digest, Directory::decode(record).map_err(|error| error.to_string())?);
    }
    let root = root.filter(|root| root.hash == *name).ok_or("its root has another digest")?;
    let (nodes, levels) = weigh(&root, &records, 0, &mut BTreeMap::new())?;
    if nodes > MAX_NODES {
        return Err(format!("it has more than {MAX_NODES} nodes"));
    }
    if levels > MAX_DEPTH {
        return Err(too_deep());
    }
    let tree = build(&root, &records)?;
    if encode(&tree)?.message != message {
        return Err("it is not in canonical form".into());
    }
    Ok((root, tree))
}

/// Counts the nodes and the levels below a directory, looking at each record once.
fn weigh(
    name: &Digest,
    records: &BTreeMap<Digest, Directory>,
    depth: usize,
    known: &mut BTreeMap<Digest, (usize, usize)>,
) -> Result<(usize, usize), String> {
    if let Some(found) = known.get(name) {
        return Ok(*found);
    }
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let record = records.get(name).ok_or_else(|| format!("directory `{name}` is missing"))?;
    let (mut nodes, mut levels) = (record.files.len() + record.symlinks.len(), 0);
    for child in &record.directories {
        let below = weigh(&digest_of(&child.digest)?, records, depth + 1, known)?;
        nodes = nodes.saturating_add(below.0).saturating_add(1);
        levels = levels.max(below.1 + 1);
    }
    known.insert(*name, (nodes, levels));
    Ok((nodes, levels))
}

fn too_deep() -> String {
    format!("it is more than {MAX_DEPTH} directories deep")
}

fn digest_of(digest: &Option<super::proto::Digest>) -> Result<Digest, &'static str> {
    digest.as_ref().and_then(|digest| digest.name()).ok_or("a digest is missing or malformed")
}

fn build(name: &Digest, records: &BTreeMap<Digest, Directory>) -> Result<Dir, String> {
    let record = records.get(name).ok_or_else(|| format!("directory `{name}` is missing"))?;
    let mut dir = Dir { meta: meta(&record.node_properties, 0o755)?, entries: BTreeMap::new() };
    let mut add = |name: &str, node: Node| {
        let name = Name::new(name).map_err(|error| error.to_string())?;
        match dir.entries.insert(name, node) {
            None => Ok(()),
            Some(_) => Err("a name stands twice in one directory".to_owned()),
        }
    };
    for file in &record.files {
        let usual = if file.is_executable { 0o755 } else { 0o644 };
        let meta = meta(&file.node_properties, usual)?;
        add(&file.name, Node::File { digest: digest_of(&file.digest)?, meta })?;
    }
    for link in &record.symlinks {
        check_target(&link.target)?;
        add(&link.name, Node::Symlink { target: link.target.as_str().into() })?;
    }
    for child in &record.directories {
        add(&child.name, Node::Dir(build(&digest_of(&child.digest)?, records)?))?;
    }
    Ok(dir)
}

fn meta(properties: &Option<NodeProperties>, usual: u32) -> Result<Meta, String> {
    let mut meta = Meta::root(usual);
    let Some(properties) = properties else { return Ok(meta) };
    meta.mode = properties.unix_mode.unwrap_or(usual);
    for property in &properties.properties {
        let place = match property.name.as_str() {
            "uid" => &mut meta.uid,
            "gid" => &mut meta.gid,
            other => return Err(format!("node property `{other}` is unknown")),
        };
        *place = property.value.parse().map_err(|_| format!("owner `{}` is no number", property.value))?;
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::GuestPath;

    /// A tree with one of everything that the encoding tells apart.
    fn specimen() -> Tree {
        let mut tree = Tree::default();
        let mut put = |at: &str, node| tree.insert(&GuestPath::new(at).unwrap(), node).unwrap();
        let file = |text: &str, meta| Node::File { digest: Digest::of(text.as_bytes()), meta };
        put("/bin/sh", file("#!", Meta::root(0o755)));
        put("/bin/su", file("su", Meta::root(0o4755)));
        put("/etc/group", file("g", Meta::root(0o644)));
        put("/etc/shadow", file("s", Meta { mode: 0o640, uid: 0, gid: 42 }));
        put("/lib", Node::Symlink { target: "usr/lib".into() });
        let tmp = Meta::root(0o1777);
        put("/tmp", Node::Dir(Dir { meta: tmp, entries: BTreeMap::new() }));
        put("/var/same", Node::Dir(Dir { meta: tmp, entries: BTreeMap::new() }));
        tree
    }

    #[test]
    fn digests_are_pinned() {
        // Moving one of these makes every store and every lock useless: raise the layout and say so.
        let empty = encode(&Tree::default()).unwrap();
        assert_eq!(empty.root, Digest::of(b""));
        let all = encode(&specimen()).unwrap();
        assert_eq!(
            all.root.to_string(),
            "81683ad04c8ea6302e84148f8370ce5944a35982c2c7545afb8f21bb24062d38/326"
        );
        assert_eq!(
            Digest::of(&all.message).to_string(),
            "a1a4c32ebf996dac18faa84cd1f525871f45d7081189ab818995a83122534b19/764"
        );
        assert_eq!(decode(&all.message, &all.root).unwrap(), specimen());
    }

    #[test]
    fn the_api_s_own_encoding() {
        // Written by hand from the field numbers of remote_execution.proto.
        let digest = Digest::of(b"x");
        let mut tree = Tree::default();
        let node = Node::File { digest, meta: Meta::root(0o755) };
        tree.entries.insert(Name::new("f").unwrap(), node);
        let mut inner = vec![0x0a, 64];
        inner.extend(digest.hash.to_string().bytes());
        inner.extend([0x10, 1]);
        let mut file = vec![0x0a, 1, b'f', 0x12, inner.len() as u8];
        file.extend(inner);
        file.extend([0x20, 1]);
        let mut directory = vec![0x0a, file.len() as u8];
        directory.extend(file);
        assert_eq!(encode(&tree).unwrap().root, Digest::of(&directory));
    }

    #[test]
    fn other_forms_are_refused() {
        let name = |text: &str| text.to_owned();
        let link = |text: &str| SymlinkNode { name: name(text), target: name("t") };
        let refused = |directory: Directory| {
            let record = directory.encode_to_vec();
            let mut message = vec![ROOT];
            prost::encoding::encode_varint(record.len() as u64, &mut message);
            message.extend(&record);
            decode(&message, &Digest::of(&record)).unwrap_err()
        };
        let unsorted = Directory { symlinks: vec![link("b"), link("a")], ..<_>::default() };
        assert_eq!(refused(unsorted), "it is not in canonical form");
        let twice = Directory { symlinks: vec![link("a"), link("a")], ..<_>::default() };
        assert_eq!(refused(twice), "a name stands twice in one directory");
        for bad in ["", ".", "..", "a/b"] {
            let error = refused(Directory { symlinks: vec![link(bad)], ..<_>::default() });
            assert!(error.contains("is not a file name"), "{error}");
        }
        let redundant = NodeProperties { unix_mode: Some(0o755), ..<_>::default() };
        let redundant = Directory { node_properties: Some(redundant), ..<_>::default() };
        assert_eq!(refused(redundant), "it is not in canonical form");
        let child = DirectoryNode { name: name("d"), digest: Some(Digest::of(b"gone").into()) };
        let dangling = Directory { directories: vec![child], ..<_>::default() };
        assert!(refused(dangling).ends_with("is missing"));
    }

    #[test]
    fn sharing_is_no_bomb() {
        let mut records: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..40 {
            let digest = Some(Digest::of(records.last().unwrap()).into());
            let entry = |name: &str| DirectoryNode { name: name.into(), digest: digest.clone() };
            records.push(
                Directory { directories: vec![entry("a"), entry("b")], ..<_>::default() }.encode_to_vec(),
            );
        }
        let mut message = Vec::new();
        for (index, record) in records.iter().rev().enumerate() {
            message.push(if index == 0 { ROOT } else { CHILD });
            prost::encoding::encode_varint(record.len() as u64, &mut message);
            message.extend(record);
        }
        let error = decode(&message, &Digest::of(records.last().unwrap())).unwrap_err();
        assert_eq!(error, format!("it has more than {MAX_NODES} nodes"));
    }

    pub(crate) fn any_meta() -> impl Strategy<Value = Meta> {
        let mode = prop_oneof![Just(0o644), Just(0o755), 0..=0o7777u32];
        let id = prop_oneof![Just(0), any::<u32>()];
        (mode, id.clone(), id).prop_map(|(mode, uid, gid)| Meta { mode, uid, gid })
    }

    pub(crate) fn any_tree() -> impl Strategy<Value = Tree> {
        let file = (any::<u8>(), any_meta())
            .prop_map(|(byte, meta)| Node::File { digest: Digest::of(&[byte]), meta });
        let leaf = prop_oneof![file, "[a-z/.]{1,9}".prop_map(|to| Node::Symlink { target: to.into() })];
        let dir = |node: BoxedStrategy<Node>| {
            let entries = proptest::collection::btree_map("[abc.é]{1,3}", node, 0..5);
            (any_meta(), entries).prop_map(|(meta, entries)| Dir {
                meta,
                entries: entries
                    .into_iter()
                    .filter_map(|(name, node)| Some((Name::new(&name).ok()?, node)))
                    .collect(),
            })
        };
        let node = leaf.boxed().prop_recursive(4, 40, 5, move |node| dir(node).prop_map(Node::Dir));
        dir(node.boxed())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(tree in any_tree()) {
            let encoded = encode(&tree).unwrap();
            prop_assert_eq!(decode(&encoded.message, &encoded.root).unwrap(), tree);
        }

        #[test]
        fn garbled_messages_are_refused(tree in any_tree(), at in any::<usize>(), bit in 0..8u8) {
            let mut encoded = encode(&tree).unwrap();
            let at = at % encoded.message.len();
            encoded.message[at] ^= 1 << bit;
            prop_assert!(decode(&encoded.message, &encoded.root).is_err());
        }

        #[test]
        fn merging_has_its_laws(a in any_tree(), b in any_tree(), c in any_tree()) {
            let merged = |mut into: Tree, other: &Tree| into.merge(other.clone()).ok().map(|()| into);
            prop_assert_eq!(merged(a.clone(), &a), Some(a.clone()));
            prop_assert_eq!(merged(a.clone(), &Tree::default()), Some(a.clone()));
            prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a));
            let left = merged(a.clone(), &b).and_then(|ab| merged(ab, &c));
            let right = merged(b.clone(), &c).and_then(|bc| merged(a.clone(), &bc));
            prop_assert_eq!(left, right);
        }
    }
}

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
use crate::base::{Digest, Name};

/// How deep a tree may be: guards the stack and the number of open directories.
pub const MAX_DEPTH: usize = 256;
/// How many nodes a tree may have: sharing makes a small message a huge tree.
const MAX_NODES: usize = 4 << 20;
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
        return Err(format!("it is more than {MAX_DEPTH} directories deep"));
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
    if root != Some(*name) {
        return Err("its root has another digest".into());
    }
    let mut left = MAX_NODES;
    let tree = build(name, &records, 0, &mut left)?;
    if encode(&tree)?.message != message {
        return Err("it is not in canonical form".into());
    }
    Ok(tree)
}

fn build(
    name: &Digest,
    records: &BTreeMap<Digest, Directory>,
    depth: usize,
    left: &mut usize,
) -> Result<Dir, String> {
    if depth > MAX_DEPTH {
        return Err(format!("it is more than {MAX_DEPTH} directories deep"));
    }
    let record = records.get(name).ok_or_else(|| format!("directory `{name}` is missing"))?;
    let mut dir = Dir { meta: meta(&record.node_properties, 0o755)?, entries: BTreeMap::new() };
    let mut add = |name: &str, node: Node| {
        let name = Name::new(name).map_err(|error| error.to_string())?;
        match dir.entries.insert(name, node) {
            None => Ok(()),
            Some(_) => Err("a name stands twice in one directory".to_owned()),
        }
    };
    let count = record.files.len() + record.symlinks.len() + record.directories.len();
    *left = left.checked_sub(count).ok_or_else(|| format!("it has more than {MAX_NODES} nodes"))?;
    let digest_of = |digest: &Option<super::proto::Digest>| {
        digest.as_ref().and_then(|digest| digest.name()).ok_or("a digest is missing or malformed")
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
        add(&child.name, Node::Dir(build(&digest_of(&child.digest)?, records, depth + 1, left)?))?;
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

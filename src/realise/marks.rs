//! Which surroundings show in a result: texts that only a step's other surroundings have, found in its files.

use std::collections::BTreeSet;
use std::io::Read as _;

use memchr::memmem::Finder;

use super::Error;
use super::vary::Factor;
use crate::base::{Cancel, Digest};
use crate::store::{self, Store};

/// So much is read at once.
const CHUNK: usize = 1 << 18;

/// Lists those of `factors` whose mark stands in files that a result has and the expected one has not.
pub(super) fn shown(
    expected: &Digest,
    found: &Digest,
    factors: &[Factor],
    store: &Store,
    cancel: &Cancel,
) -> Result<Vec<Factor>, Error> {
    let mut open: Vec<(Factor, Finder<'_>)> =
        factors.iter().filter_map(|factor| Some((*factor, Finder::new(factor.mark()?)))).collect();
    let known: BTreeSet<Digest> = store.tree(expected)?.files().map(|(_, digest, _)| digest).collect();
    let mut shown = Vec::new();
    let new = store.tree(found)?;
    let new: BTreeSet<Digest> =
        new.files().map(|(_, digest, _)| digest).filter(|new| !known.contains(new)).collect();
    for digest in new {
        let mut file = store.open_blob(&digest)?;
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            // A mark may stand across two reads.
            let longest = open.iter().map(|(_, finder)| finder.needle().len()).max().unwrap_or(0);
            buffer.drain(..buffer.len().saturating_sub(longest));
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer);
            let read = read.map_err(|source| store::Error::from_io("read", file.path(), source))?;
            if read == 0 || open.is_empty() {
                break;
            }
            open.retain(|(factor, finder)| {
                let is_there = finder.find(&buffer).is_some();
                shown.extend(is_there.then_some(*factor));
                !is_there
            });
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }
    shown.sort();
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Name;
    use crate::store::{Dir, Meta, Node};

    #[test]
    fn a_mark_is_found_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let tree = |texts: &[&[u8]]| {
            let mut tree = Dir::default();
            for (index, text) in texts.iter().enumerate() {
                let node = Node::File { digest: store.put_bytes(text).unwrap(), meta: Meta::root(0o644) };
                tree.entries.insert(Name::new(&format!("file{index}")).unwrap(), node);
            }
            store.put_tree(&tree).unwrap()
        };
        let [path, kernel] = [Factor::Path, Factor::Kernel].map(|factor| factor.mark().unwrap().as_bytes());
        let same = [b"both have ", kernel].concat();
        let across = [&vec![b'.'; CHUNK - path.len() / 2], path, b"/build"].concat();
        let (before, now) = (tree(&[&same, b"text"]), tree(&[&same, b"other", &across]));
        let shown = |now: &Digest, factors: &[Factor]| {
            super::shown(&before, now, factors, &store, &Cancel::default()).unwrap()
        };
        assert_eq!(shown(&now, &Factor::ALL), [Factor::Path]);
        assert_eq!(shown(&now, &[Factor::User]), []);
        assert_eq!(shown(&before, &Factor::ALL), []);
        let both = tree(&[&[b"the zone is ".as_slice(), b"VARIED, the host another-host"].concat()]);
        assert_eq!(shown(&both, &Factor::ALL), [Factor::HostName, Factor::TimeZone]);
    }
}

//! What was done before: action results and the memo table.
//!
//! A record is one line of text, `nodeimg-record 1 <boot id or -> <SHA-256 of the payload>`, then the
//! payload. See the module doc for what the boot id is for. A torn or foreign record counts as absent and is
//! removed: whoever asked makes the answer again.

use prost::Message as _;

use super::error::At;
use super::{Error, Store, proto, touch};
use crate::base::{Digest, Sha256};

/// Which table a record stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Actions,
    Memo,
}

impl Table {
    pub(super) fn folder(self) -> &'static str {
        match self {
            Table::Actions => "actions",
            Table::Memo => "memo",
        }
    }
}

/// What a build step gave. In the store it is a REAPI `ActionResult`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionResult {
    /// The output tree.
    pub tree: Digest,
    /// What the step wrote to its terminal, a blob.
    pub log: Option<Digest>,
}

impl Store {
    /// Looks up what an action gave.
    pub fn action_result(&self, action: &Digest) -> Result<Option<ActionResult>, Error> {
        let Some(payload) = self.read_record(Table::Actions, &action.hash)? else { return Ok(None) };
        let result = decode_result(&payload);
        if result.is_none() {
            let _ = fs_err::remove_file(self.object(Table::Actions.folder(), &action.hash));
        }
        Ok(result)
    }

    /// Notes what an action gave. The tree and the log must be in the store; they are on disk before the
    /// result is.
    pub fn put_action_result(&self, action: &Digest, result: &ActionResult) -> Result<(), Error> {
        let tree = self.tree_message(&result.tree)?;
        if let Some(log) = result.log.filter(|log| !self.has_blob(log)) {
            return Err(Error::Missing { digest: log });
        }
        let message = proto::ActionResult {
            output_directories: vec![proto::OutputDirectory {
                path: String::new(),
                tree_digest: Some(Digest::of(&tree).into()),
                is_topologically_sorted: true,
                root_directory_digest: Some(result.tree.into()),
            }],
            exit_code: 0,
            stdout_digest: result.log.map(proto::Digest::from),
        };
        self.write_record(Table::Actions, &action.hash, &message.encode_to_vec())?;
        self.sync()
    }

    /// Looks up the artifact that a key stands for. Whether it is still there is another question.
    pub fn memo(&self, key: &Sha256) -> Result<Option<Digest>, Error> {
        let Some(payload) = self.read_record(Table::Memo, key)? else { return Ok(None) };
        Ok(decode_memo(&payload))
    }

    /// Notes which artifact a key stands for. Cheap: it survives a kill at once, and a power cut after the
    /// next [`Store::sync`].
    pub fn put_memo(&self, key: &Sha256, value: &Digest) -> Result<(), Error> {
        if self.memo(key)? == Some(*value) {
            return Ok(());
        }
        self.write_record(Table::Memo, key, &proto::Digest::from(*value).encode_to_vec())
    }

    fn write_record(&self, table: Table, key: &Sha256, payload: &[u8]) -> Result<(), Error> {
        let Some(boot) = &self.boot else {
            rustix::fs::syncfs(&self.root)
                .map_err(|error| Error::from_io("sync", &self.path, error.into()))?;
            return self.write_whole(&self.object(table.folder(), key), &record("-", payload), 0o600);
        };
        self.write_whole(&self.object(table.folder(), key), &record(boot, payload), 0o600)?;
        self.unsynced.lock().expect("no thread panics with it").insert((table, *key), payload.to_vec());
        Ok(())
    }

    /// Writes a record again that no longer depends on this boot, if it still says the same.
    pub(super) fn settle_record(&self, table: Table, key: &Sha256, payload: &[u8]) -> Result<(), Error> {
        if self.read_record(table, key)?.as_deref() == Some(payload) {
            let path = self.object(table.folder(), key);
            self.write_whole(&path, &record("-", payload), 0o600)?;
            // A step may have taken hours: its result, unlike a memo, does not wait for the kernel.
            if let (Table::Actions, Some(folder)) = (table, path.parent()) {
                for path in [path.as_path(), folder] {
                    fs_err::File::open(path).and_then(|file| file.sync_all()).at("sync", path)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_record(&self, table: Table, key: &Sha256) -> Result<Option<Vec<u8>>, Error> {
        let path = self.object(table.folder(), key);
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::from_io("read", &path, error)),
        };
        let payload = payload(&bytes, self.boot.as_deref());
        match payload {
            Some(_) => touch(&path),
            None => {
                let _ = fs_err::remove_file(&path);
            }
        }
        Ok(payload.map(<[u8]>::to_vec))
    }
}

fn decode_result(payload: &[u8]) -> Option<ActionResult> {
    let message = proto::ActionResult::decode(payload).ok()?;
    let [output] = message.output_directories.as_slice() else { return None };
    let log = match &message.stdout_digest {
        Some(digest) => Some(digest.name()?),
        None => None,
    };
    Some(ActionResult { tree: output.root_directory_digest.as_ref()?.name()?, log })
}

fn decode_memo(payload: &[u8]) -> Option<Digest> {
    proto::Digest::decode(payload).ok()?.name()
}

/// Reads the file of an action result; `boot` is the current boot.
pub(super) fn parse_result(bytes: &[u8], boot: Option<&str>) -> Option<ActionResult> {
    decode_result(payload(bytes, boot)?)
}

/// Reads the file of a memo; `boot` is the current boot.
pub(super) fn parse_memo(bytes: &[u8], boot: Option<&str>) -> Option<Digest> {
    decode_memo(payload(bytes, boot)?)
}

/// Tells whether the file of a record is whole, whichever boot it counts in.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    split(bytes).is_some()
}

fn record(boot: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("nodeimg-record 1 {boot} {}\n", Sha256::of(payload)).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a record that is whole and counts now.
fn payload<'a>(bytes: &'a [u8], now: Option<&str>) -> Option<&'a [u8]> {
    let (boot, payload) = split(bytes)?;
    (boot == "-" || Some(boot) == now).then_some(payload)
}

/// The boot and the payload of a record whose checksum is right.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let line = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, payload) = (str::from_utf8(&bytes[..line]).ok()?, &bytes[line + 1..]);
    let (boot, hash) = head.strip_prefix("nodeimg-record 1 ")?.split_once(' ')?;
    (hash == Sha256::of(payload).to_string()).then_some((boot, payload))
}

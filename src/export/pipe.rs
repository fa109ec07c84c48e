//! An image's archive as a stream of chunks, written by one thread and sent by another.

use std::collections::BTreeSet;
use std::io::{self, Write};

use tokio::sync::mpsc;

use crate::base::{Cancel, Digest, GuestPath, Sha256};
use crate::image;
use crate::store::{Node, Store, Tree};

pub(super) const CHUNK: usize = 256 << 10;

/// Chunks between the store and the socket.
const AHEAD: usize = 4;

/// The chunks of an archive. An error is the last one: what came before is not the whole.
pub(super) type Chunks = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Writes an image's archive while `send` takes its chunks; gives how the two ended.
pub(super) fn stream<T>(
    store: &Store,
    tree: &Tree,
    cancel: &Cancel,
    send: impl FnOnce(Chunks) -> T,
) -> (Result<(), image::Error>, T) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let mut pipe = Pipe { sender, chunk: Vec::with_capacity(CHUNK) };
            let written = image::archive(store, tree, &mut pipe, cancel)
                .and_then(|()| pipe.flush().map_err(|source| image::Error::Write { source }));
            if written.is_err() {
                // The receiver must not take what it has so far for the whole.
                drop(pipe.sender.blocking_send(Err(io::Error::other("the archive is incomplete"))));
            }
            written
        });
        let sent = send(receiver);
        (written.join().expect("writing an archive does not panic"), sent)
    })
}

/// Gives an image's tree without blobs that somebody has, and the size of those that are left.
pub(super) fn without(tree: &Tree, there: &BTreeSet<Sha256>) -> (Tree, u64) {
    let mut rest = tree.clone();
    let folder = GuestPath::new("/blobs/sha256").expect("a constant path");
    let blobs = tree.dir(&folder).map(|dir| dir.entries.clone()).unwrap_or_default();
    let mut size = 0;
    for (name, node) in blobs {
        let Node::File { digest: Digest { hash, size: own }, .. } = node else { continue };
        if there.contains(&hash) {
            rest.remove(&GuestPath::new(&format!("{folder}/{name}")).expect("a path of the tree"));
        } else {
            size += own;
        }
    }
    (rest, size)
}

/// Writes into the channel.
struct Pipe {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(chunk)).map_err(gone)
    }
}

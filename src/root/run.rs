//! Runs a script as administrator over a tree, and gives the tree that it leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Error;
use crate::base::{Cancel, Digest, GuestPath};
use crate::sandbox::{self, Emulator, Finished, Identity, Job, Limits, Mount, Root, Sandbox, Surroundings};
use crate::store::{Owners, Store, Tree};

/// What is run, as plain data.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Program (absolute guest path) and arguments.
    pub argv: &'a [String],
    /// The whole environment.
    pub env: &'a BTreeMap<String, String>,
    /// What is mounted beside the root.
    pub mounts: &'a [Mount],
    /// Which trees those mounts are, as far as that is known.
    pub known: &'a BTreeMap<PathBuf, Digest>,
    /// What runs its programs, if they are another machine's.
    pub emulator: Option<&'a Emulator>,
    /// When it is stopped.
    pub limits: Limits,
    /// What is around it.
    pub surroundings: &'a Surroundings,
}

/// Folders that the sandbox makes in every root.
const OWN: [&str; 4] = ["/dev", "/proc", "/sys", "/tmp"];

/// Runs a step as [`Identity::Administrator`] over a changeable copy of a tree, and gives what the tree has become,
/// with what the step took.
///
/// Where overlayfs can't be mounted the tree is copied first; the result is the same. What the step leaves in a
/// mount is not part of the result, nor are mount points that the tree lacked.
pub fn run(
    store: &Store,
    sandbox: &dyn Sandbox,
    base: &Digest,
    step: &Step,
    output: &mut dyn FnMut(&[u8]),
    cancel: &Cancel,
) -> Result<(Tree, Finished), Error> {
    let before = store.tree(base)?;
    let scratch = store.scratch()?;
    let checkout = store.checkout(base)?;
    let mut known = step.known.clone();
    known.insert(checkout.path().to_owned(), *base);
    let job = |root| Job {
        argv: step.argv.to_vec(),
        env: step.env.clone(),
        cwd: GuestPath::root(),
        root,
        mounts: step.mounts.to_vec(),
        identity: Identity::Administrator,
        emulator: step.emulator.cloned(),
        limits: step.limits,
        known: known.clone(),
        surroundings: step.surroundings.clone(),
    };
    let changes = scratch.path().join("changes");
    fs_err::create_dir(&changes).map_err(|source| crate::store::Error::Io {
        action: "create",
        path: changes.clone(),
        source,
    })?;
    let root = Root::Changeable { lower: checkout.path().to_owned(), changes: changes.clone() };
    let (finished, after) = match sandbox.run(&job(root), output, cancel) {
        Err(sandbox::Error::NoOverlay { .. }) => {
            let dir = scratch.path().join("root");
            store.copy_out(base, &dir)?;
            let finished =
                succeeded(sandbox.run(&job(Root::Writable { dir: dir.clone() }), output, cancel)?)?;
            (finished, store.absorb(&dir, Owners::Recorded)?)
        }
        result => {
            let finished = succeeded(result?)?;
            (finished, store.ingest_overlay(&before, &changes.join("upper"), Owners::Recorded)?)
        }
    };
    let mut after = Tree { meta: before.meta, ..after };
    let own = OWN.map(|path| GuestPath::new(path).expect("a constant"));
    step.mounts
        .iter()
        .map(|mount| &mount.target)
        .chain(&own)
        .for_each(|path| forget(&mut after, &before, path));
    Ok((after, finished))
}

fn succeeded(finished: Finished) -> Result<Finished, Error> {
    if finished.exit.is_success() { Ok(finished) } else { Err(Error::Failed { exit: finished.exit }) }
}

/// Takes away a mount point that was made for the step, and folders above it that hold nothing else.
fn forget(after: &mut Tree, before: &Tree, point: &GuestPath) {
    let mut at = Some(point.clone());
    let mut is_point = true;
    while let Some(path) = at.take_if(|path| before.get(path).is_none()) {
        let is_empty = after.dir(&path).is_some_and(|dir| dir.entries.is_empty());
        if !is_empty && !is_point {
            break;
        }
        after.remove(&path);
        is_point = false;
        let above = path.as_str().rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty());
        at = above.map(|above| GuestPath::new(above).expect("a part of a path is one"));
    }
}

//! Applies unified diffs to a tree: git's and plain ones, several files in one patch, made, removed, renamed
//! and copied files, and git's mode lines. Paths are taken without their first component (`-p1`).
//!
//! No fuzz: every context line must match. A hunk may stand at other line numbers than it says.

use std::path::Path;

use diffy::patch_set::{FileMode, FileOperation, ParseOptions, PatchKind, PatchSet};
use diffy::{Hunk, Line};

use super::Error;
use crate::base::GuestPath;
use crate::store::{Meta, Node, Store, Tree};

/// Reads a patch from a file of the project. `name` is for errors.
pub fn load(path: &Path, name: &str) -> Result<Vec<u8>, Error> {
    fs_err::read(path).map_err(|source| Error::NoPatch { patch: name.to_owned(), source })
}

/// Applies a patch. `name` is for errors. After an error the tree is half patched.
pub fn apply(store: &Store, tree: &mut Tree, name: &str, patch: &[u8]) -> Result<(), Error> {
    let git = patch.starts_with(b"diff --git ") || patch.windows(12).any(|bytes| bytes == b"\ndiff --git ");
    let options = if git { ParseOptions::gitdiff() } else { ParseOptions::unidiff() };
    let bad = |why: String| Error::BadPatch { patch: name.to_owned(), why };
    let mut some = false;
    for file in PatchSet::parse_bytes(patch, options) {
        let file = file.map_err(|error| bad(error.to_string()))?;
        let hunks = match file.patch() {
            PatchKind::Text(text) => text.hunks(),
            PatchKind::Binary(_) => return Err(bad("it changes a binary file".to_owned())),
        };
        let mode = match (file.old_mode(), file.new_mode()) {
            (_, Some(FileMode::Symlink | FileMode::Gitlink))
            | (Some(FileMode::Symlink | FileMode::Gitlink), _) => {
                return Err(bad("it changes a symbolic link or a submodule".to_owned()));
            }
            (_, Some(FileMode::Executable)) => Some(0o755),
            (_, Some(FileMode::Regular)) => Some(0o644),
            (_, None) => None,
        };
        File { store, patch: name, hunks, mode }
            .apply(tree, &file.operation().strip_prefix(usize::from(!stripped(file.operation()))))?;
        some = true;
    }
    if some { Ok(()) } else { Err(bad("it changes nothing".to_owned())) }
}

/// Git's extended headers (`rename from`, `copy from`) carry paths without a prefix.
fn stripped(operation: &FileOperation<'_, [u8]>) -> bool {
    matches!(operation, FileOperation::Rename { .. } | FileOperation::Copy { .. })
}

/// What is done to one file.
struct File<'a> {
    store: &'a Store,
    patch: &'a str,
    hunks: &'a [Hunk<'a, [u8]>],
    mode: Option<u32>,
}

impl File<'_> {
    fn apply(&self, tree: &mut Tree, operation: &FileOperation<'_, [u8]>) -> Result<(), Error> {
        match operation {
            FileOperation::Create(path) => {
                let path = self.path(path)?;
                if tree.get(&path).is_some() {
                    return Err(self.wrong(&path, "is there already"));
                }
                self.put(tree, &path, b"", Meta::root(0o644))
            }
            FileOperation::Delete(path) => {
                let path = self.path(path)?;
                let (old, _) = self.read(tree, &path)?;
                if !self.patched(&path, &old)?.is_empty() {
                    return Err(
                        self.wrong(&path, "is to be removed, but has more lines than the patch knows")
                    );
                }
                tree.remove(&path);
                // As git and patch(1) do, a directory goes with its last file.
                let mut at = path;
                while let Some((parent, _)) = at.as_str().rsplit_once('/') {
                    let Ok(parent) = GuestPath::new(parent) else { break };
                    if !matches!(tree.get(&parent), Some(Node::Dir(dir)) if dir.entries.is_empty()) {
                        break;
                    }
                    tree.remove(&parent);
                    at = parent;
                }
                Ok(())
            }
            FileOperation::Modify { original, modified } => {
                let (original, modified) = (self.path(original)?, self.path(modified)?);
                // Plain diffs often compare `file.orig` with `file`: the one that is there is meant.
                let path = if tree.get(&modified).is_some() { modified } else { original };
                let (old, meta) = self.read(tree, &path)?;
                self.put(tree, &path, &old, meta)
            }
            FileOperation::Rename { from, to } => {
                let (from, to) = (self.path(from)?, self.path(to)?);
                let (old, meta) = self.read(tree, &from)?;
                if tree.get(&to).is_some() {
                    return Err(self.wrong(&to, "is there already"));
                }
                tree.remove(&from);
                self.put(tree, &to, &old, meta)
            }
            FileOperation::Copy { from, to } => {
                let (from, to) = (self.path(from)?, self.path(to)?);
                let (old, meta) = self.read(tree, &from)?;
                self.put(tree, &to, &old, meta)
            }
        }
    }

    fn path(&self, path: &[u8]) -> Result<GuestPath, Error> {
        let text = String::from_utf8_lossy(path);
        GuestPath::new(&format!("/{text}")).map_err(|_| Error::BadPatch {
            patch: self.patch.to_owned(),
            why: format!("`{text}` is no path inside the source"),
        })
    }

    fn wrong(&self, path: &GuestPath, why: &str) -> Error {
        Error::PatchFile {
            patch: self.patch.to_owned(),
            file: path.relative().to_owned(),
            why: why.to_owned(),
        }
    }

    fn read(&self, tree: &Tree, path: &GuestPath) -> Result<(Vec<u8>, Meta), Error> {
        match tree.get(path) {
            Some(Node::File { digest, meta }) => Ok((self.store.read_blob(digest)?, *meta)),
            Some(_) => Err(self.wrong(path, "is no regular file")),
            None => Err(self.wrong(path, "does not exist")),
        }
    }

    fn put(&self, tree: &mut Tree, path: &GuestPath, old: &[u8], mut meta: Meta) -> Result<(), Error> {
        let digest = self.store.put_bytes(&self.patched(path, old)?)?;
        meta.mode = self.mode.unwrap_or(meta.mode);
        tree.insert(path, Node::File { digest, meta })
            .map_err(|_| self.wrong(path, "is below a file or a link"))
    }

    fn patched(&self, path: &GuestPath, old: &[u8]) -> Result<Vec<u8>, Error> {
        let lines: Vec<&[u8]> = old.split_inclusive(|byte| *byte == b'\n').collect();
        let mut new = Vec::with_capacity(old.len());
        let mut done = 0;
        let mut shift = 0;
        for (index, hunk) in self.hunks.iter().enumerate() {
            let want: Vec<&[u8]> = hunk.lines().iter().filter_map(before).collect();
            let said = hunk.old_range().start();
            // A hunk without old lines names the line after which it stands.
            let said = if want.is_empty() { said } else { said.saturating_sub(1) };
            let near = said.saturating_add_signed(shift).max(done);
            let Some(at) = find(&lines, &want, near, done) else {
                return Err(self.mismatch(path, index, &lines, &want, near));
            };
            shift = at as isize - said as isize;
            lines[done..at].iter().for_each(|line| new.extend_from_slice(line));
            hunk.lines().iter().filter_map(after).for_each(|line| new.extend_from_slice(line));
            done = at + want.len();
        }
        lines[done..].iter().for_each(|line| new.extend_from_slice(line));
        Ok(new)
    }

    fn mismatch(&self, path: &GuestPath, hunk: usize, lines: &[&[u8]], want: &[&[u8]], near: usize) -> Error {
        let same = |offset: &usize| lines.get(near + offset) == want.get(*offset);
        let offset = (0..want.len()).find(|offset| !same(offset)).unwrap_or(0);
        let show = |line: Option<&&[u8]>| match line {
            Some(line) => format!("`{}`", String::from_utf8_lossy(line).trim_end()),
            None => "the end of the file".to_owned(),
        };
        Error::PatchHunk {
            patch: self.patch.to_owned(),
            file: path.relative().to_owned(),
            hunk: hunk + 1,
            line: near + offset + 1,
            expected: show(want.get(offset)),
            found: show(lines.get(near + offset)),
        }
    }
}

fn before<'a>(line: &Line<'a, [u8]>) -> Option<&'a [u8]> {
    match *line {
        Line::Context(text) | Line::Delete(text) => Some(text),
        Line::Insert(_) => None,
    }
}

fn after<'a>(line: &Line<'a, [u8]>) -> Option<&'a [u8]> {
    match *line {
        Line::Context(text) | Line::Insert(text) => Some(text),
        Line::Delete(_) => None,
    }
}

/// Finds the place nearest to `near`, not before `from`, where the lines stand; the earlier of two.
fn find(lines: &[&[u8]], want: &[&[u8]], near: usize, from: usize) -> Option<usize> {
    let last = lines.len().checked_sub(want.len())?;
    let fits = |at: &usize| (from..=last).contains(at) && lines[*at..*at + want.len()] == *want;
    (0..=lines.len())
        .find_map(|away| near.checked_sub(away).filter(fits).or_else(|| Some(near + away).filter(fits)))
}

//! What was not made here: which results came from where, and who vouches for them.
//!
//! A file per place that results were taken from, `taken/<SHA-256 of its name>`: [`Taken`] as JSON. It says what was
//! taken; whether a result still counts, the memo table says.

use serde::{Deserialize, Serialize};

use super::error::At;
use super::{Error, Store};
use crate::base::{Digest, Sha256};

/// Results that came from one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The place: `bundle sha256:…`.
    pub from: String,
    /// The public key that they were signed with, if they were.
    pub signed_by: Option<String>,
    /// What was taken, sorted by step.
    pub results: Vec<TakenResult>,
}

/// A result that was taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TakenResult {
    /// The step's name, for people.
    pub step: String,
    /// The step's key.
    pub key: Sha256,
    /// What it is said to give.
    pub artifact: Digest,
}

impl Store {
    /// Takes results from elsewhere: notes where they came from, then that they are what their steps give. Their trees
    /// and blobs must be in the store. A step that was made here keeps its own result.
    pub fn take(&self, taken: &Taken) -> Result<(), Error> {
        let path = self.taken_path(&taken.from);
        let noted = fs_err::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Taken>(&bytes).ok());
        let noted = noted.map(|noted| noted.results).unwrap_or_default();
        let mut results = Vec::new();
        for result in &taken.results {
            let own = self.memo(&result.key)?.filter(|own| self.has_tree(own));
            if own.is_none() || own == Some(result.artifact) && noted.contains(result) {
                results.push(result.clone());
            }
        }
        results.sort();
        if results.is_empty() {
            return Ok(());
        }
        // First who is to be asked about it, then what it is.
        let text = serde_json::to_vec(&Taken { results: results.clone(), ..taken.clone() });
        self.write_whole(&path, &text.expect("plain values"), 0o600)?;
        results.iter().try_for_each(|result| self.put_memo(&result.key, &result.artifact))?;
        self.sync()
    }

    /// Lists the results that were taken and still count, by place: what `verify` can make again to compare.
    pub fn taken(&self) -> Result<Vec<Taken>, Error> {
        let folder = self.path.join("taken");
        let mut all = Vec::new();
        for entry in fs_err::read_dir(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            let bytes = fs_err::read(&path).at("read", &path)?;
            // One that a power cut tore tells nothing.
            let Ok(mut taken) = serde_json::from_slice::<Taken>(&bytes) else { continue };
            let mut results = Vec::new();
            for result in std::mem::take(&mut taken.results) {
                if self.memo(&result.key)? == Some(result.artifact) {
                    results.push(result);
                }
            }
            taken.results = results;
            all.push(taken);
        }
        all.retain(|taken| !taken.results.is_empty());
        all.sort_by(|a, b| a.from.cmp(&b.from));
        Ok(all)
    }

    /// Removes what is noted about results that count no more.
    pub(super) fn forget_taken(&self) -> Result<(), Error> {
        let folder = self.path.join("taken");
        let counting: Vec<_> = self.taken()?.iter().map(|taken| self.taken_path(&taken.from)).collect();
        for entry in fs_err::read_dir(&folder).at("read", &folder)? {
            let path = entry.at("read", &folder)?.path();
            if !counting.contains(&path) {
                fs_err::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    fn taken_path(&self, from: &str) -> std::path::PathBuf {
        self.path.join("taken").join(Sha256::of(from.as_bytes()).to_string())
    }
}

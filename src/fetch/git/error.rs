//! What can be wrong with a repository.

use super::Id;
use crate::base::Blame;

/// Says why a commit was not taken. URLs are without user and password.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[allow(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error("`{repository}` has the entry `{entry}`, which {why}")]
    #[diagnostic(help("such a commit is not used; name another one, or a release's archive with `url`"))]
    Refused { repository: String, entry: String, why: String },

    #[error("`{repository}` holds more than {limit}")]
    #[diagnostic(help("name a release's archive with `url` instead"))]
    TooLarge { repository: String, limit: String },

    #[error(
        "commit `{commit}` of `{who}` has another tree than its pin\n  expected: {expected}\n  received: {received}"
    )]
    #[diagnostic(help(
        "a commit never changes its tree, so the lock was edited: run `nodeimg lock` and review the diff"
    ))]
    Tree { who: String, commit: Id, expected: Id, received: Id },

    #[error("pin of `{who}` {why}")]
    #[diagnostic(help("run `nodeimg lock` and review the diff"))]
    Pin { who: String, why: &'static str },

    #[error("can't work with git in the store: {reason}")]
    Work { reason: String },
}

impl Error {
    /// Tells who is to act.
    pub fn blame(&self) -> Blame {
        match self {
            Error::Work { .. } => Blame::Machine,
            _ => Blame::Input,
        }
    }
}

//! A commit of a git repository, with its submodules.
//!
//! In go a repository's URL and a commit, a tag or a branch; out comes one file, a tar of the commit's tree
//! ([`content`]), so that a pin names it as it names any other file. The pin says the commit and its tree as
//! well: git names them by SHA-1, which finds them but is not enough to trust. What counts is the commit: a
//! tag or a branch may move on after locking.
//!
//! The smart protocol is libgit2's; HTTP is nodeimg's own, with its mirrors, proxies and authorities
//! ([`wire`]). Everything happens in a scratch repository of the store: no configuration of the user or the
//! machine is read, no hook, filter, attribute or credential helper is run, nothing is checked out. Never:
//! ssh, `git://`, files of this machine because a repository says so.

mod content;
mod error;
mod id;
mod modules;
mod remote;
#[cfg(test)]
mod tests;
mod wire;

pub use error::Error;
pub use id::{Id, NotAnId};
pub(super) use remote::tags;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::{Trouble, public};
use super::{Context, Pin, Substitute};
use crate::base::Digest;
use crate::base::event::{Activity, Event, Outcome, next_id};
use content::Packer;
use remote::Job;

/// `git = "…"`, and one of `rev`, `tag`, `branch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// The repository's URL: `https://`, `http://` or `file://`.
    pub git: String,
    /// A commit, as 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// A tag, light or annotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether submodules are part of it, and theirs of them. Without, they are empty directories.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub submodules: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// What is wanted of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    Rev(Id),
    Tag(String),
    Branch(String),
}

impl Want {
    /// The reference that leads to it.
    fn reference(&self) -> Option<String> {
        match self {
            Want::Rev(_) => None,
            Want::Tag(name) => Some(format!("refs/tags/{name}")),
            Want::Branch(name) => Some(format!("refs/heads/{name}")),
        }
    }
}

/// A repository and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Source", into = "Source")]
pub struct Request {
    url: String,
    want: Want,
    submodules: bool,
}

impl Source {
    pub(super) fn request(&self, substitute: &Substitute<'_>) -> Result<Request, String> {
        let text = |text: &Option<String>| text.as_deref().map(substitute).transpose();
        let source = Source {
            git: substitute(&self.git)?,
            rev: text(&self.rev)?,
            tag: text(&self.tag)?,
            branch: text(&self.branch)?,
            submodules: self.submodules,
        };
        source.try_into()
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        let named = [&self.rev, &self.tag, &self.branch];
        std::iter::once(&self.git).chain(named.into_iter().flatten()).map(String::as_str).collect()
    }
}

impl TryFrom<Source> for Request {
    type Error = String;

    fn try_from(source: Source) -> Result<Self, String> {
        if let Some(why) = modules::refused(&source.git) {
            return Err(format!("`{}` {why}", public(&source.git)));
        }
        let want = match (source.rev, source.tag, source.branch) {
            (Some(rev), None, None) => {
                Want::Rev(rev.parse().map_err(|error: id::NotAnId| error.to_string())?)
            }
            (None, Some(tag), None) => Want::Tag(tag),
            (None, None, Some(branch)) => Want::Branch(branch),
            _ => return Err("`git` needs exactly one of `rev`, `tag`, `branch`".to_owned()),
        };
        if let Some(reference) = want.reference()
            && !git2::Reference::is_valid_name(&reference)
        {
            return Err(format!("`{reference}` is no name that git allows"));
        }
        Ok(Self { url: source.git, want, submodules: source.submodules })
    }
}

impl From<Request> for Source {
    fn from(request: Request) -> Self {
        let Request { url: git, want, submodules } = request;
        let mut source = Self { git, rev: None, tag: None, branch: None, submodules };
        match want {
            Want::Rev(id) => source.rev = Some(id.to_string()),
            Want::Tag(tag) => source.tag = Some(tag),
            Want::Branch(branch) => source.branch = Some(branch),
        }
        source
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = public(&self.url);
        match &self.want {
            Want::Rev(id) => write!(f, "{url}@{id}"),
            Want::Tag(name) | Want::Branch(name) => write!(f, "{url}@{name}"),
        }
    }
}

impl Request {
    /// Tells whether the request is for a commit by its name, which is a hash.
    pub(super) fn names_commit(&self) -> bool {
        matches!(self.want, Want::Rev(_))
    }

    /// Gives the tag that is wanted; else tells whether a branch is.
    pub(super) fn tag(&self) -> Result<&str, bool> {
        match &self.want {
            Want::Tag(tag) => Ok(tag),
            Want::Branch(_) => Err(true),
            Want::Rev(_) => Err(false),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Gives the repository's URL as it may be shown.
    pub(super) fn place(&self) -> String {
        public(&self.url)
    }

    pub(super) fn resolve(&self, context: &Context<'_>) -> Result<Pin, super::Error> {
        self.bring(None, Activity::Resolve, context)
    }

    /// Brings what is pinned, whatever the tag or the branch means today.
    pub(super) fn fetch(&self, pin: &Pin, context: &Context<'_>) -> Result<Digest, super::Error> {
        let wrong = |why| Error::Pin { who: self.to_string(), why };
        let (Some(commit), Some(_), Some(_)) = (pin.commit, pin.tree, pin.size) else {
            return Err(wrong("lacks one of `commit`, `tree` and `size`").into());
        };
        if matches!(self.want, Want::Rev(rev) if rev != commit) {
            return Err(wrong("is of another commit").into());
        }
        let got = self.bring(Some(pin), Activity::Fetch, context)?;
        Ok(Digest { hash: got.sha256, size: got.size.unwrap_or_default() })
    }

    fn bring(&self, pin: Option<&Pin>, kind: Activity, context: &Context<'_>) -> Result<Pin, super::Error> {
        let who = self.to_string();
        context.network.allowed(&who)?;
        let (id, events) = (next_id(), context.events);
        let name = who.rsplit('/').next().unwrap_or(&who).to_owned();
        events.emit(Event::Started { id, kind, name, total: None });
        let places = context.network.places(&self.url, None);
        let fetch = |place: &str| self.pack(id, place, pin, context);
        let result = context.network.try_all(&who, &places, fetch, context);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(super::Error::Cancelled) => Outcome::Stopped,
            Err(_) => Outcome::Failed,
        };
        events.emit(Event::Finished { id, outcome, detail: String::new() });
        result
    }

    /// Gets the commit from one place, packs its tree and compares all of it with the pin.
    fn pack(&self, id: u64, place: &str, pin: Option<&Pin>, context: &Context<'_>) -> Result<Pin, Trouble> {
        let job = Job::new(id, self.to_string(), context);
        let commit = pin.and_then(|pin| pin.commit);
        let repository = job.obtain(place, &self.want, commit)?;
        let packer = Packer::new(&job, self.submodules)?;
        let (tree, writer) = packer.pack(&repository, &self.url)?;
        let (commit, store) = (repository.commit, |error: crate::store::Error| Trouble::Final(error.into()));
        let Some(pin) = pin else {
            let digest = writer.finish().map_err(store)?;
            let (commit, tree) = (Some(commit), Some(tree));
            return Ok(Pin { commit, tree, ..Pin::file(digest.hash, Some(digest.size)) });
        };
        if let Some(expected) = pin.tree.filter(|expected| *expected != tree) {
            let error = Error::Tree { who: self.to_string(), commit, expected, received: tree };
            return Err(Trouble::Final(error.into()));
        }
        let expected = Digest { hash: pin.sha256, size: pin.size.unwrap_or_default() };
        match writer.finish_expecting(&expected) {
            Ok(()) => Ok(*pin),
            Err(crate::store::Error::Mismatch { received, .. }) => {
                let (url, expected, received) = (self.to_string(), expected.hash, received.hash);
                Err(Trouble::Wrong(super::Error::Hash { url, expected, received }))
            }
            Err(error) => Err(store(error)),
        }
    }
}

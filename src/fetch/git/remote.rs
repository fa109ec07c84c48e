//! Gets a commit from a place into a scratch repository, with as little of its history as the server allows.

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks};
use std::cell::Cell;

use super::wire::{self, Wire};
use super::{Error, Id, Want};
use crate::base::event::Event;
use crate::fetch::Context;
use crate::fetch::network::{LARGEST, Trouble, is_local};
use crate::store::Scratch;

/// One activity, over all repositories that it needs.
pub(super) struct Job<'a> {
    id: u64,
    /// For errors.
    pub(super) who: String,
    pub(super) context: &'a Context<'a>,
    /// Bytes from repositories that are done with.
    done: Cell<u64>,
}

/// A repository that has a commit.
pub(super) struct Repository {
    pub(super) git: git2::Repository,
    pub(super) commit: Id,
    _scratch: Scratch,
}

/// References to ask for, and how many commits of each; 0 is all.
type Attempt = (Vec<String>, i32);

impl<'a> Job<'a> {
    pub(super) fn new(id: u64, who: String, context: &'a Context<'a>) -> Self {
        Self { id, who, context, done: Cell::new(0) }
    }

    /// Gets what is wanted from a place; the commit itself where one is pinned.
    pub(super) fn obtain(&self, place: &str, want: &Want, pinned: Option<Id>) -> Result<Repository, Trouble> {
        let unfit =
            |reason: git2::Error| Trouble::Final(Error::Work { reason: reason.message().to_owned() }.into());
        let scratch = self.context.store.scratch().map_err(|error| Trouble::Final(error.into()))?;
        let git = git2::Repository::init_bare(scratch.path().join("repository")).map_err(unfit)?;
        let commit = at(place, self.context, |url, wire| {
            Fetch { job: self, git: &git, url, wire }.commit(want, pinned)
        })?;
        Ok(Repository { git, commit, _scratch: scratch })
    }
}

/// Does something with libgit2 at a place: by the URL that libgit2 is to use, over the wire unless it is on this machine.
fn at<T>(
    place: &str,
    context: &Context<'_>,
    work: impl FnOnce(&str, Option<&Wire>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    wire::prepare().map_err(|error| Trouble::Final(error.into()))?;
    if is_local(place) {
        let url = reqwest::Url::parse(place).ok().filter(|url| url.to_file_path().is_ok());
        let url = url.ok_or_else(|| Trouble::Lasting("is no path of this machine".to_owned()))?;
        return work(url.as_str(), None);
    }
    if let Some(why) = super::modules::refused(place) {
        return Err(Trouble::Lasting(why.to_owned()));
    }
    let network = context.network;
    let _slot = network.slot(place, context.cancel)?;
    let wire = Wire::new(network.client()?, place, context.cancel);
    wire.during(|| work(wire::URL, Some(&wire)))
}

/// Says what was wrong: what the wire saw, else what libgit2 or the server says.
fn trouble(error: &git2::Error, wire: Option<&Wire>) -> Trouble {
    let seen = wire.and_then(Wire::trouble);
    seen.unwrap_or_else(|| Trouble::Lasting(printable(error.message())))
}

/// Lists the tags of the repository at `url`, or at a mirror of it, without bringing anything of it.
pub(in crate::fetch) fn tags(url: &str, context: &Context<'_>) -> Result<Vec<String>, crate::fetch::Error> {
    let list = |place: &str| {
        at(place, context, |url, wire| {
            let heads = || {
                let mut remote = git2::Remote::create_detached(url)?;
                remote.connect(Direction::Fetch)?;
                let heads = remote.list()?.iter().map(|head| head.name().to_owned());
                Ok(heads.collect::<Vec<_>>())
            };
            heads().map_err(|error| trouble(&error, wire))
        })
    };
    context.network.allowed(url)?;
    let heads = context.network.try_all(url, &context.network.places(url, None), list, context)?;
    // A peeled tag is listed a second time.
    let tags = heads.iter().filter_map(|head| head.strip_prefix("refs/tags/"));
    Ok(tags.filter(|tag| !tag.ends_with("^{}")).map(str::to_owned).collect())
}

/// A repository on its way.
struct Fetch<'a> {
    job: &'a Job<'a>,
    git: &'a git2::Repository,
    url: &'a str,
    wire: Option<&'a Wire>,
}

impl Fetch<'_> {
    fn commit(&self, want: &Want, pinned: Option<Id>) -> Result<Id, Trouble> {
        let mut remote = self.git.remote_anonymous(self.url).map_err(|error| self.trouble(&error))?;
        remote.connect(Direction::Fetch).map_err(|error| self.trouble(&error))?;
        let heads: Vec<(String, Oid)> = remote
            .list()
            .map_err(|error| self.trouble(&error))?
            .iter()
            .map(|head| (head.name().to_owned(), head.oid()))
            .collect();
        let named = want.reference();
        let at = |name: &str| heads.iter().find(|(head, _)| head == name).map(|(_, id)| *id);
        let known = match want {
            Want::Rev(id) => Some(*id),
            _ => pinned,
        };
        let Some(commit) = known else {
            let name = named.unwrap_or_default();
            let Some(id) = at(&name) else {
                let (kind, name) = match want {
                    Want::Tag(name) => ("tag", name),
                    Want::Branch(name) => ("branch", name),
                    Want::Rev(_) => unreachable!("a commit is known"),
                };
                return Err(Trouble::Lasting(format!("has no {kind} `{name}`")));
            };
            self.try_all(&mut remote, vec![(vec![name.clone()], 1), (vec![name.clone()], 0)], id)?;
            let object = self.git.find_object(id, None).and_then(|object| object.peel_to_commit());
            return object
                .map(|commit| commit.id().into())
                .map_err(|_| Trouble::Lasting(format!("has no commit at `{name}`")));
        };
        let id = Oid::from(commit);
        // A peeled tag is listed with `^{}` behind its name.
        let tip = heads.iter().find(|(_, head)| *head == id).map(|(name, _)| name.trim_end_matches("^{}"));
        let attempts: Vec<Attempt> = match tip {
            Some(name) => vec![(vec![name.to_owned()], 1), (vec![name.to_owned()], 0)],
            None => {
                let mut attempts = vec![(vec![id.to_string()], 1), (vec![id.to_string()], 0)];
                attempts.extend(named.filter(|name| at(name).is_some()).map(|name| (vec![name], 0)));
                attempts.push((vec!["refs/heads/*".to_owned(), "refs/tags/*".to_owned()], 0));
                attempts.push((vec!["refs/*".to_owned()], 0));
                attempts
            }
        };
        self.try_all(&mut remote, attempts, id)?;
        match self.git.find_commit(id) {
            Ok(_) => Ok(commit),
            Err(_) => Err(Trouble::Lasting(format!("`{commit}` is no commit there"))),
        }
    }

    /// Downloads in one way after the other until the object is there.
    fn try_all(&self, remote: &mut git2::Remote<'_>, attempts: Vec<Attempt>, id: Oid) -> Result<(), Trouble> {
        let mut why = None;
        for (names, depth) in attempts {
            // The local transport copies objects, and knows no depth.
            if depth > 0 && self.wire.is_none() {
                continue;
            }
            match self.download(remote, &names, depth) {
                Ok(()) if self.git.odb().is_ok_and(|odb| odb.exists(id)) => return Ok(()),
                Ok(()) => {
                    why = Some(Trouble::Lasting(format!("has no commit `{id}`, on no branch and no tag")))
                }
                // A server says so when it gives no single commits, or none of no reference.
                Err(Trouble::Lasting(new)) => why = why.or(Some(Trouble::Lasting(new))),
                Err(trouble) => return Err(trouble),
            }
            let _ = remote.disconnect();
        }
        Err(why.unwrap_or_else(|| Trouble::Lasting(format!("has no commit `{id}`"))))
    }

    fn download(&self, remote: &mut git2::Remote<'_>, names: &[String], depth: i32) -> Result<(), Trouble> {
        let specs: Vec<String> = names
            .iter()
            .map(|name| match name.strip_prefix("refs/") {
                Some(rest) => format!("+{name}:refs/got/{rest}"),
                None => format!("+{name}:refs/got/commit"),
            })
            .collect();
        let (cancel, events) = (self.job.context.cancel, self.job.context.events);
        let (before, too_much) = (self.job.done.get(), Cell::new(false));
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| {
            let received = progress.received_bytes() as u64;
            self.job.done.set(before + received);
            events.emit(Event::Progress { id: self.job.id, done: before + received });
            too_much.set(received > LARGEST);
            !cancel.is_cancelled() && !too_much.get()
        });
        callbacks.sideband_progress(|_| !cancel.is_cancelled());
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None).depth(depth);
        let result = remote.download(&specs, Some(&mut options)).map_err(|error| self.trouble(&error));
        if too_much.get() {
            return Err(Trouble::Lasting(format!("sends more than {LARGEST} bytes")));
        }
        result
    }

    fn trouble(&self, error: &git2::Error) -> Trouble {
        trouble(error, self.wire)
    }
}

/// Makes a text from far away fit to be shown.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    shown.take(300).collect()
}

//! Asks for what is not pinned yet, and writes locks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::change::{self, Change};
use super::file::{
    self, BaseEntry, BasePin, File, Platform, RootEntry, RootName, RootRequest, SourceEntry, SuiteEntry,
};
use super::wanted::{Asked, Wanted, wanted};
use super::{ASSEMBLY, Error, Unanswered, is_unused, suite_release};
use crate::base::{Arch, Cancel, Name, Sha256, each};
use crate::fetch::debian::{PackagePin, SuitePin};
use crate::fetch::{Pin, Request, oci};
use crate::recipe::{Id, Project, Role, Suite};

/// Requests that are asked at once.
const THREADS: usize = 4;

/// Answers requests. The real one asks the network; the only thing in locking that may.
pub trait Resolver: Sync {
    /// Pins a source.
    fn source(&self, request: &Request) -> Result<Pin, Unanswered>;
    /// Pins the image that another one is built on.
    fn base(&self, reference: &oci::Reference) -> Result<BasePin, Unanswered>;
    /// Pins a suite on all platforms; `folder` is where its keys lie.
    fn suite(&self, suite: &Suite, folder: &Path) -> Result<SuitePin, Unanswered>;
    /// Finds a root's packages, sorted.
    fn root(
        &self,
        suite: &Suite,
        folder: &Path,
        pin: &SuitePin,
        arch: Arch,
        wants: &[String],
    ) -> Result<Vec<PackagePin>, Unanswered>;
}

/// Which requests are asked again though their pins would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Update {
    /// None.
    #[default]
    Nothing,
    /// Those of these recipes.
    Recipes(BTreeSet<Id>),
}

impl Update {
    fn covers(&self, id: &Id) -> bool {
        matches!(self, Update::Recipes(ids) if ids.contains(id))
    }
}

/// What locking gave, before it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolution {
    /// The new text of each lock file that changes, by path relative to the project; none for one that goes.
    pub files: BTreeMap<PathBuf, Option<String>>,
    /// What changes, for people.
    pub changes: Vec<Change>,
    /// Sources that are other bytes than they were, under the same name.
    pub republished: Vec<Republished>,
    /// What was pinned though nobody publishes its hash.
    pub trusted: Vec<Trusted>,
    /// Recipes that are locked at first use, and so were left alone.
    pub unused: Vec<Id>,
}

/// A source whose URL, tag or version is what it was and gives other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Republished {
    /// The package.
    pub recipe: Id,
    /// What was asked for, then and now.
    pub request: Request,
    /// The bytes that it was pinned to.
    pub before: Sha256,
    /// The bytes that it is now.
    pub now: Sha256,
}

/// A source that was pinned to what was there, because nobody publishes its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The package.
    pub recipe: Id,
    /// Where it was.
    pub request: Request,
    /// What is trusted from now on.
    pub pin: Pin,
}

impl std::fmt::Display for Trusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { recipe, request, pin } = self;
        write!(
            f,
            "{} on first use: upstream publishes no hash of {request}, sha256 {} was there",
            recipe.name, pin.sha256
        )
    }
}

impl Resolution {
    /// Writes the files, each in one step: whoever reads meanwhile sees the old text or the new one.
    pub fn write(&self, project: &Project) -> Result<(), Error> {
        for (path, text) in &self.files {
            let path = project.path().join(path);
            match text {
                Some(text) => replace(&path, text).map_err(Error::Write)?,
                None => fs_err::remove_file(&path).map_err(Error::Write)?,
            }
        }
        Ok(())
    }
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().expect("a lock file lies in a folder");
    fs_err::create_dir_all(folder)?;
    // Not 0600: the files belong to a repository. The umask takes off what it should.
    let mut file = tempfile::Builder::new()
        .prefix(".nodeimg-lock-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Locks `targets` and all they need: keeps each pin whose request is as it was, asks for the rest. With `all`, locks
/// whose recipe is gone are removed, and what is locked at first use and has not been used is left alone. Writes
/// nothing.
pub fn resolve(
    project: &Project,
    targets: &[Id],
    all: bool,
    update: &Update,
    resolver: &dyn Resolver,
    cancel: &Cancel,
) -> Result<Resolution, Error> {
    let mut ids: Vec<_> =
        project.closure(targets).into_iter().filter(|id| id.role != Role::Runtime).collect();
    let unused: Vec<_> = ids.iter().filter(|id| all && is_unused(project, id)).cloned().collect();
    ids.retain(|id| !unused.contains(id));
    let (mut old, mut wants) = (BTreeMap::new(), BTreeMap::new());
    for id in &ids {
        let file = match file::open(project, id, None) {
            Ok(file) => file,
            // What can't be trusted is resolved from nothing.
            Err(Error::Edited(_) | Error::Broken(_)) => None,
            Err(error) => return Err(error),
        };
        old.insert(id, file);
        wants.insert(id, wanted(project, id)?);
    }
    let mut run = Run { project, old: &old, update, resolver, suites: BTreeMap::new() };
    let suites: Vec<_> = ids.iter().filter(|id| id.role == Role::Suite).collect();
    let going = || if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) };
    let pins = each(&suites, THREADS, |id| going().and_then(|()| run.suite(id, &wants[id])))?;
    run.suites = suites.iter().map(|id| id.name.clone()).zip(pins).collect();
    let run = run;

    let jobs: Vec<_> = ids.iter().flat_map(|id| jobs(id, &wants[id])).collect();
    let kept: Vec<_> = jobs.iter().map(|job| run.kept_answer(job)).collect();
    // Equal roots are asked for once, and not at all where one of them is pinned already.
    let mut known = BTreeMap::new();
    for (job, answer) in jobs.iter().zip(&kept) {
        if let Some(answer) = answer {
            known.entry(run.key(job)).or_insert_with(|| answer.clone());
        }
    }
    let open: BTreeMap<_, _> = jobs.iter().map(|job| (run.key(job), job)).rev().collect();
    let open: Vec<_> = open.into_iter().filter(|(key, _)| !known.contains_key(key)).collect();
    let answers = each(&open, THREADS, |(_, job)| going().and_then(|()| run.answer(job)))?;
    known.extend(open.into_iter().map(|(key, _)| key).zip(answers));

    let based: Vec<_> = ids.iter().filter(|id| wants[id].base.is_some()).collect();
    let bases = each(&based, THREADS, |id| going().and_then(|()| run.base(id, &wants[id])))?;
    let mut bases: BTreeMap<_, _> = based.into_iter().zip(bases).collect();

    let mut new: BTreeMap<&Id, File> = BTreeMap::new();
    for id in &ids {
        let suite = run.suites.get(&id.name).filter(|_| id.role == Role::Suite).cloned();
        let assembly =
            wants[id].image.then(|| old[id].as_ref().and_then(|file| file.assembly).unwrap_or(ASSEMBLY));
        new.insert(id, File { suite, assembly, base: bases.remove(id), ..File::default() });
    }
    let mut resolution = Resolution { unused, ..Resolution::default() };
    for (job, kept) in jobs.iter().zip(kept) {
        let is_new = kept.is_none();
        let answer = kept.unwrap_or_else(|| known[&run.key(job)].clone());
        let file = new.get_mut(job.id).expect("each job is one of these recipes'");
        match (&job.what, answer) {
            (What::Source(name, platform, asked), Answer::Source(pin)) => {
                if is_new && asked.request.is_trusted_on_first_use() {
                    let (recipe, request) = (job.id.clone(), asked.request.clone());
                    resolution.trusted.push(Trusted { recipe, request, pin });
                }
                // Locks of releases before this one do not say it.
                let pin = Pin { trust: asked.request.trust(&pin), ..pin };
                let entry =
                    SourceEntry { version: asked.version.clone(), request: asked.request.clone(), pin };
                file.source.entry((*name).clone()).or_default().insert(*platform, entry);
            }
            (What::Root(name, _, arch), Answer::Root(packages)) => {
                let request = run.root_request(job).expect("a root's job has a request");
                let entry =
                    file.root.entry(*name).or_insert_with(|| RootEntry { request, pin: BTreeMap::new() });
                entry.pin.insert(*arch, packages);
            }
            _ => unreachable!("answers are of their job's kind"),
        }
    }

    for (id, file) in &new {
        let text = file::write(id, file);
        let path = file::path(id);
        let before = fs_err::read_to_string(project.path().join(&path)).ok();
        // git may have made the line ends CRLF; that is no change.
        if before.is_none_or(|before| before.replace("\r\n", "\n") != text) {
            resolution.changes.extend(change::changes(id, old[id].as_ref(), file));
            resolution.republished.extend(change::republished(id, old[id].as_ref(), file));
            resolution.files.insert(path, Some(text));
        }
    }
    if all {
        for (id, path) in orphans(project)? {
            resolution.changes.push(change::gone(id));
            resolution.files.insert(path, None);
        }
    }
    Ok(resolution)
}

/// Finds lock files whose recipe is gone.
pub(super) fn orphans(project: &Project) -> Result<Vec<(Id, PathBuf)>, Error> {
    let mut orphans = Vec::new();
    for role in Role::ALL {
        let folder = PathBuf::from("lockfiles").join(role.folder());
        let entries = match fs_err::read_dir(project.path().join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::Read(error)),
        };
        for entry in entries {
            let file = entry.map_err(Error::Read)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
            let Some(name) = name.and_then(|name| Name::new(name).ok()) else { continue };
            let id = Id { role, name };
            if role == Role::Runtime || !project.has(&id) {
                orphans.push((id, folder.join(file)));
            }
        }
    }
    orphans.sort();
    Ok(orphans)
}

/// One request.
struct Job<'a> {
    id: &'a Id,
    what: What<'a>,
}

enum What<'a> {
    Source(&'a Name, Platform, &'a Asked),
    Root(RootName, &'a super::wanted::RootWanted, Arch),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Source(&'a Id, &'a Name, Platform),
    Root(RootRequest, Arch, bool),
}

#[derive(Clone)]
enum Answer {
    Source(Pin),
    Root(Vec<PackagePin>),
}

fn jobs<'a>(id: &'a Id, wanted: &'a Wanted) -> Vec<Job<'a>> {
    let sources = wanted.sources.iter().flat_map(move |(name, platforms)| {
        platforms.iter().map(move |(platform, asked)| Job { id, what: What::Source(name, *platform, asked) })
    });
    let roots = wanted.roots.iter().flat_map(move |(name, root)| {
        root.archs.iter().map(move |&arch| Job { id, what: What::Root(*name, root, arch) })
    });
    sources.chain(roots).collect()
}

struct Run<'a> {
    project: &'a Project,
    old: &'a BTreeMap<&'a Id, Option<File>>,
    update: &'a Update,
    resolver: &'a dyn Resolver,
    suites: BTreeMap<Name, SuiteEntry>,
}

impl Run<'_> {
    fn folder(&self) -> PathBuf {
        self.project.path().join("recipes").join(Role::Suite.folder())
    }

    /// The old lock of a recipe, unless it is to be asked anew.
    fn kept(&self, id: &Id) -> Option<&File> {
        self.old.get(id).and_then(Option::as_ref).filter(|_| !self.update.covers(id))
    }

    fn suite(&self, id: &Id, wanted: &Wanted) -> Result<SuiteEntry, Error> {
        let request = wanted.suite.clone().expect("a suite's recipe wants a suite");
        let kept = self.kept(id).and_then(|file| file.suite.as_ref());
        if let Some(kept) = kept.filter(|kept| kept.request == request) {
            return Ok(kept.clone());
        }
        let answer = self.resolver.suite(&self.project.suites[&id.name], &self.folder());
        let pin = answer.map_err(|error| Error::Suite { recipe: id.clone(), error })?;
        Ok(SuiteEntry { request, pin })
    }

    /// A reference with a digest is its own pin; what a registry said of it before is kept.
    fn base(&self, id: &Id, wanted: &Wanted) -> Result<BaseEntry, Error> {
        let request = wanted.base.clone().expect("it wants a base");
        let kept = self.kept(id).and_then(|file| file.base.as_ref());
        if let Some(kept) = kept.filter(|kept| kept.request.oci == request.oci) {
            return Ok(BaseEntry { request, pin: kept.pin.clone() });
        }
        let reference: oci::Reference = request.oci.parse().expect("the recipe was checked");
        let pin = match reference.digest() {
            Some(digest) if !self.update.covers(id) => {
                BasePin { digest: *digest, platforms: BTreeMap::new() }
            }
            _ => {
                let answer = self.resolver.base(&reference);
                answer.map_err(|error| Error::Base { recipe: id.clone(), error })?
            }
        };
        Ok(BaseEntry { request, pin })
    }

    fn root_request(&self, job: &Job<'_>) -> Option<RootRequest> {
        let What::Root(_, wanted, _) = &job.what else { return None };
        Some(RootRequest {
            suite: wanted.suite.clone(),
            snapshot: wanted.snapshot.clone(),
            release: suite_release(&self.suites[&wanted.suite].pin),
            packages: wanted.packages.clone(),
        })
    }

    /// What two jobs must have in common to share an answer. Sources share none: each is kept by its own recipe.
    fn key<'k>(&self, job: &Job<'k>) -> Key<'k> {
        match &job.what {
            What::Source(name, platform, _) => Key::Source(job.id, name, *platform),
            What::Root(_, _, arch) => {
                let request = self.root_request(job).expect("a root's job has a request");
                Key::Root(request, *arch, self.update.covers(job.id))
            }
        }
    }

    /// The old pin of a request that is as it was.
    fn kept_answer(&self, job: &Job<'_>) -> Option<Answer> {
        let file = self.kept(job.id)?;
        match &job.what {
            What::Source(name, platform, asked) => {
                let entry = file.source.get(*name)?.get(platform)?;
                (entry.request == asked.request).then_some(Answer::Source(entry.pin))
            }
            What::Root(name, _, arch) => {
                let entry = file.root.get(name)?;
                let same = Some(&entry.request) == self.root_request(job).as_ref();
                entry.pin.get(arch).filter(|_| same).cloned().map(Answer::Root)
            }
        }
    }

    fn answer(&self, job: &Job<'_>) -> Result<Answer, Error> {
        let recipe = job.id.clone();
        match &job.what {
            What::Source(name, _, asked) => {
                let answer = self.resolver.source(&asked.request).map(Answer::Source);
                answer.map_err(|error| Error::Source { recipe, source_name: name.to_string(), error })
            }
            What::Root(name, wanted, arch) => {
                let suite = &self.project.suites[&wanted.suite];
                let pin = &self.suites[&wanted.suite].pin;
                let answer = self.resolver.root(suite, &self.folder(), pin, *arch, &wanted.on(*arch));
                answer.map(Answer::Root).map_err(|error| Error::Root {
                    recipe,
                    root: *name,
                    arch: *arch,
                    error,
                })
            }
        }
    }
}

//! Answers the lock's requests by asking the network.

use std::path::{Path, PathBuf};

use crate::base::{Arch, Blame};
use crate::fetch::debian::{Indices, Key, PackagePin, Pocket, Snapshot, SuitePin};
use crate::fetch::{Context, Pin, Request, oci};
use crate::lock::{BasePin, OciDigest, Resolver, Unanswered};
use crate::recipe::{KEYS, Project, Role, Suite};

/// The resolver that asks.
pub(super) struct Asking<'a> {
    context: &'a Context<'a>,
    /// Where the keys of upstreams lie.
    keys: PathBuf,
    indices: Indices,
}

/// A key that a suite's recipe names can't be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("can't read `{file}`")]
struct NoKey {
    file: String,
    source: std::io::Error,
}

/// What a suite's recipe names, read.
pub(super) struct Opened {
    keys: Vec<Key>,
    pockets: Vec<Pocket>,
}

impl Opened {
    /// Reads the keys of a project's suite.
    pub(super) fn new(suite: &Suite, project: &Project) -> Result<Self, Unanswered> {
        Self::at(suite, &project.path().join("recipes").join(Role::Suite.folder()))
    }

    fn at(suite: &Suite, folder: &Path) -> Result<Self, Unanswered> {
        let key = |file: &String| match fs_err::read(folder.join(file)) {
            Ok(text) => Ok((file.clone(), text)),
            Err(source) => {
                let error = NoKey { file: format!("recipes/suites/{file}"), source };
                Err(Unanswered { blame: Blame::Machine, error: Box::new(error) })
            }
        };
        let pocket =
            |own: &crate::recipe::Pocket| Pocket { archive: own.archive.clone(), suite: own.suite.clone() };
        let keys = suite.keys.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys, pockets: suite.pockets.iter().map(pocket).collect() })
    }

    /// Gives the suite as the fetcher wants it.
    pub(super) fn snapshot<'a>(&'a self, suite: &'a Suite) -> Snapshot<'a> {
        let (components, pockets) = (&*suite.components, &*self.pockets);
        Snapshot { moment: suite.snapshot.as_str(), components, pockets, keys: &self.keys }
    }
}

impl<'a> Asking<'a> {
    pub(super) fn new(context: &'a Context<'a>, project: &Path) -> Self {
        Self { context, keys: project.join(KEYS), indices: Indices::default() }
    }
}

impl Resolver for Asking<'_> {
    fn source(&self, request: &Request) -> Result<Pin, Unanswered> {
        let Some(signature) = request.signature() else { return Ok(request.resolve(self.context)?) };
        let key = fs_err::read(self.keys.join(signature.key_file())).map_err(|source| {
            let error = NoKey { file: format!("{KEYS}/{}", signature.key_file()), source };
            Unanswered { blame: Blame::Machine, error: Box::new(error) }
        })?;
        Ok(request.resolve_signed(signature, &key, self.context)?)
    }

    fn base(&self, reference: &oci::Reference) -> Result<BasePin, Unanswered> {
        let found = oci::resolve(reference, self.context)?;
        let platforms = found.platforms.into_iter().map(|(arch, digest)| (arch, OciDigest(digest))).collect();
        Ok(BasePin { digest: found.digest.hash, platforms })
    }

    fn suite(&self, suite: &Suite, folder: &Path) -> Result<SuitePin, Unanswered> {
        let opened = Opened::at(suite, folder)?;
        Ok(opened.snapshot(suite).pin(self.context)?)
    }

    fn root(
        &self,
        suite: &Suite,
        _: &Path,
        pin: &SuitePin,
        arch: Arch,
        wants: &[String],
    ) -> Result<Vec<PackagePin>, Unanswered> {
        Ok(self.indices.closure(pin, suite.snapshot.as_str(), arch, wants, self.context)?)
    }
}

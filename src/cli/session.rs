//! One run of the program: what commands share, opened when first needed.

use std::path::PathBuf;

use super::arguments::{self, Common, Locking, Running};
use super::failure::{Failure, Problem};
use super::host;
use super::progress::{Progress, Verbosity};
use crate::base::{Arch, Cancel, Platforms};
use crate::engine::{self, Engine};
use crate::fetch::{self, Network, Settings};
use crate::lock::{self, Elsewhere, Locked, Update};
use crate::pipeline;
use crate::plan::Plan;
use crate::recipe::{Id, Project};
use crate::sandbox::{Docker, Namespace, Sandbox};
use crate::store::Store;

pub(super) struct Session {
    pub(super) common: Common,
    pub(super) progress: Progress,
    pub(super) cancel: Cancel,
}

impl Session {
    /// Starts a session; from now on SIGINT and SIGTERM ask it to stop, and a second one ends it at once.
    pub(super) fn new(common: Common) -> Self {
        let verbosity = match (common.quiet, common.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let cancel = Cancel::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // Registered in this order, the first signal sets the flag and the second finds it set.
            let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, cancel.flag());
            let _ = signal_hook::flag::register(signal, cancel.flag());
        }
        Self { common, progress: Progress::new(verbosity), cancel }
    }

    pub(super) fn project(&self) -> Result<Project, Failure> {
        Ok(pipeline::load(&self.common.project)?)
    }

    pub(super) fn store_path() -> Result<PathBuf, Failure> {
        Ok(host::store().ok_or(Problem::NoStore)?)
    }

    pub(super) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&Self::store_path()?)?.stopped_by(&self.cancel))
    }

    /// The network; the host's settings are read only where it may be used.
    pub(super) fn network(&self) -> Result<Network, Failure> {
        if self.common.offline {
            return Ok(Network::offline());
        }
        Ok(Network::new(Settings::load(&host::settings())?))
    }

    /// What this host says about engines, and whether they may be far.
    pub(super) fn engine(&self) -> engine::Settings {
        engine::Settings { offline: self.common.offline, ..host::engine() }
    }

    /// Where steps run. What was asked for is there, or it is an error: never another one.
    pub(super) fn sandbox(&self, running: &Running) -> Result<Box<dyn Sandbox>, Failure> {
        Ok(match running.sandbox {
            arguments::Sandbox::Namespace => Box::new(Namespace::default()),
            arguments::Sandbox::Docker => Box::new(Docker::new(Engine::connect(&self.engine())?)?),
        })
    }

    /// The machines that things are made for.
    pub(super) fn platforms(asked: &[String]) -> Result<Platforms, Failure> {
        let host = Arch::host().ok_or(Problem::Architecture)?;
        let wrong = |source| Problem::Platform { asked: asked.join(","), source };
        Ok(Platforms::parse(host, asked).map_err(wrong)?)
    }

    pub(super) fn fetching<'a>(&'a self, network: &'a Network, store: &'a Store) -> fetch::Context<'a> {
        fetch::Context { network, store, events: &self.progress, cancel: &self.cancel }
    }

    /// Reads the locks; where they may be refreshed and are stale, resolves what changed, writes it and shows it.
    pub(super) fn locked(
        &self,
        project: &Project,
        targets: &[Id],
        platforms: &Platforms,
        locking: &Locking,
        network: &Network,
        store: &Store,
    ) -> Result<Locked, Failure> {
        let elsewhere = elsewhere(project, targets, locking)?;
        let targets = &pipeline::with_emulator(project, targets, platforms);
        match lock::load(project, targets, &elsewhere) {
            Err(lock::Error::Stale(_)) if locking.lock.is_none() => {}
            other => return Ok(other?),
        }
        let context = self.fetching(network, store);
        let resolution = pipeline::relock(project, targets, false, &Update::Nothing, &context)?;
        resolution.write(project)?;
        for change in &resolution.changes {
            self.progress.line(&format!("{:>10} {change}", "locked"));
        }
        for trusted in &resolution.trusted {
            self.progress.line(&format!("{:>10} {trusted}", "trusted"));
        }
        Ok(lock::load(project, targets, &elsewhere)?)
    }

    /// Loads, locks strictly and plans: for commands that only look.
    pub(super) fn plan(
        &self,
        names: &[String],
        platforms: &Platforms,
        store: &Store,
    ) -> Result<(Project, Plan), Failure> {
        let project = self.project()?;
        let targets = project.targets(names)?;
        let needed = pipeline::with_emulator(&project, &targets, platforms);
        let locked = pipeline::locked(&project, &needed, &Elsewhere::new())?;
        let plan = pipeline::plan(&project, &locked, &targets, platforms, store)?;
        Ok((project, plan))
    }
}

/// Reads `--lock=…`.
fn elsewhere(project: &Project, targets: &[Id], locking: &Locking) -> Result<Elsewhere, Failure> {
    let Some(path) = locking.lock.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(Elsewhere::new());
    };
    if path.is_dir() {
        let place = |id: Id| {
            let file = path.join(id.role.folder()).join(format!("{}.toml", id.name));
            (id, file)
        };
        return Ok(project.closure(targets).into_iter().map(place).collect());
    }
    match targets {
        [_] if !path.is_file() => Err(Problem::NoLock(path.display().to_string()).into()),
        [target] => Ok(Elsewhere::from([(target.clone(), path.clone())])),
        several => Err(Problem::OneLock(several.len()).into()),
    }
}

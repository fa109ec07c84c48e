//! What has to be done: locked recipes → a graph of pure steps ([`Plan`]).
//!
//! In go [`Locked`] recipes, an architecture and the digests of the project's own files ([`Files`]); out comes every
//! step that the targets need, each once, with a key. Pure: no I/O, no clock, no environment.
//!
//! # What is in a key
//!
//! A step has two names. Its *key* is made of what it is and of its inputs' keys, so it is known before anything is
//! done: the store's memo table says which artifact a key stands for. Where the memo says nothing, a step has a second
//! name, made of the *content* of its inputs ([`content_key`]; for what runs in the sandbox the digest of its REAPI
//! `Action`, `realise/action.rs`): an input that was made anew with the same bytes stops there.
//!
//! | | in the key | not in it |
//! | --- | --- | --- |
//! | source, Debian package | SHA-256 | URL, mirrors, archive path, recipe, snapshot |
//! | project's own file or folder | content, whether executable | path, owner, other mode bits, times |
//! | unpacking | components taken off, version of the rules | name of the archive |
//! | patches | content, order | file names |
//! | crates | checksums and commits, where each crate lies, what cargo is told, version of the rules | index, archives' names |
//! | root | packages' hashes in order, architecture, version of the rules | suite, names |
//! | root read from outside | version of the rules |
//! | run | argv, script, env, guest paths, architecture, kind | limits, job count, host, user, sandbox, store path |
//! | layer | trees, paths left out, preloaded images | layer's name |
//! | node | description | |
//! | change | description, version of the rules | |
//! | calls | files, libraries, version of the rules | names of packages |
//! | survey | containerd's file, version of the rules | |
//! | gate | description, architecture, version of the rules | |
//! | index | assembly version, images, which of them is for readers of docker-archives |
//! | image | assembly version, platform, reference, config, layers and their names | recipe's name |
//!
//! A run's architecture is that of the machine whose programs run, not of the one that runs them: what runs under an
//! emulator has the same key and the same action as on a machine of its own, and so shares its result. The emulator is
//! in no key; [`Plan::inputs`] has it where the scheduler needs it. A cross build is another run than a native one.
//!
//! nodeimg's own version is in no key: a change of a rule raises that rule's version. `tests.rs` holds known keys.

mod calls;
mod image;
mod key;
mod package;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use key::{content_key, difference};
pub use step::{
    Assembly, Calls, Fetch, GATE_FILE, Label, Mounted, Part, Placed, Run, RunKind, SURVEY_FILE, Step, Work,
};

use crate::base::{Arch, Digest, Name, Platforms, Sha256};
use crate::lock::{Elsewhere, Locked};
use crate::node::Node;
use crate::recipe::{Id, Role};

/// The rules under which builders' scripts run; see [`Run::rules`].
const RULES: u32 = 1;

/// The package of a project that has the emulators: static programs `/bin/qemu-<machine>`.
pub const EMULATOR: &str = "qemu-user";

/// Names a step of a plan: its place in [`Plan::steps`].
pub type StepId = usize;

/// The digests of the project's own files, which need no lock: they are what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Patches, by package and file name.
    pub patches: BTreeMap<(Name, String), Digest>,
    /// Folders, by package and source; trees of the store.
    pub folders: BTreeMap<(Name, Name), Digest>,
    /// All that an image is made from, as the project has it, by target; trees of the store.
    pub projects: BTreeMap<Id, Digest>,
}

/// A graph of steps. Inputs stand before those that use them.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Every step.
    pub steps: Vec<Step>,
    /// What is asked for.
    pub targets: Vec<Target>,
    /// The step that makes [`EMULATOR`], where something runs that is for another machine and the project has one.
    pub emulator: Option<StepId>,
    /// The machine that steps run on.
    pub host: Arch,
    /// The lock files that were read elsewhere than in `lockfiles/`.
    pub elsewhere: Elsewhere,
}

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The recipe.
    pub recipe: Id,
    /// The machine it is for; none if it is one thing for several.
    pub arch: Option<Arch>,
    /// The step that makes it.
    pub step: StepId,
    /// What must pass before it counts as made: tests of the packages in it.
    pub tests: Vec<StepId>,
    /// What an image brings besides; nothing for packages.
    pub image: Option<ImageTarget>,
}

/// What an image target is besides the image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageTarget {
    /// Repository and tag.
    pub reference: String,
    /// The image for each machine.
    pub images: Vec<(Arch, StepId)>,
    /// What a node image is.
    pub node: Option<Node>,
    /// The step that reads what a node image says of itself.
    pub survey: Option<StepId>,
    /// The step that shows what a node's configuration changes.
    pub change: Option<StepId>,
    /// Steps that must pass before a node counts as made: they look at it and give nothing.
    pub checks: Vec<StepId>,
    /// The packages of a node's runtimes and their versions, by handler.
    pub runtimes: BTreeMap<String, BTreeMap<Name, String>>,
    /// Files beside the image, by name: manifests of a node.
    pub beside: BTreeMap<String, String>,
    /// Images that the node's example workloads run, by name.
    pub workloads: BTreeMap<Name, StepId>,
    /// All that it is made from, as the project has it; a tree of the store.
    pub project: Option<Digest>,
}

impl ImageTarget {
    /// The image that stands for those of all platforms where only one can: the one for `host`, else the first.
    pub fn main(&self, host: Arch) -> (Arch, StepId) {
        let own = self.images.iter().find(|(arch, _)| *arch == host);
        *own.unwrap_or(&self.images[0])
    }
}

impl Plan {
    /// Plans `targets` for each of the platforms: an image is one thing for all of them, a package one for each.
    ///
    /// # Panics
    ///
    /// If `locked` or `files` lack what the targets need: both are made for the same targets.
    pub fn new(locked: &Locked, targets: &[Id], platforms: &Platforms, files: &Files) -> Plan {
        let mut builder = Builder {
            locked,
            platforms,
            arch: platforms.main(),
            files,
            steps: Vec::new(),
            known: BTreeMap::new(),
            made: BTreeMap::new(),
            tests: BTreeMap::new(),
        };
        let targets: Vec<_> = targets.iter().flat_map(|id| builder.targets(id)).collect();
        let emulator = builder.emulator();
        Plan {
            steps: builder.steps,
            targets,
            emulator,
            host: platforms.host,
            elsewhere: locked.elsewhere.clone(),
        }
    }

    /// Gives what every step needs, for the scheduler: its inputs and, behind them, the emulator that it runs under.
    pub fn inputs(&self) -> Vec<Vec<StepId>> {
        let needed = |step: &Step| {
            let emulator = self.emulator.filter(|_| self.is_foreign(step));
            step.inputs.iter().copied().chain(emulator).collect()
        };
        self.steps.iter().map(needed).collect()
    }

    /// Tells whether a step runs programs of another machine than this one.
    pub fn is_foreign(&self, step: &Step) -> bool {
        matches!(&step.work, Work::Run(run) if run.arch != self.host)
    }

    /// Lists the steps that the targets ask for: what they are, what they bring along, and their tests.
    pub fn wanted(&self) -> Vec<StepId> {
        let of = |target: &Target| {
            let images = target.image.iter().flat_map(|image| image.images.iter().map(|(_, step)| *step));
            let workloads = target.image.iter().flat_map(|image| image.workloads.values().copied());
            let survey = target.image.iter().flat_map(|image| image.survey.into_iter().chain(image.change));
            let checks = target.image.iter().flat_map(|image| image.checks.iter().copied());
            let all = std::iter::once(target.step)
                .chain(images)
                .chain(workloads)
                .chain(survey)
                .chain(checks)
                .chain(target.tests.iter().copied());
            all.collect::<Vec<_>>()
        };
        self.targets.iter().flat_map(of).collect()
    }

    /// Finds the steps that run in the sandbox and have this name: `crun`, `crun:test`, `packages/crun`.
    pub fn runs(&self, name: &str) -> Vec<StepId> {
        let is_run = |step: &Step| matches!(step.work, Work::Run(_));
        let named = |step: &Step| step.labels.iter().any(|label| label.is(name));
        (0..self.steps.len()).filter(|&id| is_run(&self.steps[id]) && named(&self.steps[id])).collect()
    }

    /// Lists the names of all steps that run in the sandbox.
    pub fn run_names(&self) -> Vec<String> {
        let runs = self.steps.iter().filter(|step| matches!(step.work, Work::Run(_)));
        runs.flat_map(|step| step.labels.iter().map(Label::to_string)).collect()
    }
}

/// A plan that grows.
struct Builder<'a> {
    locked: &'a Locked,
    platforms: &'a Platforms,
    /// The machine that is planned for at the moment.
    arch: Arch,
    files: &'a Files,
    steps: Vec<Step>,
    /// Steps by key: equal steps are one.
    known: BTreeMap<Sha256, StepId>,
    /// Steps that make a recipe's result.
    made: BTreeMap<(Id, Arch), StepId>,
    /// Tests by package.
    tests: BTreeMap<(Name, Arch), StepId>,
}

impl Builder<'_> {
    /// Plans something for a machine.
    fn on<R>(&mut self, arch: Arch, plan: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.arch, arch);
        let result = plan(self);
        self.arch = before;
        result
    }

    fn targets(&mut self, id: &Id) -> Vec<Target> {
        let wanted = self.platforms.wanted.clone();
        if id.role == Role::Image {
            let images = wanted.iter().map(|&arch| (arch, self.on(arch, |builder| builder.image(&id.name))));
            let images: Vec<_> = images.collect();
            let step = self.index(id, &images);
            let image = self.image_target(&id.name, images);
            let workloads: Vec<_> = image.workloads.values().copied().collect();
            let tests = self.tests_below(&[&[step], workloads.as_slice()].concat());
            let arch = Some(wanted[0]).filter(|_| wanted.len() == 1);
            return vec![Target { recipe: id.clone(), arch, step, tests, image: Some(image) }];
        }
        let target = |&arch: &Arch| {
            let step = self.on(arch, |builder| builder.package(&id.name));
            let tests = self.tests_below(&[step]);
            Target { recipe: id.clone(), arch: Some(arch), step, tests, image: None }
        };
        wanted.iter().map(target).collect()
    }

    fn tests_below(&mut self, steps: &[StepId]) -> Vec<StepId> {
        let below = self.packages_below(steps);
        below.iter().filter_map(|(name, arch)| self.on(*arch, |builder| builder.test(name))).collect()
    }

    /// Plans the emulator, if something needs one.
    fn emulator(&mut self) -> Option<StepId> {
        let host = self.platforms.host;
        let is_needed =
            self.steps.iter().any(|step| matches!(&step.work, Work::Run(run) if run.arch != host));
        let name = Name::new(EMULATOR).expect("a constant name");
        let is_there = self.locked.packages.contains_key(&name);
        (is_needed && is_there).then(|| self.on(host, |builder| builder.package(&name)))
    }

    /// Finds the packages whose builds some steps need, themselves included.
    fn packages_below(&self, steps: &[StepId]) -> Vec<(Name, Arch)> {
        let mut seen = std::collections::BTreeSet::new();
        let mut open = steps.to_vec();
        while let Some(step) = open.pop() {
            if seen.insert(step) {
                open.extend(&self.steps[step].inputs);
            }
        }
        let packages = self.made.iter().filter(|((id, _), _)| id.role == Role::Package);
        let packages = packages.filter(|(_, step)| seen.contains(step));
        packages.map(|((id, arch), _)| (id.name.clone(), *arch)).collect()
    }

    /// Adds a step, unless there is an equal one.
    fn add(&mut self, label: Label, work: Work, inputs: Vec<StepId>) -> StepId {
        let arch = Some(self.arch).filter(|arch| *arch != self.platforms.host);
        let label = Label { arch, ..label };
        let key = key::key(&work, inputs.iter().map(|&input| &self.steps[input].key));
        if let Some(&step) = self.known.get(&key) {
            if !self.steps[step].labels.contains(&label) {
                self.steps[step].labels.push(label);
            }
            return step;
        }
        self.steps.push(Step { labels: vec![label], work, inputs, key });
        let step = self.steps.len() - 1;
        self.known.insert(key, step);
        step
    }
}

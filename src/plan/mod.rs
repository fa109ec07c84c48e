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
//! | run | argv, script, env, guest paths, architecture, kind | limits, job count, host, user, sandbox, store path |
//! | layer | trees, paths left out, preloaded images | layer's name |
//! | node | description | |
//! | survey | containerd's file, version of the rules | |
//! | image | assembly version, platform, reference, config, layers and their names | recipe's name |
//!
//! nodeimg's own version is in no key: a change of a rule raises that rule's version. `tests.rs` holds known keys.

mod image;
mod key;
mod package;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use key::{content_key, difference};
pub use step::{Assembly, Fetch, Label, Mounted, Part, Placed, Run, RunKind, SURVEY_FILE, Step, Work};

use crate::base::{Arch, Digest, Name, Sha256};
use crate::lock::Locked;
use crate::node::Node;
use crate::recipe::{Id, Role};

/// The rules under which builders' scripts run; see [`Run::rules`].
const RULES: u32 = 1;

/// Names a step of a plan: its place in [`Plan::steps`].
pub type StepId = usize;

/// The digests of the project's own files, which need no lock: they are what they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// Patches, by package and file name.
    pub patches: BTreeMap<(Name, String), Digest>,
    /// Folders, by package and source; trees of the store.
    pub folders: BTreeMap<(Name, Name), Digest>,
}

/// A graph of steps. Inputs stand before those that use them.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Every step.
    pub steps: Vec<Step>,
    /// What is asked for.
    pub targets: Vec<Target>,
}

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The recipe.
    pub recipe: Id,
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
    /// What a node image is.
    pub node: Option<Node>,
    /// The step that reads what a node image says of itself.
    pub survey: Option<StepId>,
    /// The packages of a node's runtimes and their versions, by handler.
    pub runtimes: BTreeMap<String, BTreeMap<Name, String>>,
    /// Files beside the image, by name: manifests of a node.
    pub beside: BTreeMap<String, String>,
    /// Images that the node's example workloads run, by name.
    pub workloads: BTreeMap<Name, StepId>,
}

impl Plan {
    /// Plans `targets` for an architecture.
    ///
    /// # Panics
    ///
    /// If `locked` or `files` lack what the targets need: both are made for the same targets.
    pub fn new(locked: &Locked, targets: &[Id], arch: Arch, files: &Files) -> Plan {
        let mut builder = Builder {
            locked,
            arch,
            files,
            steps: Vec::new(),
            known: BTreeMap::new(),
            made: BTreeMap::new(),
            tests: BTreeMap::new(),
        };
        let targets = targets.iter().map(|id| builder.target(id)).collect();
        Plan { steps: builder.steps, targets }
    }

    /// Gives the inputs of every step, for the scheduler.
    pub fn inputs(&self) -> Vec<Vec<StepId>> {
        self.steps.iter().map(|step| step.inputs.clone()).collect()
    }

    /// Lists the steps that the targets ask for: what they are, what they bring along, and their tests.
    pub fn wanted(&self) -> Vec<StepId> {
        let of = |target: &Target| {
            let workloads = target.image.iter().flat_map(|image| image.workloads.values().copied());
            let survey = target.image.iter().filter_map(|image| image.survey);
            let all = std::iter::once(target.step)
                .chain(workloads)
                .chain(survey)
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
    arch: Arch,
    files: &'a Files,
    steps: Vec<Step>,
    /// Steps by key: equal steps are one.
    known: BTreeMap<Sha256, StepId>,
    /// Steps that make a recipe's result.
    made: BTreeMap<Id, StepId>,
    /// Tests by package.
    tests: BTreeMap<Name, StepId>,
}

impl Builder<'_> {
    fn target(&mut self, id: &Id) -> Target {
        let step = match id.role {
            Role::Image => self.image(&id.name),
            _ => self.package(&id.name),
        };
        let image = (id.role == Role::Image).then(|| self.image_target(&id.name, step));
        let workloads: Vec<_> = image.iter().flat_map(|image| image.workloads.values().copied()).collect();
        let mut tests = Vec::new();
        for package in self.packages_below(&[&[step], workloads.as_slice()].concat()) {
            tests.extend(self.test(&package));
        }
        Target { recipe: id.clone(), step, tests, image }
    }

    /// Finds the packages whose builds some steps need, themselves included.
    fn packages_below(&self, steps: &[StepId]) -> Vec<Name> {
        let mut seen = std::collections::BTreeSet::new();
        let mut open = steps.to_vec();
        while let Some(step) = open.pop() {
            if seen.insert(step) {
                open.extend(&self.steps[step].inputs);
            }
        }
        let packages = self.made.iter().filter(|(id, _)| id.role == Role::Package);
        packages.filter(|(_, step)| seen.contains(step)).map(|(id, _)| id.name.clone()).collect()
    }

    /// Adds a step, unless there is an equal one.
    fn add(&mut self, label: Label, work: Work, inputs: Vec<StepId>) -> StepId {
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

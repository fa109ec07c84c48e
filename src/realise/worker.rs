//! Recalls and makes single steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::job::{self, Printed};
use super::schedule::{self, Lane};
use super::{Context, Error, Factor, Outcome, calls, explain, gate, layer};
use super::{action, base};
use crate::base::event::{self, Activity, Event};
use crate::base::{Arch, Blame, Digest, Sha256};
use crate::fetch::cargo;
use crate::plan::{self, Fetch, Plan, Run, StepId, Work};
use crate::store::{ActionResult, Store};
use crate::{image, root, unpack};

pub(super) struct Worker<'a> {
    plan: &'a Plan,
    context: &'a Context<'a>,
    /// Looks for every blob of an artifact before it is taken as there.
    thorough: bool,
    /// Steps that turned out to be made already.
    reused: Mutex<BTreeSet<StepId>>,
    /// Whether it was told that an emulator is at work.
    emulated: AtomicBool,
}

/// Which key the log of a step is kept under.
fn log_key(key: &Sha256) -> Sha256 {
    Sha256::of(format!("log {key}").as_bytes())
}

/// Finds what a step printed when it last ran, whether it failed or not.
pub fn log(store: &Store, plan: &Plan, step: StepId) -> Result<Option<Digest>, Error> {
    let log = store.memo(&log_key(&plan.steps[step].key))?;
    Ok(log.filter(|log| store.has_blob(log)))
}

impl<'a> Worker<'a> {
    pub(super) fn new(plan: &'a Plan, context: &'a Context<'a>, thorough: bool) -> Self {
        Self { plan, context, thorough, reused: Mutex::default(), emulated: AtomicBool::new(false) }
    }

    pub(super) fn outcome(self, artifacts: BTreeMap<StepId, Digest>, made: Vec<StepId>) -> Outcome {
        let reused = self.reused.into_inner().expect("no thread panics with it");
        let made = made.into_iter().filter(|step| !reused.contains(step)).collect();
        Outcome { artifacts, made, reused }
    }

    fn store(&self) -> &'a Store {
        self.context.store
    }

    fn has(&self, tree: &Digest) -> bool {
        if self.thorough { self.store().has_all(tree) } else { self.store().has_tree(tree) }
    }

    fn reused(&self, step: StepId) {
        self.reused.lock().expect("no thread panics with it").insert(step);
    }

    /// Gives what a step makes of the content of its inputs, from before or now: other inputs with the same bytes
    /// end here.
    fn work_on(&self, step: StepId, inputs: &[Digest]) -> Result<Digest, Error> {
        let work = &self.plan.steps[step].work;
        // What these give has a name of its own: the hash of the file, the tree, the REAPI action.
        if matches!(work, Work::Fetch(_) | Work::Folder { .. } | Work::Run(_)) {
            return self.work(step, inputs);
        }
        let key = plan::content_key(work, inputs);
        if let Some(tree) = self.store().memo(&key)?.filter(|tree| self.has(tree)) {
            self.reused(step);
            return Ok(tree);
        }
        let tree = self.work(step, inputs)?;
        self.store().put_memo(&key, &tree)?;
        Ok(tree)
    }

    /// Does the work of a step that nobody else does at the moment.
    fn work(&self, step: StepId, inputs: &[Digest]) -> Result<Digest, Error> {
        let label = || self.plan.steps[step].labels[0].to_string();
        let store = self.store();
        let tree = match &self.plan.steps[step].work {
            Work::Fetch(Fetch::Source { request, pin }) => {
                return Ok(pin.fetch(request, &self.context.fetch())?);
            }
            Work::Fetch(Fetch::Debian { pin, snapshot }) => {
                return Ok(pin.fetch(snapshot, &self.context.fetch())?);
            }
            Work::Folder { tree } => return Ok(*tree),
            Work::Base { digest, arch, reference } => base::image(reference, digest, *arch, self.context)?,
            Work::Unlayer { reference, .. } => {
                self.told(Activity::Unpack, label(), || base::unlayer(reference, &inputs[0], self.context))?
            }
            Work::Run(run) => return self.run(step, run, inputs),
            Work::Unpack { strip, .. } => self.told(Activity::Unpack, label(), || {
                let options = unpack::Options {
                    strip: strip.map(|count| count as usize),
                    ..unpack::Options::default()
                };
                let name = self.input_file(step);
                Ok(unpack::archive(store, &inputs[0], &name, &options, self.context.cancel)?)
            })?,
            Work::Crates { crates, .. } => cargo::vendor(store, crates.iter().zip(inputs.iter().copied()))?,
            Work::Text { path, text } => layer::tree_of([(path, text)], store)?,
            Work::Patch { patches, names } => {
                let mut tree = store.tree(&inputs[0])?;
                for (patch, name) in patches.iter().zip(names) {
                    unpack::patch::apply(store, &mut tree, name, &store.read_blob(patch)?)?;
                }
                tree
            }
            Work::Root { files, .. } => self.told(Activity::Unpack, label(), || {
                let packages: Vec<_> =
                    files.iter().zip(inputs).map(|(file, &digest)| root::Package { file, digest }).collect();
                Ok(root::unpack(store, &packages, self.context.events, self.context.cancel)?)
            })?,
            Work::Beside { .. } => root::beside(store.tree(&inputs[0])?),
            Work::Layer { parts } => layer::layer(self.plan, step, parts, inputs, self.context)?,
            Work::Node { node } => layer::configuration(node, inputs, store)?,
            Work::Calls(calls) => calls::check(calls, inputs, store)?,
            Work::Change { node, .. } => layer::change(node, inputs, store)?,
            Work::Survey { containerd_config, .. } => layer::survey(containerd_config, inputs, store)?,
            Work::Index { main, .. } => {
                let images = inputs.iter().map(|input| store.tree(input)).collect::<Result<Vec<_>, _>>()?;
                image::join(store, &images, *main)?
            }
            Work::Gate { arch, node, .. } => {
                self.told(Activity::Check, label(), || gate::check(*arch, node, inputs, self.context))?
            }
            Work::Image(assembly) => {
                let spec = self.assembly(assembly, inputs);
                image::assemble(store, &spec, self.context.events, self.context.cancel)?
            }
        };
        Ok(store.put_tree(&tree)?)
    }

    /// Names the file that a step's only input was fetched as.
    fn input_file(&self, step: StepId) -> String {
        let input = self.plan.steps[step].inputs.first().map(|&input| &self.plan.steps[input]);
        match input.map(|input| (&input.work, &input.labels[0])) {
            Some((Work::Fetch(fetch), _)) => fetch.name(),
            Some((_, label)) => label.to_string(),
            None => String::new(),
        }
    }

    /// Runs a script, or recalls what the same action gave.
    fn run(&self, step: StepId, run: &Run, inputs: &[Digest]) -> Result<Digest, Error> {
        let (root, placed) = inputs.split_first().expect("a run has a root");
        let placed = job::place(run, placed);
        let action = action::digest(run, root, &placed);
        let store = self.store();
        let key = self.plan.steps[step].key;
        if let Some(result) = store.action_result(&action)?.filter(|result| self.has(&result.tree)) {
            if let Some(log) = result.log {
                store.put_memo(&log_key(&key), &log)?;
            }
            self.reused(step);
            return Ok(result.tree);
        }
        let tree = self.execute(step, run, inputs, &[], |log| Ok(store.put_memo(&log_key(&key), log)?))?;
        let log = log(store, self.plan, step)?;
        store.put_action_result(&action, &ActionResult { tree, log })?;
        Ok(tree)
    }

    /// Does a step's work once more, whatever is known of it, in other surroundings; notes nothing.
    pub(super) fn again(&self, step: StepId, inputs: &[Digest], factors: &[Factor]) -> Result<Digest, Error> {
        match &self.plan.steps[step].work {
            Work::Run(run) => self.execute(step, run, inputs, factors, |_| Ok(())),
            Work::Image(assembly) => {
                // Layers don't depend on the number of threads.
                let image = self.assembly(assembly, inputs);
                let (store, events, cancel) = (self.store(), self.context.events, self.context.cancel);
                let tree = image::assemble_again(self.context.jobs + 1, store, &image, events, cancel)?;
                Ok(store.put_tree(&tree)?)
            }
            _ => self.work(step, inputs),
        }
    }

    /// Runs a script; `keep` takes what it printed, whether it failed or not.
    fn execute(
        &self,
        step: StepId,
        run: &Run,
        inputs: &[Digest],
        factors: &[Factor],
        keep: impl FnOnce(&Digest) -> Result<(), Error>,
    ) -> Result<Digest, Error> {
        let (root, placed) = inputs.split_first().expect("a run has a root");
        let emulator = placed.get(run.placed.len());
        let placed = job::place(run, placed);
        let store = self.store();
        let label = self.plan.steps[step].labels[0].to_string();
        let mut name = label.clone();
        if Some(run.arch) != crate::base::Arch::host() {
            if emulator.is_none() {
                return Err(Error::OtherMachine { step: label, arch: run.arch });
            }
            name += " under qemu-user";
            self.tell_of_emulator(&label, run.arch);
        }
        if !factors.is_empty() {
            name += &format!(" with other {}", Factor::list(factors));
        }
        self.told(Activity::Build, name, || {
            let mut printed = Printed::new(self.context)?;
            let given = job::Inputs { base: root, placed: &placed, emulator };
            let result = job::run(self.context, run, &given, &label, &mut printed, factors);
            keep(&printed.finish()?)?;
            Ok(store.put_tree(&result?)?)
        })
    }

    /// Fills an image's description with its layers.
    fn assembly(&self, assembly: &plan::Assembly, inputs: &[Digest]) -> image::Spec {
        let layer = |(name, &tree): (&String, &Digest)| image::Layer { name: name.clone(), tree };
        let (base, own) = match inputs {
            [image, tree, own @ ..] if assembly.based => {
                (Some(image::BaseImage { image: *image, tree: *tree }), own)
            }
            own => (None, own),
        };
        image::Spec {
            assembly: assembly.assembly,
            platform: assembly.platform.clone(),
            reference: assembly.reference.clone(),
            config: assembly.config.clone(),
            base,
            layers: assembly.layers.iter().zip(own).map(layer).collect(),
        }
    }

    /// Warns of the time that it takes, once.
    fn tell_of_emulator(&self, step: &str, arch: Arch) {
        if !self.emulated.swap(true, Ordering::Relaxed) {
            let message = format!(
                "`{step}` has to run programs of {arch}, under qemu-user: some 10 times slower than on a machine of that kind"
            );
            self.context.events.emit(Event::Warning { message });
        }
    }

    /// Tells that something goes on, and how it ended.
    fn told<T>(
        &self,
        kind: Activity,
        name: String,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let id = event::next_id();
        self.context.events.emit(Event::Started { id, kind, name, total: None });
        let result = work();
        let outcome = match &result {
            Ok(_) => event::Outcome::Done,
            Err(error) if error.blame() == Blame::Cancelled => event::Outcome::Stopped,
            Err(_) => event::Outcome::Failed,
        };
        self.context.events.emit(Event::Finished { id, outcome, detail: String::new() });
        result
    }
}

impl schedule::Worker<Digest, Error> for Worker<'_> {
    fn recall(&self, step: StepId) -> Result<Option<Digest>, Error> {
        let there = explain::recall(self.plan, step, self.store())?;
        let is_blob = matches!(self.plan.steps[step].work, Work::Fetch(_));
        Ok(there.filter(|artifact| is_blob || self.has(artifact)))
    }

    fn make(&self, step: StepId, inputs: &[Digest]) -> Result<Digest, Error> {
        let key = self.plan.steps[step].key;
        let store = self.store();
        let mut tell = || {
            let name = &self.plan.steps[step].labels[0];
            let message = format!("`{name}` is being made by another nodeimg, waiting");
            self.context.events.emit(Event::Note { message });
        };
        let _alone = store.lock_unless(&key, self.context.cancel, &mut tell)?;
        // Whoever had the lock before may have made it.
        if let Some(artifact) = self.recall(step)? {
            self.reused(step);
            return Ok(artifact);
        }
        let label = &self.plan.steps[step].labels[0];
        let artifact = self.work_on(step, inputs).map_err(|error| error.asked_by(label))?;
        if !matches!(self.plan.steps[step].work, Work::Fetch(_) | Work::Folder { .. }) {
            store.put_memo(&key, &artifact)?;
            explain::remember(store, self.plan, step, &artifact)?;
        }
        Ok(artifact)
    }

    fn lane(&self, step: StepId) -> Lane {
        match self.plan.steps[step].work {
            Work::Fetch(_) | Work::Base { .. } => Lane::Network,
            _ => Lane::Processor,
        }
    }
}

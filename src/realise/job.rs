//! Runs of a plan as jobs of the sandbox: inputs laid out, output kept, results taken in.

use std::collections::{BTreeMap, VecDeque};
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Context, Error, Factor};
use crate::base::event::{self, Event};
use crate::base::{Digest, GuestPath};
use crate::plan::{Mounted, Plan, Run, RunKind, StepId, Work};
use crate::sandbox::{self, Access, Emulator, Finished, Identity, Job, Mount, Root, Surroundings};
use crate::store::{BlobWriter, Checkout, Owners, Scratch, Store, Tree};
use crate::{root, store};

/// How many of the last lines an error shows.
const TAIL: usize = 20;
/// A longer line is cut in events and errors; the log has it whole.
const LINE: usize = 400;

/// An input of a run: where, how, and which.
pub(super) type Input<'a> = (&'a GuestPath, Mounted, Digest);

/// Gives a run's inputs but the root their places.
pub(super) fn place<'a>(run: &'a Run, inputs: &[Digest]) -> Vec<Input<'a>> {
    run.placed.iter().zip(inputs).map(|(place, &digest)| (&place.path, place.how, digest)).collect()
}

/// What a run is given.
pub(super) struct Inputs<'a> {
    /// The root.
    pub base: &'a Digest,
    /// What is placed in it.
    pub placed: &'a [Input<'a>],
    /// What runs its programs, where they are another machine's.
    pub emulator: Option<&'a Digest>,
}

/// What a script prints: kept as a blob, told line by line, its end remembered.
pub(super) struct Printed<'a> {
    context: &'a Context<'a>,
    id: u64,
    log: BlobWriter<'a>,
    line: Vec<u8>,
    tail: VecDeque<String>,
    failed: Option<std::io::Error>,
}

impl<'a> Printed<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Result<Self, Error> {
        let log = context.store.blob_writer()?;
        Ok(Self { context, id: event::next_id(), log, line: Vec::new(), tail: VecDeque::new(), failed: None })
    }

    fn take(&mut self, part: &[u8]) {
        if let Err(error) = self.log.write_all(part) {
            self.failed.get_or_insert(error);
        }
        for &byte in part {
            match byte {
                b'\n' => self.end_line(),
                _ if self.line.len() < LINE => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        // What a script prints must not drive the reader's terminal.
        let text = String::from_utf8_lossy(&self.line).replace('\t', " ").replace(char::is_control, "");
        self.line.clear();
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.clone());
        self.context.events.emit(Event::Output { id: self.id, line: text });
    }

    fn tail(&mut self) -> Vec<String> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.tail.iter().cloned().collect()
    }

    /// Stores the log.
    pub(super) fn finish(self) -> Result<Digest, Error> {
        match self.failed {
            Some(error) => Err(store::Error::from_io("write", self.context.store.path(), error).into()),
            None => Ok(self.log.finish()?),
        }
    }
}

/// What a job stands on; removed when dropped.
struct Laid {
    job: Job,
    scratch: Scratch,
    _checkouts: Vec<Checkout>,
}

/// Runs a script and gives the tree that it leaves.
pub(super) fn run(
    context: &Context<'_>,
    run: &Run,
    inputs: &Inputs<'_>,
    step: &str,
    printed: &mut Printed<'_>,
    factors: &[Factor],
) -> Result<Tree, Error> {
    let store = context.store;
    let mut laid = lay(context, run, inputs)?;
    factors.iter().for_each(|factor| factor.vary(&mut laid.job));
    if run.kind == RunKind::System {
        let Job { argv, env, mounts, known, limits, emulator, surroundings, .. } = &laid.job;
        let emulator = emulator.as_ref();
        let script = root::Step { argv, env, mounts, known, emulator, limits: *limits, surroundings };
        let result = root::run(
            store,
            context.sandbox,
            inputs.base,
            &script,
            &mut |part| printed.take(part),
            context.cancel,
        );
        return match result {
            Ok((tree, _)) => Ok(root::settle(store, tree)?),
            Err(root::Error::Failed { exit }) => {
                Err(Error::Failed { step: step.to_owned(), exit, tail: printed.tail() })
            }
            Err(root::Error::Sandbox(source)) => Err(stopped(step, source, printed)),
            Err(error) => Err(error.into()),
        };
    }
    let finished = context.sandbox.run(&laid.job, &mut |part| printed.take(part), context.cancel);
    match finished {
        Ok(finished) if finished.exit.is_success() => {}
        Ok(Finished { exit, .. }) => {
            return Err(Error::Failed { step: step.to_owned(), exit, tail: printed.tail() });
        }
        Err(source) => return Err(stopped(step, source, printed)),
    }
    match run.kind {
        RunKind::Build => Ok(store.absorb(&laid.scratch.path().join("out"), Owners::AllRoot)?),
        _ => Ok(Tree::default()),
    }
}

fn stopped(step: &str, source: sandbox::Error, printed: &mut Printed<'_>) -> Error {
    match source {
        sandbox::Error::Cancelled => Error::Cancelled,
        source => Error::Sandbox { step: step.to_owned(), tail: printed.tail(), source },
    }
}

/// Opens a shell where a step's script would run, with its mounts, environment and ids. `inputs` must be there, as
/// [`Plan::inputs`] has them.
///
/// The script lies in `/step.sh`.
pub fn shell(plan: &Plan, step: StepId, inputs: &[Digest], context: &Context<'_>) -> Result<Finished, Error> {
    let Work::Run(run) = &plan.steps[step].work else { unreachable!("only runs have a shell") };
    let (base, placed) = inputs.split_first().expect("a run has a root");
    let emulator = placed.get(run.placed.len());
    let placed = place(run, placed);
    let mut laid = lay(context, run, &Inputs { base, placed: &placed, emulator })?;
    let script = laid.scratch.path().join("step.sh");
    let text = run.argv.last().map_or("", String::as_str);
    fs_err::write(&script, text).map_err(|error| store::Error::from_io("write", &script, error))?;
    laid.job.mounts.push(Mount {
        source: script,
        target: GuestPath::new("/step.sh").expect("a constant path"),
        access: Access::ReadOnly,
    });
    // Asks for commands by itself where it reads from a terminal.
    laid.job.argv = vec!["/bin/sh".to_owned()];
    laid.job.limits.time = std::time::Duration::from_secs(24 * 3600);
    context.sandbox.shell(&laid.job).map_err(|source| Error::Sandbox {
        step: plan.steps[step].labels[0].to_string(),
        tail: Vec::new(),
        source,
    })
}

/// Lays out what a run sees.
fn lay(context: &Context<'_>, run: &Run, inputs: &Inputs<'_>) -> Result<Laid, Error> {
    let store = context.store;
    let &Inputs { base, placed, emulator } = inputs;
    let scratch = store.scratch()?;
    let checkout = store.checkout(base)?;
    let folder = |name: &str| -> Result<PathBuf, Error> {
        let path = scratch.path().join(name);
        // The mode is part of the result, and must not be the caller's umask's.
        let made = fs_err::create_dir(&path)
            .and_then(|()| fs_err::set_permissions(&path, Permissions::from_mode(0o755)));
        made.map_err(|error| store::Error::from_io("create", &path, error))?;
        Ok(path)
    };
    let mount = |source: PathBuf, target: &str, access| Mount {
        source,
        target: GuestPath::new(target).expect("a constant path"),
        access,
    };
    let mut mounts = Vec::new();
    let lower = checkout.path().to_owned();
    let mut known = BTreeMap::from([(lower.clone(), *base)]);
    let mut checkouts = vec![checkout];
    let (root, identity) = match run.kind {
        RunKind::System => (Root::Changeable { lower, changes: folder("changes")? }, Identity::Administrator),
        RunKind::Build | RunKind::Test => {
            mounts.push(mount(folder("build")?, "/build", Access::Scratch));
            if run.kind == RunKind::Build {
                mounts.push(mount(folder("out")?, "/out", Access::Writable));
            }
            (Root::ReadOnly { dir: lower }, Identity::Builder)
        }
    };
    for (path, how, digest) in placed {
        match how {
            Mounted::ReadOnly => {
                // A mount point in a folder that is written to is made here, by who can remove it again.
                if path.components().next() == Some("build") {
                    folder(path.relative())?;
                }
                let checkout = store.checkout(digest)?;
                known.insert(checkout.path().to_owned(), *digest);
                mounts.push(Mount {
                    source: checkout.path().to_owned(),
                    target: (*path).clone(),
                    access: Access::ReadOnly,
                });
                checkouts.push(checkout);
            }
            Mounted::Copy => store.copy_out(digest, &scratch.path().join(path.relative()))?,
            Mounted::File => copy_file(store, digest, &scratch.path().join(path.relative()))?,
        }
    }
    let mut program = None;
    if let Some(digest) = emulator {
        let checkout = store.checkout(digest)?;
        known.insert(checkout.path().to_owned(), *digest);
        program = Some(Emulator { arch: run.arch, dir: checkout.path().to_owned() });
        checkouts.push(checkout);
    }
    let mut env = run.env.clone();
    env.insert("JOBS".to_owned(), context.jobs.to_string());
    let job = Job {
        argv: run.argv.clone(),
        env,
        cwd: run.cwd.clone(),
        root,
        mounts,
        identity,
        emulator: program,
        limits: run.limits,
        known,
        surroundings: Surroundings::default(),
    };
    Ok(Laid { job, scratch, _checkouts: checkouts })
}

fn copy_file(store: &Store, digest: &Digest, to: &Path) -> Result<(), Error> {
    let mut from = store.verified_reader(digest)?;
    let failed = |error| store::Error::from_io("write", to, error);
    let mut file = fs_err::File::create_new(to).map_err(failed)?;
    std::io::copy(&mut from, &mut file).map_err(failed)?;
    fs_err::set_permissions(to, Permissions::from_mode(0o644)).map_err(failed)?;
    Ok(())
}

//! Runs the steps of a graph when their inputs are there, as few as possible, as many at once as allowed.
//!
//! Knows nothing of stores and sandboxes: a [`Worker`] recalls and makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::base::Cancel;

/// Which pool of threads a step runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Waits for the network.
    Network,
    /// Uses the processor.
    Processor,
}

/// Recalls and makes artifacts of type `A`; steps are indices.
pub(super) trait Worker<A, E>: Sync {
    /// Gives an artifact that is there already, without its inputs.
    fn recall(&self, step: usize) -> Result<Option<A>, E>;
    /// Makes an artifact; `inputs` in the order of the graph.
    fn make(&self, step: usize, inputs: &[A]) -> Result<A, E>;
    /// Chooses the threads.
    fn lane(&self, step: usize) -> Lane;
}

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Width {
    pub(super) network: usize,
    pub(super) processor: usize,
    /// Go on with what does not depend on a failed step.
    pub(super) keep_going: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome<A, E> {
    /// Every artifact that is known now.
    pub(super) artifacts: BTreeMap<usize, A>,
    /// Steps that were made, in the order they ended.
    pub(super) made: Vec<usize>,
    /// Steps that failed, in the order they ended.
    pub(super) failed: Vec<(usize, E)>,
}

struct State<A, E> {
    outcome: Outcome<A, E>,
    /// Steps whose inputs are there, lowest first.
    ready: BTreeSet<usize>,
    /// How many inputs each other needed step still lacks.
    lacking: BTreeMap<usize, usize>,
    running: usize,
}

/// Realises `targets` of the graph in which `inputs[step]` are the inputs of `step`.
pub(super) fn run<A: Copy + Send, E: Send>(
    inputs: &[Vec<usize>],
    targets: &[usize],
    worker: &dyn Worker<A, E>,
    width: Width,
    cancel: &Cancel,
) -> Result<Outcome<A, E>, E> {
    let (artifacts, needed) = recall(inputs, targets, worker)?;
    let mut users: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut lacking = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for &step in &needed {
        let missing: BTreeSet<usize> =
            inputs[step].iter().copied().filter(|input| !artifacts.contains_key(input)).collect();
        for &input in &missing {
            users.entry(input).or_default().push(step);
        }
        if missing.is_empty() {
            ready.insert(step);
        } else {
            lacking.insert(step, missing.len());
        }
    }
    let outcome = Outcome { artifacts, made: Vec::new(), failed: Vec::new() };
    if needed.is_empty() {
        return Ok(outcome);
    }
    let all = Shared {
        state: Mutex::new(State { outcome, ready, lacking, running: 0 }),
        changed: Condvar::new(),
        inputs,
        users,
        worker,
        keep_going: width.keep_going,
        cancel,
    };
    let shared = &all;
    std::thread::scope(|scope| {
        for (lane, threads) in [(Lane::Network, width.network), (Lane::Processor, width.processor)] {
            let threads = threads.min(needed.iter().filter(|&&step| worker.lane(step) == lane).count());
            for _ in 0..threads {
                scope.spawn(move || shared.work(lane));
            }
        }
    });
    Ok(all.state.into_inner().expect("workers don't panic while they hold the state").outcome)
}

/// Finds what is there and what must be made for the targets; goes down only below what is not there.
fn recall<A: Copy, E>(
    inputs: &[Vec<usize>],
    targets: &[usize],
    worker: &dyn Worker<A, E>,
) -> Result<(BTreeMap<usize, A>, BTreeSet<usize>), E> {
    let mut artifacts = BTreeMap::new();
    let mut needed = BTreeSet::new();
    let mut open = targets.to_vec();
    while let Some(step) = open.pop() {
        if artifacts.contains_key(&step) || needed.contains(&step) {
            continue;
        }
        if let Some(artifact) = worker.recall(step)? {
            artifacts.insert(step, artifact);
        } else {
            needed.insert(step);
            open.extend(&inputs[step]);
        }
    }
    Ok((artifacts, needed))
}

struct Shared<'a, A, E> {
    state: Mutex<State<A, E>>,
    changed: Condvar,
    inputs: &'a [Vec<usize>],
    users: BTreeMap<usize, Vec<usize>>,
    worker: &'a dyn Worker<A, E>,
    keep_going: bool,
    cancel: &'a Cancel,
}

impl<A: Copy + Send, E: Send> Shared<'_, A, E> {
    fn lock(&self) -> MutexGuard<'_, State<A, E>> {
        self.state.lock().expect("workers don't panic while they hold the state")
    }

    fn work(&self, lane: Lane) {
        let mut state = self.lock();
        loop {
            let stop = self.cancel.is_cancelled() || (!state.outcome.failed.is_empty() && !self.keep_going);
            if stop || (state.ready.is_empty() && state.running == 0) {
                self.changed.notify_all();
                return;
            }
            let Some(step) = state.ready.iter().copied().find(|&step| self.worker.lane(step) == lane) else {
                state = self.changed.wait(state).expect("workers don't panic while they hold the state");
                continue;
            };
            state.ready.remove(&step);
            state.running += 1;
            let there: Vec<A> =
                self.inputs[step].iter().map(|input| state.outcome.artifacts[input]).collect();
            drop(state);
            let result = {
                let _alarm = Alarm { cancel: self.cancel, changed: &self.changed };
                self.worker.make(step, &there)
            };
            state = self.lock();
            state.running -= 1;
            match result {
                Ok(artifact) => state.made(step, artifact, self.users.get(&step).map_or(&[], Vec::as_slice)),
                Err(error) => state.outcome.failed.push((step, error)),
            }
            self.changed.notify_all();
        }
    }
}

/// Lets the other threads end when one panics, so that the panic is seen and nothing hangs.
struct Alarm<'a> {
    cancel: &'a Cancel,
    changed: &'a Condvar,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cancel.cancel();
            self.changed.notify_all();
        }
    }
}

impl<A, E> State<A, E> {
    fn made(&mut self, step: usize, artifact: A, users: &[usize]) {
        self.outcome.artifacts.insert(step, artifact);
        self.outcome.made.push(step);
        for &user in users {
            let lacking = self.lacking.get_mut(&user).expect("users of a needed step are needed");
            *lacking -= 1;
            if *lacking == 0 {
                self.lacking.remove(&user);
                self.ready.insert(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up its inputs; step 0 gives 1.
    #[derive(Default)]
    struct Sum {
        there: BTreeMap<usize, u64>,
        broken: BTreeSet<usize>,
        network: BTreeSet<usize>,
        asked: Mutex<Vec<usize>>,
        cancel: Option<Cancel>,
    }

    impl Worker<u64, String> for Sum {
        fn recall(&self, step: usize) -> Result<Option<u64>, String> {
            self.asked.lock().unwrap().push(step);
            Ok(self.there.get(&step).copied())
        }

        fn make(&self, step: usize, inputs: &[u64]) -> Result<u64, String> {
            if let Some(cancel) = &self.cancel {
                cancel.cancel();
            }
            if self.broken.contains(&step) {
                return Err(format!("step {step}"));
            }
            Ok(if inputs.is_empty() { 1 } else { inputs.iter().sum() })
        }

        fn lane(&self, step: usize) -> Lane {
            if self.network.contains(&step) { Lane::Network } else { Lane::Processor }
        }
    }

    const WIDTH: Width = Width { network: 2, processor: 2, keep_going: false };

    fn diamond() -> Vec<Vec<usize>> {
        vec![vec![], vec![0], vec![0], vec![1, 2], vec![]]
    }

    #[test]
    fn makes_inputs_first_and_only_what_is_needed() {
        let worker = Sum { network: BTreeSet::from([0]), ..Sum::default() };
        let outcome = run(&diamond(), &[3], &worker, WIDTH, &Cancel::default()).unwrap();
        assert_eq!(outcome.artifacts[&3], 2);
        assert_eq!(outcome.made.first(), Some(&0));
        assert_eq!(outcome.made.last(), Some(&3));
        assert_eq!(outcome.made.len(), 4, "step 4 is not asked for");
    }

    #[test]
    fn does_not_look_below_what_is_there() {
        let worker = Sum { there: BTreeMap::from([(3, 7)]), ..Sum::default() };
        let outcome = run(&diamond(), &[3], &worker, WIDTH, &Cancel::default()).unwrap();
        assert_eq!(outcome.artifacts, BTreeMap::from([(3, 7)]));
        assert_eq!(*worker.asked.lock().unwrap(), [3]);
    }

    #[test]
    fn an_input_used_twice_by_one_step_counts_once() {
        let outcome = run(&[vec![], vec![0, 0]], &[1], &Sum::default(), WIDTH, &Cancel::default()).unwrap();
        assert_eq!(outcome.artifacts[&1], 2);
    }

    #[test]
    fn a_failure_stops_and_keep_going_does_the_rest() {
        let worker = Sum { broken: BTreeSet::from([1]), ..Sum::default() };
        let graph = diamond();
        let outcome = run(&graph, &[3], &worker, WIDTH, &Cancel::default()).unwrap();
        assert_eq!(outcome.failed, [(1, "step 1".to_owned())]);
        assert!(!outcome.artifacts.contains_key(&3));
        let width = Width { keep_going: true, processor: 1, ..WIDTH };
        let outcome = run(&graph, &[3, 4], &worker, width, &Cancel::default()).unwrap();
        assert_eq!(outcome.failed.len(), 1);
        assert_eq!(outcome.artifacts.keys().copied().collect::<Vec<_>>(), [0, 2, 4]);
    }

    #[test]
    fn stops_when_asked_to() {
        let cancel = Cancel::default();
        let worker = Sum { cancel: Some(cancel.clone()), ..Sum::default() };
        let outcome = run(&diamond(), &[3], &worker, WIDTH, &cancel).unwrap();
        assert_eq!(outcome.made, [0]);
    }
}

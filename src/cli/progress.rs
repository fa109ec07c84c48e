//! Shows events to a person: live lines on a terminal, plain lines anywhere else. Always on stderr.
//!
//! On a terminal every running activity has one line with its bytes and time; what a step built or
//! assembled stays as a line when it is done, fetches and unpackings are only counted (a node image has
//! hundreds). Piped, the same lasting lines come and nothing else.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text;
use crate::base::event::{Activity, Event, Outcome, Sink};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings only.
    Quiet,
    /// What was made, and live lines on a terminal.
    Normal,
    /// Also every fetch, note and line of output of a step.
    Verbose,
}

/// The lines of this run.
pub struct Progress {
    verbosity: Verbosity,
    live: Option<MultiProgress>,
    running: Mutex<BTreeMap<u64, Running>>,
    /// Files and bytes moved, by what was done with them.
    moved: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

struct Running {
    kind: Activity,
    name: String,
    since: Instant,
    bytes: u64,
    bar: Option<ProgressBar>,
}

/// More live lines than this only push the others off the screen.
const LIVE_LINES: usize = 8;

impl Progress {
    /// Live lines come where stderr is a terminal and `verbosity` is normal.
    pub fn new(verbosity: Verbosity) -> Self {
        let live = (verbosity == Verbosity::Normal && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { verbosity, live, running: Mutex::default(), moved: Mutex::default() }
    }

    /// Prints a line that stays, above the live ones.
    pub fn line(&self, text: &str) {
        match &self.live {
            // Drawing fails only when the terminal is gone, and then nobody reads the line.
            Some(live) => drop(live.println(text)),
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Removes the live lines and tells what was only counted.
    pub fn finish(&self) {
        if let Some(live) = &self.live {
            drop(live.clear());
        }
        let moved = std::mem::take(&mut *lock(&self.moved));
        if self.verbosity >= Verbosity::Normal {
            for (verb, (count, bytes)) in moved {
                let files = text::count(count as usize, "file");
                let bytes = if bytes == 0 { String::new() } else { format!(", {}", text::size(bytes)) };
                self.line(&format!("{verb:>10} {files}{bytes}"));
            }
        }
    }

    fn started(&self, id: u64, kind: Activity, name: String, total: Option<u64>) {
        let mut running = lock(&self.running);
        let shown = running.values().filter(|r| r.bar.is_some()).count();
        let bar = self.live.as_ref().filter(|_| shown < LIVE_LINES).map(|live| {
            let bar = live.add(ProgressBar::new(total.unwrap_or(0)));
            let template = match total {
                Some(_) => "{prefix:>10} {wide_msg} {decimal_bytes}/{decimal_total_bytes} {elapsed}",
                None => "{prefix:>10} {wide_msg} {elapsed}",
            };
            bar.set_style(ProgressStyle::with_template(template).expect("the templates above are right"));
            bar.set_prefix(present(kind));
            bar.set_message(name.clone());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        running.insert(id, Running { kind, name, since: Instant::now(), bytes: 0, bar });
    }

    fn finished(&self, id: u64, outcome: Outcome, detail: &str) {
        let Some(done) = lock(&self.running).remove(&id) else { return };
        if let (Some(bar), Some(live)) = (&done.bar, &self.live) {
            bar.finish_and_clear();
            live.remove(bar);
        }
        let counted = matches!(done.kind, Activity::Fetch | Activity::Unpack | Activity::Resolve);
        if counted && outcome == Outcome::Done {
            let mut moved = lock(&self.moved);
            let sum = moved.entry(past(done.kind)).or_default();
            *sum = (sum.0 + 1, sum.1 + done.bytes);
        }
        let (verb, told) = match outcome {
            Outcome::Done => (past(done.kind), !counted),
            Outcome::Reused => ("reused", false),
            Outcome::Failed => ("failed", true),
            Outcome::Stopped => ("stopped", false),
        };
        if self.verbosity == Verbosity::Verbose || (told && self.verbosity == Verbosity::Normal) {
            let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
            self.line(&format!("{verb:>10} {} in {}{detail}", done.name, human_time(done.since.elapsed())));
        }
    }
}

impl Sink for Progress {
    fn emit(&self, event: Event) {
        match event {
            Event::Started { id, kind, name, total } => {
                if self.verbosity == Verbosity::Verbose {
                    self.line(&format!("{:>10} {name}", present(kind)));
                }
                self.started(id, kind, name, total);
            }
            Event::Progress { id, done } => {
                if let Some(running) = lock(&self.running).get_mut(&id) {
                    running.bytes = done;
                    if let Some(bar) = &running.bar {
                        bar.set_position(done);
                    }
                }
            }
            Event::Output { line, .. } => {
                if self.verbosity == Verbosity::Verbose {
                    self.line(&format!("{:>10} {line}", "|"));
                }
            }
            Event::Finished { id, outcome, detail } => self.finished(id, outcome, &detail),
            Event::Warning { message } => self.line(&format!("warning: {message}")),
            Event::Note { message } => {
                if self.verbosity == Verbosity::Verbose {
                    self.line(&format!("{:>10} {message}", "note"));
                }
            }
        }
    }
}

/// Locks; a thread that panicked while it counted is a bug that already shows itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while counting")
}

fn present(kind: Activity) -> &'static str {
    match kind {
        Activity::Resolve => "resolving",
        Activity::Fetch => "fetching",
        Activity::Unpack => "unpacking",
        Activity::Build => "building",
        Activity::Assemble => "assembling",
        Activity::Load => "loading",
        Activity::Check => "checking",
        Activity::Try => "trying",
    }
}

fn past(kind: Activity) -> &'static str {
    match kind {
        Activity::Resolve => "resolved",
        Activity::Fetch => "fetched",
        Activity::Unpack => "unpacked",
        Activity::Build => "built",
        Activity::Assemble => "assembled",
        Activity::Load => "loaded",
        Activity::Check => "checked",
        Activity::Try => "tried",
    }
}

/// Writes a duration as people say it: `0.3 s`, `12 s`, `8 min 20 s`.
pub fn human_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_say_them() {
        assert_eq!(human_time(Duration::from_millis(340)), "0.3 s");
        assert_eq!(human_time(Duration::from_millis(12_900)), "12 s");
        assert_eq!(human_time(Duration::from_secs(500)), "8 min 20 s");
    }

    #[test]
    fn counts_what_it_does_not_list() {
        let progress = Progress::new(Verbosity::Quiet);
        for id in 1..=2 {
            progress.emit(Event::Started { id, kind: Activity::Fetch, name: "a".into(), total: Some(3) });
            progress.emit(Event::Progress { id, done: 3 });
            progress.emit(Event::Finished { id, outcome: Outcome::Done, detail: String::new() });
        }
        assert_eq!(progress.moved.lock().unwrap()["fetched"], (2, 6));
        assert!(progress.running.lock().unwrap().is_empty());
    }
}

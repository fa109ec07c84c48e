//! The container's side: takes an order from its standard input, runs the job, gives what it left.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::inputs::Inputs;
use super::stream::{receive, send};
use super::wire::{Back, Fault, Order, Said, get, place, put};
use crate::base::Cancel;
use crate::sandbox::{Error, Exit, Finished, Job, Limit, Namespace, Root, Sandbox as _};

/// How the agent's program is called in its image: what stands in `argv[0]` says what it is to be.
pub(super) const MARK: &str = "nodeimg-agent";

const BUFFER: usize = 256 << 10;

/// Turns this process into the agent if that is what it was started for; else returns.
pub(in crate::sandbox) fn enter_if_asked() {
    if std::env::args_os().next().is_some_and(|name| name == MARK) {
        let code = match serve() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error}");
                1
            }
        };
        std::process::exit(code);
    }
}

fn serve() -> io::Result<()> {
    let mut from = BufReader::with_capacity(BUFFER, File::from(rustix::io::dup(rustix::stdio::stdin())?));
    // Not Rust's own stdout, which looks for ends of lines.
    let mut to = BufWriter::with_capacity(BUFFER, File::from(rustix::io::dup(rustix::stdio::stdout())?));
    rustix::process::umask(rustix::fs::Mode::from(0o022));
    let order: Order = get(&mut from)?;
    let prepared = prepare(&order, &mut from, &mut to);
    let held = match prepared {
        Ok(held) => held,
        Err(error) => {
            let reason = error.to_string();
            let fault = match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => Fault::NoSpace { left: 0 },
                _ => Fault::Other { what: "take in what the step is to see".to_owned(), reason },
            };
            put(&mut to, &Said::End(Err(fault)))?;
            return Ok(());
        }
    };
    let cancel = Cancel::default();
    let gone = cancel.clone();
    std::thread::Builder::new().spawn(move || {
        // Nothing more is sent: it ends when whoever gave the order is gone.
        let _ = io::copy(&mut from.by_ref(), &mut io::sink());
        gone.cancel();
    })?;
    let mut failed = None;
    let mut output = |part: &[u8]| {
        let said = put(&mut to, &Said::Output(part.len() as u64));
        if let Err(error) = said.and_then(|()| to.write_all(part)).and_then(|()| to.flush()) {
            failed.get_or_insert(error);
        }
    };
    let result = Namespace::default().run(&order.job, &mut output, &cancel);
    if let Some(error) = failed {
        return Err(error);
    }
    let result = blame_memory(result, &order.job);
    let finished = result.is_ok();
    put(&mut to, &Said::End(result.map_err(Fault::from)))?;
    if finished {
        for (number, one) in order.places.iter().enumerate() {
            match one.back {
                Back::Nothing => {}
                Back::Whole => send(&place(number), &mut to)?,
                Back::Upper => send(&place(number).join("upper"), &mut to)?,
            }
        }
    }
    drop(held);
    to.flush()
}

/// Gets every place ready; what it gives must be held while the job runs.
fn prepare(order: &Order, from: &mut BufReader<File>, to: &mut BufWriter<File>) -> io::Result<Vec<OwnedFd>> {
    let inputs = Inputs::open()?;
    let mut held = Vec::new();
    let mut needed = Vec::new();
    for (number, one) in order.places.iter().enumerate() {
        match (one.content, one.back) {
            (_, Back::Upper) => fs_err::create_dir(place(number))?,
            (Some(content), _) => match inputs.find(&content)? {
                Some((path, lock)) => {
                    fs_err::os::unix::fs::symlink(path, place(number))?;
                    held.push(lock);
                }
                None => needed.push(number),
            },
            (None, _) => needed.push(number),
        }
    }
    put(to, &Said::Need(needed.clone()))?;
    for number in needed {
        match order.places[number].content {
            Some(content) => {
                let (path, lock) = inputs.take(&content, |to| receive(from, to))?;
                fs_err::os::unix::fs::symlink(path, place(number))?;
                held.push(lock);
            }
            None => receive(from, &place(number))?,
        }
    }
    Ok(held)
}

/// Says that memory was short where the kernel killed for it before the watch saw it.
fn blame_memory(result: Result<Finished, Error>, job: &Job) -> Result<Finished, Error> {
    let is_killed = matches!(result, Ok(Finished { exit, .. }) if exit != Exit::Code(0));
    if is_killed && was_short_of_memory() {
        let detail = format!("more than {} MiB", job.limits.memory >> 20);
        return Err(Error::Limit { limit: Limit::Memory, detail });
    }
    result
}

/// Looks whether the kernel killed anything in this container for its memory (cgroup v2, then v1).
fn was_short_of_memory() -> bool {
    let files = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let texts = files.iter().filter_map(|file| fs_err::read_to_string(file).ok());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
}

/// Gives the folders and files that a job stands on, in the order of their places, each to be rewritten.
pub(super) fn paths(job: &mut Job) -> Vec<(&mut PathBuf, Kind)> {
    let mut paths = Vec::new();
    match &mut job.root {
        Root::ReadOnly { dir } => paths.push((dir, Kind::Input)),
        Root::Changeable { lower, changes } => {
            paths.push((lower, Kind::Input));
            paths.push((changes, Kind::Changes));
        }
        Root::Writable { dir } => paths.push((dir, Kind::Own)),
    }
    paths.extend(job.emulator.iter_mut().map(|emulator| (&mut emulator.dir, Kind::Input)));
    paths.extend(job.mounts.iter_mut().map(|mount| {
        let kind = match mount.access {
            crate::sandbox::Access::ReadOnly => Kind::Input,
            crate::sandbox::Access::Writable => Kind::Own,
            crate::sandbox::Access::Scratch => Kind::Scratch,
        };
        (&mut mount.source, kind)
    }));
    paths
}

/// What a job does with a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads it.
    Input,
    /// It writes to it, and that counts.
    Own,
    /// It writes to it, and nobody looks at it afterwards.
    Scratch,
    /// It is an overlay's folder of changes.
    Changes,
}

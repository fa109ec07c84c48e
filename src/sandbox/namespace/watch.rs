//! Limits, watched from PID 1: cgroups are not an ordinary user's on every host.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Report;
use crate::sandbox::{Access, Job, Limit, Limits, Root};

/// A file system with less left is full: the store needs some to say so.
const RESERVE: u64 = 64 << 20;

/// What is known of a running job.
pub(super) struct Watch {
    limits: Limits,
    since: Instant,
    /// Guest paths below which the job may write to the disk.
    writable: Vec<PathBuf>,
    measure_at: Instant,
    pub(super) peak_memory: u64,
}

impl Watch {
    pub(super) fn new(job: &Job) -> Self {
        let mounts = job.mounts.iter().filter(|mount| mount.access != Access::ReadOnly);
        let mut writable: Vec<_> = mounts.map(|mount| PathBuf::from(mount.target.as_str())).collect();
        if let Root::Changeable { .. } | Root::Writable { .. } = job.root {
            writable.push(PathBuf::from("/"));
        }
        let now = Instant::now();
        Self { limits: job.limits, since: now, writable, measure_at: now, peak_memory: 0 }
    }

    /// Looks at everything that is due; gives what was overstepped.
    pub(super) fn look(&mut self) -> Option<Report> {
        let over = |limit, detail: String| Some(Report::Limit { limit, detail });
        if self.since.elapsed() > self.limits.time {
            return over(Limit::Time, format!("{} s", self.limits.time.as_secs()));
        }
        let (processes, memory) = usage(self.limits.processes);
        self.peak_memory = self.peak_memory.max(memory);
        if processes > u64::from(self.limits.processes) {
            return over(Limit::Processes, format!("{processes} of {}", self.limits.processes));
        }
        if memory > self.limits.memory {
            return over(Limit::Memory, format!("{} of {} MiB", memory >> 20, self.limits.memory >> 20));
        }
        if Instant::now() < self.measure_at {
            return None;
        }
        for place in &self.writable {
            if let Ok(file_system) = rustix::fs::statvfs(place) {
                let left = file_system.f_bavail * file_system.f_frsize;
                if left < RESERVE {
                    return Some(Report::NoSpace { left: left >> 20 });
                }
            }
        }
        let begun = Instant::now();
        // The root's own files are an input; only what is mounted writable is measured there.
        let used: u64 = self.writable.iter().filter(|place| *place != "/").map(|place| size(place)).sum();
        // Looking must stay cheap beside the step itself.
        self.measure_at = Instant::now() + (begun.elapsed() * 20).max(Duration::from_secs(1));
        if used > self.limits.disk {
            return over(Limit::Disk, format!("{} of {} MiB", used >> 20, self.limits.disk >> 20));
        }
        None
    }
}

/// Counts threads and resident bytes of every process here but this one (proc(5), `/proc/pid/stat`). Stops counting when
/// there are more threads than `most`: of a fork bomb no more is to be known.
fn usage(most: u32) -> (u64, u64) {
    let page = rustix::param::page_size() as u64;
    let Ok(folder) = fs_err::read_dir("/proc") else { return (0, 0) };
    let mut sum = (0, 0);
    for entry in folder.flatten() {
        if sum.0 > u64::from(most) {
            break;
        }
        let name = entry.file_name();
        if name == "1" || !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(stat) = fs_err::read_to_string(entry.path().join("stat")) else { continue };
        // The command's name may hold anything, also spaces and brackets.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field =
            |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        sum = (sum.0 + field(20), sum.1 + field(24) * page);
    }
    sum
}

/// Adds up the blocks of every file below a folder. Follows no link and leaves the file system nowhere.
fn size(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs_err::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                sum += metadata.blocks() * 512;
            }
        }
    }
    sum
}

//! What a job could see of the machine, and must not let into its results.

use serde::{Deserialize, Serialize};

/// The kernel's release as uname(2) tells it where [`Surroundings::other_kernel`] says so.
pub const OTHER_KERNEL: &str = "9.8.7-other";

/// What surrounds a job besides its inputs. Every build has the [default](Surroundings::default); a build that is done
/// again to find out what its result depends on has others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// User and group of a [builder](super::Identity::Builder). An administrator is 0 always.
    pub user: u32,
    /// What new files lack of their modes.
    pub umask: u32,
    /// The host's name.
    pub host_name: String,
    /// Whether there is one processor only (sched_setaffinity(2)), whatever the machine has.
    pub one_processor: bool,
    /// Whether uname(2) tells of another kernel.
    pub other_kernel: bool,
    /// Whether [scratch](super::Access::Scratch) mounts are in memory, their entries made in the opposite order: tmpfs
    /// lists what was made last first, other file systems by hash or as they please.
    pub scratch_in_memory: bool,
    /// Seconds that are added to the clocks of the time since the machine started (time_namespaces(7)). The time of
    /// day has no namespace.
    pub uptime: u64,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            user: 1000,
            umask: 0o022,
            host_name: "nodeimg".to_owned(),
            one_processor: false,
            other_kernel: false,
            scratch_in_memory: false,
            uptime: 0,
        }
    }
}

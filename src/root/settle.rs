//! The one place that knows what differs between two runs, two hosts or two days, and takes it away.
//!
//! It is run over every root that a script has been at. Links are neither followed nor touched: where one of these
//! files is a link, somebody meant it.

use super::Error;
use crate::base::{GuestPath, Name};
use crate::store::{Dir, Node, Store, Tree};

/// What becomes of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The file goes.
    Gone,
    /// The file stays without its content.
    Emptied,
    /// The file says this.
    Says(&'static str),
    /// Everything in the folder goes.
    Cleared,
    /// The days of last change go from its lines (shadow(5), third field).
    Undated,
}

use Fate::{Cleared, Emptied, Gone, Says, Undated};

/// A `*` in the last part of a path stands for any text.
const RULES: [(&str, Fate); 49] = [
    // The kernel's, or in memory, on every machine that boots or runs the root.
    ("/dev", Cleared),
    ("/proc", Cleared),
    ("/run", Cleared),
    ("/sys", Cleared),
    ("/tmp", Cleared),
    ("/var/tmp", Cleared),
    // Of the machine that the root will run on. Empty, machine-id(5) is made at the first boot and no unit is preset.
    ("/etc/hostname", Gone),
    ("/etc/machine-id", Emptied),
    ("/etc/resolv.conf", Gone),
    ("/var/lib/dbus/machine-id", Gone),
    // Random. open-iscsi's start script makes a name where it finds this line.
    ("/etc/iscsi/initiatorname.iscsi", Says("GenerateName=yes\n")),
    // Secrets that all machines with this root would share.
    ("/etc/ssh/ssh_host_*", Gone),
    ("/etc/ssl/certs/ssl-cert-snakeoil.pem", Gone),
    ("/etc/ssl/private/ssl-cert-snakeoil.key", Gone),
    ("/root/.rnd", Gone),
    ("/var/lib/systemd/credential.secret", Gone),
    ("/var/lib/systemd/random-seed", Gone),
    ("/var/lib/urandom/random-seed", Gone),
    // Locks that their programs make when they start.
    ("/etc/.pwd.lock", Gone),
    ("/var/cache/debconf/*.lock", Gone),
    ("/var/lib/apt/lists/lock", Gone),
    ("/var/lib/dpkg/lock", Gone),
    ("/var/lib/dpkg/lock-frontend", Gone),
    ("/var/lib/dpkg/triggers/Lock", Gone),
    // What a file was before its last change: it tells in which order things happened.
    ("/etc/group-", Gone),
    ("/etc/gshadow-", Gone),
    ("/etc/passwd-", Gone),
    ("/etc/shadow-", Gone),
    ("/etc/subgid-", Gone),
    ("/etc/subuid-", Gone),
    ("/var/cache/debconf/*-old", Gone),
    ("/var/lib/dpkg/*-old", Gone),
    // Days on which a script set a password: without one it never expires, which is what an image wants.
    ("/etc/shadow", Undated),
    // Made again when asked for, with inode numbers, times or the order of a folder in them.
    ("/var/cache/apt", Cleared),
    ("/var/cache/fontconfig", Cleared),
    ("/var/cache/ldconfig", Cleared),
    ("/var/cache/man", Cleared),
    ("/var/lib/apt/lists", Cleared),
    ("/var/lib/systemd/timers", Cleared),
    // What happened, and when.
    ("/var/log/apt", Cleared),
    ("/var/log/journal", Cleared),
    ("/var/log/*.log", Gone),
    ("/var/log/btmp", Emptied),
    ("/var/log/faillog", Emptied),
    ("/var/log/lastlog", Emptied),
    ("/var/log/tallylog", Emptied),
    ("/var/log/wtmp", Emptied),
    ("/root/.bash_history", Gone),
    ("/root/.wget-hsts", Gone),
];

/// Where Python looks at a source's time in a compiled file: flags, then seconds (PEP 552).
const PYC_HEADER: usize = 16;

/// Takes away from a root what differs between two runs of the scripts that made it.
pub fn settle(store: &Store, mut tree: Tree) -> Result<Tree, Error> {
    for (path, fate) in RULES {
        let path = GuestPath::new(path).expect("a constant");
        let (above, pattern) = path.as_str().rsplit_once('/').expect("absolute");
        let above = GuestPath::new(if above.is_empty() { "/" } else { above }).expect("a part of a path");
        let Some(dir) = dir_mut(&mut tree, &above) else { continue };
        let meant: Vec<Name> =
            dir.entries.keys().filter(|name| is_like(name.as_str(), pattern)).cloned().collect();
        for name in meant {
            apply(store, dir, &name, fate)?;
        }
    }
    date_compiled(store, &mut tree)?;
    Ok(tree)
}

fn apply(store: &Store, dir: &mut Dir, name: &Name, fate: Fate) -> Result<(), Error> {
    match (dir.entries.get_mut(name), fate) {
        (Some(Node::Dir(dir)), Cleared) => dir.entries.clear(),
        (Some(Node::File { .. }), Gone) => drop(dir.entries.remove(name)),
        (Some(Node::File { digest, .. }), Emptied) => *digest = store.put_bytes(b"")?,
        (Some(Node::File { digest, .. }), Says(text)) => *digest = store.put_bytes(text.as_bytes())?,
        (Some(Node::File { digest, .. }), Undated) => {
            *digest = store.put_bytes(undated(&store.read_blob(digest)?).as_slice())?;
        }
        _ => {}
    }
    Ok(())
}

/// Takes the third field from every line. A 0 is kept: it asks for a new password at the next login.
fn undated(shadow: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| {
        let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        if let Some(day) = fields.get_mut(2).filter(|day| **day != b"0") {
            *day = b"";
        }
        fields.join(&b':')
    };
    shadow.split(|byte| *byte == b'\n').map(line).collect::<Vec<_>>().join(&b'\n')
}

/// Compiled Python that names its source's time names the epoch, which is every file's time in an image: it fits, and
/// it is the same whenever the source was written.
fn date_compiled(store: &Store, dir: &mut Dir) -> Result<(), Error> {
    for (name, node) in &mut dir.entries {
        match node {
            Node::Dir(below) => date_compiled(store, below)?,
            Node::File { digest, .. }
                if name.as_str().ends_with(".pyc") && digest.size >= PYC_HEADER as u64 =>
            {
                let mut head = [0; PYC_HEADER];
                let mut blob = store.open_blob(digest)?;
                let read = std::io::Read::read_exact(&mut blob, &mut head);
                // Flags other than 0 say that it goes by the source's hash, not its time.
                if read.is_ok() && head[4..8] == [0; 4] && head[8..12] != [0; 4] {
                    let mut bytes = store.read_blob(digest)?;
                    bytes[8..12].fill(0);
                    *digest = store.put_bytes(&bytes)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn dir_mut<'a>(tree: &'a mut Tree, path: &GuestPath) -> Option<&'a mut Dir> {
    path.components().try_fold(tree, |dir, part| match dir.entries.get_mut(part)? {
        Node::Dir(child) => Some(child),
        _ => None,
    })
}

fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, end)) => {
            name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
        }
    }
}

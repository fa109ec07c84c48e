//! What the sandbox runs to configure a root, as plain data.

use std::collections::BTreeMap;

/// A program with its arguments and its whole environment: a part of an action's identity, so it never depends
/// on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Program (absolute guest path) and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
}

/// The environment of everything that runs as administrator in a Debian root.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("HOME", "/root"),
    // Not `C.UTF-8`, whose dozen files every single process would open.
    ("LC_ALL", "C"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    // Perl and Python order what they write by a random number otherwise.
    ("PERL_HASH_SEED", "0"),
    ("PYTHONHASHSEED", "0"),
    ("SOURCE_DATE_EPOCH", "0"),
    ("TZ", "UTC"),
];

/// Gives the script that configures an unpacked root.
///
/// It fails, and its last lines name the package, if a maintainer script does.
pub fn configure() -> Script {
    script(include_str!("configure.sh"))
}

/// Gives any other script the same surroundings.
pub fn script(text: &str) -> Script {
    Script {
        // The first line keeps its number.
        argv: ["/bin/sh", "-eu", "-c", &format!("umask 022; {text}")].map(str::to_owned).to_vec(),
        env: ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

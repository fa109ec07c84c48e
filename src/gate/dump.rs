//! What the image's own containerd makes of its configuration: `containerd config dump`.
//!
//! It runs in the sandbox, in a root that has of the image what this takes: containerd, what its loader needs, and the
//! configuration. So the sandbox sees 100 MB instead of a whole node, and as long as neither changes the answer that
//! the store has stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::Program;
use super::{Error, RULES, View};
use crate::base::{Arch, Cancel, GuestPath, Sha256};
use crate::node::Containerd;
use crate::sandbox::{self, Exit, Identity, Job, Limits, Root, Sandbox, Surroundings};
use crate::store::{Dir, Meta, Node, Tree};

/// What containerd said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dump {
    /// Its configuration, and what it did not know of the file.
    Printed { config: Containerd, warnings: Vec<String> },
    /// It ended with an error; the last line says which.
    Failed { exit: String, last: String },
    /// There is no containerd.
    Absent,
    /// It could not be asked, and why.
    LeftOut(String),
}

/// What it printed, as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    exit: Exit,
    text: String,
}

/// More is no configuration.
const MAX_TEXT: usize = 4 << 20;

/// Asks containerd, or recalls what it said.
pub(super) fn dump(view: &View<'_>, sandbox: &dyn Sandbox, cancel: &Cancel) -> Result<Dump, Error> {
    let Program::There(_) = view.find("containerd") else { return Ok(Dump::Absent) };
    let program = view.path_of("containerd").expect("it was found a line above");
    match (view.arch, Arch::host()) {
        (Some(arch), Some(host)) if arch != host => {
            return Ok(Dump::LeftOut(format!("the image is for {arch}, this machine is {host}")));
        }
        _ => {}
    }
    let closure = view.loader.closure(&program, &[])?;
    if let Some((_, message, _)) = closure.faults.into_iter().next() {
        return Ok(Dump::Failed { exit: "not started".to_owned(), last: message });
    }
    let root = view.store.put_tree(&root(view, &closure.files))?;
    let key = Sha256::of(format!("gate dump {RULES} {root} {program} {}", view.config).as_bytes());
    let known = view.store.memo(&key)?.filter(|said| view.store.has_blob(said));
    let said = match known {
        Some(said) => serde_json::from_slice(&view.store.read_blob(&said)?).ok(),
        None => None,
    };
    let said = match said {
        Some(said) => said,
        None => {
            let said = ask(view, &root, &program, sandbox, cancel)?;
            let text = serde_json::to_vec(&said).expect("plain values are JSON");
            view.store.put_memo(&key, &view.store.put_bytes(&text)?)?;
            said
        }
    };
    Ok(read(&said))
}

fn ask(
    view: &View<'_>,
    root: &crate::base::Digest,
    program: &GuestPath,
    sandbox: &dyn Sandbox,
    cancel: &Cancel,
) -> Result<Said, Error> {
    let checkout = view.store.checkout(root)?;
    let argv = [program.as_str(), "--config", view.config.as_str(), "config", "dump"];
    let job = Job {
        argv: argv.map(str::to_owned).to_vec(),
        env: [("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())]
            .into(),
        cwd: GuestPath::root(),
        root: Root::ReadOnly { dir: checkout.path().to_owned() },
        mounts: Vec::new(),
        emulator: None,
        identity: Identity::Builder,
        limits: Limits { time: Duration::from_secs(60), processes: 256, memory: 2 << 30, disk: 1 << 20 },
        known: [(checkout.path().to_owned(), *root)].into(),
        surroundings: Surroundings::default(),
    };
    let mut text = Vec::new();
    let mut output = |part: &[u8]| {
        let room = MAX_TEXT.saturating_sub(text.len());
        text.extend_from_slice(&part[..part.len().min(room)]);
    };
    let finished = sandbox.run(&job, &mut output, cancel).map_err(|source| match source {
        sandbox::Error::Cancelled => Error::Cancelled,
        source => Error::Sandbox { source },
    })?;
    Ok(Said { exit: finished.exit, text: String::from_utf8_lossy(&text).into_owned() })
}

/// Takes the answer apart: the configuration goes to stdout and log lines to stderr, and both come as one.
fn read(said: &Said) -> Dump {
    let is_log = |line: &&str| line.starts_with("time=\"");
    let failed = |last: &str| Dump::Failed {
        exit: said.exit.to_string(),
        // What a program of the image prints must not drive the reader's terminal.
        last: last.trim().replace(char::is_control, " "),
    };
    if !said.exit.is_success() {
        return failed(said.text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default());
    }
    let (log, config): (Vec<&str>, Vec<&str>) = said.text.lines().partition(is_log);
    let config = match Containerd::parse("config dump", config.join("\n").as_bytes()) {
        Ok(config) => config,
        Err(error) => return failed(&error.to_string()),
    };
    let mut warnings: Vec<String> = log.iter().filter_map(|line| unknown_key(line)).collect();
    warnings.dedup();
    Dump::Printed { config, warnings }
}

/// Reads a warning about a key that containerd does not know; names the key and the plugin where it says them.
fn unknown_key(line: &str) -> Option<String> {
    if !line.contains("gnoring unknown key in TOML") {
        return None;
    }
    let field = |name: &str| {
        let rest = line.split_once(&format!(" {name}="))?.1;
        let text = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.chars();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    text.push(if c == '\\' { chars.next()? } else { c });
                }
                text
            }
            None => rest.split(' ').next()?.to_owned(),
        };
        Some(text.replace(char::is_control, " "))
    };
    let key = field("key").map(|key| format!("`{key}`"));
    let plugin = field("plugin").map(|plugin| format!("plugin `{plugin}`"));
    Some(match (key, plugin) {
        (Some(key), Some(plugin)) => format!("{key} of {plugin}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => field("error").unwrap_or_else(|| "it does not say which".to_owned()),
    })
}

/// Makes the root: files that a builder may read, and the links that lead to them.
fn root(view: &View<'_>, files: &[GuestPath]) -> Tree {
    let mut root = Tree::default();
    for file in files {
        carry(view.tree, &mut root, file);
    }
    let cache = GuestPath::new("/etc/ld.so.cache").expect("a constant path");
    carry(view.tree, &mut root, &cache);
    carry(view.tree, &mut root, view.config);
    for file in view.files.iter().flat_map(|files| &files.files) {
        carry(view.tree, &mut root, file);
    }
    root
}

/// Takes a file or an empty folder along, and every link on the way to it.
fn carry(from: &Tree, to: &mut Tree, path: &GuestPath) {
    let found = from.follow_by(path, &mut |link, node| to.insert(link, node.clone()).is_ok());
    match found {
        Some((at, Node::File { digest, meta })) => {
            let mode = if meta.mode & 0o111 == 0 { 0o644 } else { 0o755 };
            drop(to.insert(&at, Node::File { digest: *digest, meta: Meta::root(mode) }));
        }
        Some((at, Node::Dir(_))) if to.get(&at).is_none() => {
            drop(to.insert(&at, Node::Dir(Dir::default())));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of containerd 1.7 and 2.1; 1.6 has none.
    #[test]
    fn warnings_name_the_key() {
        for (line, expected) in [
            (
                r#"time="2026-11-25T06:00:00Z" level=warning msg="Ignoring unknown key in TOML for plugin" error="strict mode: fields in the document are missing in the target struct" key="containerd runtimez" plugin=io.containerd.grpc.v1.cri"#,
                "`containerd runtimez` of plugin `io.containerd.grpc.v1.cri`",
            ),
            (
                r#"time="2026-11-25T06:00:00Z" level=warning msg="Ignoring unknown key in TOML" column=1 error="strict mode" file=/etc/containerd/config.toml key=pluginz row=3"#,
                "`pluginz`",
            ),
            (
                r#"time="x" level=warning msg="Ignoring unknown key in TOML for plugin" error="a \"b\" c""#,
                "a \"b\" c",
            ),
        ] {
            assert_eq!(unknown_key(line).as_deref(), Some(expected));
        }
        assert_eq!(unknown_key(r#"time="x" level=info msg="starting containerd""#), None);
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let said = |code, text: &str| read(&Said { exit: Exit::Code(code), text: text.to_owned() });
        let text = "time=\"x\" level=info msg=hello\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n\
                    default_runtime_name = \"runc\"\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n";
        let Dump::Printed { config, warnings } = said(0, text) else { panic!() };
        assert_eq!(config.handlers.keys().collect::<Vec<_>>(), ["runc"]);
        assert!(warnings.is_empty());
        let failed = |exit: &str, last: &str| Dump::Failed { exit: exit.to_owned(), last: last.to_owned() };
        assert_eq!(
            said(1, "a\ncontainerd: no \x1b[1mTOML\n\n"),
            failed("exit status 1", "containerd: no  [1mTOML")
        );
        assert_eq!(
            said(0, "no TOML"),
            failed(
                "exit status 0",
                "`config dump` of the image is not TOML: key with no value, expected `=`"
            )
        );
    }
}

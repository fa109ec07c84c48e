//! Proves a bundle: the same program builds out of it as another process, with an empty store and without a network.
//!
//! That process has a network namespace of its own, without an interface that is up, so that there is no network even for
//! a fault of nodeimg. An ordinary user gets it in a user namespace of his own, in which he is who he was.

use std::ffi::CString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::UnshareFlags;

use super::{Error, PipelineError, results};
use crate::base::Cancel;
use crate::bundle::{self, Check, Listing, Member, Reader, Take};
use crate::store::Store;

/// How a bundle is tried.
pub struct Proof<'a> {
    /// This program.
    pub program: &'a Path,
    /// The bundles, earlier ones first.
    pub bundles: &'a [PathBuf],
    /// Whether results are made again, to be compared.
    pub from_sources: bool,
    /// What else the build is told.
    pub arguments: &'a [String],
    /// When to stop.
    pub cancel: &'a Cancel,
}

/// What the trial showed.
#[derive(Debug)]
pub struct Proven {
    /// The listing of the last bundle.
    pub listing: Listing,
    /// What the build told: the document of `build --json`.
    pub built: serde_json::Value,
    /// How many results were made again and are the same.
    pub compared: usize,
}

/// Builds out of bundles in an empty store. What the build prints goes to stderr as it comes.
pub fn prove(proof: &Proof<'_>, check: &Check<'_>) -> Result<Proven, PipelineError> {
    let folder = tempfile::Builder::new().prefix("nodeimg-verify-").tempdir();
    let folder =
        folder.map_err(|source| Error::Io { action: "create", path: std::env::temp_dir(), source })?;
    let store = folder.path().join("store");
    let mut build = builder(proof, folder.path(), &store)?;
    let failed = |source| Error::Io { action: "run", path: proof.program.to_owned(), source };
    let mut child = build.spawn().map_err(failed)?;
    let mut stdout = child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).map(|_| text)
    });
    let status = wait(&mut child, proof.cancel).map_err(failed)?;
    let text = reader.join().expect("reading does not panic").map_err(failed)?;
    if proof.cancel.is_cancelled() {
        return Err(bundle::Error::Cancelled.into());
    }
    if !status.success() {
        return Err(Error::NotProven { code: status.code().unwrap_or(-1) }.into());
    }
    let built = serde_json::from_slice(&text).expect("nodeimg's own document");
    let last = proof.bundles.last().expect("at least one bundle is given");
    let (listing, listed) = results_of(last, check, proof.cancel)?;
    let mut compared = 0;
    if proof.from_sources
        && let Some(listed) = listed
    {
        let store = Store::open(&store)?;
        for result in results::read(&listed).map_err(|why| wrong(last, why))? {
            let Some(own) = store.memo(&result.key)? else { continue };
            if own != result.artifact {
                let (step, bundle) = (result.step, last.display().to_string());
                let (expected, received) = (result.artifact.hash, own.hash);
                return Err(Error::Differs { bundle, step, expected, received }.into());
            }
            compared += 1;
        }
    }
    Ok(Proven { listing, built, compared })
}

fn wrong(bundle: &Path, why: String) -> Error {
    Error::Results { bundle: bundle.display().to_string(), why }
}

/// Reads a bundle's listing and the list of its results.
fn results_of(
    path: &Path,
    check: &Check<'_>,
    cancel: &Cancel,
) -> Result<(Listing, Option<Vec<u8>>), PipelineError> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = fs_err::File::open(path).map_err(failed)?;
    let reader = Reader::open(file, &path.display().to_string(), check, cancel)?;
    let mut listed = None;
    let take = |member: &Member| match member.path == bundle::RESULTS {
        true => Take::Give,
        false => Take::Check,
    };
    let mut give = |_: &Member, bytes| {
        listed = Some(bytes);
        Ok(())
    };
    let listing = reader.members(None, &take, &mut give, &mut |_| ())?;
    Ok((listing, listed))
}

/// Prepares the process that builds.
fn builder(proof: &Proof<'_>, folder: &Path, store: &Path) -> Result<Command, Error> {
    #[expect(clippy::disallowed_methods, reason = "it is nodeimg itself, shut off from the network")]
    let mut command = Command::new(proof.program);
    command.env_clear().env("NODEIMG_STORE", store).env("TMPDIR", folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).current_dir(folder);
    command.args(["build", "--lock", "--offline", "--json"]).args(proof.arguments);
    command.arg(if proof.from_sources { "--from-sources" } else { "--trust-unsigned" });
    for bundle in proof.bundles {
        let failed = |source| Error::Io { action: "read", path: bundle.clone(), source };
        command.arg("--bundle").arg(fs_err::canonicalize(bundle).map_err(failed)?);
    }
    let ids = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{0} {0} 1", rustix::process::geteuid().as_raw())),
        ("/proc/self/gid_map", format!("{0} {0} 1", rustix::process::getegid().as_raw())),
    ];
    let ids = ids.map(|(path, text)| (CString::new(path).expect("a constant path"), text));
    let is_root = rustix::process::geteuid().is_root();
    // SAFETY: between fork and exec only system calls are made, on memory that is there already.
    unsafe {
        command.pre_exec(move || {
            if is_root {
                return Ok(rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?);
            }
            rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
            for (path, text) in &ids {
                let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
                let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
                rustix::io::write(&file, text.as_bytes())?;
            }
            Ok(())
        });
    }
    Ok(command)
}

/// Waits for a process, which is asked to stop when we are.
fn wait(child: &mut Child, cancel: &Cancel) -> std::io::Result<std::process::ExitStatus> {
    let mut is_asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if cancel.is_cancelled() && !is_asked {
            is_asked = true;
            if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

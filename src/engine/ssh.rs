//! An engine behind ssh, as a socket of this machine.
//!
//! Every connection to the socket is handed to an `ssh … docker system dial-stdio` of its own, whose standard streams it
//! becomes: nodeimg copies no byte. The program is the one on the user's `PATH`, with his environment, settings and
//! agent; it can't ask for a password, because nobody is there to ask.
//!
//! (`bollard` has a feature for ssh. It wants one more crate, starts a new master connection for each request all the
//! same, and Docker's own programs could not share it.)

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

/// A socket that leads to an engine elsewhere, as long as this lives.
#[derive(Debug)]
pub(super) struct Tunnel {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    /// What `ssh` printed besides.
    complaints: Arc<std::fs::File>,
}

impl Tunnel {
    /// Opens a socket that leads to `[user@]host[:port]`.
    pub(super) fn open(destination: &str) -> std::io::Result<Tunnel> {
        let arguments = arguments(destination)
            .ok_or_else(|| std::io::Error::other("not of the form `ssh://user@host:port`"))?;
        // Private to the user, as is what it leads to.
        let folder = tempfile::Builder::new().prefix("nodeimg-ssh-").tempdir()?;
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket)?;
        let complaints = Arc::new(tempfile::tempfile()?);
        let errors = Arc::clone(&complaints);
        std::thread::Builder::new().spawn(move || {
            // Ends with the program.
            for connection in listener.incoming().flatten() {
                let started = start(&arguments, connection, &errors);
                if let Err(error) = started {
                    let _ = rustix::io::write(&*errors, format!("cannot run `ssh`: {error}\n").as_bytes());
                }
            }
        })?;
        Ok(Tunnel { _folder: folder, socket, complaints })
    }

    /// Tells where the socket is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Gives the last line that `ssh` printed.
    pub(super) fn complaint(&self) -> Option<String> {
        let mut text = String::new();
        let mut file = &*self.complaints;
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
    }
}

/// Gives `ssh`'s arguments. A destination never is an option.
fn arguments(destination: &str) -> Option<Vec<String>> {
    let (who, port) = match destination.trim_end_matches('/').rsplit_once(':') {
        Some((who, port)) if port.parse::<u16>().is_ok() => (who, Some(port)),
        Some(_) => return None,
        None => (destination.trim_end_matches('/'), None),
    };
    if who.is_empty() || who.starts_with('-') || who.contains(['/', ' ']) {
        return None;
    }
    let mut arguments = vec!["-o".to_owned(), "BatchMode=yes".to_owned(), "-T".to_owned()];
    arguments.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_owned()]));
    arguments.extend(["--", who, "docker", "system", "dial-stdio"].map(str::to_owned));
    Some(arguments)
}

fn start(arguments: &[String], connection: UnixStream, errors: &std::fs::File) -> std::io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "it is the user's own way to another machine")]
    let mut command = std::process::Command::new("ssh");
    let mut child = command
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(connection.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(connection)))
        .stderr(Stdio::from(errors.try_clone()?))
        // Ctrl-C is for nodeimg, which still has something to say to the engine then.
        .process_group(0)
        .spawn()?;
    std::thread::Builder::new().spawn(move || child.wait())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn destinations_become_arguments_and_never_options() {
        let text = |destination| arguments(destination).map(|arguments| arguments.join(" "));
        let to = |rest: &str| Some(format!("-o BatchMode=yes -T {rest} docker system dial-stdio"));
        assert_eq!(text("elsewhere"), to("-- elsewhere"));
        assert_eq!(text("me@elsewhere:2222/"), to("-p 2222 -- me@elsewhere"));
        assert_eq!(text("-oProxyCommand=x"), None);
        assert_eq!(text("host:x"), None);
        assert_eq!(text("host/path"), None);
        assert_eq!(text(""), None);
    }
}

//! Runtimes that stand where containerd does not look for them: what "no runtime for … is configured" mostly is.

use super::dump::Dump;
use super::{Checked, Error, Gate, View};

pub(super) const GATE: Gate = Gate {
    name: "config",
    about: "runtimes stand below the plugin that a file of this version has them in",
    check,
};

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let files = match &view.files {
        Ok(files) => files,
        Err(reason) => {
            let hint = "`containerd --config FILE config dump` reads it again";
            return Ok(Checked::all(&GATE, [(view.config.to_string(), reason.clone(), hint.to_owned())]));
        }
    };
    // What containerd has it did find, whatever the file looks like.
    let is_read =
        |handler: &str| matches!(view.dump, Dump::Printed { .. }) && view.handlers().contains_key(handler);
    let misplaced = files.misplaced.iter().filter(|one| !is_read(&one.handler));
    Ok(Checked::all(&GATE, misplaced.map(|one| {
        let (file, version, handler) = (&one.file, one.version, &one.handler);
        match &one.wanted {
            Some(wanted) => (
                handler.clone(),
                format!("runtime `{handler}` stands below `{}` in `{file}`, which has version {version}, where containerd reads `{wanted}`", one.plugin),
                format!("write `[plugins.\"{wanted}\".containerd.runtimes.{handler}]`"),
            ),
            None => (
                handler.clone(),
                format!("`{file}` has version {version}, which no containerd reads"),
                "containerd reads versions 1 to 4; `containerd config migrate` converts a file".to_owned(),
            ),
        }
    })))
}

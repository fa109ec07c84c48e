//! What the image's own containerd makes of its configuration.

use super::dump::Dump;
use super::{Checked, Error, Gate, View};

pub(super) const GATE: Gate = Gate {
    name: "containerd",
    about: "the image's own containerd has every runtime and knows every key",
    check,
};

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let config = view.config;
    let (dumped, warnings) = match &view.dump {
        Dump::LeftOut(why) => return Ok(Checked::LeftOut(why.clone())),
        Dump::Absent => {
            let message = "there is no `containerd` on the `PATH` of the image's services".to_owned();
            let hint = "add the package that brings it".to_owned();
            return Ok(Checked::all(&GATE, [("containerd".to_owned(), message, hint)]));
        }
        Dump::Failed { exit, last } => {
            let message = format!("the image's containerd can't read `{config}` ({exit}): {last}");
            let hint = "mend the file; nothing starts on a node whose containerd does not".to_owned();
            return Ok(Checked::all(&GATE, [(config.to_string(), message, hint)]));
        }
        Dump::Printed { config, warnings } => (config, warnings),
    };
    let mut found = Vec::new();
    for warning in warnings {
        let message = format!("the image's containerd does not know a key of `{config}`: {warning}");
        let hint = "take the key out, or write it as this containerd's version has it".to_owned();
        found.push((config.to_string(), message, hint));
    }
    // containerd 1.6 drops what it does not know without a word; what it knows it prints, set or not.
    for (handler, own) in view.files.iter().flat_map(|files| &files.handlers) {
        let Some(known) = dumped.handlers.get(handler) else { continue };
        let is_dropped = |key: &&String| {
            !known.keys.contains(key) && !warnings.iter().any(|warning| warning.contains(key.as_str()))
        };
        for key in own.keys.iter().filter(is_dropped) {
            found.push((
                handler.clone(),
                format!("the image's containerd does not know `{key}` of runtime `{handler}` in `{config}`"),
                "look for a typing error; this containerd may also be older or newer than the key".to_owned(),
            ));
        }
    }
    let mut wanted: Vec<&str> = Vec::new();
    if let Ok(files) = &view.files {
        wanted.extend(files.handlers.keys().map(String::as_str));
    }
    let own = view.node.into_iter().flat_map(|node| &node.runtimes);
    wanted.extend(own.map(|runtime| runtime.handler.as_str()));
    wanted.sort_unstable();
    wanted.dedup();
    // The reason is known there, and told.
    let told = |handler: &str| {
        let files = view.files.as_ref().ok();
        files.is_some_and(|files| files.misplaced.iter().any(|one| one.handler == handler))
    };
    for handler in
        wanted.into_iter().filter(|&handler| !dumped.handlers.contains_key(handler) && !told(handler))
    {
        found.push((
            handler.to_owned(),
            format!("the image's containerd has no runtime `{handler}` after reading `{config}`"),
            "pods that ask for it would get \"no runtime for … is configured\"".to_owned(),
        ));
    }
    if let Some(default) = dumped.default.as_ref().filter(|default| !dumped.handlers.contains_key(*default)) {
        found.push((
            default.clone(),
            format!("the default runtime `{default}` is none of the image's runtimes"),
            "set `default_runtime_name` to one that is there".to_owned(),
        ));
    }
    Ok(Checked::all(&GATE, found))
}

//! Shims and OCI runtimes that are missing, or can't be executed.

use super::view::Program;
use super::{Checked, Error, Gate, View};
use crate::base::GuestPath;
use crate::store::Node;

pub(super) const GATE: Gate =
    Gate { name: "programs", about: "every handler's shim, program and base runtime spec are there", check };

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let mut found = Vec::new();
    for (name, handler) in view.handlers() {
        let look = |what: &str, program: &str, found: &mut Vec<_>| {
            let message = match view.find(program) {
                Program::There(_) => return,
                Program::NotExecutable(at) => {
                    let hint = format!("`chmod +x {at}` where it is made");
                    found.push((
                        name.clone(),
                        format!("`{at}`, the {what} of runtime `{name}`, is not executable"),
                        hint,
                    ));
                    return;
                }
                Program::Missing if program.starts_with('/') => {
                    format!("`{program}`, the {what} of runtime `{name}`, is not in the image")
                }
                Program::Missing => {
                    format!(
                        "`{program}`, the {what} of runtime `{name}`, is not on containerd's `PATH` in the image"
                    )
                }
            };
            let hint = "add the package that brings it; containerd looks in `/usr/local/bin` and the like";
            found.push((name.clone(), message, hint.to_owned()));
        };
        match view.shim(handler) {
            Some(shim) => look("shim", &shim, &mut found),
            None => found.push((
                name.clone(),
                format!("runtime `{name}` has the `runtime_type` `{}`, which names no shim", handler.kind),
                "write it as `io.containerd.NAME.v2`".to_owned(),
            )),
        }
        if let Some(binary) = view.binary(handler) {
            look("program", &binary, &mut found);
        }
        if let Some(spec) = &handler.base_spec {
            let is_there = GuestPath::new(spec).ok().and_then(|path| view.tree.follow(&path));
            if !matches!(is_there, Some((_, Node::File { .. }))) {
                found.push((
                    name.clone(),
                    format!("`{spec}`, the base runtime spec of runtime `{name}`, is not in the image"),
                    "`ctr oci spec` prints one to start from".to_owned(),
                ));
            }
        }
    }
    Ok(Checked::all(&GATE, found))
}

//! Shims and OCI runtimes that the image's loader could not start.

use std::collections::BTreeSet;

use super::view::Program;
use super::{Checked, Error, Gate, View};

pub(super) const GATE: Gate = Gate {
    name: "libraries",
    about: "every handler's programs find their libraries, in versions that fit",
    check,
};

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let mut found = Vec::new();
    let mut said = BTreeSet::new();
    for (name, handler) in view.handlers() {
        let described = view.node.and_then(|node| node.runtimes.iter().find(|own| own.handler == *name));
        let loads = described.map_or(&[][..], |own| &own.loads);
        let binary = view.binary(handler);
        // Whoever runs the guest opens the engine: the program that the shim calls, or the shim itself.
        let (shims, programs) = match &binary {
            Some(binary) => (view.shim(handler), Some((binary.clone(), loads))),
            None => (None, view.shim(handler).map(|shim| (shim, loads))),
        };
        for (program, loads) in shims.into_iter().map(|shim| (shim, &[][..])).chain(programs) {
            let Program::There(_) = view.find(&program) else { continue };
            let Some(path) = view.path_of(&program) else { continue };
            for fault in view.loader.closure(&path, loads)?.faults {
                // Handlers share programs.
                if said.insert(fault.1.clone()) {
                    found.push(fault);
                }
            }
        }
    }
    Ok(Checked::all(&GATE, found))
}

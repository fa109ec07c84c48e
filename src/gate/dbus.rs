//! Cgroups over systemd without a bus to ask it over.

use super::view::Program;
use super::{Checked, Error, Gate, View};
use crate::base::GuestPath;
use crate::store::Node;

pub(super) const GATE: Gate =
    Gate { name: "dbus", about: "a runtime that asks systemd for cgroups over D-Bus finds one", check };

/// What brings a system bus.
const BUSES: [&str; 4] = [
    "/usr/bin/dbus-daemon",
    "/usr/bin/dbus-broker",
    "/usr/lib/systemd/system/dbus.socket",
    "/lib/systemd/system/dbus.socket",
];

/// runc asks systemd on its private socket. Others have the bus of libsystemd, or of their own.
fn asks_a_bus(view: &View<'_>, path: &GuestPath) -> Result<bool, Error> {
    let needs = view.loader.closure(path, &[])?.needed;
    if needs.iter().any(|library| library.starts_with("libsystemd.so") || library.starts_with("libdbus-1.so"))
    {
        return Ok(true);
    }
    let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    let bytes = view.read(path)?.unwrap_or_default();
    Ok(has(&bytes, b"org.freedesktop.systemd1") && !has(&bytes, b"Go buildinf:"))
}

fn check(view: &View<'_>) -> Result<Checked, Error> {
    let is_there = |path: &&str| {
        let path = GuestPath::new(path).expect("a constant path");
        matches!(view.tree.follow(&path), Some((_, Node::File { .. })))
    };
    if BUSES.iter().any(is_there) {
        return Ok(Checked::all(&GATE, []));
    }
    let mut found = Vec::new();
    for (name, handler) in view.handlers().iter().filter(|(_, handler)| handler.systemd_cgroup) {
        let Some(binary) = view.binary(handler) else { continue };
        let Program::There(at) = view.find(&binary) else { continue };
        if asks_a_bus(view, &at)? {
            found.push((
                name.clone(),
                format!(
                    "runtime `{name}` has `SystemdCgroup = true`, for which `{at}` asks systemd over D-Bus, and the image has no D-Bus"
                ),
                "add the package `dbus`, or set `SystemdCgroup = false`".to_owned(),
            ));
        }
    }
    Ok(Checked::all(&GATE, found))
}

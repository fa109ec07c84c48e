//! What containerd reads out of its `config.toml` and out of the files that it imports: of any image, not only of one
//! that nodeimg made. Nothing is changed and nothing is refused that containerd would take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Error;
use crate::base::GuestPath;

/// The plugins that runtimes have been below, and the `version` of the files that they are looked for in.
const PLUGINS: [(&str, &[i64]); 3] =
    [("cri", &[1]), ("io.containerd.grpc.v1.cri", &[2]), ("io.containerd.cri.v1.runtime", &[3, 4])];

/// How deep files are imported.
const MAX_IMPORTS: usize = 64;

/// containerd's configuration, as far as it is about runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Containerd {
    /// The file's `version`; 1 where it says none.
    pub version: i64,
    /// The handler of pods that ask for none.
    pub default: Option<String>,
    /// The handlers that are where containerd looks for them.
    pub handlers: BTreeMap<String, Handler>,
    /// Handlers below a plugin that containerd does not look at in a file of this version.
    pub misplaced: Vec<Misplaced>,
    /// The files that were read, in order.
    pub files: Vec<GuestPath>,
    imports: Vec<String>,
}

/// A handler as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handler {
    /// `runtime_type`; empty where there is none.
    pub kind: String,
    /// `runtime_path`: the shim.
    pub path: Option<String>,
    /// `options.BinaryName`: the program that the shim calls.
    pub binary: Option<String>,
    /// `options.SystemdCgroup`.
    pub systemd_cgroup: bool,
    /// `base_runtime_spec`.
    pub base_spec: Option<String>,
    /// `pod_annotations`.
    pub pod_annotations: Vec<String>,
    /// Every key that its table has.
    pub keys: Vec<String>,
}

/// A handler in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misplaced {
    /// The file.
    pub file: String,
    /// The file's `version`.
    pub version: i64,
    /// The plugin that it stands below.
    pub plugin: String,
    /// The plugin that it should stand below, if there is such a version.
    pub wanted: Option<String>,
    /// The handler.
    pub handler: String,
}

impl Containerd {
    /// Reads one text; `path` is for errors.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, Error> {
        let broken = |reason: String| Error::Toml { path: path.to_owned(), reason };
        let text = std::str::from_utf8(text).map_err(|error| broken(error.to_string()))?;
        let table: Table =
            text.parse().map_err(|error: toml::de::Error| broken(error.message().to_owned()))?;
        let version = table.get("version").map_or(Some(1), Value::as_integer).ok_or_else(|| {
            Error::Shape { path: path.to_owned(), key: "version".to_owned(), wanted: "number" }
        })?;
        let mut read = Self { version, ..Self::default() };
        read.imports = strings(table.get("imports"));
        let wanted = PLUGINS.iter().find(|(_, versions)| versions.contains(&version)).map(|(name, _)| *name);
        for (plugin, _) in PLUGINS {
            let containerd =
                table.get("plugins").and_then(|all| all.get(plugin)).and_then(|own| own.get("containerd"));
            let Some(containerd) = containerd else { continue };
            let runtimes = containerd.get("runtimes").and_then(Value::as_table);
            let runtimes = runtimes.into_iter().flatten().filter_map(|(name, value)| {
                value.as_table().map(|table| (name.clone(), Handler::read(table)))
            });
            if wanted == Some(plugin) {
                read.default = text_of(containerd.get("default_runtime_name"));
                read.handlers.extend(runtimes);
            } else {
                let misplaced = runtimes.map(|(handler, _)| Misplaced {
                    file: path.to_owned(),
                    version,
                    plugin: plugin.to_owned(),
                    wanted: wanted.map(str::to_owned),
                    handler,
                });
                read.misplaced.extend(misplaced);
            }
        }
        Ok(read)
    }

    /// Reads a file and all that it imports. `read` gives a file of the image, `list` the names in a folder.
    pub fn load(
        path: &GuestPath,
        read: &dyn Fn(&GuestPath) -> Option<Vec<u8>>,
        list: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<Self, Error> {
        let text = read(path).ok_or_else(|| Error::NoFile { path: path.to_string() })?;
        let mut all = Self::parse(path.as_str(), &text)?;
        all.files.push(path.clone());
        let mut open: Vec<GuestPath> = imported(path, &all.imports, list);
        open.reverse();
        while let Some(path) = open.pop().filter(|_| all.files.len() < MAX_IMPORTS) {
            if all.files.contains(&path) {
                continue;
            }
            let Some(text) = read(&path) else { continue };
            let one = Self::parse(path.as_str(), &text)?;
            all.default = one.default.or(all.default);
            all.handlers.extend(one.handlers);
            all.misplaced.extend(one.misplaced);
            let mut next = imported(&path, &one.imports, list);
            next.reverse();
            open.extend(next);
            all.files.push(path);
        }
        Ok(all)
    }
}

impl Handler {
    fn read(table: &Table) -> Self {
        let options = table.get("options");
        let option = |key: &str| options.and_then(|options| options.get(key));
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            kind: text_of(table.get("runtime_type")).unwrap_or_default(),
            path: filled(text_of(table.get("runtime_path"))),
            binary: filled(text_of(option("BinaryName"))),
            systemd_cgroup: option("SystemdCgroup").and_then(Value::as_bool).unwrap_or_default(),
            base_spec: filled(text_of(table.get("base_runtime_spec"))),
            pod_annotations: strings(table.get("pod_annotations")),
            keys: table.keys().cloned().collect(),
        }
    }
}

fn text_of(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Lists the files that a file imports: paths, a relative one from the file's folder, whose last part may be a pattern.
fn imported(file: &GuestPath, imports: &[String], list: &dyn Fn(&str) -> Vec<String>) -> Vec<GuestPath> {
    let folder = file.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for import in imports {
        let full = if import.starts_with('/') { import.clone() } else { format!("{folder}/{import}") };
        let (folder, pattern) = full.rsplit_once('/').unwrap_or(("", &full));
        let mut names = list(folder);
        names.sort();
        names.retain(|name| super::pattern::matches(pattern, name) == Some(true));
        found.extend(names.iter().filter_map(|name| GuestPath::new(&format!("{folder}/{name}")).ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GuestPath {
        GuestPath::new(text).unwrap()
    }

    #[test]
    fn a_file_is_read_with_what_it_imports() {
        let read = |at: &GuestPath| {
            let text = match at.as_str() {
                "/etc/containerd/config.toml" => {
                    "version = 2\nimports = [\"conf.d/*.toml\", \"/etc/none.toml\"]\n\
                     [plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"runc\"\n\
                     [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
                     runtime_type = \"io.containerd.runc.v2\"\noptions.SystemdCgroup = true\n"
                }
                "/etc/containerd/conf.d/a.toml" => {
                    "version = 3\nimports = [\"../config.toml\"]\n\
                     [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.spin]\n\
                     runtime_type = \"io.containerd.spin.v2\"\npod_annotations = [\"a/*\"]\n"
                }
                "/etc/containerd/conf.d/b.toml" => {
                    "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.lost]\n"
                }
                _ => return None,
            };
            Some(text.as_bytes().to_vec())
        };
        let list = |folder: &str| match folder {
            "/etc/containerd/conf.d" => ["b.toml", "a.toml", "c.txt"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        let all = Containerd::load(&path("/etc/containerd/config.toml"), &read, &list).unwrap();
        assert_eq!((all.version, all.default.as_deref()), (2, Some("runc")));
        assert_eq!(all.handlers.keys().collect::<Vec<_>>(), ["runc", "spin"]);
        assert!(all.handlers["runc"].systemd_cgroup);
        assert_eq!(all.handlers["spin"].pod_annotations, ["a/*"]);
        let [lost] = all.misplaced.as_slice() else { panic!("{:?}", all.misplaced) };
        assert_eq!((lost.version, lost.handler.as_str(), lost.wanted.as_deref()), (1, "lost", Some("cri")));
        assert_eq!(all.files.len(), 3);
    }
}

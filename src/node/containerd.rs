//! containerd's `config.toml`: parsed, and runtimes put into it in the version that it speaks.
//!
//! What is there stays byte for byte ([`insert`]), comments and spelling too: kind's entrypoint edits some lines with
//! sed. Runtimes live below the CRI plugin, whose name depends on the file's `version`: 2 (containerd 1.x; 2.x migrates
//! it) `io.containerd.grpc.v1.cri`, 3 and 4 `io.containerd.cri.v1.runtime` (containerd's docs/cri/config.md). The file
//! is never appended to without a look: a table that comes twice makes containerd refuse to start. Nor is a drop-in
//! written: whether one is read, and what it leaves of this file, differs between containerd's releases.

use std::collections::BTreeMap;

use toml_edit::{Array, Document, Item, TableLike, Value};

use super::insert::{Entry, Fault, insert};
use super::survey::Bound;
use super::{Error, OptionValue, Runtime};
use crate::base::GuestPath;

/// The names that the CRI plugin's settings have had, by `version`: 1; 2; 3 and 4.
const PLUGINS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// A parsed configuration.
pub(super) struct Config {
    path: String,
    document: Document<String>,
    plugin: &'static str,
    version: i64,
}

impl Config {
    /// Parses `text`, the content of `path`.
    pub(super) fn parse(path: &str, text: &[u8]) -> Result<Self, Error> {
        let document = document(path, text)?;
        let version = version(path, &document)?;
        let plugin = match version {
            None | Some(1) => return Err(Error::NoVersion { path: path.to_owned() }),
            Some(2) => "io.containerd.grpc.v1.cri",
            Some(3 | 4) => "io.containerd.cri.v1.runtime",
            Some(version) => return Err(Error::ConfigVersion { path: path.to_owned(), version }),
        };
        let version = version.expect("it is one of these");
        Ok(Self { path: path.to_owned(), document, plugin, version })
    }

    /// Tells the file's `version`.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Gives the default handler and what each handler is.
    pub(super) fn bound(&self) -> (String, BTreeMap<String, Bound>) {
        let text = |item: Option<&Item>| item.and_then(Item::as_str).map(str::to_owned);
        let bound = |runtime: &Item| Bound {
            kind: text(runtime.get("runtime_type")).unwrap_or_default(),
            binary: text(runtime.get("options").and_then(|options| options.get("BinaryName"))),
        };
        let runtimes = self.containerd().and_then(|containerd| containerd.get("runtimes"));
        let runtimes = runtimes.and_then(Item::as_table_like).into_iter().flat_map(|table| table.iter());
        let all = runtimes.map(|(handler, runtime)| (handler.to_owned(), bound(runtime))).collect();
        (self.default_name().to_owned(), all)
    }

    /// Finds the base runtime spec of the default runtime.
    pub(super) fn default_base_spec(&self) -> Result<Option<GuestPath>, Error> {
        let Some(spec) = self.default_runtime().and_then(|runtime| runtime.get("base_runtime_spec")) else {
            return Ok(None);
        };
        spec.as_str()
            .and_then(|path| GuestPath::new(path).ok())
            .map(Some)
            .ok_or_else(|| self.shape("base_runtime_spec", "absolute path"))
    }

    /// Errs if no pod can start, whatever the runtimes are.
    pub(super) fn check(&self) -> Result<(), Error> {
        let disabled = self.document.get("disabled_plugins").and_then(Item::as_array);
        let mut disabled = disabled.into_iter().flatten().filter_map(Value::as_str);
        if disabled.any(|plugin| PLUGINS.contains(&plugin)) {
            return Err(Error::Disabled { path: self.path.clone() });
        }
        Ok(())
    }

    /// Gives the patterns of the files that containerd reads after this one.
    pub(super) fn imports(&self) -> Result<Vec<String>, Error> {
        imports(&self.path, &self.document)
    }

    /// Adds a runtime, its base spec at `spec`.
    pub(super) fn add(&mut self, runtime: &Runtime, spec: Option<&GuestPath>) -> Result<(), Error> {
        let path = ["plugins", self.plugin, "containerd", "runtimes"];
        let fault = |fault| match fault {
            Fault::Taken => Error::HandlerTaken { path: self.path.clone(), handler: runtime.handler.clone() },
            Fault::NoTable(depth) => self.shape(&path[..depth].join("."), "table"),
        };
        let text = insert(self.document.raw(), &path, &runtime.handler, &self.entry(runtime, spec))
            .map_err(fault)?;
        self.document = Document::parse(text).expect("it was proved to be TOML");
        Ok(())
    }

    /// Says what a runtime is.
    fn entry(&self, runtime: &Runtime, spec: Option<&GuestPath>) -> Entry {
        let systemd_cgroup = self
            .default_runtime()
            .and_then(|default| default.get("options"))
            .and_then(|options| options.get("SystemdCgroup"))
            .and_then(Item::as_bool);
        let mut values = vec![("runtime_type".to_owned(), Value::from(&runtime.kind))];
        if let Some(spec) = spec {
            values.push(("base_runtime_spec".to_owned(), spec.as_str().into()));
        }
        if !runtime.pod_annotations.is_empty() {
            let patterns = runtime.pod_annotations.iter().collect::<Array>();
            values.push(("pod_annotations".to_owned(), patterns.into()));
        }
        let mut options: Vec<(String, Value)> = Vec::new();
        if let Some(binary) = &runtime.binary {
            options.push(("BinaryName".to_owned(), binary.as_str().into()));
            let own = runtime.options.contains_key("SystemdCgroup");
            if let (Some(systemd_cgroup), false) = (systemd_cgroup, own) {
                options.push(("SystemdCgroup".to_owned(), systemd_cgroup.into()));
            }
        }
        for (key, option) in &runtime.options {
            let value = match option {
                OptionValue::Bool(v) => Value::from(*v),
                OptionValue::Integer(v) => Value::from(*v),
                OptionValue::String(v) => Value::from(v),
            };
            match options.iter_mut().find(|(other, _)| other == key) {
                Some((_, there)) => *there = value,
                None => options.push((key.clone(), value)),
            }
        }
        let tables = if options.is_empty() { Vec::new() } else { vec![("options".to_owned(), options)] };
        Entry { values, tables }
    }

    /// Gives the file's text.
    pub(super) fn render(&self) -> Vec<u8> {
        self.document.raw().as_bytes().to_vec()
    }

    fn shape(&self, key: &str, wanted: &'static str) -> Error {
        Error::Shape { path: self.path.clone(), key: key.to_owned(), wanted }
    }

    fn default_runtime(&self) -> Option<&dyn TableLike> {
        self.containerd()?.get("runtimes")?.get(self.default_name())?.as_table_like()
    }

    fn default_name(&self) -> &str {
        let name = self.containerd().and_then(|containerd| containerd.get("default_runtime_name"));
        name.and_then(Item::as_str).unwrap_or("runc")
    }

    fn containerd(&self) -> Option<&Item> {
        self.document.get("plugins")?.get(self.plugin)?.get("containerd")
    }
}

/// What an imported file is to the one that imports it.
pub(super) struct Imported {
    /// Its `version`.
    pub(super) version: i64,
    /// Whether it has settings of the CRI plugin.
    pub(super) sets_cri: bool,
    /// The patterns of the files that it imports itself.
    pub(super) imports: Vec<String>,
}

impl Imported {
    /// Parses `text`, the content of `path`.
    pub(super) fn parse(path: &str, text: &[u8]) -> Result<Self, Error> {
        let document = document(path, text)?;
        let plugins = document.get("plugins").and_then(Item::as_table_like);
        Ok(Self {
            version: version(path, &document)?.unwrap_or(1),
            sets_cri: plugins.is_some_and(|all| PLUGINS.iter().any(|plugin| all.contains_key(plugin))),
            imports: imports(path, &document)?,
        })
    }
}

fn document(path: &str, text: &[u8]) -> Result<Document<String>, Error> {
    let broken = |reason: String| Error::Toml { path: path.to_owned(), reason };
    let text = String::from_utf8(text.to_vec()).map_err(|error| broken(error.to_string()))?;
    Document::parse(text).map_err(|error: toml_edit::TomlError| broken(error.message().to_owned()))
}

fn version(path: &str, document: &Document<String>) -> Result<Option<i64>, Error> {
    let number = |item: &Item| {
        let shape = || Error::Shape { path: path.to_owned(), key: "version".to_owned(), wanted: "number" };
        item.as_integer().ok_or_else(shape)
    };
    document.get("version").map(number).transpose()
}

fn imports(path: &str, document: &Document<String>) -> Result<Vec<String>, Error> {
    let shape = || Error::Shape { path: path.to_owned(), key: "imports".to_owned(), wanted: "list of files" };
    let Some(list) = document.get("imports") else { return Ok(Vec::new()) };
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(shape);
    list.as_array().ok_or_else(shape)?.iter().map(text).collect()
}

//! containerd's `config.toml`: parsed, merged and written again in the version that it speaks.
//!
//! What is there stays as it stands, comments and spelling too (kind's entrypoint edits some lines with
//! sed). Runtimes live below the CRI plugin, whose name depends on the file's `version`:
//! 2 (containerd 1.x; 2.x migrates it) `io.containerd.grpc.v1.cri`, 3 and 4 `io.containerd.cri.v1.runtime`
//! (containerd's docs/cri/config.md). The file is never appended to as text: a table that comes twice makes
//! containerd refuse to start.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use super::survey::Bound;
use super::{Error, OptionValue, Runtime};
use crate::base::GuestPath;

/// A parsed configuration.
pub(super) struct Config {
    path: String,
    document: DocumentMut,
    plugin: &'static str,
    version: i64,
}

impl Config {
    /// Parses `text`, the content of `path`.
    pub(super) fn parse(path: &str, text: &[u8]) -> Result<Self, Error> {
        let broken = |reason: String| Error::Toml { path: path.to_owned(), reason };
        let text = std::str::from_utf8(text).map_err(|error| broken(error.to_string()))?;
        let document: DocumentMut =
            text.parse().map_err(|error: toml_edit::TomlError| broken(error.message().to_owned()))?;
        let version = document.get("version").map_or(Some(1), Item::as_integer).ok_or_else(|| {
            Error::Shape { path: path.to_owned(), key: "version".to_owned(), wanted: "number" }
        })?;
        let plugin = match version {
            2 => "io.containerd.grpc.v1.cri",
            3 | 4 => "io.containerd.cri.v1.runtime",
            version => return Err(Error::ConfigVersion { path: path.to_owned(), version }),
        };
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

    /// Adds a runtime, its base spec at `spec`.
    pub(super) fn add(&mut self, runtime: &Runtime, spec: Option<&GuestPath>) -> Result<(), Error> {
        let systemd_cgroup = self
            .default_runtime()
            .and_then(|default| default.get("options"))
            .and_then(|options| options.get("SystemdCgroup"))
            .and_then(Item::as_bool);
        let mut table = Table::new();
        table["runtime_type"] = value(&runtime.kind);
        if let Some(spec) = spec {
            table["base_runtime_spec"] = value(spec.as_str());
        }
        if !runtime.pod_annotations.is_empty() {
            table["pod_annotations"] = value(runtime.pod_annotations.iter().collect::<Array>());
        }
        let mut options = Table::new();
        if let Some(binary) = &runtime.binary {
            options["BinaryName"] = value(binary.as_str());
            if let Some(systemd_cgroup) = systemd_cgroup {
                options["SystemdCgroup"] = value(systemd_cgroup);
            }
        }
        for (key, option) in &runtime.options {
            options[key] = value(match option {
                OptionValue::Bool(v) => Value::from(*v),
                OptionValue::Integer(v) => Value::from(*v),
                OptionValue::String(v) => Value::from(v),
            });
        }
        if !options.is_empty() {
            table["options"] = Item::Table(options);
        }
        let runtimes = self.runtimes()?;
        if runtimes.contains_key(&runtime.handler) {
            return Err(Error::HandlerTaken { path: self.path.clone(), handler: runtime.handler.clone() });
        }
        runtimes.insert(&runtime.handler, Item::Table(table));
        Ok(())
    }

    /// Writes the file.
    pub(super) fn render(&self) -> Vec<u8> {
        self.document.to_string().into_bytes()
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

    /// Goes down to `plugins.<cri>.containerd.runtimes`, making what is missing.
    fn runtimes(&mut self) -> Result<&mut dyn TableLike, Error> {
        let path = ["plugins", self.plugin, "containerd", "runtimes"];
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for (depth, key) in path.iter().enumerate() {
            let item = table.entry(key).or_insert_with(|| {
                let mut made = Table::new();
                made.set_implicit(true);
                Item::Table(made)
            });
            table = item.as_table_like_mut().ok_or_else(|| Error::Shape {
                path: self.path.clone(),
                key: path[..=depth].join("."),
                wanted: "table",
            })?;
        }
        Ok(table)
    }
}

//! `nodeimg catalog`: the node images that were built, and what is in them.

use serde_json::json;

use super::arguments;
use super::failure::{Failure, Problem};
use super::session::Session;
use super::text;
use crate::pipeline::{self, Catalog};

pub(super) fn run(session: &Session, command: &arguments::Catalog) -> Result<i32, Failure> {
    if command.schema {
        text::json(&pipeline::catalog_schema())?;
        return Ok(0);
    }
    let out = command.out.clone().unwrap_or_else(|| session.common.project.join("out"));
    let path = out.join(pipeline::CATALOG);
    let catalog = pipeline::catalog(&path).ok_or_else(|| Problem::NoCatalog(path.display().to_string()))?;
    if session.common.json {
        text::json(&json!(catalog))?;
    } else {
        text::out(&table(&catalog))?;
    }
    Ok(0)
}

/// A row a runtime; what is the image's own stands in the first row of each.
fn table(catalog: &Catalog) -> String {
    let head = ["IMAGE", "DIGEST", "KUBERNETES", "KIND", "CONTAINERD", "HANDLER", "RUNTIMECLASS", "MADE OF"];
    let mut rows = vec![head.map(str::to_owned)];
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    for image in catalog.images.values() {
        let containerd = image.containerd.version.clone().unwrap_or_else(|| "?".to_owned());
        let mut own = [
            image.reference.clone(),
            image.digest.chars().take("sha256:".len() + 12).collect(),
            image.kubernetes.clone(),
            or_dash(image.kind.join(",")),
            format!("{containerd} (config {})", image.containerd.config_version),
        ];
        for (handler, runtime) in &image.runtimes {
            let packages: Vec<_> =
                runtime.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
            let default = if *handler == image.default_runtime { " (default)" } else { "" };
            let [a, b, c, d, e] = own;
            let class = or_dash(runtime.runtime_class.clone().unwrap_or_default());
            rows.push([a, b, c, d, e, format!("{handler}{default}"), class, or_dash(packages.join(", "))]);
            own = [const { String::new() }; 5];
        }
    }
    text::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_reads_like_a_table() {
        let catalog: Catalog = serde_json::from_value(json!({
            "version": 1,
            "images": { "node": {
                "reference": "nodeimg/node:1",
                "digest": "sha256:0123456789abcdef0123",
                "platforms": ["linux/amd64"],
                "kubernetes": "1.20.2",
                "kind": ["0.20.0", "0.27.0"],
                "containerd": { "version": "1.6.20", "package": "1.6.20~ds1-1", "config-version": 2 },
                "default-runtime": "runc",
                "runtimes": {
                    "crun-wasmtime": {
                        "type": "io.containerd.runc.v2", "binary": "/usr/local/bin/crun", "runtime-class": "wasm",
                        "packages": { "crun": "1.21", "wasmtime-c-api": "25.0.0" },
                    },
                    "runc": {
                        "type": "io.containerd.runc.v2", "binary": null, "runtime-class": null,
                        "packages": { "runc": "1.1.5" },
                    },
                },
            } },
        }))
        .unwrap();
        let expected = "\
IMAGE           DIGEST               KUBERNETES  KIND           CONTAINERD         HANDLER         RUNTIMECLASS  MADE OF
nodeimg/node:1  sha256:0123456789ab  1.20.2      0.20.0,0.27.0  1.6.20 (config 2)  crun-wasmtime   wasm          crun 1.21, wasmtime-c-api 25.0.0
                                                                                   runc (default)  -             runc 1.1.5
";
        assert_eq!(table(&catalog), expected);
    }
}

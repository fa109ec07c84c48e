//! CycloneDX 1.6 as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Bill, Component, Kind};
use crate::base::Sha256;

pub(super) fn document(bill: &Bill) -> Value {
    let names = bill.names();
    let mut depends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in &bill.links {
        let from = link.from.map_or("image", |from| &names[from]);
        depends.entry(from).or_default().push(&names[link.to]);
    }
    let dependency = |(from, mut to): (&str, Vec<&str>)| {
        to.sort_unstable();
        to.dedup();
        json!({ "ref": from, "dependsOn": to })
    };
    let components = bill.components.iter().zip(&names).map(|(component, name)| one(component, name));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&bill.digest)),
        "version": 1,
        "metadata": {
            "timestamp": bill.created,
            "tools": { "components": [{ "type": "application", "name": "nodeimg", "version": bill.tool }] },
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": bill.reference,
                "version": bill.digest.oci(),
                "purl": bill.purl(),
                "hashes": [{ "alg": "SHA-256", "content": bill.digest.to_string() }],
            },
        },
        "components": components.collect::<Vec<_>>(),
        "dependencies": depends.into_iter().map(dependency).collect::<Vec<_>>(),
    })
}

fn one(component: &Component, name: &str) -> Value {
    let mut one = Map::new();
    let mut put = |key: &str, value: Value| _ = one.insert(key.to_owned(), value);
    let kind = match component.kind {
        Kind::Debian | Kind::Package => "application",
        Kind::Image => "container",
        Kind::Library => "library",
        Kind::Source | Kind::File => "file",
    };
    put("type", kind.into());
    put("bom-ref", name.into());
    put("name", component.name.as_str().into());
    if let Some(version) = &component.version {
        put("version", version.as_str().into());
    }
    if component.kind == Kind::Source {
        // In the words of the specification: no part of what runs.
        put("scope", "excluded".into());
    }
    if let Some(sha256) = component.sha256 {
        put("hashes", json!([{ "alg": "SHA-256", "content": sha256.to_string() }]));
    }
    let licence = &component.licence;
    if let Some(expression) = &licence.expression {
        put("licenses", json!([{ "expression": expression }]));
    } else if !licence.named.is_empty() {
        let named = licence.named.iter().map(|name| json!({ "license": { "name": name } }));
        put("licenses", named.collect());
    }
    if let Some(purl) = &component.purl {
        put("purl", purl.as_str().into());
    }
    let places = [("website", &component.homepage), ("distribution", &component.location)];
    let places: Vec<_> = places
        .into_iter()
        .filter_map(|(kind, url)| Some(json!({ "type": kind, "url": url.as_ref()? })))
        .collect();
    if !places.is_empty() {
        put("externalReferences", places.into());
    }
    if let Some(origin) = &component.origin {
        put("properties", json!([{ "name": "nodeimg:origin", "value": origin }]));
    }
    one.into()
}

/// A UUID of version 8 (RFC 9562), which leaves its bits to whoever makes it: here a digest's.
fn uuid(digest: &Sha256) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

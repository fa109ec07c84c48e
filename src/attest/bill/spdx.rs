//! SPDX 2.3 as JSON.

use serde_json::{Map, Value, json};

use super::{Bill, Component, How, Kind};

const UNKNOWN: &str = "NOASSERTION";

pub(super) fn document(bill: &Bill) -> Value {
    let names: Vec<_> = bill.names().into_iter().map(|name| format!("SPDXRef-{name}")).collect();
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-image",
        "name": bill.reference,
        "versionInfo": bill.digest.oci(),
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": bill.digest.to_string() }],
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "externalRefs": [purl(&bill.purl())],
    })];
    packages.extend(bill.components.iter().zip(&names).map(|(component, name)| package(component, name)));
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    for link in &bill.links {
        let from = link.from.map_or("SPDXRef-image", |from| &names[from]);
        let how = match link.how {
            How::Contains => "CONTAINS",
            How::MadeOf => "GENERATED_FROM",
        };
        relationships.push(relationship(from, how, &names[link.to]));
    }
    let name = bill.reference.replace(['/', ':'], "-");
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": bill.reference,
        "documentNamespace": format!("https://spdx.org/spdxdocs/nodeimg-{name}-{}", bill.digest),
        "creationInfo": { "created": bill.created, "creators": [format!("Tool: nodeimg-{}", bill.tool)] },
        "packages": packages,
        "relationships": relationships,
    })
}

fn package(component: &Component, name: &str) -> Value {
    let mut package = Map::new();
    let mut put = |key: &str, value: Value| _ = package.insert(key.to_owned(), value);
    put("SPDXID", name.into());
    put("name", component.name.as_str().into());
    if let Some(version) = &component.version {
        put("versionInfo", version.as_str().into());
    }
    let purpose = match component.kind {
        Kind::Debian | Kind::Package => "APPLICATION",
        Kind::Image => "CONTAINER",
        Kind::Source => "SOURCE",
        Kind::Library => "LIBRARY",
        Kind::File => "FILE",
    };
    put("primaryPackagePurpose", purpose.into());
    put("downloadLocation", component.location.as_deref().unwrap_or(UNKNOWN).into());
    put("filesAnalyzed", false.into());
    if let Some(sha256) = component.sha256 {
        put("checksums", json!([{ "algorithm": "SHA256", "checksumValue": sha256.to_string() }]));
    }
    if let Some(homepage) = &component.homepage {
        put("homepage", homepage.as_str().into());
    }
    if let Some(origin) = &component.origin {
        put("sourceInfo", origin.as_str().into());
    }
    put("licenseConcluded", UNKNOWN.into());
    put("licenseDeclared", component.licence.expression.as_deref().unwrap_or(UNKNOWN).into());
    if !component.licence.named.is_empty() {
        put(
            "licenseComments",
            format!("named in its copyright file: {}", component.licence.named.join(", ")).into(),
        );
    }
    put("copyrightText", UNKNOWN.into());
    if let Some(own) = &component.purl {
        put("externalRefs", json!([purl(own)]));
    }
    package.into()
}

fn purl(purl: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl })
}

fn relationship(from: &str, how: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to })
}

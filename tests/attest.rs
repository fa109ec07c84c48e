//! Keys, documents about images, and their signatures, in a small world of their own; and what others make of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::everywhere::{PROGRAM, command, good, project};
use crate::registry::Registry;
use crate::world::{Told, World, strings};

#[test]
fn a_key_is_made_once() {
    let world = World::new();
    let told = world.run(&["key", "new", "release.key"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let id = told.stderr.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(
        told.stderr,
        format!(
            "       key {id}\n algorithm Ed25519\n   private release.key, for who signs\n    public release.key.pub, \
             for who checks\n"
        )
    );
    let before = world.read("project/release.key");
    assert_eq!(
        world.run(&["key", "new", "release.key"]),
        Told::failure(
            2,
            "error: `release.key` is there already, and a key is never overwritten\n\
             hint: name another file, or move it away if nothing depends on it\n"
        )
    );
    assert_eq!(world.read("project/release.key"), before);
    let other = world.json(&["key", "new", "other.key", "--algorithm", "p256"]);
    assert_eq!(other["algorithm"], "ECDSA P-256");
    assert!(world.read("project/other.key.pub").starts_with("-----BEGIN PUBLIC KEY-----\n"));
}

const DOCUMENTS: [&str; 3] = ["sbom.spdx.json", "sbom.cdx.json", "provenance.json"];

fn parsed(world: &World, path: &str) -> Value {
    serde_json::from_str(&world.read(path)).unwrap()
}

/// A world with the node image attested, and what was said of it.
fn attested(arguments: &[&str]) -> (World, Value) {
    let world = World::locked();
    for (key, algorithm) in [("one.key", "ed25519"), ("two.key", "p256")] {
        world.json(&["key", "new", key, "--algorithm", algorithm]);
    }
    let told = world.json(&[&["attest", "--lock", "node"], arguments].concat());
    (world, told["attested"][0].clone())
}

#[test]
fn documents_say_what_is_in_an_image_and_of_what_it_was_made() {
    let (world, told) = attested(&[]);
    assert_eq!(
        (told["reference"].as_str(), told["unchanged"].as_bool(), &told["key"]),
        (Some("node:v1"), Some(false), &Value::Null)
    );
    assert_eq!(strings(&told["files"]), [DOCUMENTS.as_slice(), &["oci"]].concat());
    let digest = told["digest"].as_str().unwrap();
    // Nothing of it moves the image.
    assert_eq!(world.json(&["build", "--lock", "node"])["targets"][0]["digest"], digest);
    let folder = "project/out/node/attest";

    let spdx = parsed(&world, &format!("{folder}/sbom.spdx.json"));
    assert_eq!(spdx["creationInfo"]["created"], "2099-01-01T00:00:00Z");
    let packages = spdx["packages"].as_array().unwrap();
    let find =
        |name: &str| packages.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let tools = find("tools");
    assert_eq!(tools["externalRefs"][0]["referenceLocator"], "pkg:deb/debian/tools@1?arch=all");
    assert_eq!(
        tools["downloadLocation"],
        "https://snapshot.debian.org/archive/debian-world/20990101T000000Z/pool/tools_1_all.deb"
    );
    let hello = find("hello");
    assert_eq!((&hello["licenseDeclared"], &hello["versionInfo"]), (&"MIT".into(), &"1".into()));
    let source = find("hello-1.tar.gz");
    assert_eq!(source["downloadLocation"], "https://upstream.example/hello-1.tar.gz");
    let archive = crate::attest::sha256(&world.path("upstream/hello-1.tar.gz"));
    assert_eq!(source["checksums"][0]["checksumValue"], archive.as_str());
    let id = |one: &Value| one["SPDXID"].as_str().unwrap().to_owned();
    let related = |from: &str, how: &str, to: &str| {
        spdx["relationships"].as_array().unwrap().iter().any(|one| {
            one["spdxElementId"] == from && one["relationshipType"] == how && one["relatedSpdxElement"] == to
        })
    };
    assert!(related("SPDXRef-image", "CONTAINS", &id(tools)));
    assert!(related("SPDXRef-image", "CONTAINS", &id(hello)));
    assert!(related(&id(hello), "GENERATED_FROM", &id(source)));
    assert!(related(&id(hello), "CONTAINS", &id(find("/usr/bin/hello"))));
    // An image inside the image, with what is in that.
    assert!(related("SPDXRef-image", "CONTAINS", &id(find("plain"))));
    assert!(related(&id(find("plain")), "CONTAINS", &id(find("greeting"))));
    assert!(related(&id(find("greeting")), "GENERATED_FROM", &id(hello)));

    let cyclonedx = parsed(&world, &format!("{folder}/sbom.cdx.json"));
    let count = |list: &Value| list.as_array().unwrap().len() as u64;
    assert_eq!(count(&cyclonedx["components"]), told["components"].as_u64().unwrap());
    assert_eq!(count(&spdx["packages"]), told["components"].as_u64().unwrap() + 1);

    let provenance = parsed(&world, &format!("{folder}/provenance.json"));
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], digest.strip_prefix("sha256:").unwrap());
    let build = &provenance["predicate"]["buildDefinition"];
    assert_eq!(build["externalParameters"]["image"], "node");
    assert_eq!(strings(&build["externalParameters"]["runtimes"]), ["greeter"]);
    let dependencies = build["resolvedDependencies"].as_array().unwrap();
    let names: Vec<_> = dependencies.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "base-files_1_all.deb",
            "hello-1.tar.gz",
            "lockfiles/images/node.toml",
            "lockfiles/images/plain.toml",
            "lockfiles/packages/containerd.toml",
            "lockfiles/packages/greeting.toml",
            "lockfiles/packages/hello.toml",
            "lockfiles/suites/stable.toml",
            "patches/hello/0001-greet-the-world.patch",
            "recipes/images/node.toml",
            "recipes/images/plain.toml",
            "recipes/packages/containerd.toml",
            "recipes/packages/greeting.toml",
            "recipes/packages/hello.toml",
            "recipes/runtimes/greeter.toml",
            "recipes/suites/keys/archive.asc",
            "recipes/suites/stable.toml",
            "tools_1_all.deb",
        ]
    );
    assert_eq!(provenance["predicate"]["runDetails"]["builder"]["id"], "urn:nodeimg:builder:unnamed");

    // Again, by another store: the same bytes.
    let before = DOCUMENTS.map(|name| world.read(&format!("{folder}/{name}")));
    let mut again = world.command(&["attest", "--lock", "node", "--json", "--out", "../elsewhere"]);
    let output = again.env("NODEIMG_STORE", world.path("second")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(DOCUMENTS.map(|name| world.read(&format!("elsewhere/node/attest/{name}"))), before);
    assert_eq!(world.json(&["attest", "--lock", "node"])["attested"][0]["unchanged"], true);
    // As OCI has it: a manifest for each, about the image.
    let index = parsed(&world, &format!("{folder}/oci/index.json"));
    assert_eq!(index["manifests"][0]["digest"], digest);
    for kind in [
        "application/vnd.nodeimg.project.v1",
        "application/spdx+json",
        "application/vnd.cyclonedx+json",
        "application/vnd.in-toto+json",
    ] {
        let mut entries = index["manifests"].as_array().unwrap().iter();
        let entry = entries.find(|entry| entry["artifactType"] == kind).unwrap();
        let name = entry["digest"].as_str().unwrap().replace(':', "/");
        let manifest = parsed(&world, &format!("{folder}/oci/blobs/{name}"));
        assert_eq!(
            (&manifest["artifactType"], &manifest["subject"]["digest"]),
            (&kind.into(), &digest.into())
        );
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    }
}

#[test]
fn what_is_signed_is_signed_the_same_each_time() {
    let (world, told) = attested(&["--key", "one.key", "--builder", "https://ci.example/nodes"]);
    let folder = "project/out/node/attest";
    let signed = ["sbom.spdx.dsse.json", "sbom.cdx.dsse.json", "provenance.dsse.json"];
    assert_eq!(strings(&told["files"]), [DOCUMENTS.as_slice(), &signed, &["oci"]].concat());
    let provenance = parsed(&world, &format!("{folder}/provenance.json"));
    assert_eq!(provenance["predicate"]["runDetails"]["builder"]["id"], "https://ci.example/nodes");
    let all = || -> Vec<_> {
        let names = signed.iter().chain(&["oci/index.json"]);
        names.map(|name| world.read(&format!("{folder}/{name}"))).collect()
    };
    let before = all();
    fs_err::remove_dir_all(world.path(folder)).unwrap();
    world.json(&["attest", "--lock", "node", "--key", "one.key", "--builder", "https://ci.example/nodes"]);
    assert_eq!(all(), before);
    // Without a key nothing is left that says it was signed.
    world.json(&["attest", "--lock", "node"]);
    assert!(signed.iter().all(|name| !world.path(&format!("{folder}/{name}")).exists()));
}

#[test]
fn what_cannot_be_attested_says_why() {
    let world = World::locked();
    assert_eq!(
        world.run(&["attest", "--lock", "hello"]),
        Told::failure(
            2,
            "error: `packages/hello` is no image\n\
             hint: what is attested is an image: name one of `recipes/images/`\n"
        )
    );
    let told = world.run(&["attest", "--lock", "--key", "none.key"]);
    assert_eq!((told.code, told.stderr.lines().next()), (4, Some("error: cannot read `none.key`")));
    let told = world.run(&["attest", "--lock", "--builder", "me"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("is no URI such as `https://ci.example/nodes`"), "{}", told.stderr);
    // Nothing was built for it.
    assert!(!world.path("project/out").exists());
}

/// Verifies the signatures of an image.
fn verified(world: &World, arguments: &[&str]) -> Told {
    world.run(&[&["verify", "--signature"], arguments].concat())
}

#[test]
fn a_signed_image_is_trusted_for_its_key_and_no_other() {
    let (world, told) = attested(&["--key", "one.key", "--builder", "https://ci.example/nodes"]);
    let digest = told["digest"].as_str().unwrap();
    let key = told["key"].as_str().unwrap();
    let expected = |image: &str| {
        let states = "cyclonedx, provenance, spdx";
        Told::failure(
            0,
            &format!(
                "     image {image}\n    digest {digest}\n    signed by key {key}\n    states {states}\n   trusted it is \
                 what was signed\n"
            ),
        )
    };
    // By its recipe, its digest, its place.
    for image in ["node", digest, "out/node/attest/oci"] {
        assert_eq!(verified(&world, &["--key", "one.key.pub", image]), expected(image));
    }
    let refused = verified(&world, &["--key", "two.key.pub", "node"]);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (
            1,
            "error: 0 of the 1 trusted keys signed the image, 1 must have\n\
             hint: one signature is there that none of these keys made, or that is of another\n  image\n"
        )
    );
    assert_eq!(
        refused.stderr,
        format!("     image node\n    digest {digest}\n   refused the policy is not met\n")
    );
    // What a build leaves is signed by nobody.
    let refused = verified(&world, &["--key", "one.key.pub", "out/node/oci"]);
    assert!(refused.stdout.contains("it has no other signature either"), "{}", refused.stdout);
    // It is still an image like others: it carries its recipes, and gates look at it.
    assert_eq!(world.run(&["lint", "out/node/attest/oci"]).code, 0);

    // A byte of a layer, which no signature names.
    let index = parsed(&world, "project/out/node/attest/oci/index.json");
    let blob = |digest: &Value| {
        format!("project/out/node/attest/oci/blobs/{}", digest.as_str().unwrap().replace(':', "/"))
    };
    let manifest = parsed(&world, &blob(&index["manifests"][0]["digest"]));
    let layer = world.path(&blob(&manifest["layers"][0]["digest"]));
    let mut bytes = fs_err::read(&layer).unwrap();
    bytes[100] ^= 1;
    // It may be one file with what is in the store.
    fs_err::remove_file(&layer).unwrap();
    fs_err::write(&layer, bytes).unwrap();
    let refused = verified(&world, &["--key", "one.key.pub", "node"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is damaged"), "{}", refused.stderr);
}

#[test]
fn a_policy_says_what_must_be_signed() {
    let (world, _) = attested(&["--key", "one.key", "--builder", "https://ci.example/nodes"]);
    let judge = |policy: &str| {
        world.write("project/policy.toml", format!("keys = [\"one.key.pub\", \"two.key.pub\"]\n{policy}"));
        verified(&world, &["--policy", "policy.toml", "node"])
    };
    let good = judge(
        "require = [\"provenance\", \"spdx\", \"https://cyclonedx.org/bom\"]\n\
         builders = [\"https://ci.example/nodes\"]\nruntimes = [\"greeter\"]\n",
    );
    assert_eq!((good.code, good.stdout.as_str()), (0, ""), "{}", good.stderr);
    let bad = judge(
        "signatures = 2\nrequire = [\"https://example.org/review\"]\nbuilders = [\"https://other.example/\"]\n\
         runtimes = [\"crun\"]\n",
    );
    assert_eq!(
        (bad.code, bad.stdout.as_str()),
        (
            1,
            "error: 1 of the 2 trusted keys signed the image, 2 must have\n\
             hint: it has no other signature either: `nodeimg attest --key FILE` signs it\n\
             error: no trusted key signed a statement `https://example.org/review` about the\n  image\n\
             hint: there is none at all\n\
             error: the image was built by `https://ci.example/nodes`\n\
             hint: the policy has in `builders`: `https://other.example/`\n\
             error: the image has the runtime `greeter`\n\
             hint: the policy has in `runtimes`: `crun`\n"
        )
    );
    let wrong = |policy: &str, expected: &str| {
        let told = judge(policy);
        assert_eq!(told.code, 2);
        assert!(told.stderr.contains(expected), "{}", told.stderr);
    };
    wrong("signatures = 3\n", "`signatures` is 3, of 2 keys");
    wrong("signatures = 0\n", "who\n  signs nothing proves nothing");
    wrong("require = [\"sbom\"]\n", "`sbom` in `require` is neither");
    wrong("runtime = []\n", "unknown field `runtime`");
    let told = verified(&world, &["node"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("--policy <FILE>|--key <FILE>"), "{}", told.stderr);
    let told = verified(&world, &["--key", "one.key", "node"]);
    assert!(told.stderr.starts_with("error: `one.key` has the private half of a key"), "{}", told.stderr);
    let told = verified(&world, &["--key", "one.key.pub"]);
    assert!(told.stderr.starts_with("error: `--signature` is about an image, and none is named"));
}

pub(crate) fn sha256(path: &Path) -> String {
    nodeimg::base::Sha256::of_file(path).unwrap().to_string()
}

/// Debian's cosign, a package of this project.
static COSIGN: LazyLock<PathBuf> = LazyLock::new(|| {
    let out = project().join("target/tmp/tools");
    good(command(PROGRAM).args(["build", "--lock", "--quiet", "cosign", "--out"]).arg(&out));
    out.join("packages/cosign/usr/bin/cosign")
});

/// Runs cosign without a network, as far as this machine lets us: it has nobody to ask.
#[expect(clippy::disallowed_methods, reason = "it is the one who checks")]
fn cosign(world: &World, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(&*COSIGN);
    command.args(arguments).current_dir(world.path("project")).env("HOME", world.path("home"));
    // Whatever it would ask is not there.
    command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
    let output = command.output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

#[test]
fn cosign_takes_what_is_signed() {
    for key in ["one.key", "two.key"] {
        let (world, told) = attested(&["--key", key]);
        let digest = told["digest"].as_str().unwrap();
        let oci = "out/node/attest/oci";
        let (public, other) =
            (format!("{key}.pub"), if key == "one.key" { "two.key.pub" } else { "one.key.pub" });
        let offline = ["--private-infrastructure", "--local-image", "--key"];
        let verify = |key: &str| cosign(&world, &[&["verify"], &offline[..], &[key, oci]].concat());
        let (good, text) = verify(&public);
        assert!(good && text.contains(digest), "{text}");
        assert!(!verify(other).0);
        let attestation = |key: &str, kind: &str| {
            let verify = ["verify-attestation", "--type", kind];
            cosign(&world, &[&verify, &offline[..], &[key, oci]].concat())
        };
        for kind in ["slsaprovenance1", "spdxjson", "cyclonedx"] {
            let (good, text) = attestation(&public, kind);
            assert!(good && text.contains("application/vnd.in-toto+json"), "{kind}: {text}");
            assert!(!attestation(other, kind).0);
        }
        assert!(!attestation(&public, "vuln").0);
    }
}

#[test]
fn a_registry_has_what_cosign_brings_there() {
    let (world, told) = attested(&["--key", "one.key"]);
    fs_err::create_dir(world.path("registry")).unwrap();
    let Some(registry) = Registry::start(&world.path("registry")) else { return };
    let name = format!("{}/nodes/node:v1", registry.host);
    let verify = |more: &[&str]| world.run(&[&["verify", "--signature"], more, &[&name]].concat());
    let missing = verify(&["--key", "one.key.pub"]);
    assert!(missing.code == 4 && missing.stderr.starts_with("error: no registry has"), "{missing:?}");
    let (good, text) = cosign(&world, &["load", "--dir", "out/node/attest/oci", &name]);
    assert!(good, "{text}");
    let found = verify(&["--key", "one.key.pub", "--json"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert!(found.stdout.contains(told["digest"].as_str().unwrap()), "{}", found.stdout);
    world.write(
        "project/policy.toml",
        "keys = [\"one.key.pub\"]\nrequire = [\"provenance\", \"spdx\", \"cyclonedx\"]\n",
    );
    let found = verify(&["--policy", "policy.toml"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert_eq!(verify(&["--key", "two.key.pub"]).code, 1);
    // And cosign finds it there too.
    let check = |key: &str| cosign(&world, &["verify", "--private-infrastructure", "--key", key, &name]);
    let (good, text) = check("one.key.pub");
    assert!(good, "{text}");
    assert!(!check("two.key.pub").0);
}

/// Validators that others wrote, from PyPI, each at a release.
const VALIDATORS: [&str; 3] =
    ["spdx-tools==0.8.5", "cyclonedx-python-lib[json-validation]==11.12.0", "in-toto-attestation==0.9.3"];

const VALIDATE: &str = r#"
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

folder = sys.argv[1]
faults = [str(one) for one in validate_full_spdx_document(parse_file(folder + "/sbom.spdx.json"))]
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(folder + "/sbom.cdx.json").read())
faults += [str(fault)] if fault else []
text = open(folder + "/provenance.json").read()
Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement())).validate()
provenance = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
print(json.dumps([faults, len(provenance.build_definition.resolved_dependencies)]))
"#;

#[test]
#[expect(clippy::disallowed_methods, reason = "they are the ones who check")]
fn validators_of_others_take_the_documents() {
    let folder = project().join("target/tmp/validators");
    let python = folder.join("bin/python");
    if !folder.join("complete").exists() {
        good(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        good(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(VALIDATORS));
        fs_err::write(folder.join("complete"), "").unwrap();
    }
    let validate = |documents: &Path| -> Value {
        let told = good(Command::new(&python).args(["-W", "ignore", "-c", VALIDATE]).arg(documents));
        serde_json::from_str(&told).unwrap()
    };
    let (world, told) = attested(&[]);
    let documents = world.path("project/out/node/attest");
    let expected = serde_json::json!([[], told["materials"]]);
    assert_eq!(validate(&documents), expected);
    // They do look.
    world.edit("project/out/node/attest/sbom.spdx.json", "\"SPDX-2.3\"", "\"SPDX-2\"");
    world.edit("project/out/node/attest/sbom.cdx.json", "\"container\"", "\"can\"");
    assert_ne!(validate(&documents)[0].as_array().unwrap().len(), 0);
}

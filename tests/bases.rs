//! Images built on images of a registry: what stays, what is added, and when bytes are asked for.

use serde_json::{Value, json};

use crate::registry::Registry;
use crate::world::{Told, World, document};

/// Makes the world's node without runtimes, as a base: `kind create cluster --image` of others.
fn serve(world: &World, registry: &Registry) -> Option<Value> {
    let folder = world.path("base");
    let node = world.read("project/recipes/images/node.toml").replace("\"node\"", "\"base\"");
    world.write("project/recipes/images/base.toml", node.replace("runtimes = [\"greeter\"]", ""));
    assert_eq!(world.run(&["lock"]).code, 0);
    let built = world.json(&["build", "--lock", "base", "--out", folder.to_str().unwrap()]);
    let layout = folder.join("base/oci");
    registry.push(&layout, "kindest/node:v1", &[]).then(|| built["targets"][0].clone())
}

fn based(host: &str) -> String {
    format!(
        "name = \"based\"\ntag = \"v1\"\n[base]\noci = \"{host}/kindest/node:v1\"\n\
         [node]\nkubernetes = {{ version = \"1\" }}\nruntimes = [\"greeter\"]\n\
         [config]\nenv = {{ MOOD = \"fine\" }}\n"
    )
}

/// Reads a blob of an OCI layout below the project's `out`.
fn blob(world: &World, digest: &str) -> Value {
    let path = format!("project/out/based/oci/blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    serde_json::from_str(&world.read(&path)).unwrap()
}

fn layers(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_base_stays_bit_for_bit_and_comes_when_it_is_read() {
    let world = World::locked();
    fs_err::create_dir(world.path("registry")).unwrap();
    let Some(registry) = Registry::start(&world.path("registry")) else { return };
    let Some(base) = serve(&world, &registry) else { return };
    let pulls = || -> Vec<String> {
        registry
            .requests()
            .into_iter()
            .filter(|line| line.contains("GET") && line.contains("/blobs/"))
            .collect()
    };
    world.write("project/recipes/images/based.toml", based(&registry.host));
    let before = pulls();
    let told = world.run(&["lock", "based"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lock = world.read("project/lockfiles/images/based.toml");
    let digest = base["digest"].as_str().unwrap();
    assert!(lock.contains(&format!("digest = \"{digest}\"")), "{lock}");
    assert!(lock.contains(&format!("[base.pin.platforms]\namd64 = \"{digest}\"")), "{lock}");
    assert_eq!(world.run(&["plan", "based"]).code, 0);
    // The configuration is a blob too, and the only one that a lock asks for.
    let asked = pulls().len() - before.len();
    assert!(asked <= 1, "layers were pulled to lock or plan: {:?}", pulls());

    let built = world.json(&["build", "--lock", "based"]);
    let target = &built["targets"][0];
    let manifest = blob(&world, target["digest"].as_str().unwrap());
    let below: Vec<_> =
        base["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    let all = layers(&manifest);
    assert_eq!(all[..below.len()], below, "the base's layers are as they were");
    let added: Vec<_> =
        target["layers"].as_array().unwrap()[below.len()..].iter().map(|l| &l["name"]).collect();
    assert_eq!(added, ["runtime hello", "configuration"]);
    let config = blob(&world, manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(config["config"]["Env"], json!(["MOOD=fine"]));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), all.len());

    // The gates look at a registry's image as at any other.
    let name = format!("registry:{}/kindest/node:v1", registry.host);
    let linted = world.json(&["lint", &name]);
    assert_eq!(linted["image"], format!("{}/kindest/node:v1", registry.host));
    assert_eq!((&linted["runtimes"], &linted["findings"]), (&json!(["runc"]), &json!([])));

    // Nothing is asked for again, not even without the registry.
    let digest = target["digest"].clone();
    drop(registry);
    let again = world.json(&["build", "--lock", "based", "--offline"]);
    assert_eq!((&again["targets"][0]["digest"], &again["targets"][0]["unchanged"]), (&digest, &json!(true)));
    // Other users and places get the same image: the catalog names it.
    let catalog = world.json(&["catalog"]);
    assert_eq!(catalog["images"]["based"]["digest"], digest);
    assert_eq!(catalog["images"]["based"]["kubernetes"], "1");

    // A bundle has the base's blobs, for who makes the rest and for who takes it.
    world.json(&["bundle", "create", "--offline", "--program", "/bin/busybox", "-o", "../b.tar", "based"]);
    fs_err::create_dir(world.path("elsewhere")).unwrap();
    for results in ["--from-sources", "--trust-unsigned"] {
        let mut build = world.command(&["build", "--lock", "--json", "--bundle", "../b.tar", results]);
        build.env("NODEIMG_STORE", world.path(&format!("store{results}")));
        let built = document(build.current_dir(world.path("elsewhere")));
        assert_eq!(built["targets"][0]["digest"], digest, "{results}");
        fs_err::remove_dir_all(world.path("elsewhere/out")).unwrap();
    }
}

#[test]
fn what_a_base_can_not_be_is_said() {
    let world = World::locked();
    fs_err::create_dir(world.path("registry")).unwrap();
    let Some(registry) = Registry::start(&world.path("registry")) else { return };
    if serve(&world, &registry).is_none() {
        return;
    }
    let recipe = based(&registry.host);
    let file = "project/recipes/images/based.toml";
    world.write(file, recipe.replace("version = \"1\"", "version = \"2\""));
    let told = world.run(&["build", "based"]);
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(
        told.stderr.contains("error: `/kind/version` of the image says `v1`, the recipe says `v2`\n"),
        "{}",
        told.stderr
    );
    world.write(file, recipe.replace("[node]", "[system]\nsuite = \"stable\"\n[node]"));
    let told = world.run(&["lock", "based"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.starts_with("error: an image has a `base` or a `system`\n"), "{}", told.stderr);
    world.write(file, recipe.replace(&registry.host, "bad host"));
    assert_eq!(world.run(&["lock", "based"]).code, 1);

    // A digest is a lock without a question; what it names comes when it is needed, or the error says what to do.
    let digest = format!("sha256:{}", "0".repeat(64));
    world.write(file, recipe.replace("node:v1", &format!("node:v1@{digest}")));
    let count = registry.requests().len();
    assert_eq!(world.run(&["lock", "based"]).code, 0);
    assert_eq!(registry.requests().len(), count);
    let told: Told = world.run(&["build", "--lock", "based", "--offline"]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    assert!(told.stderr.contains("nodeimg fetch"), "{}", told.stderr);
}

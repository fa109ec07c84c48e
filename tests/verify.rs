//! Images made again: out of what they carry, from nothing, and in other surroundings.

use std::collections::BTreeSet;
use std::path::Path;

use nodeimg::base::Sha256;
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::world::{Told, World, tar_gz_of_bytes};

const ARTIFACT: &str = "application/vnd.nodeimg.project.v1";

fn parse(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// Names the paths in a `tar.gz`.
fn names(blob: &Path) -> BTreeSet<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs_err::File::open(blob).unwrap()));
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| entry.path().unwrap().display().to_string())
        .filter(|path| !path.ends_with('/'))
        .collect()
}

fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

#[test]
fn an_image_carries_what_it_is_made_from_and_is_the_same_without() {
    let world = World::locked();
    let digest = world.json(&["build", "--lock"])["targets"][0]["digest"].clone();
    let layout = world.path("project/out/plain/oci");
    let index = parse(&layout.join("index.json"));
    let [image, referrer] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    assert_eq!(image["digest"], digest);
    assert_eq!(referrer["artifactType"], ARTIFACT);
    let manifest = parse(&blob(&layout, referrer));
    assert_eq!(
        manifest["subject"],
        json!({
            "mediaType": image["mediaType"], "digest": digest, "size": image["size"],
        })
    );
    assert_eq!(manifest["annotations"]["vnd.nodeimg.target"], "images/plain");
    let carried = names(&blob(&layout, &manifest["layers"][0]));
    let expected = [
        "lockfiles/images/plain.toml",
        "lockfiles/packages/greeting.toml",
        "lockfiles/packages/hello.toml",
        "lockfiles/suites/stable.toml",
        "patches/hello/0001-greet-the-world.patch",
        "recipes/images/plain.toml",
        "recipes/packages/greeting.toml",
        "recipes/packages/hello.toml",
        "recipes/suites/keys/archive.asc",
        "recipes/suites/stable.toml",
    ];
    assert_eq!(carried, expected.map(str::to_owned).into());

    // Engines that take every entry for an image see the image alone.
    let mut archive =
        tar::Archive::new(fs_err::File::open(world.path("project/out/plain/image.tar")).unwrap());
    let mut listed = Value::Null;
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        match entry.path().unwrap().to_str().unwrap() {
            "index.json" => {
                let index: Value = serde_json::from_reader(entry).unwrap();
                assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
            }
            "referrers.json" => listed = serde_json::from_reader(entry).unwrap(),
            _ => {}
        }
    }
    assert_eq!(listed["manifests"], json!([referrer]));

    // A comment is carried, and moves nothing else.
    world.edit("project/recipes/packages/hello.toml", "license", "# Friendly.\nlicense");
    let after = world.json(&["build", "--lock"]);
    assert_eq!((&after["targets"][0]["digest"], &after["made"]), (&digest, &json!([])));
    assert_ne!(parse(&layout.join("index.json"))["manifests"][1]["digest"], referrer["digest"]);
}

#[test]
fn the_image_alone_is_enough() {
    let world = World::locked();
    let digest = world.json(&["build", "--lock"])["targets"][0]["digest"].clone();
    fs_err::rename(world.path("project"), world.path("elsewhere")).unwrap();
    fs_err::create_dir(world.path("project")).unwrap();
    let image = world.path("elsewhere/out/plain/image.tar");
    let out = world.path("again");
    let out = out.to_str().unwrap();
    // On a machine that never saw any of it.
    fs_err::rename(world.path("store"), world.path("old-store")).unwrap();
    let again = world.json(&["rebuild", image.to_str().unwrap(), "--out", out]);
    assert_eq!(again["targets"][0]["digest"], digest);
    let same = |file: &str| {
        let read = |top: &str| fs_err::read(world.path(top).join(file)).unwrap();
        assert_eq!(read("again"), read("elsewhere/out"), "{file}");
    };
    same("plain/image.tar");
    same("plain/oci/index.json");

    let told = world.run(&["verify", image.to_str().unwrap()]);
    let digest = digest.as_str().unwrap();
    let expected = format!(
        "  verified {}\n      made 12 steps from nothing but pinned files\n  expected {digest}\n  received {digest}\n\
         \x20   result the same bytes\n",
        "WORLD/elsewhere/out/plain/image.tar"
    );
    assert_eq!((told.code, told.stdout.as_str()), (0, expected.as_str()), "{}", told.stderr);

    // Its digest is a name for it where it lies below `out`.
    fs_err::rename(world.path("elsewhere/out"), world.path("project/out")).unwrap();
    assert_eq!(world.run(&["verify", digest]).code, 0);
}

#[test]
fn a_registry_gives_what_is_attached() {
    let world = World::locked();
    fs_err::create_dir(world.path("registry")).unwrap();
    let Some(registry) = Registry::start(&world.path("registry")) else { return };
    world.made(&[]);
    let layout = world.path("project/out/plain/oci");
    if !registry.push(&layout, "plain:1", &[]) {
        return;
    }
    let name = format!("{}/plain:1", registry.host);
    let told = world.run(&["verify", &name]);
    assert_eq!(told.code, 1);
    let begin = format!("error: `{name}` carries no recipes\n");
    assert!(told.stderr.contains(&begin), "{}", told.stderr);

    // As the specification has it for registries without the list of referrers.
    let index = parse(&layout.join("index.json"));
    let (image, referrer) = (&index["manifests"][0], &index["manifests"][1]);
    let tag = |index: &Value| index["digest"].as_str().unwrap().replace(':', "-");
    let blobs = world.path("blobs");
    let own = json!({ "schemaVersion": 2, "mediaType": index["mediaType"], "manifests": [{
        "mediaType": referrer["mediaType"], "digest": referrer["digest"], "size": referrer["size"],
        "annotations": { "org.opencontainers.image.ref.name": "referrer" },
    }] });
    fs_err::create_dir_all(&blobs).unwrap();
    let copy = |from: &Path, to: &Path| {
        fs_err::create_dir_all(to).unwrap();
        for entry in fs_err::read_dir(from).unwrap().map(Result::unwrap) {
            fs_err::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(&layout.join("blobs/sha256"), &blobs.join("blobs/sha256"));
    fs_err::copy(layout.join("oci-layout"), blobs.join("oci-layout")).unwrap();
    fs_err::write(blobs.join("index.json"), own.to_string()).unwrap();
    assert!(registry.push(&blobs, "plain:referrer", &[]));
    let list = json!({ "schemaVersion": 2, "mediaType": index["mediaType"], "manifests": [referrer] });
    registry.put("plain", &tag(image), index["mediaType"].as_str().unwrap(), &list.to_string());
    let told = world.run(&["verify", &name]);
    assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.ends_with("    result the same bytes\n"), "{}", told.stdout);
}

#[test]
fn other_bytes_are_told_with_the_step_and_the_file() {
    let world = World::locked();
    world.edit(
        "project/recipes/packages/greeting.toml",
        "> \"$OUT/greeting\"",
        "> \"$OUT/greeting\"; cat /proc/sys/kernel/random/uuid > \"$OUT/luck\"",
    );
    world.made(&[]);
    let told = world.run(&["verify"]);
    assert_eq!(told.code, 1, "{}", told.stderr);
    let (head, tail) = told.stdout.split_once("    result ").unwrap();
    assert!(
        head.starts_with("  verified images/plain\n      made 12 steps from nothing but pinned files\n"),
        "{head}"
    );
    assert!(
        tail.starts_with("other bytes, since 1 step differ\n      step greeting\n           ~ /luck: "),
        "{tail}"
    );
    let package = world.json(&["verify", "packages/hello"]);
    assert_eq!(package["verified"][0]["same"], true);
    let told = world.run(&["verify", "--step", "greeting", "--vary"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stdout.contains("      step greeting differs each time, whatever is varied\n"),
        "{}",
        told.stdout
    );
}

#[test]
fn what_a_result_depends_on_is_named() {
    let world = World::locked();
    world.made(&[]);
    let clean = "  verified images/plain\n      made 11 steps again in other surroundings\n    result the same bytes each\n";
    let told = world.run(&["verify", "--vary"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, clean), "{}", told.stderr);

    let leaks = [
        ("user", "id -u", "user"),
        ("path", "pwd", "path"),
        ("host", "hostname", "host name"),
        ("uptime", "cut -c1-6 /proc/uptime | tr 0-9 0", "clock"),
        ("zone", "echo $TZ", "time zone"),
        ("locale", "echo $LC_ALL", "locale"),
        ("jobs", "echo $JOBS", "processors"),
        ("kernel", "uname -r", "kernel version"),
        // What shows of one may be there for another one's sake.
        ("both", "test $(hostname) = nodeimg || echo $TZ", "host name"),
        ("order", "mkdir d; for f in 1 2 3 4 5 6 7 8 9; do : > d/$f; done; find d", "directory order"),
    ];
    for (name, command, _) in leaks {
        let script = format!("cd /build; {command} > \"$OUT/{name}\"");
        let script = if name == "path" { format!("{command} > \"$OUT/{name}\"") } else { script };
        let script = serde_json::to_string(&script).unwrap();
        world.write(
            &format!("project/recipes/packages/{name}.toml"),
            format!("name = \"{name}\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"stable\"\nscript = {script}\n"),
        );
    }
    assert_eq!(world.run(&["lock"]).code, 0);
    let in_memory = rustix::fs::statfs(world.path("store").as_path()).unwrap().f_type == libc::TMPFS_MAGIC;
    for (name, _, factor) in leaks {
        if name == "order" && in_memory {
            eprintln!(
                "left out: the store is in memory, where a new directory lists its entries as it always does"
            );
            continue;
        }
        let told = world.run(&["verify", "--json", "--vary", name, "--step", name]);
        assert_eq!(told.code, 1, "{name}: {}", told.stderr);
        let report: Value = serde_json::from_str(&told.stdout).unwrap();
        let differing = &report["verified"][0]["differing"];
        assert_eq!(differing[0]["factors"], json!([factor]), "{name}: {report}");
        assert_eq!(differing[0]["changes"][0]["path"], format!("/{name}"));
    }
    let told = world.run(&["verify", "--vary", "host", "--step", "host"]);
    let expected = "  verified packages/host\n      made 1 step again in other surroundings\n    result 1 step not the same\n      step host depends on host name\n";
    assert!(told.stdout.starts_with(expected), "{}", told.stdout);

    // What two targets share is done again once.
    world.write(
        "project/recipes/packages/guest.toml",
        "name = \"guest\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"stable\"\ninputs = [\"host\"]\nscript = 'mkdir \"$OUT/empty\"'\n",
    );
    assert_eq!(world.run(&["lock"]).code, 0);
    let told = world.run(&["verify", "--vary", "host", "guest"]);
    let (host, guest) = told.stdout.split_once("  verified packages/guest\n").unwrap();
    assert!(host.contains("      made 3 steps again in other surroundings\n"), "{host}");
    assert_eq!(
        guest,
        "      made 4 steps again in other surroundings, 3 of them above\n    result 1 step not the same\n      step host, as told above\n"
    );
    assert_eq!(told.code, 1);
}

#[test]
fn what_is_no_such_image_is_refused() {
    let world = World::locked();
    let told = world.run(&["verify", "nothing"]);
    assert_eq!(
        told,
        Told::failure(
            2,
            "error: no image `nothing`: no folder, no file and no name of a registry's image\nhint: name an OCI layout (`out/NAME/oci`), an archive (`out/NAME/image.tar`), an\n  image of a registry, or the digest of an image below `out`\n"
        )
    );
    let told = world.run(&["verify", "hello"]);
    assert_eq!(
        told,
        Told::failure(2, "error: nothing was built yet of `hello`\nhint: run `nodeimg build --lock hello`\n")
    );
    let told = world.run(&["verify", "--step", "helo"]);
    assert_eq!(
        told,
        Told::failure(2, "error: no step `helo` runs in the project\nhint: did you mean `hello`?\n")
    );

    world.made(&[]);
    let layout = world.path("project/out/plain/oci");
    let digest = parse(&layout.join("index.json"))["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = parse(&blob(&layout, &json!({ "digest": digest })));
    // A layer that was changed and one that is gone.
    let layer = blob(&layout, &manifest["layers"][0]);
    let whole = fs_err::read(&layer).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    fs_err::remove_file(&layer).unwrap();
    fs_err::write(&layer, &other).unwrap();
    let path = layout.to_str().unwrap().to_owned();
    let told = world.run(&["verify", &path]);
    let expected = format!(
        "error: `WORLD/project/out/plain/oci` is damaged\n  expected: {}\n  received: {}\nhint: get it again from where it was built\n",
        &manifest["layers"][0]["digest"].as_str().unwrap()[7..],
        Sha256::of(&other)
    );
    assert_eq!(told, Told::failure(1, &expected), "{}", told.stderr);
    fs_err::remove_file(&layer).unwrap();
    let told = world.run(&["verify", &path]);
    assert!(told.stderr.starts_with("error: `WORLD/project/out/plain/oci` lacks\n"), "{}", told.stderr);
    fs_err::write(&layer, &whole).unwrap();

    // Recipes of another image: attached to this one, they give another digest.
    world.edit("project/recipes/images/plain.toml", "/usr/bin/hello", "/usr/bin/other");
    let other = world.json(&["build", "--out", world.path("other").to_str().unwrap()]);
    let other = other["targets"][0]["digest"].as_str().unwrap().to_owned();
    let theirs = world.path("other/plain/oci");
    let referrer = parse(&theirs.join("index.json"))["manifests"][1].clone();
    let mut lie = parse(&blob(&theirs, &referrer));
    fs_err::copy(blob(&theirs, &lie["layers"][0]), blob(&layout, &lie["layers"][0])).unwrap();
    let mut index = parse(&layout.join("index.json"));
    lie["subject"]["digest"] = json!(digest);
    let text = lie.to_string();
    let lied = Sha256::of(text.as_bytes()).oci();
    fs_err::write(blob(&layout, &json!({ "digest": lied })), &text).unwrap();
    index["manifests"][1]["digest"] = json!(lied);
    fs_err::remove_file(layout.join("index.json")).unwrap();
    fs_err::write(layout.join("index.json"), index.to_string()).unwrap();
    let told = world.run(&["rebuild", &path, "--out", world.path("third").to_str().unwrap()]);
    let expected = format!("and locks give\n  expected: {}\n  received: {}\n", &digest[7..], &other[7..]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains(&expected), "{}", told.stderr);
    let report = world.run(&["verify", "--json", &path]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["verified"][0]["received"], other);

    // Nothing that is carried leaves its folder.
    let hostile = tar_gz_of_bytes(&[("../escape", b"x", 0o644)]);
    let hash = Sha256::of(&hostile).oci();
    fs_err::write(blob(&layout, &json!({ "digest": hash })), &hostile).unwrap();
    lie["layers"][0]["digest"] = json!(hash);
    lie["layers"][0]["size"] = json!(hostile.len());
    let text = lie.to_string();
    let lied = Sha256::of(text.as_bytes()).oci();
    fs_err::write(blob(&layout, &json!({ "digest": lied })), &text).unwrap();
    index["manifests"][1]["digest"] = json!(lied);
    fs_err::write(layout.join("index.json"), index.to_string()).unwrap();
    let told = world.run(&["rebuild", &path]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("../escape"), "{}", told.stderr);
}

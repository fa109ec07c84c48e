//! `nodeimg diff`: what two things differ in, and why.

use serde_json::json;

use crate::world::{Deb, Told, World};

/// A world with an image built, and what it was before that under `before`.
fn changed() -> World {
    let world = World::locked();
    world.made(&[]);
    copy(&world, "project/out/plain/oci", "before");
    world.edit(
        "project/recipes/packages/hello.toml",
        "cp hello \"$OUT/usr/bin/hello\"",
        "echo 'mood = \"fine\"' > \"$OUT/mood.toml\"\ncp hello \"$OUT/usr/bin/hello\"",
    );
    world.edit("project/recipes/images/plain.toml", "[config]", "[config]\nenv = { MOOD = \"fine\" }");
    world.made(&[]);
    world
}

fn copy(world: &World, from: &str, to: &str) {
    let (from, to) = (world.path(from), world.path(to));
    let mut open = vec![(from, to)];
    while let Some((from, to)) = open.pop() {
        if from.is_dir() {
            fs_err::create_dir_all(&to).unwrap();
            let inner = |entry: std::io::Result<fs_err::DirEntry>| {
                let name = entry.unwrap().file_name();
                (from.join(&name), to.join(&name))
            };
            open.extend(fs_err::read_dir(&from).unwrap().map(inner));
        } else {
            fs_err::copy(from, to).unwrap();
        }
    }
}

#[test]
fn images_are_compared_wherever_they_are_kept() {
    let world = changed();
    let told = world.run(&["diff", "../before", "plain"]);
    assert_eq!(told.stderr, "");
    snapbox::assert_data_eq!(
        told.stdout,
        snapbox::str![[r#"
      diff ../before and plain
     image linux/amd64 sha256:5ff6b0fa2e58… → sha256:c782200b51f4…
    config + config.Env  ["MOOD=fine"]
    layers 1 in both
           ~ programs  151 B → 199 B
     files + /mood.toml  14 B 0644
     cause hello
           ~ the script
             umask 022; echo "building hello $VERSION"
             mkdir -p "$OUT/usr/bin"
           + echo 'mood = "fine"' > "$OUT/mood.toml"
             cp hello "$OUT/usr/bin/hello"
     cause plain
           + config.env.MOOD  fine
    differ 1 layer, 1 path

"#]]
    );
    assert_eq!(told.code, 1);
    // The same out of an archive, a layout, the store's tree and manifest.
    let (_, said) = told_body(&world.run(&["diff", "../before", "plain"]));
    let built = world.json(&["build", "--lock"]);
    let name = |field: &str| built["targets"][0][field].as_str().unwrap().to_owned();
    let (digest, tree) = (name("digest"), name("tree"));
    for place in ["out/plain", "out/plain/oci", "out/plain/image.tar", &digest, &tree] {
        let told = world.run(&["diff", "../before", place]);
        assert_eq!(told_body(&told), (1, said.clone()), "{place}: {}", told.stderr);
        let told = world.run(&["diff", "plain", place]);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{place}: {}", told.stdout);
        assert_eq!(told.stdout, format!("      diff plain and {place} are the same\n"));
    }
    // What it was before it was last made.
    let told = world.run(&["diff", "plain"]);
    assert_eq!(told_body(&told), (1, said));
    assert!(told.stdout.starts_with("      diff plain before and plain\n"), "{}", told.stdout);
}

/// What is said below the first line.
fn told_body(told: &Told) -> (i32, String) {
    (told.code, told.stdout.split_once('\n').unwrap_or_default().1.to_owned())
}

#[test]
fn a_document_and_a_page_say_the_same() {
    let world = changed();
    let output = world.command(&["diff", "../before", "plain", "--json", "--html", "../page.html"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["equal"], false);
    let image = &document["images"]["images"][0];
    let env = json!([{ "value": { "what": "config.Env", "before": null, "now": "[\"MOOD=fine\"]" } }]);
    assert_eq!(image["config"], env);
    assert!(image["now"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(image["files"][0]["now"]["size"], 14);
    assert_eq!(document["causes"]["steps"][1]["step"], "plain");
    let page = world.read("page.html");
    assert!(page.contains("/mood.toml"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "{page}");
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn what_images_carry_says_why_where_the_store_does_not_know() {
    let world = changed();
    copy(&world, "project/out/plain", "now");
    fs_err::remove_dir_all(world.path("store")).unwrap();
    let recipes = "   recipes ~ /recipes/images/plain.toml
             + config.env  {\"MOOD\":\"fine\"}
           ~ /recipes/packages/hello.toml
             ~ build.script
               echo \"building hello $VERSION\"
               mkdir -p \"$OUT/usr/bin\"
             + echo 'mood = \"fine\"' > \"$OUT/mood.toml\"
               cp hello \"$OUT/usr/bin/hello\"
    differ 1 layer, 1 path
";
    for now in ["../now", "../now/oci", "../now/image.tar"] {
        let told = world.run(&["diff", "../before", now]);
        assert_eq!(told.code, 1);
        assert!(told.stdout.ends_with(recipes), "{}", told.stdout);
    }
    let output = world.command(&["diff", "../before", "../now", "--json", "--html", "../page.html"]).output();
    let document: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(document["recipes"][0]["path"], "/recipes/images/plain.toml");
    assert!(world.read("page.html").contains("<h2>Recipes, locks and patches</h2>"));
    // Another program's image carries nothing.
    fs_err::remove_dir_all(world.path("store")).unwrap();
    let index = world.read("now/oci/index.json");
    let mut index: serde_json::Value = serde_json::from_str(&index).unwrap();
    index["manifests"].as_array_mut().unwrap().truncate(1);
    world.write("now/oci/index.json", index.to_string());
    let told = world.run(&["diff", "../before", "../now/oci"]);
    assert!(told.code == 1 && !told.stdout.contains("recipes"), "{}", told.stdout);
}

#[test]
fn packages_come_with_their_versions() {
    let world = World::locked();
    world.made(&["node"]);
    world.publish(&[
        Deb::base(),
        Deb::new("tools", "").version("2").with("usr/share/tools", "other tools\n", 0o644),
    ]);
    let told = world.run(&["lock", "--update"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    world.made(&["node"]);
    let told = world.run(&["diff", "node"]);
    snapbox::assert_data_eq!(
        told.stdout,
        snapbox::str![[r#"
      diff node before and node
     image linux/amd64 sha256:e558fe818920… → sha256:95bc8c138cc2…
    layers 4 in both
           ~ system  1.1 MB → 1.1 MB
  packages ~ tools  1 → 2  (2 paths)
     files ~ /var/lib/dpkg/status
             ~ tools  1 → 2
     cause node:system:root:unpack
           ~ package `tools`  tools_1_all.deb → tools_2_all.deb
    differ 1 layer, 1 package, 3 paths

"#]]
    );
}

#[test]
fn files_folders_and_packages_are_compared_too() {
    let world = changed();
    let told = world.run(&["diff", "hello"]);
    snapbox::assert_data_eq!(
        told.stdout,
        snapbox::str![[r#"
      diff hello before and hello
     files + /mood.toml  14 B 0644
     cause hello
           ~ the script
             umask 022; echo "building hello $VERSION"
             mkdir -p "$OUT/usr/bin"
           + echo 'mood = "fine"' > "$OUT/mood.toml"
             cp hello "$OUT/usr/bin/hello"
    differ 1 path

"#]]
    );
    world.write("one/a", "same\n");
    world.write("two/a", "same\n");
    assert_eq!(world.run(&["diff", "../one", "../two"]).code, 0);
    world.write("two/a", "\u{1b}[31mother\n");
    world.write("two/evil<script>\u{202e}", "x");
    let told = world.run(&["diff", "../one", "../two", "--html", "../page.html"]);
    assert_eq!(
        told.stdout,
        "      diff ../one and ../two
     files ~ /a
             - same
             + \\u{1b}[31mother
           + /evil<script>\\u{202e}  1 B 0644
    differ 2 paths
"
    );
    let page = world.read("page.html");
    assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
    let told = world.run(&["diff", "../one/a", "../two/a"]);
    assert_eq!(
        told.stdout,
        "      diff ../one/a and ../two/a\n   content - same\n           + \\u{1b}[31mother\n"
    );
}

#[test]
fn what_cannot_be_compared_is_said() {
    let world = World::locked();
    world.write("a", "text");
    world.write("layout/index.json", "{");
    let hash = "0".repeat(64);
    let all: [(&[&str], i32); 6] = [
        (&["diff", "nothing", "plain"], 2),
        (&["diff", "plain", "plain"], 2),
        (&["diff", "hello"], 2),
        (&["diff", &hash, "../a"], 2),
        (&["diff", "../layout", "../a"], 1),
        (&["diff", "../a", "../project"], 2),
    ];
    let mut said = String::new();
    for (arguments, code) in all {
        let told = world.run(arguments);
        assert_eq!((told.code, told.stdout.as_str()), (code, ""), "{arguments:?}: {}", told.stderr);
        said += &told.stderr;
    }
    snapbox::assert_data_eq!(
        said,
        snapbox::str![[r#"
error: nothing is called `nothing`: no recipe of this project, no file, no
  folder and no digest of the store
hint: name an OCI layout, an archive, a folder, an image or package of the
  project, or a digest; `nodeimg diff --help` says more
error: what `plain` is now is not in the store
hint: `nodeimg build plain` makes it; what was built before lies below `out`
error: what `hello` was before it was last made is not in the store
hint: name two things to compare; `nodeimg diff NAME` compares with the time
  before, when it was made here
error: `0000000000000000000000000000000000000000000000000000000000000000` is not
  in the store
hint: build what it names again, or name the file or folder where it lies
error: `../layout` is no image: `index.json` does not parse: EOF while parsing
  an object at line 1 column 1
hint: `docker save -o FILE NAME` writes one, and `skopeo copy … oci:FOLDER`
error: `../a` is a file, and `../project` is a folder of files
hint: name two images, or two packages, folders or archives

"#]]
    );
}

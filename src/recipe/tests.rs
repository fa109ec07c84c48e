//! Projects in a temporary folder: what loads, and the text of everything that does not.

use std::path::Path;

use miette::Diagnostic;

use super::*;
use crate::base::{Arch, Blame};

const SUITE: &str = r#"
name = "bookworm"
snapshot = "20261120T000000Z"
components = ["main"]
keys = ["archive.asc"]
[[pockets]]
archive = "debian"
suite = "bookworm"
"#;

const CRUN: &str = r#"
name = "crun"
version = "1.21"
license = "GPL-2.0-or-later AND LGPL-2.1-or-later"
[source]
url = "https://github.com/containers/crun/releases/download/{version}/crun-{version}.tar.gz"
[build]
root = "bookworm"
packages = ["gcc", "libc6-dev"]
inputs = ["wasmtime-c-api"]
patches = ["0001-fit.patch"]
limits = { time = "2h", memory = "8GiB" }
script = "make"
[test]
script = "crun --version"
"#;

const WASMTIME: &str = r#"
name = "wasmtime-c-api"
version = "25.0.0"
license = "Apache-2.0"
[sources.library]
url = "https://example.org/{version}.whl"
unpack = false
[sources.headers]
url = "https://example.org/{version}.crate"
strip = 2
[build]
root = "bookworm"
env = { WASMTIME = "{version}-{arch}" }
script = "true"
"#;

const RUNTIME: &str = r#"
name = "crun-wasmtime"
packages = ["crun", "wasmtime-c-api"]
type = "io.containerd.runc.v2"
binary = "/usr/local/bin/crun"
loads = ["libwasmtime.so"]
options = { SystemdCgroup = false }
annotations = { "module.wasm.image/variant" = "compat-smart" }
pod-annotations = ["module.wasm.image/*"]
node-labels = { "runtime/wasmtime" = "true" }
example = [{ name = "native", image = "busybox" }]
"#;

const BUSYBOX: &str = r#"
name = "busybox"
tag = "1.35"
[[layers]]
name = "busybox"
packages = ["crun"]
"#;

const NODE: &str = r#"
name = "node"
tag = "v{crun}-{arch}"
default = true
[system]
suite = "bookworm"
packages = ["systemd"]
[[layers]]
name = "images"
preload = ["busybox"]
[node]
kubernetes = "crun"
runtimes = ["crun-wasmtime"]
[config]
entrypoint = ["/sbin/init"]
"#;

/// Writes a project of good recipes, with some files changed: `None` removes one.
fn project(changes: &[(&str, Option<&str>)]) -> (tempfile::TempDir, Result<Project, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("recipes/suites/bookworm.toml", SUITE),
        ("recipes/suites/archive.asc", "key"),
        ("recipes/packages/crun.toml", CRUN),
        ("recipes/packages/wasmtime-c-api.toml", WASMTIME),
        ("recipes/runtimes/crun-wasmtime.toml", RUNTIME),
        ("recipes/images/busybox.toml", BUSYBOX),
        ("recipes/images/node.toml", NODE),
        ("patches/crun/0001-fit.patch", ""),
    ];
    for (path, text) in files {
        write(folder.path(), path, text.trim_start());
    }
    for (path, text) in changes {
        match text {
            Some(text) => write(folder.path(), path, text),
            None => fs_err::remove_file(folder.path().join(path)).unwrap(),
        }
    }
    let loaded = load(folder.path());
    (folder, loaded)
}

fn write(folder: &Path, path: &str, text: &str) {
    fs_err::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
    fs_err::write(folder.join(path), text).unwrap();
}

/// Gives each problem as `file:line:column: message [label] (hint)`.
fn problems(changes: &[(&str, Option<&str>)]) -> Vec<String> {
    let (_folder, loaded) = project(changes);
    let Err(Error::Problems(problems)) = loaded else { panic!("loads: {loaded:?}") };
    let one = |problem: &Problem| {
        let label = problem.labels().unwrap().next().unwrap();
        let place = problem.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
        let (line, column) = (place.line() + 1, place.column() + 1);
        let hint = problem.help().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{line}:{column}: {problem} [{}]{hint}", problem.file(), label.label().unwrap())
    };
    problems.iter().map(one).collect()
}

#[track_caller]
fn fails(path: &str, good: &str, from: &str, to: &str, expected: &[&str]) {
    assert!(good.contains(from), "{from}");
    let text = good.trim_start().replacen(from, to, 1);
    assert_eq!(problems(&[(path, Some(&text))]), expected);
}

const CRUN_FILE: &str = "recipes/packages/crun.toml";
const NODE_FILE: &str = "recipes/images/node.toml";
const RUNTIME_FILE: &str = "recipes/runtimes/crun-wasmtime.toml";
const SUITE_FILE: &str = "recipes/suites/bookworm.toml";

#[test]
fn a_good_project_loads() {
    let (_folder, loaded) = project(&[]);
    let project = loaded.unwrap();
    let crun = &project.packages["crun"];
    assert_eq!(crun.build.limits.memory, Some(Size(8 << 30)));
    assert_eq!(crun.sources().next().unwrap().0.as_str(), "crun");
    let wasmtime = &project.packages["wasmtime-c-api"];
    let names: Vec<_> = wasmtime.sources().map(|(name, source)| (name.as_str(), source.unpack)).collect();
    assert_eq!(names, [("library", false), ("headers", true)]);
    assert_eq!(wasmtime.expand(Arch::Arm64).build.env["WASMTIME"], "25.0.0-arm64");
    let node = project.default_image().unwrap();
    assert_eq!(node.expand(&|name| project.version(name), Arch::Amd64).tag, "v1.21-amd64");
    assert_eq!(node.node.as_ref().unwrap().containerd_config.as_str(), "/etc/containerd/config.toml");
    let all = project.closure(&project.targets(&[]).unwrap());
    let all: Vec<_> = all.iter().map(Id::to_string).collect();
    let expected = [
        "suites/bookworm",
        "packages/crun",
        "packages/wasmtime-c-api",
        "runtimes/crun-wasmtime",
        "images/busybox",
        "images/node",
    ];
    assert_eq!(all, expected);
}

#[test]
fn unknown_keys_get_a_suggestion() {
    fails(
        CRUN_FILE,
        CRUN,
        "version =",
        "verison =",
        &[
            "recipes/packages/crun.toml:2:1: unknown key `verison` [not a key of this table] (did you mean `version`?)",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "time =",
        "colour =",
        &["recipes/packages/crun.toml:11:12: unknown key `colour` [not a key of this table] \
         (known keys: `time`, `processes`, `memory`, `disk`)"],
    );
}

#[test]
fn everything_wrong_with_a_file_is_told_at_once() {
    let text = "name = 3\nlicense = [\"MIT\"]\nversoin = \"1\"\n[build]\nroot = \"bookworm\"\npackages = \"gcc\"\n\
                limits = { memory = \"8GB\", processes = -1 }\n";
    assert_eq!(
        problems(&[(CRUN_FILE, Some(text))]),
        [
            "recipes/packages/crun.toml:1:8: `name` is a whole number, it should be a string [should be a string]",
            "recipes/packages/crun.toml:2:11: `license` is a list, it should be a string [should be a string]",
            "recipes/packages/crun.toml:3:1: unknown key `versoin` [not a key of this table] (did you mean `version`?)",
            "recipes/packages/crun.toml:4:1: key `script` is missing [`script` belongs here]",
            "recipes/packages/crun.toml:6:12: `packages` is a string, it should be a list of strings \
         [should be a list of strings]",
            "recipes/packages/crun.toml:7:21: `8GB` is not a size like `512MiB` or `8GiB` [not valid]",
            "recipes/packages/crun.toml:7:40: `processes` is out of range [not valid]",
        ]
    );
}

#[test]
fn broken_toml_is_told_with_its_place() {
    assert_eq!(
        problems(&[(CRUN_FILE, Some("name = \"crun\nversion = 1.2.3\n"))]),
        [
            "recipes/packages/crun.toml:1:13: not TOML: invalid basic string, expected `\"` [here]",
            "recipes/packages/crun.toml:2:14: not TOML: invalid float [here]",
        ]
    );
}

#[test]
fn references_lead_somewhere() {
    fails(
        CRUN_FILE,
        CRUN,
        "root = \"bookworm\"",
        "root = \"bokworm\"",
        &["recipes/packages/crun.toml:7:8: no suite `bokworm` in the project [no such suite] \
         (did you mean `bookworm`?)"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "[\"wasmtime-c-api\"]",
        "[\"wasmedge\"]",
        &["recipes/packages/crun.toml:9:11: no package `wasmedge` in the project [no such package] \
         (write `recipes/packages/wasmedge.toml`)"],
    );
    fails(
        NODE_FILE,
        NODE,
        "[\"busybox\"]",
        "[\"busibox\"]",
        &[
            "recipes/images/node.toml:9:12: no image `busibox` in the project [no such image] (did you mean `busybox`?)",
        ],
    );
    fails(
        NODE_FILE,
        NODE,
        "[\"crun-wasmtime\"]",
        "[\"crun-wasmtime\", \"crun-wasmtime\"]",
        &["recipes/images/node.toml:12:30: `crun-wasmtime` is there twice [the second one]"],
    );
    fails(
        RUNTIME_FILE,
        RUNTIME,
        "\"busybox\"",
        "\"alpine\"",
        &["recipes/runtimes/crun-wasmtime.toml:10:39: no image `alpine` in the project [no such image] \
         (write `recipes/images/alpine.toml`)"],
    );
}

#[test]
fn a_broken_recipe_is_no_unknown_reference() {
    let found = problems(&[("recipes/packages/wasmtime-c-api.toml", Some("name = \"wasmtime-c-api\"\n"))]);
    assert_eq!(
        found,
        [
            "recipes/packages/wasmtime-c-api.toml:1:1: key `version` is missing [`version` belongs here]",
            "recipes/packages/wasmtime-c-api.toml:1:1: key `license` is missing [`license` belongs here]",
            "recipes/packages/wasmtime-c-api.toml:1:1: key `build` is missing [`build` belongs here]",
        ]
    );
}

#[test]
fn files_exist_and_stay_inside() {
    fails(
        CRUN_FILE,
        CRUN,
        "0001-fit.patch",
        "0001-fitt.patch",
        &["recipes/packages/crun.toml:10:12: no file `patches/crun/0001-fitt.patch` [no such file] \
         (did you mean `0001-fit.patch`?)"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "0001-fit.patch",
        "../0001-fit.patch",
        &["recipes/packages/crun.toml:10:12: `../0001-fit.patch` leads out of `patches/crun` [leads out]"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "0001-fit.patch",
        "/etc/passwd",
        &["recipes/packages/crun.toml:10:12: `/etc/passwd` leads out of `patches/crun` [leads out]"],
    );
    fails(
        SUITE_FILE,
        SUITE,
        "archive.asc",
        "archiv.asc",
        &["recipes/suites/bookworm.toml:4:9: no file `recipes/suites/archiv.asc` [no such file] \
         (did you mean `archive.asc`?)"],
    );
    fails(
        SUITE_FILE,
        SUITE,
        "20261120T000000Z",
        "2026-11-20",
        &["recipes/suites/bookworm.toml:2:12: `2026-11-20` is no moment like `20261120T000000Z` [not valid]"],
    );
}

#[test]
fn names_are_the_files() {
    fails(
        CRUN_FILE,
        CRUN,
        "name = \"crun\"",
        "name = \"runc\"",
        &[
            "recipes/packages/crun.toml:1:8: the recipe is named `runc`, its file `crun` [not the file's name] \
         (set `name = \"crun\"`, or rename the file to `runc.toml`)",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "name = \"crun\"",
        "name = \"../crun\"",
        &[
            "recipes/packages/crun.toml:1:8: `../crun` is not a file name (empty, `.`, `..`, or holds `/` or NUL) \
         [not valid]",
        ],
    );
    assert_eq!(
        problems(&[("recipes/images/Big.toml", Some("name = \"Big\"\ntag = \"1\"\n"))]),
        ["recipes/images/Big.toml:1:8: `Big` can't be a recipe's name [not valid] \
         (use lower-case letters, digits, `.`, `_` and `-`; start with a letter or digit)",]
    );
}

#[test]
fn variables_are_known() {
    fails(
        NODE_FILE,
        NODE,
        "{crun}",
        "{crum}",
        &[
            "recipes/images/node.toml:2:7: nothing is called `{crum}` here [in this string] (did you mean `{crun}`?)",
        ],
    );
    fails(
        "recipes/packages/wasmtime-c-api.toml",
        WASMTIME,
        "{version}-{arch}",
        "{verison}",
        &["recipes/packages/wasmtime-c-api.toml:12:20: nothing is called `{verison}` here [in this string] \
         (did you mean `{version}`?)"],
    );
    fails(
        "recipes/packages/wasmtime-c-api.toml",
        WASMTIME,
        "{version}-{arch}",
        "{os}",
        &["recipes/packages/wasmtime-c-api.toml:12:20: nothing is called `{os}` here [in this string] \
         (known here: `{version}`, `{arch}`, `{machine}`, `{triplet}`)"],
    );
}

#[test]
fn circles_are_printed() {
    let text = WASMTIME.trim_start().replacen(
        "root = \"bookworm\"\n",
        "root = \"bookworm\"\ninputs = [\"crun\"]\n",
        1,
    );
    assert_eq!(
        problems(&[("recipes/packages/wasmtime-c-api.toml", Some(&text))]),
        [
            "recipes/packages/wasmtime-c-api.toml:12:11: these recipes need each other: crun → wasmtime-c-api → crun \
         [closes the circle] (take one of these references out)",
        ]
    );
}

#[test]
fn one_default_and_one_handler() {
    let second = "name = \"other\"\ntag = \"1\"\ndefault = true\n";
    assert_eq!(
        problems(&[("recipes/images/other.toml", Some(second))]),
        ["recipes/images/other.toml:3:11: image `node` is the default one already [the second default] \
         (leave `default = true` in one image only)",]
    );
    let second = "name = \"other\"\nhandler = \"crun-wasmtime\"\ntype = \"io.containerd.runc.v2\"\n";
    assert_eq!(
        problems(&[("recipes/runtimes/other.toml", Some(second))]),
        [
            "recipes/runtimes/other.toml:2:11: handler `crun-wasmtime` is the one of runtime `crun-wasmtime` already \
         [taken] (give one of the two another name)",
        ]
    );
}

#[test]
fn sources_are_given_once_and_patched_only_if_there() {
    fails(
        CRUN_FILE,
        CRUN,
        "[build]",
        "[sources.other]\nurl = \"https://example.org/a\"\n[build]",
        &["recipes/packages/crun.toml:6:2: both `source` and `sources` are given [the second form] \
         (move `[source]` to `[sources.NAME]`)"],
    );
    fails(
        NODE_FILE,
        NODE,
        "runtimes = [",
        "runtime = [",
        &[
            "recipes/images/node.toml:12:1: unknown key `runtime` [not a key of this table] (did you mean `runtimes`?)",
        ],
    );
}

#[test]
fn sources_are_checked_as_the_kind_they_look_like() {
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "ulr =",
        &[
            "recipes/packages/crun.toml:5:1: unknown key `ulr` [not a key of this table] (did you mean `url`?)",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "crun-{version}",
        "crun-{verison}",
        &["recipes/packages/crun.toml:5:7: nothing is called `{verison}` here [in this string] \
         (did you mean `{version}`?)"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "strip = \"1\"\nurl =",
        &[
            "recipes/packages/crun.toml:5:9: `strip` is a string, it should be a whole number [should be a whole number]",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "pypi = \"crun\"\nverison = \"1\"\nfile = \"a\"\n#",
        &[
            "recipes/packages/crun.toml:6:1: unknown key `verison` [not a key of this table] (did you mean `version`?)",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "path = \"../..\"\n#",
        &["recipes/packages/crun.toml:5:8: `../..` leads out of `recipes/packages` [leads out]"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "path = \"nowhere\"\n#",
        &["recipes/packages/crun.toml:5:8: no file `recipes/packages/nowhere` [no such file]"],
    );
}

#[test]
fn values_by_platform_cover_all() {
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "url = { amd64 = \"a\", arm46 = \"b\" }\n#",
        &[
            "recipes/packages/crun.toml:5:22: unknown key `arm46` [not a key of this table] (did you mean `arm64`?)",
        ],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "url = { amd64 = \"a\" }\n#",
        &["recipes/packages/crun.toml:4:1: `url` says nothing for arm64 [not valid]"],
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url =",
        "url = 3\n#",
        &["recipes/packages/crun.toml:5:7: `url` is a whole number, it should be a string or a table \
         [should be a string or a table]"],
    );
}

#[test]
fn targets_are_found_by_name() {
    let (_folder, loaded) = project(&[]);
    let project = loaded.unwrap();
    let find = |name: &str| project.targets(&[name.to_owned()]).map(|ids| ids[0].to_string());
    assert_eq!(find("crun").unwrap(), "packages/crun");
    assert_eq!(find("images/node").unwrap(), "images/node");
    let error = find("curn").unwrap_err();
    assert_eq!(error.to_string(), "no recipe `curn` in the project");
    assert_eq!(error.help().unwrap().to_string(), "did you mean `crun`?");
    assert_eq!(error.blame(), Blame::Usage);
}

#[test]
fn a_folder_without_recipes_is_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("no `recipes` folder in `{}`", folder.path().display()));
}

#[test]
fn schemas_are_what_they_were() {
    for role in Role::ALL {
        let file = format!("{}/src/recipe/schemas/{}.json", env!("CARGO_MANIFEST_DIR"), role.folder());
        let text = serde_json::to_string_pretty(&schema(role)).unwrap() + "\n";
        // `SNAPSHOTS=overwrite cargo test` writes them anew.
        snapbox::assert_data_eq!(text, snapbox::Data::read_from(Path::new(&file), None).raw());
    }
}

proptest::proptest! {
    /// Whatever is done to a recipe: what can't be read has a problem, with a place that is in the text.
    #[test]
    fn no_text_is_too_strange(
        role in 0..4usize,
        at in 0.0..1.0f64,
        length in 0..30usize,
        text in "(\\PC|[\\[\\]{}=\"'\\n.#]){0,12}",
    ) {
        let role = Role::ALL[role];
        let good = match role {
            Role::Suite => SUITE,
            Role::Package => CRUN,
            Role::Runtime => RUNTIME,
            Role::Image => NODE,
        };
        let start = (good.len() as f64 * at) as usize;
        let end = (start + length).min(good.len());
        let changed = format!("{}{text}{}", &good[..start], &good[end..]);
        let file = "recipes/x/y.toml".to_owned();
        let document = Document { file, text: changed.as_str().into() };
        let fails = match role {
            Role::Suite => toml::from_str::<Suite>(&changed).is_err(),
            Role::Package => toml::from_str::<Package>(&changed).is_err(),
            Role::Runtime => toml::from_str::<Runtime>(&changed).is_err(),
            Role::Image => toml::from_str::<Image>(&changed).is_err(),
        };
        let problems = check::check(&document, &schema::whole(role));
        proptest::prop_assert!(fails || problems.is_empty(), "{:?} of what can be read", problems);
        for problem in problems {
            proptest::prop_assert!(changed.get(problem.span()).is_some(), "{:?}", problem);
        }
    }
}

const CARGO_LOCK: &str = "recipes/packages/wrapper/Cargo.lock";

#[test]
fn a_cargo_lock_is_read_with_its_package() {
    let text = WASMTIME.replace("[build]", "[sources.crates]\ncargo = \"wrapper/Cargo.lock\"\n[build]");
    let recipe = ("recipes/packages/wasmtime-c-api.toml", Some(text.as_str()));
    let lock = format!(
        "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n\
         source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{}\"\n",
        "0f".repeat(32)
    );
    let (_folder, loaded) = project(&[recipe, (CARGO_LOCK, Some(&lock))]);
    let project = loaded.unwrap();
    assert_eq!(project.crates(&project.packages["wasmtime-c-api"]).unwrap().crates[0].name, "serde");

    let broken = lock.replace("checksum", "# checksum");
    assert_eq!(
        problems(&[recipe, (CARGO_LOCK, Some(&broken))]),
        [
            "recipes/packages/wrapper/Cargo.lock:4:8: crate `serde 1.0.1` has no checksum [this crate] (remove its \
          `[[package]]` and let cargo write it anew: `cargo fetch`)"
        ]
    );
    assert_eq!(
        problems(&[recipe, ("recipes/packages/wrapper/Cargo.toml", Some(""))]),
        [
            "recipes/packages/wasmtime-c-api.toml:12:9: no file `recipes/packages/wrapper/Cargo.lock` [no such file]"
        ]
    );
    let out = text.replace("wrapper/", "../");
    assert_eq!(
        problems(&[("recipes/packages/wasmtime-c-api.toml", Some(&out))]),
        [
            "recipes/packages/wasmtime-c-api.toml:12:9: `../Cargo.lock` leads out of `recipes/packages` [leads out]"
        ]
    );
    let other = text.replace("cargo =", "crago =");
    assert_eq!(
        problems(&[("recipes/packages/wasmtime-c-api.toml", Some(&other)), (CARGO_LOCK, Some(&lock))]),
        [
            "recipes/packages/wasmtime-c-api.toml:12:1: unknown key `crago` [not a key of this table] (did you mean \
          `cargo`?)"
        ]
    );
    let twice = text.replace("[build]", "[sources.more]\ncargo = \"wrapper/Cargo.lock\"\n[build]");
    assert_eq!(
        problems(&[("recipes/packages/wasmtime-c-api.toml", Some(&twice)), (CARGO_LOCK, Some(&lock))]),
        [
            "recipes/packages/wasmtime-c-api.toml:13:1: there is another `cargo` source already [the second one] \
          (list the crates of both in one workspace's `Cargo.lock`)"
        ]
    );
    fails(
        CRUN_FILE,
        CRUN,
        "url = \"https://github.com/containers/crun/releases/download/{version}/crun-{version}.tar.gz\"",
        "cargo = \"wasmtime-c-api.toml\"",
        &[
            "recipes/packages/crun.toml:10:11: there is no source to patch [for no source] (put the source that \
             they are for first, or take `patches` out)",
            "recipes/packages/wasmtime-c-api.toml:2:11: not a `Cargo.lock`: invalid type: string \"25.0.0\", expected \
             i64 [here] (take cargo's own file as it is; `cargo generate-lockfile` writes one)",
        ],
    );
}

#[test]
fn calls_are_in_a_source() {
    fails(
        CRUN_FILE,
        CRUN,
        "patches = [\"0001-fit.patch\"]",
        "calls = [\"src/handler.c\"]",
        &[
            "recipes/packages/crun.toml:10:10: `src/handler.c` is not an absolute path without `.`, `..` and empty \
           parts [not valid]",
        ],
    );
    let file = WASMTIME.replace("env = {", "calls = [\"/a.c\"]\nenv = {");
    let unpacked = file.replace("unpack = false", "");
    project(&[("recipes/packages/wasmtime-c-api.toml", Some(&unpacked))]).1.unwrap();
    assert_eq!(
        problems(&[("recipes/packages/wasmtime-c-api.toml", Some(&file))]),
        [
            "recipes/packages/wasmtime-c-api.toml:13:9: there is no source with these files [in no source] (put the \
          source that has them first, unpacked, or take `calls` out)"
        ]
    );
}

const VARIANT_FILE: &str = "recipes/packages/crun-other.toml";
const OTHER_FILE: &str = "recipes/packages/other.toml";
const VARIANT: &str = "name = \"crun-other\"\nlike = \"crun\"\nwith = { wasmtime-c-api = \"other\" }\n";

#[test]
fn a_variant_is_another_recipe_with_other_inputs() {
    let other = WASMTIME.trim_start().replace("wasmtime-c-api", "other");
    let (_folder, loaded) = project(&[(VARIANT_FILE, Some(VARIANT)), (OTHER_FILE, Some(&other))]);
    let project = loaded.unwrap();
    let variant = &project.packages["crun-other"];
    assert_eq!((variant.name.as_str(), variant.recipe().as_str()), ("crun-other", "crun"));
    assert_eq!(variant.sources().next().unwrap().0.as_str(), "crun");
    let inputs: Vec<_> =
        variant.places_of_inputs().map(|at| (at.as_str(), variant.input(at).as_str())).collect();
    assert_eq!(inputs, [("wasmtime-c-api", "other")]);
    let id = project.targets(&["packages/crun-other".to_owned()]).unwrap();
    let closure: Vec<_> = project.closure(&id).iter().map(Id::to_string).collect();
    assert_eq!(closure, ["suites/bookworm", "packages/crun-other", "packages/other"]);
}

#[test]
fn faults_of_variants_are_told_with_their_places() {
    let other = WASMTIME.trim_start().replace("wasmtime-c-api", "other");
    let told = |from: &str, to: &str| {
        problems(&[(VARIANT_FILE, Some(&VARIANT.replace(from, to))), (OTHER_FILE, Some(&other))])
    };
    let file = VARIANT_FILE;
    assert_eq!(
        told("\"crun\"", "\"crum\""),
        [format!("{file}:2:8: no package `crum` in the project [no such package] (did you mean `crun`?)")]
    );
    assert_eq!(
        told("\"other\" }", "\"othr\" }"),
        [format!("{file}:3:27: no package `othr` in the project [no such package] (did you mean `other`?)")]
    );
    assert_eq!(
        told("{ wasmtime-c-api", "{ wasmtime-c-apy"),
        [format!(
            "{file}:3:27: `wasmtime-c-apy` is no input of `crun` [no input] (did you mean `wasmtime-c-api`?)"
        )]
    );
    assert_eq!(
        told("with", "version = \"2\"\nwith"),
        [format!(
            "{file}:3:1: unknown key `version` [not a key of this table] (known keys: `name`, `like`, `with`, \
             `without`, `root`, `packages`, `env`, `test`, `description`)"
        )]
    );
    assert_eq!(
        told("like = \"crun\"", "like = \"crun-other\""),
        [format!(
            "{file}:2:8: package `crun-other` is itself like another one [no whole recipe] (name the whole recipe \
             that both are like)"
        )]
    );
    assert_eq!(
        told("crun-other", "crun-more"),
        [format!(
            "{file}:1:8: the recipe is named `crun-more`, its file `crun-other` [not the file's name] (set `name = \
             \"crun-other\"`, or rename the file to `crun-more.toml`)"
        )]
    );
    assert_eq!(
        told("\"other\" }", "\"crun-other\" }"),
        [format!(
            "{file}:1:1: these recipes need each other: crun-other → crun-other [closes the circle] (take one of these references out)"
        )]
    );
}

#[test]
fn a_variant_may_have_another_root_other_variables_and_a_test_of_its_own() {
    let text = "name = \"crun-other\"\nlike = \"crun\"\nroot = \"trixie\"\npackages = [\"libother-dev\"]\n\
                without = [\"wasmtime-c-api\"]\nenv = { ENGINE = \"other{version}\" }\n[test]\nscript = \"other\"\n";
    let suite = SUITE.replace("bookworm", "trixie");
    let other_suite = ("recipes/suites/trixie.toml", Some(suite.as_str()));
    let (_folder, loaded) = project(&[(VARIANT_FILE, Some(text)), other_suite]);
    let project = loaded.unwrap();
    let (crun, variant) = (&project.packages["crun"], &project.packages["crun-other"]);
    assert_eq!(variant.build.root.as_str(), "trixie");
    assert_eq!(variant.build.packages, [&crun.build.packages[..], &["libother-dev".to_owned()]].concat());
    assert_eq!(variant.build.env["ENGINE"], "other{version}");
    assert_eq!(variant.expand(Arch::Amd64).build.env["ENGINE"], format!("other{}", crun.version));
    assert_eq!((&variant.build.script, &variant.build.patches), (&crun.build.script, &crun.build.patches));
    assert_eq!(variant.test.as_ref().unwrap().script, "other");
    assert_eq!(variant.places_of_inputs().count(), 0);
    let id = project.targets(&["packages/crun-other".to_owned()]).unwrap();
    let closure: Vec<_> = project.closure(&id).iter().map(Id::to_string).collect();
    assert_eq!(closure, ["suites/trixie", "packages/crun-other"]);

    let told = |from: &str, to: &str| problems(&[(VARIANT_FILE, Some(&text.replace(from, to))), other_suite]);
    let file = VARIANT_FILE;
    assert_eq!(
        told("root = \"trixie\"", "root = \"trixy\""),
        [format!("{file}:3:8: no suite `trixy` in the project [no such suite] (did you mean `trixie`?)")]
    );
    assert_eq!(
        told("libother-dev", &crun.build.packages[0]),
        [format!("{file}:4:13: `{}` is there twice [the second one]", crun.build.packages[0])]
    );
    assert_eq!(
        told("[\"wasmtime-c-api", "[\"wasmtime-c-apy"),
        [format!(
            "{file}:5:12: `wasmtime-c-apy` is no input of `crun` [no input] (did you mean `wasmtime-c-api`?)"
        )]
    );
    assert_eq!(
        told("{version}", "{versoin}"),
        [format!(
            "{file}:6:18: nothing is called `{{versoin}}` here [in this string] (did you mean `{{version}}`?)"
        )]
    );
}

/// A runtime with a pod of a trial.
fn serving(containers: &str) -> String {
    format!("{RUNTIME}\n[[trial]]\nname = \"served\"\ncontainers = [\n{containers}\n]\n")
}

#[test]
fn what_a_server_is_asked_can_be_asked() {
    let good = "{ name = \"one\", image = \"busybox\", http = { port = 80 } },\n\
                { name = \"two\", image = \"busybox\", http = { port = 81, path = \"/a?b\", status = 404 } }";
    let (_folder, loaded) = project(&[(RUNTIME_FILE, Some(&serving(good)))]);
    let http = loaded.unwrap().runtimes["crun-wasmtime"].trial[0].containers[1].http.clone().unwrap();
    assert_eq!((http.path.as_str(), http.status, http.body), ("/a?b", 404, None));
    let told = |example: &str| {
        let text = serving(example);
        let line = text.lines().count() - 1;
        let told = problems(&[(RUNTIME_FILE, Some(&text))]);
        told.into_iter().map(|one| one.replace(&format!("{RUNTIME_FILE}:{line}:"), "")).collect::<Vec<_>>()
    };
    let one = |http: &str| told(&format!("{{ name = \"one\", image = \"busybox\", {http} }}"));
    assert_eq!(one("http = { port = 0 }"), ["52: `port` is out of range [not valid]"]);
    assert_eq!(
        one("http = { port = 80, path = \"a b\" }"),
        ["63: `a b` is no path of a URL: it starts with `/` and holds no blank [not valid]"]
    );
    assert_eq!(one("http = { port = 80, status = 42 }"), ["65: `42` is no status of HTTP [not valid]"]);
    assert_eq!(
        one("exit = 3, http = { port = 80 }"),
        ["43: `exit` is for containers that end by themselves, this one serves [not valid]"]
    );
    let two = |http: &str| {
        told(&format!(
            "{{ name = \"one\", image = \"busybox\", http = {{ port = 80 }} }}, {{ name = \"two\", image = \
             \"busybox\"{http} }}"
        ))
    };
    assert_eq!(two(""), ["60: `one` of the same pod serves until it is stopped, `two` ends [not valid]"]);
    assert_eq!(two(", http = { port = 80 }"), ["111: `80` is there twice [the second one]"]);
}

#[test]
fn what_has_a_hash_is_not_trusted_at_first_sight() {
    let hash = "1755fbeb2dec7d026faf8c37031d8a025975f5e194b782da10188206a386d6e4";
    let url =
        "url = \"https://github.com/containers/crun/releases/download/{version}/crun-{version}.tar.gz\"";
    let trusting = format!("{url}\ntrust = \"first-use\"");
    let (_folder, loaded) = project(&[(CRUN_FILE, Some(&CRUN.replace(url, &trusting)))]);
    assert!(loaded.unwrap().packages["crun"].is_trusted_on_first_use());
    let both = CRUN.replace(url, &format!("{trusting}\nsha256 = \"{hash}\""));
    let told = problems(&[(CRUN_FILE, Some(&both))]);
    assert!(told[0].contains("`sha256` and `trust` exclude each other"), "{told:?}");
    let other = CRUN.replace(url, &trusting.replace("first-use", "always"));
    let told = problems(&[(CRUN_FILE, Some(&other))]);
    assert!(told[0].contains("unknown variant `always`, expected `first-use`"), "{told:?}");
}

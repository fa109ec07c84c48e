//! The program as a person or a script meets it: exit codes, what goes to stdout and what to stderr.

use std::path::{Path, PathBuf};
use std::process::Output;

/// A project, a store and a home of its own.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let path = place.path("project").join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs nodeimg in the project with nothing of the host's environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        #[expect(clippy::disallowed_methods, reason = "it is the program under test")]
        let mut command = std::process::Command::new(Path::new(env!("CARGO_BIN_EXE_nodeimg")));
        command
            .args(arguments)
            .current_dir(self.path("project"))
            .env_clear()
            .env("HOME", self.path("home"))
            .env("NODEIMG_STORE", self.path("store"));
        command
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Exit code, stdout, stderr.
pub(crate) fn told(output: &Output) -> (i32, &str, &str) {
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

const SUITE: (&str, &str) = (
    "recipes/suites/bookworm.toml",
    "name = \"bookworm\"\nsnapshot = \"20261120T000000Z\"\ncomponents = [\"main\"]\nkeys = []\n\
     [[pockets]]\narchive = \"debian\"\nsuite = \"bookworm\"\n",
);
const PACKAGE: (&str, &str) = (
    "recipes/packages/hello.toml",
    "name = \"hello\"\nversion = \"1\"\nlicense = \"MIT\"\n[build]\nroot = \"bookworm\"\nscript = \"true\"\n",
);
const IMAGE: (&str, &str) = (
    "recipes/images/base.toml",
    "name = \"base\"\ntag = \"1\"\n[[layers]]\nname = \"l\"\npackages = [\"hello\"]\n",
);

#[test]
fn a_build_without_a_lock_says_what_to_do_and_asks_nobody() {
    let place = Place::new(&[SUITE, PACKAGE, IMAGE]);
    let output = place.run(&["build", "--lock", "base"]);
    let expected = "\
error: 3 recipes have no lock
  `suites/bookworm`: not locked yet
  `packages/hello`: not locked yet
  `images/base`: not locked yet
hint: run `nodeimg lock bookworm hello base` and review the diff
";
    assert_eq!(told(&output), (1, "", expected));
    assert!(!place.path("project/out").exists());
}

#[test]
fn wrong_names_and_words_are_usage_errors() {
    let place = Place::new(&[SUITE, PACKAGE, IMAGE]);
    let expected = "error: no recipe `bse` in the project\nhint: did you mean `base`?\n";
    assert_eq!(told(&place.run(&["build", "bse"])), (2, "", expected));
    let expected = "\
error: no image of the project is the default one
hint: name a target, or set `default = true` in one image recipe
";
    assert_eq!(told(&place.run(&["plan"])), (2, "", expected));
    let output = place.run(&["biuld"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("similar subcommands exist: 'bundle', 'rebuild', 'build'"),
        "{output:?}"
    );
    let expected = "error: no `recipes` folder in `..`\nhint: change to a project's folder or name it with `--project`\n";
    assert_eq!(told(&place.run(&["plan", "--project", ".."])), (1, "", expected));
}

#[test]
fn offline_names_who_asked() {
    let place = Place::new(&[SUITE, PACKAGE, IMAGE]);
    let output = place.run(&["lock", "--offline", "bookworm"]);
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stdout), (4, ""), "{stderr}");
    assert!(stderr.starts_with("error: can't resolve suite `suites/bookworm`\n"), "{stderr}");
    assert!(stderr.contains("is not in the store, and the network is off\n"), "{stderr}");
}

#[test]
fn results_go_to_stdout_and_nothing_else_does() {
    let place = Place::new(&[SUITE]);
    let output = place.run(&["store", "path"]);
    let expected = format!("{}\n", place.path("store").display());
    assert_eq!(told(&output), (0, expected.as_str(), ""));
    let output = place.run(&["schema", "images"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["title"], "nodeimg image recipe");
    let output = place.run(&["store", "ls", "--json"]);
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listing["kinds"]["blobs"]["objects"], 0);
    let output = place.run(&["store", "gc", "--max-size", "1GB"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`1GB` is not a size like `512MiB` or `8GiB`"), "{output:?}");
}

#[test]
fn a_store_that_cannot_be_written_is_this_machines_fault() {
    let place = Place::new(&[SUITE, PACKAGE, IMAGE]);
    fs_err::write(place.path("store"), "a file").unwrap();
    let expected = format!(
        "error: store `{}` is not a directory\nhint: set `NODEIMG_STORE` to a new directory\n",
        place.path("store").display()
    );
    let output = place.run(&["store", "ls"]);
    assert_eq!(told(&output), (4, "", expected.as_str()));
}

//! What a person reads when recipes or locks are wrong, as it stands on the screen.

use std::path::Path;

use nodeimg::cli::render::{Style, render};
use nodeimg::lock::{self, Elsewhere};
use nodeimg::recipe;

const SUITE: &str = "name = \"bookworm\"\nsnapshot = \"20261120T000000Z\"\ncomponents = [\"main\"]\nkeys = []\n\
                     [[pockets]]\narchive = \"debian\"\nsuite = \"bookworm\"\n";

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [("recipes/suites/bookworm.toml", SUITE)].iter().chain(files) {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

fn recipes(folder: &Path) -> String {
    render(&recipe::load(folder).unwrap_err(), Style::PLAIN)
}

#[test]
fn a_typo() {
    let crun = "name = \"crun\"\nverison = \"1.21\"\nlicense = \"MIT\"\n\n[build]\nroot = \"bookworm\"\nscript = \"make\"\n";
    let folder = project(&[("recipes/packages/crun.toml", crun)]);
    let expected = "\
error: unknown key `verison`
  --> recipes/packages/crun.toml:2:1
    |
  2 | verison = \"1.21\"
    | ^^^^^^^ not a key of this table
hint: did you mean `version`?
";
    assert_eq!(recipes(folder.path()), expected);
}

#[test]
fn several_faults() {
    let crun = "name = \"crun\"\nversion = \"1.21\"\nlicense = \"MIT\"\n\n[build]\nroot = \"bokworm\"\n\
                inputs = [\"wasmtime\"]\npatches = [\"../../etc/passwd\"]\n";
    let folder = project(&[
        ("recipes/packages/crun.toml", &format!("{crun}script = \"make\"\n")),
        ("recipes/packages/wasmtime.toml", crun),
    ]);
    let expected = "\
error: no suite `bokworm` in the project
  --> recipes/packages/crun.toml:6:8
    |
  6 | root = \"bokworm\"
    |        ^^^^^^^^^ no such suite
hint: did you mean `bookworm`?

error: there is no source to patch
  --> recipes/packages/crun.toml:8:11
    |
  8 | patches = [\"../../etc/passwd\"]
    |           ^^^^^^^^^^^^^^^^^^^^ for no source
hint: put the source that they are for first, or take `patches` out

error: `../../etc/passwd` leads out of `patches/crun`
  --> recipes/packages/crun.toml:8:12
    |
  8 | patches = [\"../../etc/passwd\"]
    |            ^^^^^^^^^^^^^^^^^^ leads out

error: key `script` is missing
  --> recipes/packages/wasmtime.toml:5:1
    |
  5 | [build]
    | ^^^^^^^ `script` belongs here

error: 4 problems in the recipes
";
    assert_eq!(recipes(folder.path()), expected);
}

#[test]
fn a_missing_lock() {
    let image = "name = \"base\"\ntag = \"1\"\ndefault = true\n[system]\nsuite = \"bookworm\"\n";
    let folder = project(&[("recipes/images/base.toml", image)]);
    let project = recipe::load(folder.path()).unwrap();
    let error = lock::load(&project, &project.targets(&[]).unwrap(), &Elsewhere::new()).unwrap_err();
    let expected = "\
error: 2 recipes have no lock
  `suites/bookworm`: not locked yet
  `images/base`: not locked yet
hint: run `nodeimg lock bookworm base` and review the diff
";
    assert_eq!(render(&error, Style::PLAIN), expected);
}

#[test]
fn a_lock_from_a_newer_program() {
    let image = "name = \"base\"\ntag = \"1\"\ndefault = true\n";
    let lock = "# Written by nodeimg\nversion = 7\nkind = \"whole\"\n";
    let folder = project(&[("recipes/images/base.toml", image), ("lockfiles/images/base.toml", lock)]);
    let project = recipe::load(folder.path()).unwrap();
    let error = lock::load(&project, &project.targets(&[]).unwrap(), &Elsewhere::new()).unwrap_err();
    let expected = "\
error: lock `lockfiles/images/base.toml` is from a newer nodeimg
  it has version 7, this one knows 1
  --> lockfiles/images/base.toml:2:1
    |
  2 | version = 7
    | ^^^^^^^^^^^ not known
hint: use the nodeimg that wrote it, or a newer one
";
    assert_eq!(render(&error, Style::PLAIN), expected);
}

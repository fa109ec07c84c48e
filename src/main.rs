//! The `nodeimg` program.

use include_dir::{Dir, include_dir};

/// The recipes that nodeimg comes with. They are here and not in the library crate, so that a changed recipe compiles
/// this file anew and nothing else.
static FOLDERS: [(&str, Dir<'_>); 3] = [
    ("recipes", include_dir!("$CARGO_MANIFEST_DIR/recipes")),
    ("lockfiles", include_dir!("$CARGO_MANIFEST_DIR/lockfiles")),
    ("patches", include_dir!("$CARGO_MANIFEST_DIR/patches")),
];

fn main() {
    // Before anything starts a thread.
    nodeimg::sandbox::enter_if_asked();
    std::process::exit(nodeimg::cli::run(library));
}

/// Lists the files of the recipes.
fn library() -> nodeimg::pipeline::library::Files {
    let mut files = nodeimg::pipeline::library::Files::new();
    let mut open: Vec<_> = FOLDERS.iter().map(|(name, folder)| (*name, folder)).collect();
    while let Some((name, folder)) = open.pop() {
        open.extend(folder.dirs().map(|inner| (name, inner)));
        let file = |file: &include_dir::File<'_>| {
            (format!("{name}/{}", file.path().display()), file.contents().to_vec())
        };
        files.extend(folder.files().map(file));
    }
    files
}

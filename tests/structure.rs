//! Holds the crate to the order of its map in `src/lib.rs`.

use std::collections::BTreeMap;
use std::path::Path;

/// A folder may use those of lower rank; folders of one rank don't know each other.
const RANKS: [(&str, u32); 22] = [
    ("base", 0),
    ("store", 1),
    ("engine", 1),
    ("bundle", 2),
    ("unpack", 2),
    ("fetch", 2),
    ("sandbox", 2),
    ("image", 2),
    ("node", 2),
    ("attest", 2),
    ("gate", 3),
    ("diff", 3),
    ("export", 3),
    ("cluster", 3),
    ("root", 3),
    ("recipe", 4),
    ("lock", 5),
    ("plan", 6),
    ("realise", 7),
    ("pipeline", 8),
    ("cli", 9),
    ("main", 10),
];

fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.to_str().unwrap().to_owned(), fs_err::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn folders_use_only_what_stands_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    sources(&src, &mut files);
    let ranks = BTreeMap::from(RANKS);
    let mut wrong = Vec::new();
    for (file, text) in &files {
        let inside = file.strip_prefix(src.to_str().unwrap()).unwrap().trim_start_matches('/');
        let own = inside.split('/').next().unwrap().trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let rank = *ranks.get(own).unwrap_or_else(|| panic!("`src/{own}` has no rank in this test"));
        // What stands under `#[cfg(test)]` may use anything.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for used in code.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let fine = used == own || ranks.get(used.as_str()).is_none_or(|other| *other < rank);
            if !fine {
                wrong.push(format!("src/{inside} uses crate::{used}"));
            }
        }
    }
    assert!(files.len() > 10, "found only {} files", files.len());
    assert!(wrong.is_empty(), "against the order of src/lib.rs:\n{}", wrong.join("\n"));
}

//! Which recipes a change of the project's files is about: `git diff | nodeimg lock --from-diff`.

use std::collections::BTreeSet;

use super::file;
use crate::recipe::{Id, Project, Role};

/// Lists the files that a unified diff changes, as git or `diff -u` write it: both names where they differ.
pub fn files(diff: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    // Lines of a hunk may look like a head's.
    let (mut gone, mut new) = (0_usize, 0_usize);
    for line in diff.lines() {
        if gone > 0 || new > 0 {
            match line.as_bytes().first() {
                Some(b'-') => gone = gone.saturating_sub(1),
                Some(b'+') => new = new.saturating_sub(1),
                Some(b'\\') => {}
                _ => {
                    gone = gone.saturating_sub(1);
                    new = new.saturating_sub(1);
                }
            }
        } else if let Some(rest) = line.strip_prefix("@@ -") {
            let mut ranges = rest.split(' ');
            gone = ranges.next().map_or(0, length);
            new = ranges.next().and_then(|range| range.strip_prefix('+')).map_or(0, length);
        } else if let Some(name) = ["--- ", "+++ "].iter().find_map(|head| line.strip_prefix(head)) {
            files.extend(name_of(name, true));
        } else if let Some(name) =
            ["rename from ", "rename to ", "copy to "].iter().find_map(|head| line.strip_prefix(head))
        {
            files.extend(name_of(name, false));
        }
    }
    files
}

/// Reads the length of `START,LENGTH`; without one it is 1.
fn length(range: &str) -> usize {
    range.split_once(',').map_or(Some(1), |(_, length)| length.parse().ok()).unwrap_or(0)
}

/// Reads a file's name: without what `diff` puts behind it and git before it, quoted where it has odd letters.
fn name_of(text: &str, prefixed: bool) -> Option<String> {
    let text = text.split('\t').next()?.trim_end();
    let text = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => unquote(quoted)?,
        None => text.to_owned(),
    };
    if text == "/dev/null" {
        return None;
    }
    let name = ["a/", "b/"].iter().find_map(|prefix| text.strip_prefix(prefix)).filter(|_| prefixed);
    Some(name.unwrap_or(&text).to_owned())
}

/// Reads C's escapes, as git writes them.
fn unquote(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            digit @ b'0'..=b'3' => {
                let octal = [digit, bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&octal).ok()?, 8).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// Finds the recipes whose locks such changes may outdate, and of those that are gone the locks. A project may lie in a
/// folder of its repository.
pub fn concerned(project: &Project, files: &BTreeSet<String>) -> Vec<Id> {
    let mut changed = BTreeSet::new();
    for name in files {
        let Some(inside) = inside(project, name) else { continue };
        let mut parts = inside.split('/');
        let Some(role) =
            parts.next().and_then(|folder| Role::ALL.into_iter().find(|role| role.folder() == folder))
        else {
            continue;
        };
        let Some(next) = parts.next() else { continue };
        // `crun.toml`, or a folder beside it with what it reads.
        let stem = next.strip_suffix(".toml").filter(|_| parts.next().is_none()).unwrap_or(next);
        let own: Vec<Id> = project.ids().filter(|id| id.role == role && id.name.as_str() == stem).collect();
        // A key is several suites' own.
        let of_all = role == Role::Suite && own.is_empty() && !next.ends_with(".toml");
        changed.extend(own);
        if of_all {
            changed.extend(project.ids().filter(|id| id.role == Role::Suite));
        }
    }
    let like = |id: &Id| {
        let package = project.packages.get(&id.name).filter(|_| id.role == Role::Package);
        package.map(|package| Id::new(Role::Package, package.recipe()))
    };
    let is_locked = |id: &Id| project.path().join(file::path(id)).exists();
    let concerned = |id: &Id| {
        changed.contains(id)
            || is_locked(id)
                && (like(id).is_some_and(|like| changed.contains(&like))
                    || needs_suite(project, id).iter().any(|suite| changed.contains(suite)))
    };
    project.ids().filter(|id| id.role != Role::Runtime && concerned(id)).collect()
}

/// The suites that a recipe and what it needs draw from.
fn needs_suite(project: &Project, id: &Id) -> Vec<Id> {
    let needs = project.closure(std::slice::from_ref(id));
    needs.into_iter().filter(|id| id.role == Role::Suite).collect()
}

/// Gives a changed file's path below `recipes/` of this project.
fn inside<'a>(project: &Project, name: &'a str) -> Option<&'a str> {
    if let Some(inside) = name.strip_prefix("recipes/") {
        return Some(inside);
    }
    let (folder, inside) = name.split_once("/recipes/")?;
    let path = fs_err::canonicalize(project.path()).ok()?;
    path.ends_with(folder).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(diff: &str) -> Vec<String> {
        files(diff).into_iter().collect()
    }

    #[test]
    fn files_are_read_out_of_heads_only() {
        let diff = "\
diff --git a/recipes/packages/crun.toml b/recipes/packages/crun.toml
index 1..2 100644
--- a/recipes/packages/crun.toml
+++ b/recipes/packages/crun.toml
@@ -1,3 +1,3 @@ name
 name = \"crun\"
--- a/recipes/packages/none.toml
+++ b/recipes/packages/none.toml
 license = \"x\"
diff --git a/old b/new
similarity index 100%
rename from old
rename to new
--- \"a/\\303\\244 x\"\t2026-01-01
+++ /dev/null
@@ -1 +0,0 @@
-gone
\\ No newline at end of file
--- plain/recipes/a.toml
+++ plain/recipes/a.toml
";
        assert_eq!(names(diff), ["new", "old", "plain/recipes/a.toml", "recipes/packages/crun.toml", "ä x"]);
        assert!(names("").is_empty());
        assert!(names("@@ -x +y @@\n--- \"a\\9\"\n").is_empty());
    }
}

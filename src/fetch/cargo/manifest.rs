//! A package's `Cargo.toml` on its own: what it inherits from its workspace is written out.
//!
//! A directory source has each package alone in a folder, without its workspace (cargo's reference, "Workspaces": the
//! `package`, `dependencies` and `lints` tables). Left out is what only matters where the package is worked on.

use toml::{Table, Value};

/// Tables of dependencies, in both spellings. Features may name those of tests, so they stay.
const DEPENDENCIES: [&str; 5] =
    ["dependencies", "build-dependencies", "build_dependencies", "dev-dependencies", "dev_dependencies"];
/// What nobody asks of a dependency.
const LEFT_OUT: [&str; 5] = ["workspace", "lints", "patch", "replace", "profile"];
/// Keys of `package` whose values are paths in the workspace.
const PATHS: [&str; 2] = ["readme", "license-file"];

/// Gives the value of a key of `package`, if need be the workspace's.
pub(super) fn package_key<'a>(
    manifest: &'a Table,
    workspace: Option<&'a Table>,
    key: &str,
) -> Option<&'a str> {
    let own = manifest.get("package")?.get(key)?;
    let value = if is_inherited(own) { workspace?.get("package")?.get(key)? } else { own };
    value.as_str()
}

/// Tells whether a manifest has something that its workspace must say.
fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// Writes a manifest that stands for itself. `workspace` is the `[workspace]` it belongs to.
pub(super) fn alone(mut manifest: Table, workspace: Option<&Table>) -> Result<String, String> {
    LEFT_OUT.iter().for_each(|key| _ = manifest.remove(*key));
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        package.remove("workspace");
        for (key, value) in package.iter_mut().filter(|(_, value)| is_inherited(value)) {
            let inherited = workspace.and_then(|root| root.get("package")?.get(key));
            *value = inherited.ok_or_else(|| lacks(&format!("package.{key}")))?.clone();
        }
        PATHS.iter().for_each(|key| _ = package.remove(*key));
    }
    dependencies(&mut manifest, workspace)?;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for table in targets.iter_mut().filter_map(|(_, target)| target.as_table_mut()) {
            dependencies(table, workspace)?;
        }
    }
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

fn lacks(key: &str) -> String {
    format!("its workspace has no `{key}`")
}

fn dependencies(table: &mut Table, workspace: Option<&Table>) -> Result<(), String> {
    for kind in DEPENDENCIES {
        let Some(Value::Table(all)) = table.get_mut(kind) else { continue };
        for (name, own) in all.iter_mut().filter(|(_, own)| is_inherited(own)) {
            let inherited = workspace.and_then(|root| root.get("dependencies")?.get(name));
            let inherited = inherited.ok_or_else(|| lacks(&format!("dependencies.{name}")))?;
            *own = united(inherited, own);
        }
    }
    Ok(())
}

/// The workspace's dependency with what the package adds: features, whether it is optional, whether its default
/// features are wanted after all.
fn united(inherited: &Value, own: &Value) -> Value {
    let mut all = match inherited {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    let features = [all.get("features"), own.get("features")];
    let features: Vec<_> =
        features.into_iter().flatten().filter_map(Value::as_array).flatten().cloned().collect();
    if !features.is_empty() {
        all.insert("features".to_owned(), Value::Array(features));
    }
    for key in ["optional", "public"] {
        all.extend(own.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    for key in ["default-features", "default_features"] {
        if own.get(key).and_then(Value::as_bool) == Some(true) {
            all.remove("default_features");
            all.insert("default-features".to_owned(), Value::Boolean(true));
        }
    }
    Value::Table(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(manifest: &str, workspace: &str) -> Result<Table, String> {
        let workspace: Table = workspace.parse().unwrap();
        alone(manifest.parse().unwrap(), Some(&workspace)).map(|text| text.parse().unwrap())
    }

    const WORKSPACE: &str = "
        [package]\nversion = '1.2.3'\nedition = '2021'\nreadme = 'README.md'
        [dependencies]\nplain = '1'\nown = { path = 'own', version = '1.2.3' }
        rich = { version = '2', default-features = false, features = ['a'] }
        [lints.rust]\nmissing_docs = 'warn'\n";

    #[test]
    fn what_is_inherited_is_written_out() {
        let manifest = "
            [package]\nname = 'm'\nversion.workspace = true\nedition = { workspace = true }\nreadme.workspace = true
            [dependencies]\nplain.workspace = true\nown = { workspace = true, optional = true }\nother = '3'
            [target.'cfg(unix)'.build-dependencies]
            rich = { workspace = true, features = ['b'], default-features = true }
            [dev-dependencies]\nplain.workspace = true
            [lints]\nworkspace = true\n[workspace]\nmembers = ['x']\n[features]\ndefault = []\n";
        let expected = "
            [package]\nname = 'm'\nversion = '1.2.3'\nedition = '2021'
            [dependencies]\nplain = { version = '1' }\nown = { path = 'own', version = '1.2.3', optional = true }
            other = '3'
            [target.'cfg(unix)'.build-dependencies]
            rich = { version = '2', default-features = true, features = ['a', 'b'] }
            [dev-dependencies]\nplain = { version = '1' }
            [features]\ndefault = []\n";
        assert_eq!(written(manifest, WORKSPACE), Ok(expected.parse().unwrap()));
        let manifest: Table = manifest.parse().unwrap();
        let workspace: Table = WORKSPACE.parse().unwrap();
        assert_eq!(package_key(&manifest, Some(&workspace), "version"), Some("1.2.3"));
        assert_eq!(package_key(&manifest, None, "version"), None);
        assert_eq!(package_key(&manifest, None, "name"), Some("m"));
    }

    #[test]
    fn what_the_workspace_lacks_is_named() {
        let lacks = |manifest: &str| written(manifest, WORKSPACE).unwrap_err();
        assert_eq!(
            lacks("[package]\nname = 'm'\nrust-version.workspace = true\n"),
            "its workspace has no `package.rust-version`"
        );
        assert_eq!(lacks("[dependencies]\nx.workspace = true\n"), "its workspace has no `dependencies.x`");
    }
}

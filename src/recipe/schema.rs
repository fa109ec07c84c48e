//! JSON Schemas of the recipes, out of the types that read them.
//!
//! One schema a role, in draft 7: what TOML language servers handle, which choose a schema by the file's folder
//! (`recipes/packages/*.toml`).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::{Image, Package, Role, Runtime, Suite, Variant};

/// Gives the schema of a role's recipes. A package with `like` is a [`Variant`], every other one whole.
pub fn schema(role: Role) -> Value {
    let mut whole = whole(role);
    if role != Role::Package {
        return whole;
    }
    let definitions = whole.as_object_mut().and_then(|schema| schema.remove("definitions"));
    serde_json::json!({
        "if": { "required": ["like"] },
        "then": of::<Variant>(),
        "else": whole,
        "definitions": definitions,
    })
}

/// Gives the schema of recipes that are no variants.
pub(super) fn whole(role: Role) -> Value {
    match role {
        Role::Suite => of::<Suite>(),
        Role::Package => of::<Package>(),
        Role::Image => of::<Image>(),
        Role::Runtime => of::<Runtime>(),
    }
}

/// Gives all schemas, by the folder whose recipes they are for: `packages`, `suites`, …
pub fn schemas() -> Map<String, Value> {
    Role::ALL.into_iter().map(|role| (role.folder().to_owned(), schema(role))).collect()
}

pub(super) fn of<T: JsonSchema>() -> Value {
    let mut schema: Schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    let value = schema.as_object_mut().expect("a type's schema is an object");
    let mut value = Value::Object(std::mem::take(value));
    tidy(&mut value);
    value
}

/// Turns a table whose keys are given as `^(a|b)$` into one with the keys `a` and `b`, which editors can offer.
fn spell_out(object: &mut Map<String, Value>) {
    let patterns = object.get("patternProperties").and_then(Value::as_object);
    let Some((pattern, schema)) = patterns.and_then(|patterns| patterns.iter().next()) else { return };
    let Some(names) = pattern.strip_prefix("^(").and_then(|rest| rest.strip_suffix(")$")) else { return };
    let keys: Map<_, _> = names.split('|').map(|name| (name.to_owned(), schema.clone())).collect();
    object.remove("patternProperties");
    object.insert("properties".to_owned(), Value::Object(keys));
}

/// Takes out `null`, which TOML does not have (an optional key is left out instead), and the line ends that the
/// source's width put into descriptions.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [only] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.insert("allOf".to_owned(), Value::Array(vec![only]));
                }
            }
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            spell_out(object);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace("\n\n", "\0").replace('\n', " ").replace('\0', "\n\n");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

//! Definitions of versions that are still served and no longer stored, from tables without descriptions.
//!
//! No Rust code works with these versions (objects are converted before anybody sees them), so they have no types, only a
//! schema in a notation that is short enough to read. A schema is one of
//!
//! - a word: `string`, `string 1..256` (length), `bool`, `int32`, `int64 0..` (range), `integer`, `number`, `date-time`,
//!   `byte`, `int-or-string`, `any`, `enum A B`, or the name of a definition, which starts with a capital;
//! - `[X]`: a list of X; `{$items: X, $size: 1..32, $list-type: map, $keys: [name]}`: a list with limits;
//! - `{$values: X}`: a map with any keys; `{$type: WORD, $default: ..}`: a word with more to say;
//! - `{field: X, field!: X}`: an object, `!` marks what is required.
//!
//! Other keys that start with `$` are words of the schema language, `$rules` are CEL rules.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use serde_json::{Map, Value, json};

use super::Error;

/// Versions by kind.
pub type Versions = BTreeMap<String, Vec<CustomResourceDefinitionVersion>>;

/// What all tables share.
const COMMON: &str = include_str!("older/common.yaml");

/// Reads a table. `name` is said in errors.
pub fn older(name: &str, table: &str) -> Result<Versions, Error> {
    let mut definitions = Map::new();
    for (name, text) in [("common", COMMON), (name, table)] {
        if let Some(Value::Object(own)) = read(name, text)?.get_mut("definitions").map(Value::take) {
            definitions.extend(own);
        }
    }
    let file = read(name, table)?;
    let mut all = Versions::new();
    for (kind, versions) in file["kinds"].as_object().into_iter().flatten() {
        for (version, table) in versions.as_object().into_iter().flatten() {
            let wrong = |what: String| Error::Older {
                place: format!("{name}: {kind} {version}"),
                what,
            };
            let whole = version_of(version, table, &definitions).map_err(wrong)?;
            let whole = serde_json::from_value(whole).map_err(|e| wrong(e.to_string()))?;
            all.entry(kind.clone()).or_default().push(whole);
        }
    }
    Ok(all)
}

fn read(name: &str, text: &str) -> Result<Value, Error> {
    serde_saphyr::from_str(text).map_err(|source| Error::Parse {
        path: name.to_owned(),
        source: Box::new(source),
    })
}

fn version_of(name: &str, table: &Value, definitions: &Map<String, Value>) -> Result<Value, String> {
    let columns: Option<Vec<Value>> = strings(&table["columns"]).into_iter().map(column).collect();
    let mut version = json!({
        "name": name,
        "served": true,
        "storage": false,
        "additionalPrinterColumns": columns.ok_or("a column is NAME | TYPE | PATH, and perhaps | PRIORITY")?,
        "schema": { "openAPIV3Schema": expand(&table["schema"], definitions)? },
    });
    if table["deprecated"] != false {
        version["deprecated"] = true.into();
    }
    if table["subresources"].is_object() {
        version["subresources"] = table["subresources"].clone();
    }
    Ok(version)
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn column(text: &str) -> Option<Value> {
    let mut parts = text.split(" | ");
    let mut column = json!({ "name": parts.next()?, "type": parts.next()?, "jsonPath": parts.next()? });
    if let Some(priority) = parts.next() {
        column["priority"] = priority.parse::<i32>().ok()?.into();
    }
    Some(column)
}

/// The schema that a piece of the notation stands for.
fn expand(node: &Value, definitions: &Map<String, Value>) -> Result<Value, String> {
    match node {
        Value::String(text) => match definitions.get(text) {
            Some(definition) => expand(definition, definitions),
            None => word(text),
        },
        Value::Array(items) => match items.as_slice() {
            [item] => Ok(json!({ "type": "array", "items": expand(item, definitions)? })),
            _ => Err(format!("a list has one kind of items, not {}", items.len())),
        },
        Value::Object(fields) => object(fields, definitions),
        other => Err(format!("{other} is no schema")),
    }
}

fn object(fields: &Map<String, Value>, definitions: &Map<String, Value>) -> Result<Value, String> {
    let mut schema = json!({ "type": "object" });
    if let Some(word) = fields.get("$type") {
        schema = expand(word, definitions)?;
    } else if let Some(items) = fields.get("$items") {
        schema = json!({ "type": "array", "items": expand(items, definitions)? });
    } else if let Some(values) = fields.get("$values") {
        schema["additionalProperties"] = expand(values, definitions)?;
    }
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (field, node) in fields {
        match field.strip_prefix('$') {
            Some("type" | "items" | "values") => {}
            Some("size") => range(
                &mut schema,
                node.as_str().unwrap_or_default(),
                ["minItems", "maxItems"],
            )?,
            Some("list-type") => schema["x-kubernetes-list-type"] = node.clone(),
            Some("keys") => schema["x-kubernetes-list-map-keys"] = node.clone(),
            Some("map-type") => schema["x-kubernetes-map-type"] = node.clone(),
            Some("rules") => schema["x-kubernetes-validations"] = node.clone(),
            Some(other) => schema[other] = node.clone(),
            None => {
                let name = field.strip_suffix('!').unwrap_or(field);
                if name != field {
                    required.push(name);
                }
                properties.insert(name.to_owned(), expand(node, definitions)?);
            }
        }
    }
    if !properties.is_empty() {
        schema["properties"] = properties.into();
    }
    if !required.is_empty() {
        required.sort_unstable();
        schema["required"] = required.into();
    }
    Ok(schema)
}

fn word(text: &str) -> Result<Value, String> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (mut schema, limits) = match name {
        "string" => (json!({ "type": "string" }), ["minLength", "maxLength"]),
        "date-time" | "byte" => (
            json!({ "type": "string", "format": name }),
            ["minLength", "maxLength"],
        ),
        "bool" => (json!({ "type": "boolean" }), ["", ""]),
        "number" => (json!({ "type": "number" }), ["minimum", "maximum"]),
        "integer" => (json!({ "type": "integer" }), ["minimum", "maximum"]),
        "int32" | "int64" => (
            json!({ "type": "integer", "format": name }),
            ["minimum", "maximum"],
        ),
        "int-or-string" => (
            json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }], "x-kubernetes-int-or-string": true }),
            ["", ""],
        ),
        "any" => (json!({ "x-kubernetes-preserve-unknown-fields": true }), ["", ""]),
        "enum" => {
            let values: Vec<&str> = rest.split(' ').map(|value| value.trim_matches('"')).collect();
            return Ok(json!({ "type": "string", "enum": values }));
        }
        _ => {
            return Err(format!(
                "`{text}` is neither a word of the notation nor a definition"
            ));
        }
    };
    if !rest.is_empty() {
        range(&mut schema, rest, limits)?;
    }
    Ok(schema)
}

/// `1..256`, `1..` or `..256`.
fn range(schema: &mut Value, text: &str, [low, high]: [&str; 2]) -> Result<(), String> {
    let wrong = || format!("`{text}` is no range");
    let (from, to) = text
        .split_once("..")
        .filter(|_| !low.is_empty())
        .ok_or_else(wrong)?;
    for (limit, number) in [(low, from), (high, to)] {
        if !number.is_empty() {
            schema[limit] = number.parse::<i64>().map_err(|_| wrong())?.into();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(notation: Value) -> Result<Value, String> {
        let definitions = json!({ "Name": "string 1..63", "Names": ["Name"] });
        expand(&notation, definitions.as_object().expect("an object"))
    }

    #[test]
    fn the_notation_stands_for_schemas() {
        let cases = [
            (json!("bool"), json!({ "type": "boolean" })),
            (
                json!("int32 0..5"),
                json!({ "type": "integer", "format": "int32", "minimum": 0, "maximum": 5 }),
            ),
            (json!("string ..5"), json!({ "type": "string", "maxLength": 5 })),
            (
                json!("enum A \"\""),
                json!({ "type": "string", "enum": ["A", ""] }),
            ),
            (
                json!("Names"),
                json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 63 } }),
            ),
            (
                json!({ "$items": "Name", "$size": "1..", "$keys": ["a"], "$list-type": "map" }),
                json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": 63 }, "minItems": 1,
                    "x-kubernetes-list-map-keys": ["a"], "x-kubernetes-list-type": "map" }),
            ),
            (
                json!({ "$values": "bool" }),
                json!({ "type": "object", "additionalProperties": { "type": "boolean" } }),
            ),
            (
                json!({ "$type": "string", "$default": "x" }),
                json!({ "type": "string", "default": "x" }),
            ),
            (
                json!({ "b!": "bool", "a": {} }),
                json!({ "type": "object", "properties": { "b": { "type": "boolean" }, "a": { "type": "object" } }, "required": ["b"] }),
            ),
        ];
        for (notation, expected) in cases {
            assert_eq!(schema(notation.clone()), Ok(expected), "{notation}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for notation in [
            json!("strin"),
            json!("bool 1..2"),
            json!("string 1-2"),
            json!(["bool", "bool"]),
            json!(5),
        ] {
            assert!(schema(notation.clone()).is_err(), "{notation}");
        }
    }
}

//! What `apiextensions.k8s.io/v1` demands of a schema besides being structural: supported keywords, list and map types,
//! defaults that fit.
//!
//! Works on the schema as written, because a compiled node no longer has what it does not support.

use serde_json::{Map, Value, json};

use super::errors::{ErrorKind, FieldError};
use super::node::Node;
use super::{prune, validate};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Keywords that JSON schema has and definitions may not use.
const UNSUPPORTED: [&str; 6] = [
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
];

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// All violations in a schema.
pub(crate) fn violations(schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(schema, "", &mut errors);
    errors
}

fn walk(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(map) = schema.as_object() else { return };
    keywords(map, path, errors);
    properties_or_values(map, path, errors);
    map_type(map, path, errors);
    list_type(map, path, errors);
    for key in ["additionalProperties", "not", "items"] {
        if let Some(below) = map.get(key).filter(|v| v.is_object()) {
            walk(below, &child(path, key), errors);
        }
    }
    for (name, below) in map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(below, &format!("{}[{name}]", child(path, "properties")), errors);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (i, below) in map
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            walk(below, &format!("{}[{i}]", child(path, key)), errors);
        }
    }
}

fn keywords(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let type_ = text(map, "type");
    if !type_.is_empty() && !TYPES.contains(&type_) {
        errors.push(FieldError::not_supported(child(path, "type"), type_, &TYPES));
    }
    if type_ == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(child(path, "type"), detail));
    }
    for key in UNSUPPORTED
        .iter()
        .filter(|key| map.get(**key).is_some_and(|v| !v.is_null()))
    {
        errors.push(FieldError::forbidden(
            child(path, key),
            format!("{key} is not supported"),
        ));
    }
    if map.get("items").is_some_and(Value::is_array) {
        errors.push(FieldError::forbidden(
            child(path, "items"),
            "items must be a schema object and not an array",
        ));
    }
    if map.get("uniqueItems") == Some(&Value::Bool(true)) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(child(path, "uniqueItems"), detail));
    }
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = child(path, "x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(at, false, "must be true or undefined"));
    }
}

fn properties_or_values(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let named = map
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|p| !p.is_empty());
    let restricted = map
        .get("additionalProperties")
        .is_some_and(|v| !v.is_null() && v != &Value::Bool(true));
    if named && restricted {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(child(path, "additionalProperties"), detail));
    }
}

/// A type that a vendor extension asks for.
fn demand_type(map: &Map<String, Value>, wanted: &str, extension: &str, path: &str) -> Option<FieldError> {
    let detail = format!("must be {wanted} if {extension} is specified");
    match text(map, "type") {
        found if found == wanted => None,
        "" => Some(FieldError::required(child(path, "type"), detail)),
        found => Some(FieldError::invalid(child(path, "type"), found, detail)),
    }
}

fn map_type(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    const EXTENSION: &str = "x-kubernetes-map-type";
    let Some(map_type) = map.get(EXTENSION).and_then(Value::as_str) else {
        return;
    };
    errors.extend(demand_type(map, "object", EXTENSION, path));
    if !matches!(map_type, "atomic" | "granular") {
        errors.push(FieldError::not_supported(
            child(path, EXTENSION),
            map_type,
            &["atomic", "granular"],
        ));
    }
}

fn list_type(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    const EXTENSION: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let list_type = map.get(EXTENSION).and_then(Value::as_str);
    let keys: Vec<&str> = map
        .get(KEYS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() && list_type != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list_type {
            None => FieldError::required(child(path, EXTENSION), detail),
            Some(other) => FieldError::invalid(child(path, EXTENSION), other, detail),
        });
    }
    let Some(list_type) = list_type else { return };
    let wrong_type = demand_type(map, "array", EXTENSION, path);
    let items = map.get("items").and_then(Value::as_object);
    if wrong_type.is_none()
        && list_type == "set"
        && let Some(items) = items
    {
        set_items(items, &child(path, "items"), errors);
    }
    errors.extend(wrong_type);
    if !matches!(list_type, "atomic" | "set" | "map") {
        errors.push(FieldError::not_supported(
            child(path, EXTENSION),
            list_type,
            &["atomic", "set", "map"],
        ));
    }
    if let Some(items) = items.filter(|_| matches!(list_type, "set" | "map"))
        && items.get("nullable") == Some(&Value::Bool(true))
    {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(
            child(&child(path, "items"), "nullable"),
            detail,
        ));
    }
    if list_type == "map" {
        if keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            errors.push(FieldError::required(child(path, KEYS), detail));
        }
        match items {
            None => {
                let detail = "must have a schema if x-kubernetes-list-type is map";
                errors.push(FieldError::required(child(path, "items"), detail));
            }
            Some(items) => keyed_items(items, &keys, path, errors),
        }
    }
}

fn set_items(items: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    const DETAIL: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = items
        .get("x-kubernetes-list-type")
        .cloned()
        .unwrap_or(Value::Null);
    match text(items, "type") {
        "array" if !list_type.is_null() && list_type != "atomic" => {
            errors.push(FieldError::invalid(
                child(path, "x-kubernetes-list-type"),
                list_type,
                DETAIL,
            ));
        }
        "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
            errors.push(FieldError::invalid(
                child(path, "x-kubernetes-map-type"),
                list_type,
                DETAIL,
            ));
        }
        _ => {}
    }
}

fn keyed_items(items: &Map<String, Value>, keys: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let at = child(path, "items");
    let type_ = text(items, "type");
    if type_ != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(child(&at, "type"), type_, detail));
    }
    let keys_path = child(path, "x-kubernetes-list-map-keys");
    for (i, key) in keys.iter().enumerate() {
        if type_ == "object" && keys[..i].contains(key) {
            errors.push(FieldError::invalid(
                keys_path.clone(),
                json!(keys),
                "must not contain duplicate entries",
            ));
        }
        let Some(property) = items.get("properties").and_then(|p| p.get(*key)) else {
            if type_ == "object" {
                let detail = "entries must all be names of item properties";
                errors.push(FieldError::invalid(keys_path.clone(), json!(keys), detail));
            }
            continue;
        };
        let field = format!("{}[{key}]", child(&at, "properties"));
        if matches!(
            property.get("type").and_then(Value::as_str),
            Some("array" | "object")
        ) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(child(&field, "type"), type_, detail));
        }
        let required = items
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|r| r.contains(&json!(key)));
        if !required && property.get("default").is_none_or(Value::is_null) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(child(&field, "default"), detail));
        }
        if property.get("nullable") == Some(&Value::Bool(true)) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(child(&field, "nullable"), detail));
        }
    }
}

/// Defaults that are not valid values of their schema, or have fields it does not know.
pub(crate) fn defaults(node: &Node) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk_defaults(node, "", true, &mut errors);
    errors
}

fn walk_defaults(node: &Node, path: &str, resource: bool, errors: &mut Vec<FieldError>) {
    if let Some(default) = &node.default {
        let at = child(path, "default");
        let mut pruned = default.clone();
        prune::prune_value(&mut pruned, node);
        if pruned != *default {
            errors.push(FieldError::new(
                ErrorKind::Invalid,
                &at,
                default.clone(),
                "must not have unknown fields",
            ));
        }
        errors.extend(validate::validate(node, default, None, &at));
    }
    if let Some(items) = &node.items {
        walk_defaults(items, &child(path, "items"), items.embedded, errors);
    }
    for (name, property) in &node.properties {
        // Fields of metadata have rules of their own.
        if resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
            continue;
        }
        let at = format!("{}[{name}]", child(path, "properties"));
        walk_defaults(property, &at, property.embedded, errors);
    }
}

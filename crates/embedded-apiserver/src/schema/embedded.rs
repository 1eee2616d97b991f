//! Checks of `x-kubernetes-embedded-resource` objects: their apiVersion, kind and metadata.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::errors::FieldError;
use super::node::{Additional, Node};
use super::types::{decode_error_at, object_meta};

static DNS_1035: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").ok());

/// Errors of all embedded resources in an object.
pub(crate) fn check(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, value, "", &mut errors);
    errors
}

/// The first embedded resource whose apiVersion, kind or metadata has another type than it must have.
pub(crate) fn unreadable(node: &Node, value: &Value) -> Option<String> {
    find_unreadable(node, value, "")
}

fn find_unreadable(node: &Node, value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Object(map) => {
            if node.embedded {
                for name in ["apiVersion", "kind"] {
                    if let Some(other) = map.get(name).filter(|v| !v.is_string()) {
                        let error = FieldError::invalid(join(path, name), other.clone(), "must be a string");
                        return Some(error.to_string());
                    }
                }
                if let Some(metadata) = map.get("metadata")
                    && let Some(error) = decode_error_at(&object_meta(), metadata, "metadata")
                {
                    let error = FieldError::invalid(join(path, "metadata"), metadata.clone(), error);
                    return Some(error.to_string());
                }
            }
            map.iter()
                .find_map(|(key, child)| match node.properties.get(key) {
                    Some(property) => find_unreadable(property, child, &join(path, key)),
                    None => {
                        let schema = node.additional.as_ref().and_then(Additional::schema)?;
                        find_unreadable(schema, child, &format!("{path}[{key}]"))
                    }
                })
        }
        Value::Array(list) => {
            let items = node.items.as_ref()?;
            list.iter()
                .enumerate()
                .find_map(|(i, item)| find_unreadable(items, item, &format!("{path}[{i}]")))
        }
        _ => None,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn walk(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if node.embedded {
                resource(map, path, errors);
            }
            for (key, child) in map {
                if let Some(property) = node.properties.get(key) {
                    walk(property, child, &join(path, key), errors);
                } else if let Some(schema) = node.additional.as_ref().and_then(Additional::schema) {
                    walk(schema, child, &format!("{path}[{key}]"), errors);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &node.items {
                for (i, item) in list.iter().enumerate() {
                    walk(items, item, &format!("{path}[{i}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn resource(map: &serde_json::Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let field = join(path, name);
        match map.get(name) {
            None => errors.push(FieldError::required(field, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(field, "", "must not be empty"));
            }
            Some(Value::String(text)) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(field, text.as_str(), detail));
                }
            }
            Some(Value::String(text)) => {
                let lower = text.to_lowercase();
                if lower.len() > 63 || !DNS_1035.as_ref().is_some_and(|regex| regex.is_match(&lower)) {
                    let detail = "may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
                    errors.push(FieldError::invalid(field, text.as_str(), detail));
                }
            }
            Some(other) => errors.push(FieldError::invalid(field, other.clone(), "must be a string")),
        }
    }
}

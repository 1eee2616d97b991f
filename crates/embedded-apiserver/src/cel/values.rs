//! Objects as CEL sees them: typed by their schema, field names escaped, unknown fields invisible.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;

use super::program::convert;
use crate::schema::{Additional, Node, Type};

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A property name as CEL identifier; None for names that no identifier can stand for.
pub(super) fn escape(name: &str) -> Option<String> {
    let mut letters = name.chars();
    let first_ok = letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '$');
    if !first_ok || !letters.all(|c| c.is_ascii_alphanumeric() || "_$-./".contains(c)) || name.contains('$') {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let escaped = name.replace("__", "__underscores__");
    Some(
        escaped
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

fn text(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

fn map(entries: HashMap<Key, Cel>) -> Cel {
    Cel::Map(Map {
        map: Arc::new(entries),
    })
}

fn key(name: impl Into<String>) -> Key {
    Key::String(Arc::new(name.into()))
}

/// Converts a value that stands at a schema node. At the root of a resource, apiVersion, kind and the names in metadata are visible too.
pub(super) fn to_cel(value: &Value, node: &Node, resource_root: bool) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => number(n, node),
        Value::String(s) => string(s, node),
        Value::Array(list) => {
            let item = |v| {
                node.items
                    .as_ref()
                    .map_or_else(|| untyped(v), |items| to_cel(v, items, items.embedded))
            };
            Cel::List(Arc::new(list.iter().map(item).collect()))
        }
        Value::Object(object) => {
            let mut entries = HashMap::with_capacity(object.len());
            match &node.additional {
                Some(additional) => {
                    for (name, child) in object {
                        let value = match additional {
                            Additional::Schema(schema) => to_cel(child, schema, schema.embedded),
                            Additional::Any(_) => untyped(child),
                        };
                        entries.insert(key(name.as_str()), value);
                    }
                }
                None => {
                    for (name, child) in object {
                        let Some(property) = node.properties.get(name) else {
                            continue;
                        };
                        if child.is_null() && !property.nullable {
                            continue;
                        }
                        if let Some(escaped) = escape(name) {
                            entries.insert(key(escaped), to_cel(child, property, property.embedded));
                        }
                    }
                    if resource_root || node.embedded {
                        add_type_and_names(object, &mut entries);
                    }
                }
            }
            map(entries)
        }
    }
}

fn add_type_and_names(object: &serde_json::Map<String, Value>, entries: &mut HashMap<Key, Cel>) {
    for name in ["apiVersion", "kind"] {
        if let Some(Value::String(value)) = object.get(name) {
            entries.insert(key(name), text(value));
        }
    }
    let mut names = HashMap::new();
    for name in ["name", "generateName"] {
        if let Some(Value::String(value)) = object.get("metadata").and_then(|m| m.get(name)) {
            names.insert(key(name), text(value));
        }
    }
    entries.insert(key("metadata"), map(names));
}

fn number(n: &serde_json::Number, node: &Node) -> Cel {
    match n.as_i64() {
        Some(i) if node.type_ != Some(Type::Number) => Cel::Int(i),
        // A whole number in a field of type number is a double, so that comparisons with literals like 1.5 hold.
        _ => {
            let float = n.as_f64().unwrap_or(f64::NAN);
            if node.type_ == Some(Type::Integer) {
                Cel::Int(float as i64)
            } else {
                Cel::Float(float)
            }
        }
    }
}

fn string(s: &str, node: &Node) -> Cel {
    if node.int_or_string {
        return text(s);
    }
    let converted = match node.format.as_str() {
        "date-time" | "datetime" => convert("timestamp", s),
        "date" => convert("timestamp", &format!("{s}T00:00:00Z")),
        "duration" => convert("duration", s),
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(s)
            .ok()
            .map(|bytes| Cel::Bytes(Arc::new(bytes))),
        _ => None,
    };
    converted.unwrap_or_else(|| text(s))
}

/// A value nothing is known about.
pub(super) fn untyped(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => n
            .as_i64()
            .map_or_else(|| Cel::Float(n.as_f64().unwrap_or(f64::NAN)), Cel::Int),
        Value::String(s) => text(s),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(untyped).collect())),
        Value::Object(object) => map(object
            .iter()
            .map(|(name, child)| (key(name.as_str()), untyped(child)))
            .collect()),
    }
}

//! What decoding into a typed struct does to an object of a built-in kind, done on JSON.

use serde_json::Value;

use super::{Atom, Map, Ref, Scalar};
use crate::schema::go_json;

/// Removes undeclared fields and nulls; returns the paths of the former, sorted.
pub(super) fn prune(type_: &Ref, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(type_, object, "", &mut unknown);
    unknown.sort();
    unknown
}

/// [`prune`] of a part that stands at a path; unknown fields are added to a list.
pub(crate) fn walk(type_: &Ref, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    if matches!(type_, Ref::Untyped | Ref::Deduced) {
        return;
    }
    let Some(atom) = type_.atom() else { return };
    match (value, atom) {
        (Value::Object(object), Atom { map: Some(map), .. }) => {
            if matches!(map.other, Ref::Untyped | Ref::Deduced) && map.fields.is_empty() {
                return;
            }
            object.retain(|name, child| {
                if matches!(map.field_type(name), Ref::Undeclared) {
                    unknown.push(join(path, name));
                    return false;
                }
                // Null is absence; in plain maps it is the zero value, which only strings can be here.
                if child.is_null() && !map.fields.contains_key(name) {
                    *child = Value::from("");
                    return true;
                }
                !child.is_null() && (is_required(map, name) || !left_out(map.field_type(name), child))
            });
            for (name, child) in object.iter_mut() {
                walk(map.field_type(name), child, &join(path, name), unknown);
            }
        }
        (
            Value::Array(list),
            Atom {
                list: Some(list_type),
                ..
            },
        ) => {
            for (i, child) in list.iter_mut().enumerate() {
                walk(&list_type.item, child, &format!("{path}[{i}]"), unknown);
            }
        }
        _ => {}
    }
}

fn is_required(map: &Map, name: &str) -> bool {
    // An empty managedFields is a request of its own, and entries of plain maps stay.
    map.fields.get(name).is_none_or(|field| field.required) || name == "managedFields"
}

/// Empty values that the encoder leaves out: lists and plain maps, but not structs, which may be pointers.
fn left_out(type_: &Ref, value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => {
            object.is_empty()
                && type_
                    .atom()
                    .and_then(|atom| atom.map.as_ref())
                    // A map of anything stands for a struct without declared fields, such as `subresources.status`.
                    .is_some_and(|map| {
                        map.fields.is_empty() && !matches!(map.other, Ref::Untyped | Ref::Deduced)
                    })
                && !matches!(type_, Ref::Untyped | Ref::Deduced)
        }
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Adds structs that are always written, and defaults that the table knows.
pub(super) fn fill_structs(type_: &Ref, value: &mut Value) {
    let Some(atom) = type_.atom() else { return };
    match (value, atom) {
        (Value::Object(object), Atom { map: Some(map), .. }) => {
            let in_table = matches!(type_, Ref::Builtin(_));
            for (name, field) in map.fields.iter().filter(|_| in_table) {
                // Zero defaults only matter to list keys.
                let default = match &field.default {
                    _ if field.always => Value::Object(serde_json::Map::new()),
                    Some(default) if default != "" && default != 0 => default.clone(),
                    _ => continue,
                };
                let entry = object.entry(name.as_str()).or_insert(Value::Null);
                if entry.is_null() {
                    *entry = default;
                }
            }
            if matches!(map.other, Ref::Untyped | Ref::Deduced) && map.fields.is_empty() {
                return;
            }
            for (name, child) in object.iter_mut() {
                fill_structs(map.field_type(name), child);
            }
        }
        (
            Value::Array(list),
            Atom {
                list: Some(list_type),
                ..
            },
        ) => {
            for child in list {
                fill_structs(&list_type.item, child);
            }
        }
        _ => {}
    }
}

/// The first value that cannot be decoded.
pub(super) fn decode_error(type_: &Ref, object: &Value) -> Option<String> {
    find_error(type_, object, "")
}

/// Built-in kinds have hardly a number that is no integer, and none that is as large as this.
fn is_in_range(number: &serde_json::Number) -> bool {
    number.as_f64().is_none_or(|number| number.abs() < 1e19)
}

/// [`decode_error`] of a part that stands at a path.
pub(crate) fn find_error(type_: &Ref, value: &Value, path: &str) -> Option<String> {
    if matches!(type_, Ref::Untyped | Ref::Deduced) || value.is_null() {
        return None;
    }
    let atom = type_.atom()?;
    let shown = match value {
        Value::Object(object) => match &atom.map {
            Some(map) => {
                return object
                    .iter()
                    .filter(|(name, _)| !matches!(map.field_type(name), Ref::Undeclared))
                    .find_map(|(name, child)| find_error(map.field_type(name), child, &join(path, name)));
            }
            None => "object".to_owned(),
        },
        Value::Array(list) => match &atom.list {
            Some(list_type) => {
                return list
                    .iter()
                    .find_map(|child| find_error(&list_type.item, child, path));
            }
            None => "array".to_owned(),
        },
        Value::String(_) if matches!(atom.scalar, Some(Scalar::Text | Scalar::Untyped)) => return None,
        Value::Bool(_) if matches!(atom.scalar, Some(Scalar::Boolean | Scalar::Untyped)) => return None,
        Value::Number(number) if matches!(atom.scalar, Some(Scalar::Numeric)) && is_in_range(number) => {
            return None;
        }
        Value::Number(_) if matches!(atom.scalar, Some(Scalar::Untyped)) => return None,
        Value::String(_) => "string".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => format!(
            "number{}",
            if value.is_i64() {
                String::new()
            } else {
                format!(" {}", go_json(value))
            }
        ),
        Value::Null => return None,
    };
    let wanted = match atom {
        Atom { map: Some(_), .. } => "struct",
        Atom { list: Some(_), .. } => "slice",
        Atom {
            scalar: Some(Scalar::Text),
            ..
        } => "string",
        Atom {
            scalar: Some(Scalar::Boolean),
            ..
        } => "bool",
        Atom {
            scalar: Some(Scalar::Numeric),
            ..
        } => "int32",
        _ => "string",
    };
    Some(format!(
        "json: cannot unmarshal {shown} into Go struct field .{path} of type {wanted}"
    ))
}

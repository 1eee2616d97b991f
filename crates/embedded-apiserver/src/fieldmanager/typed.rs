//! Walks over typed values: which fields a value sets, how two values differ, what their merge is, what is left after a removal.
//!
//! A value is a JSON value and its type; the walks choose by the value's own shape where a type allows several.

use serde_json::{Map, Value};

use super::set::{Element, Set, field, keyed, show, valued};
use crate::schema::types::{Atom, List, Ref, Relation, Scalar};

/// Which handler of an atom applies to a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    Scalar,
    List,
    Nothing,
}

/// The handler for a value: its own shape if the type allows it, else the first one the type allows.
pub(super) fn shape(atom: &Atom, value: Option<&Value>) -> Shape {
    match value {
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if atom.scalar.is_some() => Shape::Scalar,
        Some(Value::Array(_)) if atom.list.is_some() => Shape::List,
        Some(Value::Object(_)) if atom.map.is_some() => Shape::Map,
        _ if atom.map.is_some() => Shape::Map,
        _ if atom.scalar.is_some() => Shape::Scalar,
        _ if atom.list.is_some() => Shape::List,
        _ => Shape::Nothing,
    }
}

pub(super) fn atom_of(type_: &Ref) -> Result<&Atom, String> {
    type_
        .atom()
        .ok_or_else(|| "schema error: no type found matching: inlined type".to_owned())
}

/// The path element of a list item.
pub(super) fn item_element(list: &List, item: &Value) -> Result<Element, String> {
    match &list.relation {
        Relation::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Relation::Set => match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            value => Ok(valued(value)),
        },
        Relation::Keys(names) => {
            let object = match item {
                Value::Object(object) => object,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".to_owned());
                }
                _ => return Err("associative list with keys may not have non-map elements".to_owned()),
            };
            let mut keys = Map::new();
            for name in names {
                let value = object.get(name).cloned().or_else(|| {
                    let map = list.item.atom()?.map.as_ref()?;
                    map.fields.get(name)?.default.clone()
                });
                if let Some(value) = value {
                    keys.insert(name.clone(), value);
                }
            }
            if keys.is_empty() {
                let names: Vec<String> = names.iter().map(|n| crate::schema::quote(n)).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                    names.join(" ")
                ));
            }
            Ok(keyed(&keys))
        }
    }
}

fn scalar_fits(scalar: Scalar, value: Option<&Value>) -> bool {
    match (scalar, value) {
        (_, None | Some(Value::Null)) => true,
        (Scalar::Text, Some(v)) => v.is_string(),
        (Scalar::Numeric, Some(v)) => v.is_number(),
        (Scalar::Boolean, Some(v)) => v.is_boolean(),
        (Scalar::Untyped, Some(v)) => !v.is_object() && !v.is_array(),
    }
}

/// Checks a value against its type. The errors are `path: text`; duplicates in keyed lists are errors unless allowed.
pub(super) fn validate(type_: &Ref, value: &Value, duplicates: bool) -> Vec<String> {
    let mut errors = Vec::new();
    check(type_, value, "", duplicates, &mut errors);
    errors
}

fn check(type_: &Ref, value: &Value, path: &str, duplicates: bool, errors: &mut Vec<String>) {
    let mut fail = |text: String| {
        errors.push(if path.is_empty() {
            text
        } else {
            format!("{path}: {text}")
        })
    };
    let atom = match atom_of(type_) {
        Ok(atom) => atom,
        Err(text) => return fail(text),
    };
    match shape(atom, Some(value)) {
        Shape::Scalar => {
            let scalar = atom.scalar.unwrap_or(Scalar::Untyped);
            if !scalar_fits(scalar, Some(value)) {
                fail(match scalar {
                    Scalar::Numeric => format!("expected numeric (int or float), got {}", go_type(value)),
                    Scalar::Text => format!("expected string, got {}", go_debug(value)),
                    Scalar::Boolean => format!("expected boolean, got {}", go_value(value)),
                    Scalar::Untyped => format!("expected any scalar, got {}", go_value(value)),
                });
            }
        }
        Shape::List => {
            let (Some(list), Value::Array(items)) = (&atom.list, value) else {
                if !value.is_null() {
                    fail(format!("expected list, got {}", go_value(value)));
                }
                return;
            };
            let mut seen: Vec<Element> = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let element: Element = if list.relation == Relation::Atomic {
                    format!("i:{i}").into()
                } else {
                    match item_element(list, item) {
                        Ok(element) => element,
                        Err(text) => {
                            errors.push(with_path(path, &format!("element {i}: {text}")));
                            return;
                        }
                    }
                };
                if list.relation != Relation::Atomic {
                    if seen.contains(&element) && !duplicates {
                        errors.push(with_path(
                            path,
                            &format!("duplicate entries for key {}", show(&element)),
                        ));
                    }
                    seen.push(element.clone());
                }
                check(
                    &list.item,
                    item,
                    &format!("{path}{}", show(&element)),
                    duplicates,
                    errors,
                );
            }
        }
        Shape::Map => {
            let (Some(map), Value::Object(object)) = (&atom.map, value) else {
                if !value.is_null() {
                    fail(format!("expected map, got {}", go_value(value)));
                }
                return;
            };
            for (name, child) in object {
                let child_path = format!("{path}.{name}");
                match map.field_type(name) {
                    Ref::Undeclared => errors.push(format!("{child_path}: field not declared in schema")),
                    type_ => check(type_, child, &child_path, duplicates, errors),
                }
            }
        }
        Shape::Nothing => fail("schema error: invalid atom: inlined".to_owned()),
    }
}

fn with_path(path: &str, text: &str) -> String {
    if path.is_empty() {
        text.to_owned()
    } else {
        format!("{path}: {text}")
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%v` of a wrapped value.
fn go_value(value: &Value) -> String {
    format!("&{{{}}}", go_plain(value))
}

fn go_plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let parts: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_plain(v))).collect();
            format!("map[{}]", parts.join(" "))
        }
        other => other.to_string(),
    }
}

/// `%#v` of a wrapped value, as far as it can be told.
fn go_debug(value: &Value) -> String {
    let inner = match value {
        Value::String(text) => crate::schema::quote(text),
        other => go_plain(other),
    };
    format!("&value.valueUnstructured{{Value:{inner}}}")
}

/// The fields that a value sets.
pub(super) fn field_set(type_: &Ref, value: &Value) -> Set {
    let mut set = Set::default();
    collect(type_, value, &mut Vec::new(), &mut set);
    set
}

fn collect(type_: &Ref, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    let Ok(atom) = atom_of(type_) else { return };
    match shape(atom, Some(value)) {
        Shape::Scalar => set.insert(path),
        Shape::List => {
            let Some(list) = &atom.list else { return };
            if list.relation == Relation::Atomic {
                return set.insert(path);
            }
            let Value::Array(items) = value else { return };
            let elements: Vec<Option<Element>> =
                items.iter().map(|item| item_element(list, item).ok()).collect();
            for (item, element) in items.iter().zip(&elements) {
                let Some(element) = element else { continue };
                let repeated = elements
                    .iter()
                    .flatten()
                    .filter(|other| *other == element)
                    .count()
                    > 1;
                path.push(element.clone());
                if !repeated {
                    collect(&list.item, item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        Shape::Map => {
            let Some(map) = &atom.map else { return };
            if map.atomic {
                return set.insert(path);
            }
            let Value::Object(object) = value else { return };
            for (name, child) in object {
                path.push(field(name));
                collect(map.field_type(name), child, path, set);
                let hollow = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if hollow || !map.fields.contains_key(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::Nothing => {}
    }
}

/// A value without the fields of a set. None when nothing is left.
pub(super) fn remove(type_: &Ref, value: &Value, doomed: &Set) -> Option<Value> {
    let Ok(atom) = atom_of(type_) else { return None };
    match shape(atom, Some(value)) {
        Shape::Scalar => Some(value.clone()),
        Shape::List => {
            let (Some(list), Value::Array(items)) = (&atom.list, value) else {
                return None;
            };
            if items.is_empty() || list.relation == Relation::Atomic {
                return None;
            }
            let mut left = Vec::new();
            for item in items {
                let Ok(element) = item_element(list, item) else {
                    left.push(item.clone());
                    continue;
                };
                if doomed.has(&element) {
                    continue;
                }
                left.push(match doomed.below(&element) {
                    Some(below) => remove(&list.item, item, below).unwrap_or(Value::Null),
                    None => item.clone(),
                });
            }
            (!left.is_empty()).then_some(Value::Array(left))
        }
        Shape::Map => {
            let (Some(map), Value::Object(object)) = (&atom.map, value) else {
                return None;
            };
            if object.is_empty() || map.atomic {
                return None;
            }
            let mut left = Map::new();
            for (name, child) in object {
                let element = field(name);
                if doomed.has(&element) {
                    continue;
                }
                let child = match doomed.below(&element) {
                    Some(below) => remove(map.field_type(name), child, below).unwrap_or(Value::Null),
                    None => child.clone(),
                };
                left.insert(name.clone(), child);
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Shape::Nothing => None,
    }
}

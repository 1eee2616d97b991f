//! Strategic merge patch: maps merge, lists merge by their key where the kind says so, directives steer the rest.
//!
//! Directives: `$patch: replace|delete`, `$retainKeys`, `$setElementOrder/FIELD`, `$deleteFromPrimitiveList/FIELD`.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::types::{Atom, PatchRule, Ref};

type Object = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

/// Applies a patch to an object of a kind.
pub(super) fn apply(object: Object, patch: Object, type_: &Ref) -> Result<Object, PatchError> {
    merge_map(object, patch, type_)
}

fn bad(text: &str) -> PatchError {
    PatchError::BadRequest(text.to_owned())
}

fn internal(text: String) -> PatchError {
    PatchError::Internal(text)
}

fn bad_directive(directive: &Value, map: &Object) -> PatchError {
    let shown = directive
        .as_str()
        .map_or_else(|| directive.to_string(), str::to_owned);
    internal(format!("unknown patch type: {shown} in map: {}", go_map(map)))
}

/// A map as Go prints it.
fn go_map(map: &Object) -> String {
    let parts: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_value(v))).collect();
    format!("map[{}]", parts.join(" "))
}

fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(map) => go_map(map),
        Value::Array(list) => format!("[{}]", list.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Type and patch rule of a field.
fn field<'a>(type_: &'a Ref, name: &str) -> (&'a Ref, PatchRule) {
    match type_.atom() {
        Some(Atom { map: Some(map), .. }) => match map.fields.get(name) {
            Some(field) => (&field.type_, field.patch.clone()),
            None => (&map.other, PatchRule::default()),
        },
        _ => (&Ref::Deduced, PatchRule::default()),
    }
}

fn item(type_: &Ref) -> &Ref {
    match type_.atom() {
        Some(Atom { list: Some(list), .. }) => &list.item,
        _ => &Ref::Deduced,
    }
}

fn merge_map(mut original: Object, mut patch: Object, type_: &Ref) -> Result<Object, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Map::new()),
            _ => Err(bad_directive(directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    ordered_lists(&mut original, &mut patch, type_)?;
    for (name, value) in patch {
        let (name, deleting) = match name.strip_prefix(DELETE_FROM) {
            Some(rest) => match rest.strip_prefix('/') {
                Some(field) => (field.to_owned(), true),
                None => return Err(internal(format!("invalid directive: {name}"))),
            },
            None => (name, false),
        };
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let current = original.remove(&name);
        let merged = match (current, value) {
            (Some(Value::Object(current)), Value::Object(value)) => {
                let (sub, rule) = field(type_, &name);
                Some(Value::Object(if rule.replace {
                    value
                } else {
                    merge_map(current, value, sub)?
                }))
            }
            (Some(Value::Array(current)), Value::Array(value)) => {
                let (sub, rule) = field(type_, &name);
                Some(Value::Array(if rule.merge || deleting {
                    merge_list(current, value, sub, rule.key.as_deref(), deleting)?
                } else {
                    value
                }))
            }
            (current, _) if deleting => current,
            (Some(current), value) if same_kind(&current, &value) => without_directives(value),
            (_, mut value) => {
                drop_nulls(&mut value);
                without_directives(value)
            }
        };
        if let Some(merged) = merged {
            original.insert(name, merged);
        }
    }
    Ok(original)
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// `$retainKeys`: fields that are not listed go, and the patch may set none that is not.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let wrong = || bad("invalid patch format of retainKeys");
    let keys = keys.as_array().cloned().ok_or_else(wrong)?;
    let listed = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let foreign = patch.iter().any(|(name, value)| {
        !value.is_null() && !name.starts_with(DELETE_FROM) && !name.starts_with(ORDER) && !listed(name)
    });
    if foreign {
        return Err(wrong());
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

/// `$setElementOrder/FIELD`: merges these lists and puts their items in the order asked for.
fn ordered_lists(original: &mut Object, patch: &mut Object, type_: &Ref) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(order) = patch.remove(&directive) else {
            continue;
        };
        let Value::Array(order) = order else {
            return Err(internal(format!(
                "expected a []interface {{}}, but received a {}",
                go_type(&order)
            )));
        };
        let Some(name) = directive
            .strip_prefix(ORDER)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return Err(internal(format!("invalid directive: {directive}")));
        };
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(internal(format!(
                "expected a []interface {{}}, but received a {}",
                go_type(&other)
            ))),
        };
        let current = list(original.get(name).cloned())?;
        let patched = list(patch.remove(name))?;
        let (sub, rule) = field(type_, name);
        let key = rule.key.as_deref();
        check_order(patched.as_deref().unwrap_or_default(), &order, key)?;
        let merged = match (current.clone(), patched.clone()) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(patched)) => patched.into_iter().filter_map(without_directives).collect(),
            (Some(current), Some(patched)) if rule.merge => merge_list(current, patched, sub, key, false)?,
            (Some(_), Some(patched)) => patched,
        };
        let current = current.unwrap_or_default();
        element_kind(&[&current, patched.as_deref().unwrap_or_default()])?;
        let arranged = arrange(merged, &order, &current, key)?;
        original.insert(name.to_owned(), Value::Array(arranged));
    }
    Ok(())
}

/// The patch's items must come in the order of the directive.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut positions = order.iter();
    for wanted in patch.iter().filter(|v| v.get(DIRECTIVE).is_none()) {
        if !positions.any(|candidate| identity(candidate, key) == identity(wanted, key)) {
            return Err(internal(format!(
                "The order in patch list:\n{}\n doesn't match {ORDER} list:\n{}\n",
                go_value(&Value::from(patch.to_vec())),
                go_value(&Value::from(order.to_vec()))
            )));
        }
    }
    Ok(())
}

/// What identifies an item: its merge key, or itself.
fn identity<'a>(value: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    match key {
        Some(key) => value.get(key),
        None => Some(value),
    }
}

fn no_key(map: &Object, key: &str) -> PatchError {
    internal(format!(
        "map: {} does not contain declared merge key: {key}",
        go_map(map)
    ))
}

/// All items must be of one kind, and none a list.
fn element_kind(lists: &[&[Value]]) -> Result<bool, PatchError> {
    let mut items = lists.iter().flat_map(|list| list.iter());
    let first = items
        .next()
        .ok_or_else(|| internal("no elements in any of the given slices".to_owned()))?;
    if first.is_array() {
        return Err(PatchError::Unprocessable(
            "lists of lists are not supported".to_owned(),
        ));
    }
    if items.any(|other| go_type(other) != go_type(first)) {
        let shown: Vec<String> = lists
            .iter()
            .map(|list| go_value(&Value::from(list.to_vec())))
            .collect();
        return Err(internal(format!(
            "list element types are not identical: [{}]",
            shown.join(" ")
        )));
    }
    Ok(first.is_object())
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    type_: &Ref,
    key: Option<&str>,
    deleting: bool,
) -> Result<Vec<Value>, PatchError> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let maps = element_kind(&[&original, &patch])?;
    if !maps {
        if deleting {
            return Ok(original
                .into_iter()
                .filter(|value| !patch.contains(value))
                .collect());
        }
        let mut merged: Vec<Value> = Vec::new();
        for value in original.iter().chain(&patch) {
            if !merged.contains(value) {
                merged.push(value.clone());
            }
        }
        return arrange(merged, &patch, &original, None);
    }
    let Some(key) = key else {
        return Err(internal(
            "cannot merge lists without merge key for object".to_owned(),
        ));
    };
    let (original, patch) = list_directives(original, patch, key)?;
    let mut merged = original.clone();
    for value in &patch {
        let Value::Object(value) = value else { continue };
        let wanted = value.get(key).ok_or_else(|| no_key(value, key))?;
        match merged
            .iter_mut()
            .find(|candidate| candidate.get(key) == Some(wanted))
        {
            Some(Value::Object(found)) => {
                *found = merge_map(std::mem::take(found), value.clone(), item(type_))?
            }
            _ => merged.push(Value::Object(value.clone())),
        }
    }
    arrange(merged, &patch, &original, Some(key))
}

/// `$patch` among the items of a list: delete one, or replace the whole list.
fn list_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::new();
    let mut replace = false;
    for value in patch {
        let Value::Object(map) = &value else { continue };
        match map.get(DIRECTIVE) {
            None => plain.push(value),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let doomed = map.get(key).ok_or_else(|| no_key(map, key))?;
                    original.retain(|candidate| candidate.get(key) != Some(doomed));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(internal(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                _ => return Err(bad_directive(directive, map)),
            },
        }
    }
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (original, plain)
    })
}

/// Items that `order` names come in its order, the others in that of the original list; between the two, the original decides.
fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    original: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let place =
        |list: &[Value], value: &Value| list.iter().position(|v| identity(v, key) == identity(value, key));
    if let Some(key) = key {
        for value in merged.iter().chain(order) {
            match value {
                Value::Object(map) if map.contains_key(key) => {}
                Value::Object(map) => return Err(no_key(map, key)),
                other => {
                    return Err(internal(format!(
                        "expected a map[string]interface {{}}, but received a {}",
                        go_type(other)
                    )));
                }
            }
        }
    }
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|value| place(order, value).is_some());
    named.sort_by_key(|value| place(order, value));
    others.sort_by_key(|value| place(original, value).unwrap_or(usize::MAX));
    let mut result = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(left), Some(right)) = (others.peek(), named.peek()) {
        let first = matches!((place(original, left), place(original, right)), (Some(l), Some(r)) if l < r);
        result.extend(if first { others.next() } else { named.next() });
    }
    result.extend(named);
    result.extend(others);
    Ok(result)
}

/// A value from a patch as it is stored: maps with a directive vanish.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => Some(Value::Object(
            map.into_iter()
                .filter_map(|(k, v)| Some((k, without_directives(v)?)))
                .collect(),
        )),
        Value::Array(list) => Some(Value::Array(
            list.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, child| !child.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

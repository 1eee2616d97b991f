//! The old value that belongs to a part of a new object: by field name in maps, by keys in lists of type map.
//!
//! Ratcheting and CEL transition rules both stand on this.

use serde_json::{Map, Value};

use super::node::{ListType, Node};

/// The entry of `old` that has the same list-map keys as `item`, when the list is of type map.
pub(crate) fn old_item<'a>(node: &Node, old: Option<&'a Value>, item: &Value) -> Option<&'a Value> {
    if node.list_type != ListType::Map || node.list_map_keys.is_empty() {
        return None;
    }
    let item = item.as_object()?;
    let old = old?.as_array()?;
    old.iter().find(|candidate| {
        candidate
            .as_object()
            .is_some_and(|candidate| same_keys(&node.list_map_keys, item, candidate))
    })
}

fn same_keys(keys: &[String], a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    keys.iter().all(|key| match (a.get(key), b.get(key)) {
        (Some(a), Some(b)) => a == b && !a.is_object() && !a.is_array() && !a.is_null(),
        _ => false,
    })
}

/// The old value of a field, when old and schema know it.
pub(crate) fn old_field<'a>(node: &Node, old: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    node.field(name)?;
    old?.as_object()?.get(name)
}

/// Whether nothing changed. Lists of type map may be reordered.
pub(crate) fn unchanged(node: &Node, new: &Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    match (new, old) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let Some(items) = &node.items else { return false };
            a.iter().all(|item| {
                old_item(node, Some(old), item).is_some_and(|before| unchanged(items, item, before))
            })
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter()
                .all(|(name, child)| match (node.field(name), b.get(name)) {
                    (Some(schema), Some(before)) => unchanged(schema, child, before),
                    _ => false,
                })
        }
        _ => false,
    }
}

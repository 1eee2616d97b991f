//! Small tools for defaults: setting what is absent, walking lists.

use serde_json::{Map, Value};

/// Sets a field that is absent; makes the object around it if `value` is null.
pub(super) fn set(value: &mut Value, field: &str, default: impl Into<Value>) {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    if let Some(map) = value.as_object_mut() {
        map.entry(field).or_insert_with(|| default.into());
    }
}

/// Sets a field that is absent or the empty string.
pub(super) fn set_text(value: &mut Value, field: &str, default: &str) {
    if value[field].as_str().unwrap_or_default().is_empty()
        && let Some(map) = value.as_object_mut()
    {
        map.insert(field.to_owned(), default.into());
    }
}

/// Sets a field that is absent or zero.
pub(super) fn set_number(value: &mut Value, field: &str, default: i64) {
    if value[field].as_i64().unwrap_or(0) == 0
        && let Some(map) = value.as_object_mut()
    {
        map.insert(field.to_owned(), default.into());
    }
}

/// The items of a list, to be changed.
pub(super) fn each<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The items of a list with their places.
pub(super) fn items(value: &Value) -> impl Iterator<Item = (usize, &Value)> {
    value.as_array().into_iter().flatten().enumerate()
}

/// A string field; empty when absent.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The struct under a field, if it is there.
pub(super) fn present<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    value.get_mut(field).filter(|v| v.is_object())
}

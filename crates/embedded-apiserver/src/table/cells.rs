//! Building blocks of columns: constructors, and ways to read objects that never fail.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Cell, Column, age as ages};

pub(super) type Rule = fn(&Value, Timestamp) -> Value;

pub(super) fn name() -> Column {
    Column {
        name: "Name".to_owned(),
        type_: "string".to_owned(),
        format: "name".to_owned(),
        description: "Name of the object, unique in its namespace".to_owned(),
        priority: 0,
        cell: Cell::Rule(|o, _| str_at(o, &["metadata", "name"]).into()),
    }
}

pub(super) fn age(type_: &str) -> Column {
    column("Age", type_, 0, |o, now| {
        age_at(o, &["metadata", "creationTimestamp"], now)
    })
}

pub(super) fn column(name: &str, type_: &str, priority: i64, rule: Rule) -> Column {
    Column {
        name: name.to_owned(),
        type_: type_.to_owned(),
        format: String::new(),
        description: String::new(),
        priority,
        cell: Cell::Rule(rule),
    }
}

pub(super) fn text(name: &str, rule: Rule) -> Column {
    column(name, "string", 0, rule)
}

pub(super) fn wide(name: &str, rule: Rule) -> Column {
    column(name, "string", 1, rule)
}

pub(super) fn integer(name: &str, rule: Rule) -> Column {
    column(name, "integer", 0, rule)
}

pub(super) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, key| value.get(key))
        .filter(|value| !value.is_null())
}

pub(super) fn str_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn int_at(object: &Value, path: &[&str]) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn list_at<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn count_at(object: &Value, path: &[&str]) -> i64 {
    match at(object, path) {
        Some(Value::Object(map)) => map.len() as i64,
        Some(Value::Array(list)) => list.len() as i64,
        _ => 0,
    }
}

pub(super) fn age_at(object: &Value, path: &[&str], now: Timestamp) -> Value {
    ages::cell(at(object, path).and_then(Value::as_str), now).into()
}

pub(super) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

pub(super) fn containers(object: &Value, spec: &[&str], field: &str) -> Value {
    let path: Vec<&str> = spec.iter().copied().chain(["containers"]).collect();
    let names: Vec<&str> = list_at(object, &path)
        .iter()
        .map(|c| str_at(c, &[field]))
        .collect();
    names.join(",").into()
}

pub(super) const TEMPLATE: [&str; 3] = ["spec", "template", "spec"];

pub(super) fn labels_text(labels: Option<&Value>) -> String {
    let pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// A `metav1.LabelSelector` as one line; None when it is malformed.
pub(super) fn selector_text(selector: Option<&Value>) -> Option<String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let labels = selector
        .and_then(|s| s.get("matchLabels"))
        .and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        parts.push((
            key.clone(),
            format!("{key}={}", value.as_str().unwrap_or_default()),
        ));
    }
    let expressions = selector
        .and_then(|s| s.get("matchExpressions"))
        .and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = str_at(expression, &["key"]).to_owned();
        let values: BTreeSet<&str> = list_at(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let values = values.into_iter().collect::<Vec<_>>().join(",");
        let shown = match str_at(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        parts.push((key, shown));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    Some(
        parts
            .into_iter()
            .map(|(_, shown)| shown)
            .collect::<Vec<_>>()
            .join(","),
    )
}

pub(super) fn selector_cell(object: &Value, path: &[&str]) -> Value {
    match selector_text(at(object, path)) {
        None => "<error>".into(),
        Some(text) => or(&text, "<none>").into(),
    }
}

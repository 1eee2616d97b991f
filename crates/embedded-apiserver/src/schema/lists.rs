//! Uniqueness in lists of type set and map.

use serde_json::{Map, Value};

use super::errors::FieldError;
use super::node::{Additional, ListType, Node};

/// Duplicates in all lists of an object.
pub(crate) fn duplicates(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, value, "", &mut errors);
    errors
}

fn walk(node: &Node, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Array(list) => {
            match node.list_type {
                ListType::Set => {
                    for i in repeated(list) {
                        errors.push(FieldError::duplicate(format!("{path}[{i}]"), list[i].clone()));
                    }
                }
                ListType::Map => map_keys(node, list, path, errors),
                ListType::Atomic | ListType::Unset => {}
            }
            if let Some(items) = &node.items {
                for (i, item) in list.iter().enumerate() {
                    walk(items, item, &format!("{path}[{i}]"), errors);
                }
            }
        }
        Value::Object(map) => {
            if let Some(schema) = node.additional.as_ref().and_then(Additional::schema) {
                for (key, child) in map {
                    walk(schema, child, &format!("{path}[{key}]"), errors);
                }
            }
            for (key, child) in map {
                if let Some(property) = node.properties.get(key) {
                    let child_path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    walk(property, child, &child_path, errors);
                }
            }
        }
        _ => {}
    }
}

/// Indices of second occurrences; third and later ones are not reported.
fn repeated(list: &[Value]) -> Vec<usize> {
    let mut seen: Vec<(&Value, usize)> = Vec::new();
    let mut found = Vec::new();
    for (i, value) in list.iter().enumerate() {
        match seen.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => {
                *count += 1;
                if *count == 2 {
                    found.push(i);
                }
            }
            None => seen.push((value, 1)),
        }
    }
    found
}

fn map_keys(node: &Node, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some((i, item)) = list
        .iter()
        .enumerate()
        .find(|(_, item)| !item.is_object() && !item.is_null())
    {
        let text = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(format!("{path}[{i}]"), item.clone(), text));
        return;
    }
    let keys: Vec<Value> = list
        .iter()
        .map(|item| {
            let mut key = Map::new();
            for name in &node.list_map_keys {
                if let Some(value) = item.get(name) {
                    key.insert(name.clone(), value.clone());
                }
            }
            Value::Object(key)
        })
        .collect();
    for i in repeated(&keys) {
        errors.push(FieldError::duplicate(format!("{path}[{i}]"), keys[i].clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicates_are_reported_once_with_their_keys() {
        let node = Node::parse(&json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"], "items": {"type": "object"}},
        }}));
        let value = json!({"set": ["x", "y", "x", "x"], "map": [{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}, {"a": 1}]});
        let texts: Vec<String> = duplicates(&node, &value)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                r#"map[2]: Duplicate value: {"a":1,"b":2}"#,
                r#"map[3]: Duplicate value: {"a":1}"#,
                r#"set[2]: Duplicate value: "x""#,
            ]
        );
    }
}

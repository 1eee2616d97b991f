//! Defaulting, and the removal of nulls that stand where no null is allowed.

use serde_json::Value;

use super::node::{Additional, Node};

/// Fills in defaults. A null counts as absent where the field is not nullable.
pub(crate) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            for (name, property) in &node.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                match map.get_mut(name) {
                    None => {
                        map.insert(name.clone(), default.clone());
                    }
                    Some(present) if present.is_null() && !property.nullable => *present = default.clone(),
                    Some(_) => {}
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(property) = node.properties.get(name) {
                    fill(child, property);
                } else if let Some(schema) = node.additional.as_ref().and_then(Additional::schema) {
                    fill_null(child, schema);
                    fill(child, schema);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &node.items else { return };
            for child in list {
                fill_null(child, items);
                fill(child, items);
            }
        }
        _ => {}
    }
}

fn fill_null(value: &mut Value, node: &Node) {
    if value.is_null() && !node.nullable {
        *value = node.default.clone().unwrap_or(Value::Null);
    }
}

/// Removes nulls of map entries that are neither nullable nor defaulted.
pub(crate) fn drop_nulls(value: &mut Value, node: Option<&Node>) {
    match value {
        Value::Object(map) => {
            map.retain(|name, child| {
                !(child.is_null()
                    && node
                        .and_then(|n| n.field(name))
                        .is_some_and(|schema| !schema.nullable && schema.default.is_none()))
            });
            for (name, child) in map.iter_mut() {
                drop_nulls(child, node.and_then(|n| n.field(name)).map(|n| &**n));
            }
        }
        Value::Array(list) => {
            let items = node.and_then(|n| n.items.as_deref());
            for child in list {
                drop_nulls(child, items);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_filled_and_nulls_follow_nullability() {
        let schema = Node::parse(
            &json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
                "a": {"type": "string", "default": "A"},
                "n": {"type": "string", "nullable": true, "default": "N"},
                "d": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}},
                "map": {"type": "object", "additionalProperties": {"type": "string", "default": "V"}},
            }}}}),
        );
        let cases = [
            (json!({}), json!({"spec": {"a": "A", "n": "N"}})),
            (
                json!({"spec": {"a": null, "n": null, "d": null}}),
                json!({"spec": {"a": "A", "n": null}}),
            ),
            (
                json!({"spec": {"a": "x", "n": "y", "list": [{}, {"x": 2}]}}),
                json!({"spec": {"a": "x", "n": "y", "list": [{"x": 1}, {"x": 2}]}}),
            ),
            (
                json!({"spec": {"map": {"k": null}}}),
                json!({"spec": {"a": "A", "n": "N", "map": {"k": "V"}}}),
            ),
        ];
        for (mut object, expected) in cases {
            drop_nulls(&mut object, Some(&schema));
            fill(&mut object, &schema);
            assert_eq!(object, expected);
        }
    }
}

//! Values that say nothing.
//!
//! Go clients of the older versions write `metadata: {}`, `host: ""` or `port: 0` for fields that nobody set; the schema of
//! v1beta2 refuses them, and they would be in the way of every later write. So they go on the way up, wherever v1beta2
//! demands a value with content and can do without.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where a schema refuses values that say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nothings {
    /// Fields, and whether nothing is taken out there.
    fields: BTreeMap<String, (bool, Nothings)>,
    /// Items of a list or values of a map.
    each: Option<Box<Nothings>>,
}

impl Nothings {
    /// Those of a schema.
    pub fn of(schema: &Value) -> Self {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let fields = properties
            .map(|(name, property)| {
                let optional = !required.iter().any(|r| r == name);
                (
                    name.clone(),
                    (optional && refuses_nothing(property), Self::of(property)),
                )
            })
            .filter(|(_, (refused, inner))| *refused || *inner != Self::default())
            .collect();
        let each = ["items", "additionalProperties"]
            .into_iter()
            .filter_map(|word| schema.get(word))
            .map(Self::of)
            .find(|inner| *inner != Self::default());
        Self {
            fields,
            each: each.map(Box::new),
        }
    }

    /// Takes them out of an object, the innermost first.
    pub fn take_out(&self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                for (name, (refused, inner)) in &self.fields {
                    let Some(field) = object.get_mut(name) else {
                        continue;
                    };
                    inner.take_out(field);
                    if *refused && says_nothing(field) {
                        object.remove(name);
                    }
                }
                if let Some(each) = &self.each {
                    object.values_mut().for_each(|value| each.take_out(value));
                }
            }
            Value::Array(items) => {
                if let Some(each) = &self.each {
                    items.iter_mut().for_each(|item| each.take_out(item));
                }
            }
            _ => {}
        }
    }
}

fn refuses_nothing(schema: &Value) -> bool {
    ["minProperties", "minItems", "minLength"]
        .iter()
        .any(|word| schema[*word].as_u64() > Some(0))
        || schema["minimum"].as_f64() > Some(0.0)
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(Value::is_null),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_v1beta2_refuses_and_does_not_need_goes() {
        let schema = json!({ "required": ["must"], "properties": {
            "must": { "minLength": 1 },
            "end": { "minProperties": 1, "properties": { "host": { "minLength": 1 }, "port": { "minimum": 1 } } },
            "free": { "properties": {} },
            "list": { "items": { "properties": { "metadata": { "minProperties": 1 } } } },
        } });
        let mut object = json!({ "must": "", "end": { "host": "", "port": 0 }, "free": {},
            "list": [{ "metadata": { "creationTimestamp": null } }, { "metadata": { "labels": {} } }] });
        Nothings::of(&schema).take_out(&mut object);
        let left = json!({ "must": "", "free": {}, "list": [{}, { "metadata": { "labels": {} } }] });
        assert_eq!(object, left);
    }
}

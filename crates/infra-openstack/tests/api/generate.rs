//! Objects out of schemas: any that an API server would store.

use seams::{Randomness, SeededRandomness};
use serde_json::{Map, Value, json};

/// Makes objects; one seed makes the same ones.
pub struct Generator(SeededRandomness);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(SeededRandomness::new(seed))
    }

    fn below(&self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An object of a kind, with a version's schema.
    pub fn object(&self, kind: &str, version: &str, schema: &Value) -> Value {
        let mut object = self.value(schema);
        object["apiVersion"] = format!("infrastructure.cluster.x-k8s.io/{version}").into();
        object["kind"] = kind.into();
        object["metadata"] = json!({ "name": "n", "namespace": "ns", "labels": { "a": "b" } });
        if self.chance(50) {
            object["metadata"]["annotations"] = json!({ "other": "{}" });
        }
        object
    }

    /// A value that a schema allows.
    pub fn value(&self, schema: &Value) -> Value {
        if let Some(choices) = schema["enum"].as_array() {
            return choices[self.below(choices.len() as u64) as usize].clone();
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return "4".into();
        }
        match schema["type"].as_str().unwrap_or_default() {
            "object" => self.fields(schema),
            "array" => self.list(schema),
            "boolean" => self.chance(50).into(),
            "integer" => {
                let least = schema["minimum"].as_i64().unwrap_or(-3);
                let most = schema["maximum"].as_i64().unwrap_or(70_000);
                (least + self.below((most - least + 1) as u64) as i64).into()
            }
            _ => self.text(schema),
        }
    }

    fn fields(&self, schema: &Value) -> Value {
        let mut fields = Map::new();
        if let Some(inner) = schema.get("additionalProperties") {
            for _ in 0..self.below(4) {
                fields.insert(self.word(), self.value(inner));
            }
            return fields.into();
        }
        let Some(known) = schema["properties"].as_object() else {
            return fields.into();
        };
        let names: Vec<&String> = known.keys().collect();
        if schema["maxProperties"] == 1 {
            let name = names[self.below(names.len() as u64) as usize];
            return json!({ name.as_str(): self.value(&known[name]) });
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, inner) in known {
            if required.contains(&name.as_str()) || self.chance(45) {
                fields.insert(name.clone(), self.value(inner));
            }
        }
        if fields.is_empty() && schema["minProperties"].is_u64() {
            let name = names[self.below(names.len() as u64) as usize];
            fields.insert(name.clone(), self.value(&known[name]));
        }
        fields.into()
    }

    fn list(&self, schema: &Value) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let most = schema["maxItems"].as_u64().unwrap_or(3).min(3);
        let count = least + self.below(most - least + 1);
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..count {
            let item = self.value(&schema["items"]);
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let same = |other: &Value| match keys {
                Some(keys) => keys
                    .iter()
                    .all(|key| other[key.as_str().unwrap()] == item[key.as_str().unwrap()]),
                None => schema["x-kubernetes-list-type"] == "set" && *other == item,
            };
            if !items.iter().any(same) {
                items.push(item);
            }
        }
        items.into()
    }

    fn word(&self) -> String {
        let length = 1 + self.below(6);
        (0..length)
            .map(|_| char::from(b'a' + self.below(26) as u8))
            .collect()
    }

    fn text(&self, schema: &Value) -> Value {
        match schema["format"].as_str() {
            Some("uuid") => return seams::uuid(&self.0).into(),
            Some("date-time") => return "2026-11-20T12:00:00Z".into(),
            Some("ipv4") => return format!("10.0.0.{}", self.below(255)).into(),
            _ => {}
        }
        let optional = schema["minLength"].is_null() && schema["pattern"].is_null();
        match optional && self.chance(10) {
            true => "".into(),
            false => self.word().into(),
        }
    }
}

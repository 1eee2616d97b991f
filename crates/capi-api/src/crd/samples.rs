//! Objects that fit a schema, for tests: as many different ones as there are seeds.
//!
//! Types, enumerations, required fields, lengths and ranges are kept; patterns and CEL rules are not, but for the few
//! formats that conversions read (durations, API versions), which are known by the names of their fields.

use serde_json::{Map, Value};

/// Makes objects; the same seed makes the same objects.
#[derive(Clone, Debug)]
pub struct Samples {
    state: u64,
    /// Makes values that are told from nothing only by pointers in Go: false, 0, "" and empty lists and objects.
    pub zeroes: bool,
    /// How many of 100 optional fields are there.
    pub density: u64,
}

impl Samples {
    /// A source of objects.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            zeroes: false,
            density: 50,
        }
    }

    /// A number below a limit (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % limit.max(1)
    }

    /// An object that fits a schema. `field` is the name of the field that it is for.
    pub fn object(&mut self, schema: &Value, field: &str) -> Value {
        if let Some(values) = schema["enum"].as_array() {
            let at = self.below(values.len() as u64) as usize;
            return values[at].clone();
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return match self.below(2) {
                0 => (1 + self.below(9)).into(),
                _ => format!("{}%", 1 + self.below(99)).into(),
            };
        }
        match schema["type"].as_str() {
            Some("object") => self.fields(schema),
            Some("array") => self.list(schema, field),
            Some("string") => self.text(schema, field),
            Some("integer" | "number") => self.number(schema),
            Some("boolean") => (!self.zeroes || self.below(2) == 0).into(),
            // Anything goes.
            _ => serde_json::json!({ "any": [self.below(9), "x"] }),
        }
    }

    fn fields(&mut self, schema: &Value) -> Value {
        if schema["x-kubernetes-preserve-unknown-fields"] == true && schema["properties"].is_null() {
            return serde_json::json!({ "any": "thing" });
        }
        let mut fields = Map::new();
        if schema["additionalProperties"].is_object() {
            for _ in 0..1 + self.below(3) {
                let name = format!("key-{}", self.below(9));
                let value = self.object(&schema["additionalProperties"], &name);
                fields.insert(name, value);
            }
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        for (name, property) in &properties {
            let wanted = required.iter().any(|r| r == name) || self.below(100) < self.density;
            if wanted {
                fields.insert(name.clone(), self.object(property, name));
            }
        }
        // An object of nothing is a zero too.
        if fields.is_empty() && (!self.zeroes || schema["minProperties"].as_u64() > Some(0)) {
            let at = self.below(properties.len() as u64) as usize;
            if let Some((name, property)) = properties.iter().nth(at) {
                let value = self.object(property, name);
                fields.insert(name.clone(), value);
            }
        }
        fields.into()
    }

    fn list(&mut self, schema: &Value, field: &str) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0);
        let length = match self.zeroes {
            true => least.max(self.below(3)),
            false => least.max(1 + self.below(2)),
        };
        let mut items: Vec<Value> = Vec::new();
        for _ in 0..length {
            let mut item = self.object(&schema["items"], field);
            for key in schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let key = key.as_str().unwrap_or_default();
                let free = item[key].is_string() && schema["items"]["properties"][key]["enum"].is_null();
                if free {
                    item[key] = format!("{key}-{}", items.len()).into();
                }
            }
            items.push(item);
        }
        items.into()
    }

    fn text(&mut self, schema: &Value, field: &str) -> Value {
        if schema["format"] == "date-time" {
            return format!("2026-0{}-11T12:00:0{}Z", 1 + self.below(9), self.below(10)).into();
        }
        if schema["minLength"].is_null() && self.zeroes && self.below(4) == 0 && !is_duration(field) {
            return "".into();
        }
        match field {
            "apiVersion" => format!("group-{}.dev/v1", self.below(9)).into(),
            "apiGroup" => format!("group-{}.dev", self.below(9)).into(),
            _ if is_duration(field) => {
                format!("{}h{}m{}s", 1 + self.below(9), self.below(60), self.below(60)).into()
            }
            _ => {
                let most = schema["maxLength"].as_u64().unwrap_or(8).min(8) as usize;
                let mut text = format!("s{}", self.below(10_000_000));
                text.truncate(most);
                text.into()
            }
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let whole = |name: &str| schema[name].as_f64().map(|limit| limit as i64);
        let least = whole("minimum").unwrap_or(0).max(if self.zeroes { 0 } else { 1 });
        let most = whole("maximum").unwrap_or(least + 1000).max(least);
        (least + self.below((most - least + 1).unsigned_abs()) as i64).into()
    }
}

/// Fields of the older versions that hold Go durations.
fn is_duration(field: &str) -> bool {
    matches!(
        field,
        "nodeDrainTimeout"
            | "nodeVolumeDetachTimeout"
            | "nodeDeletionTimeout"
            | "nodeStartupTimeout"
            | "timeout"
            | "ttl"
            | "timeoutForControlPlane"
            | "retryPeriod"
            | "minHealthyPeriod"
    )
}

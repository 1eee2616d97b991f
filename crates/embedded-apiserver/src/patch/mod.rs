//! The three patch formats that change an object by difference: JSON patch, merge patch, strategic merge patch.
//!
//! Pure functions; server-side apply is in [`crate::fieldmanager`].

mod json;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::fieldmanager::TypeSchema;

/// Why a patch was not applied; each variant has its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400, reason BadRequest: the patch cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// 422 with an empty kind and name: the patch cannot be applied to this object.
    #[error("{0}")]
    Unprocessable(String),
    /// 413, reason RequestEntityTooLarge: more operations than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// 500 without a reason, as the real server answers patches it did not foresee.
    #[error("{0}")]
    Internal(String),
}

/// Applies an RFC 6902 patch (`application/json-patch+json`).
pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    json::apply(object, patch)
}

/// Applies an RFC 7386 patch (`application/merge-patch+json`).
pub fn merge_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| unreadable(&e))?;
    match patch {
        Value::Object(patch) => {
            let mut result = object.clone();
            merge(&mut result, Value::Object(patch));
            Ok(result)
        }
        Value::Null => Err(PatchError::BadRequest("Invalid JSON Patch".to_owned())),
        other => Err(PatchError::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_kind(&other)
        ))),
    }
}

/// Applies a strategic merge patch (`application/strategic-merge-patch+json`) to a built-in kind.
pub fn strategic_merge_patch(object: &Value, patch: &[u8], kind: &TypeSchema) -> Result<Value, PatchError> {
    let patch: Value = serde_json::from_slice(patch).map_err(|e| PatchError::BadRequest(e.to_string()))?;
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            strategic::apply(object.clone(), patch, &kind.root).map(Value::Object)
        }
        (_, other) => Err(PatchError::BadRequest(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            go_kind(&other)
        ))),
    }
}

fn unreadable(error: &serde_json::Error) -> PatchError {
    PatchError::BadRequest(format!("error decoding patch: {error}"))
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

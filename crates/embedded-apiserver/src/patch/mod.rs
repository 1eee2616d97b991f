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
    let patch: Value = serde_json::from_slice(patch).map_err(|e| unreadable(patch, &e))?;
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
    let patch: Value =
        serde_json::from_slice(patch).map_err(|e| PatchError::BadRequest(go_syntax_error(patch, &e)))?;
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

fn unreadable(text: &[u8], error: &serde_json::Error) -> PatchError {
    PatchError::BadRequest(format!("error decoding patch: {}", go_syntax_error(text, error)))
}

/// What Go's decoder says about malformed JSON, as far as the place of the error tells.
fn go_syntax_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = text
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let found = line
        .get(error.column().saturating_sub(1))
        .copied()
        .unwrap_or_default();
    let place = match error.to_string() {
        text if text.starts_with("trailing characters") => "after top-level value",
        text if text.starts_with("key must be a string") => "looking for beginning of object key string",
        text if text.starts_with("expected `:`") => "after object key",
        text if text.starts_with("expected `,` or `}`") => "after object key:value pair",
        text if text.starts_with("expected `,` or `]`") => "after array element",
        _ => "looking for beginning of value",
    };
    format!("invalid character {:?} {place}", char::from(found))
}

/// What Go's JSON decoder calls a value.
pub(crate) fn go_kind(value: &Value) -> &'static str {
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

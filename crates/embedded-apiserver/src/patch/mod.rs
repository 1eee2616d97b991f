//! The three patch formats that change an object by difference: JSON patch, merge patch, strategic merge patch.

use crate::fieldmanager::TypeSchema;
use serde_json::Value;

/// Why a patch was not applied; each variant has its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400, reason BadRequest: the patch cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// 422, reason Invalid without kind or name: the patch cannot be applied to this object.
    #[error("{0}")]
    Unprocessable(String),
    /// 413: more operations than allowed.
    #[error("{0}")]
    TooLarge(String),
}

/// Applies an RFC 6902 patch (`application/json-patch+json`).
pub fn json_patch(_object: &Value, _patch: &[u8]) -> Result<Value, PatchError> {
    Ok(Value::Null)
}

/// Applies an RFC 7386 patch (`application/merge-patch+json`).
pub fn merge_patch(_object: &Value, _patch: &[u8]) -> Result<Value, PatchError> {
    Ok(Value::Null)
}

/// Applies a strategic merge patch (`application/strategic-merge-patch+json`) to a built-in kind.
pub fn strategic_merge_patch(
    _object: &Value,
    _patch: &[u8],
    _kind: &TypeSchema,
) -> Result<Value, PatchError> {
    Ok(Value::Null)
}

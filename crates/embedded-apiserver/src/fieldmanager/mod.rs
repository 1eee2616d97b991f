//! Field ownership: `metadata.managedFields` of updates and patches, and server-side apply.
//!
//! Pure functions; the time is given. The semantics are those of structured-merge-diff v6.

pub use crate::schema::types::TypeSchema;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager` of the request, or [`default_manager`] of its user agent.
    pub manager: &'a str,
    /// apiVersion of the request's path (`apps/v1`, `v1`).
    pub api_version: &'a str,
    /// Subresource (`status`, `scale`), empty for the main resource.
    pub subresource: &'a str,
    /// Time written to the entry.
    pub now: Timestamp,
}

/// The manager name of a request without `fieldManager`: the user agent up to the first slash, printable characters only.
#[must_use]
pub fn default_manager(user_agent: &str) -> String {
    user_agent
        .split('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(128)
        .collect()
}

/// Recomputes `metadata.managedFields` of `new` after a create (`old` None), update or patch. What the client sent in managedFields counts as upstream counts it
/// (an empty list resets, an unreadable one is ignored). Never fails: an unreadable history is dropped.
/// `reset` are paths that the strategy owns for this (sub)resource, such as `["status"]` on the main resource.
pub fn record_update(
    _types: &TypeSchema,
    _old: Option<&Value>,
    _new: &mut Value,
    _writer: &Writer<'_>,
    _reset: &[&[&str]],
) {
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// 400: the applied object is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// 409, reason Conflict: others own what is applied.
    #[error("{}", conflict_text(.0))]
    Conflicts(Vec<Conflict>),
    /// 422/500-like failures of the typed conversion (unknown field, duplicate list key): upstream's text.
    #[error("{0}")]
    Invalid(String),
}

/// One field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The other manager as shown: `"name" using v1` and so on.
    pub manager: String,
    /// Field path, such as `.spec.replicas`.
    pub field: String,
}

impl Conflict {
    /// The cause object for `metav1.Status.details.causes`.
    #[must_use]
    pub fn cause(&self) -> Value {
        json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", self.manager), "field": self.field})
    }
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    format!("Apply failed with {} conflicts", conflicts.len())
}

/// Server-side apply: merges `applied` into `live` (None: the object does not exist yet) and returns the new object with its managedFields.
/// The caller then defaults, validates and stores it.
pub fn apply(
    _types: &TypeSchema,
    live: Option<&Value>,
    applied: &Value,
    _writer: &Writer<'_>,
    _force: bool,
    _reset: &[&[&str]],
) -> Result<Value, ApplyError> {
    Ok(live.unwrap_or(applied).clone())
}

//! Field ownership: `metadata.managedFields` of updates and patches, and server-side apply.
//!
//! Pure functions; the time is given. The semantics are those of structured-merge-diff v6.

mod compare;
mod managed;
mod merge;
mod set;
#[cfg(test)]
mod tests;
mod typed;
mod update;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use crate::schema::types::TypeSchema;

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

/// The manager name of a request without `fieldManager`: the user agent up to the first slash, at most 128 bytes,
/// printable characters only.
#[must_use]
pub fn default_manager(user_agent: &str) -> String {
    const LONGEST: usize = 128;
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars() {
        if !c.is_control() && name.len() + c.len_utf8() <= LONGEST {
            name.push(c);
        }
    }
    name
}

/// Recomputes `metadata.managedFields` of `new` after a create (`old` None), update or patch. What the client sent in
/// managedFields counts as upstream counts it (an empty list resets, an unreadable one is ignored). Never fails: an
/// unreadable history is dropped. `reset` are paths that the strategy resets for this (sub)resource, such as
/// `["status"]` on the main resource: nobody comes to own them through this write.
pub fn record_update(
    types: &TypeSchema,
    old: Option<&Value>,
    new: &mut Value,
    writer: &Writer<'_>,
    reset: &[&[&str]],
) {
    update::record(types, old, new, writer, reset);
}

/// To be called before a write: when `new` differs from `old` in nothing but the times in managedFields, it gets the old
/// times, so that a write without effect is no write. Returns whether the two are equal then (resourceVersion aside,
/// which is not compared).
pub fn is_unchanged(old: &Value, new: &mut Value) -> bool {
    let mut candidate = new.clone();
    managed::keep_times(old, &mut candidate);
    let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
    let same = if version(old) == version(&candidate) {
        *old == candidate
    } else {
        let mut copy = old.clone();
        for object in [&mut copy, &mut candidate] {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("resourceVersion");
            }
        }
        copy == candidate
    };
    if same {
        managed::keep_times(old, new);
    }
    same
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
    /// 500 without a reason, as the real server answers an object that does not fit its type (unknown field,
    /// duplicate list key): upstream's text.
    #[error("{0}")]
    Internal(String),
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
        json!({
            "reason": "FieldManagerConflict",
            "message": format!("conflict with {}", self.manager),
            "field": self.field,
        })
    }
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager, one.field
        );
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

/// Server-side apply: merges `applied` into `live` (None: the object does not exist yet) and returns the new object with
/// its managedFields. The caller then defaults, validates and stores it; an object equal to `live` means that nothing is
/// to be written.
pub fn apply(
    types: &TypeSchema,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
    reset: &[&[&str]],
) -> Result<Value, ApplyError> {
    update::apply(types, live, applied, writer, force, reset)
}

//! JSON merge patches: what must be sent so that `before` becomes `after`.
//!
//! Pure functions. Server-owned metadata never gets into a patch.

use kube::api::ObjectMeta;
use serde_json::{Map, Value, json};

/// The two requests of a patch; either may be empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatchPlan {
    /// Changes of metadata, spec and whatever else is not status.
    pub main: Option<Value>,
    /// Changes of the status, wrapped as `{"status": ...}`.
    pub status: Option<Value>,
    /// True if a list is replaced that several writers share (conditions, finalizers, owner references), so that the
    /// patch is only right on top of the version it was computed from.
    pub shared: bool,
}

impl PatchPlan {
    /// The plan that turns one JSON form of an object into another.
    pub fn between(before: &Value, after: &Value) -> Self {
        let mut diff = match merge_diff(&without_server_fields(before), &without_server_fields(after)) {
            Some(Value::Object(diff)) => diff,
            _ => Map::new(),
        };
        let status = diff.remove("status").map(|status| json!({ "status": status }));
        let shared = [("metadata", "finalizers"), ("metadata", "ownerReferences")]
            .iter()
            .any(|(section, field)| {
                diff.get(*section)
                    .is_some_and(|section| section.get(field).is_some())
            })
            || status
                .as_ref()
                .is_some_and(|status| status.pointer("/status/conditions").is_some());
        let main = (!diff.is_empty()).then_some(Value::Object(diff));
        Self { main, status, shared }
    }

    /// True if nothing has to be sent.
    pub fn is_empty(&self) -> bool {
        self.main.is_none() && self.status.is_none()
    }
}

/// The JSON merge patch (RFC 7386) from `before` to `after`; none if they are equal.
///
/// A null inside `after` cannot be expressed by a merge patch and counts as absent.
pub fn merge_diff(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut diff = Map::new();
            for (field, old) in before {
                if !old.is_null() && after.get(field).is_none_or(Value::is_null) {
                    diff.insert(field.clone(), Value::Null);
                }
            }
            for (field, new) in after.iter().filter(|(_, new)| !new.is_null()) {
                let change = match before.get(field).filter(|old| !old.is_null()) {
                    Some(old) => merge_diff(old, new),
                    None => Some(new.clone()),
                };
                if let Some(change) = change {
                    diff.insert(field.clone(), change);
                }
            }
            (!diff.is_empty()).then_some(Value::Object(diff))
        }
        (before, after) => (before != after).then(|| after.clone()),
    }
}

/// Adds the version a patch is based on, so that the API server refuses it if the object changed since.
pub(crate) fn lock(patch: &mut Value, version: &str) {
    set_metadata(patch, "resourceVersion", version);
}

/// Adds the uid a patch is meant for, so that it never hits a later object of the same name.
pub(crate) fn pin(patch: &mut Value, meta: &ObjectMeta) {
    if let Some(uid) = &meta.uid {
        set_metadata(patch, "uid", uid);
    }
}

fn set_metadata(patch: &mut Value, field: &str, value: &str) {
    if let Some(patch) = patch.as_object_mut() {
        let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert(field.to_owned(), Value::from(value));
        }
    }
}

fn without_server_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in [
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "managedFields",
                "selfLink",
            ] {
                metadata.remove(field);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_names_only_what_differs() {
        for (before, after, expected) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null}))),
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1, "y": 3}}),
                Some(json!({"a": {"y": 3}})),
            ),
            (json!({"l": [1, 2]}), json!({"l": [1]}), Some(json!({"l": [1]}))),
            (json!({}), json!({"a": {"x": 1}}), Some(json!({"a": {"x": 1}}))),
            (json!({"a": null}), json!({}), None),
            (json!({}), json!({"a": null}), None),
            (json!({"a": {"x": 1}}), json!({"a": 5}), Some(json!({"a": 5}))),
        ] {
            assert_eq!(merge_diff(&before, &after), expected, "{before} -> {after}");
        }
    }

    #[test]
    fn an_applied_patch_gives_the_wanted_object() {
        let before = json!({"spec": {"a": 1, "m": {"k": "v", "gone": true}}, "list": [{"x": 1}]});
        let after = json!({"spec": {"a": 2, "m": {"k": "v"}, "new": {"deep": []}}, "list": []});
        let mut patched = before.clone();
        json_merge(&mut patched, &merge_diff(&before, &after).unwrap());
        assert_eq!(patched, after);
    }

    fn json_merge(target: &mut Value, patch: &Value) {
        let (Value::Object(target), Value::Object(patch)) = (&mut *target, patch) else {
            *target = patch.clone();
            return;
        };
        for (field, change) in patch {
            if change.is_null() {
                target.remove(field);
            } else {
                json_merge(target.entry(field.clone()).or_insert(Value::Null), change);
            }
        }
    }

    #[test]
    fn status_travels_apart_and_server_fields_do_not_travel() {
        let before =
            json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"x": 1}, "status": {"p": 1}});
        let after =
            json!({"metadata": {"name": "a", "resourceVersion": "9"}, "spec": {"x": 2}, "status": {"p": 2}});
        let plan = PatchPlan::between(&before, &after);
        assert_eq!(plan.main, Some(json!({"spec": {"x": 2}})));
        assert_eq!(plan.status, Some(json!({"status": {"p": 2}})));
        assert!(!plan.shared);
    }

    #[test]
    fn shared_lists_ask_for_an_optimistic_lock() {
        for (after, shared) in [
            (json!({"metadata": {"finalizers": ["f"]}}), true),
            (json!({"metadata": {"ownerReferences": [{"uid": "u"}]}}), true),
            (json!({"metadata": {"labels": {"a": "b"}}}), false),
            (json!({"status": {"conditions": [{"type": "Ready"}]}}), true),
            (json!({"status": {"phase": "Running"}}), false),
        ] {
            assert_eq!(PatchPlan::between(&json!({}), &after).shared, shared, "{after}");
        }
    }
}

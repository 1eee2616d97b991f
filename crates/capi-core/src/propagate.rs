//! Carrying fields from an owner to its objects by server-side apply, and only when something has to change.
//!
//! Applying has one advantage over patching: what the owner no longer wants goes, and what others added stays. Whether an
//! apply is due is decided without asking the API server, from the object in the store: a wanted field that is missing or
//! different makes it certain. A field that nobody wants any more cannot be told from one that somebody else added
//! (stores do not keep managedFields), so the last intent is remembered per object; after a restart such an object is
//! applied to once, which changes nothing if nothing was dropped.
//!
//! An object is created by a plain create, which never takes over an object of somebody else as an apply would. The
//! fields of the create belong to an entry of their own in managedFields; [`left_behind`] finds those that the intent
//! has dropped since.

use std::collections::{BTreeMap, BTreeSet};

use capi_api::names::hash_of;
use capi_runtime::{Error, Key};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use parking_lot::Mutex;
use serde_json::{Map, Value};

/// The MachineSet controller's name in managedFields.
pub const MACHINE_SET: &str = "capi-machineset";
/// The same for labels and annotations of infrastructure machines and bootstrap configs.
pub const MACHINE_SET_METADATA: &str = "capi-machineset-metadata";
/// The MachineDeployment controller's name in managedFields.
pub const MACHINE_DEPLOYMENT: &str = "capi-machinedeployment";

/// Whether an apply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The object is as wanted, and nothing else is there.
    Nothing,
    /// All that is wanted is there, and more: what was dropped, or what others added.
    Perhaps,
    /// Something wanted is missing or different.
    Certain,
}

/// Compares what an object has with what is wanted of it.
pub fn need(live: &Value, wanted: &Value) -> Need {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let fields = wanted.iter().map(|(name, value)| match live.get(name) {
                Some(found) => need(found, value),
                None if is_void(value) => Need::Nothing,
                None => Need::Certain,
            });
            let more = live
                .iter()
                .any(|(name, value)| !wanted.contains_key(name) && !is_void(value));
            let most = fields.max().unwrap_or(Need::Nothing);
            most.max(if more { Need::Perhaps } else { Need::Nothing })
        }
        (Value::Array(live), Value::Array(wanted)) if live != wanted => {
            match wanted.iter().all(|item| live.contains(item)) {
                true => Need::Perhaps,
                false => Need::Certain,
            }
        }
        (live, wanted) if live == wanted => Need::Nothing,
        _ => Need::Certain,
    }
}

fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_void),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The last intent by uid of the object, as a hash.
pub type Known = BTreeMap<String, String>;

/// Remembers intents, by owner.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<Key, Known>>);

impl Memory {
    /// What is known of an owner's objects.
    pub fn of(&self, owner: &Key) -> Known {
        self.0.lock().get(owner).cloned().unwrap_or_default()
    }

    /// Remembers intents, and forgets objects that are not there any more.
    pub fn remember(&self, owner: &Key, settled: Known, there: &BTreeSet<String>) {
        let mut all = self.0.lock();
        let known = all.entry(owner.clone()).or_default();
        known.extend(settled);
        known.retain(|uid, _| there.contains(uid));
    }

    /// Forgets an owner.
    pub fn forget(&self, owner: &Key) {
        self.0.lock().remove(owner);
    }
}

/// What follows from comparing an object with an intent.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Whether to apply.
    pub due: bool,
    /// The hash of the intent, to be remembered once it is carried out.
    pub hash: String,
}

/// Whether to apply `wanted` to an object that has `live`, given its last intent.
pub fn judge(live: &Value, wanted: &Value, last: Option<&String>) -> Judgement {
    let hash = hash_of(wanted);
    let due = match need(live, wanted) {
        Need::Nothing => false,
        Need::Perhaps => last != Some(&hash),
        Need::Certain => true,
    };
    Judgement { due, hash }
}

/// The fields below `roots` that the create wrote, that are still there and that `intent` does not have, as a JSON merge
/// patch that removes them. `object` is the answer to an apply, with managedFields. `keep` are names of fields that the
/// create wrote and no intent has.
pub fn left_behind(
    object: &Value,
    intent: &Value,
    manager: &str,
    roots: &[&str],
    keep: &[&str],
) -> Option<Value> {
    let entries: Vec<ManagedFieldsEntry> =
        serde_json::from_value(object.pointer("/metadata/managedFields")?.clone()).ok()?;
    let of_create = |e: &&ManagedFieldsEntry| {
        e.manager.as_deref() == Some(manager)
            && e.operation.as_deref() == Some("Update")
            && e.subresource.as_deref().is_none_or(str::is_empty)
    };
    let fields = &entries.iter().find(of_create)?.fields_v1.as_ref()?.0;
    let mut patch = Value::Object(Map::new());
    for root in roots {
        let path: Vec<&str> = root.split('.').collect();
        let owned = path
            .iter()
            .try_fold(fields, |at, name| at.get(format!("f:{name}").as_str()));
        let down = |value: &Value| {
            path.iter()
                .try_fold(value.clone(), |at, name| at.get(*name).cloned())
        };
        let (Some(owned), Some(live)) = (owned, down(object)) else {
            continue;
        };
        if let Some(part) = dropped(owned, &live, down(intent).as_ref(), keep) {
            let mut at = &mut patch;
            for name in &path {
                at = &mut at[*name];
            }
            *at = part;
        }
    }
    patch.as_object().is_some_and(|p| !p.is_empty()).then_some(patch)
}

/// An object after an apply without what its creation left behind; nothing if that is nothing. `create` is who created
/// it, the paths to look at, and fields to keep.
pub fn tidied<K>(
    answer: &K,
    intent: &Value,
    create: (&str, &[&str], &[&str]),
    key: &Key,
) -> Result<Option<K>, Error>
where
    K: serde::Serialize + serde::de::DeserializeOwned,
{
    let broken = |error: serde_json::Error| Error::Config {
        what: format!("object {key}"),
        reason: error.to_string(),
    };
    let (manager, roots, keep) = create;
    let mut object = serde_json::to_value(answer).map_err(broken)?;
    let Some(patch) = left_behind(&object, intent, manager, roots, keep) else {
        return Ok(None);
    };
    merge(&mut object, &patch);
    serde_json::from_value(object).map(Some).map_err(broken)
}

/// Applies a JSON merge patch.
fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (name, value) in patch {
                match value {
                    Value::Null => {
                        object.remove(name);
                    }
                    value => merge(object.entry(name.clone()).or_insert(Value::Null), value),
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

fn dropped(owned: &Value, live: &Value, wanted: Option<&Value>, keep: &[&str]) -> Option<Value> {
    let inner: Vec<(&str, &Value)> = owned
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix("f:")?, value)))
        .collect();
    if inner.is_empty() {
        // A leaf or a list.
        return wanted.is_none().then_some(Value::Null);
    }
    let parts: Map<String, Value> = inner
        .into_iter()
        .filter(|(name, _)| !keep.contains(name))
        .filter_map(|(name, owned)| {
            let live = live.get(name)?;
            let part = dropped(owned, live, wanted.and_then(|w| w.get(name)), keep)?;
            Some((name.to_owned(), part))
        })
        .collect();
    (!parts.is_empty()).then_some(Value::Object(parts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_and_different_fields_need_an_apply_and_more_fields_perhaps() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), Need::Nothing),
            (json!({"a": 1}), json!({"a": 1, "b": {}}), Need::Nothing),
            (json!({"a": 1, "b": {"c": []}}), json!({"a": 1}), Need::Nothing),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Need::Perhaps),
            (
                json!({"a": {"x": 1, "y": 2}}),
                json!({"a": {"x": 1}}),
                Need::Perhaps,
            ),
            (json!({"l": [1, 2]}), json!({"l": [1]}), Need::Perhaps),
            (json!({"l": [1]}), json!({"l": [2]}), Need::Certain),
            (json!({"a": 2}), json!({"a": 1}), Need::Certain),
            (json!({"b": 2}), json!({"a": 1}), Need::Certain),
        ];
        for (live, wanted, expected) in cases {
            assert_eq!(need(&live, &wanted), expected, "{live} {wanted}");
        }
    }

    #[test]
    fn what_others_add_is_asked_about_once() {
        let (live, wanted) = (json!({"a": 1, "other": 2}), json!({"a": 1}));
        let first = judge(&live, &wanted, None);
        assert!(first.due);
        assert!(!judge(&live, &wanted, Some(&first.hash)).due);
        assert!(judge(&live, &json!({}), Some(&first.hash)).due, "a was dropped");
    }

    #[test]
    fn memories_of_objects_that_are_gone_fade() {
        let (memory, owner) = (Memory::default(), Key::new("ns", "o"));
        let known = |pairs: &[(&str, &str)]| -> Known {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        memory.remember(
            &owner,
            known(&[("a", "1"), ("b", "1")]),
            &["a".into(), "b".into()].into(),
        );
        memory.remember(&owner, known(&[("a", "2")]), &["a".into()].into());
        assert_eq!(memory.of(&owner), known(&[("a", "2")]));
        memory.forget(&owner);
        assert!(memory.of(&owner).is_empty());
    }

    #[test]
    fn fields_of_the_create_that_the_intent_dropped_are_found() {
        let object = json!({"metadata": {
            "labels": {"kept": "1", "dropped": "1", "foreign": "1"},
            "annotations": {"origin": "x", "gone": "1"},
            "managedFields": [
                {"manager": "capi-machineset", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:kept": {}}}}},
                {"manager": "capi-machineset", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:labels": {".": {}, "f:kept": {}, "f:dropped": {}}, "f:annotations": {"f:origin": {}, "f:gone": {}, "f:removed-by-user": {}}},
                    "f:spec": {"f:minReadySeconds": {}, "f:version": {}, "f:deletion": {"f:nodeDrainTimeoutSeconds": {}}}}}]},
            "spec": {"minReadySeconds": 5, "version": "v1", "deletion": {"nodeDrainTimeoutSeconds": 3}}});
        let intent = json!({"metadata": {"labels": {"kept": "2"}}, "spec": {"deletion": {"nodeDrainTimeoutSeconds": 4}}});
        let roots = [
            "metadata.labels",
            "metadata.annotations",
            "spec.minReadySeconds",
            "spec.deletion",
        ];
        assert_eq!(
            left_behind(&object, &intent, "capi-machineset", &roots, &["origin"]),
            Some(
                json!({"metadata": {"labels": {"dropped": null}, "annotations": {"gone": null}}, "spec": {"minReadySeconds": null}})
            )
        );
        assert_eq!(left_behind(&object, &intent, "other", &roots, &[]), None);
    }
}

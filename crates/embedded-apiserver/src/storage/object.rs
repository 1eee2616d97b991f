//! One stored object: its JSON text, and next to it the few fields that the server asks for all the time.
//!
//! The text is what goes over the wire, so that reads, lists and watch events copy bytes instead of serializing.

use bytes::Bytes;
use serde_json::Value;

/// An owner reference as the garbage collector needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerReference {
    /// `group/version` of the owner.
    pub api_version: Box<str>,
    /// Kind of the owner.
    pub kind: Box<str>,
    /// Name of the owner.
    pub name: Box<str>,
    /// Uid of the owner.
    pub uid: Box<str>,
    /// Whether the owner's foreground deletion waits for this object.
    pub blocks_owner_deletion: bool,
}

/// An immutable version of a stored object.
#[derive(Debug, Clone)]
pub struct Object {
    /// `apiVersion` of the stored text.
    pub api_version: Box<str>,
    /// Namespace; empty when cluster-scoped.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// The revision of the write that made this version (`metadata.resourceVersion`).
    pub revision: u64,
    /// The labels, sorted by key.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The owner references.
    pub owners: Box<[OwnerReference]>,
    /// The finalizers.
    pub finalizers: Box<[Box<str>]>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// The object as JSON in its storage version, `metadata.resourceVersion` included.
    pub json: Bytes,
}

/// The storage key of an object: `namespace/name`, or `name` when cluster-scoped.
pub fn object_key(namespace: &str, name: &str) -> Box<str> {
    match namespace.is_empty() {
        true => name.into(),
        false => format!("{namespace}/{name}").into(),
    }
}

fn text(value: &Value) -> Box<str> {
    value.as_str().unwrap_or_default().into()
}

fn owner(value: &Value) -> OwnerReference {
    OwnerReference {
        api_version: text(&value["apiVersion"]),
        kind: text(&value["kind"]),
        name: text(&value["name"]),
        uid: text(&value["uid"]),
        blocks_owner_deletion: value["blockOwnerDeletion"].as_bool().unwrap_or(false),
    }
}

impl Object {
    /// Stamps `revision` into `value` and freezes it.
    pub fn freeze(mut value: Value, revision: u64) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), Value::String(revision.to_string()));
        }
        // Without the room to grow that the text was written with: objects live long.
        let json = serde_json::to_vec(&value)
            .map(|text| Bytes::from(text.into_boxed_slice()))
            .unwrap_or_default();
        Self::lift(&value, revision, json)
    }

    /// The object whose text was stored at `revision`.
    pub fn thaw(json: Bytes, revision: u64) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::from_slice(&json)?;
        Ok(Self::lift(&value, revision, json))
    }

    fn lift(value: &Value, revision: u64, json: Bytes) -> Self {
        let metadata = &value["metadata"];
        let list = |field: &str| metadata[field].as_array().map(Vec::as_slice).unwrap_or_default();
        let labels = metadata["labels"]
            .as_object()
            .map(|m| m.iter().map(|(k, v)| (k.as_str().into(), text(v))).collect());
        let mut labels: Vec<_> = labels.unwrap_or_default();
        labels.sort();
        Self {
            api_version: text(&value["apiVersion"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            revision,
            labels: labels.into(),
            owners: list("ownerReferences").iter().map(owner).collect(),
            finalizers: list("finalizers").iter().map(text).collect(),
            terminating: metadata["deletionTimestamp"].is_string(),
            json,
        }
    }

    /// The object as a JSON value.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The storage key.
    pub fn key(&self) -> Box<str> {
        object_key(&self.namespace, &self.name)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| &**value)
    }

    /// Whether the finalizer is present.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|f| &**f == finalizer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn freezing_stamps_the_revision_and_lifts_metadata() {
        let object = Object::freeze(
            json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "b", "uid": "u", "labels": {"z": "1", "a": "2"},
                "finalizers": ["f"], "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "x"}]}}),
            7,
        );
        assert_eq!(object.value()["metadata"]["resourceVersion"], "7");
        assert_eq!((object.label("z"), object.label("b")), (Some("1"), None));
        assert_eq!(
            (&*object.key(), object.terminating, object.has_finalizer("f")),
            ("b/a", false, true)
        );
        assert_eq!(&*object.owners[0].uid, "x");
    }
}

//! Removal of fields that the schema does not know.

use serde_json::Value;

use super::node::Node;
use super::types::{object_meta, prune_at};

/// Fields of every resource that stay whatever the schema says.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Prunes a whole resource; returns the paths of what was removed.
pub(crate) fn prune(object: &mut Value, root: &Node) -> Vec<String> {
    let mut pruner = Pruner {
        path: String::new(),
        unknown: Vec::new(),
        embedded: Vec::new(),
    };
    // The order of the answer: metadata, then the rest, then metadata of embedded resources.
    pruner.metadata(object);
    let mut unknown = std::mem::take(&mut pruner.unknown);
    pruner.value(object, Some(root), true);
    pruner.unknown.sort();
    unknown.append(&mut pruner.unknown);
    unknown.append(&mut pruner.embedded);
    unknown
}

/// Prunes a value that is not a whole resource.
pub(crate) fn prune_value(value: &mut Value, node: &Node) {
    let mut pruner = Pruner {
        path: ".".to_owned(),
        unknown: Vec::new(),
        embedded: Vec::new(),
    };
    pruner.value(value, Some(node), false);
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

struct Pruner {
    path: String,
    unknown: Vec<String>,
    /// Unknown fields in metadata of embedded resources.
    embedded: Vec<String>,
}

impl Pruner {
    fn within(&mut self, push: impl FnOnce(&mut String), then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        push(&mut self.path);
        then(self);
        self.path.truncate(length);
    }

    fn key(path: &mut String, key: &str) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }

    fn record(&mut self, key: &str) {
        let mut path = self.path.clone();
        Self::key(&mut path, key);
        self.unknown.push(path);
    }

    /// Metadata has one type everywhere. What is empty in it is left out.
    fn metadata(&mut self, resource: &mut Value) {
        let Some(metadata) = resource.get_mut("metadata") else {
            return;
        };
        let mut path = self.path.clone();
        Self::key(&mut path, "metadata");
        prune_at(&object_meta(), metadata, &path, &mut self.unknown);
        if let Value::Object(map) = metadata {
            map.retain(|_, value| !is_empty(value));
        }
    }

    fn value(&mut self, value: &mut Value, node: Option<&Node>, root: bool) {
        let preserve = node.is_some_and(|n| n.preserve_unknown);
        match value {
            Value::Object(map) => {
                let embedded = root || node.is_some_and(|n| n.embedded);
                let mut doomed = Vec::new();
                if node.is_some_and(|n| n.embedded) && !root {
                    let mut resource = Value::Object(std::mem::take(map));
                    let mut others = std::mem::take(&mut self.unknown);
                    self.metadata(&mut resource);
                    self.embedded.append(&mut self.unknown);
                    self.unknown.append(&mut others);
                    if let Value::Object(back) = resource {
                        *map = back;
                    }
                }
                for (key, child) in map.iter_mut() {
                    if node.is_some() && embedded && META_FIELDS.contains(&key.as_str()) {
                        continue;
                    }
                    let known = node.and_then(|n| match n.properties.get(key) {
                        Some(property) => Some(Some(&**property)),
                        None => n.additional.as_ref().map(|a| a.schema().map(|s| &**s)),
                    });
                    match known {
                        Some(schema) => self.within(|p| Self::key(p, key), |s| s.value(child, schema, false)),
                        None if preserve => {}
                        None => {
                            if !META_FIELDS.contains(&key.as_str()) || !self.path.is_empty() {
                                self.record(key);
                            }
                            doomed.push(key.clone());
                        }
                    }
                }
                for key in doomed {
                    map.remove(&key);
                }
            }
            Value::Array(list) => {
                let items = node.and_then(|n| n.items.as_deref());
                for (i, child) in list.iter_mut().enumerate() {
                    // Below a list that preserves unknown fields, items without a schema are left alone.
                    if preserve {
                        self.within(|p| p.push_str(&format!("[{i}]")), |s| s.preserved(child, items));
                    } else {
                        self.within(
                            |p| p.push_str(&format!("[{i}]")),
                            |s| s.value(child, items, false),
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// An item of a preserved list: only what the item's schema names is looked into.
    fn preserved(&mut self, value: &mut Value, node: Option<&Node>) {
        let Some(node) = node else { return };
        let mut lenient = node.clone();
        lenient.preserve_unknown = true;
        self.value(value, Some(&lenient), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_are_reported() {
        let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"typed": {"type": "object", "properties": {"z": {"type": "string"}}}}},
            "any": {"type": "object", "additionalProperties": true},
            "resource": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"data": {"type": "string"}}},
        }}}});
        let mut object = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "whatever": 1, "labels": {}}, "extra": 1, "spec": {
            "a": "1", "b": 2,
            "list": [{"x": "1", "q": 1}, {"q": 2}],
            "map": {"k": {"y": "1", "q": 1}},
            "free": {"anything": {"deep": 1}, "typed": {"z": "1", "q": 1}},
            "any": {"k": {"lost": 1}},
            "resource": {"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"a": "b"}, "x": 1}, "data": "1", "q": 1},
        }});
        let unknown = prune(&mut object, &Node::parse(&schema));
        assert_eq!(
            unknown,
            [
                "metadata.whatever",
                "extra",
                "spec.any.k.lost",
                "spec.b",
                "spec.free.typed.q",
                "spec.list[0].q",
                "spec.list[1].q",
                "spec.map.k.q",
                "spec.resource.q",
                "spec.resource.metadata.x"
            ]
        );
        assert_eq!(
            object,
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {
                "a": "1",
                "list": [{"x": "1"}, {}],
                "map": {"k": {"y": "1"}},
                "free": {"anything": {"deep": 1}, "typed": {"z": "1"}},
                "any": {"k": {}},
                "resource": {"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"a": "b"}}, "data": "1"},
            }})
        );
    }
}

//! What a ConfigMap or Secret holds: its hash, and the objects in it in the order of their creation. Pure.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Kinds that others depend on, the first first.
const FIRST: [&str; 12] = [
    "Namespace",
    "CustomResourceDefinition",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Secret",
    "ConfigMap",
    "ServiceAccount",
    "LimitRange",
    "Pod",
    "ReplicaSet",
    "Endpoint",
];

/// The objects of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The hash of all values, as bindings carry it.
    pub hash: String,
    /// The objects, or why they cannot be read.
    pub objects: Result<Vec<DynamicObject>, String>,
}

impl Content {
    /// Reads the values of a ConfigMap or Secret in the order of their keys.
    pub fn of(values: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut hash = Sha256::new();
        let mut objects = Ok(Vec::new());
        for (key, value) in values {
            hash.update(value);
            objects = objects.and_then(|mut all: Vec<DynamicObject>| {
                all.extend(parse(value).map_err(|why| format!("key {key}: {why}"))?);
                Ok(all)
            });
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            hash: format!("sha256:{digest}"),
            objects,
        }
    }
}

/// The objects of one value, those first that others of it depend on.
fn parse(value: &[u8]) -> Result<Vec<DynamicObject>, String> {
    let text = std::str::from_utf8(value).map_err(|_| "it is not text".to_owned())?;
    let mut objects = Vec::new();
    for (number, document) in documents(text)?.into_iter().enumerate() {
        for object in expanded(document) {
            objects.push(read(object).map_err(|why| format!("document {}: {why}", number + 1))?);
        }
    }
    let place = |object: &DynamicObject| {
        let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
        FIRST
            .iter()
            .position(|first| *first == kind)
            .unwrap_or(FIRST.len())
    };
    objects.sort_by_key(place);
    Ok(objects)
}

/// The YAML documents of a text, or its JSON; empty ones are left out.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let start = text.trim_start();
    let all: Vec<Value> = if start.starts_with(['[', '{'])
        && let Ok(value) = serde_json::from_str(text)
    {
        vec![value]
    } else {
        // `0644` is an octal number to every Kubernetes tool.
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())?
    };
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// A JSON list holds objects, and so does a `List`.
fn expanded(document: Value) -> Vec<Value> {
    match document {
        Value::Array(objects) => objects,
        Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
            match list.remove("items") {
                Some(Value::Array(objects)) => objects,
                _ => Vec::new(),
            }
        }
        object => vec![object],
    }
}

fn read(value: Value) -> Result<DynamicObject, String> {
    if !value.is_object() {
        return Err(format!("it is not a Kubernetes object but {value}"));
    }
    let object: DynamicObject =
        serde_json::from_value(value).map_err(|error| format!("it is not a Kubernetes object: {error}"))?;
    let lacks = |what: &str| Err(format!("it lacks {what}"));
    match &object.types {
        None => lacks("apiVersion or kind"),
        Some(_) if object.metadata.name.is_none() && object.metadata.generate_name.is_none() => {
            lacks("metadata.name")
        }
        Some(_) => Ok(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec()))
            .collect()
    }

    fn names(pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let objects = Content::of(&values(pairs)).objects?;
        let name = |o: &DynamicObject| {
            format!(
                "{} {}",
                o.types.clone().unwrap_or_default().kind,
                o.metadata.name.clone().unwrap_or_default()
            )
        };
        Ok(objects.iter().map(name).collect())
    }

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n";
    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";

    #[test]
    fn yaml_documents_are_sorted_within_their_value_and_values_by_key() {
        let text = format!("---\n{DEPLOYMENT}---\n# nothing\n---\n{NAMESPACE}");
        let later = "apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n";
        assert_eq!(
            names(&[("b", later), ("a", &text)]).unwrap(),
            ["Namespace ns", "Deployment d", "Namespace later"]
        );
    }

    #[test]
    fn json_objects_and_lists_are_read_too() {
        let one = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#;
        let two = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}"#;
        assert_eq!(names(&[("a", one)]).unwrap(), ["ConfigMap a"]);
        assert_eq!(
            names(&[("a", &format!(" [{one},{two}]"))]).unwrap(),
            ["Secret b", "ConfigMap a"]
        );
        let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{one}]}}"#);
        assert_eq!(names(&[("a", &list)]).unwrap(), ["ConfigMap a"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expected) in [
            ("a: [", "key k: "),
            (
                "just text",
                "key k: document 1: it is not a Kubernetes object but \"just text\"",
            ),
            (
                "kind: ConfigMap\nmetadata: {name: a}\n",
                "key k: document 1: it lacks apiVersion or kind",
            ),
            (
                "apiVersion: v1\nkind: ConfigMap\n",
                "key k: document 1: it lacks metadata.name",
            ),
        ] {
            let error = names(&[("k", text)]).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_hash_is_that_of_all_values_by_key() {
        // echo -n ab | sha256sum
        assert_eq!(
            Content::of(&values(&[("2", "b"), ("1", "a")])).hash,
            "sha256:fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"
        );
    }

    #[test]
    fn file_modes_are_octal() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {mode: 0644}\n";
        let objects = Content::of(&values(&[("k", text)])).objects.unwrap();
        assert_eq!(objects[0].data["spec"]["mode"], 420);
    }
}

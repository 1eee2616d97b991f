//! OpenAPI documents: the schemas of custom resources as their definitions have them, those of built-in kinds from the
//! table of types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::hash;
use super::lists::served;
use crate::registry::{Registry, Resource, Version};
use crate::schema::types::documents;
use crate::server::{Inner, definitions};

/// The name under which a kind stands in a document, as upstream forms it.
fn definition_name(resource: &Resource, version: &Version) -> String {
    if !resource.is_custom()
        && let Some(name) = documents::kind(&resource.gr.group, &version.name, &resource.kind)
    {
        return name.to_owned();
    }
    let reversed: Vec<&str> = resource.gr.group.split('.').rev().collect();
    format!("{}.{}.{}", reversed.join("."), version.name, resource.kind)
}

fn gvk(resource: &Resource, version: &Version) -> Value {
    json!([{"group": &*resource.gr.group, "kind": resource.kind, "version": version.name}])
}

/// Leaves out what OpenAPI does not know.
fn without_rules(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| *key != "x-kubernetes-validations");
            Value::Object(
                kept.map(|(key, value)| (key.clone(), without_rules(value)))
                    .collect(),
            )
        }
        Value::Array(list) => list.iter().map(without_rules).collect(),
        other => other.clone(),
    }
}

/// The schema of a custom resource, from its definition.
fn custom_schema(inner: &Inner, resource: &Resource, version: &Version) -> Option<Value> {
    let definition = inner.read(&definitions(), &resource.gr.to_string())?;
    let versions = definition["spec"]["versions"].as_array()?;
    let found = versions.iter().find(|v| v["name"] == version.name)?;
    found.pointer("/schema/openAPIV3Schema").map(without_rules)
}

fn definition(inner: &Inner, resource: &Resource, version: &Version, metadata_ref: &str) -> Value {
    let raw = if resource.is_custom() {
        custom_schema(inner, resource, version)
    } else {
        None
    };
    let mut schema =
        raw.unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    let described = [
        (
            "apiVersion",
            json!({"type": "string", "description": "Version of the API that this object is written in."}),
        ),
        (
            "kind",
            json!({"type": "string", "description": "Kind of the object."}),
        ),
    ];
    let Some(map) = schema.as_object_mut() else {
        return schema;
    };
    map.insert("x-kubernetes-group-version-kind".into(), gvk(resource, version));
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    for (name, value) in described {
        if properties.get(name).is_none() {
            properties[name] = value;
        }
    }
    properties["metadata"] =
        json!({"allOf": [{"$ref": metadata_ref}], "description": "Standard object's metadata."});
    schema
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A path item: kubectl reads from it which kind a path takes and whether it validates fields.
fn operations(resource: &Resource, version: &Version) -> Value {
    let kind = json!({"group": &*resource.gr.group, "kind": resource.kind, "version": version.name});
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    let operation = |action: &str| {
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind, "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        })
    };
    json!({"get": operation("get"), "put": operation("put"), "patch": operation("patch"), "delete": operation("delete")})
}

fn paths(registry: &Registry, group: &str, version: &str) -> Map<String, Value> {
    let base = base_path(group, version);
    let mut paths = Map::new();
    for (resource, served_version) in served(registry, group, version) {
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("/{base}{scope}/{}", resource.gr.resource);
        let one = operations(resource, served_version);
        let mut all = json!({"get": one["get"], "post": one["put"], "delete": one["delete"]});
        all["get"]["x-kubernetes-action"] = "list".into();
        all["post"]["x-kubernetes-action"] = "post".into();
        paths.insert(collection.clone(), all);
        paths.insert(format!("{collection}/{{name}}"), one);
    }
    paths
}

fn base_path(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => format!("api/{version}"),
        false => format!("apis/{group}/{version}"),
    }
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": super::VERSION.2})
}

/// The document of `api/v1` or `apis/GROUP/VERSION`.
pub(super) fn v3(inner: &Inner, registry: &Registry, path: &str) -> Option<Bytes> {
    let segments: Vec<&str> = path.split('/').collect();
    let (group, version) = match segments.as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return None,
    };
    let all: Vec<_> = served(registry, group, version).collect();
    if all.is_empty() {
        return None;
    }
    // What is built in does not change, and is asked for with every command of kubectl.
    let fixed = all.iter().all(|(resource, _)| !resource.is_custom());
    static FIXED: LazyLock<Mutex<BTreeMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    if let Some(known) = FIXED.lock().get(path).filter(|_| fixed) {
        return Some(known.clone());
    }
    let schemas = schemas(inner, &all, true);
    let document = json!({"openapi": "3.0.0", "info": info(), "paths": paths(registry, group, version), "components": {"schemas": schemas}});
    let document = Bytes::from(document.to_string());
    if fixed {
        FIXED.lock().insert(path.to_owned(), document.clone());
    }
    Some(document)
}

/// The schemas of some resources and of what they refer to.
fn schemas(inner: &Inner, resources: &[(&Resource, &Version)], v3: bool) -> Map<String, Value> {
    let builtin = resources
        .iter()
        .filter(|(resource, _)| !resource.is_custom())
        .filter_map(|(resource, version)| documents::kind(&resource.gr.group, &version.name, &resource.kind));
    let mut schemas = documents::closure(builtin.chain([META]), v3);
    let folder = if v3 {
        "#/components/schemas"
    } else {
        "#/definitions"
    };
    for (resource, version) in resources {
        let name = definition_name(resource, version);
        if !schemas.contains_key(&name) {
            let schema = definition(inner, resource, version, &format!("{folder}/{META}"));
            schemas.insert(name, schema);
        }
    }
    schemas
}

/// The list of documents, each with a hash that changes with its content.
pub(super) fn v3_index(inner: &Inner, registry: &Registry) -> Value {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    for (group, listed) in registry.groups() {
        versions.extend(listed.into_iter().map(|version| (group.clone(), version)));
    }
    let mut paths = BTreeMap::new();
    for (group, version) in versions {
        let base = base_path(&group, &version);
        let document = v3(inner, registry, &base).unwrap_or_default();
        let url = format!("/openapi/v3/{base}?hash={}", hash(&document));
        paths.insert(base, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// A document of OpenAPI v2 in protobuf without any kind: `swagger`, `info` and `paths`. Clients that can read this form read
/// the schemas from v3.
pub(super) const V2_EMPTY: &[u8] = b"\x0a\x032.0\x12\x13\x0a\x0aKubernetes\x12\x051.0.0\x42\x00";

/// The one document of OpenAPI v2.
pub(super) fn v2(inner: &Inner, registry: &Registry) -> Vec<u8> {
    let mut definitions = Map::new();
    let mut all_paths = Map::new();
    let mut versions = vec![(String::new(), "v1".to_owned())];
    for (group, listed) in registry.groups() {
        versions.extend(listed.into_iter().map(|version| (group.clone(), version)));
    }
    for (group, version) in &versions {
        let all: Vec<_> = served(registry, group, version).collect();
        definitions.extend(schemas(inner, &all, false));
        all_paths.extend(paths(registry, group, version));
    }
    json!({"swagger": "2.0", "info": info(), "paths": all_paths, "definitions": definitions})
        .to_string()
        .into_bytes()
}

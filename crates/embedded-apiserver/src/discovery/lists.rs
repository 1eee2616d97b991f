//! The classic discovery documents: APIVersions, APIGroupList, APIGroup, APIResourceList.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::request::api_version;
use crate::registry::builtin::Builtin;
use crate::registry::{Registry, Resource, Version};

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The same in the order that custom resources have them.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

pub(super) fn verbs(resource: &Resource) -> Vec<&'static str> {
    match resource.builtin().is_some_and(|row| row.has(Builtin::VIRTUAL)) {
        true => vec!["create"],
        false if resource.is_custom() => CUSTOM_VERBS.to_vec(),
        false => VERBS.to_vec(),
    }
}

/// Group, version and kind that a subresource speaks, and its verbs.
pub(super) fn subresource(
    resource: &Resource,
    version: &Version,
    name: &str,
) -> (String, String, String, Vec<&'static str>) {
    match name {
        "scale" => (
            "autoscaling".into(),
            "v1".into(),
            "Scale".into(),
            vec!["get", "patch", "update"],
        ),
        "eviction" => ("policy".into(), "v1".into(), "Eviction".into(), vec!["create"]),
        "token" => (
            "authentication.k8s.io".into(),
            "v1".into(),
            "TokenRequest".into(),
            vec!["create"],
        ),
        "finalize" => (String::new(), "v1".into(), "Namespace".into(), vec!["update"]),
        _ => (
            resource.gr.group.to_string(),
            version.name.clone(),
            resource.kind.clone(),
            vec!["get", "patch", "update"],
        ),
    }
}

/// A short hash of group, version and kind of what is stored, as upstream forms it.
fn storage_version_hash(resource: &Resource) -> String {
    let text = format!(
        "{}/{}/{}",
        resource.gr.group, resource.storage_version, resource.kind
    );
    STANDARD.encode(&Sha256::digest(text)[..8])
}

pub(super) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]})
}

fn group_value(name: &str, versions: &[String]) -> Value {
    let entry = |version: &String| json!({"groupVersion": api_version(name, version), "version": version});
    let all: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}

pub(super) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .map(|(name, versions)| group_value(name, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub(super) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let mut value = group_value(name, registry.groups().get(name)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// The resources that a version of a group serves.
pub(super) fn served<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Resource, &'a Version)> {
    registry
        .all()
        .filter(move |r| &*r.gr.group == group)
        .filter_map(move |r| {
            let version = r.versions.iter().find(|v| v.name == version && v.served)?;
            Some((&**r, version))
        })
}

pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut all = Vec::new();
    for (resource, served_version) in served(registry, group, version) {
        let mut entry = json!({
            "name": &*resource.gr.resource, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": verbs(resource), "storageVersionHash": storage_version_hash(resource),
        });
        for (field, list) in [
            ("shortNames", &resource.short_names),
            ("categories", &resource.categories),
        ] {
            if !list.is_empty() {
                entry[field] = json!(list);
            }
        }
        all.push(entry);
        for name in resource.subresources(served_version) {
            let (sub_group, sub_version, kind, verbs) = subresource(resource, served_version, name);
            let mut entry = json!({
                "name": format!("{}/{name}", resource.gr.resource), "singularName": "", "namespaced": resource.namespaced,
                "kind": kind, "verbs": verbs,
            });
            if (sub_group.as_str(), sub_version.as_str()) != (group, version) {
                entry["group"] = sub_group.into();
                entry["version"] = sub_version.into();
            }
            all.push(entry);
        }
    }
    let group_version = api_version(group, version);
    (!all.is_empty()).then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": all}))
}

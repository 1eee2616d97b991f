//! Aggregated discovery: all groups, versions and resources in one document (`apidiscovery.k8s.io`).

use http::Response;
use serde_json::{Value, json};

use super::lists::{served, subresource, verbs};
use super::tagged;
use crate::http::body::ApiBody;
use crate::http::request::{Request, Target};
use crate::registry::{Registry, Resource, Version};

fn resource_value(resource: &Resource, version: &Version) -> Value {
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut value = json!({
        "resource": &*resource.gr.resource,
        "responseKind": {"group": &*resource.gr.group, "version": version.name, "kind": resource.kind},
        "scope": scope, "singularResource": resource.singular, "verbs": verbs(resource),
    });
    for (field, list) in [
        ("shortNames", &resource.short_names),
        ("categories", &resource.categories),
    ] {
        if !list.is_empty() {
            value[field] = json!(list);
        }
    }
    let subresources: Vec<Value> = resource
        .subresources(version)
        .into_iter()
        .map(|name| {
            let (group, sub_version, kind, verbs) = subresource(resource, version, name);
            json!({"subresource": name, "responseKind": {"group": group, "version": sub_version, "kind": kind}, "verbs": verbs})
        })
        .collect();
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}

fn group_value(registry: &Registry, name: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = served(registry, name, version)
                .map(|(r, v)| resource_value(r, v))
                .collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if name.is_empty() {
        json!({"creationTimestamp": null})
    } else {
        json!({"name": name, "creationTimestamp": null})
    };
    json!({"metadata": metadata, "versions": versions})
}

/// The document for `/api` (the core group) or `/apis` (all others).
pub(super) fn answer(registry: &Registry, request: &Request) -> Response<ApiBody> {
    let version = request.accept.aggregated_discovery().unwrap_or("v2");
    let items: Vec<Value> = match request.target {
        Target::CoreVersions => vec![group_value(registry, "", &["v1".to_owned()])],
        _ => registry
            .groups()
            .iter()
            .map(|(name, versions)| group_value(registry, name, versions))
            .collect(),
    };
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    });
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    tagged(request, content_type, document.to_string().into_bytes())
}

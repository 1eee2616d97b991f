//! What the tests share: a server on simulated time and a small custom resource.
#![allow(dead_code)]

use std::sync::Arc;

use embedded_apiserver::{Builder, Server};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, PostParams};
use kube::{Api, Client};
use seams::{SeededRandomness, SimulatedClock};
use serde_json::{Value, json};

pub fn builder() -> Builder {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    Server::builder()
        .clock(Arc::new(SimulatedClock::starting_at(start)))
        .randomness(Arc::new(SeededRandomness::new(1)))
}

pub async fn server() -> (Server, Client) {
    let server = builder().build().await.unwrap();
    let client = server.client();
    (server, client)
}

/// A definition of `Gadget` in `example.dev`, versions v1 (stored) and v1alpha1, with status and scale.
pub fn gadget_crd() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "color": {"type": "string", "default": "blue"},
                    "replicas": {"type": "integer"},
                    "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                },
            },
            "status": {
                "type": "object",
                "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"}},
            },
        },
    });
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema},
            "subresources": {
                "status": {},
                "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"},
            },
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"plural": "gadgets", "kind": "Gadget", "shortNames": ["gd"], "categories": ["things"]},
            "versions": [version("v1", true), version("v1alpha1", false)],
        },
    })
}

pub fn definitions(client: &Client) -> Api<DynamicObject> {
    Api::all_with(
        client.clone(),
        &resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    )
}

pub fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

pub async fn with_gadgets() -> (Server, Client) {
    let (server, client) = server().await;
    install_gadgets(&client).await;
    (server, client)
}

pub async fn install_gadgets(client: &Client) {
    let crd = serde_json::from_value(gadget_crd()).unwrap();
    definitions(client)
        .create(&PostParams::default(), &crd)
        .await
        .unwrap();
}

pub fn gadgets(client: &Client) -> Api<DynamicObject> {
    Api::namespaced_with(
        client.clone(),
        "default",
        &resource("example.dev", "v1", "Gadget"),
    )
}

pub fn gadget(name: &str, spec: Value) -> DynamicObject {
    let mut object = DynamicObject::new("", &resource("example.dev", "v1", "Gadget"));
    object.metadata = ObjectMeta {
        name: Some(name.into()),
        ..ObjectMeta::default()
    };
    object.data = json!({"spec": spec});
    object
}

pub async fn create(client: &Client, object: DynamicObject) -> DynamicObject {
    gadgets(client)
        .create(&PostParams::default(), &object)
        .await
        .unwrap()
}

/// Sends a raw request and gives code and JSON body.
pub async fn raw(client: &Client, method: &str, uri: &str, content_type: &str, body: &str) -> (u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", content_type);
    let request = request
        .body(kube::client::Body::from(body.as_bytes().to_vec()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    (
        code,
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into())),
    )
}

/// Lets the server's controllers finish what they can do now.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// The message and reason of a refused request.
pub fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{}: {}", status.message, status.reason),
        other => other.to_string(),
    }
}

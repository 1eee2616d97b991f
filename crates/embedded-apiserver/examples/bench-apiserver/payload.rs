//! What is stored: a custom resource with a schema, about 2 KiB each, and ConfigMaps of 1 KiB.

use serde_json::{Value, json};

use crate::client::Connection;
use crate::target::Target;

/// The collection of custom resources of a namespace.
pub fn machines(namespace: &str) -> String {
    format!("/apis/bench.dev/v1/namespaces/{namespace}/machines")
}

/// The collection of ConfigMaps of a namespace.
pub fn config_maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

/// The namespaces that everything is written to.
pub const NAMESPACES: [&str; 3] = ["fill", "writes", "watch"];

fn definition() -> Value {
    let text = json!({"type": "string", "maxLength": 512});
    let reference = json!({"type": "object", "required": ["kind", "name"], "properties": {
        "apiGroup": text, "kind": text, "name": text}});
    let condition = json!({"type": "object", "required": ["type", "status", "reason", "lastTransitionTime"], "properties": {
        "type": {"type": "string", "maxLength": 316}, "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string", "minLength": 1}, "message": text, "observedGeneration": {"type": "integer", "minimum": 0},
        "lastTransitionTime": {"type": "string", "format": "date-time"}}});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["clusterName"], "properties": {
            "clusterName": {"type": "string", "minLength": 1, "maxLength": 63},
            "version": text, "providerID": text, "failureDomain": text,
            "infrastructureRef": reference,
            "bootstrap": {"type": "object", "properties": {"configRef": reference, "dataSecretName": text}},
            "deletion": {"type": "object", "properties": {"nodeDrainTimeoutSeconds": {"type": "integer", "minimum": 0}}},
            "readinessGates": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["conditionType"],
                "items": {"type": "object", "required": ["conditionType"], "properties": {"conditionType": text}}}}},
        "status": {"type": "object", "properties": {
            "phase": text, "observedGeneration": {"type": "integer"},
            "addresses": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "object",
                "properties": {"type": text, "address": text}}},
            "conditions": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"], "items": condition}}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "machines.bench.dev"},
        "spec": {"group": "bench.dev", "scope": "Namespaced", "names": {"plural": "machines", "kind": "Machine"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Cluster", "type": "string", "jsonPath": ".spec.clusterName"}]}]}})
}

/// A custom resource like a Machine.
pub fn machine(name: &str) -> Value {
    let text = |n: usize| "abcdefghijklmnopqrstuvwxyz0123456789".repeat(n);
    json!({
        "apiVersion": "bench.dev/v1", "kind": "Machine",
        "metadata": {
            "name": name,
            "labels": {"cluster.x-k8s.io/cluster-name": "bench", "cluster.x-k8s.io/deployment-name": "workers",
                "cluster.x-k8s.io/set-name": "workers-abcde", "machine-template-hash": "1234567890"},
            "annotations": {"example.dev/notes": text(12)},
            "finalizers": ["bench.dev/keep"],
        },
        "spec": {
            "clusterName": "bench", "version": "v1.36.0", "providerID": format!("bench:///{name}"), "failureDomain": "zone-1",
            "infrastructureRef": {"apiGroup": "infrastructure.example.dev", "kind": "BenchMachine", "name": name},
            "bootstrap": {"dataSecretName": format!("{name}-bootstrap"), "configRef": {
                "apiGroup": "bootstrap.example.dev", "kind": "BenchConfig", "name": name}},
            "deletion": {"nodeDrainTimeoutSeconds": 600},
            "readinessGates": [{"conditionType": "Ready"}, {"conditionType": "Up"}],
        },
    })
}

/// The status of a custom resource at a step.
pub fn status(step: usize) -> Value {
    let condition = |kind: &str| {
        json!({"type": kind, "status": if step.is_multiple_of(2) { "True" } else { "False" }, "reason": "Step", "message": format!("step {step}"),
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    json!({"status": {
        "phase": "Running", "observedGeneration": step,
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [condition("Available"), condition("Ready"), condition("UpToDate"), condition("NodeHealthy")],
    }})
}

/// A ConfigMap of 1 KiB.
pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"text": "0123456789abcdef".repeat(64)}})
}

/// Creates definition and namespaces.
pub async fn prepare(target: &Target) -> anyhow::Result<()> {
    let mut connection = Connection::open(target).await?;
    for name in NAMESPACES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        connection.write("POST", "/api/v1/namespaces", &namespace).await?;
    }
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    connection.write("POST", path, &definition()).await?;
    // Served a moment after it is created.
    for _ in 0..200 {
        if connection.get(&machines("fill")).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("{}: the definition is not served", target.name)
}

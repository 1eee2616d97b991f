//! Schemas of foreign types (Kubernetes' own, and free-form JSON) as custom resource definitions spell them.
//!
//! The types come from `k8s-openapi`, whose schemas lack the list types, limits and defaults that an API server needs.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::crd::patterns;

/// Any JSON value.
pub fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of any JSON values.
pub fn any_list(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": any(generator) })
}

/// Bytes, which JSON carries in base64.
pub fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "byte" })
}

/// `metav1.Condition` lists: at most 32 entries, keyed by type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "message": { "type": "string", "maxLength": 32768 },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "pattern": patterns::CONDITION_REASON },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "type": { "type": "string", "maxLength": 316, "pattern": patterns::CONDITION_TYPE },
            },
        },
    })
}

/// `metav1.LabelSelector`.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string" },
                        "operator": { "type": "string" },
                        "values": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "atomic" },
                    },
                },
            },
            "matchLabels": { "type": "object", "additionalProperties": { "type": "string" } },
        },
    })
}

/// `corev1.NodeSystemInfo`.
pub fn node_system_info(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": [
            "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion",
            "machineID", "operatingSystem", "osImage", "systemUUID",
        ],
        "properties": {
            "architecture": { "type": "string" },
            "bootID": { "type": "string" },
            "containerRuntimeVersion": { "type": "string" },
            "kernelVersion": { "type": "string" },
            "kubeProxyVersion": { "type": "string" },
            "kubeletVersion": { "type": "string" },
            "machineID": { "type": "string" },
            "operatingSystem": { "type": "string" },
            "osImage": { "type": "string" },
            "swap": { "type": "object", "properties": { "capacity": { "type": "integer", "format": "int64" } } },
            "systemUUID": { "type": "string" },
        },
    })
}

/// A list of `corev1.ObjectReference`, at most 10,000.
pub fn object_references(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 10000,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {
                "apiVersion": { "type": "string" },
                "fieldPath": { "type": "string" },
                "kind": { "type": "string" },
                "name": { "type": "string" },
                "namespace": { "type": "string" },
                "resourceVersion": { "type": "string" },
                "uid": { "type": "string" },
            },
        },
    })
}

/// A list of `corev1.Taint`, at most 100.
pub fn taints(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 0,
        "maxItems": 100,
        "items": {
            "type": "object",
            "required": ["effect", "key"],
            "properties": {
                "effect": { "type": "string" },
                "key": { "type": "string" },
                "timeAdded": { "type": "string", "format": "date-time" },
                "value": { "type": "string" },
            },
        },
    })
}

/// `corev1.EnvVarSource`.
pub fn env_var_source(_: &mut SchemaGenerator) -> Schema {
    let keyed = json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "required": ["key"],
        "properties": {
            "key": { "type": "string" },
            "name": { "type": "string", "default": "" },
            "optional": { "type": "boolean" },
        },
    });
    json_schema!({
        "type": "object",
        "properties": {
            "configMapKeyRef": keyed,
            "fieldRef": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["fieldPath"],
                "properties": { "apiVersion": { "type": "string" }, "fieldPath": { "type": "string" } },
            },
            "fileKeyRef": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["key", "path", "volumeName"],
                "properties": {
                    "key": { "type": "string" },
                    "optional": { "type": "boolean", "default": false },
                    "path": { "type": "string" },
                    "volumeName": { "type": "string" },
                },
            },
            "resourceFieldRef": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["resource"],
                "properties": {
                    "containerName": { "type": "string" },
                    "divisor": {
                        "anyOf": [{ "type": "integer" }, { "type": "string" }],
                        "pattern": patterns::QUANTITY,
                        "x-kubernetes-int-or-string": true,
                    },
                    "resource": { "type": "string" },
                },
            },
            "secretKeyRef": keyed,
        },
    })
}

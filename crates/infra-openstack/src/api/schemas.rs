//! Schemas of foreign types that this provider's definitions spell in their own way.

use capi_api::crd::{patterns, schemas};
use schemars::{Schema, SchemaGenerator, json_schema};

/// `metav1.Condition` lists, keyed by type and without a limit.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schemas::conditions(generator);
    schema.remove("maxItems");
    schema
}

/// `metav1.Condition` lists that are just lists.
pub fn unkeyed_conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = conditions(generator);
    schema.remove("x-kubernetes-list-type");
    schema.remove("x-kubernetes-list-map-keys");
    schema
}

/// `corev1.LocalObjectReference`.
pub fn local_object_reference(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": { "name": { "type": "string", "default": "" } },
    })
}

/// `corev1.ResourceList`.
pub fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": patterns::QUANTITY,
            "x-kubernetes-int-or-string": true,
        },
    })
}

/// A number without a format.
pub fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer" })
}

/// A port number, or 0.
pub fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": 65535 })
}

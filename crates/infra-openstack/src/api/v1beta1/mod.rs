//! The version `v1beta1` of clusters, machines and their templates: served, not stored.
//!
//! It has no Rust types. Its schema is that of `v1beta2`, edited ([`schema`]), and its objects are those of `v1beta2`,
//! rewritten as JSON ([`cluster`], [`machine`]); what a version cannot say is kept by
//! [`capi_runtime::webhook::conversion`]. What must not be here: rules that hold for one version only.

mod cluster;
mod machine;
pub mod schema;
mod status;

use capi_runtime::webhook::conversion::{Conversion, Spoke};
use serde_json::{Map, Value};

/// The version.
pub const VERSION: &str = "v1beta1";

/// The conversions of all kinds that have this version.
pub fn conversions() -> Vec<Conversion> {
    let kind = |kind, plural, to_hub, from_hub| Conversion {
        group: "infrastructure.cluster.x-k8s.io",
        kind,
        plural,
        hub: "v1beta2",
        spokes: vec![Spoke {
            version: VERSION,
            to_hub,
            from_hub,
        }],
    };
    vec![
        kind(
            "OpenStackCluster",
            "openstackclusters",
            cluster::to_hub,
            cluster::from_hub,
        ),
        kind(
            "OpenStackClusterTemplate",
            "openstackclustertemplates",
            cluster::template_to_hub,
            cluster::template_from_hub,
        ),
        kind(
            "OpenStackMachine",
            "openstackmachines",
            machine::to_hub,
            machine::from_hub,
        ),
        kind(
            "OpenStackMachineTemplate",
            "openstackmachinetemplates",
            machine::template_to_hub,
            machine::template_from_hub,
        ),
    ]
}

type Fields = Map<String, Value>;

/// The fields of an object somewhere below, if there is one.
fn fields<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Fields> {
    let mut value = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        value = value.get_mut(name)?;
    }
    value.as_object_mut()
}

/// The items of a list that are objects.
fn items<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    let list = fields.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Gives a field another name.
fn rename(fields: &mut Fields, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// Moves a field to another object.
fn carry(from: &mut Fields, name: &str, to: &mut Fields, new_name: &str) {
    if let Some(value) = from.remove(name) {
        to.insert(new_name.to_owned(), value);
    }
}

/// As [`carry`], for a field that says yes where the other says no.
fn carry_inverted(from: &mut Fields, name: &str, to: &mut Fields, new_name: &str) {
    if let Some(value) = from.remove(name) {
        to.insert(new_name.to_owned(), inverted(value));
    }
}

/// As [`rename`], for a field that says yes where the other says no.
fn invert(fields: &mut Fields, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), inverted(value));
    }
}

fn inverted(value: Value) -> Value {
    match value {
        Value::Bool(value) => Value::Bool(!value),
        other => other,
    }
}

/// Takes an object out of another, perhaps an empty one.
fn take(fields: &mut Fields, name: &str) -> Fields {
    match fields.remove(name) {
        Some(Value::Object(inner)) => inner,
        _ => Fields::new(),
    }
}

/// Puts an object into another, unless it is empty.
fn put(fields: &mut Fields, name: &str, inner: Fields) {
    if !inner.is_empty() {
        fields.insert(name.to_owned(), Value::Object(inner));
    }
}

//! Objects between the version they are stored in and the version a request uses.
//!
//! With the strategy None only `apiVersion` changes, with Webhook `webhooks` converts. Objects that were stored under an earlier schema get pruned and
//! defaulted by the present one when they are read.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::http::status::ApiResult;
use crate::registry::crd_validation::keeps_unknown;
use crate::registry::{Conversion, Origin, Served};
use crate::server::Inner;
use crate::storage::Object;
use crate::webhooks;

fn is_ready(served: &Served, api_version: &str, object: &Object) -> bool {
    *object.api_version == *api_version && object.revision >= served.resource.since
}

/// The object's JSON in the served version.
pub(crate) async fn text(inner: &Arc<Inner>, served: &Served, object: &Arc<Object>) -> ApiResult<Bytes> {
    if is_ready(served, &served.api_version(), object) {
        return Ok(object.json.clone());
    }
    let value = value(inner, served, object).await?;
    Ok(serde_json::to_vec(&value).unwrap_or_default().into())
}

/// As [`text`], for many: a webhook is called once for all of them.
pub(crate) async fn texts(
    inner: &Arc<Inner>,
    served: &Served,
    objects: &[Arc<Object>],
) -> ApiResult<Vec<Bytes>> {
    let api_version = served.api_version();
    let ready = |object: &Arc<Object>| is_ready(served, &api_version, object);
    if objects.iter().all(ready) {
        return Ok(objects.iter().map(|object| object.json.clone()).collect());
    }
    let values = values(inner, served, objects).await?;
    let text = |value: &Value| serde_json::to_vec(value).unwrap_or_default().into();
    Ok(values.iter().map(text).collect())
}

/// The object in the served version.
pub(crate) async fn value(inner: &Arc<Inner>, served: &Served, object: &Object) -> ApiResult<Value> {
    let value = object.value();
    if let Some(webhook) = webhook(served) {
        let mut all = converted(inner, served, webhook, vec![(value, object.revision)]).await?;
        return Ok(all.pop().unwrap_or_default());
    }
    Ok(renamed(served, object, value))
}

/// As [`value`], for many: a webhook is called once for all of them.
pub(crate) async fn values(
    inner: &Arc<Inner>,
    served: &Served,
    objects: &[Arc<Object>],
) -> ApiResult<Vec<Value>> {
    let Some(webhook) = webhook(served) else {
        return Ok(objects
            .iter()
            .map(|object| renamed(served, object, object.value()))
            .collect());
    };
    let all = objects.iter().map(|object| (object.value(), object.revision));
    converted(inner, served, webhook, all.collect()).await
}

/// Stored objects, with their revisions, by webhook. What the stored version's schema learned since is filled in before;
/// what the served version does not know goes afterwards.
async fn converted(
    inner: &Arc<Inner>,
    served: &Served,
    webhook: &Value,
    objects: Vec<(Value, u64)>,
) -> ApiResult<Vec<Value>> {
    let resource = &served.resource;
    let mut values = Vec::with_capacity(objects.len());
    for (mut value, revision) in objects {
        if revision < resource.since
            && let Some(index) = resource.versions.iter().position(|v| {
                value["apiVersion"] == crate::http::request::api_version(&resource.gr.group, &v.name)
            })
        {
            let stored = Served {
                resource: resource.clone(),
                version: index,
            };
            normalize(&stored, &mut value);
        }
        values.push(value);
    }
    let api_version = served.api_version();
    let changes: Vec<bool> = values.iter().map(|v| v["apiVersion"] != api_version).collect();
    let mut values = webhooks::convert(inner, webhook, &resource.kind, &api_version, values).await?;
    for (value, _) in values.iter_mut().zip(changes).filter(|(_, changed)| *changed) {
        prune(served, value);
    }
    Ok(values)
}

/// Takes out what the version's schema does not know.
fn prune(served: &Served, value: &mut Value) {
    if let Some(schema) = served
        .version()
        .schema
        .as_ref()
        .filter(|_| !keeps_unknown(&served.resource))
    {
        schema.prune(value);
    }
}

/// An object of one served version as another version has it.
pub(crate) async fn between(inner: &Arc<Inner>, to: &Served, mut value: Value) -> ApiResult<Value> {
    if let Some(webhook) = webhook(to) {
        let (kind, api_version) = (&to.resource.kind, to.api_version());
        let mut all = webhooks::convert(inner, webhook, kind, &api_version, vec![value]).await?;
        value = all.pop().unwrap_or_default();
    }
    value["apiVersion"] = to.api_version().into();
    prune(to, &mut value);
    Ok(value)
}

/// Prunes and defaults by the served version's schema; returns the paths of the fields that were pruned.
pub(crate) fn normalize(served: &Served, value: &mut Value) -> Vec<String> {
    let Some(schema) = &served.version().schema else {
        let pruned = served.version().types.prune(value);
        served.version().types.fill_structs(value);
        return pruned;
    };
    let pruned = if keeps_unknown(&served.resource) {
        Vec::new()
    } else {
        schema.prune(value)
    };
    schema.default(value);
    pruned
}

/// The webhook that converts a resource, if one does.
fn webhook(served: &Served) -> Option<&Value> {
    match &served.resource.origin {
        Origin::Custom {
            conversion: Conversion::Webhook(webhook),
            ..
        } => Some(webhook),
        _ => None,
    }
}

/// Without a webhook only `apiVersion` changes; events have other field names in each of their groups.
fn renamed(served: &Served, object: &Object, mut value: Value) -> Value {
    if served.resource.is("events.k8s.io", "events") {
        event_to_new(&mut value);
    }
    value["apiVersion"] = served.api_version().into();
    if object.revision < served.resource.since {
        normalize(served, &mut value);
    } else if *object.api_version != *served.api_version() {
        prune(served, &mut value);
    }
    value
}

/// From the served to the stored version.
pub(crate) async fn to_storage(inner: &Arc<Inner>, served: &Served, mut value: Value) -> ApiResult<Value> {
    let stored = served.resource.storage_api_version();
    if let Some(webhook) = webhook(served).filter(|_| value["apiVersion"] != stored) {
        let kind = &served.resource.kind;
        let mut all = webhooks::convert(inner, webhook, kind, &stored, vec![value]).await?;
        value = all.pop().unwrap_or_default();
        let version = &served.resource.storage_version;
        if let Some(index) = served.resource.versions.iter().position(|v| v.name == *version) {
            let stored = Served {
                resource: served.resource.clone(),
                version: index,
            };
            normalize(&stored, &mut value);
        }
    }
    if served.resource.is("events.k8s.io", "events") {
        event_to_core(&mut value);
    }
    value["apiVersion"] = stored.into();
    Ok(value)
}

/// What a dry run shows: the object as it would be read after it was stored.
pub(crate) async fn as_stored(inner: &Arc<Inner>, served: &Served, value: Value) -> ApiResult<Value> {
    let stored = served.resource.storage_api_version();
    if webhook(served).is_none() || value["apiVersion"] == stored {
        return Ok(value);
    }
    let stored = to_storage(inner, served, value).await?;
    between(inner, served, stored).await
}

/// The field names of events in the two groups: core, events.k8s.io.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(value: &mut Value, from: &str, to: &str) {
    if let Some(map) = value.as_object_mut()
        && let Some(moved) = map.remove(from)
    {
        map.insert(to.to_owned(), moved);
    }
}

fn event_to_new(value: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(value, core, new);
    }
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, field| !(key.starts_with("reporting") && field == ""));
    }
}

fn event_to_core(value: &mut Value) {
    for (core, new) in EVENT_FIELDS {
        rename(value, new, core);
    }
    complete_event(value);
}

/// Fields that core/v1 clients take for granted.
pub(crate) fn complete_event(value: &mut Value) {
    let empty = [
        ("eventTime", Value::Null),
        ("reportingComponent", "".into()),
        ("reportingInstance", "".into()),
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
    ];
    for (field, empty) in empty {
        if value.get(field).is_none() {
            value[field] = empty;
        }
    }
}

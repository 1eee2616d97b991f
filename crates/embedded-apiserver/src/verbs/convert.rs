//! Objects between the version they are stored in and the version a request uses.
//!
//! With the strategy None only `apiVersion` changes. Objects that were stored under an earlier schema get pruned and
//! defaulted by the present one when they are read.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::http::status::{ApiError, ApiResult};
use crate::registry::crd_validation::keeps_unknown;
use crate::registry::{Conversion, Origin, Served};
use crate::server::Inner;
use crate::storage::Object;

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

/// As [`text`], for many.
pub(crate) async fn texts(
    inner: &Arc<Inner>,
    served: &Served,
    objects: &[Arc<Object>],
) -> ApiResult<Vec<Bytes>> {
    let mut all = Vec::with_capacity(objects.len());
    for object in objects {
        all.push(text(inner, served, object).await?);
    }
    Ok(all)
}

/// The object in the served version.
pub(crate) async fn value(inner: &Arc<Inner>, served: &Served, object: &Object) -> ApiResult<Value> {
    let mut value = object.value();
    from_storage(inner, served, &mut value).await?;
    if object.revision < served.resource.since {
        normalize(served, &mut value);
    }
    Ok(value)
}

/// As [`value`], for many.
pub(crate) async fn values(
    inner: &Arc<Inner>,
    served: &Served,
    objects: &[Arc<Object>],
) -> ApiResult<Vec<Value>> {
    let mut all = Vec::with_capacity(objects.len());
    for object in objects {
        all.push(value(inner, served, object).await?);
    }
    Ok(all)
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

/// Other versions than the stored one need a conversion; only the strategy None is done here.
fn check_strategy(served: &Served, from: &str, to: &str) -> ApiResult<()> {
    match &served.resource.origin {
        Origin::Custom {
            conversion: Conversion::Webhook(_),
            ..
        } if from != to => Err(ApiError::new(
            500,
            "",
            format!(
                "conversion webhook for {from}, Kind={} failed: this server does not call conversion webhooks",
                served.resource.kind
            ),
        )),
        _ => Ok(()),
    }
}

async fn from_storage(_inner: &Arc<Inner>, served: &Served, value: &mut Value) -> ApiResult<()> {
    let stored = value["apiVersion"].as_str().unwrap_or_default();
    check_strategy(served, stored, &served.api_version())?;
    if served.resource.is("events.k8s.io", "events") {
        event_to_new(value);
    }
    value["apiVersion"] = served.api_version().into();
    Ok(())
}

/// From the served to the stored version.
pub(crate) async fn to_storage(_inner: &Arc<Inner>, served: &Served, mut value: Value) -> ApiResult<Value> {
    check_strategy(
        served,
        &served.api_version(),
        &served.resource.storage_api_version(),
    )?;
    if served.resource.is("events.k8s.io", "events") {
        event_to_core(&mut value);
    }
    value["apiVersion"] = served.resource.storage_api_version().into();
    Ok(value)
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

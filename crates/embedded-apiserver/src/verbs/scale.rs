//! The scale subresource: `autoscaling/v1` Scale over the replica fields of an object.

use serde_json::{Map, Value, json};

use super::write::{Part, Replaced, replace};
use super::{Answer, Call, convert, meta};
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};
use crate::patch;
use crate::registry::ScalePaths;
use crate::schema::FieldError;

fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

/// The text form of a label selector.
fn selector_text(selector: &Value) -> Option<String> {
    if let Some(text) = selector.as_str() {
        return Some(text.to_owned());
    }
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

pub(super) fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let from = &object["metadata"];
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = from.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &str| object.pointer(&pointer(path)).cloned().filter(Value::is_number);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {},
        "status": {"replicas": number(&paths.status).unwrap_or_else(|| 0.into())},
    });
    if let Some(replicas) = number(&paths.spec).filter(|n| *n != json!(0)) {
        scale["spec"]["replicas"] = replicas;
    }
    let selector = paths
        .selector
        .as_ref()
        .and_then(|path| object.pointer(&pointer(path)))
        .and_then(selector_text);
    if let Some(selector) = selector {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

pub(super) fn set(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for step in path.split('.').filter(|s| !s.is_empty()) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[step];
    }
    *at = value;
}

/// Whether the fields of a scale have their types.
fn is_readable(scale: &Value) -> bool {
    let may_be = |value: &Value, right: fn(&Value) -> bool| value.is_null() || right(value);
    let (metadata, spec) = (&scale["metadata"], &scale["spec"]);
    let texts = ["name", "namespace", "uid", "resourceVersion"];
    may_be(metadata, Value::is_object)
        && may_be(spec, Value::is_object)
        && may_be(&scale["status"], Value::is_object)
        && may_be(&spec["replicas"], Value::is_i64)
        && texts
            .iter()
            .all(|name| may_be(&metadata[*name], Value::is_string))
}

fn changed(call: &Call<'_>, before: &Value) -> ApiResult<Value> {
    let body = &call.request.body;
    let scale = match (call.request.verb, call.request.content_type.as_str()) {
        (Verb::Update, _) => super::input::body(call)?,
        (_, "application/json-patch+json") => patch::json_patch(before, body)?,
        (_, "application/merge-patch+json" | "application/strategic-merge-patch+json") => {
            patch::merge_patch(before, body)?
        }
        (_, "application/apply-patch+yaml") => {
            let applied = super::input::yaml(body).map_err(ApiError::bad_request)?;
            patch::merge_patch(before, applied.to_string().as_bytes())?
        }
        _ => {
            return Err(ApiError::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]));
        }
    };
    if call.served.resource.is_custom() && !is_readable(&scale) {
        return Err(ApiError::bad_request(
            "no kind is registered for the type v1.Scale in scheme \"pkg/runtime/scheme.go:111\"",
        ));
    }
    let replicas = scale
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if replicas < 0 {
        let resource = &call.served.resource;
        return Err(match resource.is_custom() {
            true => {
                let error =
                    FieldError::invalid(".spec.replicas", replicas, "should be a non-negative integer");
                ApiError::invalid(resource, &call.request.name, &[error])
            }
            false => {
                let error =
                    FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
                ApiError::invalid_named("Scale", "autoscaling", &call.request.name, &[error])
            }
        });
    }
    Ok(scale)
}

pub(super) async fn dispatch(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let Some(paths) = &call.version().scale else {
        return Err(ApiError::no_such_path());
    };
    loop {
        let current = call.current()?;
        let old = convert::value(call.inner, call.served, &current).await?;
        let before = scale_of(paths, &old);
        let absent = old.pointer(&pointer(&paths.spec)).is_none_or(Value::is_null);
        match call.request.verb {
            Verb::Get if absent && call.served.resource.is_custom() => {
                return Err(ApiError::internal(format!(
                    "the spec replicas field {:?} does not exist",
                    paths.spec
                )));
            }
            Verb::Get => {
                return Ok(Answer::Plain {
                    code: 200,
                    value: before,
                });
            }
            Verb::Update | Verb::Patch => {}
            _ => return Err(ApiError::method_not_allowed()),
        }
        let scale = changed(call, &before)?;
        let mut new = old.clone();
        set(
            &mut new,
            &paths.spec,
            scale
                .pointer("/spec/replicas")
                .cloned()
                .unwrap_or_else(|| 0.into()),
        );
        let version = &scale["metadata"]["resourceVersion"];
        let pinned = call.request.verb == Verb::Update || *version != before["metadata"]["resourceVersion"];
        meta::put(
            &mut new,
            "resourceVersion",
            if pinned { version.clone() } else { Value::Null },
        );
        // The object, not the scale, is what a custom resource's update rule would ask the version of.
        let request = crate::http::request::Request {
            verb: Verb::Patch,
            ..call.request.clone()
        };
        let inner_call = Call {
            inner: call.inner,
            request: &request,
            served: call.served,
        };
        match replace(&inner_call, Part::Scale, &current, old, new, false, warnings).await? {
            Replaced::Done(Answer::Object { object, .. }) => {
                let value = convert::value(call.inner, call.served, &object).await?;
                return Ok(Answer::Plain {
                    code: 200,
                    value: scale_of(paths, &value),
                });
            }
            Replaced::Done(Answer::Preview { value, .. }) => {
                return Ok(Answer::Plain {
                    code: 200,
                    value: scale_of(paths, &value),
                });
            }
            Replaced::Done(other) => return Ok(other),
            Replaced::Raced => {}
        }
    }
}

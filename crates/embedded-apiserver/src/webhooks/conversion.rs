//! ConversionReview: custom resources between their versions, as many in one call as there are.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::ClientConfig;
use super::review;
use crate::faults::{self, broken};
use crate::http::status::{ApiError, ApiResult};
use crate::server::Inner;

/// How long a conversion may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Converts in place of webhooks, for who runs the server and the kinds' controllers in one process.
pub trait Converter: Send + Sync {
    /// The answer to a ConversionReview; none if its objects are not this converter's, and the webhook is asked.
    fn review(&self, review: &Value) -> Option<Value>;
}

/// Converts objects to one version by a definition's webhook. `objects` come back in their order; those that have the
/// version already are not sent. `kind` is what messages call them.
pub(crate) async fn convert(
    inner: &Arc<Inner>,
    webhook: &Value,
    kind: &str,
    api_version: &str,
    mut objects: Vec<Value>,
) -> ApiResult<Vec<Value>> {
    let needed: Vec<usize> = (0..objects.len())
        .filter(|i| objects[*i]["apiVersion"] != api_version)
        .collect();
    let Some(first) = needed.first().filter(|_| !broken(faults::Fault::NoConversion)) else {
        return Ok(objects);
    };
    // The real server converts the objects of a list one by one and speaks of the first that fails.
    let from = objects[*first]["apiVersion"].as_str().unwrap_or_default();
    let about = format!("{from}, Kind={kind}");
    let failed = |why: String| ApiError::new(500, "", format!("conversion webhook for {about} {why}"));
    let sent: Vec<&Value> = needed.iter().map(|i| &objects[*i]).collect();
    let answer = ask(inner, webhook, api_version, &sent)
        .await
        .map_err(|error| match error {
            Problem::Unsupported => ApiError::new(500, "", "no supported conversion review versions"),
            Problem::Failed(why) => failed(format!("failed: {why}")),
        })?;
    if answer.len() != needed.len() {
        return Err(failed(format!(
            "returned {} objects, expected {}",
            answer.len(),
            needed.len()
        )));
    }
    for (at, converted) in needed.iter().zip(answer) {
        let fitting = fit(&objects[*at], converted, api_version).map_err(|fault| {
            failed(match fault {
                Fault::Type(why) => format!("returned invalid object at index 0: {why}"),
                Fault::Identity(why) => format!("returned invalid object: {why}"),
                Fault::Metadata(why) => format!("returned invalid metadata: {why}"),
            })
        })?;
        objects[*at] = fitting;
    }
    Ok(objects)
}

enum Problem {
    Unsupported,
    Failed(String),
}

async fn ask(
    inner: &Arc<Inner>,
    webhook: &Value,
    api_version: &str,
    objects: &[&Value],
) -> Result<Vec<Value>, Problem> {
    let versions = webhook["conversionReviewVersions"].as_array();
    let version = versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|v| matches!(*v, "v1" | "v1beta1"))
        .ok_or(Problem::Unsupported)?;
    let uid = seams::uuid(&*inner.randomness);
    let body = json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    });
    if let Some(answer) = inner
        .converter
        .as_ref()
        .and_then(|converter| converter.review(&body))
    {
        return accept(version, &uid, &answer).map_err(Problem::Failed);
    }
    let hooks = &inner.webhooks;
    let client = ClientConfig::read(&webhook["clientConfig"]);
    let answer = hooks
        .connections
        .post(inner, hooks.services.as_ref(), &client, &body, TIMEOUT)
        .await
        .map_err(Problem::Failed)?;
    accept(version, &uid, &answer).map_err(Problem::Failed)
}

/// The objects of an answer that fits its request.
pub(super) fn accept(version: &str, uid: &str, answer: &Value) -> Result<Vec<Value>, String> {
    review::check_kind(version, "apiextensions.k8s.io", "ConversionReview", answer)?;
    let response = &answer["response"];
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let given = text(&response["uid"]);
    if version == "v1" && given != uid {
        return Err(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let status = text(&response["result"]["status"]);
    if status != "Success" {
        let message = text(&response["result"]["message"]);
        return Err(match message.is_empty() {
            true => format!("response.result.status was '{status}', not 'Success'"),
            false => message,
        });
    }
    Ok(response["convertedObjects"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

/// What is wrong with a converted object.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    Type(String),
    Identity(String),
    Metadata(String),
}

/// Takes over a converted object: same identity, and of its metadata only labels and annotations.
pub(super) fn fit(original: &Value, mut converted: Value, api_version: &str) -> Result<Value, Fault> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let given = text(&converted, "apiVersion");
    if given != api_version {
        return Err(Fault::Type(format!(
            "invalid groupVersion (expected {api_version}, received {given})"
        )));
    }
    let (wanted, given) = (text(original, "kind"), text(&converted, "kind"));
    if wanted != given {
        return Err(Fault::Type(format!(
            "invalid kind (expected {wanted}, received {given})"
        )));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (wanted, given) = (
            text(&original["metadata"], field),
            text(&converted["metadata"], field),
        );
        if wanted != given {
            return Err(Fault::Identity(format!(
                "must have the same {shown}: {wanted} != {given}"
            )));
        }
    }
    let metadata = restore(&original["metadata"], converted.get("metadata")).map_err(Fault::Metadata)?;
    converted["metadata"] = metadata;
    Ok(converted)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn restore(original: &Value, converted: Option<&Value>) -> Result<Value, String> {
    let converted = match converted {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(metadata)) => metadata,
        Some(other) => {
            return Err(format!(
                "invalid metadata of type {} in converted object",
                go_type(other)
            ));
        }
    };
    let mut result = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let given = match converted.get(field) {
            None | Some(Value::Null) => {
                result.remove(field);
                continue;
            }
            Some(Value::Object(given)) => given,
            Some(other) => {
                return Err(format!(
                    "invalid metadata.{field} of type {} in converted object",
                    go_type(other)
                ));
            }
        };
        for (key, value) in given {
            if !value.is_string() {
                return Err(format!(
                    "metadata.{field}[{key}] must be a string, but is {} in converted object",
                    go_type(value)
                ));
            }
        }
        check(field, original[field].as_object(), given)?;
        result.insert(field.to_owned(), Value::Object(given.clone()));
    }
    Ok(Value::Object(result))
}

/// Labels and annotations that the webhook changed must be good ones.
fn check(field: &str, before: Option<&Map<String, Value>>, given: &Map<String, Value>) -> Result<(), String> {
    if before == Some(given) || (before.is_none() && given.is_empty()) {
        return Ok(());
    }
    let object = json!({"metadata": {field: given}});
    let errors = crate::verbs::label_errors(&object);
    match errors.is_empty() {
        true => Ok(()),
        false => Err(crate::schema::aggregate(&errors)),
    }
}

//! Changes by difference: JSON patch, merge patch, strategic merge patch, server-side apply.

use serde_json::Value;

use super::options::APPLY;
use super::write::{Part, Replaced, replace, with_writer};
use super::{Answer, Call, convert, create, input, meta};
use crate::faults::{Fault, broken};
use crate::fieldmanager::{self, ApplyError};
use crate::http::status::{ApiError, ApiResult};
use crate::patch;
use crate::schema::FieldError;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// The patch types a resource takes.
fn accepted(call: &Call<'_>) -> &'static [&'static str] {
    match call.served.resource.is_custom() {
        true => &[JSON, MERGE, APPLY],
        false => &[JSON, MERGE, STRATEGIC, APPLY],
    }
}

/// Refuses patches of types that the resource does not take.
pub(super) fn check_type(call: &Call<'_>) -> ApiResult<()> {
    let accepted = accepted(call);
    let kind = call.request.content_type.as_str();
    if !accepted.contains(&kind) {
        return Err(match call.served.resource.is_custom() {
            true => ApiError::unsupported_media_type(accepted),
            false => ApiError {
                details: Some(serde_json::json!({})),
                ..ApiError::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
            },
        });
    }
    Ok(())
}

pub(super) async fn patch(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    check_type(call)?;
    if call.request.content_type == APPLY {
        return apply(call, part, warnings).await;
    }
    loop {
        let current = call.current()?;
        let old = convert::value(call.inner, call.served, &current).await?;
        let mut new = patched(call, &old)?;
        if !new["metadata"].is_object() {
            let why = "json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta";
            return Err(unfit_patch(ApiError::bad_request(why), new.to_string()));
        }
        // A patch that does not name a version of its own is not pinned to the one it was applied to.
        if new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
            && !names_version(&call.request.body)
        {
            meta::put(&mut new, "resourceVersion", Value::Null);
        }
        let text = new.to_string();
        input::identify(call.served, &mut new).map_err(|error| unfit_patch(error, text.clone()))?;
        input::admit_fields(call, &mut new, warnings).map_err(|error| unfit_patch(error, text))?;
        meta::place(call, &mut new)?;
        match replace(call, part, &current, old, new, false, warnings).await? {
            Replaced::Done(answer) => return Ok(answer),
            Replaced::Raced => {}
        }
    }
}

/// A patch whose result cannot be read or has unknown fields is itself what is invalid.
fn unfit_patch(error: ApiError, patched: String) -> ApiError {
    if error.code != 400 {
        return error;
    }
    let at = error.message.find("strict decoding error: ").unwrap_or(0);
    let why = &error.message[at..];
    ApiError::invalid_named("", "", "", &[FieldError::invalid("patch", patched, why)])
}

/// Whether a patch speaks about the resource version.
fn names_version(body: &[u8]) -> bool {
    body.windows(b"resourceVersion".len())
        .any(|window| window == b"resourceVersion")
}

fn patched(call: &Call<'_>, old: &Value) -> ApiResult<Value> {
    // Bytes that are no text become the sign for that, as in Go.
    let body = String::from_utf8_lossy(&call.request.body);
    let body = body.as_bytes();
    Ok(match call.request.content_type.as_str() {
        JSON => patch::json_patch(old, body)?,
        _ if broken(Fault::ReplacedLists) => patch::merge_patch(old, body)?,
        MERGE => patch::merge_patch(old, body)?,
        _ => patch::strategic_merge_patch(old, body, &call.version().types)?,
    })
}

async fn apply(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let query = &call.request.query;
    let applied = input::yaml(&call.request.body).map_err(|e| {
        ApiError::bad_request(format!(
            "error decoding YAML: error converting YAML to JSON: {}",
            e.lines().next().unwrap_or_default()
        ))
    })?;
    check_applied(call, &applied)?;
    loop {
        let current = match call.current() {
            Ok(current) => Some(current),
            Err(error) if part != Part::Main => return Err(error),
            Err(_) => None,
        };
        let old = match &current {
            Some(current) => Some(convert::value(call.inner, call.served, current).await?),
            None => None,
        };
        let merged = with_writer(call, part, |writer, reset| {
            fieldmanager::apply(
                &call.version().types,
                old.as_ref(),
                &applied,
                writer,
                query.flag("force") || broken(Fault::ForcedApply),
                reset,
            )
        });
        let mut new = merged.map_err(|error| apply_error(call, error))?;
        match &call.version().schema {
            // Nothing was decoded, so nothing is pruned: a null that should not be there is an error.
            Some(schema) => {
                schema.default(&mut new);
                if let Some(metadata) = new.get_mut("metadata").filter(|metadata| metadata.is_null()) {
                    *metadata = Value::Object(Default::default());
                }
            }
            None => input::admit_fields(call, &mut new, warnings)?,
        }
        if new["metadata"].get("name").is_none() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                call.request.name
            )));
        }
        meta::place(call, &mut new)?;
        let (Some(current), Some(old)) = (current, old) else {
            match create::create_value(call, new, true, warnings).await {
                Err(error) if error.reason == "AlreadyExists" => continue,
                result => return result,
            }
        };
        if applied["metadata"].get("resourceVersion").is_none() {
            meta::put(&mut new, "resourceVersion", Value::Null);
        }
        match replace(call, part, &current, old, new, true, warnings).await? {
            Replaced::Done(answer) => return Ok(answer),
            Replaced::Raced => {}
        }
    }
}

/// The applied configuration must be an object of the kind that the path names.
fn check_applied(call: &Call<'_>, applied: &Value) -> ApiResult<()> {
    let go_type = match applied {
        Value::Object(_) => "",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    };
    if !go_type.is_empty() {
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {go_type} into Go value of \
             type map[string]interface {{}}"
        )));
    }
    let text = |key: &str| applied[key].as_str().unwrap_or_default();
    if text("kind") != call.served.resource.kind || text("apiVersion") != call.served.api_version() {
        let version = text("apiVersion");
        let slash = if version.contains('/') { "" } else { "/" };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {slash}{version}, Kind={}",
            text("kind")
        )));
    }
    Ok(())
}

fn apply_error(call: &Call<'_>, error: ApplyError) -> ApiError {
    let message = error.to_string();
    match error {
        ApplyError::BadRequest(_) => ApiError::bad_request(message),
        ApplyError::Internal(_) => ApiError::new(500, "", message),
        ApplyError::Conflicts(conflicts) => {
            let _ = call;
            let causes = conflicts.iter().map(fieldmanager::Conflict::cause).collect();
            ApiError::new(409, "Conflict", message).with_causes(causes)
        }
    }
}

//! Changes by difference: JSON patch, merge patch, strategic merge patch, server-side apply.

use serde_json::Value;

use super::write::{Part, Replaced, replace, with_writer};
use super::{Answer, Call, convert, create, input, meta};
use crate::fieldmanager::{self, ApplyError};
use crate::http::status::{ApiError, ApiResult};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The patch types a resource takes.
fn accepted(call: &Call<'_>) -> &'static [&'static str] {
    match call.served.resource.is_custom() {
        true => &[JSON, MERGE, APPLY],
        false => &[JSON, MERGE, STRATEGIC, APPLY],
    }
}

pub(super) async fn patch(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let accepted = accepted(call);
    let kind = call.request.content_type.as_str();
    if !accepted.contains(&kind) {
        return Err(ApiError::unsupported_media_type(accepted));
    }
    if kind == APPLY {
        return apply(call, part, warnings).await;
    }
    loop {
        let current = call.current()?;
        let old = convert::value(call.inner, call.served, &current).await?;
        let mut new = patched(call, &old)?;
        if !new["metadata"].is_object() {
            return Err(ApiError::bad_request("the patched object has no metadata"));
        }
        // A patch that does not name a version of its own is not pinned to the one it was applied to.
        if new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
            && !names_version(&call.request.body)
        {
            meta::put(&mut new, "resourceVersion", Value::Null);
        }
        input::identify(call.served, &mut new)?;
        input::admit_fields(call, &mut new, warnings)?;
        meta::place(call, &mut new)?;
        match replace(call, part, &current, old, new, false, warnings).await? {
            Replaced::Done(answer) => return Ok(answer),
            Replaced::Raced => {}
        }
    }
}

/// Whether a patch speaks about the resource version.
fn names_version(body: &[u8]) -> bool {
    body.windows(b"resourceVersion".len())
        .any(|window| window == b"resourceVersion")
}

fn patched(call: &Call<'_>, old: &Value) -> ApiResult<Value> {
    let body = &call.request.body;
    Ok(match call.request.content_type.as_str() {
        JSON => differences::json_patch(old, body)?,
        MERGE => differences::merge_patch(old, body)?,
        _ => differences::strategic_merge_patch(old, body, &call.version().types)?,
    })
}

async fn apply(call: &Call<'_>, part: Part, warnings: &mut Vec<String>) -> ApiResult<Answer> {
    let query = &call.request.query;
    if query.get("fieldManager").is_empty() {
        return Err(ApiError::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let mut applied = input::yaml(&call.request.body)
        .map_err(|e| ApiError::bad_request(format!("error decoding YAML: {e}")))?;
    if !applied.is_object() {
        return Err(ApiError::bad_request("error decoding YAML: not an object"));
    }
    input::identify(call.served, &mut applied)?;
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
                query.flag("force"),
                reset,
            )
        });
        let mut new = merged.map_err(|error| apply_error(call, error))?;
        input::admit_fields(call, &mut new, warnings)?;
        if new["metadata"].get("name").is_none() {
            meta::put(&mut new, "name", call.request.name.as_str().into());
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

/// Stands in for patch formats that are not written yet.
pub(super) mod differences {
    use serde_json::Value;

    use crate::fieldmanager::TypeSchema;
    use crate::patch::{self, PatchError};

    fn broken(error: impl std::fmt::Display) -> PatchError {
        PatchError::BadRequest(format!("error decoding patch: {error}"))
    }

    pub fn json_patch(old: &Value, body: &[u8]) -> Result<Value, PatchError> {
        match patch::json_patch(old, body)? {
            Value::Null => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(broken)?;
                let mut new = old.clone();
                json_patch::patch(&mut new, &patch).map_err(|e| {
                    PatchError::Unprocessable(format!(
                        "the server rejected our request due to an error in our request: {e}"
                    ))
                })?;
                Ok(new)
            }
            new => Ok(new),
        }
    }

    pub fn merge_patch(old: &Value, body: &[u8]) -> Result<Value, PatchError> {
        match patch::merge_patch(old, body)? {
            Value::Null => {
                let patch: Value = serde_json::from_slice(body).map_err(broken)?;
                let mut new = old.clone();
                json_patch::merge(&mut new, &patch);
                Ok(new)
            }
            new => Ok(new),
        }
    }

    pub fn strategic_merge_patch(old: &Value, body: &[u8], types: &TypeSchema) -> Result<Value, PatchError> {
        match patch::strategic_merge_patch(old, body, types)? {
            Value::Null => merge_patch(old, body),
            new => Ok(new),
        }
    }
}

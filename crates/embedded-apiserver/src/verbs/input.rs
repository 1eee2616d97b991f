//! Reading what clients send: JSON or YAML bodies, kind and version checks, unknown fields.

use serde_json::Value;

use super::{Call, convert};
use crate::http::query::FieldValidation;
use crate::http::status::{ApiError, ApiResult};
use crate::registry::Served;
use crate::schema::unknown_field_texts;

/// Parses YAML as kubectl does: through JSON, with octal numbers of YAML 1.1.
pub(crate) fn yaml(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// The request's body as an object of some kind.
pub(crate) fn body(call: &Call<'_>) -> ApiResult<Value> {
    let bytes = &call.request.body;
    let value: Value = match call.request.content_type.as_str() {
        "" | "application/json" => serde_json::from_slice(bytes).map_err(|e| {
            ApiError::bad_request(format!("the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {e}", call.served.resource.kind))
        })?,
        "application/yaml" => yaml(bytes).map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: {e}")))?,
        _ => return Err(ApiError::unsupported_media_type(&["application/json", "application/yaml"])),
    };
    if !value.is_object() {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): json: cannot unmarshal into Go value",
            call.served.resource.kind
        )));
    }
    Ok(value)
}

/// The body as an object of the served kind. Built-in kinds may leave out `apiVersion` and `kind`.
pub(crate) fn object(call: &Call<'_>, warnings: &mut Vec<String>) -> ApiResult<Value> {
    let mut value = body(call)?;
    identify(call.served, &mut value)?;
    admit_fields(call, &mut value, warnings)?;
    Ok(value)
}

/// Checks `apiVersion` and `kind` of what was sent.
pub(crate) fn identify(served: &Served, value: &mut Value) -> ApiResult<()> {
    let (api_version, kind) = (served.api_version(), &served.resource.kind);
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
    if served.resource.is_custom() && (sent_kind.is_empty() || sent_version.is_empty()) {
        let missing = if sent_kind.is_empty() {
            "Kind"
        } else {
            "apiVersion"
        };
        return Err(ApiError::bad_request(format!(
            "Object '{missing}' is missing in '{value}'"
        )));
    }
    if !sent_version.is_empty() && sent_version != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
        )));
    }
    if !sent_kind.is_empty() && sent_kind != *kind {
        return Err(ApiError::bad_request(format!(
            "{sent_kind} in version {:?} cannot be handled as a {kind}: converting ({sent_version}.{sent_kind}) to ({api_version}.{kind}): unknown conversion",
            served.version().name
        )));
    }
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.as_str().into();
    if !value["metadata"].is_object() {
        value["metadata"] = Value::Object(Default::default());
    }
    Ok(())
}

/// Prunes and defaults, and tells about unknown fields as `fieldValidation` wants.
pub(crate) fn admit_fields(call: &Call<'_>, value: &mut Value, warnings: &mut Vec<String>) -> ApiResult<()> {
    let kind = &call.served.resource.kind;
    let unfit = |why: String| {
        let version = &call.version().name;
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
        ))
    };
    if let Some(error) = (!call.served.resource.is_custom())
        .then(|| call.version().types.decode_error(value))
        .flatten()
    {
        return Err(unfit(error));
    }
    let pruned = convert::normalize(call.served, value);
    if pruned.is_empty() {
        return Ok(());
    }
    let texts = unknown_field_texts(&pruned);
    match call.request.query.field_validation()? {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(texts),
        FieldValidation::Strict => return Err(unfit(format!("strict decoding error: {}", texts.join(", ")))),
    }
    Ok(())
}

//! Reading what clients send: JSON or YAML bodies, kind and version checks, unknown fields.

use serde_json::Value;

use super::{Call, convert};
use crate::faults::{Fault, broken};
use crate::http::query::FieldValidation;
use crate::http::status::{ApiError, ApiResult};
use crate::protobuf;
use crate::registry::Served;
use crate::schema::{FieldError, unknown_field_texts};

/// Parses YAML as kubectl does: through JSON, with octal numbers of YAML 1.1.
pub(crate) fn yaml(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// The start of a body, for messages.
fn summary(bytes: &[u8]) -> String {
    const LENGTH: usize = 30;
    let (head, rest) = (
        &bytes[..bytes.len().min(LENGTH)],
        if bytes.len() > LENGTH { " ..." } else { "" },
    );
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{rest}", String::from_utf8_lossy(head)),
        Some(_) => format!(
            "{}{rest}",
            head.iter().map(|b| format!("{b:02x}")).collect::<String>()
        ),
    }
}

fn unrecognized(call: &Call<'_>, why: &str) -> ApiError {
    let (kind, start) = (&call.served.resource.kind, summary(&call.request.body));
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({start})"
    ))
}

/// The content types that bodies of a resource may have.
fn accepted(call: &Call<'_>) -> &'static [&'static str] {
    match call.served.resource.is_custom() {
        true => &["application/json", "application/yaml"],
        false => &["application/json", "application/yaml", protobuf::CONTENT_TYPE],
    }
}

/// The request's body as an object of some kind.
pub(crate) fn body(call: &Call<'_>) -> ApiResult<Value> {
    let bytes = &call.request.body;
    let value: Value = match call.request.content_type.as_str() {
        "" | "application/json" => serde_json::from_str(&String::from_utf8_lossy(bytes)).map_err(|e| {
            let why = if e.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                e.to_string()
            };
            unrecognized(
                call,
                &format!("couldn't get version/kind; json parse error: {why}"),
            )
        })?,
        protobuf::CONTENT_TYPE if !call.served.resource.is_custom() => {
            protobuf::read(bytes).map_err(|why| unrecognized(call, &why))?
        }
        "application/yaml" => {
            yaml(bytes).map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: {e}")))?
        }
        _ => {
            return Err(ApiError::unsupported_media_type(accepted(call)));
        }
    };
    if !value.is_object() {
        return Err(unrecognized(
            call,
            "couldn't get version/kind; json parse error: not an object",
        ));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(wrong) = value.get(field).filter(|v| !v.is_string() && !v.is_null()) {
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{field} of type string",
                crate::patch::go_kind(wrong)
            );
            return Err(unrecognized(call, &why));
        }
    }
    let kind = value["kind"].as_str().unwrap_or_default();
    if call.served.resource.is_custom() && kind.is_empty() {
        let text = String::from_utf8_lossy(bytes);
        return Err(unrecognized(
            call,
            &format!("Object 'Kind' is missing in '{text}'"),
        ));
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
    if broken(Fault::AnyKind) {
        value["apiVersion"] = api_version.as_str().into();
        value["kind"] = kind.as_str().into();
    }
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (sent_version, sent_kind) = (text("apiVersion"), text("kind"));
    let version = &served.version().name;
    if served.resource.is_custom() {
        if sent_version != api_version {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({sent_version}) does not match the expected API version ({api_version})"
            )));
        }
        if sent_kind != *kind {
            let error = FieldError::invalid("kind", sent_kind.as_str(), format!("must be {kind}"));
            let name = value["metadata"]["name"].as_str().unwrap_or_default();
            return Err(ApiError::invalid_named(
                &sent_kind,
                &served.resource.gr.group,
                name,
                &[error],
            ));
        }
    } else if !sent_version.is_empty() && sent_version != api_version {
        let sent = sent_version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{sent_kind} in version {sent:?} cannot be handled as a {kind}: no kind {sent_kind:?} is registered for version \
             {sent_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )));
    } else if !sent_kind.is_empty() && sent_kind != *kind {
        let internal = if served.resource.gr.group.is_empty() {
            "core"
        } else {
            &served.resource.gr.group
        };
        return Err(ApiError::bad_request(format!(
            "{sent_kind} in version {version:?} cannot be handled as a {kind}: converting ({api_version}.{sent_kind}) to \
             ({internal}.{kind}): unknown conversion"
        )));
    }
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.as_str().into();
    match value.get("metadata") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => value["metadata"] = Value::Object(Default::default()),
        Some(wrong) => {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal {} into Go struct field \
                 {kind}.metadata of type v1.ObjectMeta",
                crate::patch::go_kind(wrong)
            )));
        }
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
    if let Some(error) = metadata_error(value).or_else(|| bytes_error(call, value)) {
        return Err(unfit(error));
    }
    if let Some(error) = call
        .version()
        .schema
        .as_ref()
        .and_then(|schema| schema.unreadable(value))
    {
        return Err(unfit(error));
    }
    let pruned = convert::normalize(call.served, value);
    if pruned.is_empty() {
        return Ok(());
    }
    let texts = unknown_field_texts(&pruned);
    match call.request.query.field_validation() {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(texts),
        FieldValidation::Strict => return Err(unfit(format!("strict decoding error: {}", texts.join(", ")))),
    }
    Ok(())
}

/// Labels and annotations must be strings also where no type says so.
fn metadata_error(value: &Value) -> Option<String> {
    for field in ["labels", "annotations"] {
        let map = &value["metadata"][field];
        if !map.is_object() && !map.is_null() {
            return Some(format!(
                "json: cannot unmarshal {} into Go struct field ObjectMeta.{field} of type map[string]string",
                crate::patch::go_kind(map)
            ));
        }
        let wrong = value["metadata"][field]
            .as_object()
            .into_iter()
            .flatten()
            .find(|(_, v)| !v.is_string() && !v.is_null());
        if let Some((_, wrong)) = wrong {
            let kind = match wrong {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                _ => "object",
            };
            return Some(format!(
                "json: cannot unmarshal {kind} into Go struct field ObjectMeta.{field} of type string"
            ));
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        let time = value["metadata"][field].as_str().filter(|text| !text.is_empty());
        if let Some(text) = time.filter(|text| text.parse::<jiff::Timestamp>().is_err()) {
            return Some(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            ));
        }
    }
    None
}

/// Fields of bytes must be base64.
fn bytes_error(call: &Call<'_>, value: &Value) -> Option<String> {
    use base64::engine::general_purpose::STANDARD;
    use base64::{DecodeError, Engine};
    let field = match &*call.gr().resource {
        "secrets" if !call.served.resource.is_custom() => "data",
        "configmaps" if !call.served.resource.is_custom() => "binaryData",
        _ => return None,
    };
    let texts = value[field].as_object()?.values().filter_map(Value::as_str);
    let at = texts.filter_map(|text| match STANDARD.decode(text) {
        Ok(_) => None,
        Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => Some(at),
        Err(_) => Some(text.len()),
    });
    at.into_iter()
        .next()
        .map(|at| format!("illegal base64 data at input byte {at}"))
}

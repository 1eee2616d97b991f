//! AdmissionReview: what is sent, and what an answer must fulfil.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A request as reviews describe it; versions of resource and kind are the hook's.
pub(super) struct Subject<'a> {
    pub operation: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// The kind of the object; subresources may have another group and version than their resource.
    pub kind: (&'a str, &'a str, &'a str),
    pub request_kind: (&'a str, &'a str, &'a str),
    pub version: &'a str,
    pub request_version: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub user: &'a Value,
    pub dry_run: bool,
    pub options: &'a Value,
}

fn kind((group, version, kind): (&str, &str, &str)) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// The `request` of a review.
pub(super) fn request(
    subject: &Subject<'_>,
    uid: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Value {
    let resource =
        |version: &str| json!({"group": subject.group, "version": version, "resource": subject.resource});
    let mut request = json!({
        "uid": uid, "kind": kind(subject.kind), "resource": resource(subject.version),
        "requestKind": kind(subject.request_kind), "requestResource": resource(subject.request_version),
        "operation": subject.operation, "userInfo": subject.user, "object": object, "oldObject": old,
        "dryRun": subject.dry_run, "options": subject.options,
    });
    let texts = [
        ("subResource", subject.subresource),
        ("requestSubResource", subject.subresource),
        ("name", subject.name),
        ("namespace", subject.namespace),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        request[field] = text.into();
    }
    request
}

/// The whole review.
pub(super) fn review(version: &str, request: Value) -> Value {
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

/// What a webhook decided.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub allowed: bool,
    /// JSON patch, decoded from base64.
    pub patch: Vec<u8>,
    pub patch_type: String,
    /// A `metav1.Status`.
    pub result: Value,
    pub warnings: Vec<String>,
}

/// Reads an answer; the error says what is wrong with it.
pub(super) fn verdict(version: &str, mutating: bool, uid: &str, review: &Value) -> Result<Verdict, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if version == "v1" {
        let given = text(&response["uid"]);
        if given != uid {
            return Err(format!("expected response.uid={uid:?}, got {given:?}"));
        }
    }
    let patch = bytes(&response["patch"])?;
    let patch_type = response["patchType"].as_str();
    match (mutating, patch.is_empty(), patch_type) {
        (false, false, _) => return Err("validating webhook may not return response.patch".to_owned()),
        (false, _, Some(_)) => return Err("validating webhook may not return response.patchType".to_owned()),
        (true, false, None) if version == "v1" => {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        (true, true, Some(_)) if version == "v1" => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        (true, false, Some("")) => {
            return Err("webhook returned invalid response.patchType of \"\"".to_owned());
        }
        _ => {}
    }
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Verdict {
        allowed: response["allowed"] == true,
        patch,
        patch_type: patch_type.unwrap_or("JSONPatch").to_owned(),
        result: response["status"].clone(),
        warnings: warnings.map(text).collect(),
    })
}

/// Bytes in JSON: text in base64, or, as Go reads them too and kube's types write them, numbers.
fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    match value {
        Value::Array(numbers) => {
            let byte = |number: &Value| number.as_u64().and_then(|number| u8::try_from(number).ok());
            let bytes: Option<Vec<u8>> = numbers.iter().map(byte).collect();
            bytes.ok_or_else(|| "json: cannot unmarshal array into Go value of type uint8".to_owned())
        }
        Value::String(text) => STANDARD.decode(text).map_err(|e| e.to_string()),
        _ => Ok(Vec::new()),
    }
}

/// The answer's kind must be the one that was sent; decoding would fail otherwise.
pub(super) fn check_kind(version: &str, group: &str, kind: &str, answer: &Value) -> Result<(), String> {
    let (given_version, given_kind) = (
        answer["apiVersion"].as_str().unwrap_or_default(),
        answer["kind"].as_str().unwrap_or_default(),
    );
    if given_kind.is_empty() {
        return Err(format!("Object 'Kind' is missing in '{answer}'"));
    }
    if given_version.is_empty() {
        return Err(format!("Object 'apiVersion' is missing in '{answer}'"));
    }
    let wanted = format!("{group}/{version}");
    if given_version != wanted && !given_version.starts_with(&format!("{group}/")) || given_kind != kind {
        return Err(format!(
            "no kind {given_kind:?} is registered for version {given_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        ));
    }
    if given_version != wanted {
        return Err(format!(
            "expected webhook response of {wanted}, Kind={kind}, got {given_version}, Kind={given_kind}"
        ));
    }
    Ok(())
}

//! What is special about single built-in kinds when they are written: initial values, fixed fields, checks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::meta;
use super::{Call, convert};
use crate::auth::rbac;
use crate::csr;
use crate::http::status::{ApiError, ApiResult};
use crate::kinds;
use crate::registry::builtin::Builtin;
use crate::registry::{crd, crd_validation};
use crate::schema::FieldError;

/// What decoding fills in; the writer owns it.
pub(crate) fn default(call: &Call<'_>, value: &mut Value) {
    let resource = &call.served.resource;
    if resource.is_custom() {
        return;
    }
    match (&*resource.gr.group, &*resource.gr.resource) {
        ("", "namespaces") if meta::text(value, "name").is_empty() => {}
        ("", "namespaces") => {
            let name = meta::text(value, "name").to_owned();
            value["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        }
        ("", "secrets") => secret(value),
        ("apiextensions.k8s.io", _) => crd::default(value),
        (rbac::GROUP, _) => rbac::default(value),
        (group, name) => kinds::default(group, name, value),
    }
}

/// Initial values of a new object that the server sets.
pub(crate) fn prepare_create(call: &Call<'_>, value: &mut Value) {
    let resource = &call.served.resource;
    let keeps = resource
        .builtin()
        .is_some_and(|row| row.has(Builtin::KEEPS_STATUS));
    if call.version().status
        && !keeps
        && let Some(map) = value.as_object_mut()
    {
        map.remove("status");
    }
    if resource.is_custom() {
        return;
    }
    match (&*resource.gr.group, &*resource.gr.resource) {
        ("", "namespaces") => {
            value["spec"]["finalizers"] = json!(["kubernetes"]);
            value["status"] = json!({"phase": "Active"});
        }
        ("", "pods") => {
            if value["status"].get("phase").is_none() {
                value["status"]["phase"] = "Pending".into();
            }
            if value["status"].get("qosClass").is_none() {
                value["status"]["qosClass"] = kinds::quality(&value["spec"]).into();
            }
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => value["status"] = json!({"phase": "Pending"}),
        ("batch", "jobs") => kinds::generate_job_selector(value),
        ("", "events") => convert::complete_event(value),
        (csr::GROUP, _) => csr::strategy::prepare_create(&call.request.user, value),
        _ => {}
    }
    if call.request.query.dry_run() && resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crd::plan_status(value);
    } else {
        prepare_update(call, None, value);
    }
    call.version().types.fill_structs(value);
}

/// Values that follow from others when an object is replaced.
pub(crate) fn prepare_update(call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
    let definition = call
        .served
        .resource
        .is("apiextensions.k8s.io", "customresourcedefinitions");
    if new["apiVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with(rbac::GROUP))
    {
        rbac::complete(new);
    }
    if definition && old.is_none_or(|old| old["spec"] != new["spec"]) {
        let registry = call.inner.registry.load();
        crd::update_status(&registry, new, &call.inner.now_text());
    }
}

/// Gives a service its addresses and ports; the errors say what it asked for in vain.
pub(crate) fn allocate(call: &Call<'_>, old: Option<&Value>, value: &mut Value) -> ApiResult<()> {
    let resource = &call.served.resource;
    if !resource.is("", "services") {
        return Ok(());
    }
    let own = meta::text(value, "name").to_owned();
    let mut taken = kinds::Addresses::default();
    for service in call.inner.store.list(&resource.store, "").0 {
        if *service.name != *own || *service.namespace != *call.request.namespace {
            taken.note(&service.value());
        }
    }
    // The uid is as random as it needs to be, and the same in every run of a simulation.
    let digest = Sha256::digest(meta::text(value, "uid"));
    let seed = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let errors = taken.allocate(value, old, seed);
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid(resource, &own, &errors)),
    }
}

/// Moves `stringData` into `data` and names the default type.
fn secret(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    if let Some(Value::Object(texts)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if !data.is_object() {
            *data = Value::Object(Map::new());
        }
        for (key, text) in texts {
            data[key.as_str()] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
        }
    }
    if map
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        map.insert("type".to_owned(), "Opaque".into());
    }
}

/// Checks of single kinds.
pub(crate) fn validate(call: &Call<'_>, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let resource = &call.served.resource;
    if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        if call.request.subresource == "status" {
            return Vec::new();
        }
        let mut errors = crd_validation::validate(new, old);
        if errors.is_empty()
            && let Err(found) = crd::resource(new)
        {
            errors = found;
        }
        return errors;
    }
    if resource.is("", "secrets") {
        return secret_errors(old, new);
    }
    if resource.is("", "configmaps") {
        return config_map_errors(old, new);
    }
    if resource.is_custom() {
        return Vec::new();
    }
    kinds::validate(&resource.gr.group, &resource.gr.resource, old, new)
}

/// The most a secret or config map may hold.
const MAX_DATA: usize = 1024 * 1024;

fn secret_errors(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in new["data"].as_object().into_iter().flatten() {
        if let Some(Ok(bytes)) = value.as_str().map(|text| STANDARD.decode(text)) {
            size += bytes.len();
        }
        data_key("data", key, &mut errors);
    }
    if size > MAX_DATA {
        errors.push(FieldError::too_long("data", MAX_DATA as i64));
    }
    if let Some(old) = old {
        if old["type"] != new["type"] {
            errors.push(FieldError::invalid(
                "type",
                new["type"].clone(),
                "field is immutable",
            ));
        }
        if old["immutable"] == true && (old["data"] != new["data"] || new["immutable"] != true) {
            errors.push(FieldError::forbidden(
                "data",
                "field is immutable when `immutable` is set",
            ));
        }
    }
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    if new["type"] == "kubernetes.io/service-account-token"
        && new["metadata"]["annotations"][ACCOUNT]
            .as_str()
            .unwrap_or_default()
            .is_empty()
    {
        errors.push(FieldError::required(
            format!("metadata.annotations[{ACCOUNT}]"),
            "",
        ));
    }
    let needs: &[&str] = match new["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in needs.iter().filter(|key| new["data"].get(**key).is_none()) {
        errors.push(FieldError::required(format!("data[{key}]"), ""));
    }
    errors
}

fn config_map_errors(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["data", "binaryData"] {
        for (key, _) in new[field].as_object().into_iter().flatten() {
            data_key(field, key, &mut errors);
        }
    }
    let fixed = old.filter(|old| old["immutable"] == true);
    if fixed.is_some_and(|old| old["data"] != new["data"] || new["immutable"] != true) {
        errors.push(FieldError::forbidden(
            "data",
            "field is immutable when `immutable` is set",
        ));
    }
    errors
}

fn data_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let good = !key.is_empty()
        && key.len() <= 253
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !good || key == "." || key == ".." {
        let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
                      'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
        errors.push(FieldError::invalid(format!("{field}[{key}]"), key, detail));
    }
}

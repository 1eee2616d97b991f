//! The rules of `metadata`: what the server sets, what nobody may change, which names are allowed.

use serde_json::{Map, Value};

use super::Call;
use crate::faults::{Fault, broken};
use crate::http::request::Verb;
use crate::http::status::{ApiError, ApiResult};
use crate::registry::builtin::Builtin;
use crate::registry::names::NameRule;
use crate::registry::{Resource, Version};
use crate::schema::FieldError;
use crate::storage::Object;

/// A string field of metadata; empty when absent.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value["metadata"][field].as_str().unwrap_or_default()
}

/// Sets or (empty) removes a field of metadata.
pub(crate) fn put(value: &mut Value, field: &str, new: Value) {
    let Some(root) = value.as_object_mut() else { return };
    let metadata = root
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let empty = match &new {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => false,
    };
    match empty {
        true => metadata.remove(field),
        false => metadata.insert(field.to_owned(), new),
    };
}

/// Drops nulls and empty containers from metadata, as Go's types would.
fn tidy(value: &mut Value) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.retain(|_, field| match field {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    metadata.remove("selfLink");
}

/// Fills in and checks namespace and name of an object that is created or replaced at the request's path.
pub(crate) fn place(call: &Call<'_>, value: &mut Value) -> ApiResult<()> {
    tidy(value);
    let request = call.request;
    let namespace = text(value, "namespace").to_owned();
    if call.served.resource.namespaced {
        if !namespace.is_empty() && namespace != request.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        put(value, "namespace", request.namespace.as_str().into());
    } else {
        if !namespace.is_empty() {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        put(value, "namespace", Value::Null);
    }
    let name = text(value, "name").to_owned();
    if !request.name.is_empty() {
        if name.is_empty() {
            return Err(ApiError::bad_request("name must be provided"));
        }
        if name != request.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                request.name
            )));
        }
    }
    Ok(())
}

/// Which names the resource allows.
pub(crate) fn name_rule(resource: &Resource) -> NameRule {
    resource.builtin().map_or(NameRule::Subdomain, Builtin::name_rule)
}

/// Checks metadata of an object that will be created.
pub(crate) fn validate_create(resource: &Resource, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, generate) = (text(value, "name"), text(value, "generateName"));
    let rule = name_rule(resource);
    if !generate.is_empty() {
        errors.extend(
            rule.check(generate, true)
                .into_iter()
                .map(|e| FieldError::invalid("metadata.generateName", generate, e)),
        );
    }
    match name {
        "" => errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        )),
        _ => errors.extend(
            rule.check(name, false)
                .into_iter()
                .map(|e| FieldError::invalid("metadata.name", name, e)),
        ),
    }
    errors.extend(validate_common(value));
    errors
}

fn validate_common(value: &Value) -> Vec<FieldError> {
    let mut errors = label_errors(value);
    let metadata = &value["metadata"];
    let mut controllers = 0;
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        let path = "metadata.ownerReferences";
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::invalid(format!("{path}.{field}"), "", detail));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let value = metadata["ownerReferences"].clone();
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            value,
            "Only one reference can have Controller set to true. Found \"true\" in references",
        ));
    }
    errors
}

/// Checks labels and annotations.
pub(crate) fn label_errors(value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &value["metadata"];
    for field in ["labels", "annotations"] {
        for (key, entry) in metadata[field].as_object().into_iter().flatten() {
            if let Some(problem) = qualified_name(key) {
                errors.push(FieldError::invalid(
                    format!("metadata.{field}"),
                    key.as_str(),
                    problem,
                ));
            }
            if field == "labels"
                && let Some(problem) = label_value(entry.as_str().unwrap_or_default())
            {
                errors.push(FieldError::invalid("metadata.labels", entry.clone(), problem));
            }
        }
    }
    errors
}

/// What is wrong with a qualified name (`prefix/name`).
pub(crate) fn qualified_name_error(key: &str) -> Option<String> {
    qualified_name(key)
}

/// What is wrong with the value of a label.
pub(crate) fn label_value_error(value: &str) -> Option<String> {
    label_value(value)
}

const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                         character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                           with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                           '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_word(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn qualified_name(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|p| !crate::registry::names::is_dns_subdomain(&p.to_lowercase())) {
        return Some("prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character".into());
    }
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".into());
    }
    (!is_word(name)).then(|| NAME_PART.to_owned())
}

fn label_value(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".into());
    }
    (!value.is_empty() && !is_word(value)).then(|| LABEL_VALUE.to_owned())
}

/// Takes out what only the server sets.
pub(crate) fn wipe_new(value: &mut Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        put(value, field, Value::Null);
    }
}

/// What the server sets on a new object.
pub(crate) fn stamp_new(call: &Call<'_>, value: &mut Value) {
    wipe_new(value);
    put(value, "generation", Value::Null);
    put(value, "uid", seams::uuid(&*call.inner.randomness).into());
    put(value, "creationTimestamp", call.inner.now_text().into());
    if call.served.resource.has_generation() {
        put(value, "generation", 1.into());
    }
}

/// Takes over from `old` what a replacement may not change, and checks uid and resource version.
pub(crate) fn carry_over(call: &Call<'_>, current: &Object, old: &Value, new: &mut Value) -> ApiResult<()> {
    tidy(new);
    let (gr, name) = (call.gr(), &*current.name);
    let version = text(new, "resourceVersion");
    if !version.is_empty() && version != "0" {
        let wanted: u64 = version.parse().map_err(|_| {
            if call.request.verb == Verb::Patch && !call.served.resource.is_custom() {
                let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
                return ApiError::new(500, "", why);
            }
            ApiError::invalid(
                &call.served.resource,
                name,
                &[FieldError::invalid(
                    "metadata.resourceVersion",
                    version,
                    "must be an unsigned integer",
                )],
            )
        })?;
        if wanted != current.revision && !broken(Fault::StaleUpdate) {
            return Err(ApiError::conflict(gr, name, crate::http::status::MODIFIED));
        }
    }
    let replacing = call.request.verb == Verb::Update;
    let pinned = call
        .served
        .resource
        .builtin()
        .is_none_or(|row| row.has(Builtin::PINNED));
    if replacing && pinned && (version.is_empty() || version == "0") {
        let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        return Err(ApiError::invalid_named(&gr.resource, &gr.group, name, &[error]));
    }
    let uid = text(new, "uid");
    if replacing && !uid.is_empty() && uid != &*current.uid {
        let folder = match call.served.resource.is_custom() {
            true => format!("{}/{}", gr.group, gr.resource),
            false => gr.resource.to_string(),
        };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{folder}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            current.key(),
            current.uid
        );
        return Err(ApiError::conflict(gr, name, &why));
    }
    for field in [
        "name",
        "namespace",
        "resourceVersion",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        put(new, field, old["metadata"][field].clone());
    }
    for field in ["uid", "deletionTimestamp", "generateName"] {
        if new["metadata"].get(field).is_none() {
            put(new, field, old["metadata"][field].clone());
        }
    }
    Ok(())
}

/// Checks metadata of a replacement.
pub(crate) fn validate_update(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut fixed = Vec::new();
    for field in ["uid", "deletionTimestamp"] {
        if old["metadata"][field] != new["metadata"][field] {
            let value = new["metadata"][field].clone();
            fixed.push(FieldError::invalid(
                format!("metadata.{field}"),
                value,
                "field is immutable",
            ));
        }
    }
    if !text(old, "deletionTimestamp").is_empty() {
        let list = |v: &Value| {
            v["metadata"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let before = list(old);
        let added: Vec<String> = list(new)
            .iter()
            .filter(|f| !before.contains(f))
            .map(|f| format!("{f}"))
            .collect();
        if !added.is_empty() {
            let added = added.join(", ");
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{added}}}"
            );
            fixed.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    // Upstream checks this part twice, so its causes are there twice.
    let mut errors = fixed.clone();
    errors.extend(fixed);
    errors.extend(validate_common(new));
    // Labels are checked even more often, by each kind in its way.
    let more = match &*resource.gr.resource {
        "poddisruptionbudgets" => 1,
        "configmaps" | "persistentvolumeclaims" => 3,
        _ => 2,
    };
    let wrong: Vec<FieldError> = label_errors(new)
        .into_iter()
        .filter(|error| error.path == "metadata.labels")
        .collect();
    errors.extend((0..more).flat_map(|_| wrong.clone()));
    errors
}

/// Warns of finalizers without a domain that were not there before.
pub(crate) fn warn_finalizers(old: Option<&Value>, new: &Value, warnings: &mut Vec<String>) {
    let list = |v: &Value| {
        v["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let before = old.map(list).unwrap_or_default();
    for finalizer in list(new)
        .iter()
        .filter(|f| !before.contains(f))
        .filter_map(Value::as_str)
    {
        if !finalizer.contains('/') && !matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion") {
            let path = if finalizer.contains('.') {
                " including a path (/)"
            } else {
                ""
            };
            warnings.push(format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts \
                 with other finalizer writers"
            ));
        }
    }
}

/// Whether a replacement changes what `metadata.generation` counts: everything but metadata and, where it is a
/// subresource, status.
pub(crate) fn changes_generation(version: &Version, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return false;
    };
    let counts =
        |key: &&String| *key != "metadata" && *key != "apiVersion" && !(version.status && *key == "status");
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).filter(counts).collect();
    keys.into_iter().any(|key| old.get(key) != new.get(key))
}

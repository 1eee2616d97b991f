//! What a custom resource definition must fulfil before it is stored.

use serde_json::Value;

use super::names::{is_dns_label, is_dns_subdomain};
use super::resource::Resource;
use crate::schema::FieldError;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn immutable(crd: &Value, old: &Value, pointer: &str, path: &str, errors: &mut Vec<FieldError>) {
    if crd.pointer(pointer) != old.pointer(pointer) {
        let value = crd.pointer(pointer).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(path, value, "field is immutable"));
    }
}

/// Checks a definition; `old` is what is replaced.
pub(crate) fn validate(crd: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, plural, group) = (
        text(crd, "/metadata/name"),
        text(crd, "/spec/names/plural"),
        text(crd, "/spec/group"),
    );
    let required = format!("{plural}.{group}");
    if name != required {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    match group {
        "" => errors.push(FieldError::required("spec.group", "")),
        _ if !is_dns_subdomain(group) => errors.push(FieldError::invalid(
            "spec.group",
            group,
            "a lowercase RFC 1123 subdomain is required",
        )),
        _ if !group.contains('.') => errors.push(FieldError::invalid(
            "spec.group",
            group,
            "should be a domain with at least one dot",
        )),
        _ => {}
    }
    match text(crd, "/spec/scope") {
        "Cluster" | "Namespaced" => {}
        "" => errors.push(FieldError::required("spec.scope", "")),
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            other,
            &["Cluster", "Namespaced"],
        )),
    }
    for field in ["plural", "singular", "kind", "listKind"] {
        let path = format!("spec.names.{field}");
        let value = text(&crd["spec"]["names"], &format!("/{field}"));
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !is_dns_label(&value.to_lowercase()) {
            errors.push(FieldError::invalid(path, value, "a DNS-1035 label is required"));
        }
    }
    versions(crd, &mut errors);
    if let Some(old) = old {
        for (pointer, path) in [
            ("/spec/group", "spec.group"),
            ("/spec/names/plural", "spec.names.plural"),
            ("/spec/scope", "spec.scope"),
            ("/spec/names/kind", "spec.names.kind"),
        ] {
            immutable(crd, old, pointer, path, &mut errors);
        }
    }
    errors
}

fn versions(crd: &Value, errors: &mut Vec<FieldError>) {
    let listed = crd["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    for (index, version) in listed.iter().enumerate() {
        let (path, name) = (format!("spec.versions[{index}]"), text(version, "/name"));
        if !is_dns_label(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name,
                "a DNS-1035 label is required",
            ));
        }
        if !seen.insert(name) {
            errors.push(FieldError::invalid(
                "spec.versions",
                name,
                "must contain unique version names",
            ));
        }
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            errors.push(FieldError::required(
                format!("{path}.schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
        for field in ["served", "storage"] {
            if !version[field].is_boolean() {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            }
        }
    }
    if listed.iter().filter(|v| v["storage"] == true).count() != 1 {
        let value = crd["spec"]["versions"].clone();
        errors.push(FieldError::invalid(
            "spec.versions",
            value,
            "must have exactly one version marked as storage version",
        ));
    }
    let stored = crd
        .pointer("/status/storedVersions")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (index, name) in stored.iter().enumerate() {
        if !listed.iter().any(|v| v["name"] == *name) {
            let path = format!("status.storedVersions[{index}]");
            errors.push(FieldError::invalid(
                path,
                name.clone(),
                "missing from spec.versions; please use a migration tool to remove this version",
            ));
        }
    }
    webhook(crd, errors);
}

fn webhook(crd: &Value, errors: &mut Vec<FieldError>) {
    match text(crd, "/spec/conversion/strategy") {
        "None" | "" => {}
        "Webhook" => {
            if crd
                .pointer("/spec/conversion/webhook/conversionReviewVersions")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty)
            {
                errors.push(FieldError::required(
                    "spec.conversion.webhook.conversionReviewVersions",
                    "",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            "spec.conversion.strategy",
            other,
            &["None", "Webhook"],
        )),
    }
}

/// Whether the resource keeps fields that no schema knows.
pub(crate) fn keeps_unknown(resource: &Resource) -> bool {
    matches!(
        resource.origin,
        super::Origin::Custom {
            preserve_unknown: true,
            ..
        }
    )
}

//! What a custom resource definition must fulfil before it is stored.
//!
//! The real server checks an older form of definitions, in which what all versions share stands once at the top; paths
//! and values in its messages are those of that form.

mod versions;

use serde_json::Value;

use super::names::{NameRule, is_dns_subdomain};
use super::resource::Resource;
use crate::kinds;
use crate::schema::FieldError;
use versions::versions;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
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
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
    match group {
        "" => errors.push(FieldError::required("spec.group", "")),
        _ if !is_dns_subdomain(group) => {
            let detail = NameRule::Subdomain.check(group, false).join(",");
            errors.push(FieldError::invalid("spec.group", group, detail));
        }
        _ if !group.contains('.') => {
            let detail = "should be a domain with at least one dot";
            errors.push(FieldError::invalid("spec.group", group, detail));
        }
        _ => {}
    }
    choice(
        "spec.scope",
        text(crd, "/spec/scope"),
        &["Cluster", "Namespaced"],
        &mut errors,
    );
    versions(crd, &mut errors);
    names(&crd["spec"]["names"], &mut errors);
    stored_versions(crd, &mut errors);
    conversion(&crd["spec"]["conversion"], &mut errors);
    if crd["spec"]["preserveUnknownFields"] == true
        && old.is_none_or(|old| old["spec"]["preserveUnknownFields"] != true)
    {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", true, detail));
    }
    approval(crd, old, group, &mut errors);
    if let Some(old) = old {
        for (pointer, path) in [
            ("/spec/scope", "spec.scope"),
            ("/spec/names/kind", "spec.names.kind"),
            ("/spec/group", "spec.group"),
            ("/spec/names/plural", "spec.names.plural"),
        ] {
            immutable(crd, old, pointer, path, &mut errors);
        }
    }
    errors
}

fn choice(path: &str, given: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    match given {
        "" => errors.push(FieldError::required(path, "")),
        given if allowed.contains(&given) => {}
        other => errors.push(FieldError::not_supported(path, other, allowed)),
    }
}

/// Groups of the community need its approval.
fn approval(crd: &Value, old: Option<&Value>, group: &str, errors: &mut Vec<FieldError>) {
    const KEY: &str = "api-approved.kubernetes.io";
    let owned = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    let given = crd["metadata"]["annotations"][KEY].as_str().unwrap_or_default();
    if owned && old.is_none() && given.is_empty() {
        let detail = format!(
            "protected groups must have approval annotation {KEY:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(
            format!("metadata.annotations[{KEY}]"),
            detail,
        ));
    }
}

fn names(names: &Value, errors: &mut Vec<FieldError>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let path = format!("spec.names.{field}");
        let given = names[field].as_str().unwrap_or_default();
        let mixed = matches!(field, "kind" | "listKind");
        let lower = if mixed {
            given.to_lowercase()
        } else {
            given.to_owned()
        };
        if given.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if let Some(problem) = kinds::dns_label_1035(&lower) {
            let detail = match mixed {
                true => format!("may have mixed case, but should otherwise match: {problem}"),
                false => problem,
            };
            errors.push(FieldError::invalid(path, given, detail));
        }
    }
    for field in ["shortNames", "categories"] {
        for (i, name) in list(names, &format!("/{field}")).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            if let Some(problem) = kinds::dns_label_1035(name) {
                errors.push(FieldError::invalid(
                    format!("spec.names.{field}[{i}]"),
                    name,
                    problem,
                ));
            }
        }
    }
    let kind = text(names, "/kind");
    if !kind.is_empty() && kind == text(names, "/listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid("spec.names.listKind", kind, detail));
    }
}

fn stored_versions(crd: &Value, errors: &mut Vec<FieldError>) {
    let (listed, stored) = (list(crd, "/spec/versions"), list(crd, "/status/storedVersions"));
    let path = "status.storedVersions";
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        errors.push(FieldError::invalid(path, Value::Null, detail));
        return;
    }
    for version in listed.iter().filter(|v| v["storage"] == true) {
        if !stored.contains(&version["name"]) {
            let detail = format!("must have the storage version {}", text(version, "/name"));
            errors.push(FieldError::invalid(path, stored.to_vec(), detail));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !listed.iter().any(|v| v["name"] == *name) {
            let shown = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {shown} was previously a storage version, and must remain in spec.versions until a storage \
                 migration ensures no data remains persisted in {shown} and removes {shown} from status.storedVersions"
            );
            errors.push(FieldError::invalid(
                format!("{path}[{index}]"),
                name.clone(),
                detail,
            ));
        }
    }
}

fn conversion(conversion: &Value, errors: &mut Vec<FieldError>) {
    let path = "spec.conversion";
    choice(
        &format!("{path}.strategy"),
        text(conversion, "/strategy"),
        &["None", "Webhook"],
        errors,
    );
    let client = conversion.pointer("/webhook/clientConfig");
    let versions = &conversion["webhook"]["conversionReviewVersions"];
    let (client_path, versions_path) = (
        format!("{path}.webhookClientConfig"),
        format!("{path}.conversionReviewVersions"),
    );
    if conversion["strategy"] == "Webhook" {
        match client {
            None => errors.push(FieldError::required(
                client_path,
                "required when strategy is set to Webhook",
            )),
            Some(client) => errors.extend(kinds::client(client, &client_path)),
        }
        errors.extend(kinds::review_versions(versions, &versions_path, ""));
        return;
    }
    let detail = "should not be set when strategy is not set to Webhook";
    if client.is_some() {
        errors.push(FieldError::forbidden(client_path, detail));
    }
    if versions.as_array().is_some_and(|list| !list.is_empty()) {
        errors.push(FieldError::forbidden(versions_path, detail));
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

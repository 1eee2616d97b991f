//! What a custom resource definition must fulfil before it is stored.
//!
//! The real server checks an older form of definitions, in which what all versions share stands once at the top; paths
//! and values in its messages are those of that form.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names::{NameRule, is_dns_subdomain};
use super::resource::Resource;
use crate::kinds;
use crate::schema::FieldError;

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

/// Whether all versions have the same of something, which the older form has once for all.
fn is_shared(versions: &[Value], field: &str) -> bool {
    let first = versions.first().and_then(|v| v.get(field));
    first.is_some() && versions.iter().all(|v| v.get(field) == first)
}

/// Where something of a version stands in the older form.
fn place(versions: &[Value], index: usize, field: &str) -> String {
    match is_shared(versions, field) {
        true => format!("spec.{field}"),
        false => format!("spec.versions[{index}].{field}"),
    }
}

/// The versions as the real server prints them.
fn shown(versions: &[Value]) -> String {
    let show = |v: &Value| {
        let own = |field: &str| match is_shared(versions, field) {
            true => Value::Null,
            false => v.get(field).cloned().unwrap_or_default(),
        };
        let fields = [
            ("Name", v["name"].clone()),
            ("Served", (v["served"] == true).into()),
            ("Storage", (v["storage"] == true).into()),
            ("Deprecated", (v["deprecated"] == true).into()),
            ("DeprecationWarning", v["deprecationWarning"].clone()),
            ("Schema", own("schema")),
            ("Subresources", own("subresources")),
            ("AdditionalPrinterColumns", own("additionalPrinterColumns")),
            ("SelectableFields", own("selectableFields")),
        ];
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name:?}:{value}"))
            .collect();
        format!("{{{}}}", fields.join(","))
    };
    format!("[{}]", versions.iter().map(show).collect::<Vec<_>>().join(","))
}

fn versions(crd: &Value, errors: &mut Vec<FieldError>) {
    let listed = list(crd, "/spec/versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (index, version) in listed.iter().enumerate() {
        let (path, name) = (format!("spec.versions[{index}]"), text(version, "/name"));
        if let Some(problem) = kinds::dns_label_1035(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name,
                problem.as_str(),
            ));
            if index == 0 {
                errors.push(FieldError::invalid("spec.version", name, problem));
            }
        }
        unique &= seen.insert(name);
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            errors.push(FieldError::required(format!("{path}.schema.openAPIV3Schema"), ""));
        }
        deprecation(version, &path, errors);
        let once = |field: &str| index == 0 || !is_shared(listed, field);
        if once("subresources") {
            scale(
                &version["subresources"]["scale"],
                &place(listed, index, "subresources"),
                errors,
            );
        }
        if once("additionalPrinterColumns") {
            columns(version, &place(listed, index, "additionalPrinterColumns"), errors);
        }
        if once("selectableFields") {
            selectable(version, &place(listed, index, "selectableFields"), errors);
        }
    }
    if !unique {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid_struct(
            "spec.versions",
            &shown(listed),
            detail,
        ));
    }
    if listed.iter().filter(|v| v["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid_struct(
            "spec.versions",
            &shown(listed),
            detail,
        ));
    }
}

fn deprecation(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(warning) = version["deprecationWarning"].as_str() else {
        return;
    };
    let path = format!("{path}.deprecationWarning");
    if version["deprecated"] != true {
        let detail = "can only be set for deprecated versions";
        errors.push(FieldError::invalid(path, warning, detail));
        return;
    }
    if warning.len() > 256 {
        errors.push(FieldError::invalid(
            path.as_str(),
            warning,
            "must be <= 256 characters long",
        ));
    }
    if warning.is_empty() {
        errors.push(FieldError::invalid(path, warning, "must not be an empty string"));
    }
}

/// A path in dots below one of `parents`.
fn simple_path(given: &str, path: String, parents: &[&str], detail: &str, errors: &mut Vec<FieldError>) {
    if !given.starts_with('.') {
        let detail = "must be a simple json path starting with .";
        errors.push(FieldError::invalid(path, given, detail));
    } else if !parents.is_empty() && !parents.iter().any(|parent| given.starts_with(parent)) {
        errors.push(FieldError::invalid(path, given, detail));
    }
}

fn scale(scale: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !scale.is_object() {
        return;
    }
    for (field, parent) in [("specReplicasPath", "spec"), ("statusReplicasPath", "status")] {
        let (given, path) = (text(scale, &format!("/{field}")), format!("{path}.scale.{field}"));
        if given.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            let detail = format!("should be a json path under .{parent}");
            simple_path(given, path, &[&format!(".{parent}.")], &detail, errors);
        }
    }
    let given = text(scale, "/labelSelectorPath");
    if !given.is_empty() {
        let detail = "should be a json path under either .spec or .status";
        let path = format!("{path}.scale.labelSelectorPath");
        simple_path(given, path, &[".spec.", ".status."], detail, errors);
    }
}

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

fn columns(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (i, column) in list(version, "/additionalPrinterColumns").iter().enumerate() {
        let path = format!("{path}[{i}]");
        if text(column, "/name").is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        let one_of = |known: &[&str]| format!("must be one of {}", known.join(","));
        let (kind, format) = (text(column, "/type"), text(column, "/format"));
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), one_of(&TYPES)));
        } else if !TYPES.contains(&kind) {
            errors.push(FieldError::invalid(format!("{path}.type"), kind, one_of(&TYPES)));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            errors.push(FieldError::invalid(
                format!("{path}.format"),
                format,
                one_of(&FORMATS),
            ));
        }
        let given = text(column, "/jsonPath");
        if given.is_empty() {
            errors.push(FieldError::required(format!("{path}.JSONPath"), ""));
        } else {
            simple_path(given, format!("{path}.JSONPath"), &[], "", errors);
        }
    }
}

/// Selectable fields a definition may have.
const MAX_SELECTABLE: usize = 8;

fn selectable(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (i, field) in list(version, "/selectableFields").iter().enumerate() {
        let (given, path) = (text(field, "/jsonPath"), format!("{path}[{i}].jsonPath"));
        if given.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let steps: Vec<&str> = given.trim_start_matches('.').split('.').collect();
        let root = version.pointer("/schema/openAPIV3Schema");
        let found = steps.iter().try_fold(root, |schema, step| {
            schema.and_then(|s| s["properties"].get(*step)).map(Some)
        });
        let Some(Some(schema)) = found.filter(|_| given.starts_with('.')) else {
            let detail = "is an invalid path: does not refer to a valid field";
            errors.push(FieldError::invalid(path, given, detail));
            continue;
        };
        if steps.first() == Some(&"metadata") {
            let detail = "must not point to fields in metadata";
            errors.push(FieldError::invalid(path.as_str(), given, detail));
        }
        if !matches!(text(schema, "/type"), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(path.as_str(), given, detail));
        }
        if !seen.insert(given) {
            errors.push(FieldError::duplicate(path, given));
        }
    }
    if seen.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(
            path,
            seen.len() as i64,
            MAX_SELECTABLE as i64,
        ));
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

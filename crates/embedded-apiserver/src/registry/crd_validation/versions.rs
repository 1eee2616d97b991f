//! Checks of the versions of a definition: names, deprecation, scale, columns, selectable fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{list, text};
use crate::kinds;
use crate::schema::FieldError;

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

/// Checks the versions of a definition.
pub(super) fn versions(crd: &Value, errors: &mut Vec<FieldError>) {
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

//! From a custom resource definition to a served resource, and the definition's own status.

use serde_json::{Value, json};

use super::names::compare_versions;
use super::{Conversion, Origin, Registry, Resource, ScalePaths, Version};
use crate::cel::Rules;
use crate::fieldmanager::TypeSchema;
use crate::schema::{FieldError, Structural};
use crate::storage::GroupResource;
use crate::table::Columns;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The resource that a definition describes.
pub(crate) fn gr(crd: &Value) -> GroupResource {
    GroupResource::new(text(crd, "/spec/group"), text(crd, "/spec/names/plural"))
}

/// Fills in what a definition may leave out.
pub(crate) fn default(crd: &mut Value) {
    let kind = text(crd, "/spec/names/kind").to_owned();
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let list_kind = if kind.is_empty() {
            String::new()
        } else {
            format!("{kind}List")
        };
        for (field, default) in [("singular", kind.to_lowercase()), ("listKind", list_kind)] {
            if !default.is_empty()
                && names
                    .get(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .is_empty()
            {
                names.insert(field.to_owned(), default.into());
            }
        }
    }
    let conversion = spec
        .entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
    if let Some(service) = conversion
        .pointer_mut("/webhook/clientConfig/service")
        .and_then(Value::as_object_mut)
    {
        service.entry("port").or_insert_with(|| 443.into());
    }
}

fn condition(kind: &str, status: bool, reason: &str, message: &str, now: &str) -> Value {
    json!({
        "type": kind, "status": if status { "True" } else { "False" }, "lastTransitionTime": now,
        "reason": reason, "message": message,
    })
}

fn put_condition(conditions: &mut Vec<Value>, new: Value) {
    match conditions.iter_mut().find(|c| c["type"] == new["type"]) {
        Some(old) if old["status"] == new["status"] && old["reason"] == new["reason"] => {}
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Names that another resource of the group has already: the message, if there are any.
fn name_conflict(registry: &Registry, crd: &Value) -> Option<(String, String)> {
    let gr = gr(crd);
    let others: Vec<_> = registry
        .all()
        .filter(|r| r.gr.group == gr.group && r.gr != gr)
        .collect();
    let names = &crd["spec"]["names"];
    let short_names = strings(&names["shortNames"]);
    for other in others {
        let taken = |name: &str| {
            other.singular == name
                || *other.gr.resource == *name
                || other.short_names.iter().any(|s| s == name)
        };
        if taken(text(names, "/plural")) {
            return Some((
                "PluralConflict".into(),
                format!("{:?} is already in use", text(names, "/plural")),
            ));
        }
        if taken(text(names, "/singular")) {
            return Some((
                "SingularConflict".into(),
                format!("{:?} is already in use", text(names, "/singular")),
            ));
        }
        if let Some(short) = short_names.iter().find(|s| taken(s)) {
            return Some((
                "ShortNamesConflict".into(),
                format!("{short:?} is already in use"),
            ));
        }
        let kind = text(names, "/kind");
        if other.kind == kind || other.list_kind == kind {
            return Some(("KindConflict".into(), format!("{kind:?} is already in use")));
        }
    }
    None
}

/// The status of a definition: names accepted, established, stored versions.
pub(crate) fn update_status(registry: &Registry, crd: &mut Value, now: &str) {
    let conflict = name_conflict(registry, crd);
    let storage_version = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true);
    let storage_version = storage_version.map(|v| v["name"].clone()).unwrap_or_default();
    let names = crd["spec"]["names"].clone();
    let mut status = crd["status"].as_object().cloned().unwrap_or_default();
    let mut conditions = status
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    match &conflict {
        None => {
            status.insert("acceptedNames".into(), names);
            put_condition(
                &mut conditions,
                condition("NamesAccepted", true, "NoConflicts", "no conflicts found", now),
            );
            put_condition(
                &mut conditions,
                condition(
                    "Established",
                    true,
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                    now,
                ),
            );
        }
        Some((reason, message)) => {
            status
                .entry("acceptedNames")
                .or_insert_with(|| json!({"plural": "", "kind": ""}));
            put_condition(
                &mut conditions,
                condition("NamesAccepted", false, reason, message, now),
            );
            if !conditions
                .iter()
                .any(|c| c["type"] == "Established" && c["status"] == "True")
            {
                put_condition(
                    &mut conditions,
                    condition(
                        "Established",
                        false,
                        "NotAccepted",
                        "not all names are accepted",
                        now,
                    ),
                );
            }
        }
    }
    status.insert("conditions".into(), conditions.into());
    let mut stored = status
        .get("storedVersions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if storage_version.is_string() && !stored.contains(&storage_version) {
        stored.push(storage_version);
    }
    status.insert("storedVersions".into(), stored.into());
    crd["status"] = Value::Object(status);
}

/// The status of a definition that nobody looked at yet.
pub(crate) fn plan_status(crd: &mut Value) {
    let listed = crd["spec"]["versions"].as_array();
    let stored: Vec<Value> = listed
        .into_iter()
        .flatten()
        .filter(|v| v["storage"] == true)
        .take(1)
        .map(|v| v["name"].clone())
        .collect();
    crd["status"] =
        json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
}

/// Whether the definition's resource is served.
pub(crate) fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True")
}

fn scale(value: &Value) -> Option<ScalePaths> {
    let scale = value.get("scale")?;
    let path = |field: &str| scale[field].as_str().map(str::to_owned);
    Some(ScalePaths {
        spec: path("specReplicasPath")?,
        status: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

fn version(
    gr: &GroupResource,
    kind: &str,
    value: &Value,
    path: &str,
    schema_path: &str,
) -> Result<Version, Vec<FieldError>> {
    let name = text(value, "/name").to_owned();
    let prefix = |at: &str, errors: Vec<FieldError>| -> Vec<FieldError> {
        errors
            .into_iter()
            .map(|e| FieldError {
                path: if e.path.is_empty() {
                    at.to_owned()
                } else {
                    format!("{at}.{}", e.path)
                },
                ..e
            })
            .collect()
    };
    let schema = value
        .pointer("/schema/openAPIV3Schema")
        .map(Structural::compile)
        .transpose();
    let schema = schema.map_err(|errors| prefix(schema_path, errors))?;
    let rules = schema
        .as_ref()
        .map(|schema| Rules::compile_at(schema, schema_path))
        .transpose()?;
    let columns = Columns::custom(value.get("additionalPrinterColumns").unwrap_or(&Value::Null));
    let selectable = value["selectableFields"].as_array().into_iter().flatten();
    let deprecation = (value["deprecated"] == true).then(|| match value["deprecationWarning"].as_str() {
        Some(warning) => warning.to_owned(),
        None => format!("{}/{name} {kind} is deprecated", gr.group),
    });
    Ok(Version {
        served: value["served"] == true,
        deprecation,
        status: value.pointer("/subresources/status").is_some(),
        scale: value.get("subresources").and_then(scale),
        types: schema
            .as_ref()
            .map_or_else(TypeSchema::deduced, TypeSchema::custom),
        schema,
        rules,
        columns: columns.map_err(|errors| prefix(path, errors))?,
        selectable: selectable
            .map(|f| text(f, "/jsonPath").trim_start_matches('.').to_owned())
            .collect(),
        name,
    })
}

/// Builds the served resource of a definition; the errors are those of its schemas and columns.
pub(crate) fn resource(crd: &Value) -> Result<Resource, Vec<FieldError>> {
    let (gr, names) = (gr(crd), &crd["spec"]["names"]);
    let kind = text(names, "/kind").to_owned();
    let listed = crd["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let (mut versions, mut errors) = (Vec::new(), Vec::new());
    // Schemas that are the same in all versions are told about once, where the old form of definitions had them.
    let schema_of = |v: &Value| v.pointer("/schema/openAPIV3Schema").cloned();
    let shared = listed
        .windows(2)
        .all(|pair| schema_of(&pair[0]) == schema_of(&pair[1]));
    for (index, value) in listed.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let schema_path = match shared {
            true => "spec.validation.openAPIV3Schema".to_owned(),
            false => format!("{path}.schema.openAPIV3Schema"),
        };
        match version(&gr, &kind, value, &path, &schema_path) {
            Ok(version) => versions.push(version),
            Err(found) => errors.extend(
                found
                    .into_iter()
                    .filter(|e| !errors.contains(e))
                    .collect::<Vec<_>>(),
            ),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    versions.sort_by(|a, b| compare_versions(&b.name, &a.name));
    let storage = listed
        .iter()
        .find(|v| v["storage"] == true)
        .map(|v| text(v, "/name").to_owned());
    let conversion = match text(crd, "/spec/conversion/strategy") {
        "Webhook" => Conversion::Webhook(crd["spec"]["conversion"]["webhook"].clone()),
        _ => Conversion::None,
    };
    Ok(Resource {
        store: gr.clone(),
        list_kind: text(names, "/listKind").to_owned(),
        singular: text(names, "/singular").to_owned(),
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        namespaced: text(crd, "/spec/scope") == "Namespaced",
        versions,
        storage_version: storage.unwrap_or_default(),
        origin: Origin::Custom {
            conversion,
            preserve_unknown: crd["spec"]["preserveUnknownFields"] == true,
        },
        generation: crd
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0),
        since: text(crd, "/metadata/resourceVersion").parse().unwrap_or(0),
        kind,
        gr,
    })
}

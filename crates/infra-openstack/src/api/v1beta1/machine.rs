//! Machines and their templates between the versions.

use serde_json::{Value, json};

use super::{Fields, fields, invert, items, status};

pub fn to_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec") {
        spec_to_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        status::to_hub(status);
        resolved(status, "disablePortSecurity", "enablePortSecurity");
    }
    Ok(object)
}

pub fn from_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec") {
        spec_from_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        if status::from_hub(status) {
            status.insert("ready".to_owned(), true.into());
        }
        resolved(status, "enablePortSecurity", "disablePortSecurity");
    }
    Ok(object)
}

pub fn template_to_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec.template.spec") {
        spec_to_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        status::conditions_to_hub(status);
    }
    Ok(object)
}

pub fn template_from_hub(mut object: Value) -> Result<Value, String> {
    if let Some(spec) = fields(&mut object, "spec.template.spec") {
        spec_from_hub(spec);
    }
    if let Some(status) = fields(&mut object, "status") {
        status::conditions_from_hub(status);
    }
    Ok(object)
}

/// The spec of a machine, a template or a bastion. An id says more than a name.
pub(super) fn spec_to_hub(spec: &mut Fields) {
    let (name, id) = (spec.remove("flavor"), spec.remove("flavorID"));
    let id = id.filter(|id| *id != "");
    let flavor = match (id, name) {
        (Some(id), _) => Some(json!({ "id": id })),
        (None, name) => name.map(|name| json!({ "filter": { "name": name } })),
    };
    spec.extend(flavor.map(|flavor| ("flavor".to_owned(), flavor)));
    for port in items(spec, "ports") {
        invert(port, "disablePortSecurity", "enablePortSecurity");
    }
}

pub(super) fn spec_from_hub(spec: &mut Fields) {
    if let Some(mut flavor) = spec.remove("flavor") {
        let id = flavor.get_mut("id").map(Value::take);
        let name = flavor
            .get_mut("filter")
            .and_then(|filter| filter.get_mut("name"))
            .map(Value::take);
        match (id, name) {
            (Some(id), _) => spec.insert("flavorID".to_owned(), id),
            (None, Some(name)) => spec.insert("flavor".to_owned(), name),
            (None, None) => None,
        };
    }
    for port in items(spec, "ports") {
        invert(port, "enablePortSecurity", "disablePortSecurity");
    }
}

/// What a spec was resolved to. The older version demands a description of each port.
pub(super) fn resolved(status: &mut Fields, from: &str, to: &str) {
    let Some(resolved) = status.get_mut("resolved").and_then(Value::as_object_mut) else {
        return;
    };
    for port in items(resolved, "ports") {
        invert(port, from, to);
        match to {
            "disablePortSecurity" => drop(port.entry("description").or_insert_with(|| "".into())),
            _ if port.get("description").is_some_and(|text| text == "") => drop(port.remove("description")),
            _ => {}
        }
    }
}

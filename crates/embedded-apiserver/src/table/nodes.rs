//! The columns of nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Column;
use super::cells::{age, at, list_at, or, str_at, text, wide};

pub(super) fn node_columns() -> Vec<Column> {
    vec![
        text("Status", |o, _| node_status(o).into()),
        text("Roles", |o, _| node_roles(o).into()),
        age("string"),
        text("Version", |o, _| {
            str_at(o, &["status", "nodeInfo", "kubeletVersion"]).into()
        }),
        wide("Internal-IP", |o, _| node_address(o, "InternalIP").into()),
        wide("External-IP", |o, _| node_address(o, "ExternalIP").into()),
        wide("OS-Image", |o, _| {
            or(str_at(o, &["status", "nodeInfo", "osImage"]), "<unknown>").into()
        }),
        wide("Kernel-Version", |o, _| {
            let kernel = or(str_at(o, &["status", "nodeInfo", "kernelVersion"]), "<unknown>");
            match str_at(o, &["status", "nodeInfo", "architecture"]) {
                "" => kernel.into(),
                architecture => format!("{kernel} ({architecture})").into(),
            }
        }),
        wide("Container-Runtime", |o, _| {
            or(
                str_at(o, &["status", "nodeInfo", "containerRuntimeVersion"]),
                "<unknown>",
            )
            .into()
        }),
    ]
}

fn node_status(node: &Value) -> String {
    let ready = list_at(node, &["status", "conditions"])
        .iter()
        .rfind(|c| str_at(c, &["type"]) == "Ready");
    let mut status = match ready.map(|condition| str_at(condition, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(node, &["spec", "unschedulable"]).and_then(Value::as_bool) == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in at(node, &["metadata", "labels"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(role) = key
            .strip_prefix("node-role.kubernetes.io/")
            .filter(|role| !role.is_empty())
        {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|role| !role.is_empty()));
        }
    }
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.into_iter().collect::<Vec<_>>().join(",")
    }
}

fn node_address<'a>(node: &'a Value, type_: &str) -> &'a str {
    list_at(node, &["status", "addresses"])
        .iter()
        .find(|address| str_at(address, &["type"]) == type_)
        .map_or("<none>", |address| str_at(address, &["address"]))
}

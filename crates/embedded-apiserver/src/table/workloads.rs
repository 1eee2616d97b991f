//! The columns of the `apps` group and of jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::Column;
use super::cells::{
    Rule, TEMPLATE, age, at, containers, int_at, integer, labels_text, list_at, selector_cell, selector_text,
    str_at, text, wide,
};

pub(super) fn workload_columns(mut columns: Vec<Column>, kind: &str) -> Vec<Column> {
    let images = || {
        [
            wide("Containers", |o, _| containers(o, &TEMPLATE, "name")),
            wide("Images", |o, _| containers(o, &TEMPLATE, "image")),
        ]
    };
    let ready: Rule = |o, _| {
        let desired = at(o, &["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(1);
        format!("{}/{desired}", int_at(o, &["status", "readyReplicas"])).into()
    };
    let selector = || wide("Selector", |o, _| selector_cell(o, &["spec", "selector"]));
    match kind {
        "Deployment" => {
            columns.extend([
                text("Ready", ready),
                text("Up-to-date", |o, _| {
                    int_at(o, &["status", "updatedReplicas"]).into()
                }),
                text("Available", |o, _| {
                    int_at(o, &["status", "availableReplicas"]).into()
                }),
                age("string"),
            ]);
            columns.extend(images());
            columns.push(wide("Selector", |o, _| {
                selector_text(at(o, &["spec", "selector"]))
                    .unwrap_or_else(|| "<invalid>".to_owned())
                    .into()
            }));
        }
        "ReplicaSet" => {
            columns.extend([
                integer("Desired", |o, _| {
                    at(o, &["spec", "replicas"])
                        .and_then(Value::as_i64)
                        .unwrap_or(1)
                        .into()
                }),
                integer("Current", |o, _| int_at(o, &["status", "replicas"]).into()),
                integer("Ready", |o, _| int_at(o, &["status", "readyReplicas"]).into()),
                age("string"),
            ]);
            columns.extend(images());
            columns.push(selector());
        }
        "StatefulSet" => {
            columns.extend([text("Ready", ready), age("string")]);
            columns.extend(images());
        }
        "DaemonSet" => {
            columns.extend([
                integer("Desired", |o, _| {
                    int_at(o, &["status", "desiredNumberScheduled"]).into()
                }),
                integer("Current", |o, _| {
                    int_at(o, &["status", "currentNumberScheduled"]).into()
                }),
                integer("Ready", |o, _| int_at(o, &["status", "numberReady"]).into()),
                integer("Up-to-date", |o, _| {
                    int_at(o, &["status", "updatedNumberScheduled"]).into()
                }),
                integer("Available", |o, _| {
                    int_at(o, &["status", "numberAvailable"]).into()
                }),
                text("Node Selector", |o, _| {
                    labels_text(at(o, &["spec", "template", "spec", "nodeSelector"])).into()
                }),
                age("string"),
            ]);
            columns.extend(images());
            columns.push(selector());
        }
        "ControllerRevision" => columns.extend([
            text("Controller", |o, _| {
                let owners = list_at(o, &["metadata", "ownerReferences"]);
                let controller = owners
                    .iter()
                    .find(|r| r.get("controller").and_then(Value::as_bool) == Some(true));
                controller.map_or_else(
                    || "<none>".into(),
                    |r| {
                        let group = str_at(r, &["apiVersion"])
                            .split_once('/')
                            .map_or("", |(group, _)| group);
                        let kind = str_at(r, &["kind"]).to_lowercase();
                        let dot = if group.is_empty() { "" } else { "." };
                        format!("{kind}{dot}{group}/{}", str_at(r, &["name"])).into()
                    },
                )
            }),
            text("Revision", |o, _| int_at(o, &["revision"]).into()),
            age("string"),
        ]),
        _ => columns.push(age("string")),
    }
    columns
}

pub(super) fn job_columns() -> Vec<Column> {
    vec![
        text("Status", |o, _| job_status(o).into()),
        text("Completions", |o, _| {
            let done = int_at(o, &["status", "succeeded"]);
            match at(o, &["spec", "completions"]).and_then(Value::as_i64) {
                Some(wanted) => format!("{done}/{wanted}").into(),
                None => match int_at(o, &["spec", "parallelism"]) {
                    parallel if parallel > 1 => format!("{done}/1 of {parallel}").into(),
                    _ => format!("{done}/1").into(),
                },
            }
        }),
        text("Duration", |o, now| {
            let time = |field: &str| str_at(o, &["status", field]).parse::<Timestamp>().ok();
            match time("startTime") {
                None => "".into(),
                Some(start) => super::human_age(start, time("completionTime").unwrap_or(now)).into(),
            }
        }),
        age("string"),
        wide("Containers", |o, _| containers(o, &TEMPLATE, "name")),
        wide("Images", |o, _| containers(o, &TEMPLATE, "image")),
        wide("Selector", |o, _| selector_cell(o, &["spec", "selector"])),
    ]
}

fn job_status(job: &Value) -> &'static str {
    let has = |type_: &str| {
        list_at(job, &["status", "conditions"])
            .iter()
            .any(|c| str_at(c, &["type"]) == type_ && str_at(c, &["status"]) == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if at(job, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

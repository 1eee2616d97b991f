//! Which columns a built-in kind has; those of several lines of code are in rooms of their own.

use serde_json::Value;

use super::Column;
use super::cells::{age, at, column, count_at, int_at, integer, list_at, name, or, str_at, text, wide};
use super::events::event_columns;
use super::nodes::node_columns;
use super::pods::pod_columns;
use super::services::{endpoints, service_columns, slice_endpoints, slice_ports};
use super::volumes::{claim_columns, class_columns, volume_columns};
use super::workloads::{job_columns, workload_columns};

/// The columns of a kind.
pub(super) fn columns(group: &str, kind: &str) -> Vec<Column> {
    let mut columns = vec![name()];
    match (group, kind) {
        ("", "Pod") => columns.extend(pod_columns()),
        ("", "Node") => columns.extend(node_columns()),
        ("", "Service") => columns.extend(service_columns()),
        ("" | "events.k8s.io", "Event") => return event_columns(),
        ("apps", _) => return workload_columns(columns, kind),
        ("batch", "Job") => columns.extend(job_columns()),
        ("", "Namespace") => {
            columns.extend([
                text("Status", |o, _| str_at(o, &["status", "phase"]).into()),
                age("string"),
            ]);
        }
        ("", "Secret") => columns.extend([
            text("Type", |o, _| str_at(o, &["type"]).into()),
            text("Data", |o, _| count_at(o, &["data"]).into()),
            age("string"),
        ]),
        ("", "ConfigMap") => columns.extend([
            text("Data", |o, _| {
                (count_at(o, &["data"]) + count_at(o, &["binaryData"])).into()
            }),
            age("string"),
        ]),
        ("", "ServiceAccount") => columns.push(age("string")),
        ("", "Endpoints") => columns.extend([text("Endpoints", |o, _| endpoints(o).into()), age("string")]),
        ("discovery.k8s.io", "EndpointSlice") => columns.extend([
            text("AddressType", |o, _| str_at(o, &["addressType"]).into()),
            text("Ports", |o, _| slice_ports(o).into()),
            text("Endpoints", |o, _| slice_endpoints(o).into()),
            age("string"),
        ]),
        ("coordination.k8s.io", "Lease") => columns.extend([
            text("Holder", |o, _| str_at(o, &["spec", "holderIdentity"]).into()),
            age("string"),
        ]),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => columns.extend([
            text("Role", |o, _| {
                format!(
                    "{}/{}",
                    str_at(o, &["roleRef", "kind"]),
                    str_at(o, &["roleRef", "name"])
                )
                .into()
            }),
            age("string"),
            wide("Users", |o, _| subjects(o, "User").into()),
            wide("Groups", |o, _| subjects(o, "Group").into()),
            wide("ServiceAccounts", |o, _| subjects(o, "ServiceAccount").into()),
        ]),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            columns.extend([
                integer("Webhooks", |o, _| count_at(o, &["webhooks"]).into()),
                age("string"),
            ]);
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => columns.extend(csr_columns()),
        ("policy", "PodDisruptionBudget") => columns.extend([
            text("Min Available", |o, _| {
                int_or_string(o, &["spec", "minAvailable"])
            }),
            text("Max Unavailable", |o, _| {
                int_or_string(o, &["spec", "maxUnavailable"])
            }),
            integer("Allowed Disruptions", |o, _| {
                int_at(o, &["status", "disruptionsAllowed"]).into()
            }),
            age("string"),
        ]),
        ("apiregistration.k8s.io", "APIService") => columns.extend([
            text("Service", |o, _| api_service_backend(o).into()),
            text("Available", |o, _| api_service_available(o).into()),
            age("string"),
        ]),
        ("scheduling.k8s.io", "PriorityClass") => columns.extend([
            integer("Value", |o, _| int_at(o, &["value"]).into()),
            column("Global-Default", "boolean", 0, |o, _| {
                at(o, &["globalDefault"])
                    .and_then(Value::as_bool)
                    .unwrap_or_default()
                    .into()
            }),
            age("string"),
            text("PreemptionPolicy", |o, _| str_at(o, &["preemptionPolicy"]).into()),
        ]),
        ("storage.k8s.io", "StorageClass") => columns.extend(class_columns()),
        ("", "PersistentVolume") => columns.extend(volume_columns()),
        ("", "PersistentVolumeClaim") => columns.extend(claim_columns()),
        ("storage.k8s.io", "VolumeAttachment") => columns.extend([
            text("Attacher", |o, _| str_at(o, &["spec", "attacher"]).into()),
            text("PV", |o, _| {
                str_at(o, &["spec", "source", "persistentVolumeName"]).into()
            }),
            text("Node", |o, _| str_at(o, &["spec", "nodeName"]).into()),
            text("Attached", |o, _| {
                let attached = at(o, &["status", "attached"]).and_then(Value::as_bool);
                attached.unwrap_or_default().to_string().into()
            }),
            age("string"),
        ]),
        _ => columns.push(column("Created At", "date", 0, |o, _| {
            str_at(o, &["metadata", "creationTimestamp"]).into()
        })),
    }
    columns
}

fn csr_columns() -> Vec<Column> {
    vec![
        age("string"),
        text("SignerName", |o, _| {
            or(str_at(o, &["spec", "signerName"]), "<none>").into()
        }),
        text("Requestor", |o, _| str_at(o, &["spec", "username"]).into()),
        text("RequestedDuration", |o, _| {
            match at(o, &["spec", "expirationSeconds"]).and_then(Value::as_i64) {
                Some(seconds) => super::human_duration(i128::from(seconds)).into(),
                None => "<none>".into(),
            }
        }),
        text("Condition", |o, _| {
            let has = |type_: &str| {
                list_at(o, &["status", "conditions"])
                    .iter()
                    .any(|c| str_at(c, &["type"]) == type_)
            };
            let mut status = match (has("Denied"), has("Approved")) {
                (true, _) => "Denied",
                (_, true) => "Approved",
                _ => "Pending",
            }
            .to_owned();
            if has("Failed") {
                status.push_str(",Failed");
            }
            if !str_at(o, &["status", "certificate"]).is_empty() {
                status.push_str(",Issued");
            }
            status.into()
        }),
    ]
}

fn int_or_string(object: &Value, path: &[&str]) -> Value {
    match at(object, path) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Number(n)) => n.to_string().into(),
        _ => "N/A".into(),
    }
}

fn subjects(binding: &Value, kind: &str) -> String {
    let names: Vec<String> = list_at(binding, &["subjects"])
        .iter()
        .filter(|subject| str_at(subject, &["kind"]) == kind)
        .map(|subject| {
            let name = str_at(subject, &["name"]);
            if kind == "ServiceAccount" {
                format!("{}/{name}", str_at(subject, &["namespace"]))
            } else {
                name.to_owned()
            }
        })
        .collect();
    names.join(", ")
}

fn api_service_backend(service: &Value) -> String {
    match at(service, &["spec", "service"]) {
        Some(backend) => format!(
            "{}/{}",
            str_at(backend, &["namespace"]),
            str_at(backend, &["name"])
        ),
        None => "Local".to_owned(),
    }
}

fn api_service_available(service: &Value) -> String {
    let conditions = list_at(service, &["status", "conditions"]);
    match conditions.iter().find(|c| str_at(c, &["type"]) == "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => match (str_at(condition, &["status"]), str_at(condition, &["reason"])) {
            ("True", _) => "True".to_owned(),
            (status, "") => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    }
}

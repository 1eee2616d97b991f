//! The columns of built-in kinds.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Cell, Column, age, pods};

type Rule = fn(&Value, Timestamp) -> Value;

pub(super) fn name() -> Column {
    Column {
        name: "Name".to_owned(),
        type_: "string".to_owned(),
        format: "name".to_owned(),
        description: "Name of the object, unique in its namespace".to_owned(),
        priority: 0,
        cell: Cell::Rule(|o, _| str_at(o, &["metadata", "name"]).into()),
    }
}

pub(super) fn age(type_: &str) -> Column {
    column("Age", type_, 0, |o, now| {
        age_at(o, &["metadata", "creationTimestamp"], now)
    })
}

fn column(name: &str, type_: &str, priority: i64, rule: Rule) -> Column {
    Column {
        name: name.to_owned(),
        type_: type_.to_owned(),
        format: String::new(),
        description: String::new(),
        priority,
        cell: Cell::Rule(rule),
    }
}

fn text(name: &str, rule: Rule) -> Column {
    column(name, "string", 0, rule)
}

fn wide(name: &str, rule: Rule) -> Column {
    column(name, "string", 1, rule)
}

fn integer(name: &str, rule: Rule) -> Column {
    column(name, "integer", 0, rule)
}

// Reading objects.

pub(super) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, key| value.get(key))
        .filter(|value| !value.is_null())
}

pub(super) fn str_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn int_at(object: &Value, path: &[&str]) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn list_at<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn count_at(object: &Value, path: &[&str]) -> i64 {
    match at(object, path) {
        Some(Value::Object(map)) => map.len() as i64,
        Some(Value::Array(list)) => list.len() as i64,
        _ => 0,
    }
}

pub(super) fn age_at(object: &Value, path: &[&str], now: Timestamp) -> Value {
    age::cell(at(object, path).and_then(Value::as_str), now).into()
}

pub(super) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn containers(object: &Value, spec: &[&str], field: &str) -> Value {
    let path: Vec<&str> = spec.iter().copied().chain(["containers"]).collect();
    let names: Vec<&str> = list_at(object, &path)
        .iter()
        .map(|c| str_at(c, &[field]))
        .collect();
    names.join(",").into()
}

const TEMPLATE: [&str; 3] = ["spec", "template", "spec"];

fn labels_text(labels: Option<&Value>) -> String {
    let pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// A `metav1.LabelSelector` as one line; None when it is malformed.
fn selector_text(selector: Option<&Value>) -> Option<String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let labels = selector
        .and_then(|s| s.get("matchLabels"))
        .and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        parts.push((
            key.clone(),
            format!("{key}={}", value.as_str().unwrap_or_default()),
        ));
    }
    let expressions = selector
        .and_then(|s| s.get("matchExpressions"))
        .and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = str_at(expression, &["key"]).to_owned();
        let values: BTreeSet<&str> = list_at(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let values = values.into_iter().collect::<Vec<_>>().join(",");
        let shown = match str_at(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        parts.push((key, shown));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    Some(
        parts
            .into_iter()
            .map(|(_, shown)| shown)
            .collect::<Vec<_>>()
            .join(","),
    )
}

fn selector_cell(object: &Value, path: &[&str]) -> Value {
    match selector_text(at(object, path)) {
        None => "<error>".into(),
        Some(text) => or(&text, "<none>").into(),
    }
}

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
            wide("PreemptionPolicy", |o, _| str_at(o, &["preemptionPolicy"]).into()),
        ]),
        _ => columns.push(column("Created At", "date", 0, |o, _| {
            str_at(o, &["metadata", "creationTimestamp"]).into()
        })),
    }
    columns
}

fn pod_columns() -> Vec<Column> {
    vec![
        text("Ready", |o, now| pods::summary(o, now).ready.into()),
        text("Status", |o, now| pods::summary(o, now).status.into()),
        text("Restarts", |o, now| pods::summary(o, now).restarts.into()),
        age("string"),
        wide("IP", |o, _| {
            let first = list_at(o, &["status", "podIPs"])
                .first()
                .map(|ip| str_at(ip, &["ip"]));
            or(first.unwrap_or_default(), "<none>").into()
        }),
        wide("Node", |o, _| {
            or(str_at(o, &["spec", "nodeName"]), "<none>").into()
        }),
        wide("Nominated Node", |o, _| {
            or(str_at(o, &["status", "nominatedNodeName"]), "<none>").into()
        }),
        wide("Readiness Gates", |o, _| pods::readiness_gates(o).into()),
    ]
}

fn node_columns() -> Vec<Column> {
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

fn service_columns() -> Vec<Column> {
    vec![
        text("Type", |o, _| str_at(o, &["spec", "type"]).into()),
        text("Cluster-IP", |o, _| {
            let first = list_at(o, &["spec", "clusterIPs"])
                .first()
                .and_then(Value::as_str);
            first
                .unwrap_or_else(|| or(str_at(o, &["spec", "clusterIP"]), "<none>"))
                .into()
        }),
        text("External-IP", |o, _| external_ip(o).into()),
        text("Port(s)", |o, _| service_ports(o).into()),
        age("string"),
        wide("Selector", |o, _| {
            labels_text(at(o, &["spec", "selector"])).into()
        }),
    ]
}

fn external_ip(service: &Value) -> String {
    let external: Vec<&str> = list_at(service, &["spec", "externalIPs"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match str_at(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress: BTreeSet<&str> = list_at(service, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(|i| or(str_at(i, &["ip"]), str_at(i, &["hostname"])))
                .filter(|address| !address.is_empty())
                .collect();
            let all: Vec<&str> = ingress.into_iter().chain(external).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => str_at(service, &["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn service_ports(service: &Value) -> String {
    let ports: Vec<String> = list_at(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (number, node, protocol) = (
                int_at(port, &["port"]),
                int_at(port, &["nodePort"]),
                str_at(port, &["protocol"]),
            );
            if node > 0 {
                format!("{number}:{node}/{protocol}")
            } else {
                format!("{number}/{protocol}")
            }
        })
        .collect();
    if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    }
}

fn event_columns() -> Vec<Column> {
    let mut last = column("Name", "string", 1, |o, _| {
        str_at(o, &["metadata", "name"]).into()
    });
    last.format = "name".to_owned();
    vec![
        text("Last Seen", event_last_seen),
        text("Type", |o, _| str_at(o, &["type"]).into()),
        text("Reason", |o, _| str_at(o, &["reason"]).into()),
        text("Object", |o, _| {
            let about = event_about(o);
            let kind = str_at(about, &["kind"]).to_lowercase();
            match str_at(about, &["name"]) {
                "" => kind.into(),
                name => format!("{kind}/{name}").into(),
            }
        }),
        wide("Subobject", |o, _| str_at(event_about(o), &["fieldPath"]).into()),
        wide("Source", |o, _| {
            let source = at(o, &["source"])
                .or_else(|| at(o, &["deprecatedSource"]))
                .unwrap_or(&Value::Null);
            let reporting = or(
                str_at(o, &["reportingComponent"]),
                str_at(o, &["reportingController"]),
            );
            let component = or(str_at(source, &["component"]), reporting);
            match or(str_at(source, &["host"]), str_at(o, &["reportingInstance"])) {
                "" => component.into(),
                instance => format!("{component}, {instance}").into(),
            }
        }),
        text("Message", |o, _| {
            or(str_at(o, &["message"]), str_at(o, &["note"])).trim().into()
        }),
        wide("First Seen", event_first_seen),
        wide("Count", |o, _| {
            let series = at(o, &["series"]).map(|series| int_at(series, &["count"]));
            let plain = int_at(o, &["count"]).max(int_at(o, &["deprecatedCount"]));
            series.unwrap_or(plain.max(1)).into()
        }),
        last,
    ]
}

fn event_about(event: &Value) -> &Value {
    at(event, &["involvedObject"])
        .or_else(|| at(event, &["regarding"]))
        .unwrap_or(&Value::Null)
}

/// The first of some times that is set.
fn first_time<'a>(event: &'a Value, fields: &[&str]) -> Option<&'a str> {
    fields
        .iter()
        .map(|field| str_at(event, &[field]))
        .find(|time| !time.is_empty())
}

fn event_first_seen(event: &Value, now: Timestamp) -> Value {
    age::cell(
        first_time(
            event,
            &["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"],
        ),
        now,
    )
    .into()
}

fn event_last_seen(event: &Value, now: Timestamp) -> Value {
    if let Some(series) = at(event, &["series"]) {
        return age_at(series, &["lastObservedTime"], now);
    }
    match first_time(event, &["lastTimestamp", "deprecatedLastTimestamp"]) {
        Some(time) => age::cell(Some(time), now).into(),
        None => event_first_seen(event, now),
    }
}

fn workload_columns(mut columns: Vec<Column>, kind: &str) -> Vec<Column> {
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

fn job_columns() -> Vec<Column> {
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

/// At most three entries, and how many more there are.
fn first_three(all: &[String]) -> String {
    const MOST: usize = 3;
    match all.len() {
        0 => "<none>".to_owned(),
        n if n > MOST => format!("{} + {} more...", all[..MOST].join(","), n - MOST),
        _ => all.join(","),
    }
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list_at(object, &["subsets"]) {
        let addresses: Vec<&str> = list_at(subset, &["addresses"])
            .iter()
            .map(|a| str_at(a, &["ip"]))
            .collect();
        let ports = list_at(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            let number = int_at(port, &["port"]);
            all.extend(addresses.iter().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                }
            }));
        }
    }
    if all.is_empty() && !list_at(object, &["subsets"]).is_empty() {
        String::new()
    } else {
        first_three(&all)
    }
}

fn slice_ports(slice: &Value) -> String {
    let ports: Vec<String> = list_at(slice, &["ports"])
        .iter()
        .map(|port| match (at(port, &["port"]), at(port, &["name"])) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.as_str().unwrap_or_default().to_owned(),
            (None, None) => "*".to_owned(),
        })
        .collect();
    if ports.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&ports)
    }
}

fn slice_endpoints(slice: &Value) -> String {
    let addresses: Vec<String> = list_at(slice, &["endpoints"])
        .iter()
        .flat_map(|endpoint| list_at(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    if addresses.is_empty() {
        "<unset>".to_owned()
    } else {
        first_three(&addresses)
    }
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

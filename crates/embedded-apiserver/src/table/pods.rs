//! What the columns of pods say: readiness, status and restarts out of phases and container states.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{age, at, int_at, list_at, or, str_at, text, wide};
use super::{Column, age as ages};

/// The columns of pods.
pub(super) fn pod_columns() -> Vec<Column> {
    vec![
        text("Ready", |o, now| summary(o, now).ready.into()),
        text("Status", |o, now| summary(o, now).status.into()),
        text("Restarts", |o, now| summary(o, now).restarts.into()),
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
        wide("Readiness Gates", |o, _| readiness_gates(o).into()),
    ]
}

/// Three cells that come out of one walk over the containers.
pub(super) struct Summary {
    pub(super) ready: String,
    pub(super) status: String,
    pub(super) restarts: String,
}

/// Restarts and the time of the last one.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += int_at(status, &["restartCount"]);
        let finished = str_at(status, &["lastState", "terminated", "finishedAt"])
            .parse::<Timestamp>()
            .ok();
        self.last = self.last.max(finished);
    }
}

/// Marks rows of pods that are done, so that clients can dim them.
pub(super) fn row_condition(pod: &Value) -> Option<Value> {
    let (reason, message) = match str_at(pod, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

fn has_condition(pod: &Value, type_: &str) -> bool {
    list_at(pod, &["status", "conditions"])
        .iter()
        .any(|c| str_at(c, &["type"]) == type_ && str_at(c, &["status"]) == "True")
}

/// Whether an init container keeps running beside the others.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    list_at(pod, &["spec", "initContainers"])
        .iter()
        .any(|c| str_at(c, &["name"]) == name && str_at(c, &["restartPolicy"]) == "Always")
}

pub(super) fn summary(pod: &Value, now: Timestamp) -> Summary {
    let phase = str_at(pod, &["status", "phase"]);
    let mut status = phase.to_owned();
    if !str_at(pod, &["status", "reason"]).is_empty() {
        status = str_at(pod, &["status", "reason"]).to_owned();
    }
    let gated = list_at(pod, &["status", "conditions"])
        .iter()
        .any(|c| str_at(c, &["type"]) == "PodScheduled" && str_at(c, &["reason"]) == "SchedulingGated");
    if gated {
        status = "SchedulingGated".to_owned();
    }
    let sidecars = list_at(pod, &["spec", "initContainers"])
        .iter()
        .filter(|c| str_at(c, &["restartPolicy"]) == "Always")
        .count();
    let total = list_at(pod, &["spec", "containers"]).len() + sidecars;
    let (mut ready, mut restarts, mut sidecar_restarts) = (0, Restarts::default(), Restarts::default());
    let initializing = init_containers(pod, &mut status, &mut ready, &mut restarts, &mut sidecar_restarts);
    if !initializing || has_condition(pod, "Initialized") {
        restarts = sidecar_restarts;
        main_containers(pod, &mut status, &mut ready, &mut restarts);
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        if str_at(pod, &["status", "reason"]) == "NodeLost" {
            status = "Unknown".to_owned();
        } else if phase != "Succeeded" && phase != "Failed" {
            status = "Terminating".to_owned();
        }
    }
    let restarts = match restarts.last {
        Some(last) if restarts.count != 0 => {
            format!("{} ({} ago)", restarts.count, ages::human_age(last, now))
        }
        _ => restarts.count.to_string(),
    };
    Summary {
        ready: format!("{ready}/{total}"),
        status,
        restarts,
    }
}

/// Looks for the first init container that is not done; true when there is one.
fn init_containers(
    pod: &Value,
    status: &mut String,
    ready: &mut usize,
    restarts: &mut Restarts,
    sidecar_restarts: &mut Restarts,
) -> bool {
    for (i, container) in list_at(pod, &["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        restarts.add(container);
        let sidecar = is_sidecar(pod, str_at(container, &["name"]));
        if sidecar {
            sidecar_restarts.add(container);
        }
        let terminated = at(container, &["state", "terminated"]);
        let flag = |name: &str| container.get(name).and_then(Value::as_bool) == Some(true);
        if terminated.is_some_and(|t| int_at(t, &["exitCode"]) == 0) {
            continue;
        }
        if sidecar && flag("started") {
            *ready += usize::from(flag("ready"));
            continue;
        }
        let waiting = str_at(container, &["state", "waiting", "reason"]);
        *status = match terminated {
            Some(terminated) => format!("Init:{}", termination(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{i}/{}", list_at(pod, &["spec", "initContainers"]).len()),
        };
        return true;
    }
    false
}

/// Why a container ended.
fn termination(terminated: &Value) -> String {
    match (str_at(terminated, &["reason"]), int_at(terminated, &["signal"])) {
        ("", 0) => format!("ExitCode:{}", int_at(terminated, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn main_containers(pod: &Value, status: &mut String, ready: &mut usize, restarts: &mut Restarts) {
    let (mut running, mut error) = (false, String::new());
    for container in list_at(pod, &["status", "containerStatuses"]).iter().rev() {
        restarts.add(container);
        let waiting = str_at(container, &["state", "waiting", "reason"]);
        let is_ready = container.get("ready").and_then(Value::as_bool) == Some(true);
        if !waiting.is_empty() {
            *status = waiting.to_owned();
        } else if let Some(terminated) = at(container, &["state", "terminated"]) {
            *status = termination(terminated);
            if int_at(terminated, &["exitCode"]) != 0 {
                error.clone_from(status);
            }
        } else if is_ready && at(container, &["state", "running"]).is_some() {
            running = true;
            *ready += 1;
        }
    }
    if status == "Completed" {
        if running && has_condition(pod, "Ready") {
            *status = "Running".to_owned();
        } else if !error.is_empty() {
            *status = error;
        } else if running {
            *status = "NotReady".to_owned();
        }
    }
}

pub(super) fn readiness_gates(pod: &Value) -> String {
    let gates = list_at(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let conditions = list_at(pod, &["status", "conditions"]);
    let open = gates.iter().filter(|gate| {
        let wanted = str_at(gate, &["conditionType"]);
        conditions
            .iter()
            .find(|c| str_at(c, &["type"]) == wanted)
            .is_some_and(|c| str_at(c, &["status"]) == "True")
    });
    format!("{}/{}", open.count(), gates.len())
}

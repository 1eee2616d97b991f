//! Plans of MachineHealthChecks, rule by rule.

mod judging;
mod limits;
mod planning;

use std::sync::Arc;

use capi_api::{
    annotations,
    conditions::{get, v1beta1},
    core::v1beta2::{Cluster, Machine, MachineHealthCheck},
};
use capi_runtime::Next;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    health::{Verdict, go_duration, judge},
    observe::{Connection, NodeView, Target, World, is_target},
    plan::{Action, Plan, plan},
    short_circuit::{self, Allowance, Counts, range, scaled_down},
};
use crate::foreign::{Foreign, testing::found};

/// Ten minutes after the start of everything.
const NOW: &str = "2026-01-01T00:10:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn condition(type_: &str, status: &str, since: &str) -> Value {
    json!({"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": since})
}

fn cluster(initialized: Option<&str>) -> Cluster {
    let mut conditions = vec![condition("InfrastructureReady", "True", "2026-01-01T00:00:30Z")];
    conditions.extend(initialized.map(|since| condition("ControlPlaneInitialized", "True", since)));
    serde_json::from_value(
        json!({"metadata": {"name": "c", "namespace": "ns", "uid": "cu"}, "spec": {},
        "status": {"conditions": conditions}}),
    )
    .unwrap()
}

fn machine(name: &str, change: Value) -> Arc<Machine> {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid"), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"cluster.x-k8s.io/cluster-name": "c", "role": "worker"}},
        "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": name}},
        "status": {"conditions": []}});
    json_patch(&mut value, &change);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn json_patch(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                json_patch(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (to, from) => *to = from.clone(),
    }
}

fn check(change: Value) -> MachineHealthCheck {
    let mut value = json!({
        "metadata": {"name": "mhc", "namespace": "ns", "generation": 3},
        "spec": {"clusterName": "c", "selector": {"matchLabels": {"role": "worker"}},
            "checks": {"unhealthyNodeConditions": [{"type": "Ready", "status": "False", "timeoutSeconds": 300},
                {"type": "Ready", "status": "Unknown", "timeoutSeconds": 300}]}}});
    json_patch(&mut value, &change);
    serde_json::from_value(value).unwrap()
}

/// A Node whose `Ready` is like this since then.
fn node(status: &str, since: &str) -> NodeView {
    let node = json!({"metadata": {"name": "n"}, "status": {"conditions":
        [{"type": "Ready", "status": status, "lastTransitionTime": since}]}});
    NodeView::Found(Arc::new(serde_json::from_value(node).unwrap()))
}

fn ready() -> NodeView {
    node("True", "2026-01-01T00:01:00Z")
}

fn target(machine: Arc<Machine>, node: NodeView) -> Target {
    Target {
        machine,
        node,
        request: None,
    }
}

fn world(check: MachineHealthCheck, targets: Vec<Target>) -> World {
    World {
        check: Arc::new(check),
        cluster: Arc::new(cluster(Some("2026-01-01T00:01:00Z"))),
        connection: Connection::Up,
        targets,
        template: Foreign::Unset,
    }
}

fn verdict(check: MachineHealthCheck, machine: Arc<Machine>, node: NodeView) -> Verdict {
    let world = world(check, vec![target(machine, node)]);
    judge(&world, &world.targets[0], at(NOW))
}

/// The Machines as the plan leaves them.
fn marked(plan: &Plan) -> Vec<&Machine> {
    fn of(action: &Action) -> Option<&Machine> {
        match action {
            Action::Mark(_, after, _) => Some(after),
            _ => None,
        }
    }
    plan.steps.iter().filter_map(|s| of(&s.action)).collect()
}

fn sick(name: &str) -> Target {
    target(machine(name, json!({})), node("False", "2026-01-01T00:01:00Z"))
}

fn well(name: &str) -> Target {
    target(machine(name, json!({})), ready())
}

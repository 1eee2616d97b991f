//! `NodeReady` and `NodeHealthy` of a Machine, and their older twin.

use std::collections::BTreeSet;

use capi_api::{
    conditions::{
        self, Draft, Status, get, reasons, types,
        v1beta1::{self, Severity},
        whole_seconds,
    },
    core::v1beta2::Machine,
};
use capi_runtime::Next;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::{
    conditions::OLD_NODE_HEALTHY,
    observe::{NodeView, Settings, World},
};
use crate::{
    foreign::Found,
    plan::{elapsed, look_at},
};

/// Sets both; returns when time alone will change them.
pub fn set(world: &World, settings: &Settings, machine: &mut Machine, now: Timestamp) -> Next {
    let cluster = world.cluster.status.as_ref();
    let both = |machine: &mut Machine, status, reason: &str, message: String| {
        for type_ in [types::NODE_READY, types::NODE_HEALTHY] {
            conditions::set(machine, Draft::new(type_, status, reason, message.clone()), now);
        }
    };
    let provisioned =
        cluster.and_then(|s| s.initialization.as_ref()?.infrastructure_provisioned) == Some(true);
    if !provisioned {
        let message = "Waiting for Cluster status.initialization.infrastructureProvisioned to be true";
        both(
            machine,
            Status::Unknown,
            reasons::INSPECTION_FAILED,
            message.to_owned(),
        );
        return Next::Done;
    }
    let initialized = get(&*world.cluster, types::CONTROL_PLANE_INITIALIZED).filter(|c| c.status == "True");
    let Some(initialized) = initialized else {
        let message = "Waiting for Cluster control plane to be initialized";
        both(
            machine,
            Status::Unknown,
            reasons::INSPECTION_FAILED,
            message.to_owned(),
        );
        return Next::Done;
    };
    let reported = get(&*world.machine, types::NODE_READY).is_some()
        && get(&*world.machine, types::NODE_HEALTHY).is_some()
        && get(&*world.machine, types::NODE_READY).is_none_or(|c| c.reason != reasons::INSPECTION_FAILED);
    if world.probe.is_undecided() {
        if !reported {
            both(
                machine,
                Status::Unknown,
                reasons::CONNECTION_DOWN,
                "Remote connection not established yet".to_owned(),
            );
        }
        return Next::Done;
    }
    let last = world.probe.last_success;
    let last_message = last.map_or(String::new(), |t| {
        format!("Last successful probe at {}", whole_seconds(t))
    });
    let counts_from = last
        .unwrap_or(initialized.last_transition_time.0)
        .max(initialized.last_transition_time.0);
    let grace = SignedDuration::try_from(settings.remote_conditions_grace).unwrap_or(SignedDuration::MAX);
    if elapsed(counts_from, now) > grace && !world.node.is_connected() {
        both(machine, Status::Unknown, reasons::CONNECTION_DOWN, last_message);
        return Next::Done;
    }
    match &world.node {
        NodeView::Disconnected(_) => {
            if !reported {
                both(machine, Status::Unknown, reasons::CONNECTION_DOWN, last_message);
            }
            let end = counts_from
                .checked_add(grace + SignedDuration::from_millis(1))
                .unwrap_or(Timestamp::MAX);
            return look_at(end, now);
        }
        NodeView::Ambiguous(names) => {
            let message = format!(
                "More than one Node has this Machine's providerID: {}",
                names.join(", ")
            );
            both(machine, Status::Unknown, reasons::INTERNAL_ERROR, message);
        }
        NodeView::Found(node) => {
            conditions::set(machine, node_ready(node), now);
            conditions::set(machine, node_healthy(node), now);
        }
        NodeView::Absent => {
            let (status, reason, message) = without_node(world, machine);
            both(machine, status, reason, message);
        }
    }
    Next::Done
}

fn without_node(world: &World, machine: &Machine) -> (Status, &'static str, String) {
    let node = machine
        .status
        .as_ref()
        .and_then(|s| s.node_ref.as_ref())
        .map(|r| r.name.as_str());
    match (node, world.is_deleting(), machine.spec.provider_id.as_deref()) {
        (Some(node), true, _) => (
            Status::False,
            reasons::NODE_DELETED,
            format!("Node {node} has been deleted"),
        ),
        (None, true, _) => (
            Status::Unknown,
            reasons::NODE_DOES_NOT_EXIST,
            "Node does not exist".to_owned(),
        ),
        (Some(node), false, _) => (
            Status::False,
            reasons::NODE_DELETED,
            format!("Node {node} has been deleted while the Machine still exists"),
        ),
        (None, false, Some(id)) if !id.is_empty() => (
            Status::Unknown,
            reasons::INSPECTION_FAILED,
            format!("Waiting for a Node with spec.providerID {id} to exist"),
        ),
        (None, false, _) => (
            Status::Unknown,
            reasons::INSPECTION_FAILED,
            format!(
                "Waiting for {} to report spec.providerID",
                machine.spec.infrastructure_ref.kind
            ),
        ),
    }
}

fn condition_of<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == type_)
}

fn node_ready(node: &Node) -> Draft {
    let Some(ready) = condition_of(node, "Ready") else {
        let message = "* Node.Ready: Condition not yet reported";
        return Draft::is_unknown(types::NODE_READY, reasons::NODE_READY_UNKNOWN, message);
    };
    let status = Status::of(&ready.status);
    let reason = match status {
        Status::True => reasons::NODE_READY,
        Status::False => reasons::NODE_NOT_READY,
        Status::Unknown => reasons::NODE_READY_UNKNOWN,
    };
    let said = ready
        .message
        .as_deref()
        .filter(|m| status != Status::True && !m.is_empty());
    let message = said.map_or(String::new(), |m| format!("* Node.Ready: {m}"));
    let draft = Draft::new(types::NODE_READY, status, reason, message);
    match &ready.last_transition_time {
        Some(time) => draft.since(time.0),
        None => draft,
    }
}

/// `Ready` and the three pressures of a Node in one.
fn node_healthy(node: &Node) -> Draft {
    let (mut wrong, mut unknown) = (0, 0);
    let mut lines = Vec::new();
    let mut said = BTreeSet::new();
    for (type_, good) in [
        ("Ready", "True"),
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
    ] {
        let Some(condition) = condition_of(node, type_) else {
            lines.push(format!("* Node.{type_}: Condition not yet reported"));
            unknown += 1;
            continue;
        };
        if condition.status == good {
            continue;
        }
        let message = condition.message.clone().filter(|m| !m.is_empty());
        let message = message.unwrap_or_else(|| format!("Condition is {}", condition.status));
        lines.push(format!("* Node.{type_}: {message}"));
        said.insert(message);
        if condition.status == "Unknown" {
            unknown += 1
        } else {
            wrong += 1
        }
    }
    let bad = lines
        .iter()
        .filter(|l| !l.ends_with("Condition not yet reported"))
        .count();
    if let (true, 1, Some(message)) = (bad > 1, said.len(), said.first()) {
        lines = vec![format!("* Node.AllConditions: {message}")];
    }
    let message = lines.join("\n");
    match (wrong, unknown) {
        (0, 0) => Draft::is_true(types::NODE_HEALTHY, reasons::NODE_HEALTHY, ""),
        (0, _) => Draft::is_unknown(types::NODE_HEALTHY, reasons::NODE_HEALTHY_UNKNOWN, message),
        _ => Draft::is_false(types::NODE_HEALTHY, reasons::NODE_NOT_HEALTHY, message),
    }
}

/// The older `NodeHealthy`.
pub fn old_node_healthy(world: &World, machine: &mut Machine, now: Timestamp) {
    let type_ = OLD_NODE_HEALTHY;
    let has_ref = world
        .machine
        .status
        .as_ref()
        .is_some_and(|s| s.node_ref.is_some());
    let condition = match &world.node {
        _ if machine.spec.provider_id.as_deref().is_none_or(str::is_empty) => {
            v1beta1::is_false(type_, "WaitingForNodeRef", Severity::Info, "")
        }
        NodeView::Disconnected(_) => return,
        NodeView::Absent if world.is_deleting() => return,
        NodeView::Absent if has_ref => v1beta1::is_false(type_, "NodeNotFound", Severity::Error, ""),
        NodeView::Absent => v1beta1::is_false(
            type_,
            "NodeProvisioning",
            Severity::Warning,
            "Waiting for a node with matching ProviderID to exist",
        ),
        NodeView::Ambiguous(_) => v1beta1::is_unknown(
            type_,
            "NodeInspectionFailed",
            "Failed to get the Node for this Machine by ProviderID",
        ),
        NodeView::Found(node) => {
            if world.infrastructure.found().is_none_or(Found::is_deleting) {
                v1beta1::is_false(type_, "Deleting", Severity::Info, "")
            } else {
                old_node_conditions(node)
            }
        }
    };
    v1beta1::set(machine, condition, now);
}

fn old_node_conditions(node: &Node) -> v1beta1::V1Beta1Condition {
    let (mut wrong, mut unknown) = (0, 0);
    let mut said = Vec::new();
    for (type_, good) in [
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
        ("Ready", "True"),
    ] {
        let Some(condition) = condition_of(node, type_).filter(|c| c.status != good) else {
            continue;
        };
        said.push(format!("Node condition {type_} is {}", condition.status));
        if condition.status == "Unknown" {
            unknown += 1
        } else {
            wrong += 1
        }
    }
    let message = said.join(". ");
    match (wrong, unknown) {
        (0, 4) => v1beta1::is_unknown(OLD_NODE_HEALTHY, "NodeConditionsFailed", message),
        (0, _) => v1beta1::is_true(OLD_NODE_HEALTHY),
        _ => v1beta1::is_false(
            OLD_NODE_HEALTHY,
            "NodeConditionsFailed",
            Severity::Warning,
            message,
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(conditions: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn a_node_is_healthy_when_ready_and_under_no_pressure() {
        let pressure = |type_: &str| json!({"type": type_, "status": "False"});
        let good = json!([{"type": "Ready", "status": "True"}, pressure("MemoryPressure"), pressure("DiskPressure"), pressure("PIDPressure")]);
        assert_eq!(node_healthy(&node(good)).status, Status::True);
        let draft = node_healthy(&node(
            json!([{"type": "Ready", "status": "False", "message": "no network"}]),
        ));
        assert_eq!(
            (draft.status, draft.message.as_str()),
            (
                Status::False,
                "* Node.Ready: no network\n* Node.MemoryPressure: Condition not yet reported\n* Node.DiskPressure: Condition not yet reported\n* Node.PIDPressure: Condition not yet reported"
            )
        );
        let lost = |type_: &str| json!({"type": type_, "status": "Unknown", "message": "Kubelet stopped posting node status."});
        let draft = node_healthy(&node(json!([
            lost("Ready"),
            lost("MemoryPressure"),
            lost("DiskPressure"),
            lost("PIDPressure")
        ])));
        assert_eq!(
            (draft.status, draft.message.as_str()),
            (
                Status::Unknown,
                "* Node.AllConditions: Kubelet stopped posting node status."
            )
        );
    }
}

//! The conditions of a Machine.

use std::collections::BTreeSet;

use capi_api::{
    conditions::{
        self, Draft, Part, Priority, Reasons, Status, get, reasons, summary_with, types,
        v1beta1::{self, Severity, V1Beta1ConditionsAccess},
        whole_seconds,
    },
    core::v1beta2::{ConditionPolarity, Machine},
};
use capi_runtime::Next;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::{
    deletion::Stage,
    observe::{NodeView, Settings, World},
    plan::{is_bootstrapped, is_provisioned},
};
use crate::{
    controllers::machine_deployment::template,
    foreign::{Found, Repeated},
    machines,
    plan::{after_seconds, elapsed, look_at},
};

/// The older twin of `BootstrapConfigReady`.
pub const OLD_BOOTSTRAP_READY: &str = "BootstrapReady";
/// The older twin of `InfrastructureReady`.
pub const OLD_INFRASTRUCTURE_READY: &str = "InfrastructureReady";
/// The older twin of `NodeHealthy`.
pub const OLD_NODE_HEALTHY: &str = "NodeHealthy";
/// The older condition about draining.
pub const OLD_DRAINING_SUCCEEDED: &str = "DrainingSucceeded";

/// Sets all conditions; returns when time alone will change one.
pub fn set_all(
    world: &World,
    settings: &Settings,
    stage: Option<&Stage>,
    machine: &mut Machine,
    now: Timestamp,
) -> Next {
    crate::pause::runs(machine, now);
    conditions::set(machine, bootstrap_ready(world, machine), now);
    conditions::set(machine, infrastructure_ready(world, machine), now);
    let mut next = node_conditions(world, settings, machine, now);
    let deleting = match stage {
        None => Draft::is_false(types::DELETING, reasons::NOT_DELETING, ""),
        Some(stage) => Draft::is_true(types::DELETING, stage.reason, stage.message.clone()),
    };
    conditions::set(machine, deleting, now);
    conditions::set(machine, updating(machine), now);
    if let Some(draft) = up_to_date(world, machine, now) {
        conditions::set(machine, draft, now);
    }
    conditions::set(machine, ready(machine, now), now);
    let (draft, at) = available(machine, now);
    conditions::set(machine, draft, now);
    next = next.earliest(at);
    if let (Some(_), Some(since)) = (stage, machine.metadata.deletion_timestamp.as_ref()) {
        // The summary says so when a deletion takes long.
        let long = since
            .0
            .checked_add(LONG_DELETION + SignedDuration::from_millis(1))
            .unwrap_or(Timestamp::MAX);
        next = next.earliest(look_at(long, now));
    }
    next
}

fn bootstrap_ready(world: &World, machine: &Machine) -> Draft {
    let Some(reference) = &machine.spec.bootstrap.config_ref else {
        return Draft::is_true(types::BOOTSTRAP_CONFIG_READY, reasons::DATA_SECRET_PROVIDED, "");
    };
    Repeated {
        target: types::BOOTSTRAP_CONFIG_READY,
        source: types::READY,
        kind: &reference.kind,
        done: is_bootstrapped(machine),
        flag: "status.initialization.dataSecretCreated",
        reasons: (reasons::READY, reasons::NOT_READY),
        deleting: world.is_deleting(),
        lost: None,
    }
    .of(&world.bootstrap)
}

fn infrastructure_ready(world: &World, machine: &Machine) -> Draft {
    Repeated {
        target: types::INFRASTRUCTURE_READY,
        source: types::READY,
        kind: &machine.spec.infrastructure_ref.kind,
        done: is_provisioned(machine),
        flag: "status.initialization.provisioned",
        reasons: (reasons::READY, reasons::NOT_READY),
        deleting: world.is_deleting(),
        lost: Some("the Machine still exists"),
    }
    .of(&world.infrastructure)
}

/// `NodeReady` and `NodeHealthy`.
fn node_conditions(world: &World, settings: &Settings, machine: &mut Machine, now: Timestamp) -> Next {
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

fn updating(machine: &Machine) -> Draft {
    match machines::is_updating(machine) {
        true => Draft::is_true(
            types::UPDATING,
            reasons::IN_PLACE_UPDATING,
            "In-place update in progress",
        ),
        false => Draft::is_false(types::UPDATING, reasons::NOT_UPDATING, ""),
    }
}

/// `UpToDate` of Machines of a MachineDeployment; a control plane sets it on its Machines itself.
pub fn up_to_date(world: &World, machine: &Machine, now: Timestamp) -> Option<Draft> {
    let (Some(set), Some(deployment)) = (&world.set, &world.deployment) else {
        return None;
    };
    let mut lines = template::differences(&set.spec.template, &deployment.spec.template);
    if template::is_overdue(set, deployment, now) {
        lines.push("MachineDeployment spec.rolloutAfter expired".to_owned());
    }
    if !lines.is_empty() {
        let lines: Vec<String> = lines.iter().map(|l| format!("* {l}")).collect();
        return Some(Draft::is_false(
            types::UP_TO_DATE,
            reasons::NOT_UP_TO_DATE,
            lines.join("\n"),
        ));
    }
    if let Some(updating) = get(machine, types::UPDATING).filter(|c| c.status == "True") {
        return Some(Draft::is_false(
            types::UP_TO_DATE,
            reasons::UPDATING,
            format!("* {}", updating.message),
        ));
    }
    let info = machine.status.as_ref().and_then(|s| s.node_info.as_ref());
    let kubelet = info.map(|i| i.kubelet_version.as_str()).filter(|v| !v.is_empty());
    let wanted = machine.spec.version.as_deref().unwrap_or_default();
    if let Some(kubelet) = kubelet.filter(|k| *k != wanted) {
        let message = format!("* Node.status.nodeInfo.kubeletVersion {kubelet}, {wanted} required");
        return Some(Draft::is_false(types::UP_TO_DATE, reasons::UPDATING, message));
    }
    Some(Draft::is_true(types::UP_TO_DATE, reasons::UP_TO_DATE, ""))
}

/// A deletion that takes longer is called long.
const LONG_DELETION: SignedDuration = SignedDuration::from_mins(15);

fn ready(machine: &Machine, now: Timestamp) -> Draft {
    let deleting = machines::is_deleting(machine);
    let expected_loss = |type_: &'static str, expected: &[&str]| {
        let part = Part::positive(type_);
        let reason = get(machine, type_).map_or("", |c| c.reason.as_str());
        if deleting && expected.contains(&reason) {
            part.weighing(Priority::Info)
        } else {
            part
        }
    };
    let gone = [reasons::OBJECT_DELETED, reasons::OBJECT_DOES_NOT_EXIST];
    let stage = Part::negative(types::DELETING);
    let mut parts = vec![
        if deleting {
            stage.seen_as(deletion_in_summary(machine, now))
        } else {
            stage
        },
        Part::negative(types::UPDATING),
        expected_loss(types::BOOTSTRAP_CONFIG_READY, &gone),
        expected_loss(types::INFRASTRUCTURE_READY, &gone),
        expected_loss(
            types::NODE_HEALTHY,
            &[reasons::NODE_DELETED, reasons::NODE_DOES_NOT_EXIST],
        ),
        Part::positive(types::HEALTH_CHECK_SUCCEEDED).optional(),
    ];
    for gate in &machine.spec.readiness_gates {
        parts.push(match gate.polarity {
            Some(ConditionPolarity::Negative) => Part::negative(&gate.condition_type),
            _ => Part::positive(&gate.condition_type),
        });
    }
    let all = machine.status.as_ref().map_or(&[][..], |s| &s.conditions);
    summary_with(
        all,
        types::READY,
        &parts,
        &Reasons::READY,
        merge_control_plane_lines,
    )
}

fn deletion_in_summary(machine: &Machine, now: Timestamp) -> Draft {
    let stage = get(machine, types::DELETING).map_or("", |c| c.reason.as_str());
    let since = machine.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
    let mut message = match elapsed(since, now) > LONG_DELETION {
        false => format!("Machine deletion in progress, stage: {stage}"),
        true => format!("Machine deletion in progress since more than 15m, stage: {stage}"),
    };
    let delays = machines::drain_delays(machine, now);
    if elapsed(since, now) > LONG_DELETION && !delays.is_empty() {
        message.push_str(&format!(", delay likely due to {}", delays.join(", ")));
    }
    Draft::is_true(types::DELETING, reasons::DELETING, message)
}

/// If all components of a control plane say the same, one line says it for all.
fn merge_control_plane_lines(lines: Vec<String>) -> Vec<String> {
    let is_component = |line: &str| {
        let type_ = line.split_once(':').map_or("", |(type_, _)| type_);
        ["* APIServer", "* ControllerManager", "* Scheduler"]
            .iter()
            .any(|p| type_.starts_with(p))
            || type_ == "* EtcdPodHealthy"
    };
    let text = |line: &str| {
        line.split_once(':')
            .map(|(_, text)| text.to_owned())
            .unwrap_or_default()
    };
    let texts: BTreeSet<String> = lines
        .iter()
        .filter(|l| is_component(l))
        .map(|l| text(l))
        .collect();
    let components = lines.iter().filter(|l| is_component(l)).count();
    let (Some(common), true) = (texts.first().filter(|_| texts.len() == 1), components > 1) else {
        return lines;
    };
    let mut merged = Vec::new();
    let mut done = false;
    for line in lines {
        if !is_component(&line) {
            merged.push(line);
        } else if !std::mem::replace(&mut done, true) {
            merged.push(format!("* Control plane components:{common}"));
        }
    }
    merged
}

fn available(machine: &Machine, now: Timestamp) -> (Draft, Next) {
    let ready = get(machine, types::READY).filter(|c| c.status == "True");
    let Some(ready) = ready else {
        return (
            Draft::is_false(types::AVAILABLE, reasons::NOT_READY, ""),
            Next::Done,
        );
    };
    let at = after_seconds(
        ready.last_transition_time.0,
        i64::from(machine.spec.min_ready_seconds.unwrap_or(0)),
    );
    if at <= now {
        return (
            Draft::is_true(types::AVAILABLE, reasons::AVAILABLE, ""),
            Next::Done,
        );
    }
    (
        Draft::is_false(types::AVAILABLE, reasons::WAITING_FOR_MIN_READY_SECONDS, ""),
        look_at(at, now),
    )
}

/// The older mirror of a foreign `Ready`.
pub fn mirror_old(
    world: &World,
    found: &Found,
    done: bool,
    target: &str,
    waiting: &str,
    machine: &mut Machine,
    now: Timestamp,
) {
    let reason = if world.is_deleting() { "Deleting" } else { waiting };
    let source = v1beta1::ready_of_foreign(&found.object);
    let condition = v1beta1::mirror(source.as_ref(), target, done, || {
        v1beta1::is_false(target, reason, Severity::Info, "")
    });
    v1beta1::set(machine, condition, now);
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

/// The older `Ready`: counts steps until there is a provider ID.
pub fn old_summary(world: &World, machine: &mut Machine, now: Timestamp) {
    const STEPS: [&str; 2] = [OLD_INFRASTRUCTURE_READY, OLD_BOOTSTRAP_READY];
    let all = [
        OLD_INFRASTRUCTURE_READY,
        OLD_BOOTSTRAP_READY,
        "HealthCheckSucceeded",
        "OwnerRemediated",
        OLD_DRAINING_SUCCEEDED,
    ];
    let present: Vec<&str> = machine
        .v1beta1_conditions()
        .iter()
        .map(|c| c.type_.as_str())
        .filter(|t| all.contains(t))
        .collect();
    let counting = !world.is_deleting()
        && machine.spec.provider_id.as_deref().is_none_or(str::is_empty)
        && present.iter().all(|t| STEPS.contains(t));
    let summary = v1beta1::summary(
        machine.v1beta1_conditions(),
        &all,
        counting.then_some(STEPS.len()),
    );
    if let Some(summary) = summary {
        v1beta1::set(machine, summary, now);
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

    #[test]
    fn equal_lines_of_control_plane_components_become_one() {
        let line = |type_: &str| format!("* {type_}: Waiting to be scheduled");
        let lines = vec![
            line("NodeHealthy"),
            line("APIServerPodHealthy"),
            line("SchedulerPodHealthy"),
            line("EtcdPodHealthy"),
        ];
        assert_eq!(
            merge_control_plane_lines(lines),
            [
                "* NodeHealthy: Waiting to be scheduled",
                "* Control plane components: Waiting to be scheduled"
            ]
        );
        let lines = vec![line("APIServerPodHealthy"), "* EtcdPodHealthy: other".to_owned()];
        assert_eq!(merge_control_plane_lines(lines.clone()), lines);
    }
}

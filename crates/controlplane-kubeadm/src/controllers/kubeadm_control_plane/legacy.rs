//! The older conditions and counters, under `status.deprecated.v1beta1`. Pure, and derived from today's.

use capi_api::{
    conditions::{
        ConditionsAccess, Draft, get_in, reasons, types,
        v1beta1::{
            self, Severity, V1Beta1Condition, V1Beta1ConditionsAccess, aggregate, is_false, is_true,
            is_unknown,
        },
    },
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::Machine,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    machine_conditions::{self, words},
    world::{MachineView, Workload, World},
};

const MACHINES_CREATED: &str = "MachinesCreated";
const MACHINES_SPEC_UP_TO_DATE: &str = "MachinesSpecUpToDate";
const RESIZED: &str = "Resized";
const MACHINES_READY: &str = "MachinesReady";

/// What the old `Ready` sums up, the first being the most telling.
const SUMMED: [&str; 6] = [
    MACHINES_CREATED,
    MACHINES_SPEC_UP_TO_DATE,
    RESIZED,
    MACHINES_READY,
    types::AVAILABLE,
    types::CERTIFICATES_AVAILABLE,
];

/// The old conditions and counters of a control plane whose new ones are in place.
pub fn fill(world: &World, control_plane: &mut KubeadmControlPlane, now: Timestamp) {
    let new = control_plane.conditions().to_vec();
    let machines = world.machines.len();
    let outdated = get_in(&new, types::ROLLING_OUT).is_some_and(|condition| condition.status == "True");
    let up_to_date = control_plane
        .status
        .as_ref()
        .and_then(|status| status.up_to_date_replicas)
        .unwrap_or(0);
    let ready = ready_nodes(world);

    let mut old = vec![
        available(world),
        certificates(&new),
        components(&new),
        resized(world, &new),
    ];
    if world.etcd_is_managed() {
        old.push(etcd(&new));
    } else {
        old.push(is_true(types::ETCD_CLUSTER_HEALTHY));
    }
    if machines > 0 {
        old.push(is_true(MACHINES_CREATED));
        old.push(match outdated {
            false => is_true(MACHINES_SPEC_UP_TO_DATE),
            true => is_false(
                MACHINES_SPEC_UP_TO_DATE,
                "RollingUpdateInProgress",
                Severity::Warning,
                format!(
                    "Rolling {} replicas with outdated spec ({up_to_date} replicas up to date)",
                    machines.saturating_sub(usize::try_from(up_to_date).unwrap_or(0))
                ),
            ),
        });
        old.extend(machines_ready(world));
    }
    for condition in old {
        v1beta1::set(control_plane, condition, now);
    }
    let summary = v1beta1::summary(control_plane.v1beta1_conditions(), &SUMMED, None);
    if let Some(summary) = summary {
        v1beta1::set(control_plane, summary, now);
    }
    let status = control_plane.status.get_or_insert_default();
    let counters = status
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    counters.updated_replicas = Some(up_to_date);
    counters.ready_replicas = Some(ready);
    counters.unavailable_replicas = i32::try_from(machines).ok().map(|all| all - ready);
}

fn ready_nodes(world: &World) -> i32 {
    let Workload::Connected(workload) = &world.workload else {
        // Unreachable nodes keep the count they had.
        let old = world
            .control_plane
            .status
            .as_ref()
            .and_then(|status| status.deprecated.as_ref()?.v1beta1.as_ref());
        return old.and_then(|old| old.ready_replicas).unwrap_or(0);
    };
    let is_ready = |node: &&std::sync::Arc<k8s_openapi::api::core::v1::Node>| {
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    i32::try_from(workload.nodes.values().filter(is_ready).count()).unwrap_or(i32::MAX)
}

fn available(world: &World) -> V1Beta1Condition {
    match world.initialized() {
        true => is_true(types::AVAILABLE),
        false => is_false(types::AVAILABLE, "WaitingForKubeadmInit", Severity::Info, ""),
    }
}

fn certificates(new: &[Condition]) -> V1Beta1Condition {
    let type_ = types::CERTIFICATES_AVAILABLE;
    match get_in(new, type_) {
        Some(condition) if condition.status != "True" => is_false(
            type_,
            "CertificatesGenerationFailed",
            Severity::Warning,
            condition.message.clone(),
        ),
        _ => is_true(type_),
    }
}

fn components(new: &[Condition]) -> V1Beta1Condition {
    health(
        new,
        types::CONTROL_PLANE_COMPONENTS_HEALTHY,
        "ControlPlaneComponents",
        "control plane",
    )
}

fn etcd(new: &[Condition]) -> V1Beta1Condition {
    health(new, types::ETCD_CLUSTER_HEALTHY, "EtcdCluster", "etcd member")
}

fn health(new: &[Condition], type_: &str, prefix: &str, what: &str) -> V1Beta1Condition {
    let Some(condition) = get_in(new, type_) else {
        return is_unknown(type_, &format!("{prefix}Unknown"), "");
    };
    let names: Vec<&str> = condition
        .message
        .lines()
        .filter_map(|line| {
            line.strip_prefix("* Machine ")
                .or_else(|| line.strip_prefix("* Machines "))
        })
        .map(|line| line.trim_end_matches(':'))
        .collect();
    match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) => is_true(type_),
        ("False", _) => is_false(
            type_,
            &format!("{prefix}Unhealthy"),
            Severity::Error,
            format!(
                "Following Machines are reporting {what} errors: {}",
                names.join(", ")
            ),
        ),
        (_, reasons::INSPECTION_FAILED | reasons::CONNECTION_DOWN) => is_unknown(
            type_,
            &format!("{prefix}InspectionFailed"),
            condition.message.clone(),
        ),
        _ => is_unknown(
            type_,
            &format!("{prefix}Unknown"),
            format!(
                "Following Machines are reporting unknown {what} status: {}",
                names.join(", ")
            ),
        ),
    }
}

fn resized(world: &World, new: &[Condition]) -> V1Beta1Condition {
    let is_on = |type_: &str| get_in(new, type_).is_some_and(|condition| condition.status == "True");
    let (wanted, actual) = (world.desired_replicas().unwrap_or(0), world.machines.len());
    if world.deleting() {
        return match world.workers.is_empty() {
            false => is_false(
                RESIZED,
                "Deleting",
                Severity::Info,
                "Waiting for worker nodes to be deleted first",
            ),
            true => is_false(RESIZED, "Deleting", Severity::Info, ""),
        };
    }
    let message =
        |direction: &str| format!("Scaling {direction} control plane to {wanted} replicas (actual {actual})");
    if is_on(types::SCALING_UP) {
        return is_false(RESIZED, "ScalingUp", Severity::Warning, message("up"));
    }
    if is_on(types::SCALING_DOWN) {
        return is_false(RESIZED, "ScalingDown", Severity::Warning, message("down"));
    }
    is_true(RESIZED)
}

fn machines_ready(world: &World) -> Option<V1Beta1Condition> {
    let names: Vec<String> = world
        .machines
        .iter()
        .map(|view| format!("Machine/{}", view.name()))
        .collect();
    let ready: Vec<(&str, Option<&V1Beta1Condition>)> = names
        .iter()
        .zip(&world.machines)
        .map(|(name, view)| (name.as_str(), v1beta1::get(view.machine.as_ref(), v1beta1::READY)))
        .collect();
    aggregate(&ready, MACHINES_READY)
}

/// The old conditions of a Machine that the control plane provider writes, from the new ones that are in place.
/// They follow the new ones and are never the only reason to write.
pub fn fill_machine(world: &World, view: &MachineView, machine: &mut Machine, now: Timestamp) {
    let new = machine.conditions().to_vec();
    for type_ in machine_conditions::health_types(world) {
        if type_ == types::NODE_KUBEADM_LABELS_AND_TAINTS_SET {
            continue;
        }
        let Some(condition) = get_in(&new, type_) else {
            continue;
        };
        if condition.reason == reasons::INSPECTION_FAILED && view.node_name().is_none() {
            continue;
        }
        let old = if type_ == types::ETCD_MEMBER_HEALTHY {
            old_member(type_, condition)
        } else {
            old_pod(type_, condition)
        };
        v1beta1::set(machine, old, now);
    }
}

fn old_pod(type_: &str, condition: &Condition) -> V1Beta1Condition {
    let message = condition.message.clone();
    match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) => is_true(type_),
        ("False", words::PROVISIONING) => is_false(type_, "PodProvisioning", Severity::Info, message),
        ("False", words::DOES_NOT_EXIST) => is_false(type_, "PodMissing", Severity::Error, message),
        ("False", reasons::DELETING) => is_false(type_, "Deleting", Severity::Info, ""),
        ("False", _) => is_false(type_, "PodFailed", Severity::Error, message),
        _ => is_unknown(type_, "PodInspectionFailed", message),
    }
}

fn old_member(type_: &str, condition: &Condition) -> V1Beta1Condition {
    let message = condition.message.clone();
    match (condition.status.as_str(), condition.reason.as_str()) {
        ("True", _) => is_true(type_),
        ("False", reasons::DELETING) => is_false(type_, "Deleting", Severity::Info, ""),
        ("False", _) => is_false(type_, "EtcdMemberUnhealthy", Severity::Error, message),
        _ => is_unknown(type_, "MemberInspectionFailed", message),
    }
}

/// The old form of the answer to whoever asked for a Machine to be replaced.
pub fn note_remediation(machine: &mut Machine, new: &Draft, now: Timestamp) {
    let old = match new.reason.as_str() {
        reasons::MACHINE_DELETING => is_false(
            types::OWNER_REMEDIATED,
            "RemediationInProgress",
            Severity::Warning,
            "",
        ),
        _ => is_false(
            types::OWNER_REMEDIATED,
            reasons::WAITING_FOR_REMEDIATION,
            Severity::Warning,
            new.message.clone(),
        ),
    };
    v1beta1::set(machine, old, now);
}

/// Nobody asks any more.
pub fn forget_remediation(machine: &mut Machine) {
    v1beta1::remove(machine, types::OWNER_REMEDIATED);
}

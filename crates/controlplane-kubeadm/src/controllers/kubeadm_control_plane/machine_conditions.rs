//! The conditions that the control plane provider writes on Machines: its static pods, its etcd member, its Node. Pure.

use capi_api::{
    conditions::{Draft, get_in, reasons, types},
    labels,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};

use super::{
    up_to_date,
    world::{MachineView, Workload, WorkloadView, World},
};
use crate::workload::etcd::EtcdView;

/// Reasons of these conditions that nobody else uses.
pub mod words {
    /// The pod runs and is ready.
    pub const RUNNING: &str = "Running";
    /// The pod is on its way.
    pub const PROVISIONING: &str = "Provisioning";
    /// There is no pod.
    pub const DOES_NOT_EXIST: &str = "DoesNotExist";
    /// The pod failed.
    pub const FAILED: &str = "Failed";
    /// The etcd member is healthy.
    pub const HEALTHY: &str = "Healthy";
    /// The etcd member is not healthy.
    pub const NOT_HEALTHY: &str = "NotHealthy";
    /// Label and taint are there.
    pub const SET: &str = "Set";
    /// Label or taint is missing.
    pub const NOT_SET: &str = "NotSet";
}

/// The static pods: condition and name prefix.
pub const COMPONENTS: [(&str, &str); 4] = [
    (types::API_SERVER_POD_HEALTHY, "kube-apiserver"),
    (types::CONTROLLER_MANAGER_POD_HEALTHY, "kube-controller-manager"),
    (types::SCHEDULER_POD_HEALTHY, "kube-scheduler"),
    (types::ETCD_POD_HEALTHY, "etcd"),
];

/// All condition types that may be written, besides `UpToDate`.
pub const ALL: [&str; 6] = [
    types::NODE_KUBEADM_LABELS_AND_TAINTS_SET,
    types::API_SERVER_POD_HEALTHY,
    types::CONTROLLER_MANAGER_POD_HEALTHY,
    types::SCHEDULER_POD_HEALTHY,
    types::ETCD_POD_HEALTHY,
    types::ETCD_MEMBER_HEALTHY,
];

/// Why a condition cannot be told yet.
pub const NOT_INITIALIZED: &str = "Waiting for Cluster control plane to be initialized";

/// The condition types that are written, besides `UpToDate`.
pub fn health_types(world: &World) -> Vec<&'static str> {
    let managed = world.etcd_is_managed();
    let pods = COMPONENTS
        .iter()
        .map(|(type_, _)| *type_)
        .filter(|type_| managed || *type_ != types::ETCD_POD_HEALTHY);
    let mut all = vec![types::NODE_KUBEADM_LABELS_AND_TAINTS_SET];
    all.extend(pods);
    if managed {
        all.push(types::ETCD_MEMBER_HEALTHY);
    }
    all
}

/// All conditions of one Machine. While the workload cluster cannot be reached, what is known stays for `grace`.
pub fn of_machine(world: &World, view: &MachineView, now: Timestamp, grace: SignedDuration) -> Vec<Draft> {
    let mut drafts = vec![up_to_date::condition(world, view, now)];
    drafts.extend(health(world, view, now, grace));
    drafts
}

/// The conditions that come from the workload cluster.
pub fn health(world: &World, view: &MachineView, now: Timestamp, grace: SignedDuration) -> Vec<Draft> {
    let all = health_types(world);
    let unknown = |message: &str| {
        all.iter()
            .map(|type_| Draft::is_unknown(type_, reasons::INSPECTION_FAILED, message))
            .collect::<Vec<_>>()
    };
    if view.deleting() {
        let drafts = all
            .iter()
            .map(|type_| Draft::is_false(type_, reasons::DELETING, "Machine is deleting"));
        return drafts.collect();
    }
    let workload = match &world.workload {
        Workload::NotAsked => return unknown(NOT_INITIALIZED),
        Workload::Disconnected { .. } if !world.initialized() => return unknown(NOT_INITIALIZED),
        Workload::Disconnected {
            since, last_success, ..
        } => {
            return disconnected(&all, view, *since, *last_success, now, grace);
        }
        Workload::Connected(workload) => workload,
    };
    if !world.initialized() {
        return unknown(NOT_INITIALIZED);
    }
    let Some(node_name) = view.node_name() else {
        return unknown(&waiting_for_node(world, view));
    };
    let Some(node) = workload.nodes.get(node_name) else {
        return unknown(&format!("Node {node_name} does not exist"));
    };
    all.iter()
        .map(|type_| match *type_ {
            types::NODE_KUBEADM_LABELS_AND_TAINTS_SET => labels_and_taints(node_name, node),
            types::ETCD_MEMBER_HEALTHY => etcd_member(view, node_name, workload.etcd.as_ref()),
            pod => pod_condition(pod, node_name, node, workload),
        })
        .collect()
}

/// The same words as in the Machine's own `NodeReady`.
fn waiting_for_node(world: &World, view: &MachineView) -> String {
    match &view.machine.spec.provider_id {
        Some(id) if !id.is_empty() => format!("Waiting for a Node with spec.providerID {id} to exist"),
        _ => format!(
            "Waiting for {} to report spec.providerID",
            world.infrastructure_kind()
        ),
    }
}

fn disconnected(
    all: &[&'static str],
    view: &MachineView,
    since: Timestamp,
    last_success: Option<Timestamp>,
    now: Timestamp,
    grace: SignedDuration,
) -> Vec<Draft> {
    let expired = last_success
        .unwrap_or(since)
        .checked_add(grace)
        .is_ok_and(|until| now >= until);
    let message = match last_success {
        Some(time) => format!(
            "Last successful probe at {}",
            capi_api::conditions::whole_seconds(time)
        ),
        None => "Remote connection not established yet".to_owned(),
    };
    let known = view
        .machine
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    all.iter()
        .map(|type_| match get_in(known, type_) {
            Some(known) if !expired => Draft::of(known),
            _ => Draft::is_unknown(type_, reasons::CONNECTION_DOWN, message.clone()),
        })
        .collect()
}

fn labels_and_taints(name: &str, node: &Node) -> Draft {
    let type_ = types::NODE_KUBEADM_LABELS_AND_TAINTS_SET;
    if is_unreachable(node) {
        return Draft::is_unknown(
            type_,
            reasons::INSPECTION_FAILED,
            format!("Node {name} is unreachable"),
        );
    }
    let labelled = node
        .metadata
        .labels
        .as_ref()
        .is_some_and(|all| all.contains_key(labels::NODE_ROLE_CONTROL_PLANE));
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let tainted = taints
        .iter()
        .any(|taint| taint.key == labels::NODE_ROLE_CONTROL_PLANE && taint.effect == "NoSchedule");
    const LABEL: &str = "the node-role.kubernetes.io/control-plane label";
    const TAINT: &str = "the node-role.kubernetes.io/control-plane:NoSchedule taint";
    let missing = match (labelled, tainted) {
        (true, true) => return Draft::is_true(type_, words::SET, ""),
        (false, true) => LABEL.to_owned(),
        (true, false) => TAINT.to_owned(),
        (false, false) => format!("{LABEL} and {TAINT}"),
    };
    Draft::is_false(
        type_,
        words::NOT_SET,
        format!("Node {name} does not have {missing}"),
    )
}

fn is_unreachable(node: &Node) -> bool {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints
        .iter()
        .any(|taint| taint.key == "node.kubernetes.io/unreachable" && taint.effect == "NoExecute")
}

fn node_is_lost(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "Unknown")
}

fn pod_condition(type_: &str, node_name: &str, node: &Node, workload: &WorkloadView) -> Draft {
    let unknown = |message: String| Draft::is_unknown(type_, reasons::INSPECTION_FAILED, message);
    if is_unreachable(node) {
        return unknown(format!("Node {node_name} is unreachable"));
    }
    if node_is_lost(node) {
        return unknown("Node Ready condition is Unknown, Pod data might be stale".to_owned());
    }
    let prefix = COMPONENTS
        .iter()
        .find(|(other, _)| *other == type_)
        .map_or("", |(_, prefix)| prefix);
    match workload.pods.get(&format!("{prefix}-{node_name}")) {
        None => Draft::is_false(type_, words::DOES_NOT_EXIST, "Pod does not exist"),
        Some(Err(_)) => unknown(reasons::CHECK_LOGS.to_owned()),
        Some(Ok(pod)) => pod_health(type_, pod),
    }
}

fn pod_health(type_: &str, pod: &Pod) -> Draft {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let condition = |name: &str| conditions.iter().find(|condition| condition.type_ == name);
    let provisioning = |message: String| Draft::is_false(type_, words::PROVISIONING, message);
    match status.phase.as_deref() {
        Some("Pending") => {
            if condition("PodScheduled").is_some_and(|condition| condition.status == "False") {
                return provisioning("Waiting to be scheduled".to_owned());
            }
            if condition("Initialized").is_some_and(|condition| condition.status == "False") {
                return provisioning("Running init containers".to_owned());
            }
            provisioning(String::new())
        }
        Some("Running") if condition("Ready").is_some_and(|condition| condition.status == "True") => {
            Draft::is_true(type_, words::RUNNING, "")
        }
        Some("Running") => not_ready(type_, status.container_statuses.as_deref().unwrap_or_default()),
        Some("Succeeded" | "Failed") => {
            Draft::is_false(type_, words::FAILED, "All the containers have been terminated")
        }
        _ => Draft::is_unknown(
            type_,
            reasons::INSPECTION_FAILED,
            "Pod is reporting Unknown status",
        ),
    }
}

fn not_ready(type_: &str, containers: &[ContainerStatus]) -> Draft {
    let (mut waiting, mut terminated, mut crashed) = (Vec::new(), Vec::new(), false);
    for container in containers {
        let last = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        crashed |= last.is_some_and(|state| state.exit_code != 0);
        let Some(state) = &container.state else { continue };
        if let Some(state) = &state.waiting {
            waiting.extend(state.reason.clone());
        }
        if let Some(state) = &state.terminated {
            terminated.extend(state.reason.clone());
        }
    }
    match (waiting.is_empty(), terminated.is_empty()) {
        (false, _) if crashed => Draft::is_false(type_, words::FAILED, waiting.join(", ")),
        (false, _) => Draft::is_false(type_, words::PROVISIONING, waiting.join(", ")),
        (true, false) => Draft::is_false(type_, words::FAILED, terminated.join(", ")),
        (true, true) => Draft::is_false(
            type_,
            words::PROVISIONING,
            "Waiting for startup or readiness probes",
        ),
    }
}

fn etcd_member(view: &MachineView, node: &str, etcd: Option<&EtcdView>) -> Draft {
    let type_ = types::ETCD_MEMBER_HEALTHY;
    let unknown = |message: &str| Draft::is_unknown(type_, reasons::INSPECTION_FAILED, message);
    let unhealthy = |message: String| Draft::is_false(type_, words::NOT_HEALTHY, message);
    let Some(etcd) = etcd else {
        return match view.machine.status.as_ref().and_then(|status| {
            status
                .conditions
                .iter()
                .find(|condition| condition.type_ == type_)
        }) {
            Some(known) => Draft::of(known),
            None => unknown("Waiting for etcd to be asked for its members"),
        };
    };
    let members = match &etcd.members {
        Err(message) => return unknown(message),
        Ok(members) => members,
    };
    match etcd.answers.get(node) {
        Some(Err(error)) => return unknown(&format!("Failed to connect to etcd: {error}")),
        Some(Ok(answer)) => {
            if !answer.errors.is_empty() {
                return unhealthy(format!("Etcd reports errors: {}", answer.errors.join(", ")));
            }
            if let Some(disagreement) = etcd.disagreement(answer) {
                return unhealthy(disagreement);
            }
        }
        None => {}
    }
    let Some(member) = members.iter().find(|member| member.name == node) else {
        return unhealthy(format!("Etcd doesn't have an etcd member for Node {node}"));
    };
    if member.learner {
        return unhealthy("Waiting for learner etcd member to be promoted".to_owned());
    }
    match &etcd.alarms {
        Err(message) => unknown(message),
        Ok(alarms) => match alarms.get(&member.id).filter(|alarms| !alarms.is_empty()) {
            Some(alarms) => unhealthy(format!("Etcd reports alarms: {}", alarms.join(", "))),
            None => Draft::is_true(type_, words::HEALTHY, ""),
        },
    }
}

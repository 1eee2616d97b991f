//! The order in which conditions are written, made for people who read `kubectl get -o yaml`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::types;

/// What comes before the types nobody knows (gates of other controllers), in this order.
const BEFORE: &[&str] = &[
    types::AVAILABLE,
    types::READY,
    types::UP_TO_DATE,
    types::REMOTE_CONNECTION_PROBE,
    types::BOOTSTRAP_CONFIG_READY,
    types::INFRASTRUCTURE_READY,
    types::CONTROL_PLANE_INITIALIZED,
    types::CONTROL_PLANE_AVAILABLE,
    types::WORKERS_AVAILABLE,
    types::CERTIFICATES_AVAILABLE,
    types::INITIALIZED,
    types::ETCD_CLUSTER_HEALTHY,
    types::CONTROL_PLANE_COMPONENTS_HEALTHY,
    types::NODE_HEALTHY,
    types::NODE_READY,
    types::NODE_KUBEADM_LABELS_AND_TAINTS_SET,
    types::ETCD_POD_HEALTHY,
    types::ETCD_MEMBER_HEALTHY,
    types::API_SERVER_POD_HEALTHY,
    types::CONTROLLER_MANAGER_POD_HEALTHY,
    types::SCHEDULER_POD_HEALTHY,
    types::HEALTH_CHECK_SUCCEEDED,
    types::OWNER_REMEDIATED,
    types::TOPOLOGY_RECONCILED,
    types::UPDATING,
    types::ROLLING_OUT,
    types::REMEDIATING,
    types::SCALING_DOWN,
    types::SCALING_UP,
    types::MACHINES_READY,
    types::CONTROL_PLANE_MACHINES_READY,
    types::WORKER_MACHINES_READY,
    types::MACHINES_UP_TO_DATE,
    types::CONTROL_PLANE_MACHINES_UP_TO_DATE,
    types::WORKER_MACHINES_UP_TO_DATE,
];

/// What comes last.
const AFTER: &[&str] = &[types::PAUSED, types::DELETING];

/// The place of a type in the order.
fn rank(type_: &str) -> usize {
    let place = |list: &[&str]| list.iter().position(|t| *t == type_);
    place(BEFORE)
        .or_else(|| place(AFTER).map(|p| BEFORE.len() + 1 + p))
        .unwrap_or(BEFORE.len())
}

/// Puts conditions into the order in which they are written; unknown types stand alphabetically before `Paused`.
pub fn sort(conditions: &mut [Condition]) {
    conditions.sort_by(|a, b| {
        rank(&a.type_)
            .cmp(&rank(&b.type_))
            .then_with(|| a.type_.cmp(&b.type_))
    });
}

#[cfg(test)]
mod tests {
    use crate::conditions::{Draft, set_in};

    #[test]
    fn available_and_ready_stand_first_then_the_fixed_list_then_gates_then_paused_and_deleting() {
        let mut conditions = Vec::new();
        for type_ in [
            "Deleting",
            "Paused",
            "b.example.com/Gate",
            "AGate",
            "ScalingUp",
            "Ready",
            "UpToDate",
            "Available",
            "NodeReady",
        ] {
            set_in(
                &mut conditions,
                Draft::is_true(type_, "R", ""),
                None,
                jiff::Timestamp::UNIX_EPOCH,
            );
        }
        let types: Vec<&str> = conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(
            types,
            [
                "Available",
                "Ready",
                "UpToDate",
                "NodeReady",
                "ScalingUp",
                "AGate",
                "b.example.com/Gate",
                "Paused",
                "Deleting"
            ]
        );
    }
}

//! Finds the one thing that keeps a cluster from being Available, and what to do about it. Pure.
//!
//! The tree is walked in the order in which a cluster comes up; the first object that is not well and has no unwell
//! child is the cause. What waits for others (a worker for the control plane, a summary for its parts) thus never hides
//! what it waits for.

use std::fmt;

use jiff::Timestamp;

use crate::{
    inventory::{Condition, Inventory, Object},
    tree::{Item, Node},
};

/// Why a cluster is not Available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `Kind namespace/name` of the object at fault.
    pub object: String,
    /// What is wrong, in the words of its controller.
    pub what: String,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// What to do next.
    pub next: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// The cause, or `None` when everything in the tree is well.
pub fn find(inventory: &Inventory, node: &Node<'_>) -> Option<Cause> {
    let object = match &node.item {
        Item::Object(object) => object,
        Item::Folded(_) => return None,
        Item::Heading(_) => return node.children.iter().find_map(|child| find(inventory, child)),
        Item::Missing(reference, field) => {
            return Some(Cause {
                object: format!("{} {}", reference.kind, reference.name),
                what: format!(
                    "does not exist, but {} refers to it",
                    field.replace('/', ".").trim_start_matches('.')
                ),
                since: None,
                next: format!(
                    "create the {} {} in the same namespace, or correct the reference",
                    reference.kind, reference.name
                ),
            });
        }
    };
    if let Some(paused) = object.condition("Paused").filter(|c| c.status == "True") {
        return Some(cause(object, &paused, unpause(object)));
    }
    // A MachineSet has no condition for all of it: its Machines may be ready while others cannot be made.
    let lacks_machines =
        object.kind == "MachineSet" && object.condition("ScalingUp").is_some_and(|c| c.status == "True");
    let well =
        object.headline().is_some_and(|c| c.status == "True") && !object.is_deleting() && !lacks_machines;
    if well {
        return None;
    }
    // A deleting parent waits for its children, but a child that is merely being deleted with it is not at fault.
    let below = node.children.iter().find_map(|child| find(inventory, child));
    below.or_else(|| own(inventory, object))
}

/// What the object itself reports.
fn own(inventory: &Inventory, object: &Object) -> Option<Cause> {
    let conditions = object.conditions();
    if let Some(deleting) = conditions
        .iter()
        .find(|c| c.type_ == "Deleting" && c.status == "True")
    {
        let next = "wait; deletion goes on by itself unless the message names something to remove".to_owned();
        return Some(cause(object, deleting, next));
    }
    let is_unwell = |c: &&Condition| {
        if is_negative(&c.type_) {
            c.status == "True"
        } else {
            c.status != "True"
        }
    };
    let is_summary = |c: &&Condition| matches!(c.type_.as_str(), "Ready" | "Available" | "UpToDate");
    let parts = || {
        conditions
            .iter()
            .filter(|c| !is_summary(c) && !is_progress(&c.type_))
    };
    // False says more than Unknown, and what has a message says more than what has none.
    let worst = parts()
        .filter(is_unwell)
        .min_by_key(|c| (c.status == "Unknown", c.message.is_empty()))
        .or_else(|| conditions.iter().filter(is_progress_of).find(is_unwell))
        .or_else(|| conditions.iter().find(is_unwell));
    if let Some(condition) = worst {
        let next = next_step(object, condition);
        return Some(cause(object, condition, next));
    }
    // An infrastructure object may have no conditions but Paused: there the contract's flag speaks.
    let says_nothing = object.headline().is_none() && is_provisioned(object) != Some(true);
    says_nothing.then(|| silent(inventory, object))
}

fn is_progress_of(condition: &&Condition) -> bool {
    is_progress(&condition.type_)
}

fn is_progress(type_: &str) -> bool {
    matches!(
        type_,
        "ScalingUp" | "ScalingDown" | "RollingOut" | "Remediating" | "Updating"
    )
}

fn is_negative(type_: &str) -> bool {
    is_progress(type_) || matches!(type_, "Deleting" | "Paused")
}

/// Kinds without conditions (an infrastructure cluster may have none) tell by the contract's flag.
fn is_provisioned(object: &Object) -> Option<bool> {
    object
        .at("/status/initialization/provisioned")
        .and_then(serde_json::Value::as_bool)
}

/// Nobody has said anything about the object: most often its provider is not running.
fn silent(inventory: &Inventory, object: &Object) -> Cause {
    let provider = inventory.provider_of(object).unwrap_or("its provider");
    let reported = !object.conditions().is_empty() || object.at("/status").is_some();
    let what = if reported {
        "is not provisioned yet"
    } else {
        "no controller has reported on it yet"
    };
    Cause {
        object: object.described(),
        what: what.to_owned(),
        since: object.created(),
        next: format!("check that {provider} is installed and running, and look at its log"),
    }
}

fn cause(object: &Object, condition: &Condition, next: String) -> Cause {
    let mut what = format!("{} is {}", condition.type_, condition.status);
    if !condition.reason.is_empty() && condition.reason != condition.type_ {
        what += &format!(" ({})", condition.reason);
    }
    let message = condition
        .message
        .split('\n')
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if !message.is_empty() {
        what += &format!(": {}", message.trim_start_matches("* "));
    }
    Cause {
        object: object.described(),
        what,
        since: condition.since,
        next,
    }
}

fn unpause(object: &Object) -> String {
    let (namespace, name) = (object.namespace(), object.name());
    if object.kind == "Cluster" && object.at("/spec/paused") == Some(&true.into()) {
        return format!(
            "kubectl patch cluster {name} -n {namespace} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"
        );
    }
    format!(
        "remove the annotation cluster.x-k8s.io/paused from the {} {name} or set spec.paused of its Cluster to false",
        object.kind
    )
}

fn next_step(object: &Object, condition: &Condition) -> String {
    let waits = ["Waiting", "Provisioning", "NotYetReported"]
        .iter()
        .any(|p| condition.reason.starts_with(p));
    let look = format!(
        "kubectl describe {} {} -n {}",
        object.kind.to_lowercase(),
        object.name(),
        object.namespace()
    );
    match condition.reason.as_str() {
        _ if condition.message.contains("does not exist") => {
            format!(
                "create what is missing, or correct the reference to it in the {}",
                object.kind
            )
        }
        _ if waits => format!("wait; if it does not pass, {look}"),
        "NotReady" | "NotProvisioned" | "NotAvailable" | "NotInitialized" => {
            format!("wait; if it does not pass, {look}")
        }
        "ConnectionDown" | "ProbeFailed" => {
            "check that the workload cluster's API server answers at spec.controlPlaneEndpoint".to_owned()
        }
        _ => look,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        inventory::samples::{condition, object, owned},
        tree,
    };

    const INFRA: &str = "infrastructure.cluster.x-k8s.io";
    const CORE: &str = "cluster.x-k8s.io";

    fn cluster(conditions: serde_json::Value) -> Object {
        object(
            CORE,
            "Cluster",
            "c",
            json!({
            "spec": {"infrastructureRef": {"apiGroup": INFRA, "kind": "DevCluster", "name": "c"},
                     "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp"}},
            "status": {"conditions": conditions}}),
        )
    }

    fn infra(provisioned: bool) -> Object {
        object(
            INFRA,
            "DevCluster",
            "c",
            json!({"status": {"initialization": {"provisioned": provisioned}}}),
        )
    }

    fn control_plane(conditions: serde_json::Value) -> Object {
        object(
            "controlplane.cluster.x-k8s.io",
            "KubeadmControlPlane",
            "cp",
            json!({"status": {"conditions": conditions}}),
        )
    }

    fn machine(name: &str, control_plane: bool, conditions: serde_json::Value) -> Object {
        let mut machine = object(
            CORE,
            "Machine",
            name,
            json!({
            "spec": {"clusterName": "c",
                     "bootstrap": {"configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": name}},
                     "infrastructureRef": {"apiGroup": INFRA, "kind": "DevMachine", "name": name}},
            "status": {"conditions": conditions}}),
        );
        if control_plane {
            machine.object.metadata.labels =
                Some([("cluster.x-k8s.io/control-plane".to_owned(), String::new())].into());
        }
        machine
    }

    fn config(name: &str, conditions: serde_json::Value) -> Object {
        object(
            "bootstrap.cluster.x-k8s.io",
            "KubeadmConfig",
            name,
            json!({"status": {"conditions": conditions}}),
        )
    }

    fn dev_machine(name: &str, conditions: serde_json::Value) -> Object {
        object(
            INFRA,
            "DevMachine",
            name,
            json!({"status": {"conditions": conditions}}),
        )
    }

    fn check(objects: Vec<Object>, expected: &str) {
        let inventory = Inventory::new(objects);
        let cluster = inventory.cluster("c").unwrap();
        let tree = tree::of_cluster(&inventory, cluster, true);
        let found = find(&inventory, &tree).map(|c| c.to_string()).unwrap_or_default();
        assert_eq!(found, expected);
    }

    fn not_available() -> serde_json::Value {
        json!([condition(
            "Available",
            "False",
            "NotAvailable",
            "* InfrastructureReady: ..."
        )])
    }

    fn ok(type_: &str) -> serde_json::Value {
        json!([condition(type_, "True", type_, "")])
    }

    #[test]
    fn nothing_is_found_when_the_cluster_is_available() {
        check(
            vec![
                cluster(ok("Available")),
                infra(true),
                control_plane(ok("Available")),
            ],
            "",
        );
    }

    #[test]
    fn a_missing_reference_is_named_with_its_field() {
        check(
            vec![cluster(not_available()), control_plane(ok("Available"))],
            "DevCluster c: does not exist, but spec.infrastructureRef refers to it",
        );
    }

    #[test]
    fn an_object_that_nobody_reports_on_points_to_its_provider() {
        let silent = object(INFRA, "DevCluster", "c", json!({}));
        check(
            vec![cluster(not_available()), silent],
            "DevCluster default/c: no controller has reported on it yet",
        );
    }

    #[test]
    fn the_control_plane_machine_comes_before_the_workers_that_wait_for_it() {
        let waiting = json!([
            condition("Ready", "False", "NotReady", "* x"),
            condition("DataSecretAvailable", "False", "NotAvailable", "waits")
        ]);
        let booting = json!([
            condition("Ready", "False", "NotReady", ""),
            condition("VMProvisioned", "False", "WaitingForStartupTimeout", "boots")
        ]);
        let not_ready = || json!([condition("Ready", "False", "NotReady", "")]);
        check(
            vec![
                cluster(not_available()),
                infra(true),
                control_plane(json!([condition("Available", "False", "NotAvailable", "")])),
                machine("w", false, not_ready()),
                config("w", waiting),
                dev_machine("w", not_ready()),
                machine("m", true, not_ready()),
                config("m", ok("Ready")),
                dev_machine("m", booting),
            ],
            "DevMachine default/m: VMProvisioned is False (WaitingForStartupTimeout): boots",
        );
    }

    #[test]
    fn a_pause_hides_everything_below_it() {
        let paused = json!([condition(
            "Paused",
            "True",
            "Paused",
            "Cluster spec.paused is set to true"
        )]);
        check(
            vec![cluster(paused), infra(false)],
            "Cluster default/c: Paused is True: Cluster spec.paused is set to true",
        );
    }

    #[test]
    fn a_blocked_deletion_names_what_it_waits_for() {
        let deleting = json!([
            condition("Available", "False", "NotAvailable", ""),
            condition(
                "Deleting",
                "True",
                "WaitingForWorkersDeletion",
                "* Worker Machines: w"
            )
        ]);
        check(
            vec![cluster(deleting), infra(true), control_plane(ok("Available"))],
            "Cluster default/c: Deleting is True (WaitingForWorkersDeletion): Worker Machines: w",
        );
    }

    #[test]
    fn a_set_that_cannot_create_machines_is_the_cause_itself() {
        let deployment = object(
            CORE,
            "MachineDeployment",
            "d",
            json!({"spec": {"clusterName": "c"},
            "status": {"conditions": [condition("Available", "False", "NotAvailable", "0 of 2")]}}),
        );
        let set = owned(
            object(
                CORE,
                "MachineSet",
                "s",
                json!({"spec": {"clusterName": "c"}, "status": {"conditions": [
                condition("MachinesReady", "True", "NoReplicas", ""),
                condition("ScalingUp", "True", "ScalingUp", "Scaling up from 0 to 2 replicas is blocked because:\n* DevMachineTemplate does not exist")]}}),
            ),
            &deployment,
        );
        check(
            vec![
                cluster(not_available()),
                infra(true),
                control_plane(ok("Available")),
                deployment,
                set,
            ],
            "MachineSet default/s: ScalingUp is True: Scaling up from 0 to 2 replicas is blocked because: * DevMachineTemplate does not exist",
        );
    }
}

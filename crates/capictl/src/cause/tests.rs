//! Which of several things that are not well is named.

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

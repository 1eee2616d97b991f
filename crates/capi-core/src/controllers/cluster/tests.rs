//! Plans of Clusters, rule by rule.

use std::sync::Arc;

use capi_api::{
    conditions::get,
    core::v1beta2::{Cluster, ClusterPhase, Machine, MachineDeployment},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    observe::{Probe, Settings, World},
    plan::{Action, Plan, plan},
};
use crate::foreign::{Foreign, testing::found};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn cluster(more: Value) -> Cluster {
    let mut value = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "cu", "generation": 3, "finalizers": ["cluster.cluster.x-k8s.io"]},
        "spec": {"infrastructureRef": {"apiGroup": "i.example.com", "kind": "FooCluster", "name": "c"},
            "controlPlaneRef": {"apiGroup": "p.example.com", "kind": "FooControlPlane", "name": "c"}}});
    merge(&mut value, &more);
    serde_json::from_value(value).unwrap()
}

fn merge(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            for (key, value) in from {
                merge(to.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (to, from) => *to = from.clone(),
    }
}

fn foreign(kind: &str, more: Value) -> Foreign {
    let mut value = json!({"apiVersion": "i.example.com/v1", "kind": kind,
        "metadata": {"name": "c", "namespace": "ns", "labels": {"cluster.x-k8s.io/cluster-name": "c"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "cu"}]}});
    merge(&mut value, &more);
    found(value)
}

fn world(cluster: Cluster) -> World {
    World {
        cluster: Arc::new(cluster),
        infrastructure: Foreign::Missing,
        control_plane: Foreign::Missing,
        pools: Vec::new(),
        deployments: Vec::new(),
        sets: Vec::new(),
        machines: Vec::new(),
        probe: Probe::default(),
        kubeconfig: Default::default(),
    }
}

fn planned(world: &World) -> Plan {
    plan(world, &Settings::default(), now())
}

fn said(plan: &Plan, type_: &str) -> (String, String, String) {
    let c = get(&plan.cluster, type_).unwrap();
    (c.status.clone(), c.reason.clone(), c.message.clone())
}

#[test]
fn an_object_that_is_referred_to_becomes_the_clusters() {
    let mut world = world(cluster(json!({})));
    world.infrastructure = found(json!({"apiVersion": "i.example.com/v1", "kind": "FooCluster",
        "metadata": {"name": "c", "namespace": "ns"}}));
    let plan = planned(&world);
    let [step] = &plan.steps[..] else {
        panic!("{:?}", plan.steps)
    };
    let Action::Claim(_, object) = &step.action else {
        panic!("{step:?}")
    };
    assert_eq!(
        object.metadata.labels.as_ref().unwrap()["cluster.x-k8s.io/cluster-name"],
        "c"
    );
    let owner = &object.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), ("cu", None));
    assert_eq!(step.why, "FooCluster ns/c belongs to Cluster c");
}

#[test]
fn provisioned_infrastructure_lends_its_endpoint_and_failure_domains() {
    let mut world = world(cluster(json!({})));
    world.infrastructure = foreign(
        "FooCluster",
        json!({"spec": {"controlPlaneEndpoint": {"host": "h", "port": 1}},
        "status": {"initialization": {"provisioned": true}, "failureDomains": [{"name": "z"}, {"name": "a"}]}}),
    );
    let plan = planned(&world);
    let status = plan.cluster.status.clone().unwrap();
    assert_eq!(
        plan.cluster
            .spec
            .control_plane_endpoint
            .as_ref()
            .unwrap()
            .host
            .as_deref(),
        Some("h")
    );
    assert_eq!(status.failure_domains.len(), 2);
    assert_eq!(status.phase, Some(ClusterPhase::Provisioned));
    assert_eq!(said(&plan, "InfrastructureReady").0, "True");
    let reasons: Vec<&str> = plan.events.iter().map(|e| e.reason.as_str()).collect();
    assert_eq!(reasons, ["InfrastructureReady"]);
    // The spec changes with this write: what is said is said of the next generation.
    assert_eq!(status.observed_generation, Some(4));
}

#[test]
fn an_endpoint_that_is_set_is_kept() {
    let mut world = world(cluster(
        json!({"spec": {"controlPlaneEndpoint": {"host": "mine", "port": 2}}}),
    ));
    world.infrastructure = foreign(
        "FooCluster",
        json!({"spec": {"controlPlaneEndpoint": {"host": "h", "port": 1}},
        "status": {"initialization": {"provisioned": true}}}),
    );
    let plan = planned(&world);
    assert_eq!(
        plan.cluster.spec.control_plane_endpoint.unwrap().host.as_deref(),
        Some("mine")
    );
}

#[test]
fn what_is_missing_is_said_in_conditions() {
    let plan = planned(&world(cluster(json!({}))));
    assert_eq!(
        said(&plan, "InfrastructureReady"),
        (
            "False".into(),
            "ObjectDoesNotExist".into(),
            "FooCluster does not exist".into()
        )
    );
    assert_eq!(
        said(&plan, "ControlPlaneInitialized").2,
        "FooControlPlane does not exist"
    );
    assert_eq!(
        said(&plan, "RemoteConnectionProbe"),
        (
            "False".into(),
            "ProbeFailed".into(),
            "Remote connection not established yet".into()
        )
    );
    assert_eq!(said(&plan, "WorkersAvailable").1, "NoWorkers");
    assert_eq!(
        said(&plan, "Available").2,
        "* RemoteConnectionProbe: Remote connection not established yet\n* InfrastructureReady: FooCluster does not exist\n* ControlPlaneAvailable: FooControlPlane does not exist"
    );
}

#[test]
fn an_unreadable_reference_is_told_with_its_cause() {
    let mut world = world(cluster(json!({})));
    world.infrastructure = Foreign::Unreadable("install its provider".into());
    let plan = planned(&world);
    assert_eq!(
        said(&plan, "InfrastructureReady"),
        (
            "Unknown".into(),
            "InternalError".into(),
            "install its provider".into()
        )
    );
    assert_eq!(plan.cluster.status.unwrap().observed_generation, None);
}

#[test]
fn a_lost_connection_counts_only_after_its_grace() {
    let mut world = world(cluster(json!({})));
    let ago = |seconds: i64| Some(Timestamp::from_second(now().as_second() - seconds).unwrap());
    world.probe = Probe {
        last_success: ago(49),
        failures: 5,
        error: Some("connection refused".to_owned()),
    };
    let plan = planned(&world);
    assert_eq!(said(&plan, "RemoteConnectionProbe").0, "True");
    assert!(
        matches!(plan.next, capi_runtime::Next::After(wait) if wait.as_secs() == 1),
        "{:?}",
        plan.next
    );
    world.probe.last_success = ago(51);
    assert_eq!(
        said(&planned(&world), "RemoteConnectionProbe").2,
        "Remote connection probe failed, probe last succeeded at 2026-01-01T00:09:09Z: connection refused"
    );
}

#[test]
fn workers_then_control_plane_then_infrastructure_go() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let mut world = world(cluster(deleted));
    world.infrastructure = foreign("FooCluster", json!({}));
    world.control_plane = foreign("FooControlPlane", json!({}));
    let spec = json!({"clusterName": "c", "selector": {}, "template": {"spec": {"clusterName": "c", "bootstrap": {},
        "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}}});
    let owner =
        json!([{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "cu"}]);
    let deployment: MachineDeployment = serde_json::from_value(
        json!({"metadata": {"name": "md", "namespace": "ns", "ownerReferences": owner}, "spec": spec}),
    )
    .unwrap();
    world.deployments = vec![Arc::new(deployment)];
    let machine: Machine = serde_json::from_value(
        json!({"metadata": {"name": "w", "namespace": "ns"}, "spec": spec["template"]["spec"]}),
    )
    .unwrap();
    world.machines = vec![Arc::new(machine)];

    let plan = planned(&world);
    assert!(
        matches!(&plan.steps[..], [step] if matches!(step.action, Action::DeleteDescendant(_))),
        "{:?}",
        plan.steps
    );
    assert_eq!(
        said(&plan, "Deleting"),
        (
            "True".into(),
            "WaitingForWorkersDeletion".into(),
            "* MachineDeployments: md\n* Worker Machines: w".into()
        )
    );
    world.deployments.clear();
    world.machines.clear();

    let plan = planned(&world);
    assert_eq!(
        said(&plan, "Deleting").2,
        "Waiting for FooControlPlane to be deleted"
    );
    assert!(matches!(&plan.steps[..], [step] if matches!(step.action, Action::DeleteForeign(_))));
    world.control_plane = Foreign::Missing;

    assert_eq!(
        said(&planned(&world), "Deleting").1,
        "WaitingForInfrastructureDeletion"
    );
    world.infrastructure = Foreign::Missing;

    let plan = planned(&world);
    assert!(plan.finish);
    assert_eq!(said(&plan, "Deleting").1, "DeletionCompleted");
    assert!(plan.events.iter().any(|e| e.reason == "Deleted"));
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let mut world = world(cluster(json!({})));
    world.infrastructure = foreign(
        "FooCluster",
        json!({"spec": {"controlPlaneEndpoint": {"host": "h", "port": 1}},
        "status": {"initialization": {"provisioned": true}}}),
    );
    world.control_plane = foreign(
        "FooControlPlane",
        json!({"status": {"initialization": {"controlPlaneInitialized": true}}}),
    );
    let mut first = planned(&world).cluster;
    assert_eq!(first.metadata.generation, Some(4));
    first.metadata.generation = Some(4);
    world.cluster = Arc::new(first.clone());
    let later = plan(
        &world,
        &Settings::default(),
        "2026-01-01T01:00:00Z".parse().unwrap(),
    );
    assert_eq!(later.cluster, first);
    assert!(later.steps.is_empty() && later.events.is_empty());
}

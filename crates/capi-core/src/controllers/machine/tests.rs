//! Plans of Machines, rule by rule.

use std::sync::Arc;

use capi_api::{
    conditions::get,
    core::v1beta2::{Cluster, Machine, MachinePhase},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::{
    drain::rules::View,
    observe::{NodeView, Settings, World},
    plan::{Action, Plan, plan},
};
use crate::{
    controllers::cluster::observe::Probe,
    foreign::{Foreign, testing::found},
};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
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

fn machine(more: Value) -> Machine {
    let mut value = json!({
        "metadata": {"name": "m", "namespace": "ns", "uid": "mu", "generation": 1, "finalizers": ["machine.cluster.x-k8s.io"],
            "labels": {"cluster.x-k8s.io/set-name": "ms"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet", "name": "ms", "uid": "su", "controller": true}]},
        "spec": {"clusterName": "c", "version": "v1.35.0",
            "bootstrap": {"configRef": {"apiGroup": "b.example.com", "kind": "FooConfig", "name": "m"}},
            "infrastructureRef": {"apiGroup": "i.example.com", "kind": "FooMachine", "name": "m"}}});
    merge(&mut value, &more);
    serde_json::from_value(value).unwrap()
}

fn foreign(kind: &str, more: Value) -> Foreign {
    let mut value = json!({"apiVersion": "i.example.com/v1", "kind": kind,
        "metadata": {"name": "m", "namespace": "ns", "labels": {"cluster.x-k8s.io/cluster-name": "c"},
            "ownerReferences": [{"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": "m", "uid": "mu",
                "controller": true, "blockOwnerDeletion": true}]}});
    merge(&mut value, &more);
    found(value)
}

/// A Machine in an initialised Cluster with a connection.
fn world(machine: Machine) -> World {
    let cluster: Cluster = serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": {},
        "status": {"initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true},
            "conditions": [{"type": "ControlPlaneInitialized", "status": "True", "reason": "Initialized", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
    .unwrap();
    World {
        machine: Arc::new(machine),
        cluster: Arc::new(cluster),
        set: None,
        deployment: None,
        bootstrap: foreign("FooConfig", json!({})),
        infrastructure: foreign("FooMachine", json!({})),
        node: NodeView::Absent,
        probe: Probe {
            last_success: Some(now()),
            failures: 0,
            error: None,
        },
        control_plane: Foreign::Unset,
        control_plane_machines: 1,
        rules: Vec::new(),
        drain: None,
        volumes: None,
        trouble: None,
        seen: now(),
    }
}

fn node(more: Value) -> NodeView {
    let mut value = json!({"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"providerID": "p"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:05:00Z"},
            {"type": "MemoryPressure", "status": "False"}, {"type": "DiskPressure", "status": "False"},
            {"type": "PIDPressure", "status": "False"}]}});
    merge(&mut value, &more);
    NodeView::Found(Arc::new(serde_json::from_value::<Node>(value).unwrap()))
}

fn planned(world: &World) -> Plan {
    plan(world, &Settings::default(), now())
}

fn said(plan: &Plan, type_: &str) -> (String, String, String) {
    let c = get(&plan.machine, type_).unwrap();
    (c.status.clone(), c.reason.clone(), c.message.clone())
}

fn running() -> Value {
    json!({"spec": {"providerID": "p", "bootstrap": {"dataSecretName": "s"}},
        "status": {"nodeRef": {"name": "n"}, "initialization": {"infrastructureProvisioned": true, "bootstrapDataSecretCreated": true}}})
}

#[test]
fn a_clone_passes_from_its_maker_to_the_machine() {
    let mut world = world(machine(json!({})));
    world.infrastructure = found(json!({"apiVersion": "i.example.com/v1", "kind": "FooMachine",
        "metadata": {"name": "m", "namespace": "ns", "ownerReferences": [
            {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "MachineSet", "name": "ms", "uid": "su"},
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "ou"}]}}));
    let plan = planned(&world);
    let [step] = &plan.steps[..] else {
        panic!("{:?}", plan.steps)
    };
    let Action::Claim(_, object) = &step.action else {
        panic!("{step:?}")
    };
    let owners: Vec<_> = object
        .metadata
        .owner_references
        .iter()
        .flatten()
        .map(|o| (o.kind.as_str(), o.controller))
        .collect();
    assert_eq!(owners, [("ConfigMap", None), ("Machine", Some(true))]);
}

#[test]
fn bootstrap_data_and_host_lead_to_the_next_phases() {
    let mut world = world(machine(json!({})));
    assert_eq!(
        planned(&world).machine.status.unwrap().phase,
        Some(MachinePhase::Pending)
    );
    world.bootstrap = foreign(
        "FooConfig",
        json!({"status": {"initialization": {"dataSecretCreated": true}, "dataSecretName": "s"}}),
    );
    let plan = planned(&world);
    assert_eq!(plan.machine.spec.bootstrap.data_secret_name.as_deref(), Some("s"));
    assert_eq!(
        plan.machine.status.as_ref().unwrap().phase,
        Some(MachinePhase::Provisioning)
    );
    world.infrastructure = foreign(
        "FooMachine",
        json!({"spec": {"providerID": "p"},
        "status": {"initialization": {"provisioned": true}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
    );
    let plan = planned(&world);
    assert_eq!(
        plan.machine.status.as_ref().unwrap().phase,
        Some(MachinePhase::Provisioned)
    );
    assert_eq!(plan.machine.status.as_ref().unwrap().addresses.len(), 1);
    // It is said of the Machine as it is written now, so that the next reconcile has nothing to correct.
    assert_eq!(
        said(&plan, "NodeHealthy").2,
        "Waiting for a Node with spec.providerID p to exist"
    );
    world.node = node(json!({}));
    let plan = planned(&world);
    assert_eq!(
        plan.machine.status.as_ref().unwrap().phase,
        Some(MachinePhase::Running)
    );
    assert_eq!(said(&plan, "Ready").0, "True");
    assert_eq!(said(&plan, "Available").0, "True");
    // The Node's own transition time is taken over.
    let ready = get(&plan.machine, "NodeReady").unwrap().last_transition_time.0;
    assert_eq!(ready, "2026-01-01T00:05:00Z".parse().unwrap());
}

#[test]
fn what_it_waits_for_is_said() {
    let plan = planned(&world(machine(json!({}))));
    assert_eq!(
        said(&plan, "BootstrapConfigReady").2,
        "FooConfig status.initialization.dataSecretCreated is false"
    );
    assert_eq!(
        said(&plan, "InfrastructureReady").2,
        "FooMachine status.initialization.provisioned is false"
    );
    assert_eq!(
        said(&plan, "NodeHealthy").2,
        "Waiting for FooMachine to report spec.providerID"
    );
    let mut waiting = world(machine(json!({})));
    waiting.cluster =
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {}})).unwrap());
    assert_eq!(
        said(&planned(&waiting), "NodeHealthy").2,
        "Waiting for Cluster status.initialization.infrastructureProvisioned to be true"
    );
}

#[test]
fn it_is_available_only_after_its_min_ready_seconds() {
    let mut world = world(machine(merged(
        running(),
        json!({"spec": {"minReadySeconds": 30}}),
    )));
    world.infrastructure = foreign(
        "FooMachine",
        json!({"spec": {"providerID": "p"}, "status": {"initialization": {"provisioned": true}}}),
    );
    world.node = node(json!({}));
    let plan = planned(&world);
    assert_eq!(
        said(&plan, "Available"),
        ("False".into(), "WaitingForMinReadySeconds".into(), String::new())
    );
    assert_eq!(
        plan.next,
        capi_runtime::Next::After(std::time::Duration::from_secs(30))
    );
}

fn merged(mut a: Value, b: Value) -> Value {
    merge(&mut a, &b);
    a
}

#[test]
fn a_lost_connection_keeps_what_was_seen_until_its_grace_is_over() {
    let mut world = world(machine(running()));
    world.infrastructure = foreign(
        "FooMachine",
        json!({"spec": {"providerID": "p"}, "status": {"initialization": {"provisioned": true}}}),
    );
    world.node = node(json!({}));
    let healthy = planned(&world).machine;
    world.machine = Arc::new(healthy);
    world.node = NodeView::Disconnected("refused".into());
    let ago = |seconds: i64| Some(Timestamp::from_second(now().as_second() - seconds).unwrap());
    world.probe = Probe {
        last_success: ago(299),
        failures: 5,
        error: None,
    };
    let plan = planned(&world);
    assert_eq!(said(&plan, "NodeHealthy").0, "True");
    assert!(matches!(plan.next, capi_runtime::Next::After(_)));
    world.probe.last_success = ago(301);
    let plan = planned(&world);
    assert_eq!(
        said(&plan, "NodeHealthy"),
        (
            "Unknown".into(),
            "ConnectionDown".into(),
            "Last successful probe at 2026-01-01T00:04:59Z".into()
        )
    );
}

fn deleting(more: Value) -> World {
    let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:58Z"}});
    let mut world = world(machine(merged(merged(running(), gone), more)));
    world.infrastructure = foreign(
        "FooMachine",
        json!({"spec": {"providerID": "p"}, "status": {"initialization": {"provisioned": true}}}),
    );
    world.node = node(
        json!({"spec": {"unschedulable": true}, "metadata": {"annotations": {
        "cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/cluster-namespace": "ns", "cluster.x-k8s.io/machine": "m",
        "cluster.x-k8s.io/owner-kind": "MachineSet", "cluster.x-k8s.io/owner-name": "ms",
        "cluster.x-k8s.io/labels-from-machine": "", "cluster.x-k8s.io/annotations-from-machine": ""}}}),
    );
    world.drain = Some(View::default());
    world
}

fn stage(plan: &Plan) -> String {
    said(plan, "Deleting").1
}

#[test]
fn hooks_hold_a_deletion_before_the_drain_and_before_the_host_goes() {
    let hook = |prefix: &str| json!({"metadata": {"annotations": {format!("{prefix}.delete.hook.machine.cluster.x-k8s.io/x"): ""}}});
    let plan = planned(&deleting(hook("pre-drain")));
    assert_eq!(stage(&plan), "WaitingForPreDrainHook");
    assert!(plan.steps.is_empty());
    let plan = planned(&deleting(hook("pre-terminate")));
    assert_eq!(
        said(&plan, "Deleting").2,
        "Waiting for pre-terminate hooks to succeed (hooks: pre-terminate.delete.hook.machine.cluster.x-k8s.io/x)"
    );
    assert!(
        plan.machine
            .status
            .unwrap()
            .deletion
            .unwrap()
            .wait_for_pre_terminate_hook_start_time
            .is_some()
    );
}

#[test]
fn pods_leave_before_the_host_goes() {
    let mut world = deleting(json!({}));
    let pod = |name: &str, owner: &str| -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "a", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u", "controller": true}]}}),
        )
        .unwrap()
    };
    world.drain = Some(View {
        pods: vec![pod("web", "ReplicaSet"), pod("agent", "DaemonSet")],
        daemon_sets: [("a".to_owned(), "o".to_owned())].into(),
        ..View::default()
    });
    let plan = planned(&world);
    assert_eq!(stage(&plan), "DrainingNode");
    let [step] = &plan.steps[..] else {
        panic!("{:?}", plan.steps)
    };
    let Action::Evict(round, _) = &step.action else {
        panic!("{step:?}")
    };
    assert_eq!(round.now.len(), 1);
    assert!(said(&plan, "Deleting").2.contains("* Pod a/web:"));

    world.machine = Arc::new(machine(merged(
        serde_json::to_value(&*world.machine).unwrap(),
        json!({"spec": {"deletion": {"nodeDrainTimeoutSeconds": 60}}, "status": {"deletion": {"nodeDrainStartTime": "2026-01-01T00:08:59Z"}}}),
    )));
    assert_eq!(
        stage(&planned(&world)),
        "WaitingForInfrastructureDeletion",
        "the drain timed out"
    );
}

#[test]
fn a_node_is_cordoned_first() {
    let mut world = deleting(json!({}));
    let NodeView::Found(found) = &world.node else {
        panic!()
    };
    let mut open = (**found).clone();
    open.spec.as_mut().unwrap().unschedulable = None;
    world.node = NodeView::Found(Arc::new(open));
    let plan = planned(&world);
    assert!(
        matches!(plan.steps[0].action, Action::Cordon(_)),
        "{:?}",
        plan.steps
    );
}

#[test]
fn host_then_bootstrap_then_node_go() {
    let mut world = deleting(json!({}));
    let plan = planned(&world);
    assert_eq!(stage(&plan), "WaitingForInfrastructureDeletion");
    assert!(
        matches!(&plan.steps[..], [step] if matches!(&step.action, Action::DeleteForeign(f) if f.resource.kind == "FooMachine"))
    );
    world.infrastructure = Foreign::Missing;
    let plan = planned(&world);
    assert_eq!(stage(&plan), "WaitingForBootstrapDeletion");
    world.bootstrap = Foreign::Missing;
    let plan = planned(&world);
    assert!(plan.finish);
    assert!(
        matches!(&plan.steps[..], [step] if matches!(&step.action, Action::DeleteNode { name, required: true } if name == "n")),
        "{:?}",
        plan.steps
    );
}

#[test]
fn the_node_stays_when_the_cluster_or_the_last_control_plane_machine_goes() {
    let mut world = deleting(json!({}));
    world.infrastructure = Foreign::Missing;
    world.bootstrap = Foreign::Missing;
    world.control_plane_machines = 0;
    let plan = planned(&world);
    assert!(plan.finish && plan.steps.is_empty(), "{:?}", plan.steps);
    world.control_plane_machines = 1;
    let mut cluster = (*world.cluster).clone();
    cluster.metadata.deletion_timestamp = world.machine.metadata.deletion_timestamp.clone();
    world.cluster = Arc::new(cluster);
    assert!(planned(&world).steps.is_empty());
}

#[test]
fn a_node_that_cannot_be_reached_is_waited_for_until_the_timeout() {
    let mut world = deleting(json!({"spec": {"deletion": {"nodeDeletionTimeoutSeconds": 10}}}));
    world.infrastructure = Foreign::Missing;
    world.bootstrap = Foreign::Missing;
    world.node = NodeView::Disconnected("refused".into());
    let plan = planned(&world);
    assert_eq!(said(&plan, "Deleting").2, "Waiting to delete Node n: refused");
    assert!(!plan.finish);
    assert!(
        matches!(plan.next, capi_runtime::Next::After(wait) if wait.as_secs() == 8),
        "{:?}",
        plan.next
    );
    let later = super::plan::plan(
        &world,
        &Settings::default(),
        "2026-01-01T00:10:09Z".parse().unwrap(),
    );
    assert!(later.finish);
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let mut world = world(machine(running()));
    world.infrastructure = foreign(
        "FooMachine",
        json!({"spec": {"providerID": "p"}, "status": {"initialization": {"provisioned": true}}}),
    );
    world.node = deleting(json!({})).node;
    let first = planned(&world).machine;
    world.machine = Arc::new(first.clone());
    let later = plan(
        &world,
        &Settings::default(),
        "2026-01-01T01:00:00Z".parse().unwrap(),
    );
    assert_eq!(later.machine, first);
    assert!(
        later.steps.is_empty() && later.events.is_empty(),
        "{:?}",
        later.steps
    );
    assert_eq!(later.next, capi_runtime::Next::Done);
}

#[test]
fn a_machine_waits_for_its_volumes_but_not_for_ever() {
    let mut world = deleting(json!({"status": {"deletion": {"nodeDrainStartTime": "2026-01-01T00:09:00Z"}}}));
    world.volumes = Some(super::drain::volumes::View {
        attachments: ["lost".to_owned()].into(),
        volumes: Vec::new(),
    });
    let plan = planned(&world);
    assert_eq!(stage(&plan), "WaitingForVolumeDetach");
    assert_eq!(
        said(&plan, "Deleting").2,
        "Waiting for Node volumes to be detached (started at 2026-01-01T00:10:00Z)\n\
         * VolumeAttachment with .spec.source.persistentVolumeName not matching a PersistentVolume: lost"
    );
    let excluded = json!({"metadata": {"annotations": {"machine.cluster.x-k8s.io/exclude-wait-for-node-volume-detach": ""}}});
    let late = json!({"spec": {"deletion": {"nodeVolumeDetachTimeoutSeconds": 30}},
        "status": {"deletion": {"waitForNodeVolumeDetachStartTime": "2026-01-01T00:09:30Z"}}});
    for change in [excluded, late] {
        let mut patient = world.clone();
        let all = serde_json::to_value(&*world.machine).unwrap();
        patient.machine = Arc::new(machine(merged(all, change.clone())));
        assert_eq!(
            stage(&planned(&patient)),
            "WaitingForInfrastructureDeletion",
            "{change}"
        );
    }
}

#[test]
fn a_control_plane_machine_is_drained_only_while_its_api_server_runs() {
    let owned = json!({"metadata": {"labels": {"cluster.x-k8s.io/control-plane": ""}, "ownerReferences": [
        {"apiVersion": "controlplane.cluster.x-k8s.io/v1beta2", "kind": "KubeadmControlPlane", "name": "cp", "uid": "k", "controller": true}]}});
    let hook = json!({"metadata": {"annotations": {"pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup": ""}}});
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "a"}})).unwrap();
    let view = View {
        pods: vec![pod],
        ..View::default()
    };
    for (change, expected) in [
        (merged(owned.clone(), hook), "DrainingNode"),
        (owned, "WaitingForInfrastructureDeletion"),
    ] {
        let mut world = deleting(change);
        world.drain = Some(view.clone());
        assert_eq!(stage(&planned(&world)), expected);
    }
}

#[test]
fn what_cannot_be_read_of_a_node_is_said_and_a_broken_rule_too() {
    let mut world = deleting(json!({}));
    world.trouble = Some("the API server is tired".into());
    assert!(
        said(&planned(&world), "Deleting")
            .2
            .contains("the API server is tired")
    );
    world.trouble = None;
    let rule = json!({"metadata": {"name": "broken"}, "spec": {"drain": {"behavior": "Skip"},
        "pods": [{"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]}});
    world.rules = vec![Arc::new(serde_json::from_value(rule).unwrap())];
    let plan = planned(&world);
    assert_eq!(stage(&plan), "DrainingNode");
    assert!(said(&plan, "Deleting").2.contains("MachineDrainRule broken"));
    assert!(plan.steps.is_empty());
}

#[test]
fn a_node_that_cannot_be_deleted_holds_its_machine_only_for_a_while() {
    let required = |change: Value| {
        let mut world = deleting(change);
        world.infrastructure = Foreign::Missing;
        world.bootstrap = Foreign::Missing;
        match &planned(&world).steps[..] {
            [step] => match &step.action {
                Action::DeleteNode { required, .. } => *required,
                other => panic!("{other:?}"),
            },
            steps => panic!("{steps:?}"),
        }
    };
    let timeout = |seconds: i32| json!({"spec": {"deletion": {"nodeDeletionTimeoutSeconds": seconds}}});
    assert!(required(timeout(0)), "0 is for ever");
    assert!(required(timeout(3600)));
    assert!(!required(timeout(1)));
}

//! Worlds for tests, and the tests of the pure rules, one file a topic.

mod addons_tests;
mod availability_tests;
mod certificates_tests;
mod machine_conditions_tests;
mod machines_tests;
mod plan_tests;
mod property_tests;
mod remediation_tests;
mod rollout_tests;
mod status_tests;
mod stray_tests;
mod up_to_date_tests;

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    bootstrap::v1beta2::KubeadmConfig,
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::{Cluster, Machine},
    secrets::Purpose,
};
use cluster_pki::PooledKeys;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use seams::SeededRandomness;
use serde_json::{Value, json};

use super::{
    certificates::{self, Sources},
    machines::{self, Role},
    plan::NamesInUse,
    world::{MachineView, Template, Workload, WorkloadView, World},
};
use crate::workload::etcd::{EtcdMember, EtcdView, MemberAnswer};

/// The present of all tests.
pub fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// Nothing is left over.
pub struct NothingInUse;

impl NamesInUse for NothingInUse {
    fn in_use(&self, _: &str) -> bool {
        false
    }
}

/// Merges JSON into JSON.
pub fn merge(target: &mut Value, changes: Value) {
    match changes {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            fields
                .into_iter()
                .for_each(|(field, value)| merge(&mut target[field], value));
        }
        other => *target = other,
    }
}

/// A control plane with some fields changed.
pub fn control_plane(changes: Value) -> KubeadmControlPlane {
    let mut value = json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
        "kind": "KubeadmControlPlane",
        "metadata": { "name": "cp", "namespace": "ns", "uid": "uid-cp", "generation": 1 },
        "spec": {
            "replicas": 1,
            "version": "v1.35.0",
            "machineTemplate": { "spec": { "infrastructureRef": {
                "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": "template" } } },
            "kubeadmConfigSpec": {
                "initConfiguration": { "nodeRegistration": { "criSocket": "s" } },
                "joinConfiguration": { "nodeRegistration": { "criSocket": "s" } },
            },
        },
    });
    merge(&mut value, changes);
    serde_json::from_value(value).unwrap()
}

fn cluster(changes: Value) -> Arc<Cluster> {
    let mut value = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": "c", "namespace": "ns", "uid": "uid-c" },
        "spec": { "controlPlaneEndpoint": { "host": "10.0.0.1", "port": 6443 } },
        "status": { "initialization": { "infrastructureProvisioned": true } },
    });
    merge(&mut value, changes);
    Arc::new(serde_json::from_value(value).unwrap())
}

fn template() -> Template {
    let gvk = GroupVersionKind::gvk("infrastructure.cluster.x-k8s.io", "v1beta2", "DevMachineTemplate");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "devmachinetemplates");
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "DevMachineTemplate",
        "metadata": { "name": "template", "namespace": "ns", "uid": "uid-t", "ownerReferences": [
            { "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c", "uid": "uid-c" } ] },
        "spec": { "template": { "spec": { "backend": { "inMemory": {} } } } },
    }))
    .unwrap();
    Template::Found {
        object: Arc::new(object),
        resource,
    }
}

/// A world before anything was done.
pub fn world(control_plane_changes: Value) -> World {
    World {
        control_plane: control_plane(control_plane_changes),
        cluster: cluster(json!({})),
        secrets: BTreeMap::new(),
        machines: Vec::new(),
        orphans: Vec::new(),
        foreign: Vec::new(),
        template: template(),
        unfinished: Vec::new(),
        workers: Vec::new(),
        workload: Workload::NotAsked,
    }
}

/// The same with another Cluster.
pub fn with_cluster(world: World, changes: Value) -> World {
    World {
        cluster: cluster(changes),
        ..world
    }
}

/// The same with all Secrets.
pub fn with_secrets(mut world: World) -> World {
    let (keys, randomness) = (PooledKeys::new(), SeededRandomness::new(1));
    let sources = Sources {
        keys: &keys,
        randomness: &randomness,
        now: now(),
    };
    for purpose in certificates::to_generate(&world) {
        let secret = certificates::generate(&world, purpose, &sources).unwrap();
        world.secrets.insert(purpose, Arc::new(secret));
    }
    let kubeconfig = certificates::kubeconfig(&world, &sources).unwrap();
    world.secrets.insert(Purpose::Kubeconfig, Arc::new(kubeconfig));
    world
}

/// The same with one more Machine, as the control plane would make it, changed a little.
pub fn with_machine(mut world: World, name: &str, role: Role, changes: Value) -> World {
    let new = machines::new_machine(&world, name, role, None).unwrap();
    let mut value = serde_json::to_value(&new.machine).unwrap();
    merge(
        &mut value,
        json!({ "metadata": { "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-20T11:00:00Z" } }),
    );
    merge(&mut value, changes);
    let machine: Machine = serde_json::from_value(value).unwrap();
    let mut config: KubeadmConfig = new.config;
    config.metadata.annotations.get_or_insert_default().insert(
        capi_api::annotations::CERTIFICATES_EXPIRY.to_owned(),
        "2027-11-20T12:00:00Z".to_owned(),
    );
    world.machines.push(MachineView {
        machine: Arc::new(machine),
        config: Some(Arc::new(config)),
        infrastructure: Some(Arc::new(new.infrastructure)),
    });
    world.machines.sort_by_key(MachineView::name);
    world
}

/// JSON of a Machine that has its Node and all conditions.
pub fn healthy(node: &str) -> Value {
    let types = [
        "Ready",
        "Available",
        "UpToDate",
        "NodeKubeadmLabelsAndTaintsSet",
        "APIServerPodHealthy",
        "ControllerManagerPodHealthy",
        "SchedulerPodHealthy",
        "EtcdPodHealthy",
        "EtcdMemberHealthy",
    ];
    let conditions: Vec<Value> = types
        .iter()
        .map(|type_| condition(type_, "True", "R", ""))
        .collect();
    json!({
        "spec": { "providerID": format!("inmemory:///{node}") },
        "status": { "nodeRef": { "name": node }, "conditions": conditions },
    })
}

/// JSON of a condition that is old enough to count.
pub fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-20T11:30:00Z" })
}

/// A control plane Node.
pub fn node(name: &str) -> Arc<Node> {
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "taints": [{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap(),
    )
}

/// A static pod with this status.
pub fn pod(name: &str, status: Value) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "kube-system", "labels": { "tier": "control-plane" } },
            "status": status,
        }))
        .unwrap(),
    )
}

/// The status of a pod that is ready.
pub fn ready_pod() -> Value {
    json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] })
}

/// A workload cluster in which these Nodes run everything.
pub fn workload(nodes: &[&str]) -> Workload {
    let mut view = WorkloadView {
        initialized: true,
        ..WorkloadView::default()
    };
    for name in nodes {
        view.nodes.insert((*name).to_owned(), node(name));
        for component in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "etcd",
        ] {
            let name = format!("{component}-{name}");
            view.pods.insert(name.clone(), Ok(pod(&name, ready_pod())));
        }
    }
    let member = |(id, name): (usize, &&str)| EtcdMember {
        id: id as u64 + 1,
        name: (*name).to_owned(),
        learner: false,
    };
    view.etcd = Some(EtcdView {
        members: Ok(nodes.iter().enumerate().map(member).collect()),
        alarms: Ok(BTreeMap::new()),
        answers: nodes
            .iter()
            .map(|name| ((*name).to_owned(), Ok(answer())))
            .collect(),
    });
    Workload::Connected(Box::new(view))
}

/// The answer of a member that is well.
pub fn answer() -> MemberAnswer {
    MemberAnswer {
        leader: 1,
        cluster: 7,
        ..MemberAnswer::default()
    }
}

/// The connected workload cluster, to be changed.
pub fn view(world: &mut World) -> &mut WorkloadView {
    match &mut world.workload {
        Workload::Connected(view) => view,
        _ => panic!("not connected"),
    }
}

/// A control plane with these healthy Machines `m0`, `m1`, ... on Nodes `n0`, `n1`, ...
pub fn running(machines: usize, control_plane_changes: Value) -> World {
    let mut changes = json!({ "spec": { "replicas": machines }, "status": {
        "observedGeneration": 1,
        "initialization": { "controlPlaneInitialized": true }, "conditions": [condition("Initialized", "True", "Initialized", "")] } });
    merge(&mut changes, control_plane_changes);
    let mut before = world(json!({}));
    before = with_secrets(before);
    let secrets = before.secrets;
    let mut world = World {
        secrets,
        ..world(changes)
    };
    let current = world.control_plane.clone();
    // Machines are as the unchanged control plane made them.
    let unchanged = control_plane(json!({}));
    let replicas = current.spec.replicas;
    world.control_plane = KubeadmControlPlane {
        status: current.status.clone(),
        ..unchanged
    };
    let nodes: Vec<String> = (0..machines).map(|i| format!("n{i}")).collect();
    for (i, node) in nodes.iter().enumerate() {
        let role = if i == 0 { Role::Init } else { Role::Join };
        world = with_machine(world, &format!("m{i}"), role, healthy(node));
    }
    world.control_plane = current;
    world.control_plane.spec.replicas = replicas;
    world.workload = workload(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    world
}

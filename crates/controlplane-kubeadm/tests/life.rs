//! A control plane from the first manifest to its deletion, against an API server, with Machines, infrastructure and
//! the workload cluster played by the test.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod scenarios;
mod support;

use capi_api::{
    bootstrap::v1beta2::KubeadmConfig,
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::{Cluster, Machine},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use support::*;

/// Cluster, template and control plane, as the Cluster controller leaves them: owner reference and label set.
async fn manifest(world: &World, replicas: i32) {
    let cluster: Cluster = world
        .create(json!({
            "metadata": { "name": "c", "namespace": "default" },
            "spec": {
                "controlPlaneRef": { "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "cp" },
                "infrastructureRef": { "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "c" },
            },
        }))
        .await;
    let template = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevMachineTemplate",
        "metadata": { "name": "template", "namespace": "default" },
        "spec": { "template": { "spec": { "backend": { "inMemory": {} } } } },
    });
    world
        .foreign("DevMachineTemplate")
        .create(&Default::default(), &serde_json::from_value(template).unwrap())
        .await
        .unwrap();
    world
        .create::<KubeadmControlPlane>(json!({
            "metadata": {
                "name": "cp", "namespace": "default", "labels": { "cluster.x-k8s.io/cluster-name": "c" },
                "ownerReferences": [{ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "c",
                    "uid": cluster.uid().unwrap(), "controller": true }],
            },
            "spec": {
                "replicas": replicas, "version": "v1.35.0",
                "machineTemplate": { "spec": { "infrastructureRef": {
                    "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": "template" } } },
                "kubeadmConfigSpec": {
                    "initConfiguration": { "nodeRegistration": { "criSocket": "s" } },
                    "joinConfiguration": { "nodeRegistration": { "criSocket": "s" } },
                },
            },
        }))
        .await;
}

async fn provision_infrastructure(world: &World) {
    world
        .merge::<Cluster>(
            "c",
            json!({ "spec": { "controlPlaneEndpoint": { "host": "10.0.0.1", "port": 6443 } } }),
        )
        .await;
    world
        .merge_status::<Cluster>(
            "c",
            json!({ "initialization": { "infrastructureProvisioned": true } }),
        )
        .await;
}

async fn machines(world: &World) -> Vec<Machine> {
    let mut machines = world
        .api::<Machine>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    machines.sort_by_key(|machine| {
        (
            machine.metadata.creation_timestamp.as_ref().map(|time| time.0),
            machine.name_any(),
        )
    });
    machines
}

/// What the Machine controller and a booted machine do: a Node appears and the Machine refers to it.
async fn boot(world: &World, machine: &str) {
    world
        .merge::<Machine>(
            machine,
            json!({ "spec": { "providerID": format!("inmemory:///{machine}") } }),
        )
        .await;
    world.workload.add_node(machine).await;
    let mut conditions = world.json::<Machine>(machine).await["status"]["conditions"].clone();
    for type_ in ["Ready", "Available"] {
        conditions.as_array_mut().unwrap().push(
            json!({ "type": type_, "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }),
        );
    }
    world
        .merge_status::<Machine>(
            machine,
            json!({ "nodeRef": { "name": machine }, "conditions": conditions }),
        )
        .await;
}

fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let all = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = all
        .iter()
        .find(|condition| condition["type"] == type_)
        .cloned()
        .unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

async fn control_plane(world: &World) -> Value {
    world.json::<KubeadmControlPlane>("cp").await
}

async fn up(world: &World) -> String {
    manifest(world, 1).await;
    provision_infrastructure(world).await;
    eventually("there is a Machine", || async {
        machines(world).await.len() == 1
    })
    .await;
    let name = machines(world).await[0].name_any();
    settle().await;
    world.workload.initialize().await;
    boot(world, &name).await;
    eventually("it is available", || async {
        condition(&control_plane(world).await, "Available").0 == "True"
    })
    .await;
    name
}

#[tokio::test(start_paused = true)]
async fn each_step_waits_for_the_one_before_and_says_so() {
    let world = world(1).await;
    manifest(&world, 1).await;
    settle().await;
    let waiting = control_plane(&world).await;
    assert_eq!(
        waiting["metadata"]["finalizers"],
        json!(["kubeadm.controlplane.cluster.x-k8s.io"])
    );
    assert_eq!(
        condition(&waiting, "ControlPlaneComponentsHealthy").2,
        "Waiting for Cluster status.infrastructureReady to be true"
    );
    assert!(
        world
            .api::<Secret>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    world
        .merge_status::<Cluster>(
            "c",
            json!({ "initialization": { "infrastructureProvisioned": true } }),
        )
        .await;
    settle().await;
    let names = |secrets: Vec<Secret>| secrets.iter().map(|secret| secret.name_any()).collect::<Vec<_>>();
    let secrets = world
        .api::<Secret>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(names(secrets), ["c-ca", "c-etcd", "c-proxy", "c-sa"]);
    assert_eq!(
        condition(&control_plane(&world).await, "ControlPlaneComponentsHealthy").2,
        "Waiting for Cluster spec.controlPlaneEndpoint to be set"
    );

    provision_infrastructure(&world).await;
    settle().await;
    let machines = machines(&world).await;
    assert_eq!(machines.len(), 1);
    let name = machines[0].name_any();
    assert!(
        world
            .api::<KubeadmConfig>()
            .get_opt(&name)
            .await
            .unwrap()
            .is_some()
    );
    let clone = world.foreign("DevMachine").get(&name).await.unwrap();
    assert_eq!(
        clone.annotations()["cluster.x-k8s.io/cloned-from-name"],
        "template"
    );
    assert!(
        world
            .api::<Secret>()
            .get_opt("c-kubeconfig")
            .await
            .unwrap()
            .is_some()
    );
    let now = control_plane(&world).await;
    assert_eq!(condition(&now, "CertificatesAvailable").0, "True");
    assert_eq!(
        condition(&now, "Available").2,
        "Control plane not yet initialized"
    );
    assert_eq!(now["status"]["replicas"], 1);
    let machine = world.json::<Machine>(&name).await;
    assert_eq!(condition(&machine, "UpToDate").0, "True");
    assert_eq!(
        condition(&machine, "EtcdMemberHealthy").2,
        "Waiting for Cluster control plane to be initialized"
    );

    world.workload.initialize().await;
    eventually("it is initialised", || async {
        condition(&control_plane(&world).await, "Initialized").0 == "True"
    })
    .await;
    settle().await;
    let machine = world.json::<Machine>(&name).await;
    assert_eq!(
        condition(&machine, "APIServerPodHealthy").2,
        "Waiting for DevMachine to report spec.providerID"
    );

    boot(&world, &name).await;
    settle().await;
    let done = control_plane(&world).await;
    for type_ in [
        "Available",
        "EtcdClusterHealthy",
        "ControlPlaneComponentsHealthy",
        "MachinesReady",
    ] {
        assert_eq!(
            condition(&done, type_),
            ("True".into(), condition(&done, type_).1, String::new()),
            "{type_}"
        );
    }
    for counter in [
        "replicas",
        "readyReplicas",
        "availableReplicas",
        "upToDateReplicas",
    ] {
        assert_eq!(done["status"][counter], 1, "{counter}");
    }
    assert_eq!(done["status"]["initialization"]["controlPlaneInitialized"], true);
    let machine = world.json::<Machine>(&name).await;
    for gate in machine["spec"]["readinessGates"].as_array().unwrap() {
        assert_eq!(
            condition(&machine, gate["conditionType"].as_str().unwrap()).0,
            "True",
            "{gate}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_and_only_etcd_is_asked() {
    let world = world(1).await;
    up(&world).await;
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    world.requests.clear();
    world.workload.etcd.calls.lock().clear();
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    assert_eq!(world.requests.writes(), Vec::<String>::new());
    let reads: Vec<String> = world
        .requests
        .all()
        .into_iter()
        .filter(|line| !line.starts_with("watch"))
        .collect();
    assert_eq!(
        reads,
        Vec::<String>::new(),
        "neither lists nor gets in the management cluster"
    );
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_request_log() {
    let run = || async {
        let mut world = world(7).await;
        up(&world).await;
        world.stop().await;
        world.requests.all()
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_scales_up_and_down_with_its_etcd() {
    let world = world(1).await;
    let first = up(&world).await;
    world
        .merge::<KubeadmControlPlane>("cp", json!({ "spec": { "replicas": 3 } }))
        .await;
    for count in 2..=3 {
        eventually("another Machine", || async {
            machines(&world).await.len() == count
        })
        .await;
        settle().await;
        assert_eq!(machines(&world).await.len(), count, "one at a time");
        let new = machines(&world)
            .await
            .into_iter()
            .find(|machine| machine.status.as_ref().is_none_or(|s| s.node_ref.is_none()))
            .unwrap();
        let config = world.json::<KubeadmConfig>(&new.name_any()).await;
        assert!(
            config["spec"]["joinConfiguration"]["controlPlane"].is_object(),
            "{}",
            config["spec"]
        );
        boot(&world, &new.name_any()).await;
    }
    eventually("three are available", || async {
        control_plane(&world).await["status"]["availableReplicas"] == 3
    })
    .await;
    settle().await;
    assert_eq!(machines(&world).await.len(), 3);

    // Machines have a finalizer of their controller in real life; the hook must hold them.
    world
        .merge::<Machine>(
            &first,
            json!({ "metadata": { "finalizers": ["machine.cluster.x-k8s.io"] } }),
        )
        .await;
    world
        .merge::<KubeadmControlPlane>("cp", json!({ "spec": { "replicas": 1 } }))
        .await;
    eventually("the oldest is deleted", || async {
        world.json::<Machine>(&first).await["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    settle().await;
    assert!(
        world.workload.etcd.calls.lock()[0].starts_with("move "),
        "the leader moved first"
    );
    assert!(
        world.workload.etcd.members.lock().contains_key(&first),
        "its member stays while it is drained"
    );
    let draining = json!({ "conditions": [{ "type": "Deleting", "status": "True", "reason": "WaitingForPreTerminateHook",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    world.merge_status::<Machine>(&first, draining).await;
    settle().await;
    assert!(
        !world.workload.etcd.members.lock().contains_key(&first),
        "then its member goes"
    );
    let hook = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup";
    assert!(
        !world
            .api::<Machine>()
            .get(&first)
            .await
            .unwrap()
            .annotations()
            .contains_key(hook),
        "and then the hook"
    );
    world
        .merge::<Machine>(&first, json!({ "metadata": { "finalizers": null } }))
        .await;
}

#[tokio::test(start_paused = true)]
async fn deletion_waits_for_workers_and_leaves_nothing() {
    let world = world(1).await;
    up(&world).await;
    world
        .create::<Machine>(json!({
            "metadata": { "name": "worker", "namespace": "default", "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
            "spec": { "clusterName": "c", "bootstrap": { "dataSecretName": "x" }, "infrastructureRef": {
                "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": "worker" } },
        }))
        .await;
    world
        .api::<KubeadmControlPlane>()
        .delete("cp", &DeleteParams::default())
        .await
        .unwrap();
    eventually("it says so", || async {
        condition(&control_plane(&world).await, "Deleting").0 == "True"
    })
    .await;
    settle().await;
    assert_eq!(
        condition(&control_plane(&world).await, "Deleting"),
        (
            "True".into(),
            "WaitingForWorkersDeletion".into(),
            "KubeadmControlPlane deletion blocked because following objects still exist:\n* worker Machines: worker".into()
        )
    );
    assert_eq!(machines(&world).await.len(), 2);
    world
        .api::<Machine>()
        .delete("worker", &DeleteParams::default())
        .await
        .unwrap();
    eventually("its machine is asked to go", || async {
        let all = machines(&world).await;
        all.len() == 1 && all[0].metadata.deletion_timestamp.is_some()
    })
    .await;
    let last = machines(&world).await[0].name_any();
    world
        .merge::<Machine>(&last, json!({ "metadata": { "finalizers": null } }))
        .await;
    eventually("it is gone", || async {
        world
            .api::<KubeadmControlPlane>()
            .get_opt("cp")
            .await
            .unwrap()
            .is_none()
    })
    .await;
    assert!(machines(&world).await.is_empty());
    eventually("the Secrets are collected", || async {
        world
            .api::<Secret>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_cluster_is_left_alone() {
    let world = world(1).await;
    up(&world).await;
    world
        .merge::<Cluster>("c", json!({ "spec": { "paused": true } }))
        .await;
    settle().await;
    assert_eq!(condition(&control_plane(&world).await, "Paused").0, "True");
    world.requests.clear();
    world
        .merge::<KubeadmControlPlane>("cp", json!({ "spec": { "replicas": 3 } }))
        .await;
    settle().await;
    assert_eq!(machines(&world).await.len(), 1);
    world
        .merge::<Cluster>("c", json!({ "spec": { "paused": false } }))
        .await;
    eventually("it goes on", || async { machines(&world).await.len() == 2 }).await;
}
/// What exists, by kind, without times.
async fn inventory(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let list = ListParams::default();
    for machine in machines(world).await {
        found.push(format!(
            "Machine {} {:?}",
            machine.name_any(),
            machine.spec.bootstrap.config_ref.map(|r| r.name)
        ));
    }
    for config in world.api::<KubeadmConfig>().list(&list).await.unwrap() {
        found.push(format!("KubeadmConfig {}", config.name_any()));
    }
    for clone in world.foreign("DevMachine").list(&list).await.unwrap() {
        found.push(format!("DevMachine {}", clone.name_any()));
    }
    for secret in world.api::<Secret>().list(&list).await.unwrap() {
        found.push(format!("Secret {} {:?}", secret.name_any(), secret.type_));
    }
    let conditions = control_plane(world).await["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for condition in conditions {
        found.push(format!(
            "{} {} {}",
            condition["type"], condition["status"], condition["message"]
        ));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn stopped_after_any_write_it_ends_in_the_same_state() {
    let undisturbed = world(3).await;
    manifest(&undisturbed, 1).await;
    provision_infrastructure(&undisturbed).await;
    settle().await;
    let expected = inventory(&undisturbed).await;
    let writes = undisturbed.requests.writes().len();
    assert!(writes >= 10, "{:?}", undisturbed.requests.writes());

    for stop in 1..=writes {
        let mut crashing = world(3).await;
        crashing.requests.fork_after(stop, &crashing.server);
        manifest(&crashing, 1).await;
        provision_infrastructure(&crashing).await;
        settle().await;
        let storage = crashing
            .requests
            .forked()
            .unwrap_or_else(|| crashing.server.fork());
        crashing.stop().await;
        let again = on(storage, 3, crashing.workload.clone(), false).await;
        if again
            .api::<Cluster>()
            .get("c")
            .await
            .unwrap()
            .spec
            .control_plane_endpoint
            .is_none()
        {
            provision_infrastructure(&again).await;
        }
        if again
            .api::<KubeadmControlPlane>()
            .get("cp")
            .await
            .unwrap()
            .status
            .is_none()
        {
            settle().await;
        }
        provision_infrastructure(&again).await;
        settle().await;
        settle().await;
        assert_eq!(inventory(&again).await, expected, "stopped after write {stop}");
    }
}

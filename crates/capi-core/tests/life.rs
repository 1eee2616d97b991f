//! The life of a cluster's workers: create, scale, roll, repair, delete.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::time::Duration;

use capi_api::{
    conditions::{get, is_true},
    core::v1beta2::{Cluster, ClusterPhase, Machine, MachineDeployment, MachinePhase, MachineSet},
};
use k8s_openapi::api::{
    core::v1::{Node, Secret},
    events::v1::Event,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use support::{World, eventually};

async fn up(seed: u64, replicas: i32) -> World {
    let world = World::start(seed).await;
    world.apply_manifest(replicas).await;
    eventually("all Machines are available", || world.has_machines(replicas)).await;
    world
}

async fn nodes(world: &World) -> Vec<Node> {
    Api::<Node>::all(world.workload.client_as("test"))
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
}

#[tokio::test(start_paused = true)]
async fn a_manifest_becomes_a_cluster_with_workers() {
    let world = up(1, 2).await;
    eventually("the Cluster is available", || async {
        is_true(&world.get::<Cluster>("c").await, "Available")
    })
    .await;

    let cluster: Cluster = world.get("c").await;
    let status = cluster.status.clone().unwrap();
    assert_eq!(status.phase, Some(ClusterPhase::Provisioned));
    assert_eq!(
        cluster
            .spec
            .control_plane_endpoint
            .clone()
            .unwrap()
            .host
            .as_deref(),
        Some("10.0.0.1")
    );
    assert_eq!(
        status
            .failure_domains
            .iter()
            .map(|d| d.name.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let workers = status.workers.unwrap();
    assert_eq!(
        (workers.desired_replicas, workers.available_replicas),
        (Some(2), Some(2))
    );
    for type_ in [
        "InfrastructureReady",
        "ControlPlaneInitialized",
        "ControlPlaneAvailable",
        "WorkersAvailable",
        "RemoteConnectionProbe",
        "WorkerMachinesReady",
        "WorkerMachinesUpToDate",
    ] {
        assert!(is_true(&cluster, type_), "{type_}: {:?}", get(&cluster, type_));
    }
    for type_ in [
        "Deleting",
        "Paused",
        "ScalingUp",
        "ScalingDown",
        "RollingOut",
        "Remediating",
    ] {
        assert_eq!(get(&cluster, type_).unwrap().status, "False", "{type_}");
    }

    for machine in world.list::<Machine>().await {
        let name = machine.name_any();
        let status = machine.status.clone().unwrap();
        assert_eq!(status.phase, Some(MachinePhase::Running));
        assert_eq!(status.node_ref.unwrap().name, name);
        assert_eq!(
            machine.spec.provider_id.as_deref(),
            Some(&*format!("fake:///{name}"))
        );
        assert_eq!(machine.owner_references()[0].kind, "MachineSet");
        assert!(is_true(&machine, "Available") && is_true(&machine, "UpToDate"));
        for kind in ["FakeMachine", "FakeConfig"] {
            let clone = world.foreign(kind).get(&name).await.unwrap();
            let owners: Vec<_> = clone
                .owner_references()
                .iter()
                .map(|o| (o.kind.as_str(), o.controller))
                .collect();
            assert_eq!(owners, [("Machine", Some(true))], "{kind} {name}");
            assert_eq!(clone.annotations()["cluster.x-k8s.io/cloned-from-name"], "t");
        }
    }
    for node in nodes(&world).await {
        assert_eq!(node.annotations()["cluster.x-k8s.io/machine"], node.name_any());
        assert!(node.labels().contains_key("node-role.kubernetes.io/worker"));
        assert!(node.spec.unwrap().taints.unwrap_or_default().is_empty());
    }
    let events: Api<Event> = Api::namespaced(world.client.clone(), "default");
    let reasons: Vec<String> = events
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter_map(|e| e.reason)
        .collect();
    for reason in [
        "InfrastructureReady",
        "ControlPlaneInitialized",
        "SuccessfulCreate",
    ] {
        assert!(reasons.iter().any(|r| r == reason), "{reason} in {reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written() {
    let world = up(2, 2).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn workers_scale_up_and_down_and_their_nodes_go_with_them() {
    let world = up(3, 2).await;
    world
        .patch::<MachineDeployment>("md", json!({"spec": {"replicas": 4}}))
        .await;
    eventually("four Machines", || world.has_machines(4)).await;
    world
        .patch::<MachineDeployment>("md", json!({"spec": {"replicas": 1}}))
        .await;
    eventually("one Machine", || world.has_machines(1)).await;
    assert_eq!(nodes(&world).await.len(), 1);
    assert_eq!(
        world
            .foreign("FakeMachine")
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(
        world
            .foreign("FakeConfig")
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_version_rolls_without_losing_availability() {
    let world = up(4, 3).await;
    world
        .patch::<MachineDeployment>(
            "md",
            json!({"spec": {"template": {"spec": {"version": "v1.36.0"}}}}),
        )
        .await;
    // Workers must not be newer than their control plane: the new MachineSet waits for it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let held = world.list::<MachineSet>().await;
    let held = held
        .iter()
        .find(|s| s.spec.template.spec.version.as_deref() == Some("v1.36.0"));
    let message = &get(held.unwrap(), "ScalingUp").unwrap().message;
    assert!(
        message.contains("\"KubernetesVersionSkew\" preflight check failed"),
        "{message}"
    );
    let version = kube::api::Patch::Merge(json!({"spec": {"version": "v1.36.0"}}));
    world
        .foreign("FakeControlPlane")
        .patch("c", &Default::default(), &version)
        .await
        .unwrap();
    let mut least = i32::MAX;
    let mut most = 0;
    for _ in 0..1200 {
        let machines = world.list::<Machine>().await;
        let available = machines.iter().filter(|m| is_true(*m, "Available")).count();
        least = least.min(available as i32);
        most = most.max(machines.len());
        let done = machines
            .iter()
            .all(|m| m.spec.version.as_deref() == Some("v1.36.0"));
        if done && world.has_machines(3).await && world.list::<MachineSet>().await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(world.has_machines(3).await, "the rollout did not end");
    assert_eq!(
        world.list::<MachineSet>().await.len(),
        1,
        "the old MachineSet was not cleaned up"
    );
    assert!(least >= 3, "only {least} Machines were available at some time");
    assert!(most <= 4, "{most} Machines at some time");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_machine_is_replaced_under_another_name() {
    let world = up(5, 2).await;
    let before: Vec<String> = world
        .list::<Machine>()
        .await
        .iter()
        .map(|m| m.name_any())
        .collect();
    world
        .api::<Machine>()
        .delete(&before[0], &DeleteParams::default())
        .await
        .unwrap();
    eventually("the Machine is replaced", || async {
        let names: Vec<String> = world
            .list::<Machine>()
            .await
            .iter()
            .map(|m| m.name_any())
            .collect();
        !names.contains(&before[0]) && world.has_machines(2).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_cluster_is_left_alone() {
    let world = up(6, 1).await;
    world
        .patch::<Cluster>("c", json!({"spec": {"paused": true}}))
        .await;
    eventually("everything says it is paused", || async {
        is_true(&world.get::<Cluster>("c").await, "Paused")
            && is_true(&world.get::<MachineDeployment>("md").await, "Paused")
            && is_true(&world.list::<Machine>().await[0], "Paused")
            && is_true(&world.list::<MachineSet>().await[0], "Paused")
    })
    .await;
    world
        .patch::<MachineDeployment>("md", json!({"spec": {"replicas": 3}}))
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.list::<Machine>().await.len(), 1);
    world
        .patch::<Cluster>("c", json!({"spec": {"paused": false}}))
        .await;
    eventually("it goes on", || world.has_machines(3)).await;
}

#[tokio::test(start_paused = true)]
async fn deleting_the_cluster_leaves_nothing() {
    let world = up(7, 2).await;
    world
        .api::<Cluster>()
        .delete("c", &DeleteParams::default())
        .await
        .unwrap();
    eventually("everything is gone", || async {
        let mut left = world.list::<Cluster>().await.len()
            + world.list::<Machine>().await.len()
            + world.list::<MachineSet>().await.len()
            + world.list::<MachineDeployment>().await.len();
        for (_, kind) in support::FOREIGN {
            left += world
                .foreign(kind)
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .len();
        }
        left == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_template_is_named_and_waited_for() {
    let world = World::start(8).await;
    world.apply_manifest(1).await;
    world
        .foreign("FakeMachineTemplate")
        .delete("t", &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deployment: MachineDeployment = world.get("md").await;
    if world.list::<Machine>().await.is_empty() {
        assert_eq!(
            get(&deployment, "ScalingUp").unwrap().message,
            "Scaling up from 0 to 1 replicas is blocked because FakeMachineTemplate does not exist"
        );
    }
    world
        .create_foreign(
            "FakeMachineTemplate",
            "t",
            json!({"template": {"spec": {"size": "small"}}}),
        )
        .await;
    eventually("it goes on", || world.has_machines(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_a_control_plane_object_gets_its_kubeconfig_once_there_is_an_authority() {
    let world = World::start(10).await;
    world.create_foreign("FakeCluster", "c", json!({})).await;
    world
        .create::<Cluster>(json!({
            "metadata": { "name": "c", "namespace": "default" },
            "spec": { "infrastructureRef": { "apiGroup": "infrastructure.example.com", "kind": "FakeCluster", "name": "c" } },
        }))
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let secrets = world.api::<Secret>();
    assert!(secrets.get_opt("c-kubeconfig").await.unwrap().is_none());
    let validity = cluster_pki::Validity::days("2026-01-01T00:00:00Z".parse().unwrap(), 3650);
    let key = cluster_pki::KeySource::generate(&cluster_pki::PooledKeys::new(), Default::default()).unwrap();
    let pair = cluster_pki::CertificateAuthority::new("kubernetes", validity, key)
        .unwrap()
        .to_pem_pair();
    world
        .create::<Secret>(json!({
            "metadata": { "name": "c-ca", "namespace": "default", "labels": { "cluster.x-k8s.io/cluster-name": "c" } },
            "type": "cluster.x-k8s.io/secret", "stringData": { "tls.crt": pair.certificate, "tls.key": pair.key },
        }))
        .await;
    eventually("the kubeconfig is there", || async {
        secrets.get_opt("c-kubeconfig").await.unwrap().is_some()
    })
    .await;
    let secret = secrets.get("c-kubeconfig").await.unwrap();
    let yaml = String::from_utf8(secret.data.unwrap()["value"].0.clone()).unwrap();
    assert!(
        yaml.contains("https://10.0.0.1:6443") && yaml.contains("c-admin@c"),
        "{yaml}"
    );
    assert_eq!(secret.metadata.owner_references.unwrap()[0].kind, "Cluster");
}

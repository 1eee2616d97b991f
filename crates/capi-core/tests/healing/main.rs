//! Machines that are unhealthy: found, replaced, left alone when too many are, or given to somebody outside.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod crashes;
mod outside;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use capi_api::{
    annotations,
    conditions::{get, is_false, is_true, v1beta1},
    core::v1beta2::{Machine, MachineDeployment, MachineHealthCheck, MachineSet},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::Node, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, eventually, gate::Gate};

async fn up(seed: u64, replicas: i32) -> World {
    let world = World::start(seed).await;
    world.apply_manifest(replicas).await;
    eventually("all Machines are available", || world.has_machines(replicas)).await;
    world
}

/// MachineHealthCheck `mhc` of the workers: a Node that is not ready for a minute is unhealthy.
async fn checked(world: &World, remediation: Value) {
    let mut spec = json!({ "clusterName": "c", "selector": { "matchLabels": { "cluster.x-k8s.io/deployment-name": "md" } },
        "checks": { "nodeStartupTimeoutSeconds": 120, "unhealthyNodeConditions": [
            { "type": "Ready", "status": "False", "timeoutSeconds": 60 },
            { "type": "Ready", "status": "Unknown", "timeoutSeconds": 60 }] } });
    if !remediation.is_null() {
        spec["remediation"] = remediation;
    }
    world
        .create::<MachineHealthCheck>(
            json!({ "metadata": { "name": "mhc", "namespace": "default" }, "spec": spec }),
        )
        .await;
    let expected = world.list::<Machine>().await.len() as i32;
    eventually("all Machines are healthy", || async {
        let status = world
            .get::<MachineHealthCheck>("mhc")
            .await
            .status
            .unwrap_or_default();
        status.current_healthy == Some(expected) && status.expected_machines == Some(expected)
    })
    .await;
}

fn nodes(world: &World) -> Api<Node> {
    Api::all(world.workload.client_as("test"))
}

/// The Node's `Ready` becomes this now. Conditions have whole seconds: so has the time from here on.
async fn set_ready(world: &World, node: &str, status: &str) -> Timestamp {
    let now = world.now();
    let second = Timestamp::from_second(now.as_second() + 1).unwrap();
    tokio::time::sleep(Duration::try_from(second.duration_since(now)).unwrap()).await;
    let condition =
        |type_: &str, status: &str| json!({ "type": type_, "status": status, "lastTransitionTime": second });
    let patch = json!({ "status": { "conditions": [condition("Ready", status), condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"), condition("PIDPressure", "False")] } });
    nodes(world)
        .patch_status(node, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    second
}

async fn names(world: &World) -> Vec<String> {
    world
        .list::<Machine>()
        .await
        .iter()
        .map(|m| m.name_any())
        .collect()
}

/// Keeps the deletion of a Machine from going on, or lets it.
async fn hold(world: &World, name: &str, held: bool) {
    let hook = format!("{}/test", annotations::PRE_DRAIN_HOOK_PREFIX);
    let value = if held { json!("") } else { Value::Null };
    world
        .patch::<Machine>(name, json!({ "metadata": { "annotations": { hook: value } } }))
        .await;
}

async fn wait_until(world: &World, time: Timestamp) {
    let wait = time.duration_since(world.now());
    tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_node_is_replaced_after_its_timeout_and_not_before() {
    let world = up(21, 2).await;
    checked(&world, Value::Null).await;
    let before = names(&world).await;
    for machine in world.list::<Machine>().await {
        assert!(is_true(&machine, "HealthCheckSucceeded"));
        assert!(is_true(&machine, "Ready"), "{:?}", get(&machine, "Ready"));
    }
    hold(&world, &before[0], true).await;
    let since = set_ready(&world, &before[0], "False").await;
    wait_until(&world, since + seconds(59)).await;
    let machine: Machine = world.get(&before[0]).await;
    assert!(is_true(&machine, "HealthCheckSucceeded") && get(&machine, "OwnerRemediated").is_none());
    let status = world.get::<MachineHealthCheck>("mhc").await.status.unwrap();
    assert_eq!(
        (status.current_healthy, status.remediations_allowed),
        (Some(1), Some(1)),
        "a suspicious Machine is not healthy"
    );
    wait_until(&world, since + seconds(61)).await;
    let machine: Machine = world.get(&before[0]).await;
    assert!(
        is_false(&machine, "HealthCheckSucceeded"),
        "no verdict a second after the timeout"
    );
    assert!(machine.metadata.deletion_timestamp.is_some());
    let condition = get(&machine, "OwnerRemediated").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "MachineDeleting")
    );
    assert_eq!(v1beta1::get(&machine, "OwnerRemediated").unwrap().status, "True");
    eventually("its owners say so", || async {
        let deployment: MachineDeployment = world.get("md").await;
        let set = &world.list::<MachineSet>().await[0];
        let message = format!("* Machine {}: Machine is deleting", before[0]);
        let says = |c: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>| {
            c.is_some_and(|c| c.status == "True" && c.message == message)
        };
        says(get(set, "Remediating")) && says(get(&deployment, "Remediating"))
    })
    .await;
    hold(&world, &before[0], false).await;
    eventually("it is replaced", || async {
        world.has_machines(2).await && !names(&world).await.contains(&before[0])
    })
    .await;
    eventually("all is well again", || async {
        let status = world.get::<MachineHealthCheck>("mhc").await.status.unwrap();
        status.current_healthy == Some(2)
            && is_false(&world.get::<MachineDeployment>("md").await, "Remediating")
    })
    .await;
    let events: Api<Event> = Api::namespaced(world.client.clone(), "default");
    let reasons: Vec<String> = events
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter_map(|e| e.reason)
        .collect();
    for reason in ["DetectedUnhealthy", "MachineMarkedUnhealthy"] {
        assert!(reasons.iter().any(|r| r == reason), "{reason} in {reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_belongs_to_its_cluster_and_rests() {
    let world = up(22, 2).await;
    checked(&world, Value::Null).await;
    let check: MachineHealthCheck = world.get("mhc").await;
    assert_eq!(check.labels()["cluster.x-k8s.io/cluster-name"], "c");
    assert_eq!(check.owner_references()[0].kind, "Cluster");
    assert!(is_true(&check, "RemediationAllowed") && is_false(&check, "Paused"));
    let status = check.status.unwrap();
    assert_eq!(status.observed_generation, check.metadata.generation);
    assert_eq!(status.targets, names(&world).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
    // A Node that reports itself all the time, unchanged, is no reason to write.
    for _ in 0..5 {
        let heartbeat = json!({ "metadata": { "annotations": { "beat": world.now().to_string() } } });
        let name = &names(&world).await[0];
        nodes(&world)
            .patch(name, &PatchParams::default(), &Patch::Merge(heartbeat))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn too_many_unhealthy_machines_are_left_alone_until_fewer_are() {
    let world = up(23, 3).await;
    checked(
        &world,
        json!({ "triggerIf": { "unhealthyLessThanOrEqualTo": "40%" } }),
    )
    .await;
    let before = names(&world).await;
    set_ready(&world, &before[0], "False").await;
    set_ready(&world, &before[1], "Unknown").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(names(&world).await, before);
    let check: MachineHealthCheck = world.get("mhc").await;
    let condition = get(&check, "RemediationAllowed").unwrap();
    assert_eq!(
        (
            condition.status.as_str(),
            condition.reason.as_str(),
            condition.message.as_str()
        ),
        (
            "False",
            "TooManyUnhealthy",
            "Remediation is not allowed, the number of not started or unhealthy machines exceeds maxUnhealthy \
             (total: 3, unhealthy: 2, maxUnhealthy: 40%)"
        )
    );
    for name in &before[..2] {
        let machine: Machine = world.get(name).await;
        assert!(is_false(&machine, "HealthCheckSucceeded") && get(&machine, "OwnerRemediated").is_none());
    }
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(
        world.requests.take_writes(),
        Vec::<String>::new(),
        "it must not poll"
    );
    set_ready(&world, &before[1], "True").await;
    eventually("one of them is replaced", || async {
        let now = names(&world).await;
        !now.contains(&before[0]) && now.contains(&before[1]) && world.has_machines(3).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_more_machines_are_remediated_at_a_time_than_allowed() {
    let world = up(24, 3).await;
    world
        .patch::<MachineDeployment>("md", json!({ "spec": { "remediation": { "maxInFlight": 1 } } }))
        .await;
    checked(&world, Value::Null).await;
    let before = names(&world).await;
    for name in &before {
        hold(&world, name, true).await;
        set_ready(&world, name, "False").await;
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let mut reasons: Vec<String> = Vec::new();
    for machine in world.list::<Machine>().await {
        reasons.push(get(&machine, "OwnerRemediated").unwrap().reason.clone());
        assert_eq!(
            machine.metadata.deletion_timestamp.is_some(),
            reasons.last().unwrap() == "MachineDeleting"
        );
    }
    reasons.sort();
    assert_eq!(
        reasons,
        ["MachineDeleting", "RemediationDeferred", "RemediationDeferred"]
    );
    for name in &before {
        hold(&world, name, false).await;
    }
    let mut most = 0;
    for _ in 0..1200 {
        let machines = world.list::<Machine>().await;
        let deleting = machines
            .iter()
            .filter(|m| m.metadata.deletion_timestamp.is_some())
            .count();
        most = most.max(deleting);
        let replaced = before
            .iter()
            .all(|name| machines.iter().all(|m| m.name_any() != *name));
        if replaced && world.has_machines(3).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let now = names(&world).await;
    assert!(
        before.iter().all(|name| !now.contains(name)),
        "{before:?} {now:?}"
    );
    assert!(most <= 1, "{most} at a time");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_and_an_annotation_count_at_once_and_excluded_machines_do_not() {
    let world = up(25, 3).await;
    checked(&world, Value::Null).await;
    let before = names(&world).await;
    world
        .patch::<Machine>(
            &before[0],
            json!({ "metadata": { "annotations": { annotations::SKIP_REMEDIATION: "" } } }),
        )
        .await;
    eventually("the check forgets the excluded one", || async {
        world
            .get::<MachineHealthCheck>("mhc")
            .await
            .status
            .unwrap()
            .targets
            == before[1..]
    })
    .await;
    set_ready(&world, &before[0], "False").await;
    world
        .patch::<Machine>(
            &before[1],
            json!({ "metadata": { "annotations": { annotations::REMEDIATE_MACHINE: "" } } }),
        )
        .await;
    nodes(&world)
        .delete(&before[2], &DeleteParams::default())
        .await
        .unwrap();
    let started = world.now();
    eventually("both are replaced", || async {
        let now = names(&world).await;
        !now.contains(&before[1]) && !now.contains(&before[2])
    })
    .await;
    assert!(world.now().duration_since(started) < seconds(30));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(names(&world).await.contains(&before[0]));
}

/// A Machine of nobody whose infrastructure is there, but whose Node never comes.
async fn lonely(world: &World) -> Timestamp {
    world
        .create_foreign("FakeMachine", "lonely", json!({ "providerID": "fake:///lonely" }))
        .await;
    let time = "2026-01-01T00:00:00Z";
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": time }]);
    let status = json!({ "status": { "initialization": { "provisioned": true }, "conditions": ready } });
    world
        .foreign("FakeMachine")
        .patch_status("lonely", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let machine: Machine = world
        .create(json!({ "metadata": { "name": "lonely", "namespace": "default",
                "labels": { "cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/deployment-name": "md" } },
            "spec": { "clusterName": "c", "bootstrap": { "dataSecretName": "none" },
                "infrastructureRef": { "apiGroup": "infrastructure.example.com", "kind": "FakeMachine", "name": "lonely" } } }))
        .await;
    machine.metadata.creation_timestamp.unwrap().0
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_node_never_comes_is_unhealthy_after_the_startup_timeout() {
    let world = up(26, 1).await;
    checked(&world, Value::Null).await;
    let created = lonely(&world).await;
    wait_until(&world, created + seconds(119)).await;
    assert!(get(&world.get::<Machine>("lonely").await, "HealthCheckSucceeded").is_none());
    wait_until(&world, created + seconds(122)).await;
    let machine: Machine = world.get("lonely").await;
    let condition = get(&machine, "HealthCheckSucceeded").unwrap();
    assert_eq!(
        (
            condition.status.as_str(),
            condition.reason.as_str(),
            condition.message.as_str()
        ),
        (
            "False",
            "NodeStartupTimeout",
            "Health check failed: Node failed to report startup in 2m0s"
        )
    );
    // Nobody owns it who could make another: it is asked for and stays.
    let condition = get(&machine, "OwnerRemediated").unwrap();
    assert_eq!(condition.reason, "WaitingForRemediation");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        world
            .get::<Machine>("lonely")
            .await
            .metadata
            .deletion_timestamp
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn a_paused_cluster_is_not_checked() {
    let world = up(27, 2).await;
    checked(&world, Value::Null).await;
    let before = names(&world).await;
    world
        .patch::<capi_api::core::v1beta2::Cluster>("c", json!({ "spec": { "paused": true } }))
        .await;
    eventually("the check says it is paused", || async {
        is_true(&world.get::<MachineHealthCheck>("mhc").await, "Paused")
    })
    .await;
    set_ready(&world, &before[0], "False").await;
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert!(is_true(
        &world.get::<Machine>(&before[0]).await,
        "HealthCheckSucceeded"
    ));
    world
        .patch::<capi_api::core::v1beta2::Cluster>("c", json!({ "spec": { "paused": false } }))
        .await;
    eventually("it is replaced", || async {
        !names(&world).await.contains(&before[0]) && world.has_machines(2).await
    })
    .await;
}

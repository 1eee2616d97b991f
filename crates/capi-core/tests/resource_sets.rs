//! ClusterResourceSets: what ConfigMaps and Secrets hold gets into workload clusters, once or for good.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::time::Duration;

use capi_api::{
    addons::v1beta2::{ClusterResourceSet, ClusterResourceSetBinding},
    conditions::{get, is_true},
    core::v1beta2::Cluster,
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, eventually, gate::Gate};

/// A ConfigMap in a Namespace of its own, the wrong way round.
const MANIFEST: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: cm, namespace: addon}
data: {k: one}
---
apiVersion: v1
kind: Namespace
metadata: {name: addon}
";

async fn up(seed: u64) -> World {
    let world = World::start(seed).await;
    world.apply_manifest(1).await;
    label(&world, "yes").await;
    eventually("the Machine is available", || world.has_machines(1)).await;
    world
}

async fn label(world: &World, value: &str) {
    world
        .patch::<Cluster>("c", json!({ "metadata": { "labels": { "addon": value } } }))
        .await;
}

async fn set(world: &World, strategy: &str, resources: Value) {
    world
        .create::<ClusterResourceSet>(json!({ "metadata": { "name": "crs", "namespace": "default" },
            "spec": { "clusterSelector": { "matchLabels": { "addon": "yes" } }, "strategy": strategy, "resources": resources } }))
        .await;
}

async fn config_map(world: &World, name: &str, text: &str) {
    world
        .create::<ConfigMap>(
            json!({ "metadata": { "name": name, "namespace": "default" }, "data": { "manifest": text } }),
        )
        .await;
}

async fn resource_set(world: &World) -> ClusterResourceSet {
    world.get("crs").await
}

async fn is_applied(world: &World) -> bool {
    is_true(&resource_set(world).await, "ResourcesApplied")
}

fn applied(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.workload.client_as("test"), "addon")
}

async fn value(world: &World) -> Option<String> {
    let map = applied(world).get_opt("cm").await.unwrap()?;
    map.data?.get("k").cloned()
}

async fn at_rest(world: &World) {
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn resources_are_applied_once_in_order_and_left_alone() {
    let world = up(41).await;
    config_map(&world, "addon", MANIFEST).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    eventually("it is applied", || is_applied(&world)).await;
    assert_eq!(value(&world).await.as_deref(), Some("one"));

    let binding: ClusterResourceSetBinding = world.get("c").await;
    assert_eq!(binding.spec.cluster_name, "c");
    assert_eq!(binding.owner_references()[0].kind, "ClusterResourceSet");
    let of_set = &binding.spec.bindings[0];
    assert_eq!(of_set.cluster_resource_set_name, "crs");
    let entry = &of_set.resources[0];
    assert!(entry.applied && entry.hash.as_ref().unwrap().starts_with("sha256:"));
    assert!(entry.last_applied_time.is_some());
    let source: ConfigMap = world.get("addon").await;
    assert_eq!(source.owner_references()[0].name, "crs");
    let set = resource_set(&world).await;
    assert_eq!(get(&set, "ResourcesApplied").unwrap().reason, "Applied");
    assert_eq!(set.finalizers(), ["addons.cluster.x-k8s.io"]);
    assert_eq!(
        set.status.clone().unwrap().observed_generation,
        set.metadata.generation
    );
    at_rest(&world).await;

    // Neither a change here nor one there matters any more.
    world
        .patch::<ConfigMap>(
            "addon",
            json!({ "data": { "manifest": MANIFEST.replace("one", "two") } }),
        )
        .await;
    applied(&world)
        .delete("cm", &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(value(&world).await, None);
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn resources_are_kept_as_they_are_here() {
    let world = up(42).await;
    config_map(&world, "addon", MANIFEST).await;
    set(
        &world,
        "Reconcile",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    eventually("it is applied", || is_applied(&world)).await;
    let hash = async || {
        let binding: ClusterResourceSetBinding = world.get("c").await;
        binding.spec.bindings[0].resources[0].hash.clone()
    };
    let before = hash().await;
    at_rest(&world).await;
    let foreign = Patch::Merge(json!({ "data": { "foreign": "x" } }));
    applied(&world)
        .patch("cm", &PatchParams::default(), &foreign)
        .await
        .unwrap();
    world
        .patch::<ConfigMap>(
            "addon",
            json!({ "data": { "manifest": MANIFEST.replace("one", "two") } }),
        )
        .await;
    eventually("the change arrives", || async {
        value(&world).await.as_deref() == Some("two")
    })
    .await;
    let map = applied(&world).get("cm").await.unwrap();
    assert_eq!(map.data.unwrap().len(), 1, "foreign fields go");
    eventually("the binding says so", || async { hash().await != before }).await;
    at_rest(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_must_be_of_the_right_type() {
    let world = up(43).await;
    let secret = |type_: &str| {
        json!({ "metadata": { "name": "addon", "namespace": "default" }, "type": type_,
        "stringData": { "manifest": MANIFEST } })
    };
    world.create::<Secret>(secret("Opaque")).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "Secret", "name": "addon" }]),
    )
    .await;
    eventually("the type is named", || async {
        get(&resource_set(&world).await, "ResourcesApplied").is_some_and(|c| c.reason == "WrongSecretType")
    })
    .await;
    at_rest(&world).await;
    world
        .api::<Secret>()
        .delete("addon", &DeleteParams::default())
        .await
        .unwrap();
    world
        .create::<Secret>(secret("addons.cluster.x-k8s.io/resource-set"))
        .await;
    eventually("it is applied", || is_applied(&world)).await;
    assert_eq!(value(&world).await.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_resource_is_named_and_waited_for() {
    let world = up(44).await;
    config_map(&world, "addon", MANIFEST).await;
    let resources =
        json!([{ "kind": "ConfigMap", "name": "late" }, { "kind": "ConfigMap", "name": "addon" }]);
    set(&world, "ApplyOnce", resources).await;
    eventually("the other one is applied", || async {
        value(&world).await.is_some()
    })
    .await;
    eventually("the missing one is named", || async {
        get(&resource_set(&world).await, "ResourcesApplied").is_some_and(|c| {
            (c.status.as_str(), c.reason.as_str(), c.message.as_str())
                == ("False", "NotApplied", "ConfigMap late does not exist")
        })
    })
    .await;
    at_rest(&world).await;
    let late = "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"late\"}}";
    config_map(&world, "late", late).await;
    eventually("it is applied", || is_applied(&world)).await;
    let namespaces: Api<Namespace> = Api::all(world.workload.client_as("test"));
    assert!(namespaces.get_opt("late").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn resources_wait_for_the_control_plane_and_come_with_the_connection() {
    let world = World::start(45).await;
    config_map(&world, "addon", MANIFEST).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    world
        .create::<Cluster>(json!({ "metadata": { "name": "c", "namespace": "default", "labels": { "addon": "yes" } },
            "spec": { "infrastructureRef": { "apiGroup": "infrastructure.example.com", "kind": "FakeCluster", "name": "c" },
                "controlPlaneRef": { "apiGroup": "controlplane.example.com", "kind": "FakeControlPlane", "name": "c" } } }))
        .await;
    eventually("it says what it waits for", || async {
        get(&resource_set(&world).await, "ResourcesApplied").is_some_and(|c| {
            c.reason == "NotApplied" && c.message.contains("there is no Secret c-kubeconfig yet")
        })
    })
    .await;
    at_rest(&world).await;
    world.create_foreign("FakeCluster", "c", json!({})).await;
    world
        .create_foreign("FakeControlPlane", "c", json!({ "version": "v1.35.0" }))
        .await;
    let connected = || async {
        world
            .api::<Secret>()
            .get_opt("c-kubeconfig")
            .await
            .unwrap()
            .is_some()
    };
    eventually("the cluster can be reached", connected).await;
    let since = world.now();
    eventually("it is applied", || is_applied(&world)).await;
    assert!(
        world.now().duration_since(since).as_secs() < 5,
        "it came by a timer"
    );
    assert_eq!(value(&world).await.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn what_a_cluster_refuses_is_named_and_tried_again() {
    let world = up(46).await;
    let broken = format!("{MANIFEST}---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {{name: t}}\n");
    config_map(&world, "addon", &broken).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    eventually("the object is named", || async {
        get(&resource_set(&world).await, "ResourcesApplied").is_some_and(|c| {
            c.status == "False"
                && c.message
                    .contains("Thing t: the cluster does not know example.com/v1 Thing")
        })
    })
    .await;
    assert_eq!(
        value(&world).await.as_deref(),
        Some("one"),
        "the others are applied"
    );
    let binding: ClusterResourceSetBinding = world.get("c").await;
    assert!(!binding.spec.bindings[0].resources[0].applied);
    let definitions: Api<CustomResourceDefinition> = Api::all(world.workload.client_as("test"));
    let definition = serde_json::from_value(json!({ "metadata": { "name": "things.example.com" },
        "spec": { "group": "example.com", "scope": "Cluster", "names": { "plural": "things", "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object" } } }] } }))
    .unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    eventually("it is applied", || is_applied(&world)).await;
}

#[tokio::test(start_paused = true)]
async fn clusters_are_chosen_by_label_and_bindings_go_with_set_and_cluster() {
    let world = up(47).await;
    label(&world, "no").await;
    config_map(&world, "addon", MANIFEST).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(value(&world).await, None);
    let bindings = async || {
        let all = world.api::<ClusterResourceSetBinding>();
        all.list(&ListParams::default()).await.unwrap().items.len()
    };
    assert_eq!(bindings().await, 0);
    label(&world, "yes").await;
    eventually("it is applied", || is_applied(&world)).await;
    assert_eq!(bindings().await, 1);
    world
        .api::<ClusterResourceSet>()
        .delete("crs", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the set is gone", || async {
        world.list::<ClusterResourceSet>().await.is_empty() && bindings().await == 0
    })
    .await;
    assert_eq!(
        value(&world).await.as_deref(),
        Some("one"),
        "what was applied stays"
    );

    if world.api::<ConfigMap>().get_opt("addon").await.unwrap().is_none() {
        config_map(&world, "addon", MANIFEST).await;
    }
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    eventually("there is a binding again", || async { bindings().await == 1 }).await;
    world
        .api::<Cluster>()
        .delete("c", &DeleteParams::default())
        .await
        .unwrap();
    eventually("it goes with the Cluster", || async { bindings().await == 0 }).await;
}

/// Applies a set; a manager that is cut off is replaced by a fresh one. Returns how many writes there were.
async fn play(crash_at: Option<usize>) -> usize {
    let mut world = World::without_manager(48).await;
    world.run_manager(&Gate::default());
    world.apply_manifest(1).await;
    eventually("the Machine is available", || world.has_machines(1)).await;
    world.remove_manager().await;
    label(&world, "yes").await;
    config_map(&world, "addon", MANIFEST).await;
    set(
        &world,
        "ApplyOnce",
        json!([{ "kind": "ConfigMap", "name": "addon" }]),
    )
    .await;
    let gate = crash_at.map_or_else(Gate::default, Gate::closing_at);
    world.run_manager(&gate);
    let mut replaced = false;
    for _ in 0..300 {
        if gate.is_closed() && !std::mem::replace(&mut replaced, true) {
            world.remove_manager().await;
            world.run_manager(&Gate::default());
        }
        if is_applied(&world).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let binding: ClusterResourceSetBinding = world.get("c").await;
    let entries = &binding.spec.bindings[0].resources;
    assert!(
        is_applied(&world).await && entries.len() == 1 && entries[0].applied,
        "crash at {crash_at:?}: {binding:?}"
    );
    assert_eq!(
        value(&world).await.as_deref(),
        Some("one"),
        "crash at {crash_at:?}"
    );
    gate.writes()
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_applies_the_resources_all_the_same() {
    let writes = play(None).await;
    assert!((4..20).contains(&writes), "{writes}");
    for at in 1..=writes {
        play(Some(at)).await;
    }
}

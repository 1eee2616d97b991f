//! What happens to workers beside the main road: drains, volumes, fields that follow in place, other ways to roll out,
//! and what interruptions and users leave behind.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::time::Duration;

use capi_api::{
    conditions::{get, is_true},
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineDrainRule, MachineSet},
};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, Pod},
    policy::v1::PodDisruptionBudget,
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, eventually, gate::Gate};

async fn up(seed: u64, replicas: i32) -> World {
    let world = World::start(seed).await;
    world.apply_manifest(replicas).await;
    eventually("all Machines are available", || world.has_machines(replicas)).await;
    world
}

async fn names(world: &World) -> Vec<String> {
    let machines = world.list::<Machine>().await;
    machines.iter().map(|m| m.name_any()).collect()
}

fn pods(world: &World) -> Api<Pod> {
    Api::namespaced(world.workload.client_as("test"), "default")
}

/// A pod that runs and is ready on a Node.
async fn run_pod(world: &World, name: &str, node: &str, labels: Value) {
    let pod = json!({ "metadata": { "name": name, "labels": labels },
        "spec": { "nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{ "name": "c", "image": "i" }] } });
    let pod = serde_json::from_value(pod).unwrap();
    pods(world).create(&PostParams::default(), &pod).await.unwrap();
    let ready =
        json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    let patch = Patch::Merge(ready);
    pods(world)
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn delete_machine(world: &World, name: &str) {
    let machines = world.api::<Machine>();
    machines.delete(name, &DeleteParams::default()).await.unwrap();
}

async fn is_gone(world: &World, name: &str) -> bool {
    world.api::<Machine>().get_opt(name).await.unwrap().is_none()
}

/// Why a Machine is still there: reason and message.
async fn stage(world: &World, name: &str) -> (String, String) {
    let machine = world.api::<Machine>().get_opt(name).await.unwrap();
    let deleting = machine.and_then(|m| get(&m, "Deleting").cloned());
    deleting.map_or_else(Default::default, |c| (c.reason, c.message))
}

#[tokio::test(start_paused = true)]
async fn a_drain_asks_disruption_budgets_says_what_they_answer_and_goes_on_when_they_allow() {
    let world = up(21, 1).await;
    let name = names(&world).await.remove(0);
    run_pod(&world, "web", &name, json!({ "app": "web" })).await;
    run_pod(&world, "free", &name, json!({})).await;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.workload.client_as("test"), "default");
    let budget = json!({ "metadata": { "name": "web" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    let budget = serde_json::from_value(budget).unwrap();
    budgets.create(&PostParams::default(), &budget).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    delete_machine(&world, &name).await;
    eventually("the refusal is told", || async {
        let (reason, message) = stage(&world, &name).await;
        reason == "DrainingNode"
            && message.contains(
                "* Pod default/web: cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 1 healthy pods and has 1 currently",
            )
    })
    .await;
    let node: Api<Node> = Api::all(world.workload.client_as("test"));
    let cordoned = node.get(&name).await.unwrap().spec.unwrap().unschedulable;
    assert_eq!(cordoned, Some(true));
    assert!(pods(&world).get_opt("free").await.unwrap().is_none());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(pods(&world).get_opt("web").await.unwrap().is_some());
    assert!(
        world
            .foreign("FakeMachine")
            .get_opt(&name)
            .await
            .unwrap()
            .is_some(),
        "its host stands"
    );

    budgets.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("the Machine is gone", || is_gone(&world, &name)).await;
    assert!(pods(&world).get_opt("web").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_timeout() {
    let world = up(22, 1).await;
    let name = names(&world).await.remove(0);
    run_pod(
        &world,
        "job",
        &name,
        json!({ "cluster.x-k8s.io/drain": "wait-completed" }),
    )
    .await;
    world
        .patch::<Machine>(
            &name,
            json!({ "spec": { "deletion": { "nodeDrainTimeoutSeconds": 30 } } }),
        )
        .await;
    let template =
        json!({ "spec": { "template": { "spec": { "deletion": { "nodeDrainTimeoutSeconds": 30 } } } } });
    world.patch::<MachineDeployment>("md", template).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    delete_machine(&world, &name).await;
    eventually("it waits for the pod", || async {
        stage(&world, &name)
            .await
            .1
            .contains("* Pod default/job: waiting for completion")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!is_gone(&world, &name).await);
    eventually("the Machine is gone", || is_gone(&world, &name)).await;
    assert!(
        pods(&world).get_opt("job").await.unwrap().is_some(),
        "nobody evicted it"
    );
}

#[tokio::test(start_paused = true)]
async fn drain_rules_order_evictions_and_leave_pods_alone() {
    let world = up(23, 1).await;
    let name = names(&world).await.remove(0);
    for (rule, spec) in [
        (
            "last",
            json!({ "drain": { "behavior": "Drain", "order": 10 }, "pods": [{ "selector": { "matchLabels": { "app": "storage" } } }] }),
        ),
        (
            "leave",
            json!({ "drain": { "behavior": "Skip" }, "machines": [{ "clusterSelector": {} }],
            "pods": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "default" } }, "selector": { "matchLabels": { "app": "agent" } } }] }),
        ),
    ] {
        let rule = json!({ "metadata": { "name": rule, "namespace": "default" }, "spec": spec });
        world.create::<MachineDrainRule>(rule).await;
    }
    run_pod(&world, "storage", &name, json!({ "app": "storage" })).await;
    run_pod(&world, "agent", &name, json!({ "app": "agent" })).await;
    run_pod(
        &world,
        "slow",
        &name,
        json!({ "cluster.x-k8s.io/drain": "wait-completed" }),
    )
    .await;
    delete_machine(&world, &name).await;
    eventually("the order is told", || async {
        stage(&world, &name).await.1.contains(
            "* Pod default/slow: waiting for completion\n\
             After above Pods have been removed from the Node, the following Pods will be evicted: default/storage",
        )
    })
    .await;
    pods(&world)
        .delete("slow", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the Machine is gone", || is_gone(&world, &name)).await;
    assert!(pods(&world).get_opt("storage").await.unwrap().is_none());
    assert!(pods(&world).get_opt("agent").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_host_goes_only_when_its_volumes_are_detached() {
    let world = up(24, 1).await;
    let name = names(&world).await.remove(0);
    let client = world.workload.client_as("test");
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = json!({ "metadata": { "name": "pv" }, "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"],
        "csi": { "driver": "d", "volumeHandle": "h" },
        "claimRef": { "kind": "PersistentVolumeClaim", "namespace": "default", "name": "data" } } });
    let volume = serde_json::from_value(volume).unwrap();
    volumes.create(&PostParams::default(), &volume).await.unwrap();
    let attachments: Api<VolumeAttachment> = Api::all(client);
    let attachment = json!({ "metadata": { "name": "va" },
        "spec": { "attacher": "d", "nodeName": name, "source": { "persistentVolumeName": "pv" } } });
    let attachment = serde_json::from_value(attachment).unwrap();
    attachments
        .create(&PostParams::default(), &attachment)
        .await
        .unwrap();
    let patch = Patch::Merge(json!({ "status": { "attached": true } }));
    attachments
        .patch_status("va", &PatchParams::default(), &patch)
        .await
        .unwrap();

    delete_machine(&world, &name).await;
    eventually("the volume is named", || async {
        let (reason, message) = stage(&world, &name).await;
        reason == "WaitingForVolumeDetach" && message.contains("* PersistentVolumeClaims: default/data")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(
        world
            .foreign("FakeMachine")
            .get_opt(&name)
            .await
            .unwrap()
            .is_some()
    );
    attachments.delete("va", &DeleteParams::default()).await.unwrap();
    eventually("the Machine is gone", || is_gone(&world, &name)).await;
}

/// Labels of a Machine, its clones and its Node under one key.
async fn labelled(world: &World, name: &str, key: &str) -> [Option<String>; 4] {
    let nodes: Api<Node> = Api::all(world.workload.client_as("test"));
    let of = |labels: &std::collections::BTreeMap<String, String>| labels.get(key).cloned();
    [
        of(world.get::<Machine>(name).await.labels()),
        of(world.foreign("FakeMachine").get(name).await.unwrap().labels()),
        of(world.foreign("FakeConfig").get(name).await.unwrap().labels()),
        of(nodes.get(name).await.unwrap().labels()),
    ]
}

async fn relabel(world: &World, labels: Value) {
    let template = json!({ "spec": { "template": { "metadata": { "labels": labels } } } });
    world.patch::<MachineDeployment>("md", template).await;
}

#[tokio::test(start_paused = true)]
async fn labels_and_timeouts_come_and_go_in_place() {
    let world = up(25, 2).await;
    let before = names(&world).await;
    let name = &before[0];
    let (tier, plain) = ("node.cluster.x-k8s.io/tier", "plain");
    let a = Some("a".to_owned());
    world
        .patch::<Machine>(name, json!({ "metadata": { "labels": { "users": "own" } } }))
        .await;
    relabel(&world, json!({ tier: "a", plain: "a" })).await;
    eventually("labels have come", || async {
        labelled(&world, name, tier).await == [a.clone(), a.clone(), a.clone(), a.clone()]
            && labelled(&world, name, plain).await == [a.clone(), a.clone(), a.clone(), None]
    })
    .await;
    let timeout = |seconds: Value| {
        let deletion = match &seconds {
            Value::Null => Value::Null,
            seconds => json!({ "nodeDrainTimeoutSeconds": seconds }),
        };
        json!({ "spec": { "template": { "spec": { "minReadySeconds": seconds, "deletion": deletion } } } })
    };
    world.patch::<MachineDeployment>("md", timeout(json!(7))).await;
    let follows = |expected: Option<i32>| {
        let world = &world;
        async move {
            let machines = world.list::<Machine>().await;
            machines.iter().all(|m| {
                let drain = m
                    .spec
                    .deletion
                    .as_ref()
                    .and_then(|d| d.node_drain_timeout_seconds);
                (m.spec.min_ready_seconds, drain) == (expected, expected)
            })
        }
    };
    eventually("timeouts have come", || follows(Some(7))).await;

    relabel(&world, json!({ tier: "b", plain: null })).await;
    world.patch::<MachineDeployment>("md", timeout(Value::Null)).await;
    let b = Some("b".to_owned());
    eventually("labels have changed and gone", || async {
        labelled(&world, name, tier).await == [b.clone(), b.clone(), b.clone(), b.clone()]
            && labelled(&world, name, plain).await == [None, None, None, None]
    })
    .await;
    eventually("timeouts have gone", || follows(None)).await;
    // What was there from the beginning goes too: it belongs to the create in managedFields.
    relabel(&world, json!({ "node-role.kubernetes.io/worker": null })).await;
    eventually("labels of the first hour have gone", || async {
        labelled(&world, name, "node-role.kubernetes.io/worker").await == [None, None, None, None]
    })
    .await;
    assert_eq!(names(&world).await, before, "nothing was rolled out");
    assert_eq!(world.get::<Machine>(name).await.labels()["users"], "own");
    tokio::time::sleep(Duration::from_secs(15)).await;
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn fields_are_owned_under_upstreams_names() {
    let world = up(26, 1).await;
    relabel(&world, json!({ "a": "b" })).await;
    let name = names(&world).await.remove(0);
    eventually("the label has come", || async {
        labelled(&world, &name, "a").await[1].is_some()
    })
    .await;
    let managers =
        |fields: Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry>>| {
            let applied = fields
                .into_iter()
                .flatten()
                .filter(|e| e.operation.as_deref() == Some("Apply"));
            applied.filter_map(|e| e.manager).collect::<Vec<_>>()
        };
    let set = world.list::<MachineSet>().await.remove(0);
    assert_eq!(managers(set.metadata.managed_fields), ["capi-machinedeployment"]);
    let machine = world.get::<Machine>(&name).await;
    assert_eq!(managers(machine.metadata.managed_fields), ["capi-machineset"]);
    for kind in ["FakeMachine", "FakeConfig"] {
        let clone = world.foreign(kind).get(&name).await.unwrap();
        assert_eq!(
            managers(clone.metadata.managed_fields),
            ["capi-machineset-metadata"],
            "{kind}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn on_delete_waits_for_the_user() {
    let world = up(27, 2).await;
    let before = names(&world).await;
    let domain = json!({ "spec": { "rollout": { "strategy": { "type": "OnDelete", "rollingUpdate": null } },
        "template": { "spec": { "failureDomain": "b" } } } });
    world.patch::<MachineDeployment>("md", domain).await;
    eventually("the rollout is told", || async {
        let deployment = world.get::<MachineDeployment>("md").await;
        is_true(&deployment, "RollingOut") && deployment.status.unwrap().up_to_date_replicas == Some(0)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(names(&world).await, before);
    let domains = async || -> Vec<Option<String>> {
        let machines = world.list::<Machine>().await;
        let mut domains: Vec<_> = machines.into_iter().map(|m| m.spec.failure_domain).collect();
        domains.sort();
        domains
    };
    let b = || Some("b".to_owned());
    for (name, expected) in [(&before[0], vec![None, b()]), (&before[1], vec![b(), b()])] {
        delete_machine(&world, name).await;
        eventually("the deleted Machine is replaced", || async {
            let deployment = world.get::<MachineDeployment>("md").await;
            domains().await == expected && deployment.status.unwrap().available_replicas == Some(2)
        })
        .await;
    }
    eventually("the rollout has ended", || async {
        !is_true(&world.get::<MachineDeployment>("md").await, "RollingOut") && world.has_machines(2).await
    })
    .await;
    assert_eq!(world.list::<MachineSet>().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_rollout_scales_in_proportion() {
    let world = up(28, 4).await;
    // Half way through a rollout.
    let domain = json!({ "spec": { "template": { "spec": { "failureDomain": "b" } },
        "rollout": { "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "50%" } } } } });
    world.patch::<MachineDeployment>("md", domain).await;
    let sizes = async || -> Vec<i32> {
        let sets = world.list::<MachineSet>().await;
        let mut sizes: Vec<i32> = sets.iter().filter_map(|s| s.spec.replicas).collect();
        sizes.sort();
        sizes
    };
    eventually("both MachineSets have Machines", || async {
        sizes().await == [2, 2]
    })
    .await;
    world
        .patch::<MachineDeployment>("md", json!({ "spec": { "paused": true } }))
        .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(sizes().await, [2, 2], "a paused rollout does not go on");
    world
        .patch::<MachineDeployment>("md", json!({ "spec": { "replicas": 8 } }))
        .await;
    eventually("both grow", || async {
        sizes().await == [4, 4] && world.list::<Machine>().await.len() == 8
    })
    .await;
    world
        .patch::<MachineDeployment>("md", json!({ "spec": { "paused": false } }))
        .await;
    eventually("the rollout goes on", || async {
        world.has_machines(8).await && world.list::<MachineSet>().await.len() == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clones_without_a_machine_go_and_machines_without_clones_get_them() {
    let mut world = up(29, 1).await;
    world.remove_manager().await;
    let set = world.list::<MachineSet>().await.remove(0);
    let owner = |kind: &str, name: &str, uid: Option<String>, controller: bool| json!([{ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind, "name": name, "uid": uid, "controller": controller }]);
    // Upstream's managers make clones first, and may be interrupted before the Machine.
    world.create_foreign("FakeConfig", "half", json!({})).await;
    let owned = json!({ "metadata": { "ownerReferences": owner("MachineSet", &set.name_any(), set.uid(), false),
        "labels": { "cluster.x-k8s.io/cluster-name": "c" } } });
    let patch = Patch::Merge(owned);
    let configs = world.foreign("FakeConfig");
    configs
        .patch("half", &PatchParams::default(), &patch)
        .await
        .unwrap();
    // Ours make the Machine first.
    let mut machine = serde_json::to_value(world.list::<Machine>().await.remove(0)).unwrap();
    machine["metadata"] = json!({ "name": "young", "namespace": "default", "labels": machine["metadata"]["labels"],
        "finalizers": ["machine.cluster.x-k8s.io"],
        "ownerReferences": owner("MachineSet", &set.name_any(), set.uid(), true) });
    machine["spec"]["infrastructureRef"]["name"] = json!("young");
    machine["spec"]["bootstrap"]["configRef"]["name"] = json!("young");
    for (path, field) in [
        ("/spec", "providerID"),
        ("/spec/bootstrap", "dataSecretName"),
        ("", "status"),
    ] {
        machine
            .pointer_mut(path)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(field);
    }
    world.create::<Machine>(machine).await;
    let two = json!({ "spec": { "replicas": 2 } });
    world.patch::<MachineDeployment>("md", two.clone()).await;
    world.patch::<MachineSet>(&set.name_any(), two).await;
    world.run_manager(&Gate::default());
    eventually("both Machines are available", || world.has_machines(2)).await;
    assert!(names(&world).await.contains(&"young".to_owned()));
    assert!(
        world
            .foreign("FakeConfig")
            .get_opt("half")
            .await
            .unwrap()
            .is_none()
    );
    let clones = world
        .foreign("FakeMachine")
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(clones.items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_not_given_twice_even_after_a_restart() {
    let mut world = up(30, 1).await;
    let mut given = names(&world).await;
    for _ in 0..3 {
        world
            .patch::<MachineDeployment>("md", json!({ "spec": { "replicas": 0 } }))
            .await;
        eventually("no Machine is left", || world.has_machines(0)).await;
        world.remove_manager().await;
        world.run_manager(&Gate::default());
        world
            .patch::<MachineDeployment>("md", json!({ "spec": { "replicas": 1 } }))
            .await;
        eventually("there is a Machine again", || world.has_machines(1)).await;
        let name = names(&world).await.remove(0);
        assert!(!given.contains(&name), "{name} in {given:?}");
        given.push(name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_not_selected_any_more_is_let_go_and_taken_back() {
    let world = up(31, 1).await;
    let name = names(&world).await.remove(0);
    let hash = world.get::<Machine>(&name).await.labels()["machine-template-hash"].clone();
    let label = |value: Value| json!({ "metadata": { "labels": { "machine-template-hash": value } } });
    world.patch::<Machine>(&name, label(Value::Null)).await;
    eventually("another Machine takes its place", || async {
        let machine = world.get::<Machine>(&name).await;
        machine.owner_references().iter().all(|o| o.kind != "MachineSet")
            && world.list::<Machine>().await.len() == 2
    })
    .await;
    world.patch::<Machine>(&name, label(json!(hash))).await;
    eventually("one of the two goes", || world.has_machines(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_topology_is_not_ignored_in_silence() {
    let world = World::start(32).await;
    world
        .create::<Cluster>(json!({ "metadata": { "name": "c", "namespace": "default" },
            "spec": { "topology": { "classRef": { "name": "class" }, "version": "v1.35.0" } } }))
        .await;
    eventually("the Cluster says so", || async {
        let cluster = world.get::<Cluster>("c").await;
        get(&cluster, "TopologyReconciled")
            .is_some_and(|c| c.status == "False" && c.message.starts_with("spec.topology is not supported"))
            && get(&cluster, "Available").is_some_and(|c| c.message.contains("TopologyReconciled"))
    })
    .await;
}

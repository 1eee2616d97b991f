//! What happens to a control plane that is up: healing, leaving, upgrading, adopting.

mod adoption;
mod healing;
mod upgrade;

use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use super::*;

/// The finalizer of the Machine controller, which the test plays.
const FINALIZER: &str = "machine.cluster.x-k8s.io";

/// A control plane with three machines, whose deletion the test sees through.
async fn three(world: &World) -> Vec<String> {
    up(world).await;
    world
        .merge::<KubeadmControlPlane>("cp", json!({ "spec": { "replicas": 3 } }))
        .await;
    for _ in 2..=3 {
        boot_next(world).await;
    }
    eventually("three are available", || async {
        control_plane(world).await["status"]["availableReplicas"] == 3
    })
    .await;
    settle().await;
    let names: Vec<String> = machines(world)
        .await
        .iter()
        .map(|machine| machine.name_any())
        .collect();
    for name in &names {
        hold(world, name).await;
    }
    settle().await;
    names
}

async fn hold(world: &World, machine: &str) {
    let patch = json!({ "metadata": { "finalizers": [FINALIZER] } });
    world.merge::<Machine>(machine, patch).await;
}

/// Waits for a Machine without Node and boots it.
async fn boot_next(world: &World) -> String {
    let waiting = || async {
        machines(world)
            .await
            .into_iter()
            .find(|machine| {
                machine
                    .status
                    .as_ref()
                    .is_none_or(|status| status.node_ref.is_none())
            })
            .map(|machine| machine.name_any())
    };
    eventually("a new Machine", || async { waiting().await.is_some() }).await;
    let name = waiting().await.unwrap();
    settle().await;
    boot(world, &name).await;
    name
}

async fn is_deleting(world: &World, machine: &str) -> bool {
    world.json::<Machine>(machine).await["metadata"]["deletionTimestamp"].is_string()
}

async fn has_member(world: &World, machine: &str) -> bool {
    world.workload.etcd.members.lock().contains_key(machine)
}

/// What the Machine controller does with a deleted Machine: drains, waits for the hooks, lets go.
async fn let_go(world: &World, machine: &str) {
    let draining = json!({ "conditions": [{ "type": "Deleting", "status": "True", "reason": "WaitingForPreTerminateHook",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    world.merge_status::<Machine>(machine, draining).await;
    let hook = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/kcp-cleanup";
    eventually("the hook is gone", || async {
        let machine = world.api::<Machine>().get(machine).await.unwrap();
        !machine.annotations().contains_key(hook)
    })
    .await;
    world
        .merge::<Machine>(machine, json!({ "metadata": { "finalizers": null } }))
        .await;
    world.workload.remove_node(machine).await;
}

async fn delete(world: &World, machine: &str) {
    world
        .api::<Machine>()
        .delete(machine, &DeleteParams::default())
        .await
        .unwrap();
}

//! Machines that were there before their control plane.

use kube::ResourceExt;
use serde_json::json;

use super::super::*;

#[tokio::test(start_paused = true)]
async fn a_control_plane_machine_of_nobody_is_adopted() {
    let world = world(1).await;
    let name = up(&world).await;
    // As if its control plane had been deleted without it.
    world.orphan(&name).await;
    settle().await;
    let adopted = world.api::<Machine>().get(&name).await.unwrap();
    let owners = adopted.owner_references();
    assert_eq!(
        (owners.len(), owners[0].kind.as_str(), owners[0].controller),
        (1, "KubeadmControlPlane", Some(true))
    );
    assert_eq!(machines(&world).await.len(), 1, "nothing is created beside it");
    assert_eq!(condition(&control_plane(&world).await, "Available").0, "True");
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_another_version_is_not() {
    let world = world(1).await;
    manifest(&world, 1).await;
    world
        .create::<Machine>(json!({
            "metadata": { "name": "old", "namespace": "default", "labels": {
                "cluster.x-k8s.io/cluster-name": "c", "cluster.x-k8s.io/control-plane": "" } },
            "spec": { "clusterName": "c", "version": "v1.30.0", "bootstrap": { "configRef": {
                "apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfig", "name": "old" } },
                "infrastructureRef": {
                    "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachine", "name": "old" } },
        }))
        .await;
    provision_infrastructure(&world).await;
    settle().await;
    assert!(
        world
            .api::<Machine>()
            .get("old")
            .await
            .unwrap()
            .owner_references()
            .is_empty()
    );
    assert_eq!(
        machines(&world).await.len(),
        1,
        "nothing happens in a mixed control plane"
    );
}

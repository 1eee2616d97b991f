//! Machines that fail or are deleted, and etcd members that are left over.

use serde_json::json;

use super::{super::*, *};

/// What a MachineHealthCheck does.
async fn mark(world: &World, machine: &str) {
    let mut conditions = world.json::<Machine>(machine).await["status"]["conditions"].clone();
    for type_ in ["HealthCheckSucceeded", "OwnerRemediated"] {
        conditions.as_array_mut().unwrap().push(
            json!({ "type": type_, "status": "False", "reason": "WaitingForRemediation", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }),
        );
    }
    world
        .merge_status::<Machine>(machine, json!({ "conditions": conditions }))
        .await;
}

const IN_PROGRESS: &str = "controlplane.cluster.x-k8s.io/remediation-in-progress";

#[tokio::test(start_paused = true)]
async fn a_machine_with_a_lost_member_is_replaced() {
    let world = world(1).await;
    let machines_before = three(&world).await;
    let lost = &machines_before[1];
    world.workload.etcd.down.lock().insert(lost.clone());
    mark(&world, lost).await;
    eventually("it is deleted", || is_deleting(&world, lost)).await;
    settle().await;
    let now = control_plane(&world).await;
    let record: Value =
        serde_json::from_str(now["metadata"]["annotations"][IN_PROGRESS].as_str().unwrap()).unwrap();
    assert_eq!(
        (&record["machine"], &record["retryCount"]),
        (&json!(lost), &json!(0))
    );
    assert_eq!(condition(&now, "Remediating").0, "True");
    assert_eq!(
        condition(&world.json::<Machine>(lost).await, "OwnerRemediated").1,
        "MachineDeleting"
    );
    assert!(
        has_member(&world, lost).await,
        "its member stays while it is drained"
    );
    assert_eq!(machines(&world).await.len(), 3, "and nothing else happens");

    let_go(&world, lost).await;
    assert!(!has_member(&world, lost).await);
    let successor = boot_next(&world).await;
    let annotation = "controlplane.cluster.x-k8s.io/remediation-for";
    let machine = world.json::<Machine>(&successor).await;
    let remembered: Value =
        serde_json::from_str(machine["metadata"]["annotations"][annotation].as_str().unwrap()).unwrap();
    assert_eq!(remembered, record);
    eventually("three are available again", || async {
        control_plane(&world).await["status"]["availableReplicas"] == 3
    })
    .await;
    settle().await;
    let now = control_plane(&world).await;
    assert!(now["metadata"]["annotations"].get(IN_PROGRESS).is_none());
    assert_eq!(now["status"]["lastRemediation"]["machine"], json!(lost));
    assert_eq!(condition(&now, "Remediating").0, "False");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_gets_well_by_itself_is_kept() {
    let world = world(1).await;
    let name = up(&world).await;
    mark(&world, &name).await;
    eventually("the answer is there", || async {
        condition(&world.json::<Machine>(&name).await, "OwnerRemediated").1 == "CannotBeRemediated"
    })
    .await;
    settle().await;
    assert_eq!(
        condition(&control_plane(&world).await, "Remediating").2,
        "* Machine ".to_owned()
            + &name
            + ": KubeadmControlPlane can't remediate if current replicas are less or equal to 1"
    );
    let mut conditions = world.json::<Machine>(&name).await["status"]["conditions"].clone();
    for found in conditions.as_array_mut().unwrap() {
        if found["type"] == "HealthCheckSucceeded" {
            found["status"] = json!("True");
        }
    }
    world
        .merge_status::<Machine>(&name, json!({ "conditions": conditions }))
        .await;
    eventually("nobody asks any more", || async {
        condition(&world.json::<Machine>(&name).await, "OwnerRemediated")
            .0
            .is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_somebody_deletes_leaves_etcd_first_and_is_replaced() {
    let world = world(1).await;
    let names = three(&world).await;
    // The leader is on the oldest.
    let leader = &names[0];
    delete(&world, leader).await;
    settle().await;
    assert!(has_member(&world, leader).await);
    let_go(&world, leader).await;
    let calls = world.workload.etcd.calls.lock().clone();
    assert!(
        calls[0].starts_with("move ") && calls[1].starts_with("remove "),
        "{calls:?}"
    );
    assert!(!has_member(&world, leader).await);
    boot_next(&world).await;
    eventually("three are available again", || async {
        control_plane(&world).await["status"]["availableReplicas"] == 3
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_member_stays_as_long_as_the_quorum_needs_it() {
    let world = world(1).await;
    let names = three(&world).await;
    world.workload.etcd.down.lock().insert(names[2].clone());
    delete(&world, &names[0]).await;
    let draining = json!({ "conditions": [{ "type": "Deleting", "status": "True", "reason": "WaitingForPreTerminateHook",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    world.merge_status::<Machine>(&names[0], draining).await;
    eventually("the condition says so", || async {
        let (status, _, message) = condition(&control_plane(&world).await, "EtcdClusterHealthy");
        status == "False" && message.contains(&format!("Machine {} cannot leave the etcd cluster", names[0]))
    })
    .await;
    assert!(has_member(&world, &names[0]).await);
    world.workload.etcd.down.lock().clear();
    eventually("it leaves", || async { !has_member(&world, &names[0]).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_without_a_machine_is_removed() {
    let world = world(1).await;
    three(&world).await;
    world.workload.etcd.members.lock().insert("ghost".into(), 99);
    eventually("it is gone", || async { !has_member(&world, "ghost").await }).await;
    assert_eq!(*world.workload.etcd.calls.lock(), ["remove 99"]);
    settle().await;
    assert_eq!(
        condition(&control_plane(&world).await, "EtcdClusterHealthy").0,
        "True"
    );
}

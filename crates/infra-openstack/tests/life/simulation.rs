//! What only the OpenStack in this process can be made to do.

use infra_openstack::fake::{FaultAction, FaultRule};
use serde_json::json;

use crate::{place::here, system::System};

async fn away(system: &System) {
    let trouble = FaultRule::new("*", "/network/", FaultAction::NoConnection);
    system.cloud().disturb(trouble);
    system.cluster().await;
    system
        .until_said("OpenStackCluster", &system.name, "connection refused")
        .await;
    system.cloud().calm();
    system.until_true("OpenStackCluster", &system.name, "Ready").await;
}

#[test]
fn a_service_that_is_away_for_a_while_only_costs_time() {
    here(|system| Box::pin(away(system)));
}

async fn lost_answer(system: &System) {
    let before = system.inventory().await;
    system.cluster().await;
    system.until_true("OpenStackCluster", &system.name, "Ready").await;
    // Made, but the answer is lost: it is found again by its description.
    let trouble = FaultRule::new("POST", "floatingips", FaultAction::LoseAnswer).times(1);
    system.cloud().disturb(trouble);
    let identity = json!({ "name": "cloud", "cloudName": system.place.cloud_name });
    let pool = json!({ "spec": { "identityRef": identity, "reclaimPolicy": "Delete", "maxIPs": 1 } });
    system.create("OpenStackFloatingIPPool", "p", pool).await;
    let spec = json!({ "floatingIPPoolRef": {
        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "OpenStackFloatingIPPool", "name": "p" } });
    system.machine_with("a", false, "az1", spec).await;
    system.until_said("OpenStackMachine", "a", "ExternalIP").await;
    let count = system.resources("/floatingips").await.len();
    assert_eq!(count, 2, "one for the API server, one for the pool");
    system.delete_machine("a").await;
    system.delete("OpenStackFloatingIPPool", "p").await;
    system.until_gone("OpenStackFloatingIPPool", "p").await;
    system.delete_cluster().await;
    assert_eq!(system.inventory().await, before);
}

#[test]
fn a_floating_ip_whose_answer_was_lost_is_found_again() {
    here(|system| Box::pin(lost_answer(system)));
}

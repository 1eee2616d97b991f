//! What only the OpenStack in this process can be made to do.

use std::time::Duration;

use infra_openstack::fake::{FaultAction, FaultRule};
use serde_json::{Value, json};

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

async fn hours(count: u64) {
    tokio::time::sleep(Duration::from_secs(count * 3600)).await;
}

async fn bastion(system: &System) -> Value {
    let cluster = system.get("OpenStackCluster", &system.name).await.unwrap();
    cluster["status"]["bastion"].clone()
}

async fn bastion_lost(system: &System) {
    let before = system.inventory().await;
    let image = json!({ "filter": { "name": "ubuntu" } });
    let spec = json!({ "flavor": { "filter": { "name": "m1.tiny" } }, "image": image });
    let wanted = json!({ "bastion": { "enabled": true, "spec": spec } });
    system.cluster_with(wanted).await;
    let other = |first: Value| {
        move |object: Option<&Value>| {
            let bastion = object
                .map(|object| object["status"]["bastion"].clone())
                .unwrap_or_default();
            bastion["id"].is_string() && bastion["id"] != first && bastion["floatingIP"].is_string()
        }
    };
    system
        .until(
            "there is a bastion",
            "OpenStackCluster",
            &system.name,
            other(Value::Null),
        )
        .await;
    let first = bastion(system).await["id"].clone();
    system.lose_server(&format!("{}-bastion", system.name)).await;
    system
        .until(
            "it is another one",
            "OpenStackCluster",
            &system.name,
            other(first),
        )
        .await;
    // Its floating IP is taken away too.
    let address = bastion(system).await["floatingIP"].clone();
    let ips = system.cloud().resources("floatingips");
    let ip = ips
        .iter()
        .find(|ip| ip["floating_ip_address"] == address)
        .unwrap();
    system.cloud().remove("floatingips", ip["id"].as_str().unwrap());
    hours(2).await;
    let address = bastion(system).await["floatingIP"].clone();
    let ips = system.cloud().resources("floatingips");
    let led = |ip: &Value| ip["floating_ip_address"] == address && ip["port_id"].is_string();
    assert!(ips.iter().any(led), "{address} {ips:#?}");
    system.delete_cluster().await;
    assert_eq!(system.inventory().await, before);
}

#[test]
fn a_bastion_that_somebody_deletes_is_made_again() {
    here(|system| Box::pin(bastion_lost(system)));
}

async fn balancer_broken(system: &System) {
    let before = system.inventory().await;
    system.cluster().await;
    let machines = ["a", "b", "c"];
    for machine in machines {
        system.machine(machine, true).await;
    }
    for machine in machines {
        system
            .until_true("OpenStackMachine", machine, "APIServerIngressReady")
            .await;
    }
    hours(1).await;
    let cloud = system.cloud();
    let name = format!("k8s-clusterapi-cluster-default-{}-kubeapi", system.name);
    let first = cloud.resources("loadbalancers")[0]["id"].clone();
    cloud.alter("loadbalancers", &name, |balancer| {
        balancer["provisioning_status"] = "ERROR".into();
    });
    hours(1).await;
    let balancers = cloud.resources("loadbalancers");
    assert_eq!(balancers.len(), 1);
    assert_ne!(balancers[0]["id"], first);
    assert_eq!(cloud.resources("members").len(), 3, "all machines joined it");
    system.until_true("OpenStackCluster", &system.name, "Ready").await;
    // What somebody else takes away is seen by a list, long before the next audit.
    let ip = cloud.resources("floatingips").remove(0);
    cloud.remove("floatingips", ip["id"].as_str().unwrap());
    tokio::time::sleep(Duration::from_secs(240)).await;
    assert_eq!(cloud.resources("floatingips").len(), 1);
    for machine in machines {
        system.delete_machine(machine).await;
    }
    system.delete_cluster().await;
    assert_eq!(system.inventory().await, before);
}

#[test]
fn machines_join_the_load_balancer_that_takes_the_place_of_a_broken_one() {
    here(|system| Box::pin(balancer_broken(system)));
}

/// At most 60 requests in ten minutes at rest, with so many machines.
async fn at_rest(system: &System, machines: usize) {
    system.cluster().await;
    for index in 0..machines {
        system.machine(&format!("m{index}"), false).await;
    }
    for index in 0..machines {
        system
            .until_true("OpenStackMachine", &format!("m{index}"), "Ready")
            .await;
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    system.log.lock().clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let log = system.log.lock().clone();
    assert!(log.len() <= 60, "{} requests: {log:#?}", log.len());
}

#[test]
fn requests_at_rest_do_not_depend_on_the_number_of_machines() {
    here(|system| Box::pin(at_rest(system, 1)));
    here(|system| Box::pin(at_rest(system, 60)));
}

async fn credentials_change(system: &System) {
    system.cluster().await;
    system.machine("a", false).await;
    system.until_true("OpenStackMachine", "a", "Ready").await;
    hours(1).await;
    system.cloud().set_password("other");
    system.cloud().revoke_tokens();
    system
        .until_said("OpenStackServer", "a", "requires authentication")
        .await;
    let right = system
        .place
        .clouds_yaml
        .replace("password: secret", "password: other");
    let patch = json!({ "stringData": { "clouds.yaml": right } });
    system.patch("Secret", "cloud", patch).await;
    let authenticated = "OpenStackAuthenticationSucceeded";
    system.until_true("OpenStackServer", "a", authenticated).await;
    hours(1).await;
    // Nobody lists with the old credentials any more.
    system.log.lock().clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let log = system.log.lock().clone();
    assert!(log.iter().all(|(_, _, status)| *status != 401), "{log:#?}");
    assert!(log.iter().any(|(_, path, _)| path.contains("/servers/detail")));
}

#[test]
fn changed_credentials_are_noticed_said_and_picked_up() {
    here(|system| Box::pin(credentials_change(system)));
}

async fn another_identity(system: &System) {
    system.cluster().await;
    system.machine("a", false).await;
    system.until_true("OpenStackMachine", "a", "Ready").await;
    let secret = json!({ "stringData": { "clouds.yaml": system.place.clouds_yaml } });
    system.create("Secret", "cloud-2", secret).await;
    let identity = json!({ "name": "cloud-2", "cloudName": "fake" });
    let patch = json!({ "spec": { "identityRef": identity } });
    system.patch("OpenStackCluster", &system.name, patch).await;
    system.until_said("OpenStackServer", "a", "cloud-2").await;
}

#[test]
fn another_identity_of_the_cluster_reaches_the_servers() {
    here(|system| Box::pin(another_identity(system)));
}

async fn template(system: &System) {
    system.cluster().await;
    let cluster = system.get("Cluster", &system.name).await.unwrap();
    let owner = json!([{ "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": system.name,
        "uid": cluster["metadata"]["uid"] }]);
    let spec = |flavor: &str| {
        json!({ "template": { "spec": { "flavor": { "filter": { "name": flavor } },
        "image": { "filter": { "name": "ubuntu" } } } } })
    };
    for (name, flavor) in [("large", "m1.large"), ("none", "m1.none")] {
        let object = json!({ "metadata": { "ownerReferences": owner }, "spec": spec(flavor) });
        system.create("OpenStackMachineTemplate", name, object).await;
    }
    system
        .until_true("OpenStackMachineTemplate", "large", "Ready")
        .await;
    let status = system.get("OpenStackMachineTemplate", "large").await.unwrap()["status"].clone();
    assert_eq!(
        (&status["capacity"]["cpu"], &status["capacity"]["memory"]),
        (&json!("4"), &json!("8192Mi"))
    );
    assert_eq!(status["nodeInfo"]["operatingSystem"], "linux");
    system
        .until_said(
            "OpenStackMachineTemplate",
            "none",
            "flavor m1.none: nothing in OpenStack matches",
        )
        .await;
}

#[test]
fn a_template_says_what_its_machines_have() {
    here(|system| Box::pin(template(system)));
}

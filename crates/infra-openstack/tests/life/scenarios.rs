//! What must be so on any OpenStack.

use std::{io::Write, time::Duration};

use infra_openstack::cloud::{Call, Service};
use serde_json::{Value, json};

use crate::system::System;

const GROUP: &str = "infrastructure.cluster.x-k8s.io";

pub async fn a_cluster_with_machines_comes_up_and_leaves_nothing(system: &System) {
    let before = system.inventory().await;
    let name = system.name.as_str();
    let cidrs = json!({ "managedLoadBalancer": { "allowedCIDRs": ["192.0.2.0/24"] } });
    system.cluster_with(json!({ "apiServer": cidrs })).await;
    let (cp, md) = (format!("{name}-cp"), format!("{name}-md"));
    system.machine(&cp, true).await;
    system.machine_with(&md, false, "az1", json!({})).await;
    system.until_true("OpenStackCluster", name, "Ready").await;
    system
        .until_true("OpenStackMachine", &cp, "APIServerIngressReady")
        .await;
    system.until_true("OpenStackMachine", &md, "Ready").await;

    let cluster = system.get("OpenStackCluster", name).await.unwrap();
    let endpoint = &cluster["spec"]["controlPlaneEndpoint"];
    let floating = system.resources("/floatingips").await;
    assert!(
        floating
            .iter()
            .any(|ip| ip["floating_ip_address"] == endpoint["host"] && ip["port_id"].is_string())
    );
    let domains = cluster["status"]["failureDomains"].as_array().unwrap();
    let domains: Vec<&Value> = domains.iter().map(|domain| &domain["name"]).collect();
    assert!(
        domains.contains(&&json!("az1")) && domains.contains(&&json!("az2")),
        "{domains:?}"
    );
    let machine = system.get("OpenStackMachine", &cp).await.unwrap();
    let server = system.resource("/servers/detail", &cp).await;
    let id = server["id"].as_str().unwrap();
    assert_eq!(machine["spec"]["providerID"], format!("openstack:///{id}"));
    assert_eq!(machine["status"]["initialization"]["provisioned"], true);
    assert_eq!(server["OS-EXT-AZ:availability_zone"], "az2");
    let worker = system.resource("/servers/detail", &md).await;
    assert_eq!(worker["OS-EXT-AZ:availability_zone"], "az1");

    let address = &machine["status"]["addresses"][0]["address"];
    let child = format!("k8s-clusterapi-cluster-default-{name}-kubeapi-6443");
    let pool = system.resource("/lbaas/pools", &child).await;
    let members = format!("/lbaas/pools/{}/members", pool["id"].as_str().unwrap());
    let members = Call::get(Service::LoadBalancer, members, "test");
    let members: Vec<Value> = system.observer.list(members, "members").await.unwrap();
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!(members[0]["address"], *address);
    assert_eq!(members[0]["name"], format!("{child}-{cp}"));
    let listener = system.resource("/lbaas/listeners", &child).await;
    let allowed = listener["allowed_cidrs"].as_array().unwrap();
    assert!(
        allowed.contains(&json!("192.0.2.0/24")) && allowed.contains(&json!("10.6.0.0/24")),
        "{allowed:?}"
    );

    rests(system).await;

    system.lose_server(&md).await;
    system
        .until_said("OpenStackMachine", &md, "InstanceDeleted")
        .await;

    system.delete_machine(&cp).await;
    system.delete_machine(&md).await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

/// At rest nothing is written anywhere, and only lists are asked for.
async fn rests(system: &System) {
    let (settling, resting) = match system.is_real() {
        true => (15, 90),
        false => (60, 300),
    };
    tokio::time::sleep(Duration::from_secs(settling)).await;
    let revision = system.server.revision();
    system.log.lock().clear();
    tokio::time::sleep(Duration::from_secs(resting)).await;
    assert_eq!(system.server.revision(), revision, "nothing is written");
    let log = system.log.lock().clone();
    // Of each collection one list, however many resources there are: nothing is asked for by its id.
    let lists = [
        ("/servers/detail", 25),
        ("/loadbalancers?", 60),
        ("/networks?", 120),
        ("/routers?", 120),
        ("/floatingips?", 120),
        ("/security-groups?", 120),
    ];
    for (list, seconds) in lists {
        let count = log.iter().filter(|(_, path, _)| path.contains(list)).count();
        let most = usize::try_from(resting / seconds).unwrap() + 1;
        assert!(count <= most, "{count} times {list} in {resting} s: {log:#?}");
    }
    let other = log
        .iter()
        .filter(|(_, path, _)| !lists.iter().any(|(list, _)| path.contains(list)));
    assert_eq!(other.count(), 0, "{log:#?}");
}

pub async fn machines_have_volumes_groups_trunks_and_tags(system: &System) {
    let before = system.inventory().await;
    let name = system.name.as_str();
    let group = json!({ "server_group": { "name": format!("{name}-apart"), "policies": ["anti-affinity"] } });
    let group: Value = system
        .observer
        .member(
            Call::post(Service::Compute, "/os-server-groups", "test", group),
            "server_group",
        )
        .await
        .unwrap();
    let group = group["id"].as_str().unwrap();
    system.cluster_with(json!({ "tags": ["of-the-cluster"] })).await;
    let machines = [format!("{name}-1"), format!("{name}-2")];
    for (machine, zone) in machines.iter().zip(["az1", "az2"]) {
        let spec = json!({ "rootVolume": { "sizeGiB": 5 }, "serverGroup": { "id": group }, "trunk": true,
            "additionalBlockDevices": [{ "name": "etcd", "sizeGiB": 2, "storage": { "type": "Volume" } }],
            "tags": ["of-the-machine"], "serverMetadata": [{ "key": "k", "value": "v" }], "configDrive": true,
            "ports": [{ "nameSuffix": "main", "tags": ["of-the-port"], "allowedAddressPairs": [{ "ipAddress": "10.6.0.200" }] },
                { "nameSuffix": "open", "enablePortSecurity": false, "trunk": false }] });
        system.machine_with(machine, false, zone, spec).await;
    }
    for machine in &machines {
        system.until_true("OpenStackMachine", machine, "Ready").await;
        for (suffix, size) in [("root", 5), ("etcd", 2)] {
            let volume = system
                .resource("/volumes/detail", &format!("{machine}-{suffix}"))
                .await;
            assert_eq!(
                (&volume["status"], &volume["size"]),
                (&json!("in-use"), &json!(size)),
                "{volume}"
            );
        }
        let server = system.resource("/servers/detail", machine).await;
        assert_eq!(server["metadata"], json!({ "k": "v" }));
        let port = system.resource("/ports", &format!("{machine}-main")).await;
        let mut tags: Vec<&str> = port["tags"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        tags.sort_unstable();
        assert_eq!(tags, ["of-the-cluster", "of-the-machine", "of-the-port"]);
        assert_eq!(port["device_id"], server["id"]);
        assert_eq!(port["allowed_address_pairs"][0]["ip_address"], "10.6.0.200");
        let trunk = system.resource("/trunks", &format!("{machine}-main")).await;
        assert_eq!(trunk["port_id"], port["id"]);
        let open = system.resource("/ports", &format!("{machine}-open")).await;
        assert_eq!(open["port_security_enabled"], false);
        assert_eq!(open["security_groups"], json!([]));
    }
    for machine in &machines {
        system.delete_machine(machine).await;
    }
    system.delete_cluster().await;
    let call = Call::delete(Service::Compute, format!("/os-server-groups/{group}"), "test");
    assert!(system.observer.gone(call).await.unwrap());
    system.until_inventory_is(&before).await;
}

pub async fn a_bastion_comes_and_goes(system: &System) {
    let before = system.inventory().await;
    let name = system.name.as_str();
    system.cluster().await;
    system.until_true("OpenStackCluster", name, "Ready").await;
    let without = system.inventory().await;
    let set = async |bastion: Value| {
        let patch = json!({ "spec": { "bastion": bastion } });
        system.patch("OpenStackCluster", name, patch).await;
    };
    let spec = json!({ "flavor": { "filter": { "name": "m1.tiny" } }, "image": { "filter": { "name": system.place.image } } });
    set(json!({ "enabled": true, "spec": spec })).await;
    let reached = |object: Option<&Value>| {
        object.is_some_and(|object| object["status"]["bastion"]["floatingIP"].is_string())
    };
    system
        .until("the bastion is reachable", "OpenStackCluster", name, reached)
        .await;
    let bastion = system.get("OpenStackCluster", name).await.unwrap()["status"]["bastion"].clone();
    assert_eq!(bastion["name"], format!("{name}-bastion"));
    let floating = system.resources("/floatingips").await;
    assert!(
        floating
            .iter()
            .any(|ip| ip["floating_ip_address"] == bastion["floatingIP"] && ip["port_id"].is_string())
    );
    let groups = system.resources("/security-groups").await.len();
    assert_eq!(groups, without["security_groups"].len() + 1);

    set(json!({ "enabled": false })).await;
    system
        .until_gone("OpenStackServer", &format!("{name}-bastion"))
        .await;
    system.until_inventory_is(&without).await;
    let no_bastion =
        |object: Option<&Value>| object.is_some_and(|object| object["status"]["bastion"].is_null());
    system
        .until("the bastion is forgotten", "OpenStackCluster", name, no_bastion)
        .await;

    set(json!({ "enabled": true })).await;
    system
        .until("the bastion is reachable", "OpenStackCluster", name, reached)
        .await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

pub async fn a_pool_gives_floating_ips_and_takes_them_back(system: &System) {
    let before = system.inventory().await;
    let name = system.name.as_str();
    system.cluster().await;
    let identity = json!({ "name": "cloud", "cloudName": system.place.cloud_name });
    let pool = json!({ "spec": { "identityRef": identity, "reclaimPolicy": "Delete", "maxIPs": 1 } });
    system.create("OpenStackFloatingIPPool", "p", pool).await;
    let spec =
        json!({ "floatingIPPoolRef": { "apiGroup": GROUP, "kind": "OpenStackFloatingIPPool", "name": "p" } });
    let machines = [format!("{name}-a"), format!("{name}-b")];
    for machine in &machines {
        system.machine_with(machine, false, "az1", spec.clone()).await;
        system.until_true("OpenStackMachine", machine, "Ready").await;
    }
    system
        .until_said("OpenStackMachine", &machines[0], "ExternalIP")
        .await;
    system
        .until_said("OpenStackFloatingIPPool", "p", "MaxIPsReached")
        .await;
    let count = system.resources("/floatingips").await.len();
    assert_eq!(
        count,
        before["floatingips"].len() + 2,
        "one for the API server, one for the pool"
    );
    for machine in &machines {
        system.delete_machine(machine).await;
    }
    system.delete("OpenStackFloatingIPPool", "p").await;
    system.until_gone("OpenStackFloatingIPPool", "p").await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

pub async fn wrong_credentials_are_said_and_forgiven_when_the_secret_is_corrected(system: &System) {
    let before = system.inventory().await;
    let right = system.place.clouds_yaml.as_str();
    let wrong = right
        .replace("password: secret", "password: x")
        .replace("password: lab", "password: x");
    assert_ne!(wrong, right);
    let set = async |yaml: &str| {
        let patch = json!({ "stringData": { "clouds.yaml": yaml } });
        system.patch("Secret", "cloud", patch).await;
    };
    set(&wrong).await;
    system.cluster().await;
    let words = "The request you have made requires authentication";
    system.until_said("OpenStackCluster", &system.name, words).await;
    set(right).await;
    system.until_true("OpenStackCluster", &system.name, "Ready").await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

pub async fn quotas_are_quoted_and_more_of_them_is_enough(system: &System) {
    if !system.sets_quotas() {
        let why = "SKIPPED OpenStack: OPENSTACK_ADMIN_CLOUD does not name who may set quotas";
        let mut unseen_by_the_harness = std::io::stderr();
        return writeln!(unseen_by_the_harness, "\n{why}").unwrap();
    }
    let before = system.inventory().await;
    let name = system.name.as_str();
    let unlimited = if system.is_real() { -1 } else { i64::from(i32::MAX) };
    system.cluster().await;
    system.until_true("OpenStackCluster", name, "Ready").await;
    let machine = format!("{name}-md");
    system.set_quota("ports", 0).await;
    system.set_quota("servers", 0).await;
    system.machine(&machine, false).await;
    system
        .until_said(
            "OpenStackMachine",
            &machine,
            "Quota exceeded for resources: ['port']",
        )
        .await;
    system.set_quota("ports", unlimited).await;
    system
        .until_said("OpenStackMachine", &machine, "Quota exceeded for instances")
        .await;
    system.set_quota("servers", unlimited).await;
    system.until_true("OpenStackMachine", &machine, "Ready").await;
    system.delete_machine(&machine).await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

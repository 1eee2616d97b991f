//! A cluster that upstream's provider made is taken over: its objects as they are after a move, its resources under the
//! names that upstream gives. Nothing is made, changed or deleted in OpenStack.

use std::time::Duration;

use infra_openstack::cloud::{Call, Service};
use serde_json::{Value, json};

use crate::system::System;

async fn post(system: &System, service: Service, path: &str, one: &str, body: Value) -> Value {
    let call = Call::post(service, path, "test", json!({ one: body }));
    system.observer.member(call, one).await.unwrap()
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

async fn neutron(system: &System, path: &str, one: &str, body: Value) -> String {
    id(&post(system, Service::Network, path, one, body).await)
}

/// Waits until a load balancer or a server is ACTIVE.
async fn active(system: &System, service: Service, path: &str, one: &str, field: &str) {
    loop {
        let found: Value = system
            .observer
            .member(Call::get(service, path, "test"), one)
            .await
            .unwrap();
        if found[field] == "ACTIVE" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn octavia(system: &System, balancer: &str, path: &str, one: &str, body: Value) -> String {
    let made = post(system, Service::LoadBalancer, path, one, body).await;
    let path = format!("/lbaas/loadbalancers/{balancer}");
    active(
        system,
        Service::LoadBalancer,
        &path,
        "loadbalancer",
        "provisioning_status",
    )
    .await;
    id(&made)
}

fn rule(group: &str, protocol: &str, ports: (i32, i32)) -> Value {
    json!({ "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": protocol,
        "port_range_min": ports.0, "port_range_max": ports.1 })
}

fn from(mut rule: Value, group: &str) -> Value {
    rule["remote_group_id"] = group.into();
    rule
}

/// Both security groups with the rules that upstream gives them; returns that of the control plane.
async fn groups(system: &System, base: &str) -> String {
    let mut ids = Vec::new();
    for role in ["controlplane", "worker"] {
        let name = format!("k8s-cluster-{base}-secgroup-{role}");
        let body = json!({ "name": name, "description": "Cluster API managed group" });
        ids.push(neutron(system, "/security-groups", "security_group", body).await);
    }
    let (control_plane, worker) = (ids[0].as_str(), ids[1].as_str());
    let kubelet = (10250, 10250);
    let mut rules = vec![
        rule(control_plane, "tcp", (6443, 6443)),
        from(rule(control_plane, "tcp", (2379, 2380)), control_plane),
        from(rule(control_plane, "tcp", kubelet), control_plane),
        from(rule(control_plane, "tcp", kubelet), worker),
        from(rule(worker, "tcp", kubelet), worker),
        from(rule(worker, "tcp", kubelet), control_plane),
    ];
    for protocol in ["tcp", "udp"] {
        let ports = rule(worker, protocol, (30000, 32767));
        let mut subnet = ports.clone();
        subnet["remote_ip_prefix"] = "10.6.0.0/24".into();
        rules.extend([subnet, from(ports.clone(), worker), from(ports, control_plane)]);
    }
    for rule in rules {
        neutron(system, "/security-group-rules", "security_group_rule", rule).await;
    }
    ids.remove(0)
}

/// What a name stands for.
async fn named(system: &System, service: Service, path: &str, list: &str, name: &str) -> String {
    let call = Call::get(service, path, "test");
    let found: Vec<Value> = system.observer.list(call, list).await.unwrap();
    id(found.iter().find(|found| found["name"] == name).unwrap())
}

struct Network {
    id: String,
    subnet: String,
    external: String,
}

async fn network(system: &System, name: &str, description: &str) -> Network {
    let body = json!({ "name": name, "admin_state_up": true });
    let id = neutron(system, "/networks", "network", body).await;
    let body = json!({ "name": name, "network_id": id, "cidr": "10.6.0.0/24", "ip_version": 4, "description": description });
    let subnet = neutron(system, "/subnets", "subnet", body).await;
    let call = Call::get(Service::Network, "/networks", "test").query("router:external", "true");
    let found: Vec<Value> = system.observer.list(call, "networks").await.unwrap();
    let external = found[0]["id"].as_str().unwrap().to_owned();
    let gateway = json!({ "network_id": external });
    let body = json!({ "name": name, "description": description, "external_gateway_info": gateway });
    let router = neutron(system, "/routers", "router", body).await;
    let path = format!("/routers/{router}/add_router_interface");
    let call = Call::put(Service::Network, path, "test", json!({ "subnet_id": subnet }));
    system.observer.send(call).await.unwrap();
    Network { id, subnet, external }
}

/// Everything of a cluster with one control plane machine: the floating IP of its API server, and the machine's server.
async fn resources(system: &System, machine: &str) -> (String, String) {
    let base = format!("default-{}", system.name);
    let name = format!("k8s-clusterapi-cluster-{base}");
    let by = "Created by cluster-api-provider-openstack cluster";
    let description = format!("{by} {base}");
    let network = network(system, &name, &description).await;
    let group = groups(system, &base).await;

    let body = json!({ "name": format!("{name}-kubeapi"), "description": description,
        "vip_subnet_id": network.subnet, "vip_network_id": network.id });
    let octavia_service = Service::LoadBalancer;
    let balancer = post(
        system,
        octavia_service,
        "/lbaas/loadbalancers",
        "loadbalancer",
        body,
    )
    .await;
    let body = json!({ "floating_network_id": network.external, "description": description, "port_id": balancer["vip_port_id"] });
    let floating = post(system, Service::Network, "/floatingips", "floatingip", body).await;
    let balancer = id(&balancer);
    let path = format!("/lbaas/loadbalancers/{balancer}");
    active(
        system,
        octavia_service,
        &path,
        "loadbalancer",
        "provisioning_status",
    )
    .await;
    let child = format!("{name}-kubeapi-6443");
    let body =
        json!({ "name": child, "protocol": "TCP", "protocol_port": 6443, "loadbalancer_id": balancer });
    let listener = octavia(system, &balancer, "/lbaas/listeners", "listener", body).await;
    let body =
        json!({ "name": child, "protocol": "TCP", "lb_algorithm": "ROUND_ROBIN", "listener_id": listener });
    let pool = octavia(system, &balancer, "/lbaas/pools", "pool", body).await;
    let body = json!({ "name": child, "pool_id": pool, "type": "TCP", "delay": 10, "timeout": 5, "max_retries": 5,
        "max_retries_down": 3 });
    octavia(system, &balancer, "/lbaas/healthmonitors", "healthmonitor", body).await;

    let body = json!({ "name": format!("{machine}-0"), "network_id": network.id, "security_groups": [group],
        "description": format!("{by} {}", system.name) });
    let port = post(system, Service::Network, "/ports", "port", body).await;
    let address = &port["fixed_ips"][0]["ip_address"];
    let body = json!({ "name": format!("{child}-{machine}"), "address": address, "protocol_port": 6443 });
    let path = format!("/lbaas/pools/{pool}/members");
    octavia(system, &balancer, &path, "member", body).await;
    let flavor = named(
        system,
        Service::Compute,
        "/flavors/detail",
        "flavors",
        &system.place.flavor,
    )
    .await;
    let image = named(system, Service::Image, "/images", "images", &system.place.image).await;
    let body = json!({ "name": machine, "flavorRef": flavor, "imageRef": image, "networks": [{ "port": port["id"] }],
        "availability_zone": "az1" });
    let server = id(&post(system, Service::Compute, "/servers", "server", body).await);
    active(
        system,
        Service::Compute,
        &format!("/servers/{server}"),
        "server",
        "status",
    )
    .await;
    (
        floating["floating_ip_address"].as_str().unwrap().to_owned(),
        server,
    )
}

pub async fn what_upstream_made_goes_on_without_a_change(system: &System) {
    let before = system.inventory().await;
    let machine = format!("{}-cp", system.name);
    let (floating, server) = resources(system, &machine).await;
    let adopted = system.inventory().await;
    system.log.lock().clear();

    // What remains of upstream's objects after a move: specs, and no status.
    let endpoint = json!({ "host": floating, "port": 6443 });
    let spec = json!({ "controlPlaneEndpoint": endpoint });
    system.cluster_with(spec).await;
    let provider_id = format!("openstack:///{server}");
    let spec = json!({ "providerID": provider_id });
    system.machine_with(&machine, true, "az1", spec).await;
    system.until_true("OpenStackCluster", &system.name, "Ready").await;
    system
        .until_true("OpenStackMachine", &machine, "APIServerIngressReady")
        .await;

    let object = system.get("OpenStackMachine", &machine).await.unwrap();
    assert_eq!(object["spec"]["providerID"], provider_id);
    assert_eq!(object["status"]["instanceID"], server.as_str());
    let cluster = system.get("OpenStackCluster", &system.name).await.unwrap();
    assert_eq!(cluster["spec"]["controlPlaneEndpoint"], endpoint);
    let balancer = &cluster["status"]["apiServerManagedLoadBalancer"];
    assert_eq!(balancer["ip"], floating.as_str());
    assert_eq!(system.inventory().await, adopted, "by name and id");
    let log = system.log.lock().clone();
    let mut writes = log.iter().filter(|(method, ..)| method != "GET");
    let write = writes.find(|(_, path, _)| !path.contains("/auth/"));
    assert_eq!(write, None);

    system.delete_machine(&machine).await;
    system.delete_cluster().await;
    system.until_inventory_is(&before).await;
}

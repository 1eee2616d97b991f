//! What is to be done next about a cluster that should exist. Pure.
//!
//! Stages follow each other: network, router, security groups, endpoint. A plan has the actions of the first stage that
//! is not finished, or what that stage waits for; after acting the world is planned again.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Error,
    api::{APIServerLoadBalancerMonitor, ManagedSecurityGroupName as Role},
    cloud::{Microversion, network::Subnet},
    rules::{
        names::SECURITY_GROUP_DESCRIPTION,
        security_groups::{self, Facts},
    },
};

use super::world::{Balancer, World};

/// A part of the work; each has a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Network and subnet.
    Network,
    /// Router and its interfaces.
    Router,
    /// Security groups and rules.
    SecurityGroups,
    /// Load balancer, floating IP, endpoint.
    Endpoint,
}

/// One change in OpenStack.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes the network.
    CreateNetwork(Value),
    /// Makes the subnet.
    CreateSubnet(Value),
    /// Sets the name servers of a subnet.
    SetNameServers(String, Vec<String>),
    /// Makes the router.
    CreateRouter(Value),
    /// Sets the way outside of a router.
    SetGateway(String, Value),
    /// Connects a router to a subnet.
    AddInterface(String, String),
    /// Sets the tags of a resource: collection, id, tags.
    SetTags(&'static str, String, Vec<String>),
    /// Makes a security group.
    CreateGroup(Role, Value),
    /// Deletes a rule of a group.
    DeleteRule(Role, String),
    /// Makes rules.
    CreateRules(Role, Vec<Value>),
    /// Deletes a group that is not wanted any more; if it is still in use, another time.
    DropGroup(Role, String),
    /// Makes the load balancer.
    CreateBalancer(Value),
    /// Makes a floating IP.
    CreateFloatingIp(Value),
    /// Leads a floating IP to a port.
    Associate(String, String),
    /// Makes a listener.
    CreateListener(Value),
    /// Makes a pool.
    CreatePool(Value),
    /// Makes a monitor.
    CreateMonitor(Value),
    /// Changes a monitor.
    UpdateMonitor(String, Value),
    /// Sets from where a listener may be used.
    SetAllowedCidrs(String, Option<Vec<String>>),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Do this, then plan again.
    Act(Stage, Vec<Action>),
    /// Look again after this time.
    Wait(Stage, String, Duration),
    /// There is nothing to do; this is the endpoint.
    Done(String),
}

/// How often a busy load balancer is looked at.
const BUSY: Duration = Duration::from_secs(3);
/// How often a load balancer in ERROR is looked at.
const BROKEN: Duration = Duration::from_secs(60);

/// The next step.
pub fn plan(world: &World) -> Result<Step, (Stage, Error)> {
    if world.manages_network() {
        for (stage, actions) in [(Stage::Network, network(world)), (Stage::Router, router(world))] {
            if !actions.is_empty() {
                return Ok(Step::Act(stage, actions));
            }
        }
    }
    let actions = groups(world).map_err(|error| (Stage::SecurityGroups, error))?;
    if !actions.is_empty() {
        return Ok(Step::Act(Stage::SecurityGroups, actions));
    }
    endpoint(world).map_err(|error| (Stage::Endpoint, error))
}

fn tags(world: &World, collection: &'static str, id: &str, present: &[String]) -> Option<Action> {
    let wanted = &world.spec().tags;
    if !world.tagging || wanted.iter().all(|tag| present.contains(tag)) {
        return None;
    }
    let mut all: Vec<String> = wanted.iter().chain(present).cloned().collect();
    all.sort();
    all.dedup();
    Some(Action::SetTags(collection, id.to_owned(), all))
}

fn network(world: &World) -> Vec<Action> {
    let Some(wanted) = world.spec().managed_subnets.first() else {
        return Vec::new();
    };
    let Some(network) = &world.network else {
        let mut body = json!({ "admin_state_up": true, "name": world.names().network() });
        let settings = world.spec().managed_network.as_ref();
        if settings.and_then(|settings| settings.enable_port_security) == Some(false) {
            body["port_security_enabled"] = false.into();
        }
        if let Some(mtu) = settings.and_then(|settings| settings.mtu) {
            body["mtu"] = mtu.into();
        }
        return vec![Action::CreateNetwork(body)];
    };
    let mut actions: Vec<Action> = tags(world, "networks", &network.id, &network.tags)
        .into_iter()
        .collect();
    match world.subnets.first() {
        None => {
            let mut body = json!({
                "network_id": network.id,
                "name": world.names().network(),
                "ip_version": if wanted.cidr.contains(':') { 6 } else { 4 },
                "cidr": wanted.cidr,
                "description": world.names().description(),
            });
            if !wanted.dns_nameservers.is_empty() {
                body["dns_nameservers"] = wanted.dns_nameservers.clone().into();
            }
            if !wanted.allocation_pools.is_empty() {
                let pools = wanted
                    .allocation_pools
                    .iter()
                    .map(|pool| json!({ "start": pool.start, "end": pool.end }));
                body["allocation_pools"] = pools.collect();
            }
            actions.push(Action::CreateSubnet(body));
        }
        Some(subnet) => {
            actions.extend(tags(world, "subnets", &subnet.id, &subnet.tags));
            if subnet.dns_nameservers != wanted.dns_nameservers {
                actions.push(Action::SetNameServers(
                    subnet.id.clone(),
                    wanted.dns_nameservers.clone(),
                ));
            }
        }
    }
    actions
}

fn router(world: &World) -> Vec<Action> {
    let Some(external) = &world.external else {
        return Vec::new();
    };
    let wished: Vec<Value> = world
        .external_ips
        .iter()
        .map(|(subnet, address)| match address {
            Some(address) => json!({ "subnet_id": subnet, "ip_address": address }),
            None => json!({ "subnet_id": subnet }),
        })
        .collect();
    let mut gateway = json!({ "network_id": external.id });
    if !wished.is_empty() {
        gateway["external_fixed_ips"] = wished.into();
    }
    let Some(router) = &world.router else {
        let body = json!({ "name": world.names().network(), "description": world.names().description(),
            "external_gateway_info": gateway });
        return vec![Action::CreateRouter(body)];
    };
    let mut actions = Vec::new();
    if world.spec().router.is_none() {
        actions.extend(tags(world, "routers", &router.id, &router.tags));
        let present = router.external_gateway_info.as_ref();
        let has = |(subnet, address): &(String, Option<String>)| {
            let ips = present.iter().flat_map(|gateway| &gateway.external_fixed_ips);
            ips.into_iter().any(|ip| {
                ip.subnet_id == *subnet && address.as_ref().is_none_or(|address| *address == ip.ip_address)
            })
        };
        if present.is_none() || !world.external_ips.iter().all(has) {
            actions.push(Action::SetGateway(router.id.clone(), gateway));
        }
    }
    let connected = |subnet: &&Subnet| {
        let ips = world.interfaces.iter().flat_map(|port| &port.fixed_ips);
        ips.into_iter().any(|ip| ip.subnet_id == subnet.id)
    };
    let missing = world.subnets.iter().filter(|subnet| !connected(subnet));
    actions.extend(missing.map(|subnet| Action::AddInterface(router.id.clone(), subnet.id.clone())));
    actions
}

fn groups(world: &World) -> Result<Vec<Action>, Error> {
    let Some(spec) = &world.spec().managed_security_groups else {
        return Ok(Vec::new());
    };
    let wanted = world.wanted_groups();
    let missing: Vec<Action> = wanted
        .iter()
        .filter(|role| !world.groups.contains_key(role))
        .map(|role| {
            let name = world.names().security_group(*role);
            Action::CreateGroup(
                *role,
                json!({ "name": name, "description": SECURITY_GROUP_DESCRIPTION }),
            )
        })
        .collect();
    if !missing.is_empty() {
        // Rules name the groups by id.
        return Ok(missing);
    }
    let ids: BTreeMap<Role, String> = wanted
        .iter()
        .filter_map(|role| Some((*role, world.groups.get(role)?.id.clone())))
        .collect();
    let cidrs: Vec<String> = world
        .subnets
        .iter()
        .map(|subnet| subnet.cidr.clone())
        .filter(|cidr| !cidr.contains(':'))
        .collect();
    let ports = world.balancer_ports();
    let facts = Facts {
        spec,
        groups: &ids,
        cidrs: &cidrs,
        api_ports: &ports,
    };
    let mut actions = Vec::new();
    for role in &wanted {
        let Some(group) = world.groups.get(role) else {
            continue;
        };
        actions.extend(tags(world, "security-groups", &group.id, &group.tags));
        let (surplus, missing) = security_groups::difference(group, &security_groups::wanted(*role, &facts)?);
        actions.extend(surplus.into_iter().map(|rule| Action::DeleteRule(*role, rule)));
        if !missing.is_empty() {
            let bodies = missing.iter().map(|rule| rule.body(&group.id)).collect();
            actions.push(Action::CreateRules(*role, bodies));
        }
    }
    // Last: the rules that named it are gone by then.
    let unwanted = world.groups.iter().filter(|(role, _)| !wanted.contains(role));
    actions.extend(unwanted.map(|(role, group)| Action::DropGroup(*role, group.id.clone())));
    Ok(actions)
}

fn endpoint(world: &World) -> Result<Step, Error> {
    if world.wants_balancer() {
        return balancer(world);
    }
    if let Some(host) = world.endpoint_host() {
        return Ok(Step::Done(host.to_owned()));
    }
    if world.wants_floating_ip() {
        return Ok(match &world.floating_ip {
            Some(ip) => Step::Done(ip.floating_ip_address.clone()),
            None => Step::Act(Stage::Endpoint, vec![new_floating_ip(world, None)?]),
        });
    }
    let fixed = world
        .spec()
        .api_server
        .as_ref()
        .and_then(|api| api.fixed_ip.clone())
        .filter(|ip| !ip.is_empty());
    fixed.map(Step::Done).ok_or_else(|| {
        let reason =
            "without load balancer and floating IP, apiServer.fixedIP or controlPlaneEndpoint must be set";
        Error::reference("spec.apiServer", reason)
    })
}

fn new_floating_ip(world: &World, port: Option<&str>) -> Result<Action, Error> {
    let external = world.external.as_ref().ok_or_else(|| {
        Error::reference(
            "spec.externalNetwork",
            "there is no external network to take a floating IP from",
        )
    })?;
    let mut body = json!({ "floating_network_id": external.id, "description": world.names().description() });
    if let Some(address) = world.wanted_floating_ip() {
        body["floating_ip_address"] = address.into();
    }
    if let Some(port) = port {
        // In the same request, so that no floating IP is left alone by a crash.
        body["port_id"] = port.into();
    }
    Ok(Action::CreateFloatingIp(body))
}

fn balancer(world: &World) -> Result<Step, Error> {
    let act = |action| Ok(Step::Act(Stage::Endpoint, vec![action]));
    let Some(balancer) = &world.balancer else {
        return act(Action::CreateBalancer(new_balancer(world)?));
    };
    let itself = &balancer.itself;
    match itself.provisioning_status.as_str() {
        "ACTIVE" => {}
        "ERROR" => {
            let text = format!(
                "load balancer {} is in ERROR; repair it (failover) or delete it in OpenStack",
                itself.name
            );
            return Ok(Step::Wait(Stage::Endpoint, text, BROKEN));
        }
        other => {
            let text = format!("load balancer {} is {other}", itself.name);
            return Ok(Step::Wait(Stage::Endpoint, text, BUSY));
        }
    }
    if world.wants_floating_ip() {
        match &world.floating_ip {
            None => return act(new_floating_ip(world, Some(&itself.vip_port_id))?),
            Some(ip) if ip.port_id.as_deref() != Some(&itself.vip_port_id) => {
                return act(Action::Associate(ip.id.clone(), itself.vip_port_id.clone()));
            }
            Some(_) => {}
        }
    }
    for port in world.balancer_ports() {
        if let Some(action) = balancer_port(world, balancer, port) {
            return act(action);
        }
    }
    let host = match &world.floating_ip {
        Some(ip) if world.wants_floating_ip() => ip.floating_ip_address.clone(),
        _ => itself.vip_address.clone(),
    };
    Ok(Step::Done(host))
}

fn new_balancer(world: &World) -> Result<Value, Error> {
    let (network, subnets) = match (&world.balancer_network, &world.network) {
        (Some((network, subnets)), _) => (network, subnets),
        (None, Some(network)) => (network, &world.subnets),
        (None, None) => {
            return Err(Error::reference(
                "load balancer",
                "there is no network for it yet",
            ));
        }
    };
    let subnet = subnets
        .first()
        .ok_or_else(|| Error::reference("load balancer", "its network has no subnet"))?;
    let spec = world.spec().api_server.clone().unwrap_or_default();
    let settings = spec.managed_load_balancer.unwrap_or_default();
    let mut body = json!({
        "name": world.names().load_balancer(),
        "description": world.names().description(),
        "vip_subnet_id": subnet.id,
        "vip_network_id": network.id,
    });
    let used = world
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.api_server_managed_load_balancer.as_ref());
    let endpoint = world
        .endpoint_host()
        .filter(|host| !world.wants_floating_ip() && host.parse::<std::net::IpAddr>().is_ok());
    let address = used
        .map(|lb| lb.internal_ip.clone())
        .or(spec.fixed_ip)
        .or(endpoint.map(str::to_owned));
    let fields = [
        ("vip_address", address),
        ("provider", world.octavia.provider.clone()),
        ("flavor_id", world.octavia.flavor.clone()),
        ("availability_zone", settings.availability_zone),
    ];
    for (key, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            body[key] = value.into();
        }
    }
    if !world.spec().tags.is_empty() {
        body["tags"] = world.spec().tags.clone().into();
    }
    Ok(body)
}

/// What is missing for one port. At most one change at a time: Octavia is busy after each.
fn balancer_port(world: &World, balancer: &Balancer, port: i32) -> Option<Action> {
    let name = world.names().load_balancer_port(port);
    let with_tags = |mut body: Value| {
        if !world.spec().tags.is_empty() {
            body["tags"] = world.spec().tags.clone().into();
        }
        body
    };
    let cidrs = allowed_cidrs(world, balancer);
    let Some(listener) = balancer.listeners.iter().find(|listener| listener.name == name) else {
        let mut body = json!({ "name": name, "protocol": "TCP", "protocol_port": port, "loadbalancer_id": balancer.itself.id });
        if let Some(cidrs) = cidrs {
            body["allowed_cidrs"] = cidrs.into();
        }
        return Some(Action::CreateListener(with_tags(body)));
    };
    let Some(pool) = balancer.pools.iter().find(|pool| pool.name == name) else {
        let algorithm = if balancer.itself.provider == "ovn" {
            "SOURCE_IP_PORT"
        } else {
            "ROUND_ROBIN"
        };
        let body =
            json!({ "name": name, "protocol": "TCP", "lb_algorithm": algorithm, "listener_id": listener.id });
        return Some(Action::CreatePool(with_tags(body)));
    };
    let settings = world
        .spec()
        .api_server
        .as_ref()
        .and_then(|api| api.managed_load_balancer.as_ref()?.monitor.clone());
    let wanted = monitor(settings.as_ref());
    match balancer.monitors.iter().find(|monitor| monitor.name == name) {
        None if !world.octavia.no_monitors => {
            let mut body = json!({ "name": name, "pool_id": pool.id, "type": "TCP" });
            for (key, value) in wanted {
                body[key] = value.into();
            }
            return Some(Action::CreateMonitor(body));
        }
        Some(found) => {
            let present = [
                found.delay,
                found.timeout,
                found.max_retries,
                found.max_retries_down,
            ];
            if present != wanted.map(|(_, value)| value) {
                let body = wanted
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), Value::from(value)))
                    .collect();
                return Some(Action::UpdateMonitor(found.id.clone(), Value::Object(body)));
            }
        }
        None => {}
    }
    let mut present = listener.allowed_cidrs.clone().unwrap_or_default();
    present.sort();
    let differs = cidrs.clone().unwrap_or_default() != present;
    differs.then(|| Action::SetAllowedCidrs(listener.id.clone(), cidrs))
}

fn monitor(settings: Option<&APIServerLoadBalancerMonitor>) -> [(&'static str, i32); 4] {
    let value = |choice: Option<i32>, usual| choice.filter(|value| *value != 0).unwrap_or(usual);
    let settings = settings.cloned().unwrap_or_default();
    [
        ("delay", value(settings.delay, 10)),
        ("timeout", value(settings.timeout, 5)),
        ("max_retries", value(settings.max_retries, 5)),
        ("max_retries_down", value(settings.max_retries_down, 3)),
    ]
}

/// From where the API server may be reached: nothing means from everywhere. What the cluster itself needs is added.
pub fn allowed_cidrs(world: &World, balancer: &Balancer) -> Option<Vec<String>> {
    let settings = world.spec().api_server.as_ref()?.managed_load_balancer.as_ref()?;
    let supported = world
        .octavia
        .version
        .is_some_and(|version| version >= Microversion(2, 12));
    if settings.allowed_cidrs.is_empty() || !supported || balancer.itself.provider == "ovn" {
        return None;
    }
    let status = world.cluster.status.as_ref();
    let bastion = status.and_then(|status| status.bastion.as_ref());
    let own = bastion
        .into_iter()
        .flat_map(|bastion| [bastion.floating_ip.clone(), bastion.ip.clone()])
        .flatten();
    let router = world
        .router
        .iter()
        .flat_map(|router| &router.external_gateway_info);
    let router = router
        .flat_map(|gateway| &gateway.external_fixed_ips)
        .map(|ip| ip.ip_address.clone());
    let subnets = world.subnets.iter().map(|subnet| subnet.cidr.clone());
    let all = settings
        .allowed_cidrs
        .iter()
        .cloned()
        .chain(own)
        .chain(subnets)
        .chain(router);
    let mut cidrs: Vec<String> = all
        .filter(|cidr| !cidr.is_empty() && !cidr.contains(':'))
        .map(|cidr| {
            if cidr.contains('/') {
                cidr
            } else {
                format!("{cidr}/32")
            }
        })
        .collect();
    cidrs.sort();
    cidrs.dedup();
    Some(cidrs)
}

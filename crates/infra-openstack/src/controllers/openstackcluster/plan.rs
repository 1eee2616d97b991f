//! What is to be done next about a cluster that should exist. Pure.
//!
//! Stages follow each other: network, router, security groups, endpoint. A plan has the actions of the first stage that
//! is not finished, or what that stage waits for; after acting the world is planned again.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Error,
    api::ManagedSecurityGroupName as Role,
    cloud::network::Subnet,
    rules::{
        names::SECURITY_GROUP_DESCRIPTION,
        security_groups::{self, Facts},
    },
};

use super::{endpoint::endpoint, world::World};

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
    /// Asks Octavia to repair a load balancer.
    Failover(String),
    /// Deletes a load balancer that cannot be repaired; another one takes its place.
    DeleteBalancer(String),
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

//! What the object says about its cluster. Pure.

use capi_api::{
    conditions::{self, Draft},
    core::v1beta2::{APIEndpoint, FailureDomain},
};
use jiff::Timestamp;

use crate::{
    Error,
    api::{
        LoadBalancer, ManagedSecurityGroupName as Role, NetworkStatus, NetworkStatusWithSubnets,
        OpenStackCluster, Router, SecurityGroupStatus, Subnet,
    },
    cloud::network,
};

use super::{endpoint::allowed_cidrs, plan::Stage, world::World};

/// How far a reconcile came.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// Everything is there; this is the endpoint.
    Done(&'a str),
    /// A stage waits for something.
    Waiting(Stage, &'a str),
    /// A stage failed.
    Failed(Stage, &'a Error),
}

/// What is wire-fixed about a stage: its condition, and the reason when it fails.
fn words(stage: Stage, error: Option<&Error>) -> (&'static str, &'static str) {
    let made = matches!(error, Some(Error::Cloud(_)));
    let subnet = error.is_some_and(|error| error.to_string().contains("/subnets"));
    match stage {
        Stage::Network if subnet => ("NetworkReady", "SubnetCreateFailed"),
        Stage::Network if made => ("NetworkReady", "NetworkCreateFailed"),
        Stage::Network => ("NetworkReady", "OpenStackError"),
        Stage::Router if made => ("RouterReady", "RouterCreateFailed"),
        Stage::Router => ("RouterReady", "OpenStackError"),
        Stage::SecurityGroups => ("SecurityGroupsReady", "SecurityGroupCreateFailed"),
        Stage::Endpoint => ("APIEndpointReady", "APIEndpointConfigFailed"),
    }
}

/// The object with its new status, and its endpoint when that is known.
pub fn report(world: &World, outcome: &Outcome<'_>, now: Timestamp) -> OpenStackCluster {
    let mut after = world.cluster.clone();
    resources(world, &mut after);
    let reached = match outcome {
        Outcome::Done(_) => None,
        Outcome::Waiting(stage, _) | Outcome::Failed(stage, _) => Some(*stage),
    };
    for stage in [
        Stage::Network,
        Stage::Router,
        Stage::SecurityGroups,
        Stage::Endpoint,
    ] {
        let (type_, _) = words(stage, None);
        let silent = (stage == Stage::Router && !world.manages_network() && world.router.is_none())
            || (stage == Stage::SecurityGroups && world.spec().managed_security_groups.is_none());
        if !silent && reached.is_none_or(|reached| stage < reached) {
            conditions::set(&mut after, Draft::is_true(type_, "Ready", ""), now);
        }
    }
    match outcome {
        Outcome::Done(host) => {
            // What is known already stays: it may be a name that leads to the address.
            let endpoint = after
                .spec
                .control_plane_endpoint
                .get_or_insert_with(APIEndpoint::default);
            if endpoint.host.as_deref().is_none_or(str::is_empty) {
                endpoint.host = Some((*host).to_owned());
            }
            endpoint.port.get_or_insert(world.api_port());
            after
                .status
                .get_or_insert_default()
                .initialization
                .get_or_insert_default()
                .provisioned = Some(true);
            conditions::set(&mut after, Draft::is_true("Ready", "Ready", ""), now);
        }
        Outcome::Waiting(stage, message) => not_ready(&mut after, *stage, None, message, now),
        Outcome::Failed(stage, error) => not_ready(&mut after, *stage, Some(error), &error.to_string(), now),
    }
    after
}

fn not_ready(
    after: &mut OpenStackCluster,
    stage: Stage,
    error: Option<&Error>,
    message: &str,
    now: Timestamp,
) {
    let (type_, reason) = words(stage, error);
    conditions::set(after, Draft::is_false(type_, reason, message), now);
    conditions::set(after, Draft::is_false("Ready", "OpenStackError", message), now);
}

fn resources(world: &World, after: &mut OpenStackCluster) {
    let status = after.status.get_or_insert_default();
    let plain = |network: &network::Network| NetworkStatus {
        id: network.id.clone(),
        name: network.name.clone(),
        tags: network.tags.clone(),
    };
    let with_subnets = |network: &network::Network, subnets: &[network::Subnet]| NetworkStatusWithSubnets {
        id: network.id.clone(),
        name: network.name.clone(),
        tags: network.tags.clone(),
        subnets: subnets
            .iter()
            .map(|subnet| Subnet {
                id: subnet.id.clone(),
                name: subnet.name.clone(),
                cidr: subnet.cidr.clone(),
                tags: subnet.tags.clone(),
            })
            .filter(|subnet| !subnet.name.is_empty())
            .collect(),
    };
    status.external_network = world.external.as_ref().map(plain);
    if let Some(network) = &world.network {
        status.network = Some(with_subnets(network, &world.subnets));
    }
    if let Some(router) = &world.router {
        let gateway = router.external_gateway_info.as_ref();
        let ips = gateway.map(|gateway| {
            gateway
                .external_fixed_ips
                .iter()
                .map(|ip| ip.ip_address.clone())
                .collect()
        });
        status.router = Some(Router {
            id: router.id.clone(),
            name: router.name.clone(),
            tags: router.tags.clone(),
            ips: ips.unwrap_or_default(),
        });
    }
    let group = |role| {
        let group = world.groups.get(&role)?;
        Some(SecurityGroupStatus {
            id: group.id.clone(),
            name: group.name.clone(),
        })
    };
    status.control_plane_security_group = group(Role::ControlPlane);
    status.worker_security_group = group(Role::Worker);
    status.bastion_security_group = group(Role::Bastion);
    let floating = world
        .floating_ip
        .as_ref()
        .map(|ip| ip.floating_ip_address.clone());
    if let Some(balancer) = &world.balancer
        && let Some(ip) =
            floating.or_else(|| (!world.wants_floating_ip()).then(|| balancer.itself.vip_address.clone()))
    {
        let elsewhere = world
            .balancer_network
            .as_ref()
            .map(|(network, subnets)| with_subnets(network, subnets));
        let network = elsewhere.or_else(|| Some(with_subnets(world.network.as_ref()?, &world.subnets)));
        status.api_server_managed_load_balancer = Some(LoadBalancer {
            name: balancer.itself.name.clone(),
            id: balancer.itself.id.clone(),
            ip,
            internal_ip: balancer.itself.vip_address.clone(),
            allowed_cidrs: allowed_cidrs(world, balancer).unwrap_or_default(),
            tags: balancer.itself.tags.clone(),
            load_balancer_network: network,
        });
    }
    // A cloud that names no zones now had none to take away.
    if !world.zones.is_empty() {
        let chosen = &world.cluster.spec.control_plane_availability_zones;
        let omitted = world.cluster.spec.control_plane_omit_availability_zone == Some(true);
        let domain = |zone: &String| FailureDomain {
            name: zone.clone(),
            control_plane: Some(!omitted && (chosen.is_empty() || chosen.contains(zone))),
            attributes: Default::default(),
        };
        status.failure_domains = world.zones.iter().map(domain).collect();
    }
}

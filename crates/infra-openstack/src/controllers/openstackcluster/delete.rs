//! Takes a cluster's resources away: what depends on others goes first. The plan is pure.

use std::time::Duration;

use crate::{
    api::ManagedSecurityGroupName as Role,
    cloud::{CloudError, Session},
};

use super::world::World;

/// One removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Leads the user's floating IP nowhere.
    Detach(String),
    /// Deletes a floating IP.
    FloatingIp(String),
    /// Deletes the load balancer.
    Balancer(String),
    /// Disconnects a router from a subnet.
    Interface(String, String),
    /// Deletes the router.
    Router(String),
    /// Deletes a port.
    Port(String),
    /// Deletes the network with its subnets.
    Network(String),
    /// Deletes a security group.
    Group(Role, String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Remove these in order, then look at the cloud again.
    Remove(Vec<Removal>),
    /// Look again after this time.
    Wait(String, Duration),
    /// Nothing is left.
    Done,
}

/// How often a load balancer that goes is looked at.
const BUSY: Duration = Duration::from_secs(3);

/// The next step.
pub fn plan(world: &World) -> Step {
    if let Some(ip) = &world.floating_ip {
        match world.floating_ip_is_users() {
            false => return Step::Remove(vec![Removal::FloatingIp(ip.id.clone())]),
            true if ip.port_id.is_some() => return Step::Remove(vec![Removal::Detach(ip.id.clone())]),
            true => {}
        }
    }
    if let Some(balancer) = &world.balancer {
        let itself = &balancer.itself;
        return match itself.provisioning_status.as_str() {
            "ACTIVE" | "ERROR" => Step::Remove(vec![Removal::Balancer(itself.id.clone())]),
            other => Step::Wait(format!("load balancer {} is {other}", itself.name), BUSY),
        };
    }
    let mut removals = Vec::new();
    if world.manages_network() {
        if let Some(router) = &world.router {
            let of_network = world.interfaces.iter().filter(|port| {
                world
                    .network
                    .as_ref()
                    .is_some_and(|network| network.id == port.network_id)
            });
            let ips = of_network.flat_map(|port| &port.fixed_ips);
            removals.extend(ips.map(|ip| Removal::Interface(router.id.clone(), ip.subnet_id.clone())));
            if world.spec().router.is_none() {
                removals.push(Removal::Router(router.id.clone()));
            }
        }
        let ours = world
            .ports
            .iter()
            .filter(|port| world.names().owns_port(&port.name));
        let ours = ours.filter(|port| !port.device_owner.starts_with("network:"));
        removals.extend(ours.map(|port| Removal::Port(port.id.clone())));
        removals.extend(
            world
                .network
                .iter()
                .map(|network| Removal::Network(network.id.clone())),
        );
    }
    removals.extend(
        world
            .groups
            .iter()
            .map(|(role, group)| Removal::Group(*role, group.id.clone())),
    );
    match removals.is_empty() {
        true => Step::Done,
        false => Step::Remove(removals),
    }
}

/// Carries out one removal. What is gone already is fine.
pub async fn remove(session: &Session, removal: &Removal) -> Result<(), CloudError> {
    match removal {
        Removal::Detach(id) => session.associate_floating_ip(id, None).await.map(drop),
        Removal::FloatingIp(id) => session.delete_floating_ip(id).await.map(drop),
        Removal::Balancer(id) => match session.delete_load_balancer(id).await {
            Err(error) if error.is_conflict() => Ok(()),
            other => other.map(drop),
        },
        Removal::Interface(router, subnet) => session.remove_router_interface(router, subnet).await.map(drop),
        Removal::Router(id) => session.delete_router(id).await.map(drop),
        Removal::Port(id) => session.delete_port(id).await.map(drop),
        Removal::Network(id) => session.delete_network(id).await.map(drop),
        Removal::Group(_, id) => session.delete_security_group(id).await.map(drop),
    }
}

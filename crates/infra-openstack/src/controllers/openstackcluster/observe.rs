//! Reads what OpenStack has of a cluster: about a dozen requests, none of which changes anything.

use crate::{
    Error,
    api::{ManagedSecurityGroupName as Role, OpenStackCluster},
    cloud::{
        Session,
        network::{Network, by},
    },
    controllers::lookup,
    rules::names::ClusterNames,
};

use super::world::{Balancer, World};

/// Everything that planning needs.
pub async fn observe(
    session: &Session,
    cluster: OpenStackCluster,
    names: ClusterNames,
) -> Result<World, Error> {
    let mut world = World {
        cluster,
        names: Some(names),
        tagging: session.network_extensions().await?.contains("standard-attr-tag"),
        ..World::default()
    };
    let deleting = world.cluster.metadata.deletion_timestamp.is_some();
    if !deleting {
        world.external = external(session, &world).await?;
        world.zones = session.availability_zones().await?;
    }
    match world.manages_network() {
        true => managed_network(session, &mut world).await?,
        false if !deleting => existing_network(session, &mut world).await?,
        false => {}
    }
    groups(session, &mut world).await?;
    if world.wants_balancer() {
        balancer(session, &mut world, deleting).await?;
    }
    floating_ip(session, &mut world).await?;
    if let (true, Some(network)) = (deleting && world.manages_network(), &world.network) {
        world.ports = session.ports(vec![by("network_id", network.id.as_str())]).await?;
    }
    Ok(world)
}

async fn external(session: &Session, world: &World) -> Result<Option<Network>, Error> {
    if !world.has_outside() {
        return Ok(None);
    }
    if let Some(param) = &world.spec().external_network {
        return lookup::network(session, param, true).await.map(Some);
    }
    let mut found = session.networks(vec![by("router:external", "true")]).await?;
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop()),
        _ => Error::only(found, || "external network (set spec.externalNetwork)".to_owned()).map(Some),
    }
}

async fn managed_network(session: &Session, world: &mut World) -> Result<(), Error> {
    let name = world.names().network();
    world.network = at_most_one(
        session.networks(vec![by("name", name.as_str())]).await?,
        "network",
        &name,
    )?;
    if let (Some(network), Some(wanted)) = (&world.network, world.spec().managed_subnets.first()) {
        let query = vec![
            by("network_id", network.id.as_str()),
            by("cidr", wanted.cidr.as_str()),
        ];
        world.subnets = session.subnets(query).await?;
    }
    world.router = match &world.spec().router {
        Some(param) => Some(lookup::router(session, param).await?),
        None => at_most_one(
            session.routers(vec![by("name", name.as_str())]).await?,
            "router",
            &name,
        )?,
    };
    if let Some(router) = &world.router {
        world.interfaces = session.ports(vec![by("device_id", router.id.as_str())]).await?;
    }
    let wanted = world
        .spec()
        .managed_router
        .as_ref()
        .map(|router| router.external_ips.clone())
        .unwrap_or_default();
    let external = world.external.as_ref().map(|network| network.id.clone());
    for ip in &wanted {
        let subnet = lookup::subnet(session, &ip.subnet, external.as_deref()).await?;
        world.external_ips.push((
            subnet.id,
            ip.fixed_ip.clone().filter(|address| !address.is_empty()),
        ));
    }
    Ok(())
}

async fn existing_network(session: &Session, world: &mut World) -> Result<(), Error> {
    let spec = world.spec().clone();
    let mut network = match &spec.network {
        Some(param) => Some(lookup::network(session, param, false).await?),
        None => None,
    };
    let mut subnets = Vec::new();
    for param in &spec.subnets {
        let subnet = lookup::subnet(
            session,
            param,
            network.as_ref().map(|network| network.id.as_str()),
        )
        .await?;
        if network.is_none() {
            network = session.network(&subnet.network_id).await?;
        }
        subnets.push(subnet);
    }
    let Some(network) = network else {
        return Err(Error::reference(
            "spec",
            "set managedSubnets, or network or subnets to use existing ones",
        ));
    };
    if spec.subnets.is_empty() {
        subnets = session
            .subnets(vec![by("network_id", network.id.as_str())])
            .await?;
        if subnets.is_empty() {
            return Err(Error::reference(
                format!("network {}", network.name),
                "it has no subnets",
            ));
        }
    }
    world.network = Some(network);
    world.subnets = subnets;
    if let Some(param) = &spec.router {
        world.router = Some(lookup::router(session, param).await?);
    }
    Ok(())
}

/// All three groups with one request.
async fn groups(session: &Session, world: &mut World) -> Result<(), Error> {
    if world.spec().managed_security_groups.is_none() {
        return Ok(());
    }
    let roles = [Role::ControlPlane, Role::Worker, Role::Bastion]
        .map(|role| (role, world.names().security_group(role)));
    let query = roles.iter().map(|(_, name)| by("name", name.as_str())).collect();
    let found = session.security_groups(query).await?;
    for (role, name) in roles {
        let named = found.iter().filter(|group| group.name == name).cloned().collect();
        if let Some(group) = at_most_one(named, "security group", &name)? {
            world.groups.insert(role, group);
        }
    }
    Ok(())
}

async fn balancer(session: &Session, world: &mut World, deleting: bool) -> Result<(), Error> {
    let name = world.names().load_balancer();
    let found = at_most_one(session.load_balancers_named(&name).await?, "load balancer", &name)?;
    let settings = world
        .spec()
        .api_server
        .clone()
        .and_then(|api| api.managed_load_balancer)
        .unwrap_or_default();
    if !deleting {
        if let Some(param) = &settings.network {
            let network = lookup::network(session, param, false).await?;
            let mut subnets = Vec::new();
            for param in &settings.subnets {
                subnets.push(lookup::subnet(session, param, Some(&network.id)).await?);
            }
            if subnets.is_empty() {
                subnets = session
                    .subnets(vec![by("network_id", network.id.as_str())])
                    .await?;
            }
            world.balancer_network = Some((network, subnets));
        }
        if found.is_none() {
            if let Some(wanted) = settings.provider.as_ref().filter(|provider| !provider.is_empty()) {
                let known = session.load_balancer_providers().await?;
                world.octavia.provider = known.contains(wanted).then(|| wanted.clone());
            }
            if let Some(wanted) = settings.flavor.as_ref().filter(|flavor| !flavor.is_empty()) {
                let known = session.load_balancer_flavors().await?;
                world.octavia.flavor = known
                    .into_iter()
                    .find(|flavor| flavor.name == *wanted)
                    .map(|flavor| flavor.id);
            }
        }
        if !settings.allowed_cidrs.is_empty() {
            world.octavia.version = Some(session.load_balancer_version().await?);
        }
    }
    let Some(itself) = found else { return Ok(()) };
    let mut view = Balancer {
        itself,
        ..Balancer::default()
    };
    if !deleting && view.itself.provisioning_status == "ACTIVE" {
        for port in world.balancer_ports() {
            // What is missing is made in this order, so that nothing is below what is not there.
            let name = world.names().load_balancer_port(port);
            let (listeners, pools) = (view.listeners.len(), view.pools.len());
            view.listeners.extend(session.listeners_named(&name).await?);
            if view.listeners.len() > listeners {
                view.pools.extend(session.pools_named(&name).await?);
            }
            if view.pools.len() > pools {
                view.monitors.extend(session.monitors_named(&name).await?);
            }
        }
    }
    world.balancer = Some(view);
    Ok(())
}

/// The floating IP: the one that leads to the load balancer, the wanted one, or a free one of ours.
async fn floating_ip(session: &Session, world: &mut World) -> Result<(), Error> {
    if !world.wants_floating_ip() {
        return Ok(());
    }
    if let Some(balancer) = &world.balancer {
        let query = vec![by("port_id", balancer.itself.vip_port_id.as_str())];
        world.floating_ip = session.floating_ips(query).await?.into_iter().next();
    }
    if world.floating_ip.is_none()
        && let Some(address) = world.wanted_floating_ip()
    {
        world.floating_ip = session
            .floating_ips(vec![by("floating_ip_address", address)])
            .await?
            .into_iter()
            .next();
    }
    let endpoint_is_open = world.endpoint_host().is_none() && !world.wants_balancer();
    if world.floating_ip.is_none() && endpoint_is_open && world.wanted_floating_ip().is_none() {
        let bastion = world
            .cluster
            .status
            .as_ref()
            .and_then(|status| status.bastion.as_ref()?.floating_ip.clone());
        let found = session
            .floating_ips(vec![by("description", world.names().description())])
            .await?;
        let free = |ip: &crate::cloud::network::FloatingIp| {
            ip.port_id.is_none() && bastion.as_ref() != Some(&ip.floating_ip_address)
        };
        world.floating_ip = found.into_iter().find(free);
    }
    Ok(())
}

fn at_most_one<T>(found: Vec<T>, kind: &str, name: &str) -> Result<Option<T>, Error> {
    match found.is_empty() {
        true => Ok(None),
        false => Error::only(found, || format!("{kind} {name}")).map(Some),
    }
}

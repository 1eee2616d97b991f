//! Carries out single actions, and enters what came of them into the world.

use crate::cloud::{CloudError, Session, network::Port, network::PortIp};

use super::{
    plan::Action,
    world::{Balancer, World},
};

/// What Octavia calls a load balancer that has been given work.
const BUSY: &str = "PENDING_UPDATE";
/// What Octavia calls a load balancer that goes.
const GOING: &str = "PENDING_DELETE";

/// Carries out one action.
pub async fn act(session: &Session, world: &mut World, action: &Action) -> Result<(), CloudError> {
    match action {
        Action::CreateNetwork(body) => world.network = Some(session.create_network(body.clone()).await?),
        Action::CreateSubnet(body) => world.subnets.push(session.create_subnet(body.clone()).await?),
        Action::SetNameServers(id, servers) => {
            let subnet = session.set_name_servers(id, servers).await?;
            world.subnets.retain(|known| known.id != *id);
            world.subnets.push(subnet);
        }
        Action::CreateRouter(body) => world.router = Some(session.create_router(body.clone()).await?),
        Action::SetGateway(id, gateway) => {
            let body = serde_json::json!({ "external_gateway_info": gateway });
            world.router = Some(session.update_router(id, body).await?);
        }
        Action::AddInterface(router, subnet) => {
            session.add_router_interface(router, subnet).await?;
            world.interfaces.push(Port {
                device_id: router.clone(),
                fixed_ips: vec![PortIp {
                    subnet_id: subnet.clone(),
                    ..PortIp::default()
                }],
                ..Port::default()
            });
        }
        Action::SetTags(collection, id, tags) => {
            session.set_tags(collection, id, tags).await?;
            set_tags(world, id, tags);
        }
        Action::CreateGroup(role, body) => {
            let group = session.create_security_group(body.clone()).await?;
            world.groups.insert(*role, group);
        }
        Action::DeleteRule(role, id) => {
            session.delete_security_group_rule(id).await?;
            if let Some(group) = world.groups.get_mut(role) {
                group.security_group_rules.retain(|rule| rule.id != *id);
            }
        }
        Action::CreateRules(role, bodies) => {
            session.create_security_group_rules(bodies.clone()).await?;
            if let Some(group) = world.groups.get_mut(role) {
                let made = bodies.iter().filter_map(|body| {
                    let mut rule = body.clone();
                    rule["id"] = "".into();
                    serde_json::from_value(rule).ok()
                });
                group.security_group_rules.extend(made);
            }
        }
        Action::DropGroup(role, id) => {
            match session.delete_security_group(id).await {
                Err(error) if error.is_conflict() => {
                    tracing::info!(group = id, %error, "a security group is still in use");
                }
                other => drop(other?),
            }
            world.groups.remove(role);
        }
        Action::CreateFloatingIp(body) => {
            world.floating_ip = Some(session.create_floating_ip(body.clone()).await?);
        }
        Action::Associate(id, port) => {
            world.floating_ip = Some(session.associate_floating_ip(id, Some(port)).await?);
        }
        other => balancer(session, world, other).await?,
    }
    Ok(())
}

async fn balancer(session: &Session, world: &mut World, action: &Action) -> Result<(), CloudError> {
    if let Action::CreateBalancer(body) = action {
        let itself = session.create_load_balancer(body.clone()).await?;
        world.balancer = Some(Balancer {
            itself,
            ..Balancer::default()
        });
        return Ok(());
    }
    if let Action::Failover(id) = action {
        match session.fail_over(id).await {
            Ok(()) => {}
            Err(error) if error.is_conflict() => tracing::debug!(%error, "the load balancer is busy"),
            // What the cloud does not allow or cannot do, it will not do later either.
            Err(error)
                if error
                    .status()
                    .is_some_and(|status| status.is_client_error() || error.is_not_implemented()) =>
            {
                world.octavia.refusal = Some(error.words());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let Some(balancer) = &mut world.balancer {
            balancer.itself.provisioning_status = BUSY.to_owned();
        }
        return Ok(());
    }
    let result = match action {
        Action::CreateListener(body) => session.create_listener(body.clone()).await.map(drop),
        Action::CreatePool(body) => session.create_pool(body.clone()).await.map(drop),
        Action::CreateMonitor(body) => match session.create_monitor(body.clone()).await {
            Err(error) if error.is_not_implemented() => {
                world.octavia.no_monitors = true;
                return Ok(());
            }
            other => other.map(drop),
        },
        Action::UpdateMonitor(id, body) => session.update_monitor(id, body.clone()).await,
        Action::DeleteBalancer(id) => session.delete_load_balancer(id).await.map(drop),
        Action::SetAllowedCidrs(id, cidrs) => session.set_allowed_cidrs(id, cidrs.as_deref()).await,
        _ => return Ok(()),
    };
    match result {
        // Somebody else gave it work; what was to be done is planned again.
        Err(error) if error.is_conflict() => tracing::debug!(%error, "the load balancer is busy"),
        other => other?,
    }
    if let Some(balancer) = &mut world.balancer {
        balancer.itself.provisioning_status = match action {
            Action::DeleteBalancer(_) => GOING.to_owned(),
            _ => BUSY.to_owned(),
        };
    }
    Ok(())
}

fn set_tags(world: &mut World, id: &str, tags: &[String]) {
    let networks = world
        .network
        .iter_mut()
        .map(|network| (&network.id, &mut network.tags));
    let subnets = world
        .subnets
        .iter_mut()
        .map(|subnet| (&subnet.id, &mut subnet.tags));
    let routers = world
        .router
        .iter_mut()
        .map(|router| (&router.id, &mut router.tags));
    let groups = world
        .groups
        .values_mut()
        .map(|group| (&group.id, &mut group.tags));
    for (known, present) in networks.chain(subnets).chain(routers).chain(groups) {
        if known == id {
            *present = tags.to_vec();
        }
    }
}

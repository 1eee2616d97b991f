//! What is to be done next about the endpoint: a load balancer with everything below it, a floating IP, or a fixed one.
//! Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Error, api::APIServerLoadBalancerMonitor, cloud::Microversion};

use super::{
    plan::{Action, Stage, Step},
    repair,
    world::{Balancer, World},
};

/// How often a busy load balancer is looked at, where no list says when it is done.
const BUSY: Duration = Duration::from_secs(3);

/// The next step towards an endpoint.
pub fn endpoint(world: &World) -> Result<Step, Error> {
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
        "ERROR" => return Ok(repair::step(world, itself)),
        other => {
            let refusal = repair::refusal(world);
            let text = format!("load balancer {} is {other}{refusal}", itself.name);
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

//! The floating IP that a server gets from a pool: a claim, and once it is answered, the way from address to port.

use capi_api::{
    conditions::{self, Draft},
    ipam::v1beta2::{IPAddress, IPAddressClaim, IPPoolReference},
    labels,
};
use capi_runtime::{Context, Key, meta};
use kube::ResourceExt;

use crate::{
    Error,
    api::OpenStackServer,
    cloud::{
        Session,
        network::{FloatingIp, Port, by},
    },
    rules::names,
};

const CLAIM_FINALIZER: &str = "openstackmachine.infrastructure.cluster.x-k8s.io/ip-claim";
/// Says whether a floating IP of the pool leads to the server.
pub const READY: &str = "FloatingAddressFromPoolReady";
/// What a router's port in a network may be called.
const ROUTER_PORTS: [&str; 4] = [
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
    "network:router_centralized_snat",
];

fn claim_key(object: &OpenStackServer) -> Key {
    Key::of(object).sibling(names::floating_ip_claim(&object.name_any()))
}

/// Asks for an address and leads it to the server, if the spec names a pool. The server must run.
pub async fn ensure(
    ctx: &Context,
    session: &Session,
    object: &OpenStackServer,
    after: &mut OpenStackServer,
) -> Result<(), Error> {
    let Some(pool) = &object.spec.floating_ip_pool_ref else {
        return Ok(());
    };
    if conditions::is_true(object, READY) {
        return Ok(());
    }
    let waiting = |message: &str| Draft::is_false(READY, "WaitingForIPAddressClaim", message);
    let Some(claim) = ctx.get::<IPAddressClaim>(&claim_key(object)) else {
        let pool = IPPoolReference {
            name: pool.name.clone(),
            kind: pool.kind.clone(),
            api_group: pool.api_group.clone().unwrap_or_default(),
        };
        ask(ctx, object, pool).await?;
        conditions::set(after, waiting("the pool has not answered yet"), ctx.now());
        return Ok(());
    };
    let answer = claim
        .status
        .as_ref()
        .and_then(|status| status.address_ref.as_ref());
    let Some(address) =
        answer.and_then(|answer| ctx.get::<IPAddress>(&Key::of(object).sibling(answer.name.clone())))
    else {
        conditions::set(after, waiting("the pool has not answered yet"), ctx.now());
        return Ok(());
    };
    let address = &address.spec.address;
    let draft = match lead(session, object, address).await {
        Ok(()) => Draft::is_true(READY, "Ready", ""),
        Err(error) => {
            conditions::set(
                after,
                Draft::is_false(READY, "FloatingIPError", error.to_string()),
                ctx.now(),
            );
            return Err(error);
        }
    };
    conditions::set(after, draft, ctx.now());
    Ok(())
}

async fn ask(ctx: &Context, object: &OpenStackServer, pool_ref: IPPoolReference) -> Result<(), Error> {
    let cluster = object.labels().get(labels::CLUSTER_NAME).cloned();
    let mut claim = IPAddressClaim::new(&claim_key(object).name, Default::default());
    claim.spec.pool_ref = pool_ref;
    claim.spec.cluster_name = cluster.clone();
    claim.metadata.namespace = object.namespace();
    claim.metadata.finalizers = Some(vec![CLAIM_FINALIZER.to_owned()]);
    claim.metadata.labels = cluster.map(|name| [(labels::CLUSTER_NAME.to_owned(), name)].into());
    claim.metadata.owner_references = Some(vec![meta::controller_reference(object)]);
    ctx.create(&claim).await?;
    Ok(())
}

/// Gives the address back.
pub async fn give_back(ctx: &Context, object: &OpenStackServer) -> Result<(), Error> {
    if let Some(claim) = ctx.get::<IPAddressClaim>(&claim_key(object)) {
        ctx.delete(&*claim).await?;
        ctx.remove_finalizer(&*claim, CLAIM_FINALIZER).await?;
    }
    Ok(())
}

async fn lead(session: &Session, object: &OpenStackServer, address: &str) -> Result<(), Error> {
    let found = session
        .floating_ips(vec![by("floating_ip_address", address)])
        .await?;
    let ip = Error::only(found, || format!("floating IP {address}"))?;
    let server = object
        .status
        .as_ref()
        .and_then(|status| status.instance_id.clone())
        .unwrap_or_default();
    let ports = session.ports(vec![by("device_id", server)]).await?;
    if ports.iter().any(|port| ip.port_id.as_ref() == Some(&port.id)) {
        return Ok(());
    }
    for port in &ports {
        if is_reachable(session, port, &ip).await? {
            session.associate_floating_ip(&ip.id, Some(&port.id)).await?;
            return Ok(());
        }
    }
    let reason = format!(
        "none of the server's networks has a router to network {}",
        ip.floating_network_id
    );
    Err(Error::reference(format!("floating IP {address}"), reason))
}

/// True if a router connects one of the port's subnets with the network of the floating IP.
async fn is_reachable(session: &Session, port: &Port, ip: &FloatingIp) -> Result<bool, Error> {
    let mut query = vec![by("network_id", port.network_id.as_str())];
    query.extend(ROUTER_PORTS.map(|owner| by("device_owner", owner)));
    for router_port in session.ports(query).await? {
        let subnets = || router_port.fixed_ips.iter().map(|fixed| &fixed.subnet_id);
        let shared = port
            .fixed_ips
            .iter()
            .any(|fixed| subnets().any(|subnet| *subnet == fixed.subnet_id));
        if !shared {
            continue;
        }
        let router = session.router(&router_port.device_id).await?;
        let gateway = router.and_then(|router| router.external_gateway_info);
        if gateway.is_some_and(|gateway| gateway.network_id == ip.floating_network_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

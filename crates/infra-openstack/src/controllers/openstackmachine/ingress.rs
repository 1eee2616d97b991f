//! How the API server reaches a control plane machine: members of the load balancer, or the floating IP.

use serde_json::json;

use crate::{
    Error,
    api::OpenStackCluster,
    cloud::{CloudError, Session, load_balancer::Member, network::by},
    rules::names::ClusterNames,
};

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Everything is as it should be.
    Done,
    /// The load balancer is busy: look again soon.
    Busy(String),
}

/// What the ingress of a machine depends on.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The cluster.
    pub cluster: &'a OpenStackCluster,
    /// The names.
    pub names: &'a ClusterNames,
    /// The name of the machine.
    pub name: &'a str,
    /// The id of its server.
    pub server: &'a str,
}

impl Machine<'_> {
    fn has_balancer(&self) -> bool {
        let api = self.cluster.spec.api_server.as_ref();
        api.and_then(|api| api.managed_load_balancer.as_ref())
            .is_some_and(|balancer| balancer.enabled != Some(false))
    }

    fn ports(&self) -> Vec<i32> {
        let world = super::super::openstackcluster::world::World {
            cluster: self.cluster.clone(),
            ..Default::default()
        };
        world.balancer_ports()
    }

    /// The subnet that members name, when the load balancer is in another network.
    fn member_subnet(&self) -> Option<String> {
        let status = self.cluster.status.as_ref()?;
        let network = status.network.as_ref()?;
        let of_balancer = status
            .api_server_managed_load_balancer
            .as_ref()?
            .load_balancer_network
            .as_ref()?;
        let first = network.subnets.first().map(|subnet| subnet.id.clone());
        first.filter(|_| of_balancer.id != network.id)
    }
}

fn busy_or(error: CloudError, doing: &str) -> Result<Ingress, Error> {
    match error.is_conflict() {
        true => Ok(Ingress::Busy(format!("{doing}: {}", error.words()))),
        false => Err(error.into()),
    }
}

/// Lets the API server reach a machine at this address.
pub async fn ensure(session: &Session, machine: &Machine<'_>, address: &str) -> Result<Ingress, Error> {
    if !machine.has_balancer() {
        return associate(session, machine).await;
    }
    for port in machine.ports() {
        let pool_name = machine.names.load_balancer_port(port);
        let pools = session.pools_named(&pool_name).await?;
        if pools.is_empty() {
            return Ok(Ingress::Busy(format!(
                "load balancer pool {pool_name} does not exist yet"
            )));
        }
        let pool = Error::only(pools, || format!("load balancer pool {pool_name}"))?;
        let name = machine.names.member(port, machine.name);
        let members = session.members(&pool.id).await?;
        let known: Vec<_> = members.into_iter().filter(|member| member.name == name).collect();
        let right = |member: &&Member| member.address == address && member.protocol_port == port;
        match known
            .iter()
            .find(right)
            .map(|member| member.provisioning_status.as_str())
        {
            Some(pending) if pending.starts_with("PENDING") => {
                return Ok(Ingress::Busy(format!("load balancer member {name} is {pending}")));
            }
            Some(status) if status != "ERROR" => continue,
            _ => {}
        }
        if let Some(stale) = known.first() {
            if let Err(error) = session.delete_member(&pool.id, &stale.id).await {
                return busy_or(error, "removing the old member");
            }
            if stale.provisioning_status == "ERROR" {
                // Not at once again: what broke it may break the next one.
                return Err(Error::reference(
                    format!("load balancer member {name}"),
                    "it was in ERROR, where Octavia says no more; it is removed and made anew",
                ));
            }
            return Ok(Ingress::Busy(
                "the old member of the load balancer is being removed".to_owned(),
            ));
        }
        let mut body = json!({ "name": name, "address": address, "protocol_port": port });
        if !machine.cluster.spec.tags.is_empty() {
            body["tags"] = machine.cluster.spec.tags.clone().into();
        }
        if let Some(subnet) = machine.member_subnet() {
            body["subnet_id"] = subnet.into();
        }
        if let Err(error) = session.create_member(&pool.id, body).await {
            return busy_or(error, "adding the member");
        }
        return Ok(Ingress::Busy(format!(
            "load balancer member {name} is being added"
        )));
    }
    Ok(Ingress::Done)
}

/// Takes a machine out of the load balancer.
pub async fn remove(session: &Session, machine: &Machine<'_>) -> Result<Ingress, Error> {
    if !machine.has_balancer() {
        return Ok(Ingress::Done);
    }
    for port in machine.ports() {
        for pool in session
            .pools_named(&machine.names.load_balancer_port(port))
            .await?
        {
            let name = machine.names.member(port, machine.name);
            let members = session.members(&pool.id).await?;
            if let Some(member) = members.iter().find(|member| member.name == name) {
                if member.provisioning_status != "PENDING_DELETE"
                    && let Err(error) = session.delete_member(&pool.id, &member.id).await
                {
                    return busy_or(error, "removing the member");
                }
                // Octavia has only accepted it; a member that it cannot remove would stay for ever.
                return Ok(Ingress::Busy(format!(
                    "load balancer member {name} is being removed"
                )));
            }
        }
    }
    Ok(Ingress::Done)
}

/// Leads the floating IP of the endpoint to the machine, unless it leads to another one.
async fn associate(session: &Session, machine: &Machine<'_>) -> Result<Ingress, Error> {
    let spec = &machine.cluster.spec;
    let enabled = spec.api_server.as_ref().and_then(|api| api.enable_floating_ip) != Some(false);
    if !enabled || spec.enable_external_network == Some(false) {
        return Ok(Ingress::Done);
    }
    let host = spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.host.clone())
        .unwrap_or_default();
    let found = session
        .floating_ips(vec![by("floating_ip_address", host)])
        .await?;
    // The endpoint may be somebody else's.
    let Some(ip) = found.into_iter().next().filter(|ip| ip.port_id.is_none()) else {
        return Ok(Ingress::Done);
    };
    let ports = session.ports(vec![by("device_id", machine.server)]).await?;
    let network = machine
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.network.as_ref())
        .map(|network| network.id.as_str());
    let port = ports
        .iter()
        .find(|port| Some(port.network_id.as_str()) == network);
    let port = port.ok_or_else(|| {
        Error::reference(
            format!("server {}", machine.name),
            "it has no port in the network of the cluster",
        )
    })?;
    session.associate_floating_ip(&ip.id, Some(&port.id)).await?;
    Ok(Ingress::Done)
}

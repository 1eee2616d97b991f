//! The bastion: one server with a floating IP, by which the others are reached. A server of another spec takes its place.

use capi_api::labels;
use capi_runtime::{Context, Key, meta};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    Error,
    api::{
        BastionStatus, MachineResources, OpenStackCluster, OpenStackServer, OpenStackServerSpec,
        ResolvedMachineSpec,
    },
    cloud::{
        Session,
        network::{FloatingIp, by},
    },
    controllers::openstackmachine::spec,
    rules::{addresses, names::ClusterNames},
};

/// What comes next for the bastion. Pure.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask for the server.
    Create(Box<OpenStackServerSpec>),
    /// Delete the server and its floating IP.
    Remove,
    /// The server comes or goes; its events wake us.
    Wait,
    /// The server runs: see to its floating IP.
    Reach(String),
    /// There is none, and none is wanted.
    None,
}

/// The next step.
pub fn plan(cluster: &OpenStackCluster, server: Option<&OpenStackServer>) -> Step {
    let deleting = meta::is_deleting(&cluster.metadata);
    let wanted = wanted(cluster).filter(|_| !deleting);
    match (wanted, server) {
        (None, None) => Step::None,
        (_, Some(server)) if meta::is_deleting(&server.metadata) => Step::Wait,
        (None, Some(_)) => Step::Remove,
        (Some(spec), None) => Step::Create(Box::new(spec)),
        (Some(spec), Some(server)) if server.spec != spec => Step::Remove,
        // Somebody deleted it; a server is never made again, so another object takes its place.
        (Some(_), Some(server)) if is_lost(server) => Step::Remove,
        (Some(_), Some(server)) => match &server.status {
            Some(status) if status.ready => match &status.instance_id {
                Some(id) => Step::Reach(id.clone()),
                None => Step::Wait,
            },
            _ => Step::Wait,
        },
    }
}

/// True if OpenStack has nothing of the server any more.
fn is_lost(server: &OpenStackServer) -> bool {
    let state = server
        .status
        .as_ref()
        .and_then(|status| status.instance_state.as_deref());
    matches!(state, Some("DELETED" | "SOFT_DELETED"))
}

/// The spec of the bastion's server, if one is wanted.
fn wanted(cluster: &OpenStackCluster) -> Option<OpenStackServerSpec> {
    let bastion = cluster
        .spec
        .bastion
        .as_ref()
        .filter(|bastion| bastion.enabled != Some(false))?;
    let group = cluster
        .status
        .as_ref()
        .and_then(|status| status.bastion_security_group.clone());
    Some(spec::of(
        bastion.spec.as_ref()?,
        cluster,
        group,
        bastion.availability_zone.clone(),
        None,
    ))
}

/// Brings the bastion as far as it can be brought now; true when there is nothing of it.
pub async fn reconcile(
    ctx: &Context,
    session: &Session,
    names: &ClusterNames,
    owner: &OpenStackCluster,
    after: &mut OpenStackCluster,
) -> Result<bool, Error> {
    let key = Key::of(owner).sibling(names.bastion());
    let server = ctx.get::<OpenStackServer>(&key);
    match plan(after, server.as_deref()) {
        Step::None => {
            if let Some(status) = after.status.as_mut().filter(|status| status.bastion.is_some()) {
                status.bastion = None;
            }
            return Ok(true);
        }
        Step::Wait => {}
        Step::Create(spec) => {
            let mut server = OpenStackServer::new(&key.name, *spec);
            server.metadata.namespace = Some(key.namespace.clone());
            let cluster = owner.labels().get(labels::CLUSTER_NAME).cloned();
            server.metadata.labels = cluster.map(|name| [(labels::CLUSTER_NAME.to_owned(), name)].into());
            server.metadata.owner_references = Some(vec![meta::controller_reference(owner)]);
            ctx.create(&server).await?;
        }
        Step::Remove => {
            if let Some(server) = server.as_deref() {
                drop_floating_ip(session, after, server).await?;
                ctx.delete(server).await?;
            }
        }
        Step::Reach(id) => {
            if let Some(server) = server.as_deref() {
                reach(session, names, server, &id, after).await?;
            }
        }
    }
    Ok(false)
}

fn wants_floating_ip(cluster: &OpenStackCluster) -> bool {
    cluster.spec.enable_external_network != Some(false)
}

async fn reach(
    session: &Session,
    names: &ClusterNames,
    server: &OpenStackServer,
    id: &str,
    after: &mut OpenStackCluster,
) -> Result<(), Error> {
    let status = after.status.get_or_insert_default();
    let known = status.bastion.clone().unwrap_or_default();
    let reached = match &known.floating_ip {
        // It may have been taken away since.
        Some(address) => {
            let found = session
                .floating_ips(vec![by("floating_ip_address", address.as_str())])
                .await?;
            found.iter().any(|ip| ip.port_id.is_some())
        }
        None => after.spec.enable_external_network == Some(false),
    };
    if known.id.as_deref() == Some(id) && known.ip.is_some() && reached {
        return Ok(());
    }
    let what = || format!("bastion {}", server.name_any());
    let found = session
        .server(id)
        .await?
        .ok_or_else(|| Error::reference(what(), "its server does not exist in OpenStack"))?;
    let network = status.network.clone().unwrap_or_default();
    let of_server = server.status.clone().unwrap_or_default();
    let resolved = of_server.resolved.unwrap_or_default();
    let mut bastion = BastionStatus {
        id: Some(id.to_owned()),
        name: Some(found.name.clone()),
        ssh_key_name: Some(server.spec.ssh_key_name.clone()).filter(|name| !name.is_empty()),
        state: Some(found.status.clone()),
        ip: addresses::in_network(&found, &network.name).map(str::to_owned),
        floating_ip: None,
        resolved: Some(ResolvedMachineSpec {
            server_group_id: resolved.server_group_id,
            image_id: resolved.image_id,
            flavor_id: resolved.flavor_id,
            ports: resolved.ports,
        }),
        resources: Some(MachineResources {
            ports: of_server.resources.unwrap_or_default().ports,
        }),
    };
    if wants_floating_ip(after) {
        let ports = session.ports(vec![by("device_id", id)]).await?;
        let port = ports.iter().find(|port| port.network_id == network.id);
        let port =
            port.ok_or_else(|| Error::reference(what(), "it has no port in the network of the cluster"))?;
        let ip = floating_ip(session, names, after, known.floating_ip, &port.id).await?;
        bastion.floating_ip = Some(ip.floating_ip_address);
    }
    after.status.get_or_insert_default().bastion = Some(bastion);
    Ok(())
}

/// The floating IP of a port: the one it has, the one it had or should have, or a new one.
async fn floating_ip(
    session: &Session,
    names: &ClusterNames,
    cluster: &OpenStackCluster,
    known: Option<String>,
    port: &str,
) -> Result<FloatingIp, Error> {
    if let Some(ip) = session
        .floating_ips(vec![by("port_id", port)])
        .await?
        .into_iter()
        .next()
    {
        return Ok(ip);
    }
    let wanted = known.or_else(|| {
        cluster
            .spec
            .bastion
            .as_ref()
            .and_then(|bastion| bastion.floating_ip.clone())
    });
    if let Some(address) = &wanted {
        let found = session
            .floating_ips(vec![by("floating_ip_address", address.as_str())])
            .await?;
        if let Some(ip) = found.into_iter().next() {
            return Ok(session.associate_floating_ip(&ip.id, Some(port)).await?);
        }
    }
    let external = cluster
        .status
        .as_ref()
        .and_then(|status| status.external_network.as_ref());
    let external = external.ok_or_else(|| {
        Error::reference(
            "bastion",
            "there is no external network to take a floating IP from",
        )
    })?;
    let mut body =
        json!({ "floating_network_id": external.id, "description": names.description(), "port_id": port });
    if let Some(address) = wanted {
        body["floating_ip_address"] = address.into();
    }
    Ok(session.create_floating_ip(body).await?)
}

/// Deletes the floating IP, unless the user named it.
async fn drop_floating_ip(
    session: &Session,
    cluster: &OpenStackCluster,
    server: &OpenStackServer,
) -> Result<(), Error> {
    let asked = cluster
        .spec
        .bastion
        .as_ref()
        .and_then(|bastion| bastion.floating_ip.as_ref());
    let Some(id) = server
        .status
        .as_ref()
        .and_then(|status| status.instance_id.clone())
    else {
        return Ok(());
    };
    for port in session.ports(vec![by("device_id", id)]).await? {
        for ip in session
            .floating_ips(vec![by("port_id", port.id.as_str())])
            .await?
        {
            if asked != Some(&ip.floating_ip_address) {
                session.delete_floating_ip(&ip.id).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn cluster(bastion: Value) -> OpenStackCluster {
        serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "OpenStackCluster", "metadata": { "name": "c" },
            "spec": { "identityRef": { "name": "s", "cloudName": "c" }, "bastion": bastion, "tags": ["t"] },
            "status": { "network": { "id": "N", "name": "n" }, "bastionSecurityGroup": { "id": "B", "name": "b" } } }))
        .unwrap()
    }

    fn enabled(image: &str) -> OpenStackCluster {
        cluster(
            json!({ "enabled": true, "availabilityZone": "az1", "spec": { "flavor": { "id": "1" }, "image": { "id": image } } }),
        )
    }

    #[test]
    fn a_bastion_is_made_replaced_and_removed() {
        let Step::Create(spec) = plan(&enabled("i"), None) else {
            panic!("it is not made")
        };
        assert_eq!(
            serde_json::to_value(&spec.ports).unwrap(),
            json!([{ "network": { "id": "N" }, "securityGroups": [{ "id": "B" }] }])
        );
        assert_eq!(
            (spec.availability_zone.as_deref(), &spec.tags[..]),
            (Some("az1"), &["t".to_owned()][..])
        );
        let mut server = OpenStackServer::new("c-bastion", *spec);
        assert_eq!(plan(&enabled("i"), Some(&server)), Step::Wait);
        server.status =
            serde_json::from_value(json!({ "ready": false, "instanceState": "DELETED" })).unwrap();
        assert_eq!(plan(&enabled("i"), Some(&server)), Step::Remove);
        server.status = serde_json::from_value(json!({ "ready": true, "instanceID": "u" })).unwrap();
        assert_eq!(plan(&enabled("i"), Some(&server)), Step::Reach("u".into()));
        assert_eq!(plan(&enabled("j"), Some(&server)), Step::Remove);
        assert_eq!(
            plan(&cluster(json!({ "enabled": false })), Some(&server)),
            Step::Remove
        );
        assert_eq!(plan(&cluster(json!({ "enabled": false })), None), Step::None);
    }
}

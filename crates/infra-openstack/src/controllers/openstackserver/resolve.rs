//! Looks up once what a spec refers to by name or filter. Nothing is made before the result is stored.

use kube::ResourceExt;

use crate::{
    Error,
    api::{
        FlavorParam, ImageParam, OpenStackServer, PortOpts, ResolvedFixedIP, ResolvedPortSpec,
        ResolvedServerSpec, ServerGroupParam,
    },
    cloud::Session,
    controllers::lookup,
    rules::{names, ports},
};

/// Everything that the spec refers to, by id. `image`: what an Image object says, if the spec refers to one.
pub async fn resolve(
    session: &Session,
    object: &OpenStackServer,
    image: Option<String>,
) -> Result<ResolvedServerSpec, Error> {
    let spec = &object.spec;
    if spec.ports.is_empty() {
        return Err(Error::reference("spec.ports", "a server needs at least one port"));
    }
    let image = match image {
        Some(id) => id,
        None => image_id(session, &spec.image).await?,
    };
    let flavor = FlavorParam {
        id: spec.flavor_id.clone(),
        filter: spec
            .flavor
            .clone()
            .map(|name| crate::api::FlavorFilter { name: Some(name) }),
    };
    let group = match &spec.server_group {
        Some(param) => Some(server_group(session, param).await?),
        None => None,
    };
    let mut resolved = ResolvedServerSpec {
        image_id: Some(image),
        flavor_id: Some(flavor_id(session, &flavor).await?),
        server_group_id: group,
        ports: Vec::new(),
    };
    for (index, port) in spec.ports.iter().enumerate() {
        resolved
            .ports
            .push(resolve_port(session, object, index, port).await?);
    }
    Ok(resolved)
}

/// The port's parts that need no looking up: its name and description are also how it is found again.
pub fn port_of(object: &OpenStackServer, index: usize, port: &PortOpts) -> ResolvedPortSpec {
    let name = names::port(&object.name_any(), index, port.name_suffix.as_deref());
    let cluster = object
        .labels()
        .get(capi_api::labels::CLUSTER_NAME)
        .cloned()
        .unwrap_or_default();
    let mut tags: Vec<String> = object.spec.tags.iter().chain(&port.tags).cloned().collect();
    tags.sort();
    tags.dedup();
    let trunk = port.trunk.or(object.spec.trunk) == Some(true);
    ports::unresolved(port, name, names::describe(&cluster), tags, trunk)
}

async fn resolve_port(
    session: &Session,
    object: &OpenStackServer,
    index: usize,
    port: &PortOpts,
) -> Result<ResolvedPortSpec, Error> {
    let mut resolved = port_of(object, index, port);
    let mut network = match &port.network {
        Some(param) => Some(lookup::network(session, param, false).await?.id),
        None => None,
    };
    for ip in &port.fixed_ips {
        let subnet = match &ip.subnet {
            Some(param) => Some(lookup::subnet(session, param, network.as_deref()).await?),
            None => None,
        };
        if let (None, Some(subnet)) = (&network, &subnet) {
            network = Some(subnet.network_id.clone());
        }
        resolved.fixed_ips.push(ResolvedFixedIP {
            subnet: subnet.map(|subnet| subnet.id),
            ip_address: ip.ip_address.clone(),
        });
    }
    resolved.network_id = network.ok_or_else(|| {
        Error::reference(
            format!("port {}", resolved.name),
            "it names neither a network nor a subnet",
        )
    })?;
    if port.enable_port_security != Some(false) {
        let groups = if port.security_groups.is_empty() {
            &object.spec.security_groups
        } else {
            &port.security_groups
        };
        resolved.security_groups = lookup::security_groups(session, groups).await?;
    }
    if resolved.trunk == Some(true) && !session.network_extensions().await?.contains("trunk") {
        return Err(Error::reference(
            format!("port {}", resolved.name),
            "this OpenStack has no trunks",
        ));
    }
    Ok(resolved)
}

async fn image_id(session: &Session, param: &ImageParam) -> Result<String, Error> {
    if let Some(id) = &param.id {
        return Ok(id.clone());
    }
    let filter = param.filter.clone().unwrap_or_default();
    let name = filter.name.clone().unwrap_or_default();
    let found = session.images(filter.name.as_deref(), &filter.tags).await?;
    Error::only(found, || format!("image {name}")).map(|image| image.id)
}

async fn flavor_id(session: &Session, param: &FlavorParam) -> Result<String, Error> {
    if let Some(id) = &param.id {
        return Ok(id.clone());
    }
    let name = param
        .filter
        .as_ref()
        .and_then(|filter| filter.name.clone())
        .unwrap_or_default();
    let found = session
        .flavors()
        .await?
        .into_iter()
        .find(|flavor| flavor.name == name);
    found
        .map(|flavor| flavor.id)
        .ok_or_else(|| Error::reference(format!("flavor {name}"), "it does not exist in OpenStack"))
}

async fn server_group(session: &Session, param: &ServerGroupParam) -> Result<String, Error> {
    if let Some(id) = &param.id {
        return Ok(id.clone());
    }
    let name = param
        .filter
        .as_ref()
        .and_then(|filter| filter.name.clone())
        .unwrap_or_default();
    let found = session
        .server_groups()
        .await?
        .into_iter()
        .filter(|group| group.name == name)
        .collect();
    Error::only(found, || format!("server group {name}")).map(|group: crate::cloud::compute::Named| group.id)
}

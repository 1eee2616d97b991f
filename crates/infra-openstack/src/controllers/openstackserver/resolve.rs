//! Looks up once what a spec refers to by name or filter. Nothing is made before the result is stored.

use kube::ResourceExt;

use crate::{
    Error,
    api::{
        ImageParam, OpenStackServer, OpenStackServerSpec, PortOpts, ResolvedFixedIP, ResolvedPortSpec,
        ResolvedServerSpec, ServerGroupParam,
    },
    cloud::{CloudError, Session},
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
    let group = match &spec.server_group {
        Some(param) => Some(server_group(session, param).await?),
        None => None,
    };
    let mut resolved = ResolvedServerSpec {
        image_id: Some(image),
        flavor_id: Some(flavor_id(session, spec).await?),
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

/// The id of what is named by id, or that of the only one that is found.
async fn chosen(
    id: Option<&String>,
    what: &str,
    name: Option<&str>,
    find: impl Future<Output = Result<Vec<String>, CloudError>>,
) -> Result<String, Error> {
    match id {
        Some(id) => Ok(id.clone()),
        None => Error::only(find.await?, || format!("{what} {}", name.unwrap_or_default())),
    }
}

async fn image_id(session: &Session, param: &ImageParam) -> Result<String, Error> {
    let filter = param.filter.clone().unwrap_or_default();
    let name = filter.name.as_deref();
    let find = async {
        let found = session.images(name, &filter.tags).await?;
        Ok(found.into_iter().map(|image| image.id).collect())
    };
    chosen(param.id.as_ref(), "image", name, find).await
}

async fn flavor_id(session: &Session, spec: &OpenStackServerSpec) -> Result<String, Error> {
    let name = spec.flavor.as_deref();
    let find = async {
        let found = session.flavors().await?.into_iter();
        Ok(found
            .filter(|flavor| Some(flavor.name.as_str()) == name)
            .map(|flavor| flavor.id)
            .collect())
    };
    chosen(spec.flavor_id.as_ref(), "flavor", name, find).await
}

async fn server_group(session: &Session, param: &ServerGroupParam) -> Result<String, Error> {
    let name = param.filter.as_ref().and_then(|filter| filter.name.as_deref());
    let find = async {
        let found = session.server_groups().await?.into_iter();
        Ok(found
            .filter(|group| Some(group.name.as_str()) == name)
            .map(|group| group.id)
            .collect())
    };
    chosen(param.id.as_ref(), "server group", name, find).await
}

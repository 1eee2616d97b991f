//! Reads what OpenStack has of a server.

use std::time::Duration;

use kube::ResourceExt;

use crate::{
    Error,
    api::{OpenStackServer, ResolvedServerSpec},
    cloud::{Session, network::by},
    rules::servers,
};

use super::{resolve, world::World};

/// How old the answer about a server that runs may be.
const RUNNING: Duration = Duration::from_secs(25);
/// How old the list may be that is read beside.
const FOLLOWED: Duration = Duration::from_secs(60);
/// How old the answer about a server that is being built may be.
const BUILDING: Duration = Duration::from_secs(4);

/// Everything that planning needs. A server that runs costs a share in one list.
pub async fn observe(
    session: &Session,
    object: OpenStackServer,
    resolved: ResolvedServerSpec,
) -> Result<World, Error> {
    let mut world = World {
        object,
        resolved,
        ..World::default()
    };
    let ready = world.object.status.as_ref().is_some_and(|status| status.ready);
    match world.instance_id().map(str::to_owned) {
        Some(id) => {
            // Where the list is read anyway, it wakes whoever knows something else.
            let age = match (session.watches().is_followed(), ready) {
                (true, _) => FOLLOWED,
                (false, true) => RUNNING,
                (false, false) => BUILDING,
            };
            world.server = session.recent_server(&id, age).await?;
            return Ok(world);
        }
        None => find_server(session, &mut world).await?,
    }
    find_ports(session, &mut world).await?;
    if world.server.is_none() {
        let image = world.resolved.image_id.clone().unwrap_or_default();
        find_volumes(session, &mut world, &image).await?;
    }
    Ok(world)
}

/// What there is of a server that goes. Needs nothing but the spec.
pub async fn remains(session: &Session, object: OpenStackServer) -> Result<World, Error> {
    let mut world = World {
        object,
        ..World::default()
    };
    let spec = world.object.spec.clone();
    let ports = spec
        .ports
        .iter()
        .enumerate()
        .map(|(index, port)| resolve::port_of(&world.object, index, port));
    world.resolved.ports = ports.collect();
    match world.instance_id().map(str::to_owned) {
        Some(id) => world.server = session.server(&id).await?,
        None => find_server(session, &mut world).await?,
    }
    if world.server.is_none() {
        find_ports(session, &mut world).await?;
        find_volumes(session, &mut world, "").await?;
    }
    Ok(world)
}

async fn find_server(session: &Session, world: &mut World) -> Result<(), Error> {
    let name = world.object.name_any();
    let found = session.servers_named(&name).await?;
    world.server = match found.is_empty() {
        true => None,
        false => Some(Error::only(found, || format!("server {name}"))?),
    };
    Ok(())
}

/// All ports with one request. They are found by name and description, and by network where that is known.
async fn find_ports(session: &Session, world: &mut World) -> Result<(), Error> {
    let wanted = &world.resolved.ports;
    if wanted.is_empty() {
        return Ok(());
    }
    let found = session
        .ports(wanted.iter().map(|port| by("name", port.name.as_str())).collect())
        .await?;
    world.ports = Vec::new();
    for port in wanted {
        let fits = |found: &&crate::cloud::network::Port| {
            found.name == port.name && (port.network_id.is_empty() || found.network_id == port.network_id)
        };
        let named: Vec<_> = found.iter().filter(fits).cloned().collect();
        world.ports.push(match named.is_empty() {
            true => None,
            false => Some(Error::only(named, || format!("port {}", port.name))?),
        });
    }
    if wanted.iter().any(|port| port.trunk == Some(true)) {
        let known: Vec<_> = world
            .ports
            .iter()
            .flatten()
            .map(|port| by("port_id", port.id.as_str()))
            .collect();
        if !known.is_empty() {
            world.trunks = session.trunks(known).await?;
        }
    }
    world.trusted_attribute = session.network_extensions().await?.contains("port-trusted-vif");
    Ok(())
}

async fn find_volumes(session: &Session, world: &mut World, image: &str) -> Result<(), Error> {
    world.volumes = Vec::new();
    for wanted in servers::volumes(&world.object.name_any(), &world.object.spec, image) {
        let found = session.volumes_named(&wanted.name).await?;
        let found = match found.is_empty() {
            true => None,
            false => Some(Error::only(found, || format!("volume {}", wanted.name))?),
        };
        if let Some(volume) = found
            .as_ref()
            .filter(|volume| volume.size != wanted.size && !image.is_empty())
        {
            let reason = format!("it has {} GiB, but {} are wanted", volume.size, wanted.size);
            return Err(Error::reference(format!("volume {}", wanted.name), reason));
        }
        world.volumes.push((wanted, found));
    }
    Ok(())
}

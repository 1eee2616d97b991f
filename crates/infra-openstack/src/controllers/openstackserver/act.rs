//! Carries out single actions, and enters what came of them into the world.

use crate::cloud::{CloudError, Session, compute::Server};

use super::{plan::Action, world::World};

/// Carries out one action.
pub async fn act(session: &Session, world: &mut World, action: &Action) -> Result<(), CloudError> {
    match action {
        Action::CreatePort(index, body) => {
            let port = session.create_port(body.clone()).await?;
            if let Some(slot) = world.ports.get_mut(*index) {
                *slot = Some(port);
            }
        }
        Action::SetPortTags(index, tags) => {
            if let Some(Some(port)) = world.ports.get_mut(*index) {
                session.set_tags("ports", &port.id, tags).await?;
                port.tags = tags.clone();
            }
        }
        Action::CreateTrunk(body) => world.trunks.push(session.create_trunk(body.clone()).await?),
        Action::SetTrunkTags(id, tags) => {
            session.set_tags("trunks", id, tags).await?;
            for trunk in world.trunks.iter_mut().filter(|trunk| trunk.id == *id) {
                trunk.tags = tags.clone();
            }
        }
        Action::CreateVolume(index, body) => {
            let volume = session.create_volume(body.clone()).await?;
            if let Some((_, slot)) = world.volumes.get_mut(*index) {
                *slot = Some(volume);
            }
        }
        Action::CreateServer(body, dialect) => {
            let made = session.create_server(body.clone(), *dialect).await?;
            world.server = Some(Server {
                id: made.id,
                name: world.name().to_owned(),
                status: "BUILD".to_owned(),
                ..Server::default()
            });
        }
        Action::DeleteServer(id) => drop(session.delete_server(id).await?),
        Action::DeleteVolume(id) => drop(session.delete_volume(id).await?),
        Action::RemoveSubports(trunk, ports) => drop(session.remove_subports(trunk, ports).await?),
        Action::DeleteTrunk(id) => drop(session.delete_trunk(id).await?),
        Action::DeletePort(id) => drop(session.delete_port(id).await?),
    }
    Ok(())
}

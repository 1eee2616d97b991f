//! Whose changes wake a server: those of its volumes while they are made or go, and those of itself. Pure.

use crate::cloud::watch::{Collection, Interest};

use super::world::World;

/// What the server depends on now.
pub fn of(world: &World) -> Vec<Interest> {
    if let Some(server) = &world.server {
        let settled = !matches!(server.status.as_str(), "BUILD" | "");
        let going = world.object.metadata.deletion_timestamp.is_some();
        let interest = match settled && !going {
            true => Interest::resting(Collection::Servers, &server.id, Some(server.status.clone())),
            false => Interest::waiting(Collection::Servers, &server.id, &server.status),
        };
        return vec![interest];
    }
    let volumes = world.volumes.iter().filter_map(|(_, found)| found.as_ref());
    volumes
        .filter(|volume| volume.status != "available")
        .map(|volume| Interest::waiting(Collection::Volumes, &volume.id, &volume.status))
        .collect()
}

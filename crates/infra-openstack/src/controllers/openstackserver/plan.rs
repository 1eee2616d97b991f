//! What is to be done next about a server, or about what is left of it. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cloud::{compute::Dialect, volume::Volume},
    rules::{
        ports,
        servers::{self, Parts},
    },
};

use super::world::World;

/// One change in OpenStack.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes the port of this index.
    CreatePort(usize, Value),
    /// Sets the tags of the port of this index.
    SetPortTags(usize, Vec<String>),
    /// Makes a trunk.
    CreateTrunk(Value),
    /// Sets the tags of a trunk.
    SetTrunkTags(String, Vec<String>),
    /// Makes the volume of this index.
    CreateVolume(usize, Value),
    /// Makes the server.
    CreateServer(Value, Dialect),
    /// Deletes the server.
    DeleteServer(String),
    /// Deletes a volume.
    DeleteVolume(String),
    /// Takes subports out of a trunk.
    RemoveSubports(String, Vec<String>),
    /// Deletes a trunk.
    DeleteTrunk(String),
    /// Deletes a port.
    DeletePort(String),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Do these in order.
    Act(Vec<Action>),
    /// Look again after this time.
    Wait(String, Duration),
    /// The server that was made does not exist any more.
    Lost(String),
    /// There is nothing to do.
    Done,
}

/// How often something in the making is looked at.
const SOON: Duration = Duration::from_secs(5);

/// The next step towards a server.
pub fn plan(world: &World) -> Step {
    if let Some(id) = world.instance_id() {
        return match world.server {
            Some(_) => Step::Done,
            None => Step::Lost(id.to_owned()),
        };
    }
    if world.server.is_some() {
        // Found by its name; its id is entered into the status.
        return Step::Done;
    }
    let actions = port_actions(world);
    if !actions.is_empty() {
        return Step::Act(actions);
    }
    let missing = world
        .volumes
        .iter()
        .enumerate()
        .filter(|(_, (_, found))| found.is_none());
    let missing: Vec<Action> = missing
        .map(|(index, (wanted, _))| Action::CreateVolume(index, wanted.body.clone()))
        .collect();
    if !missing.is_empty() {
        return Step::Act(missing);
    }
    for (wanted, found) in &world.volumes {
        let status = found
            .as_ref()
            .map(|volume| volume.status.as_str())
            .unwrap_or_default();
        if status != "available" {
            return Step::Wait(format!("volume {} is {status}", wanted.name), SOON);
        }
    }
    let ports: Vec<String> = world.ports.iter().flatten().map(|port| port.id.clone()).collect();
    let volumes: Vec<(String, bool)> = world
        .volumes
        .iter()
        .filter_map(|(_, found)| found.as_ref())
        .map(|volume| (volume.id.clone(), volume.multiattach))
        .collect();
    let (body, dialect) = servers::request(&Parts {
        name: world.name(),
        spec: &world.object.spec,
        image: world.resolved.image_id.as_deref().unwrap_or_default(),
        flavor: world.resolved.flavor_id.as_deref().unwrap_or_default(),
        server_group: world.resolved.server_group_id.as_deref(),
        ports: &ports,
        volumes: &volumes,
        user_data: world.user_data.as_deref(),
    });
    Step::Act(vec![Action::CreateServer(body, dialect)])
}

fn port_actions(world: &World) -> Vec<Action> {
    let mut actions = Vec::new();
    for (index, (wanted, found)) in world.resolved.ports.iter().zip(&world.ports).enumerate() {
        let Some(port) = found else {
            actions.push(Action::CreatePort(
                index,
                ports::body(wanted, world.trusted_attribute),
            ));
            continue;
        };
        let sorted = |tags: &[String]| {
            let mut tags = tags.to_vec();
            tags.sort();
            tags
        };
        if !wanted.tags.is_empty() && sorted(&port.tags) != wanted.tags {
            actions.push(Action::SetPortTags(index, wanted.tags.clone()));
        }
        if wanted.trunk != Some(true) {
            continue;
        }
        match world.trunks.iter().find(|trunk| trunk.port_id == port.id) {
            None => actions.push(Action::CreateTrunk(json!({
                "port_id": port.id, "name": wanted.name, "sub_ports": [],
                "description": wanted.description.clone().unwrap_or_default(),
            }))),
            Some(trunk) if !wanted.tags.is_empty() && sorted(&trunk.tags) != wanted.tags => {
                actions.push(Action::SetTrunkTags(trunk.id.clone(), wanted.tags.clone()));
            }
            Some(_) => {}
        }
    }
    actions
}

/// The next step towards nothing.
pub fn plan_removal(world: &World) -> Step {
    if let Some(server) = &world.server
        && server.status != "DELETED"
        && server.status != "SOFT_DELETED"
    {
        return match server.task_state.as_deref() {
            Some("deleting") => Step::Wait(format!("server {} is being deleted", server.name), SOON),
            _ => Step::Act(vec![Action::DeleteServer(server.id.clone())]),
        };
    }
    // Volumes go with the server, unless it never came to be; Cinder refuses to delete what is still on its way.
    let volumes = world.volumes.iter().filter_map(|(_, found)| found.as_ref());
    let (free, busy): (Vec<&Volume>, Vec<&Volume>) =
        volumes.partition(|volume| volume.status == "available" || volume.status.starts_with("error"));
    let mut actions: Vec<Action> = free
        .into_iter()
        .map(|volume| Action::DeleteVolume(volume.id.clone()))
        .collect();
    for trunk in &world.trunks {
        if !trunk.sub_ports.is_empty() {
            let ports: Vec<String> = trunk.sub_ports.iter().map(|port| port.port_id.clone()).collect();
            actions.push(Action::RemoveSubports(trunk.id.clone(), ports.clone()));
            actions.extend(ports.into_iter().map(Action::DeletePort));
        }
        actions.push(Action::DeleteTrunk(trunk.id.clone()));
    }
    actions.extend(
        world
            .ports
            .iter()
            .flatten()
            .map(|port| Action::DeletePort(port.id.clone())),
    );
    match (actions.is_empty(), busy.first()) {
        (false, _) => Step::Act(actions),
        (true, Some(volume)) => Step::Wait(format!("volume {} is {}", volume.name, volume.status), SOON),
        (true, None) => Step::Done,
    }
}

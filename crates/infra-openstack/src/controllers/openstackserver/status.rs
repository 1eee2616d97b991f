//! What the object says about its server. Pure.

use std::time::Duration;

use capi_api::conditions::{self, Draft};
use capi_runtime::Next;
use jiff::Timestamp;

use crate::{
    Error,
    api::{OpenStackServer, PortStatus, ServerResources},
    cloud::compute::Server,
};

use super::world::World;

/// Says whether the server runs.
pub const INSTANCE_READY: &str = "InstanceReady";
/// How often a server in the making is looked at.
const BUILDING: Duration = Duration::from_secs(5);
/// How often a server that runs, or should, is looked at: in a list that all servers share.
const WATCHED: Duration = Duration::from_secs(30);

/// What Nova's state of a server means.
pub fn of_state(server: &Server) -> (Draft, bool, Next) {
    let not = |reason: &str, message: String| Draft::is_false(INSTANCE_READY, reason, message);
    match server.status.as_str() {
        "ACTIVE" => (
            Draft::is_true(INSTANCE_READY, "Ready", ""),
            true,
            Next::After(WATCHED),
        ),
        "ERROR" => {
            let words = server
                .fault
                .as_ref()
                .map(|fault| fault.message.as_str())
                .filter(|text| !text.is_empty());
            let message = match words {
                Some(words) => format!("server is in ERROR: {words}"),
                None => "server is in ERROR; Nova does not say why".to_owned(),
            };
            (not("InstanceStateError", message), false, Next::After(WATCHED))
        }
        "DELETED" | "SOFT_DELETED" => (
            not("InstanceDeleted", "server was deleted in OpenStack".to_owned()),
            false,
            Next::Done,
        ),
        "BUILD" | "" => (
            not("InstanceNotReady", "server is being built".to_owned()),
            false,
            Next::After(BUILDING),
        ),
        other => {
            let message = format!("server is {other}");
            (
                Draft::is_unknown(INSTANCE_READY, "InstanceNotReady", message),
                false,
                Next::After(WATCHED),
            )
        }
    }
}

/// The object with what is known of the server.
pub fn report(world: &World, now: Timestamp) -> (OpenStackServer, Next) {
    let mut after = world.object.clone();
    let status = after.status.get_or_insert_default();
    if !world.ports.is_empty() {
        let ports = world
            .ports
            .iter()
            .flatten()
            .map(|port| PortStatus { id: port.id.clone() });
        status.resources = Some(ServerResources {
            ports: ports.collect(),
        });
    }
    let Some(server) = &world.server else {
        return (after, Next::Done);
    };
    let (draft, ready, next) = of_state(server);
    status.instance_id = Some(server.id.clone());
    status.instance_state = Some(server.status.clone());
    status.ready = ready;
    conditions::set(&mut after, draft, now);
    (after, next)
}

/// The object of a server that does not exist any more.
pub fn lost(world: &World, id: &str, now: Timestamp) -> OpenStackServer {
    let mut after = world.object.clone();
    let status = after.status.get_or_insert_default();
    status.ready = false;
    status.instance_state = Some("DELETED".to_owned());
    let message = format!("server {id} does not exist in OpenStack any more; it is not made again");
    conditions::set(
        &mut after,
        Draft::is_false(INSTANCE_READY, "InstanceNotFound", message),
        now,
    );
    after
}

/// The object with what it waits for.
pub fn waiting(world: &World, message: &str, now: Timestamp) -> OpenStackServer {
    let (mut after, _) = report(world, now);
    conditions::set(
        &mut after,
        Draft::is_false(INSTANCE_READY, "InstanceNotReady", message),
        now,
    );
    after
}

/// The object with what went wrong.
pub fn failed(world: &World, error: &Error, creating: bool, now: Timestamp) -> OpenStackServer {
    let (mut after, _) = report(world, now);
    if creating {
        after.status.get_or_insert_default().instance_state = Some("ERROR".to_owned());
    }
    let reason = match error {
        _ if creating => "InstanceCreateFailed",
        Error::Reference { .. } => "DependencyFailed",
        _ => "OpenStackError",
    };
    conditions::set(
        &mut after,
        Draft::is_false(INSTANCE_READY, reason, error.to_string()),
        now,
    );
    after
}

//! What the state of a server means for its machine. Pure.

use capi_api::conditions::{self, Draft, Status};

use crate::api::OpenStackServer;

/// What a machine has to say about its server.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It runs under this id.
    Active(String),
    /// It does not (yet, or any more): status, reason and message of the conditions.
    Not(Status, String, String),
}

/// The state of a server object.
pub fn of(server: &OpenStackServer) -> State {
    let status = server.status.clone().unwrap_or_default();
    let said = conditions::get(server, "InstanceReady").filter(|condition| condition.status != "True");
    let said = said.map(|condition| (condition.reason.clone(), condition.message.clone()));
    let not = |status, (reason, message): (String, String)| State::Not(status, reason, message);
    let or = |reason: &str, message: &str| {
        said.clone()
            .unwrap_or_else(|| (reason.to_owned(), message.to_owned()))
    };
    match (status.instance_state.as_deref(), status.instance_id) {
        (Some("ACTIVE"), Some(id)) => State::Active(id),
        (Some("ERROR"), _) => not(Status::False, or("InstanceStateError", "the server is in ERROR")),
        (Some("DELETED" | "SOFT_DELETED"), _) => {
            let (_, message) = or("InstanceDeleted", "the server was deleted in OpenStack");
            not(Status::False, ("InstanceDeleted".to_owned(), message))
        }
        (None | Some("BUILD" | ""), _) => not(
            Status::False,
            or("InstanceNotReady", "Waiting for instance to be created"),
        ),
        (Some(other), _) => {
            let message = format!("the server is {other}");
            not(Status::Unknown, or("InstanceNotReady", &message))
        }
    }
}

/// The condition of a type that says this.
pub fn draft(type_: &str, state: &State) -> Draft {
    match state {
        State::Active(_) => Draft::is_true(type_, "Ready", ""),
        State::Not(status, reason, message) => Draft::new(type_, *status, reason.as_str(), message.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(status: Value) -> OpenStackServer {
        serde_json::from_value(json!({ "apiVersion": "x/v1", "kind": "OpenStackServer", "metadata": {}, "spec": {
            "identityRef": { "name": "s", "cloudName": "c" }, "image": {}, "ports": [], "sshKeyName": "" }, "status": status }))
        .unwrap()
    }

    #[test]
    fn states_of_servers_become_conditions_of_machines() {
        let condition = json!([{ "type": "InstanceReady", "status": "False", "reason": "InstanceCreateFailed",
            "message": "Quota exceeded", "lastTransitionTime": "2026-11-20T12:00:00Z" }]);
        let not = |status, reason: &str, message: &str| State::Not(status, reason.into(), message.into());
        for (status, expected) in [
            (
                json!({ "instanceState": "ACTIVE", "instanceID": "u" }),
                State::Active("u".into()),
            ),
            (
                json!({}),
                not(
                    Status::False,
                    "InstanceNotReady",
                    "Waiting for instance to be created",
                ),
            ),
            (
                json!({ "conditions": condition }),
                not(Status::False, "InstanceCreateFailed", "Quota exceeded"),
            ),
            (
                json!({ "instanceState": "ERROR", "conditions": condition }),
                not(Status::False, "InstanceCreateFailed", "Quota exceeded"),
            ),
            (
                json!({ "instanceState": "SHUTOFF", "instanceID": "u" }),
                not(Status::Unknown, "InstanceNotReady", "the server is SHUTOFF"),
            ),
            (
                json!({ "instanceState": "DELETED" }),
                not(
                    Status::False,
                    "InstanceDeleted",
                    "the server was deleted in OpenStack",
                ),
            ),
        ] {
            assert_eq!(of(&server(status.clone())), expected, "{status}");
        }
    }
}

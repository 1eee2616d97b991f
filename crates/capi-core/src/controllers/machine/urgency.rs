//! Which changes of a Machine's status somebody waits for. Pure.
//!
//! A young Machine changes step by step: bootstrap data, host, Node, and every step is told in half a dozen conditions.
//! Others wait for what the spec says (which is never held back), for the Machine to be ready, and for what goes wrong.

use capi_api::{
    conditions::{get, types},
    core::v1beta2::Machine,
};
use jiff::{SignedDuration, Timestamp};

use crate::{machines, plan::elapsed};

/// Older Machines are no longer expected to change step by step.
const YOUTH: SignedDuration = SignedDuration::from_mins(30);

/// Whether the change must be written at once.
pub fn is_urgent(before: &Machine, after: &Machine, now: Timestamp) -> bool {
    let status = |machine: &Machine, type_: &str| get(machine, type_).map(|c| c.status.clone());
    let is_true = |machine: &Machine, type_: &str| status(machine, type_).as_deref() == Some("True");
    let turns = |type_: &str| is_true(before, type_) != is_true(after, type_);
    let created = after.metadata.creation_timestamp.as_ref();
    let old = created.is_none_or(|t| elapsed(t.0, now) > YOUTH);
    let node = |machine: &Machine| machine.status.as_ref().is_some_and(|s| s.node_ref.is_some());
    let failure = |machine: &Machine| {
        let old = machine.status.as_ref()?.deprecated.as_ref()?.v1beta1.as_ref()?;
        old.failure_reason.clone()
    };
    old || machines::is_deleting(after)
        || [types::READY, types::AVAILABLE, types::PAUSED, types::UPDATING]
            .iter()
            .any(|type_| turns(type_))
        || is_true(before, types::READY)
        // The kubeadm control plane goes on when the Node is there.
        || (machines::is_control_plane(after) && node(before) != node(after))
        || failure(before) != failure(after)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(status: Value) -> Machine {
        serde_json::from_value(json!({"metadata": {"name": "m", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}},
            "status": status}))
        .unwrap()
    }

    fn condition(type_: &str, status: &str) -> Value {
        json!({"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn steps_of_a_young_machine_can_wait_and_what_others_wait_for_cannot() {
        let nothing = json!({});
        let step = json!({"phase": "Provisioning", "conditions": [condition("BootstrapConfigReady", "True"), condition("Ready", "False")]});
        let node = json!({"nodeRef": {"name": "n"}, "conditions": [condition("Ready", "False")]});
        let ready = json!({"nodeRef": {"name": "n"}, "conditions": [condition("Ready", "True")]});
        let failed = json!({"deprecated": {"v1beta1": {"failureReason": "Broken"}}});
        let cases = [
            (&nothing, &step, false),
            (&step, &node, false),
            (&node, &ready, true),
            (&ready, &node, true),
            (&step, &failed, true),
        ];
        let soon = "2026-01-01T00:01:00Z".parse().unwrap();
        for (before, after, expected) in cases {
            let (before, after) = (machine(before.clone()), machine(after.clone()));
            assert_eq!(is_urgent(&before, &after, soon), expected, "{before:?} {after:?}");
        }
        let late = "2026-01-01T01:00:00Z".parse().unwrap();
        assert!(is_urgent(&machine(nothing), &machine(step.clone()), late));
        let mut control_plane = [machine(step), machine(node)];
        for machine in &mut control_plane {
            machine.metadata.labels =
                Some([(capi_api::labels::CONTROL_PLANE.to_owned(), String::new())].into());
        }
        assert!(is_urgent(&control_plane[0], &control_plane[1], soon));
    }
}

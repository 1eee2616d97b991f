//! How soon a change of a Machine's status has to be written. Pure.
//!
//! A young Machine changes step by step: bootstrap data, host, Node, and every step is told in half a dozen conditions.
//! Others wait for what the spec says (which is never held back), for the Machine to be ready, and for what goes wrong.
//! One that goes passes most of its stages at once.

use capi_api::{
    conditions::{get, reasons, types},
    core::v1beta2::Machine,
};
use capi_runtime::Urgency;
use jiff::{SignedDuration, Timestamp};

use crate::{machines, plan::elapsed};

/// Older Machines are no longer expected to change step by step.
const YOUTH: SignedDuration = SignedDuration::from_mins(30);

/// How soon the change must be written.
pub fn of(before: &Machine, after: &Machine, now: Timestamp) -> Urgency {
    let paused = is_true(before, types::PAUSED) != is_true(after, types::PAUSED);
    if machines::is_deleting(after) {
        let hook = |machine: &Machine| {
            let reason = get(machine, types::DELETING).map(|c| c.reason.clone());
            reason.filter(|reason| is_hook(reason))
        };
        // Hooks wait to be called, and a Node that was found only now must not be forgotten.
        let called = hook(after).is_some() && hook(before) != hook(after);
        let now = paused || called || has_node(before) != has_node(after);
        return Urgency::first(now, true);
    }
    let turns = |type_: &str| is_true(before, type_) != is_true(after, type_);
    let created = after.metadata.creation_timestamp.as_ref();
    let old = created.is_none_or(|t| elapsed(t.0, now) > YOUTH);
    let failure = |machine: &Machine| {
        let old = machine.status.as_ref()?.deprecated.as_ref()?.v1beta1.as_ref()?;
        old.failure_reason.clone()
    };
    // A new Machine is up to date as a matter of course.
    let outdated = |machine: &Machine| get(machine, types::UP_TO_DATE).is_some_and(|c| c.status != "True");
    let now = old
        || paused
        || [types::READY, types::AVAILABLE, types::UPDATING]
            .iter()
            .any(|type_| turns(type_))
        || outdated(before) != outdated(after)
        // The kubeadm control plane goes on when the Node is there.
        || (machines::is_control_plane(after) && has_node(before) != has_node(after))
        || failure(before) != failure(after);
    let first = before.status.as_ref().is_none_or(|s| s.phase.is_none());
    Urgency::first(now, first)
}

fn is_true(machine: &Machine, type_: &str) -> bool {
    get(machine, type_).is_some_and(|c| c.status == "True")
}

fn has_node(machine: &Machine) -> bool {
    machine.status.as_ref().is_some_and(|s| s.node_ref.is_some())
}

fn is_hook(reason: &str) -> bool {
    [
        reasons::WAITING_FOR_PRE_DRAIN_HOOK,
        reasons::WAITING_FOR_PRE_TERMINATE_HOOK,
    ]
    .contains(&reason)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(status: &Value) -> Machine {
        serde_json::from_value(json!({"metadata": {"name": "m", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterName": "c", "bootstrap": {}, "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}},
            "status": status}))
        .unwrap()
    }

    fn condition(type_: &str, status: &str) -> Value {
        reasoned(type_, status, "R")
    }

    fn reasoned(type_: &str, status: &str, reason: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn steps_of_a_young_machine_can_wait_and_what_others_wait_for_cannot() {
        let nothing = json!({});
        let step = json!({"phase": "Provisioning", "conditions": [condition("BootstrapConfigReady", "True"), condition("Ready", "False")]});
        let node = json!({"phase": "Running", "nodeRef": {"name": "n"}, "conditions": [condition("Ready", "False")]});
        let ready =
            json!({"phase": "Running", "nodeRef": {"name": "n"}, "conditions": [condition("Ready", "True")]});
        let failed = json!({"phase": "Failed", "deprecated": {"v1beta1": {"failureReason": "Broken"}}});
        let fits = json!({"phase": "Provisioning", "conditions": [condition("UpToDate", "True")]});
        let outdated = json!({"phase": "Provisioning", "conditions": [condition("UpToDate", "False")]});
        let cases = [
            (&nothing, &step, Urgency::Soon),
            (&step, &fits, Urgency::Later),
            (&step, &node, Urgency::Later),
            (&node, &ready, Urgency::Now),
            (&ready, &node, Urgency::Now),
            (&step, &failed, Urgency::Now),
            (&fits, &outdated, Urgency::Now),
        ];
        let soon = "2026-01-01T00:01:00Z".parse().unwrap();
        for (before, after, expected) in cases {
            let (before, after) = (machine(before), machine(after));
            assert_eq!(of(&before, &after, soon), expected, "{before:?} {after:?}");
        }
        let late = "2026-01-01T01:00:00Z".parse().unwrap();
        assert_eq!(of(&machine(&nothing), &machine(&step), late), Urgency::Now);
        let mut control_plane = [machine(&step), machine(&node)];
        for machine in &mut control_plane {
            machine.metadata.labels =
                Some([(capi_api::labels::CONTROL_PLANE.to_owned(), String::new())].into());
        }
        assert_eq!(
            of(&control_plane[0], &control_plane[1], soon),
            Urgency::Now,
            "the control plane goes on with the Node"
        );
    }

    #[test]
    fn a_machine_that_goes_tells_its_stages_within_a_second_and_hooks_at_once() {
        let stage =
            |reason| json!({"phase": "Deleting", "conditions": [reasoned("Deleting", "True", reason)]});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        for (before, after, expected) in [
            ("DrainingNode", "WaitingForVolumeDetach", Urgency::Soon),
            ("DrainingNode", "WaitingForPreTerminateHook", Urgency::Now),
            (
                "WaitingForPreTerminateHook",
                "WaitingForInfrastructureDeletion",
                Urgency::Soon,
            ),
        ] {
            let [before, after] = [before, after].map(|reason| {
                let mut machine = machine(&stage(reason));
                machine.metadata.deletion_timestamp = machine.metadata.creation_timestamp.clone();
                machine
            });
            assert_eq!(of(&before, &after, now), expected, "{before:?} {after:?}");
        }
    }
}

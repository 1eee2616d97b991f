//! How soon the status of a control plane, and its conditions on Machines, have to be written; and what is held back.
//!
//! Others wait for an initialized control plane and for complete numbers; what is decided about Machines goes by their
//! conditions. Texts and steps on the way can wait for each other.

use std::{collections::BTreeMap, time::Duration};

use capi_api::{
    conditions::{self, ConditionsAccess, get_in, types},
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::Machine,
};
use capi_runtime::{Key, StatusPace, Urgency};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use parking_lot::Mutex;

use super::machine_conditions;

/// What is held back of all control planes.
#[derive(Default)]
pub struct Paces {
    own: StatusPace,
    machines: Mutex<BTreeMap<Key, BTreeMap<Key, StatusPace>>>,
}

impl Paces {
    /// For how long the changed status of a control plane is held back.
    pub fn hold(&self, key: &Key, now: Timestamp, urgency: Urgency) -> Option<Duration> {
        self.own.hold(key, now, urgency)
    }

    /// The status of a control plane is what is written.
    pub fn settled(&self, key: &Key) {
        self.own.settled(key);
    }

    /// What to do about the changed conditions of a control plane's Machines: for how long each is held back. Machines
    /// that are not among them have nothing to be held back.
    pub fn hold_machines(
        &self,
        key: &Key,
        now: Timestamp,
        changed: Vec<(Key, Urgency)>,
    ) -> BTreeMap<Key, Duration> {
        let mut all = self.machines.lock();
        let mut before = all.remove(key).unwrap_or_default();
        let (mut kept, mut held) = (BTreeMap::new(), BTreeMap::new());
        for (machine, urgency) in changed {
            let pace = before.remove(&machine).unwrap_or_default();
            if let Some(hold) = pace.hold(&machine, now, urgency) {
                held.insert(machine.clone(), hold);
                kept.insert(machine, pace);
            }
        }
        if !kept.is_empty() {
            all.insert(key.clone(), kept);
        }
        held
    }

    /// The control plane is gone.
    pub fn forget(&self, key: &Key) {
        self.own.settled(key);
        self.machines.lock().remove(key);
    }
}

/// How soon new conditions of a Machine must be written: whether all is well decides over what is done next, what is not
/// as it was is to be seen at once, and the first go with the Machine's creation, before it sums them up itself.
pub fn of_machine(before: &Machine, after: &Machine) -> Urgency {
    if after.metadata.deletion_timestamp.is_some() {
        return Urgency::Soon;
    }
    let status = |machine: &Machine, type_: &str| {
        get_in(machine.conditions(), type_).map(|condition: &Condition| condition.status.clone())
    };
    let is_true = |machine: &Machine, type_: &str| status(machine, type_).as_deref() == Some("True");
    let well = |machine: &Machine| {
        let mut reported = machine_conditions::ALL
            .iter()
            .filter(|type_| status(machine, type_).is_some());
        reported.all(|type_| is_true(machine, type_))
    };
    let lost = machine_conditions::ALL
        .iter()
        .chain([&types::UP_TO_DATE])
        .any(|type_| is_true(before, type_) && !is_true(after, type_));
    let decided = |machine: &Machine| get_in(machine.conditions(), types::OWNER_REMEDIATED).cloned();
    let reported = |machine: &Machine| status(machine, types::API_SERVER_POD_HEALTHY).is_some();
    let first = !reported(before);
    let well_now = reported(after) && well(after) && !well(before);
    Urgency::first(
        first || lost || well_now || decided(before) != decided(after),
        false,
    )
}

/// How soon a changed status of a control plane must be written.
pub fn of_control_plane(before: &KubeadmControlPlane, after: &KubeadmControlPlane) -> Urgency {
    let is_true = |object: &KubeadmControlPlane, type_: &str| conditions::is_true(object, type_);
    let awaited = |object: &KubeadmControlPlane| {
        let status = object.status.as_ref();
        (
            [types::AVAILABLE, types::INITIALIZED, types::PAUSED].map(|type_| is_true(object, type_)),
            status.and_then(|s| s.initialization.clone()),
            status.and_then(|s| s.last_remediation.clone()),
        )
    };
    let numbers = |object: &KubeadmControlPlane| {
        object.status.as_ref().map(|s| {
            let all = [
                s.replicas,
                s.ready_replicas,
                s.available_replicas,
                s.up_to_date_replicas,
            ];
            (all, s.version.clone())
        })
    };
    let complete = |object: &KubeadmControlPlane| {
        numbers(object).is_some_and(|(all, _)| all.iter().all(|number| *number == object.spec.replicas))
    };
    let stable = complete(before) || complete(after);
    let seen = |object: &KubeadmControlPlane| object.status.as_ref().and_then(|s| s.observed_generation);
    let rolling = |object: &KubeadmControlPlane| is_true(object, types::ROLLING_OUT);
    Urgency::first(
        awaited(before) != awaited(after) || (stable && numbers(before) != numbers(after)),
        after.metadata.deletion_timestamp.is_some()
            || seen(before) != seen(after)
            || rolling(before) != rolling(after),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(conditions: &[(&str, &str)]) -> Machine {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(type_, status)| {
                json!({ "type": type_, "status": status, "reason": "R", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z" })
            })
            .collect();
        serde_json::from_value(json!({
            "metadata": { "name": "m" },
            "spec": { "clusterName": "c", "bootstrap": {}, "infrastructureRef": { "apiGroup": "g", "kind": "K", "name": "m" } },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn steps_of_a_machine_wait_until_all_is_well_and_what_gets_worse_does_not() {
        let nothing = machine(&[]);
        let first = machine(&[
            ("APIServerPodHealthy", "Unknown"),
            ("EtcdPodHealthy", "Unknown"),
            ("UpToDate", "True"),
        ]);
        let half = machine(&[
            ("APIServerPodHealthy", "True"),
            ("EtcdPodHealthy", "False"),
            ("UpToDate", "True"),
        ]);
        let well = machine(&[
            ("APIServerPodHealthy", "True"),
            ("EtcdPodHealthy", "True"),
            ("UpToDate", "True"),
        ]);
        let old = machine(&[
            ("APIServerPodHealthy", "True"),
            ("EtcdPodHealthy", "True"),
            ("UpToDate", "False"),
        ]);
        for (before, after, expected) in [
            (&nothing, &first, Urgency::Now),
            (&first, &half, Urgency::Later),
            (&half, &well, Urgency::Now),
            (&first, &well, Urgency::Now),
            (&well, &half, Urgency::Now),
            (&well, &old, Urgency::Now),
        ] {
            assert_eq!(of_machine(before, after), expected, "{before:?} {after:?}");
        }
    }

    fn control_plane(status: Value) -> KubeadmControlPlane {
        serde_json::from_value(json!({
            "metadata": { "name": "cp" },
            "spec": { "replicas": 1, "version": "v1.35.0", "kubeadmConfigSpec": {}, "machineTemplate": { "spec": {
                "infrastructureRef": { "apiGroup": "g", "kind": "KTemplate", "name": "t" } } } },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn others_wait_for_initialization_and_for_complete_numbers() {
        let numbers = |ready: i32| {
            json!({ "observedGeneration": 1, "version": "v1.35.0", "replicas": 1, "readyReplicas": ready,
                "availableReplicas": ready, "upToDateReplicas": 1 })
        };
        let mut initialized = numbers(0);
        initialized["initialization"] = json!({ "controlPlaneInitialized": true });
        let mut message = numbers(0);
        message["conditions"] = json!([{ "type": "Available", "status": "False", "reason": "R", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        for (before, after, expected) in [
            (json!({}), numbers(0), Urgency::Soon),
            (numbers(0), message, Urgency::Later),
            (numbers(0), initialized, Urgency::Now),
            (numbers(0), numbers(1), Urgency::Now),
            (numbers(1), numbers(0), Urgency::Now),
        ] {
            let (before, after) = (control_plane(before), control_plane(after));
            assert_eq!(of_control_plane(&before, &after), expected, "{after:?}");
        }
    }

    #[test]
    fn what_has_settled_or_gone_is_not_remembered() {
        let (paces, key, machine) = (Paces::default(), Key::new("ns", "cp"), Key::new("ns", "m"));
        let at = |text: &str| format!("2026-01-01T00:00:{text}Z").parse().unwrap();
        let changed = || vec![(machine.clone(), Urgency::Later)];
        assert_eq!(paces.hold_machines(&key, at("00"), changed()).len(), 1);
        assert!(paces.hold_machines(&key, at("05"), changed()).is_empty());
        assert_eq!(paces.hold_machines(&key, at("06"), changed()).len(), 1);
        assert!(paces.hold_machines(&key, at("07"), Vec::new()).is_empty());
        assert!(paces.machines.lock().is_empty());
    }
}

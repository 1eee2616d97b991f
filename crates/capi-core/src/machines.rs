//! What is said about a group of Machines by those who own them: counters, versions and aggregated conditions.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use capi_api::{
    annotations,
    conditions::{self, Child, Draft, Reasons, aggregate, name_list, reasons, types},
    core::v1beta2::{Machine, StatusVersion},
    labels, versions,
};
use capi_runtime::Next;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::plan::{after_seconds, elapsed, look_at};

/// A Machine this young without an `UpToDate` condition is not yet expected to have one.
const UP_TO_DATE_GRACE: i64 = 10;
/// A Machine that deletes for longer is mentioned.
const STALE_DELETION: SignedDuration = SignedDuration::from_mins(15);

/// A group of Machines, sorted by name.
pub type Machines = [Arc<Machine>];

/// Whether a Machine belongs to the control plane.
pub fn is_control_plane(machine: &Machine) -> bool {
    machine.labels().contains_key(labels::CONTROL_PLANE)
}

/// Whether a Machine is being deleted.
pub fn is_deleting(machine: &Machine) -> bool {
    machine.metadata.deletion_timestamp.is_some()
}

/// Whether a MachineHealthCheck finds it unhealthy.
pub fn is_unhealthy(machine: &Machine) -> bool {
    conditions::is_false(machine, types::HEALTH_CHECK_SUCCEEDED)
}

/// Whether its owner has been asked to replace it.
pub fn is_to_be_remediated(machine: &Machine) -> bool {
    is_unhealthy(machine) && conditions::is_false(machine, types::OWNER_REMEDIATED)
}

/// Whether an in-place update runs on it.
pub fn is_updating(machine: &Machine) -> bool {
    machine
        .annotations()
        .contains_key(annotations::UPDATE_IN_PROGRESS)
}

/// How many of a group are there, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All of them.
    pub replicas: i32,
    /// With `Ready` true.
    pub ready: i32,
    /// With `Available` true.
    pub available: i32,
    /// With `UpToDate` true.
    pub up_to_date: i32,
}

/// Counts by the Machines' conditions; those that are updated in place count as neither.
pub fn count(machines: &Machines) -> Counters {
    let mut counters = Counters {
        replicas: machines.len() as i32,
        ..Counters::default()
    };
    for machine in machines.iter().filter(|m| !is_updating(m)) {
        let one = |type_: &str| i32::from(conditions::is_true(&**machine, type_));
        counters.ready += one(types::READY);
        counters.available += one(types::AVAILABLE);
        counters.up_to_date += one(types::UP_TO_DATE);
    }
    counters
}

/// The versions of a group, the lowest first: what the kubelet says, otherwise what is wanted.
pub fn status_versions(machines: &Machines) -> Vec<StatusVersion> {
    let version_of = |machine: &Machine| {
        let kubelet = machine
            .status
            .as_ref()?
            .node_info
            .as_ref()
            .map(|info| info.kubelet_version.clone());
        kubelet.filter(|v| !v.is_empty())
    };
    let all = machines
        .iter()
        .filter_map(|m| version_of(m).or_else(|| m.spec.version.clone()));
    aggregate_versions(all.map(|version| StatusVersion {
        version,
        replicas: Some(1),
    }))
}

/// Adds up the replicas of equal versions, the lowest version first.
pub fn aggregate_versions(versions: impl IntoIterator<Item = StatusVersion>) -> Vec<StatusVersion> {
    let mut all: Vec<StatusVersion> = Vec::new();
    for one in versions.into_iter().filter(|v| !v.version.is_empty()) {
        match all.iter_mut().find(|v| v.version == one.version) {
            Some(same) => same.replicas = add(same.replicas, one.replicas),
            None => all.push(one),
        }
    }
    all.sort_by(|a, b| match versions::compare_texts(&a.version, &b.version) {
        Ordering::Equal => a.version.cmp(&b.version),
        other => other,
    });
    all
}

/// The sum of two counters of which each may be absent.
pub fn add(a: Option<i32>, b: Option<i32>) -> Option<i32> {
    match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
    }
}

/// The aggregate of the Machines' condition `source` as `target`; true where there are none.
pub fn aggregated(machines: &[&Machine], source: &str, target: &str, words: &Reasons) -> Draft {
    if machines.is_empty() {
        return Draft::is_true(target, reasons::NO_REPLICAS, "");
    }
    let names: Vec<String> = machines.iter().map(|m| m.name_any()).collect();
    let children: Vec<Child<'_>> = machines
        .iter()
        .zip(&names)
        .map(|(machine, name)| Child {
            kind: "Machine",
            name,
            control_plane_machine: is_control_plane(machine),
            conditions: machine.status.as_ref().map_or(&[], |s| &s.conditions),
        })
        .collect();
    aggregate(&children, source, target, false, words)
}

/// The aggregate of the Machines' `Ready`.
pub fn machines_ready(machines: &[&Machine], target: &str) -> Draft {
    aggregated(machines, types::READY, target, &Reasons::READY)
}

/// The aggregate of the Machines' `UpToDate`, without those too young to have one; and when these come of age.
pub fn machines_up_to_date(machines: &[&Machine], target: &str, now: Timestamp) -> (Draft, Next) {
    let mut counted = Vec::new();
    let mut next = Next::Done;
    for machine in machines {
        let created = machine.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let of_age = after_seconds(created, UP_TO_DATE_GRACE);
        if conditions::get(*machine, types::UP_TO_DATE).is_some() || of_age <= now {
            counted.push(*machine);
        } else {
            next = next.earliest(look_at(of_age, now));
        }
    }
    (
        aggregated(&counted, types::UP_TO_DATE, target, &Reasons::UP_TO_DATE),
        next,
    )
}

/// The `Remediating` condition of whoever owns the Machines; `suffix` names who does not remediate the others.
pub fn remediating(machines: &[&Machine], suffix: &str) -> Draft {
    let to_remediate: Vec<&Machine> = machines
        .iter()
        .copied()
        .filter(|m| is_to_be_remediated(m))
        .collect();
    if to_remediate.is_empty() {
        let unhealthy: Vec<String> = machines
            .iter()
            .filter(|m| is_unhealthy(m))
            .map(|m| m.name_any())
            .collect();
        let message = match unhealthy.len() {
            0 => String::new(),
            1 => format!(
                "Machine {} is not healthy (not to be remediated{suffix})",
                unhealthy[0]
            ),
            _ => format!(
                "Machines {} are not healthy (not to be remediated{suffix})",
                name_list(&unhealthy, 3)
            ),
        };
        return Draft::is_false(types::REMEDIATING, reasons::NOT_REMEDIATING, message);
    }
    let aggregate = aggregated(
        &to_remediate,
        types::OWNER_REMEDIATED,
        types::REMEDIATING,
        &Reasons::default(),
    );
    Draft::is_true(types::REMEDIATING, reasons::REMEDIATING, aggregate.message)
}

/// The line about Machines whose deletion takes long, and when the next of them will have taken long.
pub fn stale_deletions(machines: &[&Machine], now: Timestamp) -> (Option<String>, Next) {
    let mut names = Vec::new();
    let mut delays: Vec<&str> = Vec::new();
    let mut next = Next::Done;
    for machine in machines {
        let Some(since) = machine.metadata.deletion_timestamp.as_ref().map(|t| t.0) else {
            continue;
        };
        let left = STALE_DELETION - elapsed(since, now);
        if left > SignedDuration::ZERO {
            next = next.earliest(Next::After(
                Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1),
            ));
            continue;
        }
        names.push(machine.name_any());
        delays.extend(drain_delays(machine, now));
    }
    if names.is_empty() {
        return (None, next);
    }
    let list = name_list(&names, 3);
    let mut line = match names.len() {
        1 => format!("Machine {list} is in deletion since more than 15m"),
        _ => format!("Machines {list} are in deletion since more than 15m"),
    };
    let known: Vec<&str> = DRAIN_DELAYS
        .iter()
        .map(|(_, name)| *name)
        .filter(|name| delays.contains(name))
        .collect();
    if !known.is_empty() {
        line.push_str(&format!(", delay likely due to {}", known.join(", ")));
    }
    (Some(line), next)
}

/// What a drain message says, and what that is called in summaries.
const DRAIN_DELAYS: [(&str, &str); 4] = [
    (
        "cannot evict pod as it would violate the pod's disruption budget.",
        "PodDisruptionBudgets",
    ),
    (
        "deletionTimestamp set, but still not removed from the Node",
        "Pods not terminating",
    ),
    ("failed to evict Pod", "Pod eviction errors"),
    ("waiting for completion", "Pods not completed yet"),
];

/// Why a drain that runs for more than five minutes takes so long.
pub fn drain_delays(machine: &Machine, now: Timestamp) -> Vec<&'static str> {
    let Some(deleting) = conditions::get(machine, types::DELETING) else {
        return Vec::new();
    };
    let started = machine
        .status
        .as_ref()
        .and_then(|s| s.deletion.as_ref()?.node_drain_start_time.as_ref());
    let long = started.is_some_and(|t| elapsed(t.0, now) > SignedDuration::from_mins(5));
    if deleting.reason != reasons::DRAINING_NODE || !long {
        return Vec::new();
    }
    DRAIN_DELAYS
        .iter()
        .filter(|(text, _)| deleting.message.contains(text))
        .map(|(_, name)| *name)
        .collect()
}

/// What was done to Machines, for one event about all of them; nothing if there is none.
pub fn named(done: &str, machines: &[String]) -> Option<String> {
    let all: Vec<String> = machines.iter().map(|name| format!("{name:?}")).collect();
    match all.as_slice() {
        [] => None,
        [one] => Some(format!("{done} Machine {one}")),
        many => Some(format!("{done} Machines {}", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use capi_api::conditions::Status;
    use serde_json::json;

    use super::*;

    fn machine(name: &str, more: serde_json::Value) -> Arc<Machine> {
        let mut value = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"clusterName": "c", "bootstrap": {}, "version": "v1.35.0",
                "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}});
        json_merge(&mut value, &more);
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn json_merge(to: &mut serde_json::Value, from: &serde_json::Value) {
        match (to, from) {
            (serde_json::Value::Object(to), serde_json::Value::Object(from)) => {
                for (key, value) in from {
                    json_merge(to.entry(key.clone()).or_insert(serde_json::Value::Null), value);
                }
            }
            (to, from) => *to = from.clone(),
        }
    }

    fn condition(type_: &str, status: &str) -> serde_json::Value {
        json!({"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn machines_are_counted_by_their_conditions() {
        let all = [
            machine(
                "a",
                json!({"status": {"conditions": [condition("Ready", "True"), condition("Available", "True")]}}),
            ),
            machine(
                "b",
                json!({"status": {"conditions": [condition("Ready", "True"), condition("UpToDate", "True")]}}),
            ),
            machine(
                "c",
                json!({"metadata": {"annotations": {annotations::UPDATE_IN_PROGRESS: ""}},
                "status": {"conditions": [condition("Ready", "True")]}}),
            ),
        ];
        assert_eq!(
            count(&all),
            Counters {
                replicas: 3,
                ready: 2,
                available: 1,
                up_to_date: 1
            }
        );
    }

    #[test]
    fn versions_are_added_up_the_lowest_first() {
        let info = |v: &str| {
            json!({"status": {"nodeInfo": {"kubeletVersion": v, "architecture": "", "bootID": "",
            "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "",
            "operatingSystem": "", "osImage": "", "systemUUID": ""}}})
        };
        let all = [
            machine("a", info("v1.36.0")),
            machine("b", json!({})),
            machine("c", json!({})),
        ];
        let got = status_versions(&all);
        let got: Vec<_> = got.iter().map(|v| (v.version.as_str(), v.replicas)).collect();
        assert_eq!(got, [("v1.35.0", Some(2)), ("v1.36.0", Some(1))]);
    }

    #[test]
    fn young_machines_need_not_be_up_to_date_yet() {
        let young = machine("a", json!({}));
        let now = "2026-01-01T00:00:04Z".parse().unwrap();
        let (draft, next) = machines_up_to_date(&[&young], types::MACHINES_UP_TO_DATE, now);
        assert_eq!(
            (draft.status, draft.reason.as_str()),
            (Status::True, "NoReplicas")
        );
        assert_eq!(next, Next::After(Duration::from_secs(6)));
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let (draft, next) = machines_up_to_date(&[&young], types::MACHINES_UP_TO_DATE, now);
        assert_eq!((draft.status, next), (Status::Unknown, Next::Done));
    }

    #[test]
    fn long_deletions_are_mentioned_with_their_likely_cause() {
        let deleting = |name: &str| {
            machine(
                name,
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {
                "deletion": {"nodeDrainStartTime": "2026-01-01T00:00:00Z"},
                "conditions": [{"type": "Deleting", "status": "True", "reason": "DrainingNode",
                    "message": "* Pod a/b: cannot evict pod as it would violate the pod's disruption budget.",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
            )
        };
        let (a, b) = (deleting("a"), deleting("b"));
        let (line, next) = stale_deletions(&[&a], "2026-01-01T00:10:00Z".parse().unwrap());
        assert_eq!(line, None);
        assert!(matches!(next, Next::After(_)));
        let (line, _) = stale_deletions(&[&a, &b], "2026-01-01T00:16:00Z".parse().unwrap());
        assert_eq!(
            line.unwrap(),
            "Machines a, b are in deletion since more than 15m, delay likely due to PodDisruptionBudgets"
        );
    }
}

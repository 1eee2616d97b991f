//! Which Machines go first when there are too many. Pure.

use std::sync::Arc;

use capi_api::{
    annotations,
    conditions::{self, types},
    core::v1beta2::{Machine, MachineSetDeletionOrder},
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{machines, plan::elapsed};

const DELETING: f64 = 100.0;
const MARKED: f64 = 80.0;
const UPDATING: f64 = 75.0;
const UNHEALTHY: f64 = 50.0;
const ANY: f64 = 20.0;
/// The age at which most of the priority of an old Machine is reached.
const TEN_DAYS: f64 = 864_000.0;

/// The `count` Machines to delete, the first first; those that are being deleted already count.
pub fn first(
    machines: &[Arc<Machine>],
    count: usize,
    order: MachineSetDeletionOrder,
    now: Timestamp,
) -> Vec<Arc<Machine>> {
    let mut sorted: Vec<(f64, &Arc<Machine>)> =
        machines.iter().map(|m| (priority(m, order, now), m)).collect();
    sorted.sort_by(|(a, a_machine), (b, b_machine)| {
        b.total_cmp(a)
            .then_with(|| a_machine.name_any().cmp(&b_machine.name_any()))
    });
    sorted
        .into_iter()
        .take(count)
        .map(|(_, machine)| machine.clone())
        .collect()
}

fn priority(machine: &Machine, order: MachineSetDeletionOrder, now: Timestamp) -> f64 {
    if machines::is_deleting(machine) {
        return DELETING;
    }
    if machine.annotations().contains_key(annotations::DELETE_MACHINE) {
        return MARKED;
    }
    if machines::is_updating(machine) {
        return UPDATING;
    }
    if !is_healthy(machine) {
        return UNHEALTHY;
    }
    match order {
        MachineSetDeletionOrder::Random => ANY,
        MachineSetDeletionOrder::Oldest => age(machine, now),
        MachineSetDeletionOrder::Newest => UNHEALTHY - age(machine, now),
    }
}

/// Grows with age from 0 to 50.
fn age(machine: &Machine, now: Timestamp) -> f64 {
    let created = machine.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let seconds = elapsed(created, now).as_secs_f64().max(0.0);
    UNHEALTHY * (1.0 - (-seconds / TEN_DAYS).exp())
}

fn is_healthy(machine: &Machine) -> bool {
    machine.status.as_ref().is_some_and(|s| s.node_ref.is_some())
        && !conditions::is_false(machine, types::NODE_HEALTHY)
        && !conditions::is_false(machine, types::HEALTH_CHECK_SUCCEEDED)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(name: &str, created: &str, metadata: serde_json::Value, has_node: bool) -> Arc<Machine> {
        let mut value = json!({"metadata": metadata, "spec": {"clusterName": "c", "bootstrap": {},
            "infrastructureRef": {"apiGroup": "g", "kind": "K", "name": "n"}}});
        value["metadata"]["name"] = name.into();
        value["metadata"]["creationTimestamp"] = created.into();
        if has_node {
            value["status"] = json!({"nodeRef": {"name": "n"}});
        }
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn deleting_marked_and_unhealthy_machines_go_first_then_by_order() {
        let old = machine("old", "2026-01-01T00:00:00Z", json!({}), true);
        let new = machine("new", "2026-01-09T00:00:00Z", json!({}), true);
        let sick = machine("sick", "2026-01-05T00:00:00Z", json!({}), false);
        let marked = machine(
            "marked",
            "2026-01-05T00:00:00Z",
            json!({"annotations": {annotations::DELETE_MACHINE: ""}}),
            true,
        );
        let going = machine(
            "going",
            "2026-01-05T00:00:00Z",
            json!({"deletionTimestamp": "2026-01-09T00:00:00Z"}),
            true,
        );
        let all = [new, old, sick, marked, going];
        let now = "2026-01-10T00:00:00Z".parse().unwrap();
        let names = |order, count| -> Vec<String> {
            first(&all, count, order, now)
                .iter()
                .map(|m| m.name_any())
                .collect()
        };
        assert_eq!(
            names(MachineSetDeletionOrder::Oldest, 5),
            ["going", "marked", "sick", "old", "new"]
        );
        assert_eq!(
            names(MachineSetDeletionOrder::Newest, 5),
            ["going", "marked", "sick", "new", "old"]
        );
        assert_eq!(
            names(MachineSetDeletionOrder::Random, 5),
            ["going", "marked", "sick", "new", "old"]
        );
        assert_eq!(names(MachineSetDeletionOrder::Random, 2), ["going", "marked"]);
    }
}

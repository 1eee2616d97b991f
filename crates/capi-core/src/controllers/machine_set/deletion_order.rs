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
    use proptest::prelude::*;
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

    fn any_machine() -> impl Strategy<Value = (u8, u8, bool)> {
        (0..4_u8, 0..28_u8, any::<bool>())
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_how_machines_are_listed_and_bad_ones_always_go_first(
            kinds in prop::collection::vec(any_machine(), 0..12),
            count in 0..12_usize,
            newest in any::<bool>(),
            shift in any::<prop::sample::Index>(),
        ) {
            let all: Vec<Arc<Machine>> = kinds.iter().enumerate().map(|(index, (kind, day, node))| {
                let metadata = match kind {
                    0 => json!({"deletionTimestamp": "2026-02-01T00:00:00Z"}),
                    1 => json!({"annotations": {annotations::DELETE_MACHINE: ""}}),
                    _ => json!({}),
                };
                machine(&format!("m{index}"), &format!("2026-01-{:02}T00:00:00Z", day + 1), metadata, *node)
            }).collect();
            let order = if newest { MachineSetDeletionOrder::Newest } else { MachineSetDeletionOrder::Oldest };
            let now = "2026-02-02T00:00:00Z".parse().unwrap();
            let names = |machines: &[Arc<Machine>], count: usize| -> Vec<String> {
                first(machines, count, order, now).iter().map(|m| m.name_any()).collect()
            };
            let chosen = names(&all, count);
            prop_assert_eq!(chosen.len(), count.min(all.len()));
            let mut shifted = all.clone();
            if !shifted.is_empty() {
                let by = shift.index(shifted.len());
                shifted.rotate_left(by);
            }
            prop_assert_eq!(&names(&shifted, count), &chosen);
            prop_assert_eq!(&names(&all, all.len())[..chosen.len()], &chosen[..]);
            let class = |name: &String| {
                let machine = all.iter().find(|m| m.name_any() == *name).unwrap();
                match machine {
                    m if machines::is_deleting(m) => 0,
                    m if m.annotations().contains_key(annotations::DELETE_MACHINE) => 1,
                    m => 2 + i32::from(is_healthy(m)),
                }
            };
            let classes: Vec<_> = names(&all, all.len()).iter().map(class).collect();
            prop_assert!(classes.is_sorted(), "{:?}", classes);
        }
    }
}

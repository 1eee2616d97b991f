//! Counters and conditions of a MachineSet.

use capi_api::{
    conditions::{
        self, Draft, reasons, types,
        v1beta1::{self, Severity, V1Beta1ConditionsAccess},
    },
    core::v1beta2::{Machine, MachineSet, MachineSetStatus},
};
use capi_runtime::{Next, Urgency};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    observe::{World, is_template},
    plan::Blocked,
};
use crate::{
    machines::{self, count, status_versions},
    plan::after_seconds,
    selector,
};

const OLD_MACHINES_CREATED: &str = "MachinesCreated";
const OLD_RESIZED: &str = "Resized";
const OLD_MACHINES_READY: &str = "MachinesReady";

/// Sets counters and conditions; `blocked` says why Machines cannot be created. Returns when time alone will change
/// something.
pub fn set_all(world: &World, blocked: &Blocked, set: &mut MachineSet, now: Timestamp) -> Next {
    crate::pause::runs(set, now);
    let counters = count(&world.machines);
    let status = status(set);
    status.replicas = Some(counters.replicas);
    status.ready_replicas = Some(counters.ready);
    status.available_replicas = Some(counters.available);
    status.up_to_date_replicas = Some(counters.up_to_date);
    status.versions = status_versions(&world.machines);
    let text = selector::text(&set.spec.selector);
    self::status(set).selector = Some(text).filter(|t| !t.is_empty());

    let all: Vec<&Machine> = world.machines.iter().map(|m| &**m).collect();
    let (stale, mut next) = machines::stale_deletions(&all, now);
    conditions::set(set, scaling_up(world, set, &blocked.causes), now);
    conditions::set(set, scaling_down(world, set, stale.as_deref()), now);
    conditions::set(set, machines::machines_ready(&all, types::MACHINES_READY), now);
    let (draft, of_age) = machines::machines_up_to_date(&all, types::MACHINES_UP_TO_DATE, now);
    conditions::set(set, draft, now);
    next = next.earliest(of_age);
    conditions::set(set, machines::remediating(&all, " by MachineSet"), now);
    conditions::set(set, deleting(world, stale.as_deref()), now);
    old(world, set, blocked, now);
    next
}

/// How soon a changed status is to be written: rollouts go by the numbers, and people wait for all of them to be there.
pub fn urgency(before: &MachineSet, after: &MachineSet) -> Urgency {
    let numbers = |set: &MachineSet| {
        let status = set.status.as_ref();
        status.map(|s| (s.replicas, s.available_replicas, s.up_to_date_replicas))
    };
    let wanted = after.spec.replicas;
    let complete = numbers(after).is_some_and(|(all, available, _)| all == wanted && available == wanted);
    let usable = |set: &MachineSet| numbers(set).map(|(_, available, fitting)| (available, fitting));
    let seen = |set: &MachineSet| set.status.as_ref().and_then(|s| s.observed_generation);
    let paused = |set: &MachineSet| conditions::is_true(set, types::PAUSED);
    let scaling = |set: &MachineSet| conditions::is_true(set, types::SCALING_UP);
    // The names of new Machines follow from it: a Machine that replaces another must not take its name after a restart.
    let replacing = seen(before) == seen(after) && scaling(after) && !scaling(before);
    Urgency::first(
        paused(before) != paused(after) || replacing || (complete && numbers(before) != numbers(after)),
        after.metadata.deletion_timestamp.is_some()
            || usable(before) != usable(after)
            || seen(before) != seen(after),
    )
}

fn status(set: &mut MachineSet) -> &mut MachineSetStatus {
    set.status.get_or_insert_default()
}

fn wanted(world: &World, set: &MachineSet) -> Option<i32> {
    set.spec
        .replicas
        .map(|replicas| if world.is_deleting() { 0 } else { replicas })
}

/// The kinds of templates that do not exist, the bootstrap template first.
pub fn missing_templates(world: &World) -> Vec<String> {
    let spec = &world.set.spec.template.spec;
    let bootstrap = spec.bootstrap.config_ref.as_ref();
    [
        (&world.bootstrap_template, bootstrap),
        (&world.infrastructure_template, Some(&spec.infrastructure_ref)),
    ]
    .into_iter()
    .filter(|(foreign, _)| foreign.is_missing())
    .filter_map(|(_, reference)| reference.filter(|r| is_template(r)).map(|r| r.kind.clone()))
    .collect()
}

/// `A does not exist`, `A and B do not exist`.
pub fn missing_text(kinds: &[String]) -> Option<String> {
    match kinds {
        [] => None,
        [one] => Some(format!("{one} does not exist")),
        several => Some(format!("{} do not exist", several.join(" and "))),
    }
}

fn scaling_up(world: &World, set: &MachineSet, blocked: &[String]) -> Draft {
    let there = world.machines.len() as i32;
    let Some(wanted) = wanted(world, set) else {
        return waiting_for_replicas(types::SCALING_UP);
    };
    let missing = missing_text(&missing_templates(world));
    if there >= wanted {
        let message = match missing.filter(|_| !world.is_deleting()) {
            Some(missing) => format!("Scaling up would be blocked because {missing}"),
            None => String::new(),
        };
        return Draft::is_false(types::SCALING_UP, reasons::NOT_SCALING_UP, message);
    }
    let causes: Vec<String> = blocked.iter().cloned().chain(missing).collect();
    Draft::is_true(
        types::SCALING_UP,
        reasons::SCALING_UP,
        scaling_up_text(there, wanted, &causes),
    )
}

/// The message of `ScalingUp` with what blocks it.
pub fn scaling_up_text(there: i32, wanted: i32, causes: &[String]) -> String {
    let mut message = format!("Scaling up from {there} to {wanted} replicas");
    if !causes.is_empty() {
        let lines: Vec<String> = causes.iter().map(|c| format!("* {c}")).collect();
        message.push_str(&format!(" is blocked because:\n{}", lines.join("\n")));
    }
    message
}

fn waiting_for_replicas(type_: &str) -> Draft {
    Draft::is_unknown(
        type_,
        reasons::WAITING_FOR_REPLICAS_SET,
        "Waiting for spec.replicas set",
    )
}

fn scaling_down(world: &World, set: &MachineSet, stale: Option<&str>) -> Draft {
    let Some(wanted) = wanted(world, set) else {
        return waiting_for_replicas(types::SCALING_DOWN);
    };
    let pending = capi_api::annotations::PENDING_ACKNOWLEDGE_MOVE;
    let there = world
        .machines
        .iter()
        .filter(|m| !m.annotations().contains_key(pending))
        .count() as i32;
    if there <= wanted {
        return Draft::is_false(types::SCALING_DOWN, reasons::NOT_SCALING_DOWN, "");
    }
    let mut message = format!("Scaling down from {there} to {wanted} replicas");
    if let Some(stale) = stale {
        message.push_str(&format!("\n* {stale}"));
    }
    Draft::is_true(types::SCALING_DOWN, reasons::SCALING_DOWN, message)
}

fn deleting(world: &World, stale: Option<&str>) -> Draft {
    if !world.is_deleting() {
        return Draft::is_false(types::DELETING, reasons::NOT_DELETING, "");
    }
    let mut message = match world.machines.len() {
        0 => "Deletion completed".to_owned(),
        1 => "Deleting 1 Machine".to_owned(),
        n => format!("Deleting {n} Machines"),
    };
    if let Some(stale) = stale {
        message.push_str(&format!("\n* {stale}"));
    }
    Draft::is_true(types::DELETING, reasons::DELETING, message)
}

/// The older conditions and counters.
fn old(world: &World, set: &mut MachineSet, blocked: &Blocked, now: Timestamp) {
    let template = set.spec.template.metadata.clone().unwrap_or_default().labels;
    let labelled = |m: &Machine| template.iter().all(|(k, v)| m.labels().get(k) == Some(v));
    let min_ready = i64::from(set.spec.template.spec.min_ready_seconds.unwrap_or(0));
    let node_ready = |m: &Machine| {
        conditions::get(m, types::NODE_READY)
            .filter(|c| c.status == "True")
            .map(|c| c.last_transition_time.0)
    };
    let fully_labeled = world.machines.iter().filter(|m| labelled(m)).count() as i32;
    let ready = world.machines.iter().filter(|m| node_ready(m).is_some()).count() as i32;
    let available = world
        .machines
        .iter()
        .filter(|m| node_ready(m).is_some_and(|since| after_seconds(since, min_ready) <= now))
        .count() as i32;
    let counters = status(set)
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    counters.fully_labeled_replicas = Some(fully_labeled);
    counters.ready_replicas = Some(ready);
    counters.available_replicas = Some(available);

    let there = world.machines.len() as i32;
    let wanted = wanted(world, set).unwrap_or(there);
    let resized = |reason, direction: &str| {
        let message = format!("Scaling {direction} MachineSet to {wanted} replicas (actual {there})");
        v1beta1::is_false(OLD_RESIZED, reason, Severity::Warning, message)
    };
    if there < wanted {
        v1beta1::set(set, resized("ScalingUp", "up"), now);
    } else if there > wanted {
        v1beta1::set(set, resized("ScalingDown", "down"), now);
    } else if ready == there {
        v1beta1::set(set, v1beta1::is_true(OLD_RESIZED), now);
    }
    if !blocked.causes.is_empty() {
        old_creation_failed(set, blocked.reason, &blocked.causes.join("; "), now);
    } else if there >= wanted {
        v1beta1::set(set, v1beta1::is_true(OLD_MACHINES_CREATED), now);
    }
    let names: Vec<String> = world
        .machines
        .iter()
        .map(|m| format!("Machine/{}", m.name_any()))
        .collect();
    let children: Vec<_> = names
        .iter()
        .zip(&world.machines)
        .map(|(name, m)| (name.as_str(), v1beta1::get(&**m, v1beta1::READY)))
        .collect();
    match v1beta1::aggregate(&children, OLD_MACHINES_READY) {
        Some(aggregate) => v1beta1::set(set, aggregate, now),
        None if children.is_empty() => v1beta1::set(set, v1beta1::is_true(OLD_MACHINES_READY), now),
        None => false,
    };
    old_summary(set, now);
}

/// The older condition about a creation that failed.
pub fn old_creation_failed(set: &mut MachineSet, reason: &str, cause: &str, now: Timestamp) {
    v1beta1::set(
        set,
        v1beta1::is_false(OLD_MACHINES_CREATED, reason, Severity::Error, cause),
        now,
    );
}

/// The older `Ready`.
pub fn old_summary(set: &mut MachineSet, now: Timestamp) {
    let parts = [OLD_MACHINES_CREATED, OLD_RESIZED, OLD_MACHINES_READY];
    if let Some(summary) = v1beta1::summary(set.v1beta1_conditions(), &parts, None) {
        v1beta1::set(set, summary, now);
    }
}

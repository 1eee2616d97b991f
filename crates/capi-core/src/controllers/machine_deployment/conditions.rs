//! Counters, phase and conditions of a MachineDeployment.

use std::collections::BTreeSet;

use capi_api::{
    conditions::{
        self, Draft, get, reasons, types,
        v1beta1::{self, Severity, V1Beta1ConditionsAccess},
    },
    core::v1beta2::{
        Machine, MachineDeployment, MachineDeploymentPhase, MachineDeploymentStatus, MachineSet,
    },
};
use capi_runtime::{Next, Urgency};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{desired::Sorted, observe::World, plan::wanted};
use crate::{
    controllers::machine_set::{conditions::missing_text, observe::is_template},
    foreign::Foreign,
    machines::{self, aggregate_versions},
    selector,
};

const OLD_AVAILABLE: &str = "Available";
const OLD_MACHINE_SET_READY: &str = "MachineSetReady";

/// Sets counters, phase and conditions; returns when time alone will change something.
pub fn set_all(world: &World, sorted: &Sorted, deployment: &mut MachineDeployment, now: Timestamp) -> Next {
    crate::pause::runs(deployment, now);
    counters(world, deployment);
    phase(world, deployment);
    let all: Vec<&Machine> = world.machines.iter().map(|m| &**m).collect();
    let (stale, mut next) = machines::stale_deletions(&all, now);
    conditions::set(deployment, available(world, deployment), now);
    conditions::set(deployment, rolling_out(&all), now);
    conditions::set(deployment, scaling_up(world, deployment), now);
    conditions::set(deployment, scaling_down(world, deployment, stale.as_deref()), now);
    conditions::set(
        deployment,
        machines::machines_ready(&all, types::MACHINES_READY),
        now,
    );
    let (draft, of_age) = machines::machines_up_to_date(&all, types::MACHINES_UP_TO_DATE, now);
    conditions::set(deployment, draft, now);
    next = next.earliest(of_age);
    conditions::set(
        deployment,
        machines::remediating(&all, " by MachineDeployment/MachineSet"),
        now,
    );
    conditions::set(deployment, deleting(world, stale.as_deref()), now);
    old(world, sorted, deployment, now);
    next
}

/// How soon a changed status is to be written: people wait for the MachineDeployment to be available and complete.
pub fn urgency(before: &MachineDeployment, after: &MachineDeployment) -> Urgency {
    let is_true = |deployment: &MachineDeployment| {
        [types::AVAILABLE, types::PAUSED].map(|type_| conditions::is_true(deployment, type_))
    };
    let numbers = |deployment: &MachineDeployment| {
        let status = deployment.status.as_ref();
        status.map(|s| (s.replicas, s.available_replicas, s.up_to_date_replicas))
    };
    let wanted = after.spec.replicas;
    let complete = numbers(after) == Some((wanted, wanted, wanted));
    let seen =
        |deployment: &MachineDeployment| deployment.status.as_ref().and_then(|s| s.observed_generation);
    Urgency::first(
        is_true(before) != is_true(after) || (complete && numbers(before) != numbers(after)),
        after.metadata.deletion_timestamp.is_some() || seen(before) != seen(after),
    )
}

fn status(deployment: &mut MachineDeployment) -> &mut MachineDeploymentStatus {
    deployment.status.get_or_insert_default()
}

fn sum(world: &World, of: impl Fn(&MachineSet) -> Option<i32>) -> i32 {
    world.sets.iter().filter_map(|set| of(set)).sum()
}

fn actual(world: &World) -> i32 {
    sum(world, |set| set.status.as_ref()?.replicas)
}

fn counters(world: &World, deployment: &mut MachineDeployment) {
    let versions = world
        .sets
        .iter()
        .filter_map(|set| set.status.as_ref())
        .flat_map(|s| s.versions.clone());
    let versions = aggregate_versions(versions);
    let text = selector::text(&deployment.spec.selector);
    let status = status(deployment);
    status.selector = Some(text).filter(|t| !t.is_empty());
    status.replicas = Some(actual(world));
    status.ready_replicas = Some(sum(world, |set| set.status.as_ref()?.ready_replicas));
    status.available_replicas = Some(sum(world, |set| set.status.as_ref()?.available_replicas));
    status.up_to_date_replicas = Some(sum(world, |set| set.status.as_ref()?.up_to_date_replicas));
    status.versions = versions;
}

fn phase(world: &World, deployment: &mut MachineDeployment) {
    let there = actual(world);
    let phase = match deployment.spec.replicas {
        None => MachineDeploymentPhase::Unknown,
        Some(_) if world.is_deleting() => MachineDeploymentPhase::ScalingDown,
        Some(wanted) if wanted > there => MachineDeploymentPhase::ScalingUp,
        Some(wanted) if wanted < there => MachineDeploymentPhase::ScalingDown,
        Some(_) => MachineDeploymentPhase::Running,
    };
    status(deployment).phase = Some(phase);
}

fn waiting_for_replicas(type_: &str) -> Draft {
    Draft::is_unknown(
        type_,
        reasons::WAITING_FOR_REPLICAS_SET,
        "Waiting for spec.replicas set",
    )
}

fn available(world: &World, deployment: &MachineDeployment) -> Draft {
    let type_ = types::AVAILABLE;
    let Some(replicas) = deployment.spec.replicas else {
        return waiting_for_replicas(type_);
    };
    let available = deployment
        .status
        .as_ref()
        .and_then(|s| s.available_replicas)
        .unwrap_or(0);
    let limits = wanted(deployment);
    let required = replicas - limits.max_unavailable;
    if available >= required && !world.is_deleting() {
        return Draft::is_true(type_, reasons::AVAILABLE, "");
    }
    if world.is_deleting() {
        return match available >= required {
            true => Draft::is_true(type_, reasons::AVAILABLE, ""),
            false => Draft::is_false(type_, reasons::NOT_AVAILABLE, "Deletion in progress"),
        };
    }
    let mut message = format!("{available} available replicas, at least {required} required");
    let strategy = deployment.spec.rollout.as_ref().and_then(|r| r.strategy.as_ref());
    if let Some(rolling) = strategy.and_then(|s| s.rolling_update.as_ref()) {
        let unavailable = match &rolling.max_unavailable {
            Some(IntOrString::Int(n)) => n.to_string(),
            Some(IntOrString::String(text)) => text.clone(),
            None => "0".to_owned(),
        };
        message.push_str(&format!(
            " (spec.strategy.rollout.maxUnavailable is {unavailable}, spec.replicas is {replicas})"
        ));
    }
    Draft::is_false(type_, reasons::NOT_AVAILABLE, message)
}

fn rolling_out(machines: &[&Machine]) -> Draft {
    let outdated: Vec<_> = machines
        .iter()
        .filter_map(|m| get(*m, types::UP_TO_DATE))
        .filter(|c| c.status == "False")
        .collect();
    if outdated.is_empty() {
        return Draft::is_false(types::ROLLING_OUT, reasons::NOT_ROLLING_OUT, "");
    }
    let lines: BTreeSet<&str> = outdated.iter().flat_map(|c| c.message.lines()).collect();
    let mut lines: Vec<&str> = lines.into_iter().collect();
    lines.sort_by_key(|line| (!line.starts_with("* Version"), *line));
    let mut message = format!("Rolling out {} not up-to-date replicas", outdated.len());
    for line in lines {
        message.push('\n');
        message.push_str(line);
    }
    Draft::is_true(types::ROLLING_OUT, reasons::ROLLING_OUT, message)
}

fn missing(world: &World) -> Option<String> {
    let spec = &world.deployment.spec.template.spec;
    let bootstrap = spec.bootstrap.config_ref.as_ref();
    let kinds: Vec<String> = [
        (&world.bootstrap_template, bootstrap),
        (&world.infrastructure_template, Some(&spec.infrastructure_ref)),
    ]
    .into_iter()
    .filter(|(foreign, _)| foreign.is_missing())
    .filter_map(|(_, reference)| reference.filter(|r| is_template(r)).map(|r| r.kind.clone()))
    .collect();
    missing_text(&kinds).or_else(|| unserved(world))
}

/// Why a template cannot be looked for: nobody serves its kind.
fn unserved(world: &World) -> Option<String> {
    let templates = [&world.bootstrap_template, &world.infrastructure_template];
    templates.into_iter().find_map(|template| match template {
        Foreign::Unreadable(why) if why.contains("CustomResourceDefinition") => Some(why.clone()),
        _ => None,
    })
}

fn scaling_up(world: &World, deployment: &MachineDeployment) -> Draft {
    let Some(replicas) = deployment.spec.replicas else {
        return waiting_for_replicas(types::SCALING_UP);
    };
    let wanted = if world.is_deleting() { 0 } else { replicas };
    let there = actual(world);
    let missing = missing(world);
    if there >= wanted {
        let message = match missing.filter(|_| !world.is_deleting()) {
            Some(missing) => format!("Scaling up would be blocked because {missing}"),
            None => String::new(),
        };
        return Draft::is_false(types::SCALING_UP, reasons::NOT_SCALING_UP, message);
    }
    let mut message = format!("Scaling up from {there} to {wanted} replicas");
    if let Some(missing) = missing {
        message.push_str(&format!(" is blocked because {missing}"));
    }
    Draft::is_true(types::SCALING_UP, reasons::SCALING_UP, message)
}

fn scaling_down(world: &World, deployment: &MachineDeployment, stale: Option<&str>) -> Draft {
    let Some(replicas) = deployment.spec.replicas else {
        return waiting_for_replicas(types::SCALING_DOWN);
    };
    let wanted = if world.is_deleting() { 0 } else { replicas };
    let there = actual(world);
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
    let mut message = match (world.machines.len(), world.sets.len()) {
        (0, 0) => "Deletion completed".to_owned(),
        (0, 1) => "Deleting 1 MachineSets".to_owned(),
        (0, n) => format!("Deleting {n} MachineSets"),
        (1, _) => "Deleting 1 Machine".to_owned(),
        (n, _) => format!("Deleting {n} Machines"),
    };
    if let Some(stale) = stale {
        message.push_str(&format!("\n* {stale}"));
    }
    Draft::is_true(types::DELETING, reasons::DELETING, message)
}

/// The older conditions and counters.
fn old(world: &World, sorted: &Sorted, deployment: &mut MachineDeployment, now: Timestamp) {
    let of = |set: &MachineSet| set.status.clone()?.deprecated?.v1beta1;
    let available = sum(world, |set| of(set)?.available_replicas);
    let ready = sum(world, |set| of(set)?.ready_replicas);
    let total = sum(world, |set| set.spec.replicas);
    let updated = sorted
        .current
        .as_ref()
        .and_then(|set| set.status.as_ref()?.replicas)
        .unwrap_or(0);
    let counters = status(deployment)
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    counters.updated_replicas = Some(updated);
    counters.ready_replicas = Some(ready);
    counters.available_replicas = Some(available);
    counters.unavailable_replicas = Some((total - available).max(0));

    let required = deployment.spec.replicas.unwrap_or(0) - wanted(deployment).max_unavailable;
    let condition = match available >= required {
        true => v1beta1::is_true(OLD_AVAILABLE),
        false => {
            let current = deployment
                .status
                .as_ref()
                .and_then(|s| s.available_replicas)
                .unwrap_or(0);
            let message =
                format!("Minimum availability requires {required} replicas, current {current} available");
            v1beta1::is_false(
                OLD_AVAILABLE,
                "WaitingForAvailableMachines",
                Severity::Warning,
                message,
            )
        }
    };
    v1beta1::set(deployment, condition, now);
    let waiting = |message: &str| {
        v1beta1::is_false(
            OLD_MACHINE_SET_READY,
            "WaitingForMachineSet",
            Severity::Info,
            message,
        )
    };
    let condition = match &sorted.current {
        None => waiting("MachineSet not found"),
        Some(set) => v1beta1::mirror(
            v1beta1::get(&**set, v1beta1::READY),
            OLD_MACHINE_SET_READY,
            false,
            || waiting(""),
        ),
    };
    v1beta1::set(deployment, condition, now);
    if let Some(summary) = v1beta1::summary(deployment.v1beta1_conditions(), &[OLD_AVAILABLE], None) {
        v1beta1::set(deployment, summary, now);
    }
}

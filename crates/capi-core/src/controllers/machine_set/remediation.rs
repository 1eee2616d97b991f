//! Which unhealthy Machines a MachineSet replaces, and what it says about those that have to wait. Pure.
//!
//! A Machine is remediated by being deleted: the MachineSet then creates another. Who finds that a Machine is unhealthy
//! has said so in its conditions before.

use std::{cmp::Reverse, sync::Arc};

use capi_api::{
    annotations,
    conditions::{
        self, Draft, get, is_false, is_true, reasons, types,
        v1beta1::{self, Severity, V1Beta1Condition},
    },
    core::v1beta2::{Machine, MachineSet},
    labels,
};
use capi_runtime::Event;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{observe::World, plan::Action};
use crate::{controllers::machine_deployment::planner::scaled, machines, plan::Step};

/// What is done about unhealthy Machines.
#[derive(Clone, Debug, Default)]
pub struct Remediation {
    /// In this order: a Machine is marked before it is deleted, so that an interruption in between loses nothing.
    pub steps: Vec<Step<Action>>,
    /// To be told about the MachineSet.
    pub events: Vec<Event>,
}

/// How many remediations of the MachineSet's MachineDeployment (or of itself) are under way: the Machine is marked and
/// being deleted.
pub fn in_flight(set: &MachineSet, in_namespace: &[Arc<Machine>], own: &[Arc<Machine>]) -> usize {
    let deployment = set.labels().get(labels::DEPLOYMENT_NAME);
    let under_way = |machine: &Machine| {
        machines::is_deleting(machine)
            && get(machine, types::OWNER_REMEDIATED)
                .is_some_and(|c| c.status == "False" && c.reason == reasons::MACHINE_DELETING)
    };
    match deployment {
        None => own.iter().filter(|m| under_way(m)).count(),
        Some(name) => in_namespace
            .iter()
            .filter(|m| m.labels().get(labels::DEPLOYMENT_NAME) == Some(name))
            .filter(|m| m.spec.cluster_name == set.spec.cluster_name && under_way(m))
            .count(),
    }
}

/// Plans the remediation of a MachineSet's Machines. `held` says what the preflight checks have against new Machines.
pub fn plan(world: &World, held: &[String], now: Timestamp) -> Remediation {
    let mut remediation = Remediation::default();
    let own: Vec<&Arc<Machine>> = world
        .machines
        .iter()
        .filter(|m| !machines::is_deleting(m))
        .collect();
    for machine in &own {
        forget_healed(machine, &mut remediation);
    }
    let mut sick: Vec<Arc<Machine>> = own
        .into_iter()
        .filter(|m| machines::is_to_be_remediated(m))
        .cloned()
        .collect();
    if sick.is_empty() {
        return remediation;
    }
    sort(&mut sick);
    let mut budget = sick.len();
    if world.set.labels().contains_key(labels::DEPLOYMENT_NAME) {
        let Some(deployment) = &world.deployment else {
            let text = "Waiting for the MachineDeployment of this MachineSet to exist";
            mark_all(&sick, &deferred(text), None, now, &mut remediation);
            return remediation;
        };
        let revision =
            |all: &std::collections::BTreeMap<String, String>| all.get(annotations::REVISION).cloned();
        if revision(deployment.annotations()) != revision(world.set.annotations()) {
            let draft = Draft::is_false(
                types::OWNER_REMEDIATED,
                reasons::CANNOT_BE_REMEDIATED,
                "Machine won't be remediated because it is pending removal due to rollout",
            );
            mark_all(&sick, &draft, None, now, &mut remediation);
            return remediation;
        }
        let limit = deployment
            .spec
            .remediation
            .as_ref()
            .and_then(|r| r.max_in_flight.as_ref());
        if let Some(limit) = limit {
            let replicas = deployment.spec.replicas.unwrap_or(1);
            let most = usize::try_from(scaled(Some(limit), replicas, 0, true)).unwrap_or(0);
            budget = most.saturating_sub(world.remediations_in_flight).min(sick.len());
            let text = format!(
                "Waiting because there are already too many remediations in progress \
                 (spec.strategy.remediation.maxInFlight is {})",
                shown(limit)
            );
            mark_all(&sick[budget..], &deferred(&text), None, now, &mut remediation);
        }
    }
    sick.truncate(budget);
    if !held.is_empty() && !sick.is_empty() {
        let lines: Vec<String> = held.iter().map(|line| format!("* {line}")).collect();
        let old = v1beta1::is_false(
            types::OWNER_REMEDIATED,
            reasons::WAITING_FOR_REMEDIATION,
            Severity::Warning,
            held.join("; "),
        );
        mark_all(
            &sick,
            &deferred(&lines.join("\n")),
            Some(&old),
            now,
            &mut remediation,
        );
        return remediation;
    }
    delete(world, &sick, now, &mut remediation);
    remediation
}

/// A Machine that recovered before it was remediated is not to be remediated any more.
fn forget_healed(machine: &Arc<Machine>, remediation: &mut Remediation) {
    let healed =
        is_true(&**machine, types::HEALTH_CHECK_SUCCEEDED) && is_false(&**machine, types::OWNER_REMEDIATED);
    let old = |type_: &str| v1beta1::get(&**machine, type_).map(|c| c.status.as_str());
    let old_healed =
        old(types::HEALTH_CHECK_SUCCEEDED) == Some("True") && old(types::OWNER_REMEDIATED) == Some("False");
    if !healed && !old_healed {
        return;
    }
    let mut after = (**machine).clone();
    if healed {
        conditions::remove(&mut after, types::OWNER_REMEDIATED);
    }
    if old_healed {
        v1beta1::remove(&mut after, types::OWNER_REMEDIATED);
    }
    let why = format!("Machine {} is healthy again", machine.name_any());
    remediation
        .steps
        .push(Step::new(Action::Change(machine.clone(), Box::new(after)), why));
}

/// Those that were named by an annotation first, then the newest: they are the least likely to carry workload.
fn sort(machines: &mut [Arc<Machine>]) {
    machines.sort_by_cached_key(|machine| {
        let named = machine.annotations().contains_key(annotations::REMEDIATE_MACHINE);
        let created = machine.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (!named, Reverse(created), machine.name_any())
    });
}

fn deferred(message: &str) -> Draft {
    Draft::is_false(types::OWNER_REMEDIATED, reasons::REMEDIATION_DEFERRED, message)
}

fn mark_all(
    machines: &[Arc<Machine>],
    draft: &Draft,
    old: Option<&V1Beta1Condition>,
    now: Timestamp,
    remediation: &mut Remediation,
) {
    for machine in machines {
        let mut after = (**machine).clone();
        conditions::set(&mut after, draft.clone(), now);
        if let Some(old) = old {
            v1beta1::set(&mut after, old.clone(), now);
        }
        if after != **machine {
            let why = format!("Machine {} is unhealthy: {}", machine.name_any(), draft.reason);
            remediation
                .steps
                .push(Step::new(Action::Change(machine.clone(), Box::new(after)), why));
        }
    }
}

fn delete(world: &World, machines: &[Arc<Machine>], now: Timestamp, remediation: &mut Remediation) {
    let draft = Draft::is_false(
        types::OWNER_REMEDIATED,
        reasons::MACHINE_DELETING,
        "Machine is deleting",
    );
    let old = v1beta1::is_true(types::OWNER_REMEDIATED);
    for machine in machines {
        mark_all(
            std::slice::from_ref(machine),
            &draft,
            Some(&old),
            now,
            remediation,
        );
        let name = machine.name_any();
        let why = format!(
            "MachineSet {} replaces unhealthy Machine {name}",
            world.set.name_any()
        );
        remediation
            .steps
            .push(Step::new(Action::Delete(machine.clone()), why));
        remediation.events.push(Event::normal(
            "SuccessfulDelete",
            format!("Deleted unhealthy Machine {name:?}"),
        ));
    }
}

fn shown(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

#[cfg(test)]
#[path = "remediation_tests.rs"]
mod tests;

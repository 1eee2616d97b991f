//! What to do about a MachineDeployment, and what to say about it. Pure.

use std::sync::Arc;

use capi_api::{
    annotations,
    core::v1beta2::{MachineDeployment, MachineDeploymentRolloutStrategyType, MachineSet},
    finalizers,
};
use capi_runtime::{Event, Next, meta};
use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    conditions,
    desired::{self, Sorted},
    observe::World,
    planner::{self, Intents, Wanted},
};
use crate::{
    controllers::{cluster::plan::label_cluster, machine_set::plan::claim_template},
    foreign::Found,
    plan::{Step, foresee_generation, look_at},
    propagate::{Known, judge},
    webhooks,
};

/// Something a MachineDeployment's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes a template belong to the Cluster.
    ClaimTemplate(Found, Box<DynamicObject>),
    /// Creates a MachineSet.
    Create(Box<MachineSet>),
    /// Brings a MachineSet up to date; the hash of what it follows is to be remembered.
    Change(Box<MachineSet>, String),
    /// Deletes a MachineSet.
    Delete(Arc<MachineSet>),
}

/// Everything a reconcile will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step<Action>>,
    /// The MachineDeployment as it should be.
    pub deployment: MachineDeployment,
    /// Nothing is left to wait for: the finalizer goes.
    pub finish: bool,
    /// To be told once the MachineDeployment is written.
    pub events: Vec<Event>,
    /// When to look again without an event.
    pub next: Next,
    /// What MachineSets follow already.
    pub settled: Known,
}

/// Plans a reconcile.
pub fn plan(world: &World, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        deployment: (*world.deployment).clone(),
        finish: false,
        events: Vec::new(),
        next: Next::Done,
        settled: Known::new(),
    };
    webhooks::machine_deployment::default_in_place(&mut plan.deployment);
    let cluster = plan.deployment.spec.cluster_name.clone();
    label_cluster(&mut plan.deployment, &cluster);
    meta::ensure_owner(
        &mut plan.deployment.metadata,
        meta::owner_reference(&*world.cluster),
    );
    for foreign in [&world.bootstrap_template, &world.infrastructure_template] {
        if let Some((found, object, why)) = claim_template(&world.cluster, foreign) {
            plan.steps
                .push(Step::new(Action::ClaimTemplate(found, object), why));
        }
    }
    let sorted = desired::sort_out(&plan.deployment, &world.sets, now);
    if world.is_deleting() {
        delete_all(world, &mut plan);
    } else if plan.deployment.spec.replicas.is_some() {
        roll_out(world, &sorted, &mut plan, now);
    }
    let changed = plan.deployment.spec != world.deployment.spec;
    foresee_generation(&mut plan.deployment.metadata, changed);
    plan.next = plan
        .next
        .earliest(conditions::set_all(world, &sorted, &mut plan.deployment, now));
    if !world.is_deleting() {
        clean_up(&sorted, &mut plan);
    }
    if world.is_readable() {
        let generation = plan.deployment.metadata.generation;
        plan.deployment.status.get_or_insert_default().observed_generation = generation;
    }
    plan.finish = world.is_deleting()
        && world.sets.is_empty()
        && meta::has_finalizer(&world.deployment.metadata, finalizers::MACHINE_DEPLOYMENT);
    plan
}

/// The limits of the MachineDeployment's rollouts.
pub fn wanted(deployment: &MachineDeployment) -> Wanted {
    let replicas = deployment.spec.replicas.unwrap_or(0);
    let strategy = deployment.spec.rollout.as_ref().and_then(|r| r.strategy.as_ref());
    match desired::strategy(deployment) {
        MachineDeploymentRolloutStrategyType::OnDelete => Wanted::exact(replicas),
        MachineDeploymentRolloutStrategyType::RollingUpdate => {
            let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
            let (surge, unavailable) = rolling.map_or((None, None), |r| {
                (r.max_surge.as_ref(), r.max_unavailable.as_ref())
            });
            Wanted::rolling(replicas, surge, unavailable)
        }
    }
}

fn numbers(set: &MachineSet) -> planner::Set {
    let status = set.status.clone().unwrap_or_default();
    planner::Set {
        name: set.name_any(),
        created: set
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MAX, |t| t.0),
        spec: set.spec.replicas.unwrap_or(0),
        actual: status.replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        max_replicas: set
            .annotations()
            .get(annotations::MAX_REPLICAS)
            .and_then(|m| m.parse().ok()),
    }
}

/// Creates, scales and updates MachineSets.
fn roll_out(world: &World, sorted: &Sorted, plan: &mut Plan, now: Timestamp) {
    let deployment = plan.deployment.clone();
    let paused = deployment.spec.paused == Some(true);
    let wanted = wanted(&deployment);
    let templates_exist = ![&world.bootstrap_template, &world.infrastructure_template]
        .iter()
        .any(|f| f.is_missing() || matches!(f, crate::foreign::Foreign::Unreadable(_)));
    let create = sorted.current.is_none();
    let current =
        (!create || (templates_exist && !paused)).then(|| desired::current_set(&deployment, sorted, &wanted));
    let old: Vec<planner::Set> = sorted.old.iter().map(|set| numbers(set)).collect();
    let intents = match &current {
        _ if paused => planner::proportional(&wanted, sorted.current.as_deref().map(numbers).as_ref(), &old),
        None => Intents::new(),
        Some(current) => {
            let new = numbers(current);
            match desired::strategy(&deployment) {
                MachineDeploymentRolloutStrategyType::OnDelete => {
                    planner::on_delete(wanted.replicas, &new, &old)
                }
                MachineDeploymentRolloutStrategyType::RollingUpdate => {
                    planner::rolling_update(&wanted, &new, &old)
                }
            }
        }
    };
    if let Some(mut current) = current {
        let revision = current.annotations().get(annotations::REVISION).cloned();
        if let Some(intent) = intents.get(&current.name_any()) {
            current.spec.replicas = Some(intent.replicas);
        }
        match &sorted.current {
            Some(before) => change(world, before, current, &intents, plan),
            None => create_set(current, &sorted.why_new, plan),
        }
        if let Some(revision) = revision {
            plan.deployment
                .annotations_mut()
                .insert(annotations::REVISION.to_owned(), revision);
        }
    }
    for before in &sorted.old {
        let mut after = desired::old_set(&deployment, before, &wanted);
        if let Some(intent) = intents.get(&before.name_any()) {
            after.spec.replicas = Some(intent.replicas);
        }
        change(world, before, after, &intents, plan);
    }
    if let Some(after) = deployment.spec.rollout.as_ref().and_then(|r| r.after.as_ref()) {
        plan.next = plan.next.earliest(look_at(after.0, now));
    }
}

fn create_set(set: MachineSet, why: &str, plan: &mut Plan) {
    plan.steps.push(Step::new(Action::Create(Box::new(set)), why));
}

fn change(world: &World, before: &Arc<MachineSet>, after: MachineSet, intents: &Intents, plan: &mut Plan) {
    if before.metadata.deletion_timestamp.is_some() {
        return;
    }
    let uid = before.uid().unwrap_or_default();
    let judged = judge(
        &desired::view(before),
        &desired::view(&after),
        world.known.get(&uid),
    );
    if !judged.due {
        plan.settled.insert(uid, judged.hash);
        return;
    }
    let paused = plan.deployment.spec.paused == Some(true);
    let name = before.name_any();
    let (from, to) = (
        before.spec.replicas.unwrap_or(0),
        after.spec.replicas.unwrap_or(0),
    );
    if meta::controller_of(&before.metadata).is_none() {
        plan.events.push(Event::normal(
            "SuccessfulAdopt",
            format!("Adopted MachineSet {name:?}"),
        ));
    }
    if from != to {
        let namespace = before.namespace().unwrap_or_default();
        let message = match (paused, from < to) {
            (true, _) => format!("Scaled MachineSet {namespace}/{name}: {from} -> {to}"),
            (false, true) => format!("Scaled up MachineSet {name}: {from} -> {to}"),
            (false, false) => format!("Scaled down MachineSet {name}: {from} -> {to}"),
        };
        plan.events.push(Event::normal("SuccessfulScale", message));
    }
    let why = intents.get(&name).map_or_else(
        || format!("MachineSet {name} follows its MachineDeployment"),
        |intent| format!("MachineSet {name} from {from} to {to} replicas: {}", intent.why),
    );
    plan.steps
        .push(Step::new(Action::Change(Box::new(after), judged.hash), why));
}

/// Old MachineSets without Machines go once the rollout is complete.
fn clean_up(sorted: &Sorted, plan: &mut Plan) {
    let Some(replicas) = plan.deployment.spec.replicas else {
        return;
    };
    let status = plan.deployment.status.clone().unwrap_or_default();
    let complete = [
        status.replicas,
        status.up_to_date_replicas,
        status.available_replicas,
    ]
    .iter()
    .all(|counter| counter.unwrap_or(0) == replicas);
    if !complete || sorted.current.is_none() || plan.deployment.spec.paused == Some(true) {
        return;
    }
    for set in &sorted.old {
        let status = set.status.clone().unwrap_or_default();
        let settled = set.metadata.generation.unwrap_or(0) <= status.observed_generation.unwrap_or(0);
        let empty = set.spec.replicas == Some(0) && status.replicas.unwrap_or(0) == 0;
        if settled && empty && set.metadata.deletion_timestamp.is_none() {
            delete(set, "is old and has no Machines", plan);
        }
    }
}

fn delete(set: &Arc<MachineSet>, because: &str, plan: &mut Plan) {
    let name = set.name_any();
    plan.steps.push(Step::new(
        Action::Delete(set.clone()),
        format!("MachineSet {name} {because}"),
    ));
    plan.events.push(Event::normal(
        "SuccessfulDelete",
        format!("Deleted MachineSet {name:?}"),
    ));
}

fn delete_all(world: &World, plan: &mut Plan) {
    for set in world
        .sets
        .iter()
        .filter(|s| s.metadata.deletion_timestamp.is_none())
    {
        delete(set, "goes: its MachineDeployment is being deleted", plan);
    }
}

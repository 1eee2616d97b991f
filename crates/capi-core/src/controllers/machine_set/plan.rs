//! What to do about a MachineSet, and what to say about it. Pure.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    annotations, contract,
    core::v1beta2::{Machine, MachineSet},
    finalizers, labels,
    names::label_value,
};
use capi_runtime::{Event, Next, meta};
use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};

use super::{
    Settings, conditions,
    creation::{self, Clones},
    deletion_order,
    observe::World,
    preflight, remediation,
    synchronize::{self, Apply},
};
use crate::{
    controllers::cluster::plan::label_cluster,
    foreign::{Foreign, Found, draft_of},
    machines,
    plan::{Step, foresee_generation},
    propagate::Known,
    webhooks,
};

/// Something a MachineSet's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes a template belong to the Cluster.
    ClaimTemplate(Found, Box<DynamicObject>),
    /// Changes a Machine, for example adopts it.
    Change(Arc<Machine>, Box<Machine>),
    /// Carries fields to a Machine or one of its clones.
    Apply(Box<Apply>),
    /// Creates a Machine and its clones.
    Create(Box<Machine>, Clones),
    /// Creates clones that a Machine lacks.
    Complete(Arc<Machine>, Clones),
    /// Deletes a Machine.
    Delete(Arc<Machine>),
    /// Deletes a clone, provided that its Machine does not exist.
    DeleteOrphan(Found),
}

/// Everything a reconcile will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step<Action>>,
    /// The MachineSet as it should be.
    pub set: MachineSet,
    /// Nothing is left to wait for: the finalizer goes.
    pub finish: bool,
    /// To be told once the MachineSet is written.
    pub events: Vec<Event>,
    /// When to look again without an event.
    pub next: Next,
    /// What Machines and clones follow already, and what new ones will.
    pub settled: Known,
}

/// Why no Machines are created.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blocked {
    /// The older condition's reason.
    pub reason: &'static str,
    /// What is in the way; empty if the templates tell it.
    pub causes: Vec<String>,
}

impl Blocked {
    fn by(reason: &'static str, causes: Vec<String>) -> Self {
        Self { reason, causes }
    }
}

/// Plans a reconcile.
pub fn plan(world: &World, settings: &Settings, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        set: (*world.set).clone(),
        finish: false,
        events: Vec::new(),
        next: Next::Done,
        settled: Known::new(),
    };
    webhooks::machine_set::default_in_place(&mut plan.set);
    owner_and_labels(world, &mut plan.set);
    claim_templates(world, &mut plan);
    adopt(world, &mut plan);
    delete_orphans(world, &mut plan);
    let mut blocked = Blocked::default();
    if world.is_deleting() {
        delete_all(world, &mut plan);
    } else {
        release(world, &mut plan);
        let held = preflight::failures(
            &world.set,
            &world.cluster,
            &world.control_plane,
            &settings.preflight_checks,
        );
        remediate(world, &held, &mut plan, now);
        let steps = synchronize::plan(world, &plan.set, &mut plan.settled);
        plan.steps.extend(steps);
        blocked = complete(world, &mut plan);
        let growth = replicas(world, held, &mut plan, now);
        if blocked.causes.is_empty() {
            blocked = growth;
        }
    }
    let changed = plan.set.spec != world.set.spec;
    foresee_generation(&mut plan.set.metadata, changed);
    plan.next = conditions::set_all(world, &blocked, &mut plan.set, now);
    if world.is_readable() && blocked.causes.is_empty() {
        plan.set.status.get_or_insert_default().observed_generation = plan.set.metadata.generation;
    }
    plan.finish = world.is_deleting()
        && world.machines.is_empty()
        && world.strays.is_empty()
        && world.orphans.is_empty()
        && meta::has_finalizer(&world.set.metadata, finalizers::MACHINE_SET);
    plan
}

fn owner_and_labels(world: &World, set: &mut MachineSet) {
    let cluster = set.spec.cluster_name.clone();
    label_cluster(set, &cluster);
    let owned = ["MachineDeployment", "Cluster"]
        .iter()
        .any(|kind| meta::owner_of_kind(&set.metadata, "cluster.x-k8s.io", kind).is_some());
    if !owned && !set.labels().contains_key(labels::DEPLOYMENT_NAME) {
        meta::ensure_owner(&mut set.metadata, meta::owner_reference(&*world.cluster));
    }
}

/// Templates belong to the Cluster, so that they go with it.
fn claim_templates(world: &World, plan: &mut Plan) {
    for foreign in [&world.bootstrap_template, &world.infrastructure_template] {
        if let Some(step) = claim_template(&world.cluster, foreign) {
            let (found, object, why) = step;
            plan.steps
                .push(Step::new(Action::ClaimTemplate(found, object), why));
        }
    }
}

/// The change that makes a template belong to a Cluster, if it does not yet.
pub(crate) fn claim_template(
    cluster: &capi_api::core::v1beta2::Cluster,
    foreign: &Foreign,
) -> Option<(Found, Box<DynamicObject>, String)> {
    let found = foreign
        .found()
        .filter(|f| f.resource.kind.ends_with("Template") && !f.is_deleting())?;
    let mut object = draft_of(found);
    if !meta::ensure_owner(&mut object.metadata, meta::owner_reference(cluster)) {
        return None;
    }
    let why = format!(
        "{} belongs to Cluster {}",
        contract::described(&found.object),
        cluster.name_any()
    );
    Some((found.clone(), Box::new(object), why))
}

/// Machines that are selected and belong to nobody.
fn adopt(world: &World, plan: &mut Plan) {
    for machine in world
        .machines
        .iter()
        .filter(|m| meta::controller_of(&m.metadata).is_none())
    {
        let mut adopted = (**machine).clone();
        meta::ensure_owner(&mut adopted.metadata, meta::controller_reference(&*world.set));
        let name = machine.name_any();
        let why = format!(
            "Machine {name} is selected by MachineSet {}",
            world.set.name_any()
        );
        plan.steps
            .push(Step::new(Action::Change(machine.clone(), Box::new(adopted)), why));
        plan.events.push(Event::normal(
            "SuccessfulAdopt",
            format!("Adopted Machine {name:?}"),
        ));
    }
}

/// The labels of a MachineSet's Machines.
pub fn machine_labels(set: &MachineSet) -> BTreeMap<String, String> {
    let template = set.spec.template.metadata.clone().unwrap_or_default();
    let mut all = template.labels;
    all.insert(labels::CLUSTER_NAME.to_owned(), set.spec.cluster_name.clone());
    all.insert(labels::SET_NAME.to_owned(), label_value(&set.name_any()));
    if let Some(deployment) = set.labels().get(labels::DEPLOYMENT_NAME) {
        all.insert(labels::DEPLOYMENT_NAME.to_owned(), deployment.clone());
    }
    all
}

/// Machines that are not selected any more are let go: whoever changed their labels takes care of them.
fn release(world: &World, plan: &mut Plan) {
    for machine in world.strays.iter().filter(|m| !machines::is_deleting(m)) {
        let mut released = (**machine).clone();
        meta::remove_owner(&mut released.metadata, &meta::controller_reference(&*world.set));
        let name = machine.name_any();
        let why = format!(
            "Machine {name} is not selected by MachineSet {} any more",
            world.set.name_any()
        );
        plan.steps.push(Step::new(
            Action::Change(machine.clone(), Box::new(released)),
            why,
        ));
        plan.events.push(Event::normal(
            "SuccessfulRelease",
            format!("Released Machine {name:?}"),
        ));
    }
}

/// Replaces unhealthy Machines: deletes them, others take their place once they are gone. `held` says what the preflight
/// checks have against new Machines.
fn remediate(world: &World, held: &[String], plan: &mut Plan, now: Timestamp) {
    let remediation = remediation::plan(world, held, now);
    plan.steps.extend(remediation.steps);
    plan.events.extend(remediation.events);
}

/// Makes the clones that an interrupted creation left out.
fn complete(world: &World, plan: &mut Plan) -> Blocked {
    for machine in &world.machines {
        let Some(pair) = world.clones.get(&machine.name_any()) else {
            continue;
        };
        match creation::missing(world, &plan.set, machine, pair) {
            Ok(clones) if clones.is_empty() => {}
            Ok(clones) => {
                let why = format!("Machine {} lacks what it refers to", machine.name_any());
                plan.steps
                    .push(Step::new(Action::Complete(machine.clone(), clones), why));
            }
            Err(error) => return Blocked::by("MachineCreationFailed", vec![error.to_string()]),
        }
    }
    Blocked::default()
}

/// Creates or deletes Machines; returns what blocks that.
fn replicas(world: &World, held: Vec<String>, plan: &mut Plan, now: Timestamp) -> Blocked {
    let Some(wanted) = plan.set.spec.replicas else {
        return Blocked::default();
    };
    let there = world.machines.len();
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if there < wanted {
        let disabled = world.set.annotations().get(annotations::DISABLE_MACHINE_CREATE);
        if disabled.is_some_and(|v| v == "true") {
            return Blocked::default();
        }
        if !held.is_empty() {
            return Blocked::by("PreflightCheckFailed", held);
        }
        return create(world, plan, wanted - there);
    }
    let order = plan
        .set
        .spec
        .deletion
        .as_ref()
        .and_then(|d| d.order)
        .unwrap_or_default();
    let mut deleted = Vec::new();
    for machine in deletion_order::first(&world.machines, there - wanted, order, now) {
        if machines::is_deleting(&machine) {
            continue;
        }
        let name = machine.name_any();
        let why = format!(
            "MachineSet {} scales down from {there} to {wanted}",
            world.set.name_any()
        );
        plan.steps.push(Step::new(Action::Delete(machine), why));
        deleted.push(name);
    }
    let told = machines::named("Deleted", &deleted);
    plan.events
        .extend(told.map(|text| Event::normal("SuccessfulDelete", text)));
    Blocked::default()
}

/// Plans new Machines; returns what blocks that.
fn create(world: &World, plan: &mut Plan, count: usize) -> Blocked {
    let failed = |cause: String| Blocked::by("MachineCreationFailed", vec![cause]);
    let unreadable: Vec<String> = [&world.bootstrap_template, &world.infrastructure_template]
        .into_iter()
        .filter_map(|foreign| match foreign {
            Foreign::Unreadable(why) => Some(why.clone()),
            _ => None,
        })
        .collect();
    if !unreadable.is_empty() {
        return Blocked::by("MachineCreationFailed", unreadable);
    }
    if !conditions::missing_templates(world).is_empty() {
        return Blocked::default();
    }
    let names = match creation::names(world, &plan.set, count) {
        Ok(names) => names,
        Err(error) => return failed(error.to_string()),
    };
    for (number, name) in names.iter().enumerate() {
        let clones = match creation::clones(world, &plan.set, name) {
            Ok(clones) => clones,
            Err(error) => return failed(error.to_string()),
        };
        let machine = creation::machine(&plan.set, name);
        let why = format!(
            "MachineSet {} scales up by {count}: {} of {count}",
            plan.set.name_any(),
            number + 1
        );
        plan.steps
            .push(Step::new(Action::Create(Box::new(machine), clones), why));
    }
    Blocked::default()
}

fn delete_orphans(world: &World, plan: &mut Plan) {
    for found in &world.orphans {
        let what = contract::described(&found.object);
        let why = format!("{what} was made for a Machine that does not exist");
        plan.steps
            .push(Step::new(Action::DeleteOrphan(found.clone()), why));
    }
}

fn delete_all(world: &World, plan: &mut Plan) {
    let all = world.machines.iter().chain(&world.strays);
    for machine in all.filter(|m| !machines::is_deleting(m)) {
        let why = format!("MachineSet {} is being deleted", world.set.name_any());
        plan.steps.push(Step::new(Action::Delete(machine.clone()), why));
    }
}

//! What to do about a MachineSet, and what to say about it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_api::{
    annotations,
    contract::{self, NewClone, Template},
    core::v1beta2::{ContractVersionedObjectReference, Machine, MachineSet},
    finalizers, labels,
    names::label_value,
};
use capi_runtime::{Event, Next, meta};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject, ObjectMeta},
};

use super::{
    conditions, deletion_order,
    names::{DEFAULT_TEMPLATE, Namer},
    observe::{Half, World, is_template},
    remediation,
};
use crate::{
    controllers::cluster::plan::label_cluster,
    foreign::{Foreign, Found, draft_of},
    machines,
    plan::{Step, foresee_generation},
    webhooks,
};

/// An object to be created, with its resource.
pub type New = (Box<DynamicObject>, ApiResource);

/// A Machine to be created with what belongs to it; what exists already is left out.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The bootstrap config.
    pub bootstrap: Option<New>,
    /// The infrastructure machine.
    pub infrastructure: Option<New>,
    /// The Machine.
    pub machine: Box<Machine>,
}

/// Something a MachineSet's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes a template belong to the Cluster.
    ClaimTemplate(Found, Box<DynamicObject>),
    /// Changes a Machine, for example adopts it.
    Change(Arc<Machine>, Box<Machine>),
    /// Creates a Machine.
    Create(Creation),
    /// Deletes a Machine.
    Delete(Arc<Machine>),
    /// Deletes the remains of an interrupted creation.
    DeleteHalf(Found),
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
}

/// Plans a reconcile.
pub fn plan(world: &World, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        set: (*world.set).clone(),
        finish: false,
        events: Vec::new(),
        next: Next::Done,
    };
    webhooks::machine_set::default_in_place(&mut plan.set);
    owner_and_labels(world, &mut plan.set);
    claim_templates(world, &mut plan);
    adopt(world, &mut plan);
    let mut blocked = Vec::new();
    if world.is_deleting() {
        delete_all(world, &mut plan);
    } else {
        remediate(world, &mut plan, now);
        synchronise(world, &mut plan);
        blocked = replicas(world, &mut plan, now);
    }
    let changed = plan.set.spec != world.set.spec;
    foresee_generation(&mut plan.set.metadata, changed);
    plan.next = conditions::set_all(world, &blocked, &mut plan.set, now);
    if world.is_readable() && blocked.is_empty() {
        plan.set.status.get_or_insert_default().observed_generation = plan.set.metadata.generation;
    }
    plan.finish = world.is_deleting()
        && world.machines.is_empty()
        && world.halves.is_empty()
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

/// Replaces unhealthy Machines: deletes them, others take their place once they are gone.
fn remediate(world: &World, plan: &mut Plan, now: Timestamp) {
    let remediation = remediation::plan(world, &[], now);
    plan.steps.extend(remediation.steps);
    plan.events.extend(remediation.events);
}

/// Carries what may change without replacing Machines to those that exist.
fn synchronise(world: &World, plan: &mut Plan) {
    let set = &plan.set;
    let wanted = &set.spec.template.spec;
    let labels = machine_labels(set);
    let annotations = set.spec.template.metadata.clone().unwrap_or_default().annotations;
    let mut steps = Vec::new();
    for machine in world
        .machines
        .iter()
        .filter(|m| meta::controller_of(&m.metadata).is_some())
    {
        let mut synchronised = (**machine).clone();
        if !machines::is_deleting(machine) {
            synchronised.labels_mut().extend(labels.clone());
            if !annotations.is_empty() {
                synchronised.annotations_mut().extend(annotations.clone());
            }
        }
        let spec = &mut synchronised.spec;
        spec.readiness_gates = wanted.readiness_gates.clone();
        spec.min_ready_seconds = wanted.min_ready_seconds;
        spec.taints = wanted.taints.clone();
        if let Some(deletion) = &wanted.deletion {
            let machine_deletion = spec.deletion.get_or_insert_default();
            machine_deletion.node_drain_timeout_seconds = deletion.node_drain_timeout_seconds;
            machine_deletion.node_volume_detach_timeout_seconds = deletion.node_volume_detach_timeout_seconds;
            // Machines have a default of their own here.
            let own = machine_deletion.node_deletion_timeout_seconds;
            machine_deletion.node_deletion_timeout_seconds = deletion.node_deletion_timeout_seconds.or(own);
        }
        if synchronised != **machine {
            let why = format!(
                "Machine {} follows the template of MachineSet {}",
                machine.name_any(),
                set.name_any()
            );
            steps.push(Step::new(
                Action::Change(machine.clone(), Box::new(synchronised)),
                why,
            ));
        }
    }
    plan.steps.extend(steps);
}

/// Creates or deletes Machines; returns what blocks that.
fn replicas(world: &World, plan: &mut Plan, now: Timestamp) -> Vec<String> {
    let Some(wanted) = plan.set.spec.replicas else {
        return Vec::new();
    };
    let there = world.machines.len();
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if there < wanted {
        if world
            .set
            .annotations()
            .get(annotations::DISABLE_MACHINE_CREATE)
            .is_some_and(|v| v == "true")
        {
            delete_halves(world, plan, &BTreeSet::new());
            return Vec::new();
        }
        return match create(world, plan, wanted - there) {
            Ok(used) => {
                delete_halves(world, plan, &used);
                Vec::new()
            }
            Err(blocked) => blocked,
        };
    }
    delete_halves(world, plan, &BTreeSet::new());
    let order = plan
        .set
        .spec
        .deletion
        .as_ref()
        .and_then(|d| d.order)
        .unwrap_or_default();
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
        plan.events.push(Event::normal(
            "SuccessfulDelete",
            format!("Deleted Machine {name:?}"),
        ));
    }
    Vec::new()
}

/// Plans new Machines, interrupted creations first; returns which of these are continued, or what blocks creation.
fn create(world: &World, plan: &mut Plan, count: usize) -> Result<BTreeSet<String>, Vec<String>> {
    let set = &plan.set;
    let naming = set
        .spec
        .machine_naming
        .as_ref()
        .and_then(|n| n.template.as_deref())
        .filter(|t| !t.is_empty());
    let (name, uid) = (set.name_any(), set.uid().unwrap_or_default());
    let namer = Namer {
        template: naming.unwrap_or(DEFAULT_TEMPLATE),
        cluster: &set.spec.cluster_name,
        set: &name,
        uid: &uid,
    };
    let blocked: Vec<String> = [&world.bootstrap_template, &world.infrastructure_template]
        .into_iter()
        .filter_map(|foreign| match foreign {
            Foreign::Unreadable(why) => Some(why.clone()),
            _ => None,
        })
        .collect();
    if !blocked.is_empty() || !conditions::missing_templates(world).is_empty() {
        return Err(blocked);
    }
    let mut seen: BTreeSet<String> = world.machines.iter().map(|m| m.name_any()).collect();
    let mut usable: BTreeMap<&String, &Half> = world
        .halves
        .iter()
        .filter(|(_, half)| is_usable(world, half))
        .collect();
    let mut used = BTreeSet::new();
    let mut steps = Vec::new();
    for number in 1..=count {
        let (name, half) = match usable.pop_first() {
            Some((name, half)) => (name.clone(), half.clone()),
            None => {
                let occupied = |name: &str| world.taken.contains(name) || world.halves.contains_key(name);
                (
                    namer.next(&seen, occupied).map_err(|e| vec![e.to_string()])?,
                    Half::default(),
                )
            }
        };
        seen.insert(name.clone());
        used.insert(name.clone());
        let creation = creation(world, set, &name, &half).map_err(|e| vec![e.to_string()])?;
        let why = format!(
            "MachineSet {} scales up by {count}: {number} of {count}",
            set.name_any()
        );
        steps.push(Step::new(Action::Create(creation), why));
    }
    plan.steps.extend(steps);
    Ok(used)
}

/// Whether the remains of a creation can be continued: they stay, and come from the templates of today.
fn is_usable(world: &World, half: &Half) -> bool {
    let from = |found: &Found, reference: Option<&ContractVersionedObjectReference>| {
        let name = found.object.annotations().get(annotations::CLONED_FROM_NAME);
        !found.is_deleting() && name.map(String::as_str) == reference.map(|r| r.name.as_str())
    };
    let spec = &world.set.spec.template.spec;
    half.bootstrap
        .as_ref()
        .is_none_or(|f| from(f, spec.bootstrap.config_ref.as_ref()))
        && half
            .infrastructure
            .as_ref()
            .is_none_or(|f| from(f, Some(&spec.infrastructure_ref)))
}

fn creation(
    world: &World,
    set: &MachineSet,
    name: &str,
    half: &Half,
) -> Result<Creation, contract::FieldError> {
    let template = &set.spec.template;
    let labels = machine_labels(set);
    let annotations = template.metadata.clone().unwrap_or_default().annotations;
    let clone = NewClone {
        name: name.to_owned(),
        namespace: set.namespace().unwrap_or_default(),
        cluster: set.spec.cluster_name.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        owner: Some(meta::owner_reference(set)),
    };
    let cloned = |foreign: &Foreign, existing: Option<&Found>| -> Result<Option<New>, contract::FieldError> {
        let (Some(found), None) = (foreign.found(), existing) else {
            return Ok(None);
        };
        let object = Template::new(&found.object).cloned(clone.clone())?;
        Ok(Some((
            Box::new(object),
            Template::cloned_resource(&found.resource),
        )))
    };
    let mut spec = template.spec.clone();
    spec.cluster_name = set.spec.cluster_name.clone();
    spec.infrastructure_ref = clone_reference(&template.spec.infrastructure_ref, name);
    spec.bootstrap.config_ref = template
        .spec
        .bootstrap
        .config_ref
        .as_ref()
        .map(|r| clone_reference(r, name));
    let machine = Machine {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            owner_references: Some(vec![meta::controller_reference(set)]),
            // At birth: one write less than when the Machine controller adds it.
            finalizers: Some(vec![finalizers::MACHINE.to_owned()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    };
    Ok(Creation {
        bootstrap: cloned(&world.bootstrap_template, half.bootstrap.as_ref())?,
        infrastructure: cloned(&world.infrastructure_template, half.infrastructure.as_ref())?,
        machine: Box::new(machine),
    })
}

/// The reference to the clone of a template.
fn clone_reference(
    template: &ContractVersionedObjectReference,
    name: &str,
) -> ContractVersionedObjectReference {
    if !is_template(template) {
        return template.clone();
    }
    ContractVersionedObjectReference {
        api_group: template.api_group.clone(),
        kind: Template::cloned_kind(&template.kind).to_owned(),
        name: name.to_owned(),
    }
}

fn delete_halves(world: &World, plan: &mut Plan, used: &BTreeSet<String>) {
    for (name, half) in world.halves.iter().filter(|(name, _)| !used.contains(*name)) {
        for found in half.parts().filter(|f| !f.is_deleting()) {
            let what = contract::described(&found.object);
            let why = format!("{what} was made for a Machine {name} that never came to be");
            plan.steps.push(Step::new(Action::DeleteHalf(found.clone()), why));
        }
    }
}

fn delete_all(world: &World, plan: &mut Plan) {
    delete_halves(world, plan, &BTreeSet::new());
    for machine in world.machines.iter().filter(|m| !machines::is_deleting(m)) {
        let why = format!("MachineSet {} is being deleted", world.set.name_any());
        plan.steps.push(Step::new(Action::Delete(machine.clone()), why));
    }
}

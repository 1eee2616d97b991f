//! What to do about a Machine, and what to say about it. Pure.

use capi_api::{
    annotations,
    conditions::{reasons, v1beta1},
    contract,
    core::v1beta2::{
        Machine, MachineInitializationStatus, MachineNodeReference, MachinePhase, MachineStatus,
    },
    finalizers, labels,
};
use capi_runtime::{Event, Next, meta};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::Time};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use super::{
    conditions, deletion,
    drain::evictions::Evictions,
    node, node_conditions,
    observe::{NodeView, Settings, World},
};
use crate::{
    controllers::cluster::plan::{failure_text, label_cluster},
    foreign::{Foreign, Found, draft_of},
    machines::is_control_plane,
    plan::{Step, foresee_generation},
};

/// Something a Machine's reconcile does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes a foreign object the Machine's.
    Claim(Found, Box<DynamicObject>),
    /// Brings labels, annotations and taints of the Node up to date.
    PatchNode(Box<Node>, Value),
    /// Marks the Node as unschedulable.
    Cordon(Box<Node>),
    /// Evicts the pods of a round of the drain that started then.
    Evict(Box<Evictions>, Timestamp),
    /// Deletes a foreign object.
    DeleteForeign(Found),
    /// Deletes a Node.
    DeleteNode {
        /// Its name.
        name: String,
        /// Whether the Machine has to wait until this succeeds.
        required: bool,
    },
}

/// Everything a reconcile will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step<Action>>,
    /// The Machine as it should be.
    pub machine: Machine,
    /// Nothing is left to wait for: the finalizer goes.
    pub finish: bool,
    /// To be told once the Machine is written.
    pub events: Vec<Event>,
    /// When to look again without an event.
    pub next: Next,
}

/// Plans a reconcile.
pub fn plan(world: &World, settings: &Settings, now: Timestamp) -> Plan {
    let mut plan = Plan {
        steps: Vec::new(),
        machine: (*world.machine).clone(),
        finish: false,
        events: Vec::new(),
        next: Next::Done,
    };
    owner_and_labels(world, &mut plan.machine);
    bootstrap(world, &mut plan, now);
    infrastructure(world, &mut plan, now);
    node(world, settings, &mut plan, now);
    certificate_expiry(world, &mut plan.machine);
    let stage = world.is_deleting().then(|| deletion::plan(world, &mut plan, now));
    let changed = plan.machine.spec != world.machine.spec;
    foresee_generation(&mut plan.machine.metadata, changed);
    if world.is_readable() {
        status(&mut plan.machine).observed_generation = plan.machine.metadata.generation;
    }
    plan.next = plan.next.earliest(conditions::set_all(
        world,
        settings,
        stage.as_ref(),
        &mut plan.machine,
        now,
    ));
    phase(&mut plan.machine, now);
    conditions::old_summary(world, &mut plan.machine, now);
    plan.finish = stage.is_some_and(|stage| stage.reason == reasons::DELETION_COMPLETED)
        && meta::has_finalizer(&world.machine.metadata, finalizers::MACHINE);
    plan
}

pub(super) fn status(machine: &mut Machine) -> &mut MachineStatus {
    machine.status.get_or_insert_default()
}

fn initialization(machine: &mut Machine) -> &mut MachineInitializationStatus {
    status(machine).initialization.get_or_insert_default()
}

pub(super) fn is_provisioned(machine: &Machine) -> bool {
    let initialization = machine.status.as_ref().and_then(|s| s.initialization.as_ref());
    initialization.and_then(|i| i.infrastructure_provisioned) == Some(true)
}

pub(super) fn is_bootstrapped(machine: &Machine) -> bool {
    let initialization = machine.status.as_ref().and_then(|s| s.initialization.as_ref());
    initialization.and_then(|i| i.bootstrap_data_secret_created) == Some(true)
}

/// The provider ID: the Machine's, or the one its infrastructure reports before the Machine has it.
pub fn provider_id(machine: &Machine, infrastructure: &Foreign) -> Option<String> {
    let own = machine.spec.provider_id.clone().filter(|id| !id.is_empty());
    own.or_else(|| {
        let found = infrastructure.found()?;
        let infra = contract::InfraMachine::new(&found.object, found.contract);
        infra.provider_id().ok().flatten().map(str::to_owned)
    })
}

/// A Machine that nobody else owns belongs to its Cluster.
fn owner_and_labels(world: &World, machine: &mut Machine) {
    let others = [labels::SET_NAME, labels::POOL_NAME, labels::CONTROL_PLANE_NAME];
    let has_label = others.iter().any(|l| machine.labels().contains_key(*l));
    let has_owner = meta::controller_of(&machine.metadata).is_some()
        || meta::owner_of_kind(&machine.metadata, "cluster.x-k8s.io", "Cluster").is_some();
    if !has_label && !has_owner {
        meta::ensure_owner(&mut machine.metadata, meta::owner_reference(&*world.cluster));
    }
    let cluster = machine.spec.cluster_name.clone();
    label_cluster(machine, &cluster);
}

/// Takes over what MachineSet or control plane made for this Machine: they owned it only until the Machine existed.
fn claim(world: &World, found: &Found, plan: &mut Plan) {
    let mut object = draft_of(found);
    let machine = &*world.machine;
    let makers: Vec<_> = machine
        .metadata
        .owner_references
        .iter()
        .flatten()
        .filter(|o| o.controller == Some(true) && o.kind != "Machine")
        .cloned()
        .collect();
    for maker in makers {
        meta::remove_owner(&mut object.metadata, &maker);
    }
    let reference = meta::as_controller(meta::owner_reference(machine));
    // Should another object control it, the Machine still becomes an owner: the conditions will tell.
    if meta::ensure_controller(&mut object.metadata, reference.clone()).is_err() {
        meta::ensure_owner(&mut object.metadata, meta::owner_reference(machine));
    }
    label_cluster(&mut object, &machine.spec.cluster_name);
    if object.metadata != found.object.metadata {
        let why = format!(
            "{} belongs to Machine {}",
            contract::described(&found.object),
            machine.name_any()
        );
        plan.steps
            .push(Step::new(Action::Claim(found.clone(), Box::new(object)), why));
    }
}

/// Reads the bootstrap config into the Machine.
fn bootstrap(world: &World, plan: &mut Plan, now: Timestamp) {
    let found = match &world.bootstrap {
        Foreign::Found(found) => found,
        Foreign::Unset => {
            // The user brought the data.
            if plan.machine.spec.bootstrap.data_secret_name.is_some() {
                initialization(&mut plan.machine).bootstrap_data_secret_created = Some(true);
                v1beta1::set(
                    &mut plan.machine,
                    v1beta1::is_true(conditions::OLD_BOOTSTRAP_READY),
                    now,
                );
            }
            return;
        }
        Foreign::Missing | Foreign::Unreadable(_) => return,
    };
    claim(world, found, plan);
    let config = contract::BootstrapConfig::new(&found.object, found.contract);
    failures(
        &mut plan.machine,
        found,
        config.failure_reason(),
        config.failure_message(),
    );
    if plan.machine.spec.bootstrap.data_secret_name.is_some() {
        initialization(&mut plan.machine).bootstrap_data_secret_created = Some(true);
        v1beta1::set(
            &mut plan.machine,
            v1beta1::is_true(conditions::OLD_BOOTSTRAP_READY),
            now,
        );
        return;
    }
    let created = config.data_secret_created().unwrap_or(false);
    conditions::mirror_old(
        world,
        found,
        created,
        conditions::OLD_BOOTSTRAP_READY,
        "WaitingForDataSecret",
        &mut plan.machine,
        now,
    );
    if let (false, true, Ok(Some(name))) = (found.is_deleting(), created, config.data_secret_name()) {
        plan.machine.spec.bootstrap.data_secret_name = Some(name.to_owned());
        initialization(&mut plan.machine).bootstrap_data_secret_created = Some(true);
    }
}

/// Reads the infrastructure machine into the Machine.
fn infrastructure(world: &World, plan: &mut Plan, now: Timestamp) {
    let found = match &world.infrastructure {
        Foreign::Found(found) => found,
        Foreign::Missing if !world.is_deleting() && is_provisioned(&plan.machine) => {
            let reference = &world.machine.spec.infrastructure_ref;
            let namespace = world.machine.namespace().unwrap_or_default();
            let old = status(&mut plan.machine)
                .deprecated
                .get_or_insert_default()
                .v1beta1
                .get_or_insert_default();
            old.failure_reason = Some("InvalidConfiguration".to_owned());
            old.failure_message = Some(format!(
                "Machine infrastructure resource {} {namespace}/{} has been deleted after provisioning was completed",
                reference.kind, reference.name
            ));
            return;
        }
        _ => return,
    };
    claim(world, found, plan);
    let infra = contract::InfraMachine::new(&found.object, found.contract);
    failures(
        &mut plan.machine,
        found,
        infra.failure_reason(),
        infra.failure_message(),
    );
    let provisioned = infra.provisioned().unwrap_or(false);
    conditions::mirror_old(
        world,
        found,
        provisioned,
        conditions::OLD_INFRASTRUCTURE_READY,
        "WaitingForInfrastructure",
        &mut plan.machine,
        now,
    );
    if found.is_deleting() || !(provisioned || is_provisioned(&plan.machine)) {
        return;
    }
    let Ok(Some(provider_id)) = infra.provider_id() else {
        return;
    };
    let machine = &mut plan.machine;
    machine.spec.provider_id = Some(provider_id.to_owned());
    if let Ok(addresses) = infra.addresses() {
        status(machine).addresses = addresses;
    }
    if let Ok(Some(domain)) = infra.spec_failure_domain() {
        machine.spec.failure_domain = Some(domain.to_owned());
    }
    if let Ok(Some(domain)) = infra.failure_domain() {
        status(machine).failure_domain = Some(domain.to_owned());
    }
    initialization(machine).infrastructure_provisioned = Some(true);
}

/// Links the Machine with its Node and keeps the Node's metadata in step.
fn node(world: &World, settings: &Settings, plan: &mut Plan, now: Timestamp) {
    node_conditions::old_node_healthy(world, &mut plan.machine, now);
    if let NodeView::Ambiguous(names) = &world.node {
        let id = plan.machine.spec.provider_id.clone().unwrap_or_default();
        let message = format!(
            "unexpectedly found more than one Node matching the providerID {id}: {}",
            names.join(", ")
        );
        plan.events
            .push(Event::warning("Failed to retrieve Node by ProviderID", message));
    }
    let Some(found) = world.node.found() else { return };
    let machine = &mut plan.machine;
    if machine.spec.provider_id.is_none() {
        return;
    }
    let name = found.name_any();
    if status(machine).node_ref.is_none() {
        status(machine).node_ref = Some(MachineNodeReference { name: name.clone() });
    }
    status(machine).node_info = found.status.as_ref().and_then(|s| s.node_info.clone());

    let interruptible = world.infrastructure.found().is_some_and(|f| {
        contract::InfraMachine::new(&f.object, f.contract)
            .interruptible()
            .unwrap_or(false)
    });
    if found.metadata.deletion_timestamp.is_some() {
        return;
    }
    let wanted = node::Wanted {
        machine,
        set: world.set.as_deref(),
        deployment: world.deployment.as_deref(),
        interruptible,
        settings,
    };
    if let Some(patch) = node::patch(found, &wanted) {
        let why = format!("Node {name} follows Machine {}", machine.name_any());
        plan.steps.push(Step::new(
            Action::PatchNode(Box::new((**found).clone()), patch),
            why,
        ));
        if interruptible && !found.labels().contains_key(labels::INTERRUPTIBLE) {
            plan.events
                .push(Event::normal("SuccessfulSetInterruptibleNodeLabel", name));
        }
    }
}

/// When the API server certificate on a control-plane Machine expires: its own annotation wins over the config's.
fn certificate_expiry(world: &World, machine: &mut Machine) {
    if !is_control_plane(machine) {
        return;
    }
    let own = machine
        .annotations()
        .get(annotations::CERTIFICATES_EXPIRY)
        .cloned();
    let from_config = || {
        let all = world.bootstrap.found()?.object.metadata.annotations.as_ref()?;
        all.get(annotations::CERTIFICATES_EXPIRY).cloned()
    };
    let text = own.or_else(from_config);
    let expiry = text
        .as_deref()
        .and_then(|text| text.parse::<Timestamp>().ok())
        .map(Time);
    if machine.status.is_some() || expiry.is_some() {
        status(machine).certificates_expiry_date = expiry;
    }
}

fn failures(machine: &mut Machine, found: &Found, reason: Option<&str>, message: Option<&str>) {
    if reason.is_none() && message.is_none() {
        return;
    }
    let old = status(machine)
        .deprecated
        .get_or_insert_default()
        .v1beta1
        .get_or_insert_default();
    if let Some(reason) = reason {
        old.failure_reason = Some(reason.to_owned());
    }
    if let Some(message) = message {
        old.failure_message = Some(failure_text(found, message));
    }
}

fn phase(machine: &mut Machine, now: Timestamp) {
    let before = machine.status.as_ref().and_then(|s| s.phase);
    let mut phase = before.unwrap_or(MachinePhase::Pending);
    if is_bootstrapped(machine) && !is_provisioned(machine) {
        phase = MachinePhase::Provisioning;
    }
    if machine
        .spec
        .provider_id
        .as_deref()
        .is_some_and(|id| !id.is_empty())
    {
        phase = MachinePhase::Provisioned;
    }
    if machine.status.as_ref().is_some_and(|s| s.node_ref.is_some()) && is_provisioned(machine) {
        phase = MachinePhase::Running;
    }
    if capi_api::conditions::is_true(machine, capi_api::conditions::types::UPDATING) {
        phase = MachinePhase::Updating;
    }
    if machine.metadata.deletion_timestamp.is_some() {
        phase = MachinePhase::Deleting;
    }
    if before != Some(phase) {
        let status = status(machine);
        status.phase = Some(phase);
        status.last_updated = Some(Time(capi_api::conditions::whole_seconds(now)));
    }
}

//! The status of a control plane: counters, versions, conditions of today and of old. Pure.

use std::collections::BTreeMap;

use capi_api::{
    conditions::{self, Child, ConditionsAccess, Draft, Reasons, aggregate, get_in, reasons, types},
    controlplane::v1beta2::{
        KubeadmControlPlane, KubeadmControlPlaneInitializationStatus, KubeadmControlPlaneStatus,
    },
    core::v1beta2::{Machine, StatusVersion},
    labels, versions,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    availability::{self, MachineConditions},
    certificates::{self, CertificateProblem},
    legacy, machine_conditions,
    plan::Plan,
    progress,
    remediation::{self, Decision, Outcome},
    world::{MachineView, World},
};

/// A new Machine may take this long to report `UpToDate`.
const FIRST_REPORT: SignedDuration = SignedDuration::from_secs(10);

/// What is to be written after a reconcile.
#[derive(Clone, Debug)]
pub struct Report {
    /// The control plane with its new status.
    pub control_plane: KubeadmControlPlane,
    /// Machines with new conditions; only those that differ.
    pub machines: Vec<Machine>,
    /// When something in the status changes by the passing of time.
    pub look_again: Option<Timestamp>,
}

/// The status that follows from a world, as it is after the plan was carried out.
pub fn report(world: &World, plan: &Plan, now: Timestamp, grace: SignedDuration) -> Report {
    let (machines, conditions) = machines(world, plan, now, grace);
    let mut control_plane = world.control_plane.clone();
    let initialized = world.initialized();
    let certificate = certificates_condition(world);
    let available_certificates = certificate.status == conditions::Status::True;

    set(&mut control_plane, initialized_condition(initialized), now);
    set(&mut control_plane, certificate, now);
    let since = get_in(control_plane.conditions(), types::INITIALIZED)
        .map(|condition| condition.last_transition_time.0);
    let drafts = [
        Some(availability::available(
            world,
            &conditions,
            available_certificates,
            since,
            now,
        )),
        availability::etcd_cluster(world, &conditions, &plan.etcd_notes),
        Some(availability::components(world, &conditions)),
        Some(machines_ready(world, &conditions)),
        Some(machines_up_to_date(world, &conditions, now)),
        Some(progress::rolling_out(world, &conditions)),
        Some(progress::scaling_up(world, plan)),
        Some(progress::scaling_down(world, plan, now)),
        Some(progress::remediating(world, &conditions)),
        Some(progress::deleting(world, now)),
    ];
    for draft in drafts.into_iter().flatten() {
        set(&mut control_plane, draft, now);
    }
    let generation = control_plane.metadata.generation;
    let status = control_plane.status.get_or_insert_default();
    counters(world, &conditions, status);
    if initialized {
        status.initialization = Some(KubeadmControlPlaneInitializationStatus {
            control_plane_initialized: Some(true),
        });
    }
    status.observed_generation = generation;
    if let Some(last) = remediation::last(world) {
        status.last_remediation = Some(last);
    }
    legacy::fill(world, &mut control_plane, now);

    let reported = machines
        .into_iter()
        .filter(|(machine, changed)| *changed && !gone(machine))
        .map(|(m, _)| m);
    Report {
        control_plane,
        machines: reported.collect(),
        look_again: availability::settles_at(world, &conditions, now),
    }
}

fn gone(machine: &Machine) -> bool {
    machine.metadata.deletion_timestamp.is_some()
        && machine
            .metadata
            .finalizers
            .as_deref()
            .unwrap_or_default()
            .is_empty()
}

fn set(control_plane: &mut KubeadmControlPlane, draft: Draft, now: Timestamp) {
    conditions::set(control_plane, draft, now);
}

/// The Machines with their new conditions, and whether those differ; and all conditions by name.
fn machines(
    world: &World,
    plan: &Plan,
    now: Timestamp,
    grace: SignedDuration,
) -> (Vec<(Machine, bool)>, MachineConditions) {
    let mut machines = Vec::new();
    let mut all = BTreeMap::new();
    for view in &world.machines {
        let mut machine = view.machine.as_ref().clone();
        for draft in machine_conditions::of_machine(world, view, now, grace) {
            conditions::set(&mut machine, draft, now);
        }
        owner_remediated(view, plan, &mut machine, now);
        legacy::fill_machine(world, view, &mut machine, now);
        let changed = is_news(view.machine.conditions(), machine.conditions());
        all.insert(view.name(), machine.conditions().to_vec());
        machines.push((machine, changed));
    }
    (machines, all)
}

/// The answer to whoever asked for a Machine to be replaced.
fn owner_remediated(view: &MachineView, plan: &Plan, machine: &mut Machine, now: Timestamp) {
    let type_ = types::OWNER_REMEDIATED;
    if !view.deleting() && view.condition_is(types::HEALTH_CHECK_SUCCEEDED, "True") {
        // It has got well again before anything happened.
        if view.condition_is(type_, "False") {
            conditions::remove(machine, type_);
            legacy::forget_remediation(machine);
        }
        return;
    }
    if !remediation::is_marked(view) {
        return;
    }
    let draft = match plan
        .remediation
        .as_ref()
        .filter(|decision| decision.machine == view.name())
    {
        _ if view.deleting() => Draft::is_false(type_, reasons::MACHINE_DELETING, "Machine is deleting"),
        Some(Decision {
            outcome: Outcome::Wait { reason, message, .. },
            ..
        }) => Draft::is_false(type_, *reason, message.clone()),
        _ => return,
    };
    legacy::note_remediation(machine, &draft, now);
    conditions::set(machine, draft, now);
}

/// Whether conditions say something else than before. While a Machine comes up, its spec changes several times; that
/// conditions which wait all the same have seen it too is not worth a write.
fn is_news(before: &[Condition], after: &[Condition]) -> bool {
    let is_good = after.iter().all(|condition| condition.status == "True");
    let text = |condition: &Condition| {
        let generation = condition.observed_generation.filter(|_| is_good);
        (
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
            generation,
        )
    };
    !before.iter().map(text).eq(after.iter().map(text))
}

fn initialized_condition(initialized: bool) -> Draft {
    match initialized {
        true => Draft::is_true(types::INITIALIZED, reasons::INITIALIZED, ""),
        false => Draft::is_false(types::INITIALIZED, reasons::NOT_INITIALIZED, ""),
    }
}

fn certificates_condition(world: &World) -> Draft {
    let type_ = types::CERTIFICATES_AVAILABLE;
    let no = |message: String| Draft::is_false(type_, reasons::NOT_AVAILABLE, message);
    match certificates::problem(world) {
        None => Draft::is_true(type_, reasons::AVAILABLE, ""),
        Some(CertificateProblem::Missing(purposes)) => {
            let names: Vec<&str> = purposes.iter().map(|purpose| purpose.as_str()).collect();
            let subject = match names.as_slice() {
                [one] => format!("certificate for {one} is"),
                many => format!("certificates for {} are", many.join(", ")),
            };
            no(format!(
                "Cluster {subject} not available, please check cluster certificate secrets"
            ))
        }
        Some(CertificateProblem::Broken(message)) => no(message),
    }
}

fn counters(world: &World, conditions: &MachineConditions, status: &mut KubeadmControlPlaneStatus) {
    let count = |type_: &str| {
        let holds =
            |all: &&Vec<Condition>| get_in(all, type_).is_some_and(|condition| condition.status == "True");
        i32::try_from(conditions.values().filter(holds).count()).ok()
    };
    status.replicas = i32::try_from(world.machines.len()).ok();
    status.ready_replicas = count(types::READY);
    status.available_replicas = count(types::AVAILABLE);
    status.up_to_date_replicas = count(types::UP_TO_DATE);
    status.selector = Some(format!(
        "{}={},{}",
        labels::CLUSTER_NAME,
        world.cluster_name(),
        labels::CONTROL_PLANE
    ));
    let mut by_version: BTreeMap<String, i32> = BTreeMap::new();
    for version in world
        .machines
        .iter()
        .filter_map(|view| view.machine.spec.version.clone())
    {
        *by_version.entry(version).or_default() += 1;
    }
    let mut versions: Vec<StatusVersion> = by_version
        .into_iter()
        .map(|(version, replicas)| StatusVersion {
            version,
            replicas: Some(replicas),
        })
        .collect();
    versions.sort_by(|a, b| versions::compare_texts(&a.version, &b.version));
    if let Some(lowest) = versions.first() {
        status.version = Some(lowest.version.clone());
    }
    status.versions = versions;
}

fn children<'a>(world: &'a World, conditions: &'a MachineConditions, names: &'a [String]) -> Vec<Child<'a>> {
    world
        .machines
        .iter()
        .zip(names)
        .map(|(_, name)| Child {
            kind: "Machine",
            name,
            control_plane_machine: true,
            conditions: conditions.get(name).map(Vec::as_slice).unwrap_or_default(),
        })
        .collect()
}

fn names(world: &World) -> Vec<String> {
    world.machines.iter().map(MachineView::name).collect()
}

fn machines_ready(world: &World, conditions: &MachineConditions) -> Draft {
    if world.machines.is_empty() {
        return Draft::is_true(types::MACHINES_READY, reasons::NO_REPLICAS, "");
    }
    let names = names(world);
    let children = children(world, conditions, &names);
    aggregate(
        &children,
        types::READY,
        types::MACHINES_READY,
        false,
        &Reasons::READY,
    )
}

fn machines_up_to_date(world: &World, conditions: &MachineConditions, now: Timestamp) -> Draft {
    let names = names(world);
    let reporting: Vec<Child<'_>> = children(world, conditions, &names)
        .into_iter()
        .zip(&world.machines)
        .filter(|(child, view)| {
            let created = view
                .machine
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0);
            let young = created
                .is_some_and(|created| created.checked_add(FIRST_REPORT).is_ok_and(|until| now < until));
            !young || get_in(child.conditions, types::UP_TO_DATE).is_some()
        })
        .map(|(child, _)| child)
        .collect();
    if reporting.is_empty() {
        return Draft::is_true(types::MACHINES_UP_TO_DATE, reasons::NO_REPLICAS, "");
    }
    aggregate(
        &reporting,
        types::UP_TO_DATE,
        types::MACHINES_UP_TO_DATE,
        false,
        &Reasons::UP_TO_DATE,
    )
}

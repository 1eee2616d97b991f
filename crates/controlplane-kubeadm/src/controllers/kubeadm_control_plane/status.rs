//! The status of a control plane: counters, versions, conditions of today and of old. Pure.

use std::collections::{BTreeMap, BTreeSet};

use capi_api::{
    conditions::{
        self, Child, ConditionsAccess, Draft, Reasons, aggregate, get_in, name_list, reasons, types,
    },
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
    preflight,
    world::{MachineView, Template, World},
};

/// A Machine that is deleted for longer than this is worth a word.
const STALE_DELETION: SignedDuration = SignedDuration::from_mins(15);
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
    let (machines, conditions) = machines(world, now, grace);
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
        availability::etcd_cluster(world, &conditions),
        Some(availability::components(world, &conditions)),
        Some(machines_ready(world, &conditions)),
        Some(machines_up_to_date(world, &conditions, now)),
        Some(rolling_out(world, &conditions)),
        Some(scaling_up(world, plan)),
        Some(scaling_down(world, plan, now)),
        Some(remediating(world, &conditions)),
        Some(deleting(world, now)),
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
    now: Timestamp,
    grace: SignedDuration,
) -> (Vec<(Machine, bool)>, MachineConditions) {
    let mut machines = Vec::new();
    let mut all = BTreeMap::new();
    for view in &world.machines {
        let mut machine = view.machine.as_ref().clone();
        let mut changed = false;
        for draft in machine_conditions::of_machine(world, view, now, grace) {
            changed |= conditions::set(&mut machine, draft, now);
        }
        legacy::fill_machine(world, view, &mut machine, now);
        all.insert(view.name(), machine.conditions().to_vec());
        machines.push((machine, changed));
    }
    (machines, all)
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

fn rolling_out(world: &World, conditions: &MachineConditions) -> Draft {
    let outdated: Vec<&Condition> = world
        .machines
        .iter()
        .filter_map(|view| get_in(conditions.get(&view.name())?, types::UP_TO_DATE))
        .filter(|condition| condition.status == "False" && condition.reason != reasons::UPDATING)
        .collect();
    if outdated.is_empty() {
        return Draft::is_false(types::ROLLING_OUT, reasons::NOT_ROLLING_OUT, "");
    }
    let lines: BTreeSet<&str> = outdated
        .iter()
        .flat_map(|condition| condition.message.lines())
        .collect();
    let mut lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    lines.sort_by_key(|line| (!line.starts_with("* Version"), *line));
    let mut message = format!("Rolling out {} not up-to-date replicas", outdated.len());
    for line in lines {
        message.push('\n');
        message.push_str(line);
    }
    Draft::is_true(types::ROLLING_OUT, reasons::ROLLING_OUT, message)
}

fn template_is_missing(world: &World) -> Option<String> {
    let kind = &world
        .control_plane
        .spec
        .machine_template
        .spec
        .infrastructure_ref
        .kind;
    match &world.template {
        Template::Found { .. } => None,
        Template::Missing => Some(format!("{kind} does not exist")),
        Template::Unresolved(reason) => Some(reason.clone()),
    }
}

fn unset_replicas(type_: &str) -> Draft {
    Draft::is_unknown(
        type_,
        reasons::WAITING_FOR_REPLICAS_SET,
        "Waiting for spec.replicas set",
    )
}

fn scaling_up(world: &World, plan: &Plan) -> Draft {
    let type_ = types::SCALING_UP;
    let Some(desired) = world.desired_replicas() else {
        return unset_replicas(type_);
    };
    let current = i32::try_from(world.machines.len()).unwrap_or(i32::MAX);
    let missing = template_is_missing(world);
    if current >= desired {
        return match missing.filter(|_| !world.deleting()) {
            Some(missing) => Draft::is_false(
                type_,
                reasons::NOT_SCALING_UP,
                format!("Scaling up would be blocked because {missing}"),
            ),
            None => Draft::is_false(type_, reasons::NOT_SCALING_UP, ""),
        };
    }
    let mut blockers: Vec<String> = findings(plan);
    blockers.extend(missing);
    Draft::is_true(
        type_,
        reasons::SCALING_UP,
        scaling_message("up", current, desired, &blockers),
    )
}

fn scaling_down(world: &World, plan: &Plan, now: Timestamp) -> Draft {
    let type_ = types::SCALING_DOWN;
    let Some(desired) = world.desired_replicas() else {
        return unset_replicas(type_);
    };
    let current = i32::try_from(world.machines.len()).unwrap_or(i32::MAX);
    if current <= desired {
        return Draft::is_false(type_, reasons::NOT_SCALING_DOWN, "");
    }
    let mut blockers: Vec<String> = findings(plan);
    blockers.extend(stale_deletions(world, now));
    Draft::is_true(
        type_,
        reasons::SCALING_DOWN,
        scaling_message("down", current, desired, &blockers),
    )
}

fn findings(plan: &Plan) -> Vec<String> {
    plan.blocked
        .iter()
        .flat_map(|findings: &preflight::Findings| findings.lines.iter().map(|line| (*line).to_owned()))
        .collect()
}

fn scaling_message(direction: &str, current: i32, desired: i32, blockers: &[String]) -> String {
    let head = format!("Scaling {direction} from {current} to {desired} replicas");
    if blockers.is_empty() {
        return head;
    }
    let lines: Vec<String> = blockers.iter().map(|blocker| format!("* {blocker}")).collect();
    format!("{head} is blocked because:\n{}", lines.join("\n"))
}

fn stale_deletions(world: &World, now: Timestamp) -> Option<String> {
    let stale: Vec<String> = world
        .machines
        .iter()
        .filter(|view| {
            let deleted = view.machine.metadata.deletion_timestamp.as_ref();
            deleted.is_some_and(|time| time.0.checked_add(STALE_DELETION).is_ok_and(|until| now >= until))
        })
        .map(MachineView::name)
        .collect();
    match stale.as_slice() {
        [] => None,
        [one] => Some(format!("Machine {one} is in deletion since more than 15m")),
        many => Some(format!(
            "Machines {} are in deletion since more than 15m",
            name_list(many, 3)
        )),
    }
}

fn remediating(world: &World, conditions: &MachineConditions) -> Draft {
    let own = |view: &MachineView| conditions.get(&view.name()).cloned().unwrap_or_default();
    let unhealthy: Vec<String> = world
        .machines
        .iter()
        .filter(|view| {
            get_in(&own(view), types::HEALTH_CHECK_SUCCEEDED)
                .is_some_and(|condition| condition.status == "False")
        })
        .map(MachineView::name)
        .collect();
    let to_remediate: Vec<&MachineView> = world
        .machines
        .iter()
        .filter(|view| {
            get_in(&own(view), types::OWNER_REMEDIATED).is_some_and(|condition| condition.status == "False")
        })
        .collect();
    if !to_remediate.is_empty() {
        let names: Vec<String> = to_remediate.iter().map(|view| view.name()).collect();
        let children: Vec<Child<'_>> = names
            .iter()
            .map(|name| Child {
                kind: "Machine",
                name,
                control_plane_machine: true,
                conditions: conditions.get(name).map(Vec::as_slice).unwrap_or_default(),
            })
            .collect();
        let words = Reasons::new(reasons::REMEDIATING, reasons::REMEDIATING, reasons::REMEDIATING);
        let sum = aggregate(
            &children,
            types::OWNER_REMEDIATED,
            types::REMEDIATING,
            false,
            &words,
        );
        return Draft::is_true(types::REMEDIATING, reasons::REMEDIATING, sum.message);
    }
    let message = match unhealthy.as_slice() {
        [] => String::new(),
        [one] => format!("Machine {one} is not healthy (not to be remediated by KubeadmControlPlane)"),
        many => {
            format!(
                "Machines {} are not healthy (not to be remediated by KubeadmControlPlane)",
                name_list(many, 3)
            )
        }
    };
    Draft::is_false(types::REMEDIATING, reasons::NOT_REMEDIATING, message)
}

fn deleting(world: &World, now: Timestamp) -> Draft {
    let type_ = types::DELETING;
    if !world.deleting() {
        return Draft::is_false(type_, reasons::NOT_DELETING, "");
    }
    if !world.workers.is_empty() {
        let lines: Vec<String> = world
            .workers
            .iter()
            .map(|(kind, names)| format!("* {kind}: {}", name_list(names, 5)))
            .collect();
        let message = format!(
            "KubeadmControlPlane deletion blocked because following objects still exist:\n{}",
            lines.join("\n")
        );
        return Draft::is_true(type_, reasons::WAITING_FOR_WORKERS_DELETION, message);
    }
    let message = match world.machines.len() {
        0 => return Draft::is_true(type_, reasons::DELETION_COMPLETED, "Deletion completed"),
        1 => "Deleting 1 Machine".to_owned(),
        count => format!("Deleting {count} Machines"),
    };
    let message = match stale_deletions(world, now) {
        Some(stale) => format!("{message} and {stale}"),
        None => message,
    };
    Draft::is_true(type_, reasons::WAITING_FOR_MACHINE_DELETION, message)
}

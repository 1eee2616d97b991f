//! The conditions of a Cluster.

use capi_api::{
    conditions::{
        Child, Draft, Part, Priority, Reasons, aggregate, get, reasons, summary, types,
        v1beta1::{self, Severity},
    },
    contract,
    core::v1beta2::{Cluster, ConditionPolarity, Machine},
    labels,
};
use capi_runtime::{Next, Urgency, meta};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    deletion::Stage,
    observe::{Settings, World},
    plan::write,
};
use crate::{
    foreign::{Foreign, Found, Repeated},
    machines,
    plan::{elapsed, look_at},
};

/// The older twin of `InfrastructureReady`.
pub const OLD_INFRASTRUCTURE_READY: &str = "InfrastructureReady";
/// The older twin of `ControlPlaneAvailable`.
pub const OLD_CONTROL_PLANE_READY: &str = "ControlPlaneReady";
/// The older twin of `ControlPlaneInitialized`.
const OLD_CONTROL_PLANE_INITIALIZED: &str = "ControlPlaneInitialized";
/// The reason of a topology that cannot be carried out; it makes the Cluster unavailable.
const RECONCILE_FAILED: &str = "ReconcileFailed";
/// Said of a topology.
const NO_TOPOLOGIES: &str = "spec.topology is not supported by this version: nothing is created from ClusterClasses. \
                             Set spec.infrastructureRef and spec.controlPlaneRef instead";
/// Said while the references are still to come from the topology.
const WAITING_FOR_TOPOLOGY: &str = "Waiting for cluster topology to be reconciled";

/// Whether a Machine has its Node.
pub fn has_node(machine: &Machine) -> bool {
    machine.status.as_ref().is_some_and(|s| s.node_ref.is_some())
}

/// Sets all conditions; returns when time alone will change one.
pub fn set_all(
    world: &World,
    settings: &Settings,
    stage: Option<&Stage>,
    cluster: &mut Cluster,
    now: Timestamp,
) -> Next {
    crate::pause::runs(cluster, now);
    let mut next = remote_connection_probe(world, settings, cluster, now);
    write(cluster, infrastructure_ready(world, cluster), now);
    write(cluster, control_plane_available(world, cluster), now);
    if !capi_api::conditions::is_true(cluster, types::CONTROL_PLANE_INITIALIZED) {
        write(cluster, control_plane_initialized(world), now);
    }
    write(cluster, workers_available(world), now);

    let control_plane: Vec<&Machine> = world.control_plane_machines().collect();
    // MachinePools do not keep UpToDate on their Machines.
    let workers: Vec<&Machine> = world
        .worker_machines()
        .filter(|m| !m.labels().contains_key(labels::POOL_NAME))
        .collect();
    write(
        cluster,
        machines::machines_ready(&control_plane, types::CONTROL_PLANE_MACHINES_READY),
        now,
    );
    write(
        cluster,
        machines::machines_ready(&workers, types::WORKER_MACHINES_READY),
        now,
    );
    for (group, target) in [
        (&control_plane, types::CONTROL_PLANE_MACHINES_UP_TO_DATE),
        (&workers, types::WORKER_MACHINES_UP_TO_DATE),
    ] {
        let (draft, of_age) = machines::machines_up_to_date(group, target, now);
        write(cluster, draft, now);
        next = next.earliest(of_age);
    }
    for (type_, words) in [
        (
            types::ROLLING_OUT,
            Reasons::new(
                reasons::ROLLING_OUT,
                reasons::ROLLING_OUT_UNKNOWN,
                reasons::NOT_ROLLING_OUT,
            ),
        ),
        (
            types::SCALING_UP,
            Reasons::new(
                reasons::SCALING_UP,
                reasons::SCALING_UP_UNKNOWN,
                reasons::NOT_SCALING_UP,
            ),
        ),
        (
            types::SCALING_DOWN,
            Reasons::new(
                reasons::SCALING_DOWN,
                reasons::SCALING_DOWN_UNKNOWN,
                reasons::NOT_SCALING_DOWN,
            ),
        ),
    ] {
        write(cluster, in_motion(world, type_, &words), now);
    }
    let all: Vec<&Machine> = control_plane.iter().chain(&workers).copied().collect();
    write(cluster, machines::remediating(&all, ""), now);
    write(cluster, deleting(stage), now);
    if let Some(draft) = topology_not_reconciled(world, cluster) {
        write(cluster, draft, now);
    }
    write(cluster, available(world, cluster), now);
    next
}

/// How soon a changed status is to be written: others wait for what is initialized and where, people for the rest.
pub fn urgency(before: &Cluster, after: &Cluster) -> Urgency {
    let awaited = |cluster: &Cluster| {
        let status = cluster.status.clone().unwrap_or_default();
        let is_true = |type_| capi_api::conditions::is_true(cluster, type_);
        (
            status.initialization.filter(|i| *i != Default::default()),
            status.failure_domains,
            [types::AVAILABLE, types::CONTROL_PLANE_INITIALIZED, types::PAUSED].map(is_true),
        )
    };
    let seen = |cluster: &Cluster| cluster.status.as_ref().and_then(|s| s.observed_generation);
    Urgency::first(
        awaited(before) != awaited(after),
        after.metadata.deletion_timestamp.is_some() || seen(before) != seen(after),
    )
}

fn remote_connection_probe(
    world: &World,
    settings: &Settings,
    cluster: &mut Cluster,
    now: Timestamp,
) -> Next {
    let probe = &world.probe;
    let failed = |mut message: String| {
        if let Some(error) = &probe.error {
            message.push_str(": ");
            message.push_str(error);
        }
        Draft::is_false(types::REMOTE_CONNECTION_PROBE, reasons::PROBE_FAILED, message)
    };
    if probe.is_undecided() {
        if get(cluster, types::REMOTE_CONNECTION_PROBE).is_none() {
            write(
                cluster,
                failed("Remote connection not established yet".to_owned()),
                now,
            );
        }
        return Next::Done;
    }
    let Some(last) = probe.last_success else {
        write(cluster, failed("Remote connection probe failed".to_owned()), now);
        return Next::Done;
    };
    let grace = SignedDuration::try_from(settings.remote_connection_grace).unwrap_or(SignedDuration::MAX);
    if elapsed(last, now) > grace {
        let last = capi_api::conditions::whole_seconds(last);
        write(
            cluster,
            failed(format!(
                "Remote connection probe failed, probe last succeeded at {last}"
            )),
            now,
        );
        return Next::Done;
    }
    write(
        cluster,
        Draft::is_true(types::REMOTE_CONNECTION_PROBE, reasons::PROBE_SUCCEEDED, ""),
        now,
    );
    // Only a connection that has begun to fail can run out of its grace without an event.
    match probe.failures {
        0 => Next::Done,
        _ => look_at(
            last.checked_add(grace + SignedDuration::from_millis(1))
                .unwrap_or(Timestamp::MAX),
            now,
        ),
    }
}

/// Nobody here carries out topologies; a controller of somebody else that does says so itself.
fn topology_not_reconciled(world: &World, cluster: &Cluster) -> Option<Draft> {
    let own = get(cluster, types::TOPOLOGY_RECONCILED).is_none_or(|c| c.message == NO_TOPOLOGIES);
    let wanted = cluster.spec.topology.is_some() && !world.is_deleting();
    (own && wanted).then(|| Draft::is_false(types::TOPOLOGY_RECONCILED, RECONCILE_FAILED, NO_TOPOLOGIES))
}

/// Said of a reference that the topology has not filled in yet.
fn waits_for_topology(world: &World, foreign: &Foreign) -> Option<&'static str> {
    let waits = matches!(foreign, Foreign::Unset) && world.cluster.spec.topology.is_some();
    waits.then_some(if world.is_deleting() {
        ""
    } else {
        WAITING_FOR_TOPOLOGY
    })
}

fn infrastructure_ready(world: &World, cluster: &Cluster) -> Draft {
    if let Some(message) = waits_for_topology(world, &world.infrastructure) {
        return Draft::is_false(
            types::INFRASTRUCTURE_READY,
            reasons::OBJECT_DOES_NOT_EXIST,
            message,
        );
    }
    let kind = cluster
        .spec
        .infrastructure_ref
        .as_ref()
        .map_or("", |r| r.kind.as_str());
    let initialization = cluster.status.as_ref().and_then(|s| s.initialization.as_ref());
    let done = initialization.and_then(|i| i.infrastructure_provisioned) == Some(true);
    if matches!(world.infrastructure, Foreign::Unset) && !world.is_deleting() {
        return Draft::is_true(types::INFRASTRUCTURE_READY, reasons::READY, "");
    }
    Repeated {
        target: types::INFRASTRUCTURE_READY,
        source: types::READY,
        kind,
        done,
        flag: "status.initialization.provisioned",
        reasons: (reasons::READY, reasons::NOT_READY),
        deleting: world.is_deleting(),
        lost: Some("the cluster still exists"),
    }
    .of(&world.infrastructure)
}

fn control_plane_available(world: &World, cluster: &Cluster) -> Draft {
    if let Some(message) = waits_for_topology(world, &world.control_plane) {
        return Draft::is_false(
            types::CONTROL_PLANE_AVAILABLE,
            reasons::OBJECT_DOES_NOT_EXIST,
            message,
        );
    }
    let kind = cluster
        .spec
        .control_plane_ref
        .as_ref()
        .map_or("", |r| r.kind.as_str());
    let initialization = cluster.status.as_ref().and_then(|s| s.initialization.as_ref());
    let done = initialization.and_then(|i| i.control_plane_initialized) == Some(true);
    if matches!(world.control_plane, Foreign::Unset) && !world.is_deleting() {
        return standalone_control_plane_available(done);
    }
    Repeated {
        target: types::CONTROL_PLANE_AVAILABLE,
        source: types::AVAILABLE,
        kind,
        done,
        flag: "status.initialization.controlPlaneInitialized",
        reasons: (reasons::AVAILABLE, reasons::NOT_AVAILABLE),
        deleting: world.is_deleting(),
        lost: Some("the cluster still exists"),
    }
    .of(&world.control_plane)
}

/// A control plane of Machines without an object above them has nobody who reports `Available`.
fn standalone_control_plane_available(initialized: bool) -> Draft {
    match initialized {
        true => Draft::is_true(types::CONTROL_PLANE_AVAILABLE, reasons::AVAILABLE, ""),
        false => Draft::is_false(
            types::CONTROL_PLANE_AVAILABLE,
            reasons::NOT_AVAILABLE,
            "Waiting for the first control plane machine to have status.nodeRef set",
        ),
    }
}

fn control_plane_initialized(world: &World) -> Draft {
    let type_ = types::CONTROL_PLANE_INITIALIZED;
    if let Some(message) = waits_for_topology(world, &world.control_plane) {
        return Draft::is_unknown(type_, reasons::OBJECT_DOES_NOT_EXIST, message);
    }
    let kind = world
        .cluster
        .spec
        .control_plane_ref
        .as_ref()
        .map_or("", |r| r.kind.as_str());
    let (initialized, waiting) = match &world.control_plane {
        Foreign::Missing => {
            return Draft::is_unknown(
                type_,
                reasons::OBJECT_DOES_NOT_EXIST,
                format!("{kind} does not exist"),
            );
        }
        Foreign::Unreadable(why) => return Draft::is_unknown(type_, reasons::INTERNAL_ERROR, why.clone()),
        Foreign::Found(found) => {
            match contract::ControlPlane::new(&found.object, found.contract).initialized() {
                Ok(initialized) => (initialized, "Control plane not yet initialized"),
                Err(error) => return Draft::is_unknown(type_, reasons::INTERNAL_ERROR, error.to_string()),
            }
        }
        Foreign::Unset => (
            world.control_plane_machines().any(has_node),
            "Waiting for the first control plane machine to have status.nodeRef set",
        ),
    };
    match initialized {
        true => Draft::is_true(type_, reasons::INITIALIZED, ""),
        false => Draft::is_false(type_, reasons::NOT_INITIALIZED, waiting),
    }
}

fn workers_available(world: &World) -> Draft {
    if world.deployments.is_empty() {
        return Draft::is_true(types::WORKERS_AVAILABLE, reasons::NO_WORKERS, "");
    }
    let names: Vec<String> = world.deployments.iter().map(|d| d.name_any()).collect();
    let children: Vec<Child<'_>> = world
        .deployments
        .iter()
        .zip(&names)
        .map(|(d, name)| {
            child(
                "MachineDeployment",
                name,
                d.status.as_ref().map_or(&[], |s| &s.conditions),
            )
        })
        .collect();
    aggregate(
        &children,
        types::AVAILABLE,
        types::WORKERS_AVAILABLE,
        false,
        &Reasons::AVAILABLE,
    )
}

fn child<'a>(kind: &'a str, name: &'a str, conditions: &'a [Condition]) -> Child<'a> {
    Child {
        kind,
        name,
        control_plane_machine: false,
        conditions,
    }
}

/// `RollingOut`, `ScalingUp` and `ScalingDown`: true if control plane or workers say so.
fn in_motion(world: &World, type_: &str, words: &Reasons) -> Draft {
    if matches!(world.control_plane, Foreign::Unreadable(_)) {
        return Draft::is_unknown(type_, reasons::INTERNAL_ERROR, reasons::CHECK_LOGS);
    }
    let control_plane = world.control_plane.found();
    let reported = control_plane.map(Found::conditions).unwrap_or_default();
    let control_plane_name = control_plane
        .and_then(|f| f.object.metadata.name.clone())
        .unwrap_or_default();
    let deployments: Vec<String> = world.deployments.iter().map(|d| d.name_any()).collect();
    let uid = world.cluster.uid().unwrap_or_default();
    let sets: Vec<_> = world
        .sets
        .iter()
        .filter(|s| type_ != types::ROLLING_OUT && meta::is_owned_by(&s.metadata, &uid))
        .map(|s| (s.name_any(), s))
        .collect();

    let mut children = Vec::new();
    if let Some(found) = control_plane.filter(|_| reported.iter().any(|c| c.type_ == type_)) {
        children.push(child(&found.resource.kind, &control_plane_name, &reported));
    }
    for (deployment, name) in world.deployments.iter().zip(&deployments) {
        let conditions = deployment.status.as_ref().map_or(&[][..], |s| &s.conditions);
        children.push(child("MachineDeployment", name, conditions));
    }
    for (name, set) in &sets {
        children.push(child(
            "MachineSet",
            name,
            set.status.as_ref().map_or(&[], |s| &s.conditions),
        ));
    }
    aggregate(&children, type_, type_, true, words)
}

fn deleting(stage: Option<&Stage>) -> Draft {
    match stage {
        None => Draft::is_false(types::DELETING, reasons::NOT_DELETING, ""),
        Some(stage) => Draft::is_true(types::DELETING, stage.reason, stage.message.clone()),
    }
}

fn available(world: &World, cluster: &Cluster) -> Draft {
    let gone = |type_: &'static str| {
        let part = Part::positive(type_);
        let reason = get(cluster, type_).map_or("", |c| c.reason.as_str());
        let gone = [reasons::OBJECT_DELETED, reasons::OBJECT_DOES_NOT_EXIST].contains(&reason);
        if world.is_deleting() && gone {
            part.weighing(Priority::Info)
        } else {
            part
        }
    };
    let topology = Part::positive(types::TOPOLOGY_RECONCILED);
    let topology = match get(cluster, types::TOPOLOGY_RECONCILED) {
        // A topology that is still being carried out does not make the Cluster unavailable.
        Some(c)
            if c.status == "False"
                && ![RECONCILE_FAILED, "ClusterClassNotReconciled"].contains(&&*c.reason) =>
        {
            topology.weighing(Priority::Info)
        }
        _ => topology,
    };
    let mut parts = vec![
        Part::negative(types::DELETING),
        Part::positive(types::REMOTE_CONNECTION_PROBE),
        gone(types::INFRASTRUCTURE_READY),
        gone(types::CONTROL_PLANE_AVAILABLE),
        Part::positive(types::WORKERS_AVAILABLE),
        if cluster.spec.topology.is_some() {
            topology
        } else {
            topology.optional()
        },
    ];
    for gate in &cluster.spec.availability_gates {
        parts.push(match gate.polarity {
            Some(ConditionPolarity::Negative) => Part::negative(&gate.condition_type),
            _ => Part::positive(&gate.condition_type),
        });
    }
    let conditions = cluster.status.as_ref().map_or(&[][..], |s| &s.conditions);
    summary(conditions, types::AVAILABLE, &parts, &Reasons::AVAILABLE)
}

/// The older mirror of a foreign `Ready`.
pub fn mirror_old(
    world: &World,
    found: &Found,
    done: bool,
    target: &str,
    waiting: &str,
    cluster: &mut Cluster,
    now: Timestamp,
) {
    let reason = if world.is_deleting() { "Deleting" } else { waiting };
    let source = v1beta1::ready_of_foreign(&found.object);
    let condition = v1beta1::mirror(source.as_ref(), target, done && !world.is_deleting(), || {
        v1beta1::is_false(target, reason, Severity::Info, "")
    });
    v1beta1::set(cluster, condition, now);
}

/// The older `ControlPlaneInitialized`; once true it stays.
pub fn old_control_plane_initialized(
    cluster: &mut Cluster,
    initialized: bool,
    has_object: bool,
    now: Timestamp,
) {
    let type_ = OLD_CONTROL_PLANE_INITIALIZED;
    if v1beta1::get(cluster, type_).is_some_and(|c| c.status == "True") {
        return;
    }
    let condition = match (initialized, has_object) {
        (true, _) => v1beta1::is_true(type_),
        (false, true) => v1beta1::is_false(
            type_,
            "WaitingForControlPlaneProviderInitialized",
            Severity::Info,
            "Waiting for control plane provider to indicate the control plane has been initialized",
        ),
        (false, false) => v1beta1::is_false(
            type_,
            "MissingNodeRef",
            Severity::Info,
            "Waiting for the first control plane machine to have its status.nodeRef set",
        ),
    };
    v1beta1::set(cluster, condition, now);
}

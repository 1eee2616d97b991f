//! Whether an unhealthy Machine is replaced now, and if not, why. Pure.
//!
//! A MachineHealthCheck marks Machines (`HealthCheckSucceeded` and `OwnerRemediated` are False); the control plane deletes
//! one of them at a time, and the ordinary growth of the control plane brings its successor. What was remediated, when and
//! how often it was tried is kept on the control plane while the successor is missing, and then on the successor, so that
//! a failure of the successor is recognised as one more failure of the same kind.

use capi_api::{
    annotations,
    conditions::{reasons, types},
    controlplane::v1beta2::LastRemediationStatus,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{
    health::Health,
    plan::leadership_candidates,
    world::{MachineView, World},
};

/// A successor that fails later than this after the remediation fails for a reason of its own.
const MIN_HEALTHY: SignedDuration = SignedDuration::from_hours(1);

/// What the annotations remember of a remediation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The Machine that was given up.
    pub machine: String,
    /// When.
    pub timestamp: Timestamp,
    /// How many times a successor was given up before.
    pub retry_count: i32,
}

impl Record {
    /// From the value of an annotation; none if it is not readable.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of an annotation.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn to_status(&self) -> LastRemediationStatus {
        LastRemediationStatus {
            machine: self.machine.clone(),
            time: Time(self.timestamp),
            retry_count: self.retry_count,
        }
    }
}

/// What is decided about one of the Machines to be remediated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The Machine.
    pub machine: String,
    /// What happens to it.
    pub outcome: Outcome,
}

/// What happens to a Machine that is to be remediated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is deleted.
    Remediate(Record),
    /// It stays for now.
    Wait {
        /// For its condition `OwnerRemediated`.
        reason: &'static str,
        /// For its condition `OwnerRemediated`.
        message: String,
        /// When the answer may be another one without anything else happening.
        until: Option<Timestamp>,
    },
}

/// Whether a MachineHealthCheck asks this control plane to replace a Machine.
pub fn is_marked(view: &MachineView) -> bool {
    view.condition_is(types::HEALTH_CHECK_SUCCEEDED, "False")
        && view.condition_is(types::OWNER_REMEDIATED, "False")
}

/// The remediation whose successor is still missing, as the annotation of the control plane says.
pub fn in_progress(world: &World) -> Option<Record> {
    let annotations = world.control_plane.annotations();
    Record::parse(annotations.get(annotations::REMEDIATION_IN_PROGRESS)?)
}

/// Whether the annotation of the control plane speaks of something that is over: the successor exists, or the Machine got
/// well before it was deleted, or nobody can read it.
pub fn is_over(world: &World) -> bool {
    let annotations = world.control_plane.annotations();
    let Some(text) = annotations.get(annotations::REMEDIATION_IN_PROGRESS) else {
        return false;
    };
    let Some(record) = Record::parse(text) else {
        return true;
    };
    let succeeded = world.machines.iter().any(|view| {
        let created = view.machine.metadata.creation_timestamp.as_ref();
        created.is_some_and(|created| created.0 > record.timestamp)
            || view.machine.annotations().get(annotations::REMEDIATION_FOR) == Some(text)
    });
    let recovered = world
        .machines
        .iter()
        .any(|view| view.name() == record.machine && !view.deleting() && !is_marked(view));
    succeeded || recovered
}

/// The last remediation for the status: the one in progress, else the youngest that a Machine remembers.
pub fn last(world: &World) -> Option<LastRemediationStatus> {
    let of_machine = |view: &MachineView| {
        let annotations = view.machine.annotations();
        Record::parse(annotations.get(annotations::REMEDIATION_FOR)?)
    };
    let youngest = || {
        let all = world.machines.iter().filter_map(of_machine);
        all.max_by_key(|record| (record.timestamp, record.retry_count))
    };
    in_progress(world)
        .or_else(youngest)
        .map(|record| record.to_status())
}

/// Decides about the worst of the Machines that are to be remediated; none if there is nothing to decide.
pub fn decide(world: &World, health: &Health<'_>, now: Timestamp) -> Option<Decision> {
    let view = world
        .living()
        .filter(|view| is_marked(view))
        .min_by_key(|view| rank(world, health, view))?;
    Some(Decision {
        machine: view.name(),
        outcome: outcome(world, health, view, now),
    })
}

/// The most broken Machine comes first: the more faults go with it, the better the chances that its successor can join.
fn rank(world: &World, health: &Health<'_>, view: &MachineView) -> impl Ord + use<> {
    let holds = |type_: &str| health.holds(view, type_);
    let managed = world.etcd_is_managed();
    let created = view.machine.metadata.creation_timestamp.as_ref();
    (
        !view
            .machine
            .annotations()
            .contains_key(annotations::REMEDIATE_MACHINE),
        view.node_name().is_some(),
        managed && holds(types::ETCD_MEMBER_HEALTHY),
        managed && holds(types::ETCD_POD_HEALTHY),
        holds(types::API_SERVER_POD_HEALTHY),
        holds(types::CONTROLLER_MANAGER_POD_HEALTHY),
        holds(types::SCHEDULER_POD_HEALTHY),
        created.map(|time| time.0),
        view.name(),
    )
}

fn deferred(message: impl Into<String>) -> Outcome {
    Outcome::Wait {
        reason: reasons::REMEDIATION_DEFERRED,
        message: message.into(),
        until: None,
    }
}

fn refused(message: impl Into<String>) -> Outcome {
    Outcome::Wait {
        reason: reasons::CANNOT_BE_REMEDIATED,
        message: message.into(),
        until: None,
    }
}

fn outcome(world: &World, health: &Health<'_>, view: &MachineView, now: Timestamp) -> Outcome {
    let begun = in_progress(world).filter(|_| !is_over(world));
    if let Some(other) = begun.as_ref().filter(|record| record.machine != view.name()) {
        return deferred(format!(
            "KubeadmControlPlane waiting for the replacement of Machine {} before triggering remediation",
            other.machine
        ));
    }
    if let Some(version) = world.topology_version_ahead() {
        return deferred(format!(
            "KubeadmControlPlane can't remediate while waiting for a version upgrade to {version} to be propagated from Cluster.spec.topology"
        ));
    }
    // What was begun before a crash is finished with what was noted then.
    let record = match begun {
        Some(record) => record,
        None => match retry(world, view, now) {
            Ok(record) => record,
            Err(outcome) => return outcome,
        },
    };
    if world.initialized()
        && let Some(obstacle) = obstacle(world, health, view)
    {
        return obstacle;
    }
    Outcome::Remediate(record)
}

/// What stands in the way of replacing a Machine of a control plane that once worked; before that there is nothing to lose.
fn obstacle(world: &World, health: &Health<'_>, view: &MachineView) -> Option<Outcome> {
    if world.machines.len() <= 1 {
        return Some(refused(
            "KubeadmControlPlane can't remediate if current replicas are less or equal to 1",
        ));
    }
    let provisioning = |other: &MachineView| other.node_name().is_none() && !is_marked(other);
    if world.machines.iter().any(provisioning) {
        return Some(deferred(
            "KubeadmControlPlane waiting for control plane Machine provisioning to complete before triggering remediation",
        ));
    }
    if world.machines.iter().any(MachineView::deleting) {
        return Some(deferred(
            "KubeadmControlPlane waiting for control plane Machine deletion to complete before triggering remediation",
        ));
    }
    if !is_safe(world, health, view) {
        return Some(refused(
            "KubeadmControlPlane can't remediate this Machine because this could result in loosing Kubernetes control plane components or in etcd quorum loss",
        ));
    }
    let heirs = || {
        leadership_candidates(world, view)
            .iter()
            .any(|name| !world.machine(name).is_some_and(is_marked))
    };
    if world.etcd_is_managed() && !heirs() {
        return Some(refused(
            "KubeadmControlPlane can't remediate this Machine because there is no healthy Machine to forward etcd leadership to",
        ));
    }
    None
}

/// Whether the control plane works on without a Machine.
fn is_safe(world: &World, health: &Health<'_>, view: &MachineView) -> bool {
    if !health.components_without(Some(&view.name())) {
        return false;
    }
    if !world.etcd_is_managed() {
        return true;
    }
    match world.member_name(view) {
        // It never got far enough to have a member.
        None => true,
        Some(member) => health
            .etcd_after(Some(&member), false)
            .is_some_and(|after| after.is_safe()),
    }
}

/// The record of a remediation that may be tried now by the rules for repetitions.
fn retry(world: &World, view: &MachineView, now: Timestamp) -> Result<Record, Outcome> {
    let now = capi_api::conditions::whole_seconds(now);
    let mut record = Record {
        machine: view.name(),
        timestamp: now,
        retry_count: 0,
    };
    let annotations = view.machine.annotations();
    let previous = annotations
        .get(annotations::REMEDIATION_FOR)
        .and_then(|text| Record::parse(text));
    let Some(previous) = previous else {
        return Ok(record);
    };
    let settings = world.control_plane.spec.remediation.clone().unwrap_or_default();
    let seconds =
        |value: Option<i32>| value.map(|seconds| SignedDuration::from_secs(i64::from(seconds.max(0))));
    let min_healthy = seconds(settings.min_healthy_period_seconds).unwrap_or(MIN_HEALTHY);
    let period = seconds(settings.retry_period_seconds).unwrap_or(SignedDuration::ZERO);
    let within = |duration: SignedDuration| {
        let end = previous.timestamp.checked_add(duration).ok();
        end.filter(|end| *end > now)
    };
    if within(min_healthy).is_none() {
        return Ok(record);
    }
    record.retry_count = previous.retry_count;
    if let Some(end) = within(period) {
        return Err(Outcome::Wait {
            reason: reasons::REMEDIATION_DEFERRED,
            message: format!(
                "KubeadmControlPlane can't remediate this machine because the operation already failed in the latest {} (RetryPeriodSeconds)",
                in_words(period)
            ),
            until: Some(end),
        });
    }
    if let Some(most) = settings.max_retry
        && record.retry_count >= most
    {
        return Err(Outcome::Wait {
            reason: reasons::CANNOT_BE_REMEDIATED,
            message: format!(
                "KubeadmControlPlane can't remediate this machine because the operation already failed {most} times (MaxRetry)"
            ),
            // By then it counts as a failure of its own.
            until: within(min_healthy),
        });
    }
    record.retry_count += 1;
    Ok(record)
}

/// A duration in the form `1h0m0s`, from the first unit that is not zero.
fn in_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

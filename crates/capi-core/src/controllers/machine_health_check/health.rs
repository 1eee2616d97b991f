//! Whether one Machine is healthy. Pure.

use capi_api::{
    annotations,
    conditions::{get, is_true, reasons, types},
    core::v1beta2::{Machine, MachineHealthCheckChecks},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::observe::{NodeView, Target, World};
use crate::{machines, plan::after_seconds};

/// How long a Machine may take to get its Node if the check does not say.
pub const DEFAULT_NODE_STARTUP_TIMEOUT: i32 = 600;

/// Older reasons of an unhealthy Machine where they differ from today's.
const OLD_HAS_ANNOTATION: &str = "HasRemediateMachineAnnotation";
const OLD_NODE_NOT_FOUND: &str = "NodeNotFound";

/// What is wrong with a Machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illness {
    /// The reason of today's condition.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
    /// The reason of the older condition.
    pub old_reason: &'static str,
    /// Its message.
    pub old_message: String,
}

/// What is found about a Machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something is wrong for too long.
    Unhealthy(Illness),
    /// Something is wrong, but not for too long before this time.
    Suspicious(Timestamp),
    /// Nothing is wrong.
    Healthy,
    /// It cannot be told yet.
    Untold,
}

/// What the checks of a Machine found so far.
#[derive(Default)]
struct Findings {
    node: Vec<String>,
    machine: Vec<String>,
    next: Option<Timestamp>,
}

impl Findings {
    fn look_at(&mut self, time: Timestamp) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }
}

/// Judges a Machine.
pub fn judge(world: &World, target: &Target, now: Timestamp) -> Verdict {
    let machine = &*target.machine;
    if machine.annotations().contains_key(annotations::REMEDIATE_MACHINE) {
        return Verdict::Unhealthy(Illness {
            reason: reasons::HAS_REMEDIATE_ANNOTATION,
            message: format!(
                "Health check failed: marked for remediation via {} annotation",
                annotations::REMEDIATE_MACHINE
            ),
            old_reason: OLD_HAS_ANNOTATION,
            old_message: "Marked for remediation via remediate-machine annotation".to_owned(),
        });
    }
    // Workers can do nothing about a control plane that is not up yet; nobody about missing infrastructure.
    let initialized = is_true(&*world.cluster, types::CONTROL_PLANE_INITIALIZED);
    if !initialized && !machines::is_control_plane(machine)
        || !is_true(&*world.cluster, types::INFRASTRUCTURE_READY)
    {
        return Verdict::Untold;
    }
    let empty = MachineHealthCheckChecks::default();
    let checks = world.check.spec.checks.as_ref().unwrap_or(&empty);
    let mut findings = Findings::default();
    machine_conditions(checks, machine, &mut findings, now);
    match &target.node {
        // Its own deletion takes the Node away.
        NodeView::Gone(_) if machines::is_deleting(machine) && findings.machine.is_empty() => Verdict::Untold,
        NodeView::Gone(name) => {
            let message = format!("Node {name} has been deleted");
            let reasons = (reasons::NODE_DELETED, OLD_NODE_NOT_FOUND);
            let mut illness = illness(reasons, vec![message], findings.machine.clone());
            if findings.machine.is_empty() {
                illness.old_message = String::new();
            }
            Verdict::Unhealthy(illness)
        }
        NodeView::Unset | NodeView::Hidden if !findings.machine.is_empty() => {
            let reasons = (reasons::UNHEALTHY_MACHINE, reasons::UNHEALTHY_MACHINE);
            Verdict::Unhealthy(illness(reasons, Vec::new(), findings.machine))
        }
        NodeView::Unset => startup(world, checks, machine, findings, now),
        NodeView::Hidden => findings.next.map_or(Verdict::Untold, Verdict::Suspicious),
        NodeView::Found(node) => {
            node_conditions(checks, node, &mut findings, now);
            of_node(machine, findings)
        }
    }
}

/// A Machine whose Node exists.
fn of_node(machine: &Machine, findings: Findings) -> Verdict {
    if !findings.node.is_empty() || !findings.machine.is_empty() {
        let reasons = (reasons::UNHEALTHY_NODE, reasons::UNHEALTHY_NODE);
        return Verdict::Unhealthy(illness(reasons, findings.node, findings.machine));
    }
    match findings.next {
        Some(next) => Verdict::Suspicious(next),
        // Neither healthy nor in need of anything.
        None if machines::is_deleting(machine) => Verdict::Untold,
        None => Verdict::Healthy,
    }
}

/// A Machine that has no Node yet.
fn startup(
    world: &World,
    checks: &MachineHealthCheckChecks,
    machine: &Machine,
    mut findings: Findings,
    now: Timestamp,
) -> Verdict {
    let timeout = checks
        .node_startup_timeout_seconds
        .unwrap_or(DEFAULT_NODE_STARTUP_TIMEOUT);
    if timeout == 0 {
        return findings.next.map_or(Verdict::Untold, Verdict::Suspicious);
    }
    let end = after_seconds(startup_began(world, machine, now), i64::from(timeout));
    if end <= now {
        let message = format!("Node failed to report startup in {}", go_duration(timeout));
        let reasons = (reasons::NODE_STARTUP_TIMEOUT, reasons::NODE_STARTUP_TIMEOUT);
        return Verdict::Unhealthy(illness(reasons, vec![message], findings.machine));
    }
    findings.look_at(end);
    findings.next.map_or(Verdict::Untold, Verdict::Suspicious)
}

/// From when on a Machine could have got its Node: the last of its creation, the Cluster's readiness for it and its
/// own infrastructure.
fn startup_began(world: &World, machine: &Machine, now: Timestamp) -> Timestamp {
    let created = machine.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let of_cluster = |type_: &str| get(&*world.cluster, type_);
    [
        of_cluster(types::CONTROL_PLANE_INITIALIZED),
        of_cluster(types::INFRASTRUCTURE_READY),
        get(machine, types::INFRASTRUCTURE_READY),
    ]
    .into_iter()
    .flatten()
    .filter(|condition| condition.status == "True")
    .map(|condition| condition.last_transition_time.0)
    .fold(created, Timestamp::max)
}

fn machine_conditions(
    checks: &MachineHealthCheckChecks,
    machine: &Machine,
    findings: &mut Findings,
    now: Timestamp,
) {
    for wrong in &checks.unhealthy_machine_conditions {
        let Some(found) = get(machine, &wrong.type_).filter(|c| c.status == wrong.status.as_str()) else {
            continue;
        };
        let end = after_seconds(found.last_transition_time.0, i64::from(wrong.timeout_seconds));
        match end <= now {
            true => findings.machine.push(lasting(
                "Machine",
                &wrong.type_,
                wrong.status.as_str(),
                wrong.timeout_seconds,
            )),
            false => findings.look_at(end),
        }
    }
}

fn node_conditions(checks: &MachineHealthCheckChecks, node: &Node, findings: &mut Findings, now: Timestamp) {
    let all = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    for wrong in &checks.unhealthy_node_conditions {
        let mut matching = all
            .clone()
            .filter(|c| c.type_ == wrong.type_ && c.status == wrong.status);
        let Some(found) = matching.next() else { continue };
        // A Node that does not say since when has been like this for ever.
        let since = found
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
        let end = after_seconds(since, i64::from(wrong.timeout_seconds));
        match end <= now {
            true => findings.node.push(lasting(
                "Node",
                &wrong.type_,
                &wrong.status,
                wrong.timeout_seconds,
            )),
            false => findings.look_at(end),
        }
    }
}

fn lasting(kind: &str, type_: &str, status: &str, timeout: i32) -> String {
    let timeout = go_duration(timeout);
    format!("Condition {type_} on {kind} is reporting status {status} for more than {timeout}")
}

/// What is wrong, from the Node's part and the Machine's part; the Machine's gives the reason.
fn illness(
    (reason, old_reason): (&'static str, &'static str),
    node: Vec<String>,
    machine: Vec<String>,
) -> Illness {
    let of_machine = !machine.is_empty();
    let text = node.into_iter().chain(machine).collect::<Vec<_>>().join("; ");
    Illness {
        reason: if of_machine {
            reasons::UNHEALTHY_MACHINE
        } else {
            reason
        },
        message: format!("Health check failed: {text}"),
        old_reason: if of_machine {
            reasons::UNHEALTHY_MACHINE
        } else {
            old_reason
        },
        old_message: text,
    }
}

/// Seconds as Go prints durations: `30s`, `5m0s`, `1h0m0s`. It is part of messages that tools parse.
pub fn go_duration(seconds: i32) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

//! Emptying a Node before its host goes: when a drain may run, and its rounds.
//!
//! | file | what is in it |
//! |---|---|
//! | [`rules`] | which pods are evicted, waited for or left alone |
//! | [`evictions`] | the pods of one round, and the message about it |
//! | [`volumes`] | what stays attached after the pods have gone |
//!
//! Everything here is pure; `remote.rs` reads and evicts.

pub mod evictions;
pub mod rules;
pub mod volumes;

use capi_api::annotations;
use capi_runtime::{Event, meta};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use self::{
    evictions::Evictions,
    rules::{Circumstances, rules_for},
};
use super::{
    observe::{NodeView, World},
    plan::{Action, Plan},
};
use crate::{
    machines::is_control_plane,
    plan::{Step, after_seconds, elapsed, look_at},
};

/// How soon a drain of some age is looked at again, in seconds: most pods go at once, some take their minute, and those
/// that a disruption budget holds back take long.
const RETRIES: [(SignedDuration, i64); 2] = [
    (SignedDuration::from_secs(10), 2),
    (SignedDuration::from_mins(1), 5),
];
/// The same for still older drains, and for volumes.
const RETRY: i64 = 20;

/// Whether a drain may run: nobody forbids it, it did not time out, and the host still stands.
pub fn is_allowed(world: &World) -> bool {
    let spec = world.machine.spec.deletion.as_ref();
    let status = world.machine.status.as_ref().and_then(|s| s.deletion.as_ref());
    is_stage_open(world, annotations::EXCLUDE_NODE_DRAINING)
        && !is_timed_out(
            spec.and_then(|d| d.node_drain_timeout_seconds),
            status.and_then(|d| d.node_drain_start_time.as_ref()).map(|t| t.0),
            world.seen,
        )
}

/// Whether to wait for volumes: the same rules with the other timeout.
pub fn may_wait_for_volumes(world: &World) -> bool {
    let spec = world.machine.spec.deletion.as_ref();
    let status = world.machine.status.as_ref().and_then(|s| s.deletion.as_ref());
    is_stage_open(world, annotations::EXCLUDE_WAIT_FOR_VOLUME_DETACH)
        && !is_timed_out(
            spec.and_then(|d| d.node_volume_detach_timeout_seconds),
            status
                .and_then(|d| d.wait_for_node_volume_detach_start_time.as_ref())
                .map(|t| t.0),
            world.seen,
        )
}

/// Not once a later stage was reached, nor without a host that still stands.
fn is_stage_open(world: &World, excluded_by: &str) -> bool {
    let status = world.machine.status.as_ref().and_then(|s| s.deletion.as_ref());
    let later = status.is_some_and(|d| d.wait_for_pre_terminate_hook_start_time.is_some());
    let standing = world.infrastructure.found().is_some_and(|f| !f.is_deleting());
    !world.machine.annotations().contains_key(excluded_by)
        && !later
        && standing
        && !is_past_its_control_plane(world)
}

/// A kubeadm control plane takes its hook away when it has removed the etcd member: from then on the Node's own API
/// server is gone, and nothing on it can be drained.
fn is_past_its_control_plane(world: &World) -> bool {
    let metadata = &world.machine.metadata;
    is_control_plane(&world.machine)
        && meta::owner_of_kind(metadata, "controlplane.cluster.x-k8s.io", "KubeadmControlPlane").is_some()
        && !world
            .machine
            .annotations()
            .contains_key(annotations::KCP_PRE_TERMINATE_HOOK)
}

fn is_timed_out(timeout: Option<i32>, started: Option<Timestamp>, now: Timestamp) -> bool {
    match (timeout.filter(|t| *t > 0), started) {
        (Some(timeout), Some(started)) => after_seconds(started, i64::from(timeout)) <= now,
        _ => false,
    }
}

/// Whether the kubelet no longer answers: its pods cannot be waited for.
pub fn is_unreachable(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
    taints.is_some_and(|t| {
        t.iter()
            .any(|t| t.key == "node.kubernetes.io/unreachable" && t.effect == "NoExecute")
    })
}

/// The round that is due: nothing if there is nothing to drain or nothing known, an error if a rule is broken.
pub fn round(world: &World) -> Result<Option<Evictions>, String> {
    let (Some(node), Some(view)) = (world.node.found(), &world.drain) else {
        return Ok(None);
    };
    let rules = rules_for(&world.rules, &world.machine, &world.cluster)?;
    let round = Evictions::of(&Circumstances {
        view,
        rules: &rules,
        unreachable: is_unreachable(node),
        now: world.seen,
    });
    Ok(Some(round).filter(|round| !round.is_empty()))
}

/// Adds the next steps of a drain and returns what it waits for; nothing once the Node is empty.
pub fn plan(world: &World, started: Timestamp, plan: &mut Plan, now: Timestamp) -> Option<String> {
    let head = evictions::head(started);
    let node = match &world.node {
        NodeView::Found(node) => node,
        // Without a Node there is nothing to drain.
        NodeView::Absent | NodeView::Ambiguous(_) => return None,
        NodeView::Disconnected(why) => {
            next_timeout(world, started, plan, now);
            return Some(format!("{head}\n* {why}"));
        }
    };
    if node.spec.as_ref().and_then(|s| s.unschedulable) != Some(true) {
        let why = format!("Node {} is about to be drained", node.name_any());
        plan.steps
            .push(Step::new(Action::Cordon(Box::new((**node).clone())), why));
    }
    if let Some(trouble) = &world.trouble {
        let text = format!("error draining Machine's node {:?}: {trouble}", node.name_any());
        plan.events.push(Event::warning("FailedDrainNode", text));
        next_timeout(world, started, plan, now);
        return Some(format!("{head}\n* Error draining Node: {trouble}"));
    }
    let message = match round(world) {
        Ok(None) => return None,
        // The change of the rule wakes the Machine.
        Err(broken) => format!("{head}\n* {broken}"),
        Ok(Some(round)) => {
            let message = round.message(started, &round.undisturbed());
            if !round.now.is_empty() {
                let why = format!("{} pods leave Node {}", round.now.len(), node.name_any());
                plan.steps
                    .push(Step::new(Action::Evict(Box::new(round), started), why));
            }
            message
        }
    };
    let age = elapsed(started, now);
    let wait = RETRIES
        .iter()
        .find(|(until, _)| age < *until)
        .map_or(RETRY, |(_, wait)| *wait);
    plan.next = plan.next.earliest(look_at(after_seconds(now, wait), now));
    next_timeout(world, started, plan, now);
    Some(message)
}

fn next_timeout(world: &World, started: Timestamp, plan: &mut Plan, now: Timestamp) {
    let spec = world.machine.spec.deletion.as_ref();
    if let Some(timeout) = spec.and_then(|d| d.node_drain_timeout_seconds).filter(|t| *t > 0) {
        plan.next = plan
            .next
            .earliest(look_at(after_seconds(started, i64::from(timeout)), now));
    }
}

/// What is attached to the Node and has to go first, as the message says it; nothing if nothing is.
pub fn wait_for_volumes(
    world: &World,
    started: Timestamp,
    plan: &mut Plan,
    now: Timestamp,
) -> Option<String> {
    let head = volumes::head(started);
    let node = match &world.node {
        NodeView::Disconnected(why) => {
            next_volume_timeout(world, started, plan, now);
            return Some(format!("{head}\n* {why}"));
        }
        // Without a kubelet nothing is ever detached.
        NodeView::Found(node) if !is_unreachable(node) => node,
        _ => return None,
    };
    if let Some(trouble) = &world.trouble {
        let name = node.name_any();
        let text = format!("error waiting for node volumes detaching, Machine's node {name:?}: {trouble}");
        plan.events
            .push(Event::warning("FailedWaitForVolumeDetach", text));
        next_volume_timeout(world, started, plan, now);
        return Some(format!("{head}\n* Error waiting for volumes: {trouble}"));
    }
    let view = world.volumes.as_ref()?;
    let rules = rules_for(&world.rules, &world.machine, &world.cluster).unwrap_or_default();
    let empty = rules::View::default();
    let left_alone = rules::claims_left_alone(&Circumstances {
        view: world.drain.as_ref().unwrap_or(&empty),
        rules: &rules,
        unreachable: false,
        now: world.seen,
    });
    let message = volumes::Attached::of(node, view, &left_alone).message(&head)?;
    plan.next = plan.next.earliest(look_at(after_seconds(now, RETRY), now));
    next_volume_timeout(world, started, plan, now);
    Some(message)
}

fn next_volume_timeout(world: &World, started: Timestamp, plan: &mut Plan, now: Timestamp) {
    let spec = world.machine.spec.deletion.as_ref();
    let timeout = spec.and_then(|d| d.node_volume_detach_timeout_seconds);
    if let Some(timeout) = timeout.filter(|t| *t > 0) {
        let end = after_seconds(started, i64::from(timeout));
        plan.next = plan.next.earliest(look_at(end, now));
    }
}

//! Emptying a Node before its host goes.
//!
//! The first part of draining: cordon, then evict everything that eviction makes sense for. MachineDrainRules, the
//! pods' own wishes and the exact accounting of refusals are still to come.

use std::collections::BTreeMap;

use capi_api::{annotations, conditions::name_list};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{
    observe::{NodeView, World},
    plan::{Action, Plan},
};
use crate::plan::{Step, after_seconds, elapsed, look_at};

/// When a drain is looked at again: soon at first, since most pods go at once, and then every 20 s.
const EARLY_RETRY: i64 = 2;
const RETRY: i64 = 20;
/// For how long after its start a drain is looked at soon.
const EARLY: SignedDuration = SignedDuration::from_secs(10);

/// A failed request to a workload cluster.
pub fn failed(verb: &'static str, what: &str, source: kube::Error) -> capi_runtime::Error {
    capi_runtime::Error::Api {
        verb,
        kind: "Pod".to_owned(),
        key: capi_runtime::Key::new("", what),
        source,
    }
}

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
    !world.machine.annotations().contains_key(excluded_by) && !later && standing
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

/// Adds the next steps of a drain and returns what it waits for; nothing once the Node is empty.
pub fn plan(world: &World, started: Timestamp, plan: &mut Plan, now: Timestamp) -> Option<String> {
    let head = format!("Drain not completed yet (started at {started}):");
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
    let pods: Vec<&Pod> = world
        .pods
        .iter()
        .flatten()
        .filter(|p| is_drained(p, node, now))
        .collect();
    if pods.is_empty() {
        return None;
    }
    let name = |p: &&Pod| format!("{}/{}", p.namespace().unwrap_or_default(), p.name_any());
    let to_evict: Vec<Pod> = pods
        .iter()
        .filter(|p| p.metadata.deletion_timestamp.is_none())
        .map(|p| (*p).clone())
        .collect();
    let names: Vec<String> = pods.iter().map(name).collect();
    if !to_evict.is_empty() {
        let why = format!("{} pods leave Node {}", to_evict.len(), node.name_any());
        plan.steps.push(Step::new(Action::Evict(to_evict), why));
    }
    let wait = if elapsed(started, now) < EARLY {
        EARLY_RETRY
    } else {
        RETRY
    };
    plan.next = plan.next.earliest(look_at(after_seconds(now, wait), now));
    next_timeout(world, started, plan, now);
    let noun = if names.len() == 1 { "Pod" } else { "Pods" };
    let list = name_list(&names, 3);
    Some(format!(
        "{head}\n* {noun} {list}: deletionTimestamp set, but still not removed from the Node"
    ))
}

fn next_timeout(world: &World, started: Timestamp, plan: &mut Plan, now: Timestamp) {
    let spec = world.machine.spec.deletion.as_ref();
    if let Some(timeout) = spec.and_then(|d| d.node_drain_timeout_seconds).filter(|t| *t > 0) {
        plan.next = plan
            .next
            .earliest(look_at(after_seconds(started, i64::from(timeout)), now));
    }
}

/// Whether a pod has to leave: not those that would come back at once, nor those nobody can evict.
fn is_drained(pod: &Pod, node: &Node, now: Timestamp) -> bool {
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|o| o.controller == Some(true));
    let mirror = pod.annotations().contains_key("kubernetes.io/config.mirror");
    let daemon = owner.is_some_and(|o| o.kind == "DaemonSet");
    let skipped = pod
        .labels()
        .get(capi_api::labels::DRAIN)
        .is_some_and(|v| v.eq_ignore_ascii_case("skip"));
    let lost = is_unreachable(node)
        && pod
            .metadata
            .deletion_timestamp
            .as_ref()
            .is_some_and(|t| elapsed(t.0, now) > SignedDuration::from_secs(1));
    !(mirror || daemon || skipped || lost)
}

/// The message about a drain in which some evictions were refused; each refusal with the pods it concerns.
pub fn message(waiting: &str, refused: &BTreeMap<String, Vec<String>>) -> String {
    let mut lines = vec![waiting.to_owned()];
    for (cause, pods) in refused.iter().take(5) {
        let noun = if pods.len() == 1 { "Pod" } else { "Pods" };
        lines.push(format!("* {noun} {}: {cause}", name_list(pods, 3)));
    }
    let others: usize = refused.iter().skip(5).map(|(_, pods)| pods.len()).sum();
    match others {
        0 => {}
        1 => lines.push("* 1 Pod with other issues".to_owned()),
        n => lines.push(format!("* {n} Pods with other issues")),
    }
    lines.join("\n")
}

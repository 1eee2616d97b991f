//! How a Machine goes: hooks, drain, volumes, hooks, infrastructure, bootstrap config, Node.

use capi_api::{
    annotations,
    conditions::{reasons, v1beta1, v1beta1::Severity, whole_seconds},
    contract,
    core::v1beta2::{Machine, MachineDeletionStatus},
};
use capi_runtime::Event;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    conditions::{OLD_DRAINING_SUCCEEDED, OLD_NODE_HEALTHY},
    drain,
    observe::{NodeView, World},
    plan::{Action, Plan, status},
};
use crate::{
    foreign::Foreign,
    plan::{Step, after_seconds, look_at},
};

/// What `nodeDeletionTimeoutSeconds` is if nobody set it.
const NODE_DELETION_TIMEOUT: i32 = 10;

/// Where a deletion stands: the `Deleting` condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The reason of the condition.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

impl Stage {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// The name of the Machine's Node, if it is known.
pub fn node_name(world: &World) -> Option<String> {
    let named = world
        .machine
        .status
        .as_ref()
        .and_then(|s| s.node_ref.as_ref())
        .map(|r| r.name.clone());
    named.or_else(|| world.node.found().map(|n| n.name_any()))
}

/// Whether the Node is to be emptied and deleted with its Machine; if not, why.
pub fn may_delete_node(world: &World) -> Result<String, &'static str> {
    if world.cluster.metadata.deletion_timestamp.is_some() {
        return Err("the Cluster is being deleted");
    }
    let Some(node) = node_name(world) else {
        return Err("the Machine has no Node");
    };
    if let Some(found) = world.control_plane.found() {
        if found.is_deleting() {
            return Err("the control plane is being deleted");
        }
        if contract::ControlPlane::new(&found.object, found.contract)
            .externally_managed()
            .unwrap_or(false)
        {
            return Ok(node);
        }
    }
    if world.control_plane_machines == 0 {
        return Err("no control plane Machine stays");
    }
    Ok(node)
}

/// Whether the stages that look at what is on the Node are reached.
pub fn may_touch_node(world: &World) -> bool {
    may_delete_node(world).is_ok() && hooks(&world.machine, annotations::PRE_DRAIN_HOOK_PREFIX).is_empty()
}

/// The Machine's hook annotations with a prefix, sorted.
fn hooks(machine: &Machine, prefix: &str) -> Vec<String> {
    machine
        .annotations()
        .keys()
        .filter(|k| k.starts_with(prefix))
        .cloned()
        .collect()
}

fn deletion(plan: &mut Plan) -> &mut MachineDeletionStatus {
    status(&mut plan.machine).deletion.get_or_insert_default()
}

/// Remembers when a stage was reached first.
fn first(time: &mut Option<Time>, now: Timestamp) -> Timestamp {
    time.get_or_insert_with(|| Time(whole_seconds(now))).0
}

/// Adds what the deletion needs next; returns where it stands.
pub fn plan(world: &World, plan: &mut Plan, now: Timestamp) -> Stage {
    let node = may_delete_node(world);
    if let Ok(node) = &node {
        if status(&mut plan.machine).node_ref.is_none() {
            // Found only now: deleting it must survive a restart.
            status(&mut plan.machine).node_ref =
                Some(capi_api::core::v1beta2::MachineNodeReference { name: node.clone() });
        }
        if let Some(stage) = before_infrastructure(world, node, plan, now) {
            return stage;
        }
    }
    let waiting = hooks(&world.machine, annotations::PRE_TERMINATE_HOOK_PREFIX);
    let old = "PreTerminateDeleteHookSucceeded";
    if !waiting.is_empty() {
        first(&mut deletion(plan).wait_for_pre_terminate_hook_start_time, now);
        v1beta1::set(
            &mut plan.machine,
            v1beta1::is_false(old, "WaitingExternalHook", Severity::Info, ""),
            now,
        );
        let message = format!(
            "Waiting for pre-terminate hooks to succeed (hooks: {})",
            waiting.join(",")
        );
        return Stage::new(reasons::WAITING_FOR_PRE_TERMINATE_HOOK, message);
    }
    v1beta1::set(&mut plan.machine, v1beta1::is_true(old), now);
    if let Some(stage) = delete_references(world, plan, now) {
        return stage;
    }
    if let Ok(node) = node
        && let Some(stage) = delete_node(world, node, plan, now)
    {
        return stage;
    }
    Stage::new(reasons::DELETION_COMPLETED, "Deletion completed")
}

/// Hooks, drain and volumes; nothing once they are through.
fn before_infrastructure(world: &World, node: &str, plan: &mut Plan, now: Timestamp) -> Option<Stage> {
    let waiting = hooks(&world.machine, annotations::PRE_DRAIN_HOOK_PREFIX);
    let old = "PreDrainDeleteHookSucceeded";
    if !waiting.is_empty() {
        first(&mut deletion(plan).wait_for_pre_drain_hook_start_time, now);
        v1beta1::set(
            &mut plan.machine,
            v1beta1::is_false(old, "WaitingExternalHook", Severity::Info, ""),
            now,
        );
        let message = format!(
            "Waiting for pre-drain hooks to succeed (hooks: {})",
            waiting.join(",")
        );
        return Some(Stage::new(reasons::WAITING_FOR_PRE_DRAIN_HOOK, message));
    }
    v1beta1::set(&mut plan.machine, v1beta1::is_true(old), now);
    if drain::is_allowed(world) {
        let started = first(&mut deletion(plan).node_drain_start_time, now);
        if let Some(message) = drain::plan(world, started, plan, now) {
            let condition = v1beta1::is_false(
                OLD_DRAINING_SUCCEEDED,
                "Draining",
                Severity::Info,
                message.clone(),
            );
            v1beta1::set(&mut plan.machine, condition, now);
            return Some(Stage::new(reasons::DRAINING_NODE, message));
        }
        // Nothing is told of a drain that had nothing to wait for.
        if v1beta1::get(&plan.machine, OLD_DRAINING_SUCCEEDED).is_some_and(|c| c.status == "False") {
            let message = format!("success draining Machine's node {node:?}");
            plan.events.push(Event::normal("SuccessfulDrainNode", message));
        }
        v1beta1::set(&mut plan.machine, v1beta1::is_true(OLD_DRAINING_SUCCEEDED), now);
    }
    if drain::may_wait_for_volumes(world) {
        return volumes(world, node, plan, now);
    }
    None
}

fn volumes(world: &World, node: &str, plan: &mut Plan, now: Timestamp) -> Option<Stage> {
    let old = "VolumeDetachSucceeded";
    let started = first(&mut deletion(plan).wait_for_node_volume_detach_start_time, now);
    if let Some(message) = drain::wait_for_volumes(world, started, plan, now) {
        let text = "Waiting for node volumes to be detached";
        v1beta1::set(
            &mut plan.machine,
            v1beta1::is_false(old, "WaitingForVolumeDetach", Severity::Info, text),
            now,
        );
        return Some(Stage::new(reasons::WAITING_FOR_VOLUME_DETACH, message));
    }
    if v1beta1::get(&plan.machine, old).is_some_and(|c| c.status == "False") {
        let message = format!("success waiting for node volumes detaching Machine's node {node:?}");
        plan.events.push(Event::normal("NodeVolumesDetached", message));
    }
    v1beta1::set(&mut plan.machine, v1beta1::is_true(old), now);
    None
}

/// Infrastructure first: the host must be gone before what tells it how to join.
fn delete_references(world: &World, plan: &mut Plan, now: Timestamp) -> Option<Stage> {
    for (foreign, old, reason) in [
        (
            &world.infrastructure,
            super::conditions::OLD_INFRASTRUCTURE_READY,
            reasons::WAITING_FOR_INFRASTRUCTURE_DELETION,
        ),
        (
            &world.bootstrap,
            super::conditions::OLD_BOOTSTRAP_READY,
            reasons::WAITING_FOR_BOOTSTRAP_DELETION,
        ),
    ] {
        match foreign {
            Foreign::Unset => {}
            Foreign::Missing => {
                v1beta1::set(
                    &mut plan.machine,
                    v1beta1::is_false(old, "Deleted", Severity::Info, ""),
                    now,
                );
            }
            Foreign::Unreadable(why) => return Some(Stage::new(reasons::INTERNAL_ERROR, why.clone())),
            Foreign::Found(found) => {
                if !found.is_deleting() {
                    let what = contract::described(&found.object);
                    let why = format!(
                        "{what} goes: Machine {} is being deleted",
                        world.machine.name_any()
                    );
                    plan.steps
                        .push(Step::new(Action::DeleteForeign(found.clone()), why));
                }
                return Some(Stage::new(
                    reason,
                    format!("Waiting for {} to be deleted", found.resource.kind),
                ));
            }
        }
    }
    None
}

/// Deletes the Node, and waits for a lost connection; both until the timeout, 0 of which means for ever.
fn delete_node(world: &World, node: String, plan: &mut Plan, now: Timestamp) -> Option<Stage> {
    let spec = world.machine.spec.deletion.as_ref();
    let timeout = spec
        .and_then(|d| d.node_deletion_timeout_seconds)
        .unwrap_or(NODE_DELETION_TIMEOUT);
    let deleted = world.machine.metadata.deletion_timestamp.as_ref();
    let end = after_seconds(deleted.map_or(now, |t| t.0), i64::from(timeout));
    let timed_out = timeout != 0 && end <= now;
    match &world.node {
        NodeView::Disconnected(_) if timed_out => None,
        NodeView::Disconnected(why) => {
            if timeout != 0 {
                plan.next = plan.next.earliest(look_at(end, now));
            }
            let failed = v1beta1::is_false(OLD_NODE_HEALTHY, "DeletionFailed", Severity::Warning, "");
            v1beta1::set(&mut plan.machine, failed, now);
            Some(Stage::new(
                reasons::DELETING_NODE,
                format!("Waiting to delete Node {node}: {why}"),
            ))
        }
        // Deleting twice does no harm; a Node that is not in the store may still exist.
        _ => {
            let why = format!("Node {node} goes with Machine {}", world.machine.name_any());
            let action = Action::DeleteNode {
                name: node,
                required: !timed_out,
            };
            plan.steps.push(Step::new(action, why));
            None
        }
    }
}

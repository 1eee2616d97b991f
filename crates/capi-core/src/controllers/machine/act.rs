//! Carries out a Machine's plan.

use std::collections::BTreeMap;

use capi_api::{
    conditions::{self, Draft, reasons, types},
    core::v1beta2::Machine,
    finalizers,
};
use capi_runtime::{Context, Error, Event, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    drain,
    observe::World,
    plan::{Action, Plan},
};

/// Writes in the plan's order; the Machine itself comes last, even if a step before failed.
pub async fn act(ctx: &Context, world: &World, plan: Plan) -> Result<(), Error> {
    let cluster = Key::of(&*world.cluster);
    let mut machine = plan.machine;
    let mut outcome = Ok(());
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine step");
        let result = match step.action {
            Action::Claim(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::DeleteForeign(found) => ctx.delete_dynamic(&found.object, &found.resource).await,
            Action::PatchNode(node, patch) => patch_node(ctx, &cluster, &node, patch).await,
            Action::Cordon(node) => {
                let patch = json!({"metadata": {"uid": node.uid()}, "spec": {"unschedulable": true}});
                patch_node(ctx, &cluster, &node, patch).await
            }
            Action::Evict(pods) => evict(ctx, &cluster, &pods, &mut machine).await,
            Action::DeleteNode(name) => {
                let result = delete_node(ctx, &cluster, &name).await;
                if let Err(error) = &result {
                    failed_to_delete_node(ctx, &mut machine, error);
                }
                result
            }
        };
        // What follows may rely on this step.
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(&*world.machine, finalizers::MACHINE).await?;
    } else {
        ctx.patch(&*world.machine, &machine).await?;
    }
    for event in plan.events {
        ctx.event(&*world.machine, event);
    }
    outcome
}

fn failed_on_node(verb: &'static str, name: &str, source: kube::Error) -> Error {
    Error::Api {
        verb,
        kind: "Node".to_owned(),
        key: Key::new("", name),
        source,
    }
}

async fn patch_node(ctx: &Context, cluster: &Key, node: &Node, patch: Value) -> Result<(), Error> {
    let name = node.name_any();
    let nodes = Api::<Node>::all(ctx.workload(cluster)?.client());
    match nodes
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed_on_node("patch", &name, source)),
    }
}

async fn delete_node(ctx: &Context, cluster: &Key, name: &str) -> Result<(), Error> {
    let nodes = Api::<Node>::all(ctx.workload(cluster)?.client());
    match nodes.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed_on_node("delete", name, source)),
    }
}

fn failed_to_delete_node(ctx: &Context, machine: &mut Machine, error: &Error) {
    let message = format!("Failed to delete Node: {error}");
    let draft = Draft::is_true(types::DELETING, reasons::DELETING_NODE, message);
    conditions::set(machine, draft, ctx.now());
    ctx.event(
        machine,
        Event::warning(
            "FailedDeleteNode",
            format!("error deleting Machine's Node: {error}"),
        ),
    );
}

/// Evicts pods and adds the refusals to the `Deleting` condition.
async fn evict(ctx: &Context, cluster: &Key, pods: &[Pod], machine: &mut Machine) -> Result<(), Error> {
    let client = ctx.workload(cluster)?.client();
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let result = Api::<Pod>::namespaced(client.clone(), &namespace)
            .evict(&name, &EvictParams::default())
            .await;
        let cause = match result {
            Ok(_) => continue,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(kube::Error::Api(status)) if status.code == 429 => {
                let details: Vec<String> = status
                    .details
                    .iter()
                    .flat_map(|d| &d.causes)
                    .map(|cause| format!(" {}", cause.message.trim_end_matches('.')))
                    .collect();
                format!(
                    "cannot evict pod as it would violate the pod's disruption budget.{}",
                    details.join(".")
                )
            }
            Err(kube::Error::Api(status)) => format!("failed to evict Pod, {}", status.message),
            Err(source) => return Err(drain::failed("evict", &name, source)),
        };
        refused
            .entry(cause)
            .or_default()
            .push(format!("{namespace}/{name}"));
    }
    if refused.is_empty() {
        return Ok(());
    }
    let all: Vec<&String> = refused.values().flatten().collect();
    let leaving: Vec<String> = pods
        .iter()
        .map(|p| format!("{}/{}", p.namespace().unwrap_or_default(), p.name_any()))
        .filter(|p| !all.contains(&p))
        .collect();
    let waiting = conditions::get(machine, types::DELETING)
        .map(|c| c.message.clone())
        .unwrap_or_default();
    let head = waiting.lines().next().unwrap_or_default().to_owned();
    let head = match leaving.len() {
        0 => head,
        n => {
            let noun = if n == 1 { "Pod" } else { "Pods" };
            let list = conditions::name_list(&leaving, 3);
            format!("{head}\n* {noun} {list}: deletionTimestamp set, but still not removed from the Node")
        }
    };
    let draft = Draft::is_true(
        types::DELETING,
        reasons::DRAINING_NODE,
        drain::message(&head, &refused),
    );
    conditions::set(machine, draft, ctx.now());
    Ok(())
}

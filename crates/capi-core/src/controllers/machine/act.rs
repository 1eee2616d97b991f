//! Carries out a Machine's plan.

use capi_api::{
    conditions::{
        self, Draft, reasons, types,
        v1beta1::{self, Severity},
    },
    core::v1beta2::Machine,
    finalizers,
};
use capi_runtime::{Context, Error, Event, Key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    conditions::{OLD_DRAINING_SUCCEEDED, summarise},
    drain::evictions::Evictions,
    observe::World,
    plan::{Action, Plan},
    remote::{self, failed},
};

/// Writes in the plan's order; the Machine itself comes last, even if a step before failed. If `hold`, its status waits.
pub async fn act(ctx: &Context, world: &World, plan: Plan, hold: bool) -> Result<(), Error> {
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
            Action::Evict(round, started) => evict(ctx, &cluster, &round, started, &mut machine).await,
            Action::DeleteNode { name, required } => {
                let result = delete_node(ctx, &cluster, &name).await;
                if let Err(error) = &result {
                    failed_to_delete_node(ctx, &mut machine, error);
                }
                // Once the timeout is over the Machine does not wait for its Node any more.
                if required { result } else { Ok(()) }
            }
        };
        // What follows may rely on this step.
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    if hold {
        machine.status = world.machine.status.clone();
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

async fn patch_node(ctx: &Context, cluster: &Key, node: &Node, patch: Value) -> Result<(), Error> {
    let name = node.name_any();
    let nodes = Api::<Node>::all(ctx.workload(cluster)?.client());
    match nodes
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed::<Node>("patch", &name, source)),
    }
}

async fn delete_node(ctx: &Context, cluster: &Key, name: &str) -> Result<(), Error> {
    let nodes = Api::<Node>::all(ctx.workload(cluster)?.client());
    match nodes.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(failed::<Node>("delete", name, source)),
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

/// Evicts the pods of a round and says how that went; without a plan that knew, the summaries are made anew.
async fn evict(
    ctx: &Context,
    cluster: &Key,
    round: &Evictions,
    started: Timestamp,
    machine: &mut Machine,
) -> Result<(), Error> {
    let outcome = remote::evict(&ctx.workload(cluster)?.client(), round).await;
    if outcome == round.undisturbed() {
        return Ok(());
    }
    let (message, now) = (round.message(started, &outcome), ctx.now());
    let draft = Draft::is_true(types::DELETING, reasons::DRAINING_NODE, message.clone());
    conditions::set(machine, draft, now);
    let old = v1beta1::is_false(OLD_DRAINING_SUCCEEDED, "Draining", Severity::Info, message);
    v1beta1::set(machine, old, now);
    summarise(machine, now);
    Ok(())
}

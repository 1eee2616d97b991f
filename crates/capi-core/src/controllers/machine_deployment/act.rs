//! Carries out a MachineDeployment's plan.

use capi_api::{core::v1beta2::MachineSet, finalizers};
use capi_runtime::{Context, Error, Event, Key, meta};
use kube::ResourceExt;

use super::{
    observe::World,
    plan::{Action, Plan},
};

/// Writes in the plan's order; the MachineDeployment itself comes last, even if a step before failed.
pub async fn act(ctx: &Context, world: &World, plan: Plan) -> Result<(), Error> {
    let deployment = &*world.deployment;
    let mut outcome = Ok(());
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine deployment step");
        let result = match step.action {
            Action::ClaimTemplate(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::Create(set) => create(ctx, world, &set).await,
            Action::Change(before, after) => {
                let result = ctx.patch(&*before, &*after).await.map(|_| ());
                if let Err(error) = &result {
                    warn(ctx, world, "FailedUpdate", "update", &after, error);
                }
                result
            }
            Action::Delete(set) => {
                let result = ctx.delete(&*set).await;
                if let Err(error) = &result {
                    let message = format!("Failed to delete MachineSet {:?}: {error}", set.name_any());
                    ctx.event(deployment, Event::warning("FailedDelete", message));
                }
                result
            }
        };
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(deployment, finalizers::MACHINE_DEPLOYMENT)
            .await?;
    } else {
        ctx.patch(deployment, &plan.deployment).await?;
    }
    if outcome.is_ok() {
        for event in plan.events {
            ctx.event(deployment, event);
        }
    }
    outcome
}

async fn create(ctx: &Context, world: &World, set: &MachineSet) -> Result<(), Error> {
    let name = Key::of(set);
    match ctx.create(set).await {
        Ok(_) => {
            let replicas = set.spec.replicas.unwrap_or(0);
            let message = format!("Created MachineSet {name} with {replicas} replicas");
            ctx.event(&*world.deployment, Event::normal("SuccessfulCreate", message));
            Ok(())
        }
        Err(error) if error.is_already_exists() => {
            // An earlier try made it, or the name belongs to somebody else.
            let existing = ctx.get_live::<MachineSet>(&name).await?;
            let uid = world.deployment.uid().unwrap_or_default();
            match existing.filter(|s| meta::is_controlled_by(&s.metadata, &uid)) {
                Some(_) => Ok(()),
                None => Err(error),
            }
        }
        Err(error) => {
            warn(ctx, world, "FailedCreate", "create", set, &error);
            Err(error)
        }
    }
}

fn warn(ctx: &Context, world: &World, reason: &str, verb: &str, set: &MachineSet, error: &Error) {
    if !error.is_conflict() {
        let message = format!("Failed to {verb} MachineSet {}: {error}", Key::of(set));
        ctx.event(&*world.deployment, Event::warning(reason, message));
    }
}

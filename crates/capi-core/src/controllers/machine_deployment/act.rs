//! Carries out a MachineDeployment's plan.

use capi_api::{core::v1beta2::MachineSet, finalizers, names::hash_of};
use capi_runtime::{Context, Error, Event, Key, meta};
use kube::ResourceExt;

use super::{
    desired,
    observe::World,
    plan::{Action, Plan},
};
use crate::propagate::{Known, MACHINE_DEPLOYMENT, tidied};

/// How an act ended.
pub struct Ended {
    /// Nothing failed.
    pub outcome: Result<(), Error>,
    /// What MachineSets follow from now on.
    pub settled: Known,
}

/// Writes in the plan's order; the MachineDeployment itself comes last, even if a step before failed. If `hold`, its
/// status waits.
pub async fn act(ctx: &Context, world: &World, plan: Plan, hold: bool) -> Ended {
    let deployment = &*world.deployment;
    let mut outcome = Ok(());
    let mut settled = plan.settled;
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine deployment step");
        let result = match step.action {
            Action::ClaimTemplate(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::Create(set) => create(ctx, world, &set, &mut settled).await,
            Action::Change(after, hash) => {
                let result = change(ctx, &after).await;
                match &result {
                    Ok(()) => {
                        settled.insert(after.uid().unwrap_or_default(), hash);
                    }
                    Err(error) => warn(ctx, world, "FailedUpdate", "update", &after, error),
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
    let mut after = plan.deployment;
    if hold {
        after.status = deployment.status.clone();
    }
    let written = if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(deployment, finalizers::MACHINE_DEPLOYMENT)
            .await
    } else {
        ctx.patch(deployment, &after).await
    };
    if outcome.is_ok() {
        for event in plan.events {
            ctx.event(deployment, event);
        }
    }
    Ended {
        outcome: written.map(|_| ()).and(outcome),
        settled,
    }
}

/// Applies a MachineSet; what its creation wrote and nobody wants any more goes too.
async fn change(ctx: &Context, after: &MachineSet) -> Result<(), Error> {
    let key = Key::of(after);
    let intent = desired::intent(after);
    let answer: MachineSet = ctx.apply(&key, &intent, MACHINE_DEPLOYMENT).await?;
    match tidied(&answer, &intent, (MACHINE_DEPLOYMENT, &desired::ROOTS, &[]), &key)? {
        Some(tidied) => ctx.patch(&answer, &tidied).await.map(|_| ()),
        None => Ok(()),
    }
}

async fn create(ctx: &Context, world: &World, set: &MachineSet, settled: &mut Known) -> Result<(), Error> {
    let name = Key::of(set);
    match ctx.create_as(set, MACHINE_DEPLOYMENT).await {
        Ok(created) => {
            let hash = hash_of(&desired::view(set));
            settled.insert(created.uid().unwrap_or_default(), hash);
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

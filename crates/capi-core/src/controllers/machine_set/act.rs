//! Carries out a MachineSet's plan.

use capi_api::{
    conditions::{self, Draft, reasons, types},
    core::v1beta2::{Machine, MachineSet},
    finalizers,
};
use capi_runtime::{Context, Error, Event, Key, meta};
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};

use super::{
    conditions::{old_creation_failed, old_summary, scaling_up_text},
    observe::World,
    plan::{Action, Creation, New, Plan},
};

/// A creation that did not succeed: the older condition's reason for it, and the cause.
struct Failed(&'static str, Error);

/// Writes in the plan's order; the MachineSet itself comes last, even if a step before failed.
pub async fn act(ctx: &Context, world: &World, plan: Plan) -> Result<(), Error> {
    let mut set = plan.set;
    let mut outcome = Ok(());
    let mut created = Vec::new();
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine set step");
        let result = match step.action {
            Action::ClaimTemplate(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::Change(before, after) => ctx.patch(&*before, &*after).await.map(|_| ()),
            Action::Delete(machine) => ctx.delete(&*machine).await,
            Action::DeleteHalf(found) => ctx.delete_dynamic(&found.object, &found.resource).await,
            Action::Create(creation) => {
                let name = creation.machine.name_any();
                match create(ctx, &world.set, creation).await {
                    Ok(()) => {
                        created.push(Event::normal(
                            "SuccessfulCreate",
                            format!("Created Machine {name:?}"),
                        ));
                        Ok(())
                    }
                    Err(Failed(reason, error)) => {
                        say_why_not_created(ctx, world, &mut set, reason, &error);
                        Err(error)
                    }
                }
            }
        };
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(&*world.set, finalizers::MACHINE_SET).await?;
    } else {
        ctx.patch(&*world.set, &set).await?;
    }
    for event in plan.events.into_iter().chain(created) {
        ctx.event(&*world.set, event);
    }
    outcome
}

/// Bootstrap config, infrastructure, Machine. What an interruption leaves behind is continued by the next reconcile.
async fn create(ctx: &Context, set: &MachineSet, creation: Creation) -> Result<(), Failed> {
    let clone = async |new: Option<New>, reason| match new {
        Some((object, resource)) => create_clone(ctx, set, &object, &resource)
            .await
            .map_err(|e| Failed(reason, e)),
        None => Ok(()),
    };
    clone(creation.bootstrap, "BootstrapTemplateCloningFailed").await?;
    clone(creation.infrastructure, "InfrastructureTemplateCloningFailed").await?;
    match ctx.create(&*creation.machine).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() => {
            let key = Key::of(&*creation.machine);
            let existing = ctx
                .get_live::<Machine>(&key)
                .await
                .map_err(|e| Failed("MachineCreationFailed", e))?;
            let uid = set.uid().unwrap_or_default();
            match existing.filter(|m| meta::is_controlled_by(&m.metadata, &uid)) {
                Some(_) => Ok(()),
                None => Err(Failed("MachineCreationFailed", error)),
            }
        }
        Err(error) => Err(Failed("MachineCreationFailed", error)),
    }
}

async fn create_clone(
    ctx: &Context,
    set: &MachineSet,
    object: &DynamicObject,
    resource: &ApiResource,
) -> Result<(), Error> {
    let error = match ctx.create_dynamic(object, resource).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_already_exists() => error,
        Err(error) => return Err(error),
    };
    // An earlier try made it and the store did not show it yet, or it belongs to somebody else.
    let existing = ctx
        .get_live_dynamic(resource, &Key::of_meta(&object.metadata))
        .await?;
    let uid = set.uid().unwrap_or_default();
    match existing.filter(|e| meta::is_owned_by(&e.metadata, &uid)) {
        Some(_) => Ok(()),
        None => Err(error),
    }
}

fn say_why_not_created(ctx: &Context, world: &World, set: &mut MachineSet, reason: &str, error: &Error) {
    if error.is_already_exists() || error.is_conflict() {
        return;
    }
    let now = ctx.now();
    let cause = error.to_string();
    let wanted = set.spec.replicas.unwrap_or(0);
    let message = scaling_up_text(world.machines.len() as i32, wanted, std::slice::from_ref(&cause));
    conditions::set(
        set,
        Draft::is_true(types::SCALING_UP, reasons::SCALING_UP, message),
        now,
    );
    old_creation_failed(set, reason, &cause, now);
    old_summary(set, now);
}

//! Carries out a MachineSet's plan.

use std::time::Duration;

use capi_api::{
    conditions::{self, Draft, reasons, types},
    core::v1beta2::{Machine, MachineSet},
    finalizers,
};
use capi_runtime::{Context, Error, Event, Key, meta};
use kube::{
    ResourceExt,
    core::{DynamicObject, ObjectMeta},
};

use super::{
    conditions::{old_creation_failed, old_summary, scaling_up_text},
    creation::{Clones, New},
    observe::World,
    plan::{Action, Plan},
    synchronize::{Apply, CLONE_ROOTS, Common, MACHINE_ROOTS, ORIGIN},
};
use crate::{
    machines,
    propagate::{Known, MACHINE_SET, tidied},
};

/// A creation that did not succeed: the older condition's reason for it, and the cause.
struct Failed(&'static str, Error);

/// How an act ended.
pub struct Ended {
    /// Nothing failed.
    pub outcome: Result<(), Error>,
    /// What Machines and clones follow from now on.
    pub settled: Known,
    /// For how long the status is held back.
    pub held: Option<Duration>,
}

/// Writes in the plan's order; the MachineSet itself comes last, even if a step before failed. `hold` says for how long
/// its status may wait, given what it will be.
pub async fn act(
    ctx: &Context,
    world: &World,
    plan: Plan,
    hold: impl FnOnce(&MachineSet) -> Option<Duration>,
) -> Ended {
    let mut set = plan.set;
    let mut outcome = Ok(());
    let mut created = Vec::new();
    let mut settled = plan.settled;
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine set step");
        let result = match step.action {
            Action::ClaimTemplate(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::Change(before, after) => ctx.patch(&*before, &*after).await.map(|_| ()),
            Action::Delete(machine) => ctx.delete(&*machine).await,
            Action::DeleteOrphan(found) => ctx.delete_dynamic(&found.object, &found.resource).await,
            Action::Apply(apply) => {
                let result = carry(ctx, &apply).await;
                if result.is_ok() {
                    settled.insert(apply.settles.0, apply.settles.1);
                }
                result
            }
            Action::Create(machine, clones) => {
                let result = create(ctx, world, &machine, clones, &mut settled).await;
                if result.is_ok() {
                    created.push(machine.name_any());
                }
                explained(ctx, world, &mut set, result)
            }
            Action::Complete(machine, clones) => {
                let result = create_clones(ctx, world, &machine, clones, &mut settled).await;
                explained(ctx, world, &mut set, result)
            }
        };
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    let held = hold(&set).filter(|_| outcome.is_ok());
    if held.is_some() {
        set.status = world.set.status.clone();
    }
    let written = if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(&*world.set, finalizers::MACHINE_SET).await
    } else {
        ctx.patch(&*world.set, &set).await
    };
    let made = machines::named("Created", &created).map(|text| Event::normal("SuccessfulCreate", text));
    for event in plan.events.into_iter().chain(made) {
        ctx.event(&*world.set, event);
    }
    Ended {
        outcome: written.map(|_| ()).and(outcome),
        settled,
        held,
    }
}

/// Carries fields to an object; what its creation wrote and nobody wants any more goes too.
async fn carry(ctx: &Context, apply: &Apply) -> Result<(), Error> {
    let (key, intent) = (&apply.key, &apply.intent);
    match &apply.resource {
        None => {
            let answer: Machine = ctx.apply(key, intent, apply.manager).await?;
            match tidied(&answer, intent, (MACHINE_SET, &MACHINE_ROOTS, &[]), key)? {
                Some(tidied) => ctx.patch(&answer, &tidied).await.map(|_| ()),
                None => Ok(()),
            }
        }
        Some(resource) => {
            let answer = ctx.apply_dynamic(resource, key, intent, apply.manager).await?;
            match tidied(&answer, intent, (MACHINE_SET, &CLONE_ROOTS, &ORIGIN), key)? {
                Some(tidied) => ctx.patch_dynamic(&answer, &tidied, resource).await.map(|_| ()),
                None => Ok(()),
            }
        }
    }
}

/// The Machine, then its clones. What an interruption leaves out is made by the next reconcile.
async fn create(
    ctx: &Context,
    world: &World,
    machine: &Machine,
    clones: Clones,
    settled: &mut Known,
) -> Result<(), Failed> {
    let failed = |error| Failed("MachineCreationFailed", error);
    let created = match ctx.create_as(machine, MACHINE_SET).await {
        Ok(created) => created,
        Err(error) if error.is_already_exists() => {
            let existing = ctx.get_live::<Machine>(&Key::of(machine)).await.map_err(failed)?;
            let uid = world.set.uid().unwrap_or_default();
            match existing.filter(|m| meta::is_controlled_by(&m.metadata, &uid)) {
                Some(existing) => existing,
                None => return Err(failed(error)),
            }
        }
        Err(error) => return Err(failed(error)),
    };
    let hash = Common::of(&world.set).machine_hash();
    settled.insert(created.uid().unwrap_or_default(), hash);
    create_clones(ctx, world, &created, clones, settled).await
}

async fn create_clones(
    ctx: &Context,
    world: &World,
    machine: &Machine,
    clones: Clones,
    settled: &mut Known,
) -> Result<(), Failed> {
    let hash = Common::of(&world.set).clone_hash();
    for (new, reason) in [
        (clones.bootstrap, "BootstrapTemplateCloningFailed"),
        (clones.infrastructure, "InfrastructureTemplateCloningFailed"),
    ] {
        let Some(new) = new else { continue };
        let created = create_clone(ctx, machine, new).await;
        let created = created.map_err(|error| Failed(reason, error))?;
        settled.insert(created.metadata.uid.unwrap_or_default(), hash.clone());
    }
    Ok(())
}

async fn create_clone(ctx: &Context, machine: &Machine, new: New) -> Result<DynamicObject, Error> {
    let (mut object, resource) = new;
    object.metadata.owner_references = Some(vec![meta::controller_reference(machine)]);
    let error = match ctx.create_dynamic_as(&object, &resource, MACHINE_SET).await {
        Ok(created) => return Ok(created),
        Err(error) if error.is_already_exists() => error,
        Err(error) => return Err(error),
    };
    // An earlier try made it and the store did not show it yet, or it belongs to somebody else.
    let existing = ctx
        .get_live_dynamic(&resource, &Key::of_meta(&object.metadata))
        .await?;
    let uid = machine.uid().unwrap_or_default();
    let owned = |metadata: &ObjectMeta| meta::is_owned_by(metadata, &uid);
    existing.filter(|e| owned(&e.metadata)).ok_or(error)
}

/// Tells in the conditions why a Machine or its clones could not be created.
fn explained(
    ctx: &Context,
    world: &World,
    set: &mut MachineSet,
    result: Result<(), Failed>,
) -> Result<(), Error> {
    let Err(Failed(reason, error)) = result else {
        return Ok(());
    };
    if !(error.is_already_exists() || error.is_conflict()) {
        let now = ctx.now();
        let cause = error.to_string();
        let wanted = set.spec.replicas.unwrap_or(0);
        let there = world.machines.len() as i32;
        let message = scaling_up_text(there.min(wanted), wanted, std::slice::from_ref(&cause));
        let draft = Draft::is_true(types::SCALING_UP, reasons::SCALING_UP, message);
        conditions::set(set, draft, now);
        old_creation_failed(set, reason, &cause, now);
        old_summary(set, now);
        ctx.event(
            &*world.set,
            Event::warning("FailedCreate", format!("Failed to create Machine: {cause}")),
        );
    }
    Err(error)
}

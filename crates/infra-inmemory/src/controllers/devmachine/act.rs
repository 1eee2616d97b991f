//! Carries a plan for a DevMachine out: first on the simulated world, then on the objects that report it.

use capi_api::core::v1beta2::Machine;
use capi_runtime::{Context, Key, Next, meta};

use super::{
    conditions::{self, State},
    observed::{Guest, Observed},
    plan::{Action, Plan},
};
use crate::{
    api::{BOOTSTRAPPED_ANNOTATION, DEV_MACHINE_FINALIZER, DevInitializationStatus, DevMachine},
    backend::{NodeOrder, World, guest::BootstrapData},
    error::Error,
};

/// Does what the plan says, and reports how far it came even if a step failed; if all went well and there will soon be
/// more to tell, then. `after` is the object to report on, with what else is to be written of it.
pub async fn act(
    ctx: &Context,
    world: &World,
    observed: &Observed,
    mut plan: Plan,
    after: DevMachine,
) -> Result<Next, Error> {
    let wait = plan.worth_waiting(observed, ctx.now());
    let failure = carry_out(world, observed, &mut plan).await;
    if let (None, Some(wait)) = (&failure, wait) {
        return Ok(Next::After(plan.next.map_or(wait, |next| next.min(wait))));
    }
    report(ctx, observed, &plan, after).await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(plan.next.map_or(Next::Done, Next::After)),
    }
}

async fn carry_out(world: &World, observed: &Observed, plan: &mut Plan) -> Option<Error> {
    for action in std::mem::take(&mut plan.actions) {
        if let Err(error) = take(world, observed, &action).await {
            if let Some((_, state)) = plan.states.iter_mut().find(|(part, _)| *part == action.part()) {
                *state = State::Failed(told(&error));
            }
            return Some(error);
        }
    }
    None
}

/// What a condition says about a failed step: the cause, if it is one that a user can do something about.
fn told(error: &Error) -> String {
    match error {
        Error::Listen { .. } | Error::Certificate { .. } | Error::Tls { .. } | Error::Etcd { .. } => {
            error.to_string()
        }
        _ => String::new(),
    }
}

async fn take(world: &World, observed: &Observed, action: &Action) -> Result<(), Error> {
    let machine = Key::of(&observed.dev_machine);
    let authorities = || {
        let guest = observed
            .guest
            .as_ref()
            .and_then(|guest: &Guest| guest.authorities.as_ref());
        guest
            .and_then(|authorities| authorities.as_ref().ok())
            .ok_or_else(|| Error::Unknown(format!("authority of {machine}")))
    };
    match action {
        Action::CreateVm => {
            world.create_machine(&machine, &Key::of(&observed.cluster));
            Ok(())
        }
        Action::SetFaults(faults) => world.set_faults(&machine, faults).await,
        Action::BecomeNode(data) => {
            let earlier = observed
                .machine
                .status
                .as_ref()
                .and_then(|status| status.node_ref.as_ref());
            let order = NodeOrder {
                name: earlier.map_or_else(|| machine.name.clone(), |node| node.name.clone()),
                provider_id: provider_id(&observed.dev_machine),
                version: observed.machine.spec.version.clone().unwrap_or_default(),
                control_plane: observed.is_control_plane(),
                joins_etcd: joins_etcd(observed, data.as_deref()),
            };
            world.become_node(&machine, &order, data.as_deref()).await
        }
        Action::StartEtcd => world.start_etcd(&machine, authorities()?.etcd.as_ref()).await,
        Action::StartApiServer => world.start_api_server(&machine, authorities()?).await,
    }
}

/// Whether a machine that becomes a node also becomes a member of etcd: a control-plane machine that kubeadm joins to a
/// cluster with etcd of its own. One that is rebuilt was a member before.
fn joins_etcd(observed: &Observed, data: Option<&BootstrapData>) -> bool {
    let guest = observed.guest.as_ref();
    let authorities = guest.and_then(|guest| guest.authorities.as_ref()?.as_ref().ok());
    !observed.was_bootstrapped()
        && data.is_some_and(|data| data.is_control_plane() && !data.is_init())
        && authorities.is_some_and(|authorities| authorities.etcd.is_some())
}

/// The object as it must be before anything is made for it: nothing is made that nobody would clean up. The provider ID,
/// which is known from the start, goes along; it counts only once the machine is provisioned.
pub fn protected(dev_machine: &DevMachine) -> DevMachine {
    let mut after = dev_machine.clone();
    meta::add_finalizer(&mut after.metadata, DEV_MACHINE_FINALIZER);
    after.spec.provider_id = Some(provider_id(dev_machine));
    if after.spec != dev_machine.spec {
        after.metadata.generation = after.metadata.generation.map(|generation| generation + 1);
    }
    after
}

fn provider_id(dev_machine: &DevMachine) -> String {
    let name = dev_machine.metadata.name.as_deref().unwrap_or_default();
    dev_machine
        .spec
        .provider_id
        .clone()
        .unwrap_or_else(|| format!("in-memory://{name}"))
}

/// Counts the generation on if the spec is about to change: the conditions are written after the spec and are about that
/// one. Otherwise they would look old at the next reconcile and be written again.
fn foresee_generation(before: &DevMachine, after: &mut DevMachine) {
    if after.spec == before.spec {
        return;
    }
    let (old, new) = (
        before.metadata.generation,
        before.metadata.generation.map(|generation| generation + 1),
    );
    after.metadata.generation = new;
    let conditions = after.status.iter_mut().flat_map(|status| &mut status.conditions);
    for condition in conditions.filter(|condition| condition.observed_generation == old) {
        condition.observed_generation = new;
    }
}

async fn report(ctx: &Context, observed: &Observed, plan: &Plan, mut after: DevMachine) -> Result<(), Error> {
    let before = &observed.dev_machine;
    if plan.provisioned {
        after.spec.provider_id = Some(provider_id(before));
        let status = after.status.get_or_insert_default();
        status.initialization = Some(DevInitializationStatus {
            provisioned: Some(true),
        });
        status.failure_domain = observed.machine.spec.failure_domain.clone();
    }
    foresee_generation(before, &mut after);
    conditions::write(&mut after, &plan.states, ctx.now());
    conditions::write_faults(&mut after, plan.faults.clone(), ctx.now());
    let runs = plan
        .states
        .last()
        .is_some_and(|(_, state)| *state == State::Provisioned);
    if observed.was_bootstrapped() && !observed.is_marked() && !runs {
        // The conditions are about to forget that the machine was a node once.
        let mut marked: Machine = observed.machine.clone();
        let annotations = marked.metadata.annotations.get_or_insert_default();
        annotations.insert(BOOTSTRAPPED_ANNOTATION.to_owned(), String::new());
        ctx.patch(&observed.machine, &marked).await?;
    }
    ctx.patch(before, &after).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_about_the_spec_that_is_written_with_them() {
        let mut before = DevMachine::new("machine", crate::api::DevMachineSpec::default());
        before.metadata.generation = Some(1);
        let mut after = before.clone();
        conditions::write(&mut after, &[], jiff::Timestamp::UNIX_EPOCH);
        foresee_generation(&before, &mut after);
        assert_eq!(after.metadata.generation, Some(1));
        after.spec.provider_id = Some("in-memory://machine".into());
        foresee_generation(&before, &mut after);
        assert_eq!(after.metadata.generation, Some(2));
        let conditions = after.status.unwrap().conditions;
        assert!(!conditions.is_empty());
        assert!(
            conditions
                .iter()
                .all(|condition| condition.observed_generation == Some(2))
        );
    }
}

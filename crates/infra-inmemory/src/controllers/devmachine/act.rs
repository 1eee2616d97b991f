//! Carries a plan for a DevMachine out: first on the simulated world, then on the objects that report it.

use capi_api::core::v1beta2::Machine;
use capi_runtime::{Context, Key, Next};

use super::{
    conditions::{self, State},
    plan::{Action, Guest, Observed, Plan},
};
use crate::{
    api::{BOOTSTRAPPED_ANNOTATION, DevInitializationStatus, DevMachine},
    backend::{NodeOrder, World},
    error::Error,
};

/// Does what the plan says, and reports how far it came even if a step failed. `after` is the object to report on, with
/// what else is to be written of it.
pub async fn act(
    ctx: &Context,
    world: &World,
    observed: &Observed,
    mut plan: Plan,
    after: DevMachine,
) -> Result<Next, Error> {
    let mut failure = None;
    for action in std::mem::take(&mut plan.actions) {
        if let Err(error) = take(world, observed, &action).await {
            if let Some((_, state)) = plan.states.iter_mut().find(|(part, _)| *part == action.part()) {
                *state = State::Failed(told(&error));
            }
            plan.mark_bootstrapped = false;
            failure = Some(error);
            break;
        }
    }
    report(ctx, observed, &plan, after).await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(plan.next.map_or(Next::Done, Next::After)),
    }
}

/// What a condition says about a failed step: the cause, if it is one that a user can do something about.
fn told(error: &Error) -> String {
    match error {
        Error::Listen { .. } | Error::Certificate { .. } | Error::Tls { .. } => error.to_string(),
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
            };
            world.become_node(&machine, &order, data.as_deref()).await
        }
        Action::StartEtcd => world.start_etcd(&machine, authorities()?.etcd.as_ref()).await,
        Action::StartApiServer => world.start_api_server(&machine, authorities()?).await,
    }
}

fn provider_id(dev_machine: &DevMachine) -> String {
    let name = dev_machine.metadata.name.as_deref().unwrap_or_default();
    dev_machine
        .spec
        .provider_id
        .clone()
        .unwrap_or_else(|| format!("in-memory://{name}"))
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
    conditions::write(&mut after, &plan.states, ctx.now());
    ctx.patch(before, &after).await?;
    if plan.mark_bootstrapped {
        let mut marked: Machine = observed.machine.clone();
        let annotations = marked.metadata.annotations.get_or_insert_default();
        annotations.insert(BOOTSTRAPPED_ANNOTATION.to_owned(), String::new());
        ctx.patch(&observed.machine, &marked).await?;
    }
    Ok(())
}

//! Carries out a MachineHealthCheck's plan.

use capi_api::{
    conditions::{
        self,
        v1beta1::{self, Severity},
    },
    core::v1beta2::MachineHealthCheck,
};
use capi_runtime::{Context, Error};

use super::{
    observe::World,
    plan::{
        Action, NewRequest, OLD_REQUEST_AVAILABLE, OLD_REQUEST_CREATION_FAILED, Plan, creation_failed,
        waits_for_remediation,
    },
};

/// Writes in the plan's order; a Machine that cannot be written does not keep the others from being written. The
/// MachineHealthCheck comes last.
pub async fn act(ctx: &Context, world: &World, plan: Plan) -> Result<(), Error> {
    let mut check = plan.check;
    let mut outcome = Ok(());
    for step in plan.steps {
        tracing::info!(why = %step.why, "machine health check step");
        let result = match step.action {
            Action::Mark(before, after, event) => {
                let written = ctx.patch(&*before, &*after).await;
                if let (Ok(_), Some(event)) = (&written, event) {
                    ctx.event(&*before, event);
                }
                written.map(|_| ())
            }
            Action::Request(request) => create(ctx, request, &mut check).await,
            Action::Withdraw(found) => ctx.delete_dynamic(&found.object, &found.resource).await,
        };
        // Every step is tried; the first failure is told.
        outcome = outcome.and(result);
    }
    ctx.patch(&*world.check, &check).await?;
    for event in plan.events {
        ctx.event(&*world.check, event);
    }
    for (machine, event) in plan.machine_events {
        ctx.event(&*machine, event);
    }
    outcome
}

/// Creates a remediation request. The Machine and the MachineHealthCheck say how that went.
async fn create(ctx: &Context, request: NewRequest, check: &mut MachineHealthCheck) -> Result<(), Error> {
    let created = ctx.create_dynamic(&request.object, &request.resource).await;
    let mut marked = *request.marked;
    let now = ctx.now();
    let failure = match created {
        Ok(_) => None,
        // Made by an earlier try that the store does not show yet.
        Err(error) if error.is_already_exists() => None,
        Err(error) => Some(error),
    };
    match &failure {
        None => {
            conditions::set(&mut marked, waits_for_remediation(), now);
            if v1beta1::get(check, OLD_REQUEST_AVAILABLE).is_some() {
                v1beta1::set(check, v1beta1::is_true(OLD_REQUEST_AVAILABLE), now);
            }
        }
        Some(error) => {
            let text = error.to_string();
            conditions::set(&mut marked, creation_failed(&text), now);
            let old = v1beta1::is_false(
                OLD_REQUEST_AVAILABLE,
                OLD_REQUEST_CREATION_FAILED,
                Severity::Error,
                text,
            );
            v1beta1::set(check, old, now);
        }
    }
    ctx.patch(&*request.machine, &marked).await?;
    failure.map_or(Ok(()), Err)
}

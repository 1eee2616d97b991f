//! Carries out a Cluster's plan.

use capi_api::finalizers;
use capi_runtime::{Context, Error};

use super::{
    deletion::Descendant,
    kubeconfig,
    observe::World,
    plan::{Action, Plan},
};

/// Writes in the plan's order; the Cluster itself comes after its children, even if one of these failed. If `hold`, its
/// status waits.
pub async fn act(ctx: &Context, world: &World, plan: Plan, hold: bool) -> Result<(), Error> {
    let mut outcome = Ok(());
    for step in plan.steps {
        tracing::info!(why = %step.why, "cluster step");
        let result = match step.action {
            Action::Claim(found, object) => ctx
                .patch_dynamic(&found.object, &object, &found.resource)
                .await
                .map(|_| ()),
            Action::CreateKubeconfig(authority) => kubeconfig::create(ctx, &world.cluster, &authority).await,
            Action::DeleteForeign(found) => ctx.delete_dynamic(&found.object, &found.resource).await,
            Action::DeleteDescendant(Descendant::Pool(o)) => ctx.delete(&*o).await,
            Action::DeleteDescendant(Descendant::Deployment(o)) => ctx.delete(&*o).await,
            Action::DeleteDescendant(Descendant::Set(o)) => ctx.delete(&*o).await,
            Action::DeleteDescendant(Descendant::Machine(o)) => ctx.delete(&*o).await,
        };
        outcome = outcome.and(result);
    }
    let mut cluster = plan.cluster;
    if hold {
        cluster.status = world.cluster.status.clone();
    }
    if plan.finish && outcome.is_ok() {
        ctx.remove_finalizer(&*world.cluster, finalizers::CLUSTER).await?;
    } else {
        ctx.patch(&*world.cluster, &cluster).await?;
    }
    for event in plan.events {
        ctx.event(&*world.cluster, event);
    }
    outcome
}

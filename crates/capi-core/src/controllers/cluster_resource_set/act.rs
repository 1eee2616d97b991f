//! Carries out a ClusterResourceSet's plan.

use capi_api::{
    addons::v1beta2::{
        ClusterResourceSetBinding, ClusterResourceSetResourceKind, ClusterResourceSetStrategy,
    },
    finalizers,
};
use capi_runtime::{Context, Error, Failure};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::{ObjectMeta, PartialObjectMeta};

use super::{
    apply::Applier,
    observe::{ClusterView, World, strategy},
    plan::{Application, Outcome, Plan, binding_after, binding_without, conclude},
};

/// How it went in one Cluster.
type Applied = (Vec<Outcome>, Result<(), Failure>);

/// How many Clusters are written to at the same time.
const CLUSTERS_AT_ONCE: usize = 10;

/// Applies what the plan says, notes in the bindings how it went, and says so in the ClusterResourceSet.
pub async fn act(ctx: &Context, world: &World, plan: Plan) -> Result<(), Failure> {
    let mut outcome: Result<(), Failure> = Ok(());
    for (kind, before, after) in plan.claims {
        let result = claim(ctx, kind, before, after).await;
        outcome = outcome.and(result.map_err(Failure::from));
    }
    let strategy = strategy(&world.set);
    let clusters = world.clusters.iter().zip(plan.applications);
    let all: Vec<BoxFuture<'_, Applied>> = clusters
        .map(|(cluster, applications)| of_cluster(ctx, world, cluster, applications, strategy).boxed())
        .collect();
    // Clusters do not wait for each other, but what is observable keeps their order.
    let results: Vec<Applied> = stream::iter(all).buffered(CLUSTERS_AT_ONCE).collect().await;
    let mut outcomes = Vec::new();
    for (of_cluster, result) in results {
        outcomes.push(of_cluster);
        outcome = outcome.and(result);
    }
    let set = conclude(world, &outcomes, ctx.now());
    ctx.patch(&*world.set, &set).await?;
    outcome
}

/// A ConfigMap or Secret comes to belong to the ClusterResourceSet.
async fn claim(
    ctx: &Context,
    kind: ClusterResourceSetResourceKind,
    before: ObjectMeta,
    after: ObjectMeta,
) -> Result<(), Error> {
    let result = match kind {
        ClusterResourceSetResourceKind::ConfigMap => {
            let (before, after) = (partial::<ConfigMap>(before), partial(after));
            ctx.patch(&before, &after).await
        }
        ClusterResourceSetResourceKind::Secret => {
            let (before, after) = (partial::<Secret>(before), partial(after));
            ctx.patch(&before, &after).await
        }
    };
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result.map(|_| ()),
    }
}

fn partial<K>(metadata: ObjectMeta) -> PartialObjectMeta<K> {
    PartialObjectMeta {
        types: None,
        metadata,
        _phantom: std::marker::PhantomData,
    }
}

async fn of_cluster(
    ctx: &Context,
    world: &World,
    cluster: &ClusterView,
    applications: Vec<Application>,
    strategy: ClusterResourceSetStrategy,
) -> Applied {
    if applications.is_empty() {
        return (Vec::new(), Ok(()));
    }
    let connection = match ctx.workload(&cluster.key) {
        Ok(connection) => connection,
        Err(lost) => return (Vec::new(), Err(lost.into())),
    };
    let mut applier = Applier::new(connection.client(), strategy);
    let mut outcomes = Vec::new();
    let mut result = Ok(());
    for application in applications {
        let errors = match application.objects {
            Ok(objects) => {
                let errors = applier.apply(&objects).await;
                if !errors.is_empty() && result.is_ok() {
                    let text = format!("cluster {}: {}", cluster.key, errors.join("; "));
                    result = Err(Failure::transient(text));
                }
                errors
            }
            // Only a change of the resource helps, and that wakes us.
            Err(why) => vec![why],
        };
        outcomes.push(Outcome {
            reference: application.reference,
            hash: application.hash,
            errors,
        });
    }
    let written = write_binding(ctx, world, cluster, &outcomes).await;
    (outcomes, written.map_err(Failure::from).and(result))
}

/// Bindings are shared by all ClusterResourceSets of a Cluster: written only on top of the version that was read.
async fn write_binding(
    ctx: &Context,
    world: &World,
    cluster: &ClusterView,
    outcomes: &[Outcome],
) -> Result<(), Error> {
    let before = cluster.binding.as_deref();
    let after = binding_after(&world.set, &cluster.key, before, outcomes, ctx.now());
    match before {
        None => ctx.create::<ClusterResourceSetBinding>(&after).await.map(|_| ()),
        Some(before) => ctx.patch_locked(before, &after).await.map(|_| ()),
    }
}

/// Takes the ClusterResourceSet out of all bindings. What was applied stays where it is.
pub async fn delete(ctx: &Context, world: &World) -> Result<(), Error> {
    for binding in &world.bindings {
        match binding_without(&world.set, binding) {
            Some(after) => drop(ctx.patch_locked(&**binding, &after).await?),
            None => ctx.delete(&**binding).await?,
        }
    }
    ctx.remove_finalizer(&*world.set, finalizers::CLUSTER_RESOURCE_SET)
        .await
        .map(|_| ())
}

//! The Cluster controller: connects a Cluster with its infrastructure and control plane, sums up its descendants, and
//! deletes them in order. Everything about topologies belongs to a controller of its own.

mod act;
pub mod conditions;
mod counters;
pub mod deletion;
pub mod kubeconfig;
pub mod observe;
pub mod plan;

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use capi_api::{
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachinePool, MachineSet},
    finalizers,
};
use capi_runtime::{Context, Controller, Failure, Key, Manager, Next, Reconciler, StatusPace, Stores};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

pub use observe::Settings;

use crate::pause;

/// Reconciles Clusters.
#[derive(Debug, Default)]
pub struct ClusterReconciler {
    settings: Settings,
    pace: StatusPace,
}

impl ClusterReconciler {
    /// For how long the status may be held back.
    fn hold(&self, ctx: &Context, key: &Key, before: &Cluster, after: &Cluster) -> Option<Duration> {
        if before.status == after.status {
            self.pace.settled(key);
            return None;
        }
        self.pace.hold(key, ctx.now(), conditions::urgency(before, after))
    }
}

#[async_trait]
impl Reconciler for ClusterReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(cluster) = ctx.get::<Cluster>(key) else {
            self.pace.settled(key);
            return Ok(Next::Done);
        };
        if cluster.metadata.deletion_timestamp.is_none()
            && ctx.ensure_finalizer(&*cluster, finalizers::CLUSTER).await?
        {
            return Ok(Next::Done);
        }
        if pause::stops(ctx, &cluster, &*cluster).await? {
            return Ok(Next::Done);
        }
        let mut failures = Vec::new();
        let world = observe::observe(ctx, cluster, &mut failures).await;
        let plan = plan::plan(&world, &self.settings, ctx.now());
        // What failed may wait for somebody: then nothing brings this object back in time, and the status tells why.
        let held = match failures.is_empty() {
            true => self.hold(ctx, key, &world.cluster, &plan.cluster),
            false => None,
        };
        let next = plan.next.earliest(held.map_or(Next::Done, Next::After));
        act::act(ctx, &world, plan, held.is_some()).await?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure.into()),
            None => Ok(next),
        }
    }
}

/// Registers the controller.
pub fn register(manager: &mut Manager, settings: Settings) {
    let reconciler = ClusterReconciler {
        settings,
        ..ClusterReconciler::default()
    };
    let controller = Controller::<Cluster>::new("cluster", reconciler)
        .watches::<MachineDeployment>(|o: &MachineDeployment, _: &Stores| of(o, &o.spec.cluster_name))
        .watches::<MachineSet>(|o: &MachineSet, _: &Stores| of(o, &o.spec.cluster_name))
        .watches::<MachinePool>(|o: &MachinePool, _: &Stores| of(o, &o.spec.cluster_name))
        .watches::<Machine>(|o: &Machine, _: &Stores| of(o, &o.spec.cluster_name))
        .watches::<Secret>(|o: &Secret, _: &Stores| kubeconfig::cluster_of(o).into_iter().collect())
        .connects_workloads();
    manager.register(controller);
}

fn of(object: &impl ResourceExt, cluster: &str) -> Vec<Key> {
    vec![Key::new(object.namespace().unwrap_or_default(), cluster)]
}

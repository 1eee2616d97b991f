//! The DevMachine controller: orders simulated machines and takes each through its steps, by [`plan`].
//!
//! Watches DevMachines, their Machines (bootstrap data), Clusters (infrastructure, control plane, pausing) and
//! DevClusters. Writes the DevMachine, and one annotation on the Machine.

mod act;
mod conditions;
mod observe;
pub mod observed;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod timing;

use async_trait::async_trait;
use capi_api::core::v1beta2::{Cluster, Machine};
use capi_runtime::{Context, Controller, Failure, Key, Next, Reconciler, Stores, meta, owners_of_kind};

use self::observe::Sight;
pub(crate) use self::timing::parse_go_duration;
pub use self::{
    conditions::{Part, State},
    timing::TimingError,
};
use super::{is_paused, taken_in_charge};
use crate::{
    api::{DEV_MACHINE_FINALIZER, DevCluster, DevMachine},
    backend::World,
};

/// The controller, ready to be registered.
pub fn controller(world: World) -> Controller<DevMachine> {
    Controller::<DevMachine>::new("devmachine", DevMachineReconciler { world })
        .watches_changes::<Machine>(|old, new, _| {
            let relevant = |machine: &Machine| {
                let meta = &machine.metadata;
                (
                    machine.spec.clone(),
                    meta.annotations.clone(),
                    meta.labels.clone(),
                    meta.deletion_timestamp.clone(),
                )
            };
            match old.map(relevant) == new.map(relevant) {
                true => Vec::new(),
                false => new.or(old).and_then(infrastructure_of).into_iter().collect(),
            }
        })
        .watches_changes::<Cluster>(|old, new, stores| {
            let Some(cluster) = new else { return Vec::new() };
            match old.map(facts_of) == Some(facts_of(cluster)) {
                true => Vec::new(),
                false => machines_of(&Key::of(cluster), stores),
            }
        })
        .watches_changes::<DevCluster>(|old, new, stores| match (old, new) {
            (old, Some(new)) if old.is_none_or(|old| old.spec != new.spec) => {
                let clusters = owners_of_kind::<Cluster>(&new.metadata);
                clusters
                    .iter()
                    .flat_map(|cluster| machines_of(cluster, stores))
                    .collect()
            }
            _ => Vec::new(),
        })
        .reads::<k8s_openapi::api::core::v1::Secret>()
}

/// The DevMachine of a Machine.
fn infrastructure_of(machine: &Machine) -> Option<Key> {
    let reference = &machine.spec.infrastructure_ref;
    (reference.kind == "DevMachine").then(|| Key::of(machine).sibling(reference.name.clone()))
}

/// What about a Cluster decides over its machines.
fn facts_of(cluster: &Cluster) -> (bool, bool, bool) {
    let status = cluster.status.as_ref();
    let provisioned = status
        .and_then(|status| status.initialization.as_ref())
        .and_then(|i| i.infrastructure_provisioned);
    (
        cluster.spec.paused.unwrap_or_default(),
        provisioned.unwrap_or_default(),
        capi_api::conditions::is_true(cluster, capi_api::conditions::types::CONTROL_PLANE_INITIALIZED),
    )
}

fn machines_of(cluster: &Key, stores: &Stores) -> Vec<Key> {
    stores
        .get::<DevMachine>()
        .by_cluster(cluster)
        .iter()
        .map(|machine| Key::of(&**machine))
        .collect()
}

struct DevMachineReconciler {
    world: World,
}

#[async_trait]
impl Reconciler for DevMachineReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(dev_machine) = ctx.get::<DevMachine>(key) else {
            return Ok(Next::Done);
        };
        let owner = owners_of_kind::<Machine>(&dev_machine.metadata)
            .into_iter()
            .next();
        let machine = owner.and_then(|owner| ctx.get::<Machine>(&owner));
        let cluster = observe::cluster_of(ctx, &dev_machine, machine.as_deref());
        let paused = cluster
            .as_ref()
            .is_some_and(|cluster| cluster.spec.paused.unwrap_or_default());
        if is_paused(paused, &*dev_machine) {
            ctx.stop_if_paused(paused, &*dev_machine).await?;
            return Ok(Next::Done);
        }
        if meta::is_deleting(&dev_machine.metadata) {
            if meta::has_finalizer(&dev_machine.metadata, DEV_MACHINE_FINALIZER) {
                self.world.delete_machine(key).await?;
                ctx.remove_finalizer(&*dev_machine, DEV_MACHINE_FINALIZER).await?;
            }
            return Ok(Next::Done);
        }
        // The Machine sets the owner reference and the label; that brings us back.
        let (Some(machine), Some(cluster)) = (machine, cluster) else {
            return Ok(Next::Done);
        };
        let taken = |object: &DevMachine| taken_in_charge(object, DEV_MACHINE_FINALIZER, ctx.now());
        match observe::observe(ctx, &self.world, &dev_machine, &machine, &cluster).await? {
            Sight::Nothing => {
                ctx.patch(&*dev_machine, &taken(&dev_machine)).await?;
                Ok(Next::Done)
            }
            Sight::Unsupported(draft) => {
                let mut after = taken(&dev_machine);
                capi_api::conditions::set(&mut after, draft, ctx.now());
                ctx.patch(&*dev_machine, &after).await?;
                Ok(Next::Done)
            }
            Sight::Observed(mut observed) => {
                let plan = plan::plan(&observed, ctx.now());
                if !plan.actions.is_empty() {
                    let protected = act::protected(&observed.dev_machine);
                    // Locked, so that the status can follow on the version that this makes.
                    ctx.patch_locked(&observed.dev_machine, &protected).await?;
                    observed.dev_machine = protected;
                }
                let after = taken(&act::protected(&observed.dev_machine));
                Ok(act::act(ctx, &self.world, &observed, plan, after).await?)
            }
        }
    }
}

//! The MachineDeployment controller: keeps one MachineSet per Machine template and moves replicas from old ones to the
//! current one.

mod act;
pub mod conditions;
pub mod desired;
pub mod observe;
pub mod plan;
pub mod planner;
pub mod template;

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use capi_api::{
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineSet},
    finalizers, labels,
};
use capi_runtime::{
    Context, Controller, Failure, Key, Manager, Next, Reconciler, StatusPace, Stores, meta, owners_of_kind,
};
use kube::{ResourceExt, core::DynamicObject};

use super::machine_set::refers_to;
use crate::{pause, propagate::Memory, selector};

/// Reconciles MachineDeployments.
#[derive(Debug, Default)]
pub struct MachineDeploymentReconciler {
    /// What was last carried to MachineSets.
    carried: Memory,
    pace: StatusPace,
}

impl MachineDeploymentReconciler {
    /// For how long the status may be held back.
    fn hold(
        &self,
        ctx: &Context,
        key: &Key,
        before: &MachineDeployment,
        after: &MachineDeployment,
    ) -> Option<Duration> {
        if before.status == after.status {
            self.pace.settled(key);
            return None;
        }
        self.pace.hold(key, ctx.now(), conditions::urgency(before, after))
    }
}

#[async_trait]
impl Reconciler for MachineDeploymentReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(deployment) = ctx.get::<MachineDeployment>(key) else {
            self.carried.forget(key);
            self.pace.settled(key);
            return Ok(Next::Done);
        };
        let cluster_key = key.sibling(deployment.spec.cluster_name.clone());
        let Some(cluster) = ctx.get::<Cluster>(&cluster_key) else {
            let text = format!("Cluster {cluster_key} of MachineDeployment {key} does not exist");
            return Err(Failure::waiting(text));
        };
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        if !deleting
            && ctx
                .ensure_finalizer(&*deployment, finalizers::MACHINE_DEPLOYMENT)
                .await?
        {
            return Ok(Next::Done);
        }
        if pause::stops(ctx, &cluster, &*deployment).await? {
            return Ok(Next::Done);
        }
        let mut failures = Vec::new();
        let mut world = observe::observe(ctx, deployment, cluster, &mut failures).await;
        world.known = self.carried.of(key);
        let plan = plan::plan(&world, ctx.now());
        let next = plan.next;
        // What failed may wait for somebody: then nothing brings this object back in time, and the status tells why.
        let held = match failures.is_empty() {
            true => self.hold(ctx, key, &world.deployment, &plan.deployment),
            false => None,
        };
        let ended = act::act(ctx, &world, plan, held.is_some()).await;
        let there = world.sets.iter().filter_map(|set| set.uid());
        let there = there.chain(ended.settled.keys().cloned()).collect();
        self.carried.remember(key, ended.settled, &there);
        ended.outcome?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure.into()),
            None => Ok(next.earliest(held.map_or(Next::Done, Next::After))),
        }
    }
}

/// Registers the controller.
pub fn register(manager: &mut Manager) {
    let controller =
        Controller::<MachineDeployment>::new("machinedeployment", MachineDeploymentReconciler::default())
            .concurrency(50)
            .watches::<MachineSet>(by_set)
            .watches::<Machine>(by_machine)
            .watches_changes::<Cluster>(|old: Option<&Cluster>, new: Option<&Cluster>, stores: &Stores| {
                let Some(cluster) = new else { return Vec::new() };
                if old.map(pause::is_cluster_paused) == Some(pause::is_cluster_paused(cluster)) {
                    return Vec::new();
                }
                let all = stores
                    .get::<MachineDeployment>()
                    .list(cluster.namespace().as_deref());
                let name = cluster.name_any();
                all.iter()
                    .filter(|d| d.spec.cluster_name == name)
                    .map(|d| Key::of(&**d))
                    .collect()
            })
            .watches_referenced(by_referenced);
    manager.register(controller);
}

/// The MachineDeployment that controls a MachineSet, or those that select it if it belongs to nobody.
fn by_set(set: &MachineSet, stores: &Stores) -> Vec<Key> {
    if meta::controller_of(&set.metadata).is_some() {
        return owners_of_kind::<MachineDeployment>(&set.metadata);
    }
    let namespace = set.namespace().unwrap_or_default();
    let all = stores.get::<MachineDeployment>().list(Some(&namespace));
    all.iter()
        .filter(|d| !selector::is_empty(&d.spec.selector))
        .filter(|d| selector::matches(&d.spec.selector, set.metadata.labels.as_ref()))
        .map(|d| Key::of(&**d))
        .collect()
}

/// A Machine's conditions go into those of its MachineDeployment.
fn by_machine(machine: &Machine, _: &Stores) -> Vec<Key> {
    let name = machine.labels().get(labels::DEPLOYMENT_NAME);
    name.map(|name| Key::of(machine).sibling(name.clone()))
        .into_iter()
        .collect()
}

/// A template wakes the MachineDeployments that refer to it.
fn by_referenced(object: &DynamicObject, stores: &Stores) -> Vec<Key> {
    let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let all = stores.get::<MachineDeployment>().list(Some(&namespace));
    all.iter()
        .filter(|d| refers_to(&d.spec.template.spec, kind, &name))
        .map(|d| Key::of(&**d))
        .collect()
}

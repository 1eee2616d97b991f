//! The MachineHealthCheck controller: finds Machines that are unhealthy for too long and asks for their remediation, be
//! it by their owner or by a controller outside.
//!
//! It never deletes a Machine itself. `health` judges one Machine, `short_circuit` says whether anything may be done at
//! all, `plan` turns both into conditions and requests.

mod act;
pub mod health;
pub mod observe;
pub mod plan;
pub mod short_circuit;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use capi_api::{
    conditions::{get, types},
    contract::Template,
    core::v1beta2::{Cluster, Machine, MachineHealthCheck},
};
use capi_runtime::{Context, Controller, Failure, Key, Manager, Next, Reconciler, Stores};
use k8s_openapi::api::core::v1::Node;
use kube::{ResourceExt, core::DynamicObject};

use super::machine;
use crate::{pause, selector};

/// Reconciles MachineHealthChecks.
#[derive(Debug, Default)]
pub struct MachineHealthCheckReconciler;

#[async_trait]
impl Reconciler for MachineHealthCheckReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(check) = ctx.get::<MachineHealthCheck>(key) else {
            return Ok(Next::Done);
        };
        if check.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let cluster_key = key.sibling(check.spec.cluster_name.clone());
        let Some(cluster) = ctx.get::<Cluster>(&cluster_key) else {
            return Err(Failure::waiting(format!(
                "Cluster {cluster_key} of MachineHealthCheck {key} does not exist"
            )));
        };
        if cluster.metadata.deletion_timestamp.is_some() {
            // Everything goes: nothing is to be replaced, and the check goes with its Cluster.
            return Ok(Next::Done);
        }
        if pause::stops(ctx, &cluster, &*check).await? {
            return Ok(Next::Done);
        }
        let mut failures = Vec::new();
        let world = observe::observe(ctx, check, cluster, &mut failures).await;
        let plan = plan::plan(&world, ctx.now());
        let next = plan.next;
        act::act(ctx, &world, plan).await?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok(next),
        }
    }
}

/// Registers the controller.
pub fn register(manager: &mut Manager) {
    let controller =
        Controller::<MachineHealthCheck>::new("machinehealthcheck", MachineHealthCheckReconciler)
            .concurrency(50)
            .watches::<Machine>(by_machine)
            .watches_changes::<Cluster>(by_cluster)
            .watches_referenced(by_referenced)
            .watches_workload::<Node>(by_node);
    manager.register(controller);
}

/// The MachineHealthChecks that select a Machine.
fn by_machine(machine: &Machine, stores: &Stores) -> Vec<Key> {
    let cluster = Key::of(machine).sibling(machine.spec.cluster_name.clone());
    of_cluster(&cluster, stores)
        .iter()
        .filter(|check| selector::matches(&check.spec.selector, machine.metadata.labels.as_ref()))
        .map(|check| Key::of(&**check))
        .collect()
}

/// The MachineHealthChecks of a Cluster. One without the label gets it as soon as it is seen.
fn of_cluster(cluster: &Key, stores: &Stores) -> Vec<Arc<MachineHealthCheck>> {
    stores.get::<MachineHealthCheck>().by_cluster(cluster)
}

/// What a MachineHealthCheck reads of its Cluster: timeouts start anew when these come true.
fn read_of_cluster(cluster: &Cluster) -> (bool, Vec<Option<(String, jiff::Timestamp)>>) {
    let condition = |type_: &str| get(cluster, type_).map(|c| (c.status.clone(), c.last_transition_time.0));
    let read = [types::CONTROL_PLANE_INITIALIZED, types::INFRASTRUCTURE_READY];
    (
        pause::is_cluster_paused(cluster),
        read.into_iter().map(condition).collect(),
    )
}

fn by_cluster(old: Option<&Cluster>, new: Option<&Cluster>, stores: &Stores) -> Vec<Key> {
    let Some(cluster) = new else { return Vec::new() };
    if old.map(read_of_cluster) == Some(read_of_cluster(cluster)) {
        return Vec::new();
    }
    of_cluster(&Key::of(cluster), stores)
        .iter()
        .map(|check| Key::of(&**check))
        .collect()
}

/// The MachineHealthChecks that select the Machine of a Node.
fn by_node(cluster: &Key, node: &Node, stores: &Stores) -> Vec<Key> {
    let machines = stores.get::<Machine>();
    let keys: BTreeSet<Key> = machine::by_node(cluster, node, stores)
        .iter()
        .filter_map(|key| machines.get(key))
        .flat_map(|machine| by_machine(&machine, stores))
        .collect();
    keys.into_iter().collect()
}

/// The MachineHealthChecks that use this remediation template, or templates for remediation requests of this kind.
fn by_referenced(object: &DynamicObject, stores: &Stores) -> Vec<Key> {
    let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let uses = |check: &MachineHealthCheck| {
        let template = check
            .spec
            .remediation
            .as_ref()
            .and_then(|r| r.template_ref.as_ref());
        template.is_some_and(|template| {
            let is_template = template.kind == kind && template.name == name;
            is_template || (template.kind != kind && Template::cloned_kind(&template.kind) == kind)
        })
    };
    stores
        .get::<MachineHealthCheck>()
        .list(Some(&namespace))
        .iter()
        .filter(|check| uses(check))
        .map(|check| Key::of(&**check))
        .collect()
}

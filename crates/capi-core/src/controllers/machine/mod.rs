//! The Machine controller: follows bootstrap config and infrastructure until there is a Node, keeps the Node's metadata
//! in step, and takes a Machine apart in order when it is deleted.

mod act;
pub mod conditions;
pub mod deletion;
pub mod drain;
pub mod node;
pub mod node_conditions;
pub mod observe;
pub mod plan;
mod remote;
mod urgency;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use capi_api::{
    conditions::types,
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineDrainRule, MachineSet},
    finalizers,
};
use capi_runtime::{Context, Controller, Failure, Key, Manager, Next, Reconciler, StatusPace, Stores};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

pub use observe::{KeyPatterns, Settings};

use super::machine_deployment::template;
use crate::{machines, pause};

/// The index of Machines by the provider ID that their Node will carry.
const BY_PROVIDER_ID: &str = "provider-id";
/// The index of Machines by the Node they have.
const BY_NODE: &str = "node";

/// Reconciles Machines.
#[derive(Debug, Default)]
pub struct MachineReconciler {
    settings: Settings,
    pace: StatusPace,
}

impl MachineReconciler {
    /// For how long the status may be held back.
    fn hold(&self, ctx: &Context, key: &Key, world: &observe::World, plan: &plan::Plan) -> Option<Duration> {
        let (before, after) = (&*world.machine, &plan.machine);
        if before.status == after.status {
            self.pace.settled(key);
            return None;
        }
        self.pace
            .hold(key, ctx.now(), urgency::of(before, after, ctx.now()))
    }
}

#[async_trait]
impl Reconciler for MachineReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(machine) = ctx.get::<Machine>(key) else {
            self.pace.settled(key);
            return Ok(Next::Done);
        };
        let cluster_key = key.sibling(machine.spec.cluster_name.clone());
        let Some(cluster) = ctx.get::<Cluster>(&cluster_key) else {
            return Err(Failure::waiting(format!(
                "Cluster {cluster_key} of Machine {key} does not exist"
            )));
        };
        if !machines::is_deleting(&machine) && ctx.ensure_finalizer(&*machine, finalizers::MACHINE).await? {
            return Ok(Next::Done);
        }
        if pause::stops(ctx, &cluster, &*machine).await? {
            return Ok(Next::Done);
        }
        let mut failures = Vec::new();
        let world = observe::observe(ctx, machine, cluster, &mut failures).await;
        let plan = plan::plan(&world, &self.settings, ctx.now());
        // What failed may wait for somebody: then nothing brings this object back in time, and the status tells why.
        let held = match failures.is_empty() {
            true => self.hold(ctx, key, &world, &plan),
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
pub fn register(manager: &mut Manager, mut settings: Settings) {
    settings.propagate_taints |= manager.feature("MachineTaintPropagation", false);
    manager.index::<Machine>(BY_PROVIDER_ID, |machine: &Machine| {
        let id = machine.spec.provider_id.as_ref().filter(|id| !id.is_empty());
        id.map(|id| in_cluster(&cluster_of(machine), id))
            .into_iter()
            .collect()
    });
    manager.index::<Machine>(BY_NODE, |machine: &Machine| {
        let node = machine.status.as_ref().and_then(|s| s.node_ref.as_ref());
        node.map(|node| in_cluster(&cluster_of(machine), &node.name))
            .into_iter()
            .collect()
    });
    observe::index_nodes(manager);
    let reconciler = MachineReconciler {
        settings,
        ..MachineReconciler::default()
    };
    let controller = Controller::<Machine>::new("machine", reconciler)
        .concurrency(100)
        .watches_changes::<Cluster>(by_cluster)
        .watches_changes::<MachineSet>(by_set)
        .watches_changes::<MachineDeployment>(by_deployment)
        .watches::<MachineDrainRule>(by_drain_rule)
        .watches_workload::<Node>(by_node);
    manager.register(controller);
}

fn cluster_of(machine: &Machine) -> Key {
    Key::of(machine).sibling(machine.spec.cluster_name.clone())
}

fn in_cluster(cluster: &Key, what: &str) -> String {
    format!("{cluster}/{what}")
}

/// What a Machine reads of its Cluster.
fn read_of_cluster(cluster: &Cluster) -> (bool, bool, bool, bool) {
    let initialization = cluster.status.as_ref().and_then(|s| s.initialization.as_ref());
    (
        pause::is_cluster_paused(cluster),
        initialization.and_then(|i| i.infrastructure_provisioned) == Some(true),
        capi_api::conditions::is_true(cluster, types::CONTROL_PLANE_INITIALIZED),
        cluster.metadata.deletion_timestamp.is_some(),
    )
}

fn by_cluster(old: Option<&Cluster>, new: Option<&Cluster>, stores: &Stores) -> Vec<Key> {
    let Some(cluster) = new.or(old) else {
        return Vec::new();
    };
    if old.map(read_of_cluster) == new.map(read_of_cluster) {
        return Vec::new();
    }
    stores
        .get::<Machine>()
        .by_cluster(&Key::of(cluster))
        .iter()
        .map(|m| Key::of(&**m))
        .collect()
}

/// Machines of a MachineSet whose template or revision changed.
fn by_set(old: Option<&MachineSet>, new: Option<&MachineSet>, stores: &Stores) -> Vec<Key> {
    let Some(set) = new else { return Vec::new() };
    if old.is_some_and(|old| {
        template::reads_alike(&old.spec.template, &set.spec.template)
            && old.annotations() == set.annotations()
    }) {
        return Vec::new();
    }
    machines_of(set, stores)
}

fn machines_of(set: &MachineSet, stores: &Stores) -> Vec<Key> {
    let uid = set.uid().unwrap_or_default();
    stores
        .get::<Machine>()
        .by_owner(&uid)
        .iter()
        .map(|m| Key::of(&**m))
        .collect()
}

/// Machines of a MachineDeployment whose template, rollout time or revision changed.
fn by_deployment(
    old: Option<&MachineDeployment>,
    new: Option<&MachineDeployment>,
    stores: &Stores,
) -> Vec<Key> {
    let Some(deployment) = new else { return Vec::new() };
    let after = |d: &MachineDeployment| d.spec.rollout.as_ref().and_then(|r| r.after.clone());
    if old.is_some_and(|old| {
        template::reads_alike(&old.spec.template, &deployment.spec.template)
            && after(old) == after(deployment)
            && old.annotations() == deployment.annotations()
    }) {
        return Vec::new();
    }
    let uid = deployment.uid().unwrap_or_default();
    let sets = stores.get::<MachineSet>().by_owner(&uid);
    let keys: BTreeSet<Key> = sets.iter().flat_map(|set| machines_of(set, stores)).collect();
    keys.into_iter().collect()
}

/// The Machine of a Node: the one that has it, the one with its provider ID, or the one its annotation names.
pub(crate) fn by_node(cluster: &Key, node: &Node, stores: &Stores) -> Vec<Key> {
    let machines = stores.get::<Machine>();
    let mut keys = BTreeSet::new();
    for machine in machines.by_index(BY_NODE, &in_cluster(cluster, &node.name_any())) {
        keys.insert(Key::of(&*machine));
    }
    if let Some(id) = node
        .spec
        .as_ref()
        .and_then(|s| s.provider_id.as_deref())
        .filter(|id| !id.is_empty())
    {
        for machine in machines.by_index(BY_PROVIDER_ID, &in_cluster(cluster, id)) {
            keys.insert(Key::of(&*machine));
        }
    }
    keys.into_iter().collect()
}

/// The Machines that may be draining: a changed rule takes effect at once.
fn by_drain_rule(rule: &MachineDrainRule, stores: &Stores) -> Vec<Key> {
    let machines = stores.get::<Machine>().list(rule.namespace().as_deref());
    machines
        .iter()
        .filter(|m| machines::is_deleting(m))
        .map(|m| Key::of(&**m))
        .collect()
}

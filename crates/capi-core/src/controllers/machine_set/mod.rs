//! The MachineSet controller: keeps as many Machines as wanted, each with its clones of the templates.

mod act;
pub mod conditions;
pub mod creation;
pub mod deletion_order;
pub mod names;
pub mod observe;
pub mod plan;
pub mod preflight;
pub mod remediation;
pub mod synchronize;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use capi_api::{
    core::v1beta2::{Cluster, Machine, MachineDeployment, MachineSet},
    finalizers, labels,
};
use capi_runtime::{
    Context, Controller, Failure, Key, Manager, Next, Reconciler, StatusPace, Stores, meta, owners_of_kind,
};
use kube::{Resource, ResourceExt, core::DynamicObject};
use parking_lot::Mutex;

use self::observe::World;
use crate::{pause, propagate::Memory, selector};

/// How many names of former Machines are remembered per MachineSet.
const REMEMBERED: usize = 1000;

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The checks to make before Machines are created.
    pub preflight_checks: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preflight_checks: [preflight::ALL.to_owned()].into(),
        }
    }
}

/// Reconciles MachineSets.
#[derive(Debug, Default)]
pub struct MachineSetReconciler {
    settings: Settings,
    /// Names of Machines seen, by MachineSet. A name that is derived from what is seen would come back when a Machine is
    /// gone, and meet what its namesake has left behind (a Secret about to be collected, a Node).
    former: Mutex<BTreeMap<Key, BTreeSet<String>>>,
    /// The round of creation that goes on, by MachineSet: its own writes must not change the names it is about to give.
    episodes: Mutex<BTreeMap<Key, String>>,
    /// What was last carried to Machines and clones.
    carried: Memory,
    pace: StatusPace,
}

impl MachineSetReconciler {
    /// Remembers the names of today and adds those of former days to the ones that are taken.
    fn remember(&self, key: &Key, world: &mut World) {
        let mut former = self.former.lock();
        let names = former.entry(key.clone()).or_default();
        names.extend(world.machines.iter().map(|m| m.name_any()));
        while names.len() > REMEMBERED {
            names.pop_first();
        }
        world.taken.extend(names.iter().cloned());
        drop(former);
        let mut episodes = self.episodes.lock();
        let wanted = usize::try_from(world.set.spec.replicas.unwrap_or(0)).unwrap_or(0);
        if world.machines.len() >= wanted {
            episodes.remove(key);
        }
        let episode = episodes.entry(key.clone());
        world.episode = episode.or_insert_with(|| names::episode(&world.set)).clone();
    }

    fn forget(&self, key: &Key) {
        self.former.lock().remove(key);
        self.episodes.lock().remove(key);
        self.carried.forget(key);
        self.pace.settled(key);
    }

    /// For how long the status of a MachineSet may be held back.
    fn hold(&self, ctx: &Context, key: &Key, before: &MachineSet, after: &MachineSet) -> Option<Duration> {
        if before.status == after.status {
            self.pace.settled(key);
            return None;
        }
        self.pace.hold(key, ctx.now(), conditions::urgency(before, after))
    }
}

#[async_trait]
impl Reconciler for MachineSetReconciler {
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Next, Failure> {
        let Some(set) = ctx.get::<MachineSet>(key) else {
            self.forget(key);
            return Ok(Next::Done);
        };
        let cluster_key = key.sibling(set.spec.cluster_name.clone());
        let Some(cluster) = ctx.get::<Cluster>(&cluster_key) else {
            return Err(Failure::waiting(format!(
                "Cluster {cluster_key} of MachineSet {key} does not exist"
            )));
        };
        let deleting = set.metadata.deletion_timestamp.is_some();
        if !deleting && ctx.ensure_finalizer(&*set, finalizers::MACHINE_SET).await? {
            return Ok(Next::Done);
        }
        if pause::stops(ctx, &cluster, &*set).await? {
            return Ok(Next::Done);
        }
        let mut failures = Vec::new();
        let mut world = observe::observe(ctx, set, cluster, &mut failures).await;
        self.remember(key, &mut world);
        world.known = self.carried.of(key);
        let plan = plan::plan(&world, &self.settings, ctx.now());
        let next = plan.next;
        // What failed may wait for somebody: then nothing brings this object back in time, and the status tells why.
        let failed = !failures.is_empty();
        let hold = |after: &MachineSet| match failed {
            true => None,
            false => self.hold(ctx, key, &world.set, after),
        };
        let ended = act::act(ctx, &world, plan, hold).await;
        let there = world.uids().chain(ended.settled.keys().cloned()).collect();
        self.carried.remember(key, ended.settled, &there);
        ended.outcome?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure.into()),
            None => Ok(next.earliest(ended.held.map_or(Next::Done, Next::After))),
        }
    }
}

/// Registers the controller.
pub fn register(manager: &mut Manager, mut settings: Settings) {
    if !manager.feature("MachineSetPreflightChecks", true) {
        settings.preflight_checks.clear();
    }
    let reconciler = MachineSetReconciler {
        settings,
        ..MachineSetReconciler::default()
    };
    let controller = Controller::<MachineSet>::new("machineset", reconciler)
        .concurrency(50)
        .reads::<MachineDeployment>()
        .watches::<Machine>(by_machine)
        .watches_changes::<Cluster>(|old: Option<&Cluster>, new: Option<&Cluster>, stores: &Stores| {
            let Some(cluster) = new else { return Vec::new() };
            if old.map(pause::is_cluster_paused) == Some(pause::is_cluster_paused(cluster)) {
                return Vec::new();
            }
            stores
                .get::<MachineSet>()
                .by_cluster(&Key::of(cluster))
                .iter()
                .map(|s| Key::of(&**s))
                .collect()
        })
        .watches_referenced(by_referenced);
    manager.register(controller);
}

/// The MachineSet that owns a Machine, or those that select it if it belongs to nobody.
fn by_machine(machine: &Machine, stores: &Stores) -> Vec<Key> {
    if meta::controller_of(&machine.metadata).is_some() {
        return owners_of_kind::<MachineSet>(&machine.metadata);
    }
    let namespace = machine.namespace().unwrap_or_default();
    let sets = stores.get::<MachineSet>().list(Some(&namespace));
    sets.iter()
        .filter(|set| !selector::is_empty(&set.spec.selector))
        .filter(|set| selector::matches(&set.spec.selector, machine.metadata.labels.as_ref()))
        .map(|set| Key::of(&**set))
        .collect()
}

/// A clone wakes the MachineSet it still belongs to, a template those that refer to it, a control plane those of its
/// Cluster: what it does may have held them back.
fn by_referenced(object: &DynamicObject, stores: &Stores) -> Vec<Key> {
    let mut keys = owners_of_kind::<MachineSet>(object.meta());
    let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let sets = stores.get::<MachineSet>();
    if kind.ends_with("Template") {
        let all = sets.list(Some(&namespace));
        let referring = all
            .iter()
            .filter(|set| refers_to(&set.spec.template.spec, kind, &name));
        keys.extend(referring.map(|set| Key::of(&**set)));
    }
    let cluster = object.labels().get(labels::CLUSTER_NAME);
    let cluster = cluster.map(|cluster| Key::new(namespace, cluster.clone()));
    if let Some(cluster) = cluster.and_then(|key| stores.get::<Cluster>().get(&key)) {
        let reference = cluster.spec.control_plane_ref.as_ref();
        if reference.is_some_and(|r| r.kind == kind && r.name == name) {
            let all = sets.by_cluster(&Key::of(&*cluster));
            keys.extend(all.iter().map(|set| Key::of(&**set)));
        }
    }
    keys
}

/// Whether a Machine template refers to an object of this kind and name.
pub(crate) fn refers_to(spec: &capi_api::core::v1beta2::MachineSpec, kind: &str, name: &str) -> bool {
    [spec.bootstrap.config_ref.as_ref(), Some(&spec.infrastructure_ref)]
        .into_iter()
        .flatten()
        .any(|r| r.kind == kind && r.name == name)
}

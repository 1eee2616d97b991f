//! Judges the state of a system after every single write, for what must hold not only in the end but always.
//!
//! - Never below the quorum of etcd: a workload cluster whose control plane is not being deleted has an etcd leader.
//! - Never fewer available and never more machines than a scenario allows ([`Limits`]).
//! - Never two machines for one purpose: no two Machines share their configuration, infrastructure, provider id or Node.
//! - A control plane loses at most one machine at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_runtime::Key;
use embedded_apiserver::{GroupResource, Object, Server, Snapshot};
use infra_inmemory::World;
use parking_lot::Mutex;
use serde_json::Value;

/// How many machines there must be at least and may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// So many are Available and not being deleted.
    pub available: usize,
    /// Not more than so many exist, those that are being deleted not counted.
    pub machines: usize,
}

impl Range {
    /// At least `available` of at most `machines`.
    pub fn new(available: usize, machines: usize) -> Self {
        Self { available, machines }
    }
}

/// What a scenario allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The machines of the control plane.
    pub control_plane: Range,
    /// All others.
    pub workers: Range,
}

#[derive(Default)]
struct State {
    limits: Option<Limits>,
    /// What an object of a revision is, so that each is read once.
    seen: BTreeMap<(Box<str>, u64), Arc<Machine>>,
    last: BTreeSet<String>,
    violations: Vec<String>,
}

/// Collects what it does not like.
#[derive(Default)]
pub struct Observer {
    state: Mutex<State>,
}

/// What matters of a Machine.
struct Machine {
    name: String,
    control_plane: bool,
    available: bool,
    deleting: bool,
    /// What no other Machine may have.
    own: Vec<String>,
}

impl Machine {
    fn read(object: &Object) -> Self {
        let value = object.value();
        let conditions = value["status"]["conditions"].as_array();
        let available = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Available" && c["status"] == "True");
        let own = [
            "/spec/bootstrap/configRef/name",
            "/spec/infrastructureRef/name",
            "/spec/providerID",
            "/status/nodeRef/name",
        ];
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let own = own.iter().filter(|p| !text(p).is_empty());
        Self {
            name: object.key().into(),
            control_plane: object.label("cluster.x-k8s.io/control-plane").is_some(),
            available,
            deleting: object.terminating,
            own: own
                .map(|pointer| format!("{pointer} {}", text(pointer)))
                .collect(),
        }
    }
}

impl Observer {
    /// From now on these limits hold; without any, only what always holds.
    pub fn limit(&self, limits: Option<Limits>) {
        self.state.lock().limits = limits;
    }

    /// What was wrong so far.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    /// Takes note of something that was found elsewhere; once.
    pub fn complain(&self, what: String) {
        let mut state = self.state.lock();
        if !state.violations.contains(&what) {
            state.violations.push(what);
        }
    }

    /// Looks at the state that a write has left.
    pub fn look(&self, server: &Server, world: &World, after: &str) {
        let storage = server.fork();
        let snapshot = storage.snapshot();
        let mut state = self.state.lock();
        let machines = state.machines(snapshot);
        let mut wrong = twins(&machines);
        wrong.extend(quorum(snapshot, world));
        wrong.extend(state.limits.iter().flat_map(|limits| beyond(limits, &machines)));
        let wrong: BTreeSet<String> = wrong.into_iter().collect();
        for what in wrong.difference(&state.last.clone()) {
            state.violations.push(format!("{what}, after {after}"));
        }
        state.last = wrong;
    }
}

impl State {
    fn machines(&mut self, snapshot: &Snapshot) -> Vec<Arc<Machine>> {
        let rows = rows(snapshot, "cluster.x-k8s.io", "machines");
        let machines = rows.map(|object| {
            let key = (object.uid.clone(), object.revision);
            let entry = self.seen.entry(key);
            entry.or_insert_with(|| Arc::new(Machine::read(object))).clone()
        });
        machines.collect()
    }
}

fn rows<'a>(snapshot: &'a Snapshot, group: &str, resource: &str) -> impl Iterator<Item = &'a Arc<Object>> {
    let table = snapshot.tables.get(&GroupResource::new(group, resource));
    table.into_iter().flat_map(|rows| rows.values())
}

fn beyond(limits: &Limits, machines: &[Arc<Machine>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (what, control_plane, range) in [
        ("control-plane machines", true, limits.control_plane),
        ("worker machines", false, limits.workers),
    ] {
        let of = || {
            machines
                .iter()
                .filter(|m| m.control_plane == control_plane && !m.deleting)
        };
        let available = of().filter(|m| m.available).count();
        if available < range.available {
            let names: Vec<_> = of()
                .map(|m| format!("{} {}", m.name, if m.available { "is" } else { "is not" }))
                .collect();
            wrong.push(format!(
                "only {available} of {} {what} are Available ({})",
                range.available,
                names.join(", ")
            ));
        }
        if of().count() > range.machines {
            let names: Vec<_> = of().map(|m| m.name.as_str()).collect();
            wrong.push(format!(
                "more than {} {what}: {}",
                range.machines,
                names.join(", ")
            ));
        }
    }
    let leaving: Vec<_> = machines
        .iter()
        .filter(|m| m.control_plane && m.deleting)
        .map(|m| m.name.as_str())
        .collect();
    if leaving.len() > 1 {
        wrong.push(format!(
            "several control-plane machines leave at once: {}",
            leaving.join(", ")
        ));
    }
    wrong
}

fn twins(machines: &[Arc<Machine>]) -> Vec<String> {
    let mut owners = BTreeMap::new();
    let mut wrong = Vec::new();
    for machine in machines {
        for own in &machine.own {
            if let Some(other) = owners.insert(own.as_str(), machine.name.as_str()) {
                wrong.push(format!(
                    "the Machines {other} and {} have the same {own}",
                    machine.name
                ));
            }
        }
    }
    wrong
}

/// Without a leader an etcd cluster has no quorum. While its control plane is being deleted it may lose it.
fn quorum(snapshot: &Snapshot, world: &World) -> Vec<String> {
    let kept = |key: &Key| {
        let mut clusters = rows(snapshot, "cluster.x-k8s.io", "clusters");
        let alive = clusters.any(|c| *c.key() == *key.to_string() && !c.terminating);
        let planes = rows(snapshot, "controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes");
        let mut planes =
            planes.filter(|plane| plane.label("cluster.x-k8s.io/cluster-name") == Some(&key.name));
        alive && planes.all(|plane| !plane.terminating)
    };
    let clusters = world.clusters();
    let lost = clusters.iter().filter(|key| {
        let etcd = world.etcd(key);
        etcd.is_some_and(|etcd| {
            let etcd = etcd.lock();
            etcd.id() != 0 && etcd.leader().is_none()
        }) && kept(key)
    });
    lost.map(|key| format!("etcd of {key} has lost its quorum"))
        .collect()
}

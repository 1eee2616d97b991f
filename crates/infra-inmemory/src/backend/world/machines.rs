//! Machines: how far each has come, and the calls that take them further.

use std::sync::Arc;

use capi_runtime::Key;
use jiff::Timestamp;

use super::World;
use crate::{
    backend::{
        guest::{
            BootstrapData,
            join::{Authorities, AuthorityFiles},
        },
        workload::{Member, Started, Workload},
    },
    error::Error,
    faults::MachineFaults,
};

/// How far a simulated machine has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedMachine {
    /// The Cluster it belongs to.
    pub cluster: Key,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// Its Node, once it is one.
    pub node: Option<NodeRecord>,
    /// Its etcd member was started.
    pub etcd: bool,
    /// Its API server was started.
    pub api_server: bool,
    /// What is wrong with it by its switches.
    pub faults: MachineFaults,
    /// What is wrong with it besides: set by [`World::inject`].
    pub injected: MachineFaults,
}

impl SimulatedMachine {
    /// A machine that was just ordered.
    pub fn ordered(cluster: Key, created_at: Timestamp) -> Self {
        Self {
            cluster,
            created_at,
            node: None,
            etcd: false,
            api_server: false,
            faults: MachineFaults::default(),
            injected: MachineFaults::default(),
        }
    }

    fn started(&self) -> Started {
        Started {
            etcd: self.etcd,
            api_server: self.api_server,
        }
    }
}

/// What is known of a machine's Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The Node's name.
    pub name: String,
    /// When it registered.
    pub joined_at: Timestamp,
    uid: String,
    version: String,
    control_plane: bool,
    provider_id: String,
}

impl NodeRecord {
    /// A worker's Node.
    #[cfg(test)]
    pub(crate) fn for_tests(name: &str, joined_at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            joined_at,
            uid: String::new(),
            version: "v1.35.0".to_owned(),
            control_plane: false,
            provider_id: format!("in-memory://{name}"),
        }
    }
}

/// A machine that is about to become a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOrder {
    /// The Node's name if the bootstrap data does not say otherwise.
    pub name: String,
    /// The provider id.
    pub provider_id: String,
    /// The Kubernetes version, with the leading `v`.
    pub version: String,
    /// Whether it belongs to the control plane.
    pub control_plane: bool,
    /// Whether kubeadm makes it a member of etcd: a control-plane machine that joins for the first time.
    pub joins_etcd: bool,
}

impl World {
    /// A machine as it is.
    pub fn machine(&self, machine: &Key) -> Option<SimulatedMachine> {
        self.inventory.lock().machines.get(machine).cloned()
    }

    /// The names of all machines.
    pub fn machines(&self) -> Vec<Key> {
        self.inventory.lock().machines.keys().cloned().collect()
    }

    /// Orders a machine; a known one stays as it is.
    pub fn create_machine(&self, machine: &Key, cluster: &Key) {
        let created = SimulatedMachine::ordered(cluster.clone(), self.tools.clock.now());
        self.inventory
            .lock()
            .machines
            .entry(machine.clone())
            .or_insert(created);
    }

    /// A machine becomes a Node of its cluster, as its bootstrap data says.
    pub async fn become_node(
        &self,
        machine: &Key,
        order: &NodeOrder,
        data: Option<&BootstrapData>,
    ) -> Result<(), Error> {
        let workload = self.workload(&self.known(machine)?.cluster)?;
        let named = data.and_then(|data| data.kubeadm.registration.name.clone());
        let mut record = NodeRecord {
            name: named.unwrap_or_else(|| order.name.clone()),
            joined_at: self.tools.clock.now(),
            uid: String::new(),
            version: order.version.clone(),
            control_plane: order.control_plane,
            provider_id: order.provider_id.clone(),
        };
        record.uid = workload
            .become_node(&member(machine, &record), data, order.joins_etcd)
            .await?;
        self.update(machine, |known| known.node = Some(record));
        self.settle(machine, false).await
    }

    /// A control-plane node's etcd member starts.
    pub async fn start_etcd(&self, machine: &Key, authority: Option<&AuthorityFiles>) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        workload.start_etcd(&member, authority).await?;
        self.update(machine, |known| known.etcd = true);
        self.settle(machine, false).await
    }

    /// A control-plane node's API server starts.
    pub async fn start_api_server(&self, machine: &Key, authorities: &Authorities) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        let cluster = self.known(machine)?.cluster.name;
        workload.start_api_server(&member, &cluster, authorities).await?;
        self.update(machine, |known| known.api_server = true);
        self.settle(machine, false).await
    }

    /// The switches of a machine say that this is wrong with it, and nothing else any more.
    pub async fn set_faults(&self, machine: &Key, faults: &MachineFaults) -> Result<(), Error> {
        self.known(machine)?;
        self.update(machine, |known| known.faults = faults.clone());
        self.settle(machine, true).await
    }

    /// This is wrong with a machine whatever its switches say: for those who drive the world themselves.
    pub async fn inject(&self, machine: &Key, faults: &MachineFaults) -> Result<(), Error> {
        self.known(machine)?;
        self.update(machine, |known| known.injected = faults.clone());
        self.settle(machine, true).await
    }

    /// The process of a node's API server ends, for as long as [`World::resume_api_server`] is not called.
    pub async fn stop_api_server(&self, machine: &Key) -> Result<(), Error> {
        let down = MachineFaults {
            api_server_down: true,
            ..self.known(machine)?.injected
        };
        self.inject(machine, &down).await
    }

    /// The process of a node's API server runs again.
    pub async fn resume_api_server(&self, machine: &Key) -> Result<(), Error> {
        let up = MachineFaults {
            api_server_down: false,
            ..self.known(machine)?.injected
        };
        self.inject(machine, &up).await
    }

    /// A machine goes, and all that ran on it with it. What the cluster knows of it stays until somebody tidies up.
    pub async fn delete_machine(&self, machine: &Key) -> Result<(), Error> {
        let Some(known) = self.machine(machine) else {
            return Ok(());
        };
        let workload = self.inventory.lock().clusters.get(&known.cluster).cloned();
        if let (Some(workload), Some(node)) = (workload, &known.node) {
            workload.power_off(&node.name).await?;
        }
        self.inventory.lock().machines.remove(machine);
        Ok(())
    }

    /// Brings what a machine runs, and what its cluster says of it, in line with what is wrong with it. `changed` tells
    /// that this is something else than before; a machine that never had a fault has nothing to correct.
    async fn settle(&self, machine: &Key, changed: bool) -> Result<(), Error> {
        let known = self.known(machine)?;
        let Some(node) = &known.node else { return Ok(()) };
        let workload = self.workload(&known.cluster)?;
        let (faults, started) = (known.faults.with(&known.injected), known.started());
        workload.settle_processes(&node.name, started, &faults).await?;
        if changed || faults != MachineFaults::default() {
            workload.report(&node.name, started, &faults).await?;
        }
        Ok(())
    }

    fn known(&self, machine: &Key) -> Result<SimulatedMachine, Error> {
        self.machine(machine)
            .ok_or_else(|| Error::Unknown(format!("machine {machine}")))
    }

    fn member(&self, machine: &Key) -> Result<(Arc<Workload>, Member), Error> {
        let known = self.known(machine)?;
        let node = known
            .node
            .as_ref()
            .ok_or_else(|| Error::Unknown(format!("the Node of machine {machine}")))?;
        Ok((self.workload(&known.cluster)?, member(machine, node)))
    }

    fn update(&self, machine: &Key, change: impl FnOnce(&mut SimulatedMachine)) {
        if let Some(known) = self.inventory.lock().machines.get_mut(machine) {
            change(known);
        }
    }
}

fn member(machine: &Key, node: &NodeRecord) -> Member {
    Member {
        machine: machine.name.clone(),
        node: node.name.clone(),
        uid: node.uid.clone(),
        provider_id: node.provider_id.clone(),
        version: node.version.clone(),
        control_plane: node.control_plane,
    }
}

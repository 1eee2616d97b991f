//! The simulated cloud: all machines and workload clusters, and the calls that controllers make on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use capi_runtime::{Key, WorkloadConnector};
use cluster_pki::{KeyAlgorithm, PrivateKey, SharedKeys};
use embedded_apiserver::Server;
use jiff::Timestamp;
use parking_lot::Mutex;
use seams::{SharedClock, SharedRandomness};

use super::{
    endpoints::{Endpoint, Endpoints, Listeners, Registry, RegistryConnector},
    etcd::EtcdCluster,
    guest::{
        BootstrapData,
        join::{Authorities, AuthorityFiles, TokenSecret},
    },
    tls::Issuance,
    workload::{ClusterView, Member, Workload, WorkloadSnapshot},
};
use crate::error::Error;

/// The ports of workload clusters, first and last.
const PORTS: (u16, u16) = (20_000, 30_000);

/// What a world is made of.
#[derive(Clone)]
pub struct WorldSettings {
    /// The wall clock.
    pub clock: SharedClock,
    /// Where chance comes from.
    pub randomness: SharedRandomness,
    /// Where private keys come from.
    pub keys: SharedKeys,
    /// The network.
    pub endpoints: Arc<dyn Endpoints>,
    /// The address under which workload clusters are reached: this process's.
    pub host: String,
}

/// What the parts of a world share.
#[derive(Clone)]
pub(super) struct Tools {
    pub clock: SharedClock,
    pub randomness: SharedRandomness,
    pub endpoints: Arc<dyn Endpoints>,
    keys: SharedKeys,
    /// One key for all servers: nobody keeps a secret from himself.
    server_key: Arc<OnceLock<PrivateKey>>,
}

impl Tools {
    /// Issues a certificate for the world's server key.
    pub fn issue<T>(&self, issue: impl FnOnce(&Issuance<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let key = match self.server_key.get() {
            Some(key) => key,
            None => {
                let key =
                    self.keys
                        .generate(KeyAlgorithm::EcdsaP256)
                        .map_err(|source| Error::Certificate {
                            what: "key of the simulated servers".to_owned(),
                            source,
                        })?;
                self.server_key.get_or_init(|| key)
            }
        };
        issue(&Issuance {
            key,
            randomness: &*self.randomness,
            now: self.clock.now(),
        })
    }
}

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
}

/// What is known of a machine's Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The Node's name.
    pub name: String,
    /// When it registered.
    pub joined_at: Timestamp,
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
}

#[derive(Default)]
struct Inventory {
    /// By the DevMachine.
    machines: BTreeMap<Key, SimulatedMachine>,
    /// By the Cluster.
    clusters: BTreeMap<Key, Arc<Workload>>,
    /// Addresses that are promised to Clusters.
    endpoints: BTreeMap<Key, Endpoint>,
    /// The port to try next; ports are not given away twice.
    next_port: u16,
}

/// A copy of a world at one moment; see [`World::restore`].
pub struct WorldSnapshot {
    machines: BTreeMap<Key, SimulatedMachine>,
    clusters: BTreeMap<Key, WorkloadSnapshot>,
    endpoints: BTreeMap<Key, Endpoint>,
    next_port: u16,
}

/// The simulated cloud. Clones are the same world.
#[derive(Clone)]
pub struct World {
    tools: Tools,
    host: Arc<str>,
    inventory: Arc<Mutex<Inventory>>,
    connector: Option<Arc<Registry>>,
}

impl World {
    /// An empty world.
    pub fn new(settings: WorldSettings) -> Self {
        let tools = Tools {
            clock: settings.clock,
            randomness: settings.randomness,
            endpoints: settings.endpoints,
            keys: settings.keys,
            server_key: Arc::default(),
        };
        let inventory = Inventory {
            next_port: PORTS.0,
            ..Inventory::default()
        };
        Self {
            tools,
            host: settings.host.into(),
            inventory: Arc::new(Mutex::new(inventory)),
            connector: None,
        }
    }

    /// An empty world whose workload clusters listen on `host` with HTTPS.
    pub fn listening(clock: SharedClock, randomness: SharedRandomness, keys: SharedKeys, host: &str) -> Self {
        let endpoints = Arc::new(Listeners::on(host));
        Self::new(WorldSettings {
            clock,
            randomness,
            keys,
            endpoints,
            host: host.to_owned(),
        })
    }

    /// An empty world whose workload clusters are reached inside this process, through [`World::connector`].
    pub fn simulated(clock: SharedClock, randomness: SharedRandomness, keys: SharedKeys) -> Self {
        let registry = Registry::new(clock.clone());
        let settings = WorldSettings {
            clock,
            randomness,
            keys,
            endpoints: Arc::new(registry.clone()),
            host: "127.0.0.1".to_owned(),
        };
        Self {
            connector: Some(registry),
            ..Self::new(settings)
        }
    }

    /// How managers reach the workload clusters; `None` if these listen on the network, as anybody can reach them then.
    pub fn connector(&self) -> Option<Arc<dyn WorkloadConnector>> {
        let registry = self.connector.clone()?;
        Some(Arc::new(RegistryConnector(registry)))
    }

    /// The address under which workload clusters are reached.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A copy of everything at this moment, without waiting for anything.
    pub fn snapshot(&self) -> WorldSnapshot {
        let inventory = self.inventory.lock();
        WorldSnapshot {
            machines: inventory.machines.clone(),
            clusters: inventory
                .clusters
                .iter()
                .map(|(key, cluster)| (key.clone(), cluster.snapshot()))
                .collect(),
            endpoints: inventory.endpoints.clone(),
            next_port: inventory.next_port,
        }
    }

    /// Fills this world, which must be empty, with a copy of another one.
    pub async fn restore(&self, snapshot: WorldSnapshot) -> Result<(), Error> {
        for (key, cluster) in snapshot.clusters {
            let workload = Workload::restore(key.clone(), cluster, self.tools.clone()).await?;
            self.inventory.lock().clusters.insert(key, Arc::new(workload));
        }
        let mut inventory = self.inventory.lock();
        inventory.machines = snapshot.machines;
        inventory.endpoints = snapshot.endpoints;
        inventory.next_port = snapshot.next_port;
        Ok(())
    }

    // Workload clusters

    /// Promises an address to a Cluster: the wanted port, or the next one that nobody uses. `taken` are ports of
    /// Clusters that this world may not have met yet. Asked again, it answers the same.
    pub fn reserve(
        &self,
        cluster: &Key,
        wanted: Option<u16>,
        taken: &BTreeSet<u16>,
    ) -> Result<Endpoint, Error> {
        let mut inventory = self.inventory.lock();
        if let Some(endpoint) = inventory
            .endpoints
            .get(cluster)
            .filter(|e| wanted.is_none_or(|port| port == e.port))
        {
            return Ok(endpoint.clone());
        }
        let port = match wanted {
            Some(port) => port,
            None => loop {
                let port = inventory.next_port;
                if port > PORTS.1 {
                    return Err(Error::NoPorts(PORTS.0, PORTS.1));
                }
                inventory.next_port += 1;
                let promised = inventory.endpoints.values().any(|endpoint| endpoint.port == port);
                if !promised && !taken.contains(&port) && self.tools.endpoints.is_free(port) {
                    break port;
                }
            },
        };
        if (PORTS.0..=PORTS.1).contains(&port) {
            inventory.next_port = inventory.next_port.max(port + 1);
        }
        let endpoint = Endpoint {
            host: self.host.to_string(),
            port,
        };
        inventory.endpoints.insert(cluster.clone(), endpoint.clone());
        Ok(endpoint)
    }

    /// Makes sure that the Cluster has a workload cluster, reached at `endpoint`.
    pub async fn ensure_cluster(&self, cluster: &Key, endpoint: &Endpoint) -> Result<(), Error> {
        let existing = self.inventory.lock().clusters.get(cluster).cloned();
        if let Some(existing) = existing {
            return existing.move_to(endpoint.clone()).await;
        }
        let made = Arc::new(Workload::start(cluster.clone(), endpoint.clone(), self.tools.clone()).await?);
        let kept = {
            let mut inventory = self.inventory.lock();
            inventory.endpoints.insert(cluster.clone(), endpoint.clone());
            inventory
                .clusters
                .entry(cluster.clone())
                .or_insert_with(|| made.clone())
                .clone()
        };
        if !Arc::ptr_eq(&kept, &made) {
            made.end().await;
        }
        Ok(())
    }

    /// Ends a workload cluster with everything in it.
    pub async fn delete_cluster(&self, cluster: &Key) {
        let workload = {
            let mut inventory = self.inventory.lock();
            inventory.endpoints.remove(cluster);
            inventory
                .machines
                .retain(|_, machine| machine.cluster != *cluster);
            inventory.clusters.remove(cluster)
        };
        if let Some(workload) = workload {
            workload.end().await;
        }
    }

    /// A workload cluster as it is.
    pub fn cluster(&self, cluster: &Key) -> Option<ClusterView> {
        self.inventory
            .lock()
            .clusters
            .get(cluster)
            .map(|workload| workload.view())
    }

    /// The names of all workload clusters.
    pub fn clusters(&self) -> Vec<Key> {
        self.inventory.lock().clusters.keys().cloned().collect()
    }

    /// The API server of a workload cluster, whether its endpoint is open or not.
    pub fn server(&self, cluster: &Key) -> Option<Server> {
        self.inventory
            .lock()
            .clusters
            .get(cluster)
            .map(|workload| workload.server().clone())
    }

    /// The etcd membership of a workload cluster.
    pub fn etcd(&self, cluster: &Key) -> Option<Arc<Mutex<EtcdCluster>>> {
        self.inventory
            .lock()
            .clusters
            .get(cluster)
            .map(|workload| workload.etcd())
    }

    /// The bootstrap token of that id in a workload cluster.
    pub async fn token(&self, cluster: &Key, id: &str) -> Result<Option<TokenSecret>, Error> {
        self.workload(cluster)?.token(id).await
    }

    /// The cluster's certificate authority may have changed: its API servers show a new certificate then.
    pub fn use_authority(&self, cluster: &Key, authority: &AuthorityFiles) -> Result<(), Error> {
        self.workload(cluster)?.use_authority(authority)
    }

    fn workload(&self, cluster: &Key) -> Result<Arc<Workload>, Error> {
        let workload = self.inventory.lock().clusters.get(cluster).cloned();
        workload.ok_or_else(|| Error::Unknown(format!("workload cluster {cluster}")))
    }

    // Machines

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
        let created = SimulatedMachine {
            cluster: cluster.clone(),
            created_at: self.tools.clock.now(),
            node: None,
            etcd: false,
            api_server: false,
        };
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
        let record = NodeRecord {
            name: named.unwrap_or_else(|| order.name.clone()),
            joined_at: self.tools.clock.now(),
            version: order.version.clone(),
            control_plane: order.control_plane,
            provider_id: order.provider_id.clone(),
        };
        workload.become_node(&member(machine, &record), data).await?;
        self.update(machine, |known| known.node = Some(record));
        Ok(())
    }

    /// A control-plane node's etcd member starts.
    pub async fn start_etcd(&self, machine: &Key, authority: Option<&AuthorityFiles>) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        workload.start_etcd(&member, authority).await?;
        self.update(machine, |known| known.etcd = true);
        Ok(())
    }

    /// A control-plane node's API server starts.
    pub async fn start_api_server(&self, machine: &Key, authorities: &Authorities) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        let cluster = self.known(machine)?.cluster.name;
        workload.start_api_server(&member, &cluster, authorities).await?;
        self.update(machine, |known| known.api_server = true);
        Ok(())
    }

    /// The process of a node's API server ends, for as long as [`World::resume_api_server`] is not called.
    pub async fn stop_api_server(&self, machine: &Key) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        workload.stop_api_server(&member.node).await;
        Ok(())
    }

    /// The process of a node's API server runs again.
    pub async fn resume_api_server(&self, machine: &Key) -> Result<(), Error> {
        let (workload, member) = self.member(machine)?;
        workload.resume_api_server(&member.node).await
    }

    /// A machine goes, and takes its Node and everything that ran on it along.
    pub async fn delete_machine(&self, machine: &Key) -> Result<(), Error> {
        let Some(known) = self.machine(machine) else {
            return Ok(());
        };
        let workload = self.inventory.lock().clusters.get(&known.cluster).cloned();
        if let (Some(workload), Some(node)) = (workload, &known.node) {
            workload.remove(&node.name).await?;
        }
        self.inventory.lock().machines.remove(machine);
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
        provider_id: node.provider_id.clone(),
        version: node.version.clone(),
        control_plane: node.control_plane,
    }
}

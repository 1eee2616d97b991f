//! The simulated cloud: all machines and workload clusters, and the calls that controllers make on it.

mod machines;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use capi_runtime::{Key, WorkloadConnector};
use cluster_pki::{KeyAlgorithm, PrivateKey, SharedKeys};
use embedded_apiserver::Server;
use parking_lot::Mutex;
use seams::{SharedClock, SharedRandomness};

pub use self::machines::{NodeOrder, NodeRecord, SimulatedMachine};
use super::{
    endpoints::{Endpoint, Endpoints, Listeners, Registry, RegistryConnector},
    etcd::EtcdCluster,
    guest::join::{AuthorityFiles, TokenSecret},
    tls::Issuance,
    workload::{ClusterView, Workload, WorkloadSnapshot},
};
use crate::{error::Error, faults::ClusterFaults};

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
            let workload = Arc::new(workload);
            workload.notice_those_gone();
            self.inventory.lock().clusters.insert(key, workload);
        }
        let mut inventory = self.inventory.lock();
        inventory.machines = snapshot.machines;
        inventory.endpoints = snapshot.endpoints;
        inventory.next_port = snapshot.next_port;
        Ok(())
    }

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
                if !promised && !taken.contains(&port) && self.tools.endpoints.reserve(port) {
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

    /// This is wrong with a cluster as a whole, and nothing else any more.
    pub async fn set_cluster_faults(&self, cluster: &Key, faults: ClusterFaults) -> Result<(), Error> {
        self.workload(cluster)?.set_faults(faults).await
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

    /// The ClusterConfiguration that a workload cluster holds for machines that join.
    pub async fn configuration(&self, cluster: &Key) -> Result<Option<serde_json::Value>, Error> {
        self.workload(cluster)?.configuration().await
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
}

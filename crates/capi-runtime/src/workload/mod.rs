//! Workload clusters: one connection each for all controllers of the process.
//!
//! A connection is wanted while the Cluster and its kubeconfig Secret exist. [`Workloads`] keeps the list, `connection`
//! the life of one. A cluster that cannot be reached costs a timer and nothing else: nobody waits for it, and who asks
//! is told since when and why.

mod connection;
mod connector;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use capi_api::{core::v1beta2::Cluster, labels::CLUSTER_NAME, secrets};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, api::ObjectMeta};
use parking_lot::Mutex;
use seams::{SharedClock, SharedRandomness};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use connection::{Connection, Identity};
pub use connection::{Probe, ProbeSettings};
pub use connector::{ConnectError, HttpConnector, KeptConnection, WorkloadConnection, WorkloadConnector};

use crate::{
    error::{Disconnected, Error, chain},
    key::{Key, Kind, version_of},
    metrics::Metrics,
    queue::{Priority, WorkQueue},
    ring::hash,
    store::{Delta, Extract, Store, Stores},
};

/// Subscribes one mapper of one controller to a kind in a newly connected cluster:
/// (cluster, its stores, management stores, the controller's queue).
pub(crate) type WorkloadWatch = Arc<dyn Fn(&Key, &Stores, &Stores, &Arc<WorkQueue>) + Send + Sync>;

/// The objects of a controller's kind that belong to a cluster.
pub(crate) type OfCluster = Arc<dyn Fn(&Key) -> Vec<Key> + Send + Sync>;

/// A controller that uses workload clusters.
#[derive(Clone)]
pub(crate) struct WorkloadSubscriber {
    pub(crate) queue: Arc<WorkQueue>,
    pub(crate) of_cluster: OfCluster,
    pub(crate) watches: Vec<WorkloadWatch>,
}

/// Sets up the stores of a workload cluster.
type Prepare = Arc<dyn Fn(&Stores) + Send + Sync>;

/// All workload clusters of this process.
pub(crate) struct Workloads {
    connector: Arc<dyn WorkloadConnector>,
    settings: ProbeSettings,
    clock: SharedClock,
    randomness: SharedRandomness,
    metrics: Arc<Metrics>,
    management: Stores,
    subscribers: Mutex<Vec<WorkloadSubscriber>>,
    /// Set up the stores of each newly connected cluster.
    prepare: Mutex<Vec<Prepare>>,
    connections: Mutex<BTreeMap<Key, Arc<Connection>>>,
    run: Mutex<Option<(CancellationToken, TaskTracker)>>,
}

impl Workloads {
    pub(crate) fn new(
        connector: Arc<dyn WorkloadConnector>,
        settings: ProbeSettings,
        clock: SharedClock,
        randomness: SharedRandomness,
        metrics: Arc<Metrics>,
        management: Stores,
    ) -> Arc<Self> {
        Arc::new(Self {
            connector,
            settings,
            clock,
            randomness,
            metrics,
            management,
            subscribers: Mutex::default(),
            prepare: Mutex::default(),
            connections: Mutex::default(),
            run: Mutex::default(),
        })
    }

    /// The kinds whose changes decide about connections.
    pub(crate) fn declare(stores: &Stores) {
        stores.declare::<Cluster>();
        stores.declare::<Secret>();
    }

    pub(crate) fn subscribe(&self, subscriber: WorkloadSubscriber) {
        self.subscribers.lock().push(subscriber);
    }

    /// Adds an index to the store of a kind in every workload cluster.
    pub(crate) fn index<K: Kind>(&self, name: &str, extract: Extract<K>) {
        let name = name.to_owned();
        self.prepare.lock().push(Arc::new(move |stores: &Stores| {
            stores.index::<K>(&name, extract.clone())
        }));
    }

    /// Follows Clusters and kubeconfigs from now on. The stores must be filled.
    pub(crate) fn start(self: &Arc<Self>, cancel: &CancellationToken, tasks: &TaskTracker) {
        *self.run.lock() = Some((cancel.clone(), tasks.clone()));
        let me: Weak<Self> = Arc::downgrade(self);
        self.management.declare::<Secret>().on_change(false, {
            let me = me.clone();
            move |delta: &Delta<Secret>| {
                let cluster = delta
                    .latest()
                    .and_then(|secret| cluster_of_kubeconfig(&secret.metadata));
                if let (Some(me), Some(cluster)) = (me.upgrade(), cluster) {
                    me.refresh(&cluster);
                }
            }
        });
        self.management
            .declare::<Cluster>()
            .on_change(true, move |delta: &Delta<Cluster>| {
                if let Some(me) = me.upgrade() {
                    me.refresh(&delta.key);
                }
            });
    }

    /// Brings the connection to a cluster in line with what exists.
    fn refresh(self: &Arc<Self>, cluster: &Key) {
        let version = self.kubeconfig_version(cluster);
        let mut connections = self.connections.lock();
        // Most changes of a Cluster are none of its kubeconfig: the version tells without a look at the text.
        if let Some(known) = connections.get(cluster)
            && Some(known.kubeconfig().version) == version
        {
            known.nudge();
            return;
        }
        let wanted = version.and_then(|_| self.kubeconfig(cluster));
        let identity = wanted.map(|(text, version)| Identity {
            version,
            hash: hash(&[&text]),
        });
        if let Some(known) = connections.get(cluster) {
            if let Some(identity) = identity.filter(|identity| identity.hash == known.kubeconfig().hash) {
                known.note_version(identity.version);
                known.nudge();
                return;
            }
            known.close();
            connections.remove(cluster);
        }
        let Some(identity) = identity else {
            self.metrics.forget_cluster(cluster);
            return;
        };
        let Some((cancel, tasks)) = self.run.lock().clone() else {
            return;
        };
        let connection = Connection::new(cluster.clone(), identity, self.clock.now(), cancel.child_token());
        connections.insert(cluster.clone(), connection.clone());
        tasks.spawn(connection.run(Arc::downgrade(self)));
    }

    /// The version of the Secret with a cluster's kubeconfig, if both exist.
    fn kubeconfig_version(&self, cluster: &Key) -> Option<u64> {
        self.management.declare::<Cluster>().version(cluster)?;
        let name = secrets::Purpose::Kubeconfig.name_for(&cluster.name);
        self.management
            .declare::<Secret>()
            .version(&cluster.sibling(name))
    }

    /// The kubeconfig of a cluster, and the version of its Secret.
    fn kubeconfig(&self, cluster: &Key) -> Option<(Vec<u8>, u64)> {
        let name = secrets::Purpose::Kubeconfig.name_for(&cluster.name);
        let secret = self.management.declare::<Secret>().get(&cluster.sibling(name))?;
        let text = secret.data.as_ref()?.get(secrets::VALUE_KEY)?;
        Some((text.0.clone(), version_of(&secret.metadata)))
    }

    pub(crate) fn client(&self, cluster: &Key) -> Result<WorkloadClient, Disconnected> {
        match self.connections.lock().get(cluster) {
            Some(connection) => connection.client(),
            None => Err(self.nothing_to_connect_to(cluster)),
        }
    }

    fn nothing_to_connect_to(&self, key: &Key) -> Disconnected {
        let cluster = self.management.declare::<Cluster>().get(key);
        let created = cluster
            .as_ref()
            .and_then(|cluster| cluster.metadata.creation_timestamp.as_ref());
        let reason = match &cluster {
            Some(_) => format!(
                "there is no Secret {} yet",
                secrets::Purpose::Kubeconfig.name_for(&key.name)
            ),
            None => "there is no Cluster of this name".to_owned(),
        };
        Disconnected {
            cluster: key.clone(),
            since: created.map_or(self.clock.now(), |time| time.0),
            reason,
        }
    }

    pub(crate) fn probe(&self, cluster: &Key) -> Option<Probe> {
        self.connections
            .lock()
            .get(cluster)
            .map(|connection| connection.probe())
    }

    /// Tells every controller that the connection to a cluster came or went.
    fn announce(&self, cluster: &Key, stores: Option<&Stores>) {
        self.metrics.connection(cluster, stores.is_some());
        let subscribers = self.subscribers.lock().clone();
        for subscriber in subscribers {
            if let Some(stores) = stores {
                for watch in &subscriber.watches {
                    watch(cluster, stores, &self.management, &subscriber.queue);
                }
            }
            for key in (subscriber.of_cluster)(cluster) {
                subscriber.queue.add(key, Priority::High);
            }
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        for connection in std::mem::take(&mut *self.connections.lock()).into_values() {
            connection.close();
        }
        self.subscribers.lock().clear();
    }
}

/// The cluster whose kubeconfig this Secret holds.
fn cluster_of_kubeconfig(secret: &ObjectMeta) -> Option<Key> {
    let cluster = secret.labels.as_ref()?.get(CLUSTER_NAME)?;
    let name = secrets::Purpose::Kubeconfig.name_for(cluster);
    (secret.name.as_deref() == Some(&*name)).then(|| Key::of_meta(secret).sibling(cluster.clone()))
}

/// The way to a connected workload cluster.
#[derive(Clone)]
pub struct WorkloadClient {
    cluster: Key,
    connection: KeptConnection,
    stores: Stores,
    probe: Probe,
}

/// A byte stream to a port of a pod.
pub trait PodStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PodStream for T {}

impl WorkloadClient {
    /// The cluster.
    pub fn cluster(&self) -> &Key {
        &self.cluster
    }

    /// A client of its API server.
    pub fn client(&self) -> Client {
        self.connection.client()
    }

    /// The store of one of its kinds. A kind nobody watches yet gets its watch now; until it is filled the reconcile is
    /// abandoned and repeated.
    pub fn store<K: Kind>(&self) -> Store<K> {
        self.stores.get::<K>()
    }

    /// The last probe at the time this client was asked for.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Opens a stream to a port of a pod.
    pub async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Box<dyn PodStream + 'static>, Error> {
        let key = Key::new(namespace, pod);
        let api: Api<Pod> = Api::namespaced(self.connection.upgrades(), namespace);
        let opened = tokio::time::timeout(Duration::from_secs(10), api.portforward(pod, &[port])).await;
        let broken = |what: &str| Error::Io {
            what: format!("port-forward to port {port} of pod {key} in {}", self.cluster),
            source: std::io::Error::other(what.to_owned()),
        };
        let mut forwarder = match opened {
            Ok(Ok(forwarder)) => forwarder,
            Ok(Err(error)) => return Err(broken(&chain(&error))),
            Err(_) => return Err(broken("no answer within 10 s")),
        };
        let stream = forwarder.take_stream(port).ok_or_else(|| broken("no stream"))?;
        Ok(Box::new(stream))
    }
}

//! One simulated workload cluster: an API server in memory, an etcd membership, and which machines run their parts.
//!
//! Here is its life as a whole; what machines do in it is in [`machines`], how what they run is told in [`reports`].

mod machines;
mod reports;
mod shared;

use std::sync::Arc;

use capi_runtime::Key;
use embedded_apiserver::{MemoryStorage, Server};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use parking_lot::Mutex;
use serde_json::Value;

pub use self::shared::Shared;
use self::shared::State;
pub(super) use self::{machines::Member, reports::Started};
use super::{
    endpoints::Endpoint,
    etcd::EtcdCluster,
    guest::join::{TokenSecret, certificates_dir},
    objects::Writer,
    port_forward::ToPods,
    world::Tools,
};
use crate::{error::Error, faults::ClusterFaults};

/// Who the writes of machines come from, in the workload cluster's request log.
const USER_AGENT: &str = "simulated-machine";

/// How many changes per kind a watch may have missed before it must list again: few objects live in such a cluster.
const HISTORY: usize = 200;

/// A workload cluster as the DevMachine controller looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Where its API is reached.
    pub endpoint: Endpoint,
    /// Whether an API server answers there.
    pub serving: bool,
    /// The DevMachine that ran `kubeadm init`.
    pub initialized_by: Option<String>,
    /// Where control-plane machines keep certificates.
    pub certificates_dir: Option<String>,
    /// The authority that issued the API servers' certificates and whose clients they accept, PEM.
    pub client_authority: Option<String>,
}

/// A copy of a workload cluster, to start another world from.
pub(super) struct WorkloadSnapshot {
    state: State,
    etcd: EtcdCluster,
    storage: MemoryStorage,
}

/// A running workload cluster.
pub(super) struct Workload {
    shared: Arc<Shared>,
    server: Server,
    writer: Writer,
}

impl Workload {
    /// Starts an empty cluster.
    pub async fn start(key: Key, endpoint: Endpoint, tools: Tools) -> Result<Self, Error> {
        let state = State {
            endpoint,
            ..State::default()
        };
        Self::build(key, tools, state, EtcdCluster::default(), MemoryStorage::new()).await
    }

    /// Starts a copy; its endpoint is opened again if API servers run.
    pub async fn restore(key: Key, snapshot: WorkloadSnapshot, tools: Tools) -> Result<Self, Error> {
        let workload = Self::build(key, tools, snapshot.state, snapshot.etcd, snapshot.storage).await?;
        workload.shared.settle_door().await?;
        Ok(workload)
    }

    async fn build(
        key: Key,
        tools: Tools,
        state: State,
        etcd: EtcdCluster,
        storage: MemoryStorage,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            key: key.clone(),
            tools: tools.clone(),
            state: Mutex::new(state),
            etcd: Arc::new(Mutex::new(etcd)),
            server: Mutex::default(),
            door: tokio::sync::Mutex::default(),
        });
        let server = Server::builder()
            .clock(tools.clock.clone())
            .randomness(tools.randomness.clone())
            .storage(storage)
            .port_forward(Arc::new(ToPods(Arc::downgrade(&shared))))
            .managed_fields(false)
            .history(HISTORY)
            .build()
            .await
            .map_err(|source| Error::Build {
                cluster: key.clone(),
                source,
            })?;
        *shared.server.lock() = Some(server.clone());
        let writer = Writer::new(key, server.client_as(USER_AGENT));
        Ok(Self {
            shared,
            server,
            writer,
        })
    }

    /// A copy of everything, taken at once.
    pub fn snapshot(&self) -> WorkloadSnapshot {
        WorkloadSnapshot {
            state: self.shared.state.lock().clone(),
            etcd: self.shared.etcd.lock().clone(),
            storage: self.server.fork(),
        }
    }

    /// The cluster's API server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The etcd membership.
    pub fn etcd(&self) -> Arc<Mutex<EtcdCluster>> {
        self.shared.etcd.clone()
    }

    /// What the DevMachine controller wants to know.
    pub fn view(&self) -> ClusterView {
        let state = self.shared.state.lock();
        ClusterView {
            endpoint: state.endpoint.clone(),
            serving: self.shared.serves(&state),
            initialized_by: state.initialized_by.clone(),
            client_authority: state.client_authority().map(str::to_owned),
            certificates_dir: state
                .configuration
                .as_ref()
                .map(|c| certificates_dir(c).to_owned()),
        }
    }

    /// Moves the cluster to another address, where its connections go from then on.
    pub async fn move_to(&self, endpoint: Endpoint) -> Result<(), Error> {
        let old = {
            let mut state = self.shared.state.lock();
            if state.endpoint == endpoint {
                return Ok(());
            }
            std::mem::replace(&mut state.endpoint, endpoint)
        };
        self.shared.tools.endpoints.close(&old);
        self.shared.settle_door().await
    }

    /// What is wrong with the cluster by its switches.
    pub async fn set_faults(&self, faults: ClusterFaults) -> Result<(), Error> {
        self.shared.state.lock().faults = faults;
        self.shared.settle_door().await
    }

    /// Ends the cluster: closes its endpoint and forgets everything.
    pub async fn end(&self) {
        let _door = self.shared.door.lock().await;
        let endpoint = {
            let mut state = self.shared.state.lock();
            state.api_servers.clear();
            state.endpoint.clone()
        };
        self.shared.tools.endpoints.close(&endpoint);
        self.shared.server.lock().take();
        self.server.shutdown();
    }

    /// What `kubeadm init` has stored, or others have made of it since; none before the first machine is up.
    pub async fn configuration(&self) -> Result<Option<Value>, Error> {
        let map = self
            .writer
            .get_in::<ConfigMap>("kube-system", "kubeadm-config")
            .await?;
        let text = map
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove("ClusterConfiguration"));
        Ok(text.and_then(|text| serde_saphyr::from_str(&text).ok()))
    }

    /// The bootstrap token of that id, if its Secret exists.
    pub async fn token(&self, id: &str) -> Result<Option<TokenSecret>, Error> {
        let name = format!("bootstrap-token-{id}");
        let secret = self.writer.get_in::<Secret>("kube-system", &name).await?;
        Ok(secret
            .filter(|secret| secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token"))
            .map(token_of))
    }
}

fn token_of(secret: Secret) -> TokenSecret {
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        data.get(key)
            .map(|value| String::from_utf8_lossy(&value.0).into_owned())
            .unwrap_or_default()
    };
    TokenSecret {
        secret: text("token-secret"),
        // A date that cannot be read is one that has passed.
        expiration: Some(text("expiration"))
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
        authentication: text("usage-bootstrap-authentication") == "true",
        signing: text("usage-bootstrap-signing") == "true",
    }
}

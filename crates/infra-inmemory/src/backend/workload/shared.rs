//! What connections to a workload cluster need: the server behind them, and what it shows and demands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capi_runtime::Key;
use embedded_apiserver::Server;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde_json::Value;

use crate::{
    backend::{
        endpoints::{Backend, Endpoint},
        etcd::EtcdCluster,
        tls::Identity,
        world::Tools,
    },
    error::Error,
    faults::ClusterFaults,
};

/// What changes in the life of a workload cluster, besides its objects and etcd.
#[derive(Debug, Clone, Default)]
pub(in crate::backend) struct State {
    pub(super) endpoint: Endpoint,
    pub(super) initialized_by: Option<String>,
    /// What `kubeadm init` was given, until its objects are written.
    pub(super) configuration: Option<Value>,
    pub(super) skip_phases: Vec<String>,
    pub(super) objects_written: bool,
    /// The nodes whose API server runs.
    pub(super) api_servers: BTreeSet<String>,
    /// What the API server of each node shows and demands. kubeadm issues a certificate on every node, so that each lasts
    /// a year from when its machine joined.
    pub(super) api_identities: BTreeMap<String, Identity>,
    pub(super) etcd_identities: BTreeMap<String, Identity>,
    /// What is wrong with the cluster as a whole.
    pub(super) faults: ClusterFaults,
    /// The Nodes whose machines are gone, and when the node controller notices.
    pub(super) gone: BTreeMap<String, Timestamp>,
}

impl State {
    /// The authority that issued the API servers' certificates and whose clients they accept, PEM.
    pub(super) fn client_authority(&self) -> Option<&str> {
        self.api_identities
            .values()
            .next()
            .map(Identity::client_authority)
    }
}

/// What connections to the cluster need; outlives none of them.
pub struct Shared {
    pub(super) key: Key,
    pub(super) tools: Tools,
    pub(super) state: Mutex<State>,
    pub(super) etcd: Arc<Mutex<EtcdCluster>>,
    pub(super) server: Mutex<Option<Server>>,
    /// Whether the endpoint was opened. Held while it opens or closes, so that two machines do not do both at once.
    pub(super) door: tokio::sync::Mutex<bool>,
}

impl Shared {
    /// Whether any API server answers at the endpoint.
    pub(super) fn serves(&self, state: &State) -> bool {
        !state.faults.endpoint_unreachable && self.serving_node(state).is_some()
    }

    /// A node whose API server answers. Each asks the etcd member beside it, unless etcd is elsewhere.
    fn serving_node<'a>(&self, state: &'a State) -> Option<&'a String> {
        let etcd = self.etcd.lock();
        let works = |node: &&String| etcd.id() == 0 || etcd.serves(node);
        state.api_servers.iter().find(works)
    }

    /// Opens the endpoint if an API server answers there, else closes it.
    pub(in crate::backend) async fn settle_door(self: &Arc<Self>) -> Result<(), Error> {
        let mut open = self.door.lock().await;
        let (endpoint, serves) = {
            let state = self.state.lock();
            (state.endpoint.clone(), self.serves(&state))
        };
        if !serves {
            // One that was never opened is left alone: its address is reserved.
            if std::mem::take(&mut *open) {
                self.tools.endpoints.close(&endpoint);
            }
            return Ok(());
        }
        let backend: Arc<dyn Backend> = self.clone();
        self.tools
            .endpoints
            .open(&endpoint, backend)
            .await
            .map_err(|source| Error::Listen {
                cluster: self.key.clone(),
                endpoint: endpoint.to_string(),
                source,
            })?;
        *open = true;
        Ok(())
    }

    /// The etcd membership.
    pub(in crate::backend) fn etcd(&self) -> Arc<Mutex<EtcdCluster>> {
        self.etcd.clone()
    }

    /// How the etcd member of a node accepts connections; none while it does not run.
    pub(in crate::backend) fn etcd_tls(&self, node: &str) -> Option<Arc<ServerConfig>> {
        if !self.etcd.lock().is_running(node) {
            return None;
        }
        let state = self.state.lock();
        self.config_of(state.etcd_identities.get(node)?)
    }

    /// How the API server of a node accepts connections; none while it does not run.
    pub(in crate::backend) fn api_server_tls(&self, node: &str) -> Option<Arc<ServerConfig>> {
        let state = self.state.lock();
        let running = state.api_servers.get(node)?;
        self.config_of(state.api_identities.get(running)?)
    }

    fn config_of(&self, identity: &Identity) -> Option<Arc<ServerConfig>> {
        let config = identity.server_config(&self.tools.clock);
        config
            .map_err(|error| tracing::error!(cluster = %self.key, %error, "simulated server"))
            .ok()
    }
}

impl Backend for Shared {
    fn server(&self) -> Option<Server> {
        self.server.lock().clone()
    }

    /// The endpoint is a load balancer: behind it is any API server that answers.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        let state = self.state.lock();
        self.config_of(state.api_identities.get(self.serving_node(&state)?)?)
    }

    fn client_authority(&self) -> Option<String> {
        self.state.lock().client_authority().map(str::to_owned)
    }
}

//! One simulated workload cluster: an API server in memory, an etcd membership, and which machines run their parts.

mod shared;

use std::sync::Arc;

use capi_runtime::Key;
use embedded_apiserver::{MemoryStorage, Server};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use parking_lot::Mutex;

pub use self::shared::Shared;
use self::shared::State;
use super::{
    endpoints::{Backend, Endpoint},
    etcd::EtcdCluster,
    guest::{
        BootstrapData, Mode, NodeRegistration,
        join::{Authorities, AuthorityFiles, TokenSecret, certificates_dir},
    },
    kubeadm_objects::{self, InitFacts},
    node_objects::{self, API_SERVER, CONTROLLER_MANAGER, ETCD, NodeFacts, SCHEDULER, pod_name, static_pod},
    objects::Writer,
    port_forward::ToPods,
    tls::Identity,
    world::Tools,
};
use crate::error::Error;

/// Who the writes of machines come from, in the workload cluster's request log.
const USER_AGENT: &str = "simulated-machine";

/// How many changes per kind a watch may have missed before it must list again: few objects live in such a cluster.
const HISTORY: usize = 200;

/// Annotation keys of etcd pods.
const ETCD_CLUSTER_ID: &str = "etcd.inmemory.infrastructure.cluster.x-k8s.io/cluster-id";
const ETCD_MEMBER_ID: &str = "etcd.inmemory.infrastructure.cluster.x-k8s.io/member-id";

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
    /// The authority that issued the API servers' certificate and whose clients they accept, PEM.
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

/// A machine that takes part in a workload cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// The DevMachine's name.
    pub machine: String,
    /// The Node's name.
    pub node: String,
    /// The provider id.
    pub provider_id: String,
    /// The Kubernetes version, with the leading `v`.
    pub version: String,
    /// Whether it belongs to the control plane.
    pub control_plane: bool,
}

impl Member {
    fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            name: &self.node,
            provider_id: &self.provider_id,
            version: &self.version,
            control_plane: self.control_plane,
        }
    }
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
        if !workload.shared.state.lock().api_servers.is_empty() {
            workload.open().await?;
        }
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
            serving: !state.api_servers.is_empty(),
            initialized_by: state.initialized_by.clone(),
            client_authority: state
                .api_identity
                .as_ref()
                .map(|identity| identity.client_authority().to_owned()),
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
        let serving = self.view().serving;
        if serving {
            self.shared.tools.endpoints.close(&old);
            self.open().await?;
        }
        Ok(())
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

    /// The bootstrap token of that id, if its Secret exists.
    pub async fn token(&self, id: &str) -> Result<Option<TokenSecret>, Error> {
        let name = format!("bootstrap-token-{id}");
        let secret = self.writer.get_in::<Secret>("kube-system", &name).await?;
        Ok(secret
            .filter(|secret| secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token"))
            .map(token_of))
    }

    /// A machine becomes a Node. With the data of `kubeadm init` it becomes the cluster's first one.
    pub async fn become_node(&self, member: &Member, data: Option<&BootstrapData>) -> Result<(), Error> {
        let registration = data.map_or_else(NodeRegistration::default, |data| {
            data.kubeadm.registration.clone()
        });
        let node = node_objects::node(&member.facts(), &registration, self.shared.tools.clock.now());
        self.writer.create_global::<Node>(node).await?;
        if let Some((data, Mode::Init { cluster })) = data.map(|data| (data, &data.kubeadm.mode)) {
            let mut state = self.shared.state.lock();
            state.initialized_by = Some(member.machine.clone());
            state.configuration = Some(cluster.clone());
            state.skip_phases = data.kubeadm.skip_phases.clone();
        }
        Ok(())
    }

    /// The etcd member of a node starts. Without an authority of its own the cluster uses somebody else's etcd.
    pub async fn start_etcd(&self, member: &Member, authority: Option<&AuthorityFiles>) -> Result<(), Error> {
        let Some(authority) = authority.filter(|authority| !authority.key.is_empty()) else {
            return Ok(());
        };
        let host = self.shared.state.lock().endpoint.host.clone();
        let identity = self
            .shared
            .tools
            .issue(|issuance| Identity::etcd_member(authority, &member.node, &host, issuance))?;
        self.shared
            .state
            .lock()
            .etcd_identities
            .insert(member.node.clone(), identity);
        let (cluster_id, id) = {
            let mut etcd = self.shared.etcd.lock();
            let id = etcd.start(&member.node, || self.shared.tools.randomness.next_u64());
            (etcd.id(), id)
        };
        let annotations = [
            (ETCD_CLUSTER_ID, cluster_id.to_string()),
            (ETCD_MEMBER_ID, id.to_string()),
        ];
        self.create_pod(ETCD, member, &annotations).await
    }

    /// The API server, scheduler and controller manager of a node start; the first API server opens the endpoint.
    pub async fn start_api_server(
        &self,
        member: &Member,
        cluster: &str,
        authorities: &Authorities,
    ) -> Result<(), Error> {
        self.use_authority(&authorities.cluster)?;
        self.write_kubeadm_objects(member, cluster, &authorities.cluster)
            .await?;
        self.create_pod(API_SERVER, member, &[]).await?;
        self.create_pod(SCHEDULER, member, &[]).await?;
        self.create_pod(CONTROLLER_MANAGER, member, &[]).await?;
        self.resume_api_server(&member.node).await
    }

    /// The process of a node's API server runs (again).
    pub async fn resume_api_server(&self, node: &str) -> Result<(), Error> {
        self.shared.state.lock().api_servers.insert(node.to_owned());
        self.open().await
    }

    /// The process of a node's API server stops; the last one closes the endpoint.
    pub async fn stop_api_server(&self, node: &str) {
        let _door = self.shared.door.lock().await;
        let last = {
            let mut state = self.shared.state.lock();
            state.api_servers.remove(node) && state.api_servers.is_empty()
        };
        if last {
            let endpoint = self.view().endpoint;
            self.shared.tools.endpoints.close(&endpoint);
        }
    }

    /// Accepts clients of this authority, and shows a certificate of it; again only if it changed.
    pub fn use_authority(&self, authority: &AuthorityFiles) -> Result<(), Error> {
        let host = {
            let state = self.shared.state.lock();
            if state
                .api_identity
                .as_ref()
                .is_some_and(|old| old.client_authority() == authority.certificate)
            {
                return Ok(());
            }
            state.endpoint.host.clone()
        };
        let identity = self
            .shared
            .tools
            .issue(|issuance| Identity::api_server(authority, &host, issuance))?;
        self.shared.state.lock().api_identity = Some(identity);
        Ok(())
    }

    /// A machine goes: first its Node, then what ran on it.
    pub async fn remove(&self, node: &str) -> Result<(), Error> {
        self.writer.delete_global::<Node>(node).await?;
        self.delete_pod(ETCD, node).await?;
        self.shared.etcd.lock().stop(node);
        self.shared.state.lock().etcd_identities.remove(node);
        self.delete_pod(API_SERVER, node).await?;
        self.stop_api_server(node).await;
        self.delete_pod(SCHEDULER, node).await?;
        self.delete_pod(CONTROLLER_MANAGER, node).await
    }

    async fn open(&self) -> Result<(), Error> {
        let _door = self.shared.door.lock().await;
        let endpoint = {
            let state = self.shared.state.lock();
            if state.api_servers.is_empty() {
                return Ok(());
            }
            state.endpoint.clone()
        };
        let backend: Arc<dyn Backend> = self.shared.clone();
        self.shared
            .tools
            .endpoints
            .open(&endpoint, backend)
            .await
            .map_err(|source| Error::Listen {
                cluster: self.shared.key.clone(),
                endpoint: endpoint.to_string(),
                source,
            })
    }

    async fn write_kubeadm_objects(
        &self,
        member: &Member,
        cluster: &str,
        authority: &AuthorityFiles,
    ) -> Result<(), Error> {
        let state = self.shared.state.lock().clone();
        if state.objects_written {
            return Ok(());
        }
        let facts = InitFacts {
            configuration: state.configuration.as_ref(),
            skip_phases: &state.skip_phases,
            cluster,
            version: &member.version,
            endpoint: &state.endpoint.to_string(),
            authority: &authority.certificate,
        };
        kubeadm_objects::create(&self.writer, &facts).await?;
        let mut state = self.shared.state.lock();
        state.objects_written = true;
        state.initialized_by.get_or_insert_with(|| member.machine.clone());
        Ok(())
    }

    async fn create_pod(
        &self,
        component: &str,
        member: &Member,
        annotations: &[(&str, String)],
    ) -> Result<(), Error> {
        let pod = static_pod(
            component,
            &member.facts(),
            annotations,
            self.shared.tools.clock.now(),
        );
        self.writer.create_in::<Pod>("kube-system", pod).await
    }

    async fn delete_pod(&self, component: &str, node: &str) -> Result<(), Error> {
        self.writer
            .delete_in::<Pod>("kube-system", &pod_name(component, node))
            .await
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

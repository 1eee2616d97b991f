//! What machines do in a workload cluster: become Nodes, start etcd members and API servers, disappear.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};

use super::Workload;
use crate::{
    backend::{
        guest::{
            BootstrapData, Mode, NodeRegistration,
            join::{Authorities, AuthorityFiles},
        },
        images::Images,
        kubeadm_objects::{self, InitFacts},
        node_objects::{self, NodeFacts},
        static_pods::{API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, static_pod},
        tls::Identity,
    },
    error::Error,
};

/// Annotation keys of etcd pods.
const ETCD_CLUSTER_ID: &str = "etcd.inmemory.infrastructure.cluster.x-k8s.io/cluster-id";
const ETCD_MEMBER_ID: &str = "etcd.inmemory.infrastructure.cluster.x-k8s.io/member-id";

/// How long the node controller waits for a kubelet before it says that nothing is known of the Node.
const NODE_MONITOR_GRACE: Duration = Duration::from_secs(50);

/// A machine that takes part in a workload cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend) struct Member {
    /// The DevMachine's name.
    pub machine: String,
    /// The Node's name.
    pub node: String,
    /// The Node's uid, once it is known.
    pub uid: String,
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
    /// A machine becomes a Node, whose uid is answered. With the data of `kubeadm init` it becomes the cluster's first
    /// one. A control-plane machine that joins (`joins_etcd`) is in etcd's list before its Node appears, as a learner.
    pub async fn become_node(
        &self,
        member: &Member,
        data: Option<&BootstrapData>,
        joins_etcd: bool,
    ) -> Result<String, Error> {
        let tools = &self.shared.tools;
        if joins_etcd {
            let joined = self
                .shared
                .etcd
                .lock()
                .add_learner(&member.node, || tools.randomness.next_u64());
            joined.map_err(|source| Error::Etcd {
                node: member.node.clone(),
                source,
            })?;
        }
        let registration = data.map_or_else(NodeRegistration::default, |data| {
            data.kubeadm.registration.clone()
        });
        let now = tools.clock.now();
        let node = node_objects::node(&member.facts(), &registration, now);
        self.writer.create_global::<Node>(node).await?;
        let created = self.writer.get_global::<Node>(&member.node).await?;
        let uid = created.and_then(|node| node.metadata.uid).unwrap_or_default();
        let lease = node_objects::lease(&member.node, &uid, now);
        self.writer.create_in::<Lease>("kube-node-lease", lease).await?;
        let mut state = self.shared.state.lock();
        state.gone.remove(&member.node);
        if let Some((data, Mode::Init { cluster })) = data.map(|data| (data, &data.kubeadm.mode)) {
            state.initialized_by = Some(member.machine.clone());
            state.configuration = Some(cluster.clone());
            state.skip_phases = data.kubeadm.skip_phases.clone();
        }
        Ok(uid)
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
            let id = id.map_err(|source| Error::Etcd {
                node: member.node.clone(),
                source,
            })?;
            (etcd.id(), id)
        };
        let annotations = [
            (ETCD_CLUSTER_ID, cluster_id.to_string()),
            (ETCD_MEMBER_ID, id.to_string()),
        ];
        let images = Images::new(self.configuration().await?.as_ref(), &member.version);
        self.create_pod(ETCD, member, &images, &annotations).await?;
        self.shared.settle_door().await
    }

    /// The API server, scheduler and controller manager of a node start; the first API server leaves what kubeadm does.
    pub async fn start_api_server(
        &self,
        member: &Member,
        cluster: &str,
        authorities: &Authorities,
    ) -> Result<(), Error> {
        self.use_authority(&authorities.cluster)?;
        self.show_certificate(&member.node, &authorities.cluster)?;
        self.write_kubeadm_objects(member, cluster, &authorities.cluster)
            .await?;
        let images = Images::new(self.configuration().await?.as_ref(), &member.version);
        for component in [API_SERVER, SCHEDULER, CONTROLLER_MANAGER] {
            self.create_pod(component, member, &images, &[]).await?;
        }
        Ok(())
    }

    /// All API servers accept clients of this authority, and show certificates of it; new ones only if it changed.
    pub fn use_authority(&self, authority: &AuthorityFiles) -> Result<(), Error> {
        let others: Vec<String> = {
            let state = self.shared.state.lock();
            let of_others = state
                .api_identities
                .iter()
                .filter(|(_, identity)| identity.client_authority() != authority.certificate);
            of_others.map(|(node, _)| node.clone()).collect()
        };
        others
            .iter()
            .try_for_each(|node| self.show_certificate(node, authority))
    }

    /// The API server of a node gets a certificate that is valid from now on.
    fn show_certificate(&self, node: &str, authority: &AuthorityFiles) -> Result<(), Error> {
        let host = self.shared.state.lock().endpoint.host.clone();
        let identity = self
            .shared
            .tools
            .issue(|issuance| Identity::api_server(authority, node, &host, issuance))?;
        let mut state = self.shared.state.lock();
        state.api_identities.insert(node.to_owned(), identity);
        Ok(())
    }

    /// A machine is gone, and with it all that ran on it. Its Node and pods stay, as nobody is left to take them away;
    /// so does its etcd member. After a while the node controller notices.
    pub async fn power_off(self: &Arc<Self>, node: &str) -> Result<(), Error> {
        let due =
            self.shared.tools.clock.now() + SignedDuration::try_from(NODE_MONITOR_GRACE).unwrap_or_default();
        self.shared.etcd.lock().stop(node);
        {
            let mut state = self.shared.state.lock();
            state.etcd_identities.remove(node);
            state.api_identities.remove(node);
            state.api_servers.remove(node);
            state.gone.insert(node.to_owned(), due);
        }
        self.notice_later(node);
        self.shared.settle_door().await
    }

    /// Lets the node controller look at Nodes of machines that are gone, as in the world that this is a copy of.
    pub fn notice_those_gone(self: &Arc<Self>) {
        let gone: Vec<String> = self.shared.state.lock().gone.keys().cloned().collect();
        for node in gone {
            self.notice_later(&node);
        }
    }

    fn notice_later(self: &Arc<Self>, node: &str) {
        let Some(due) = self.shared.state.lock().gone.get(node).copied() else {
            return;
        };
        let wait = Duration::try_from(due.duration_since(self.shared.tools.clock.now())).unwrap_or_default();
        let (workload, node) = (Arc::downgrade(self), node.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let Some(workload) = workload.upgrade() else {
                return;
            };
            if workload.shared.state.lock().gone.remove(&node).is_none() {
                return;
            }
            if let Err(error) = workload.report_gone(&node).await {
                tracing::debug!(cluster = %workload.shared.key, %node, %error, "a Node cannot be marked as unreachable");
            }
        });
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
        // Only needed until now.
        state.skip_phases = Vec::new();
        state.initialized_by.get_or_insert_with(|| member.machine.clone());
        Ok(())
    }

    async fn create_pod(
        &self,
        component: &str,
        member: &Member,
        images: &Images,
        annotations: &[(&str, String)],
    ) -> Result<(), Error> {
        let pod = static_pod(
            component,
            &member.facts(),
            &member.uid,
            images,
            annotations,
            self.shared.tools.clock.now(),
        );
        self.writer.create_in::<Pod>("kube-system", pod).await
    }
}

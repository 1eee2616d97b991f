//! What a reconcile of a KubeadmControlPlane looks at: plain data, gathered by `observe`, updated by `act` with what it
//! wrote itself, and judged by the pure modules beside this one.

use std::{collections::BTreeMap, sync::Arc};

use capi_api::{
    annotations,
    bootstrap::v1beta2::{KubeadmConfig, KubeadmConfigSpec},
    controlplane::v1beta2::KubeadmControlPlane,
    core::v1beta2::{Cluster, Machine},
    labels,
    secrets::Purpose,
};
use cluster_pki::KeyAlgorithm;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};
use semver::Version;

use crate::workload::{addons::Addons, etcd::EtcdView};

/// Everything that a reconcile knows.
#[derive(Clone, Debug)]
pub struct World {
    /// The control plane itself.
    pub control_plane: KubeadmControlPlane,
    /// Its Cluster.
    pub cluster: Arc<Cluster>,
    /// The Secrets that exist, by purpose; the kubeconfig is among them.
    pub secrets: BTreeMap<Purpose, Arc<Secret>>,
    /// The control plane's Machines, sorted by name.
    pub machines: Vec<MachineView>,
    /// Control plane Machines of the Cluster that nobody controls.
    pub orphans: Vec<Arc<Machine>>,
    /// Control plane Machines of the Cluster that somebody else controls.
    pub foreign: Vec<String>,
    /// The template that Machines' infrastructure is cloned from.
    pub template: Template,
    /// KubeadmConfigs that this control plane owns although there is no Machine of that name (yet).
    pub unfinished: Vec<Arc<KubeadmConfig>>,
    /// What must be gone before the control plane may be deleted, as `(kind, names)`.
    pub workers: Vec<(&'static str, Vec<String>)>,
    /// The workload cluster.
    pub workload: Workload,
}

/// A Machine with the objects that it refers to.
#[derive(Clone, Debug)]
pub struct MachineView {
    /// The Machine.
    pub machine: Arc<Machine>,
    /// Its bootstrap configuration.
    pub config: Option<Arc<KubeadmConfig>>,
    /// Its infrastructure.
    pub infrastructure: Option<Arc<DynamicObject>>,
}

/// The infrastructure template of a control plane.
#[derive(Clone, Debug)]
pub enum Template {
    /// It exists.
    Found {
        /// The template.
        object: Arc<DynamicObject>,
        /// Its resource.
        resource: ApiResource,
    },
    /// There is no such object.
    Missing,
    /// It could not be looked up.
    Unresolved(String),
}

/// What is known of the workload cluster.
#[derive(Clone, Debug)]
pub enum Workload {
    /// It is too early to ask.
    NotAsked,
    /// There is no connection.
    Disconnected {
        /// Since when.
        since: Timestamp,
        /// When it answered last.
        last_success: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// It answered.
    Connected(Box<WorkloadView>),
}

/// What a reachable workload cluster says.
#[derive(Clone, Debug, Default)]
pub struct WorkloadView {
    /// ConfigMap `kubeadm-config` can be read: `kubeadm init` got that far.
    pub initialized: bool,
    /// Its control plane nodes by name.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// The static pods of the control plane by name; an error where the pod could not be read.
    pub pods: BTreeMap<String, Result<Arc<Pod>, String>>,
    /// etcd, if it was asked.
    pub etcd: Option<EtcdView>,
    /// The add-ons, if they were looked at because they may have to change.
    pub addons: Option<Addons>,
}

impl World {
    /// The name of the Cluster.
    pub fn cluster_name(&self) -> String {
        self.cluster.name_any()
    }

    /// The namespace of everything.
    pub fn namespace(&self) -> String {
        self.control_plane.namespace().unwrap_or_default()
    }

    /// The control plane as a plain owner.
    pub fn owner(&self) -> OwnerReference {
        capi_runtime::meta::owner_reference(&self.control_plane)
    }

    /// The control plane as the controlling owner.
    pub fn controller(&self) -> OwnerReference {
        capi_runtime::meta::controller_reference(&self.control_plane)
    }

    /// How many Machines there should be; none while the control plane is deleted.
    pub fn desired_replicas(&self) -> Option<i32> {
        match self.deleting() {
            true => Some(0),
            false => self.control_plane.spec.replicas,
        }
    }

    /// The control plane is deleted.
    pub fn deleting(&self) -> bool {
        self.control_plane.metadata.deletion_timestamp.is_some()
    }

    /// `kubeadm init` succeeded once; never taken back.
    pub fn initialized(&self) -> bool {
        let recorded = self
            .control_plane
            .status
            .as_ref()
            .and_then(|status| status.initialization.as_ref());
        recorded.and_then(|initialization| initialization.control_plane_initialized) == Some(true)
            || matches!(&self.workload, Workload::Connected(view) if view.initialized)
    }

    /// The Cluster's infrastructure is provisioned.
    pub fn infrastructure_provisioned(&self) -> bool {
        let initialization = self
            .cluster
            .status
            .as_ref()
            .and_then(|status| status.initialization.as_ref());
        initialization.and_then(|initialization| initialization.infrastructure_provisioned) == Some(true)
    }

    /// Host and port of the Cluster's API server, once known.
    pub fn endpoint(&self) -> Option<(&str, u16)> {
        let endpoint = self.cluster.spec.control_plane_endpoint.as_ref()?;
        let host = endpoint.host.as_deref().filter(|host| !host.is_empty())?;
        let port = endpoint
            .port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)?;
        Some((host, port))
    }

    /// The kubeadm part of the spec.
    pub fn config_spec(&self) -> KubeadmConfigSpec {
        self.control_plane
            .spec
            .kubeadm_config_spec
            .clone()
            .unwrap_or_default()
    }

    /// etcd runs on the control plane's own machines.
    pub fn etcd_is_managed(&self) -> bool {
        let spec = self.control_plane.spec.kubeadm_config_spec.as_ref();
        let etcd = spec
            .and_then(|spec| spec.cluster_configuration.as_ref())
            .and_then(|config| config.etcd.as_ref());
        etcd.is_none_or(|etcd| etcd.external.is_none())
    }

    /// The algorithm of keys that are made for this cluster.
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        let spec = self.control_plane.spec.kubeadm_config_spec.as_ref();
        let name = spec.and_then(|spec| spec.cluster_configuration.as_ref()?.encryption_algorithm);
        name.and_then(|name| name.as_str().parse().ok())
            .unwrap_or_default()
    }

    /// How many days new certificate authorities are valid.
    pub fn ca_days(&self) -> u32 {
        let spec = self.control_plane.spec.kubeadm_config_spec.as_ref();
        let days = spec.and_then(|spec| {
            spec.cluster_configuration
                .as_ref()?
                .ca_certificate_validity_period_days
        });
        days.and_then(|days| u32::try_from(days).ok())
            .filter(|days| *days > 0)
            .unwrap_or(cluster_pki::DEFAULT_CA_DAYS)
    }

    /// The Kubernetes version that is wanted.
    pub fn version(&self) -> Option<Version> {
        capi_api::versions::parse_tolerant(&self.control_plane.spec.version)
    }

    /// The kind of the machines' infrastructure.
    pub fn infrastructure_kind(&self) -> String {
        let template = &self
            .control_plane
            .spec
            .machine_template
            .spec
            .infrastructure_ref
            .kind;
        capi_api::contract::Template::cloned_kind(template).to_owned()
    }

    /// The secrets that a cluster of this shape needs.
    pub fn needed_certificates(&self) -> &'static [Purpose] {
        match self.etcd_is_managed() {
            true => &[
                Purpose::ClusterCa,
                Purpose::EtcdCa,
                Purpose::FrontProxyCa,
                Purpose::ServiceAccount,
            ],
            false => &[
                Purpose::ClusterCa,
                Purpose::EtcdCa,
                Purpose::FrontProxyCa,
                Purpose::ServiceAccount,
                Purpose::ApiServerEtcdClient,
            ],
        }
    }

    /// The etcd view, if the workload cluster answered and etcd was asked.
    pub fn etcd(&self) -> Option<&EtcdView> {
        match &self.workload {
            Workload::Connected(view) => view.etcd.as_ref(),
            _ => None,
        }
    }

    /// The Machine of that name.
    pub fn machine(&self, name: &str) -> Option<&MachineView> {
        self.machines.iter().find(|view| view.name() == name)
    }

    /// The name that the etcd member of a Machine has or would have: that of its Node. A Machine that does not refer to
    /// its Node yet may have one all the same; then its provider's identifier tells.
    pub fn member_name(&self, view: &MachineView) -> Option<String> {
        if let Some(node) = view.node_name() {
            return Some(node.to_owned());
        }
        let Workload::Connected(workload) = &self.workload else {
            return None;
        };
        let own = view.machine.spec.provider_id.as_deref();
        let reported = view
            .infrastructure
            .as_ref()
            .and_then(|object| object.data.pointer("/spec/providerID"))
            .and_then(serde_json::Value::as_str);
        let id = own.or(reported).filter(|id| !id.is_empty())?;
        let of_machine = |node: &&Arc<Node>| {
            let spec = node.spec.as_ref();
            spec.and_then(|spec| spec.provider_id.as_deref()) == Some(id)
        };
        workload
            .nodes
            .values()
            .find(of_machine)
            .map(|node| node.name_any())
    }

    /// The version that the Cluster's topology wants and that has not reached this control plane yet.
    pub fn topology_version_ahead(&self) -> Option<&str> {
        let wanted = self.cluster.spec.topology.as_ref()?.version.as_str();
        let step = self.cluster.annotations().get(annotations::TOPOLOGY_UPGRADE_STEP);
        let current = self.control_plane.spec.version.as_str();
        let reached = wanted == current || step.is_some_and(|step| step == current);
        (!reached).then(|| step.map_or(wanted, String::as_str))
    }

    /// The spec has changed since a reconcile last saw it through.
    pub fn spec_is_new(&self) -> bool {
        let status = self.control_plane.status.as_ref();
        let observed = status.and_then(|status| status.observed_generation);
        observed != self.control_plane.metadata.generation
    }

    /// The add-ons were looked at.
    pub fn has_addons(&self) -> bool {
        matches!(&self.workload, Workload::Connected(view) if view.addons.is_some())
    }

    /// The Machines that are not deleted.
    pub fn living(&self) -> impl Iterator<Item = &MachineView> {
        self.machines.iter().filter(|view| !view.deleting())
    }
}

impl MachineView {
    /// Its name.
    pub fn name(&self) -> String {
        self.machine.name_any()
    }

    /// It is deleted.
    pub fn deleting(&self) -> bool {
        self.machine.metadata.deletion_timestamp.is_some()
    }

    /// The name of its Node.
    pub fn node_name(&self) -> Option<&str> {
        self.machine
            .status
            .as_ref()?
            .node_ref
            .as_ref()
            .map(|node| node.name.as_str())
    }

    /// Whether one of its conditions holds.
    pub fn condition_is(&self, type_: &str, status: &str) -> bool {
        let conditions = self
            .machine
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == status)
    }

    /// Somebody asks for this Machine to go first.
    pub fn marked_for_deletion(&self) -> bool {
        self.machine
            .annotations()
            .contains_key(annotations::DELETE_MACHINE)
    }
}

/// Whether an object belongs to a control plane Machine of a cluster.
pub fn is_control_plane_machine(machine: &Machine, cluster: &str) -> bool {
    let labels = machine.labels();
    labels
        .get(labels::CLUSTER_NAME)
        .is_some_and(|name| name == cluster)
        && labels.contains_key(labels::CONTROL_PLANE)
}

//! The workload cluster, seen from its control plane provider: nodes, static pods, kubeadm's ConfigMap, etcd.
//!
//! Only I/O and its plain results are here; what they mean is decided by the controller's pure modules.

pub mod addons;
pub mod corefile;
pub mod etcd;
pub mod expiry;
pub mod image;
pub mod kubeadm_config;
pub mod quorum;
pub mod tls;

use std::{collections::BTreeMap, sync::Arc};

use capi_api::labels;
use capi_runtime::{Key, Manager, WorkloadClient};
use etcd::SYSTEM_NAMESPACE;
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Node, Pod},
        rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt, api::PostParams};

/// The label and its value on all static pods of a control plane.
pub const STATIC_POD_LABEL: (&str, &str) = ("tier", "control-plane");

/// Whether `kubeadm init` has stored its configuration. Any error counts as no.
pub async fn is_initialized(workload: &WorkloadClient) -> bool {
    let api: Api<ConfigMap> = Api::namespaced(workload.client(), SYSTEM_NAMESPACE);
    matches!(api.get_opt("kubeadm-config").await, Ok(Some(_)))
}

/// The index of Nodes by what they are for; there are few of a control plane and perhaps thousands of others.
const BY_ROLE: &str = "role";
const CONTROL_PLANE: &str = "control-plane";

/// Files the Nodes of workload clusters under their role.
pub fn index_nodes(manager: &mut Manager) {
    manager.index_workload::<Node>(BY_ROLE, |node| {
        let is_control_plane = node.labels().contains_key(labels::NODE_ROLE_CONTROL_PLANE);
        is_control_plane
            .then(|| CONTROL_PLANE.to_owned())
            .into_iter()
            .collect()
    });
}

/// The Nodes of the control plane by name.
pub fn control_plane_nodes(workload: &WorkloadClient) -> BTreeMap<String, Arc<Node>> {
    let nodes = workload.store::<Node>().by_index(BY_ROLE, CONTROL_PLANE);
    nodes.into_iter().map(|node| (node.name_any(), node)).collect()
}

/// The Node of that name, whatever its labels.
pub fn node(workload: &WorkloadClient, name: &str) -> Option<Arc<Node>> {
    workload.store::<Node>().get(&Key::new("", name))
}

/// The static pods of the control plane by name.
pub fn static_pods(workload: &WorkloadClient) -> BTreeMap<String, Arc<Pod>> {
    let pods = workload.store::<Pod>().list(Some(SYSTEM_NAMESPACE));
    pods.into_iter()
        .filter(|pod| is_static_pod(pod))
        .map(|pod| (pod.name_any(), pod))
        .collect()
}

/// Whether a pod is one of the control plane's static pods.
pub fn is_static_pod(pod: &Pod) -> bool {
    let (label, value) = STATIC_POD_LABEL;
    pod.namespace().as_deref() == Some(SYSTEM_NAMESPACE)
        && pod.labels().get(label).is_some_and(|found| found == value)
}

/// Gives the API server's client certificate the rights that kubeadm 1.37 grants it, unless somebody did.
pub async fn grant_kubeadm_permissions(workload: &WorkloadClient) -> Result<(), kube::Error> {
    let api: Api<ClusterRoleBinding> = Api::all(workload.client());
    let binding = ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some("kubeadm:apiserver-kubelet-client".to_owned()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: "system:kubelet-api-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "User".to_owned(),
            name: "kube-apiserver-kubelet-client".to_owned(),
            ..Subject::default()
        }]),
    };
    if api.get_opt(&binding.name_any()).await?.is_some() {
        return Ok(());
    }
    match api.create(&PostParams::default(), &binding).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

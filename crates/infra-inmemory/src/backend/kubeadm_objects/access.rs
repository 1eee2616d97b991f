//! Who may do what: the roles and bindings that kubeadm creates.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde_json::json;

use crate::{backend::objects::Writer, error::Error};

const TOKEN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Bindings to ClusterRoles: binding, role, group.
const CLUSTER_BINDINGS: &[(&str, &str, &str)] = &[
    (
        "kubeadm:kubelet-bootstrap",
        "system:node-bootstrapper",
        TOKEN_GROUP,
    ),
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        TOKEN_GROUP,
    ),
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "system:nodes",
    ),
    ("kubeadm:get-nodes", "kubeadm:get-nodes", TOKEN_GROUP),
    (
        "kubeadm:cluster-admins",
        "cluster-admin",
        "kubeadm:cluster-admins",
    ),
];

/// Roles that let groups read one ConfigMap: namespace, role and binding, ConfigMap, groups.
const READERS: &[(&str, &str, &str, &[&str])] = &[
    (
        "kube-public",
        "kubeadm:bootstrap-signer-clusterinfo",
        "cluster-info",
        &["system:unauthenticated"],
    ),
    (
        "kube-system",
        "kubeadm:nodes-kubeadm-config",
        "kubeadm-config",
        &[TOKEN_GROUP, "system:nodes"],
    ),
    (
        "kube-system",
        "kubeadm:kubelet-config",
        "kubelet-config",
        &[TOKEN_GROUP, "system:nodes"],
    ),
    ("kube-system", "kube-proxy", "kube-proxy", &[TOKEN_GROUP]),
];

/// Creates them all.
pub(super) async fn create(writer: &Writer) -> Result<(), Error> {
    const API: &str = "rbac.authorization.k8s.io";
    let group = |name: &str| json!({ "apiGroup": API, "kind": "Group", "name": name });
    let role = json!({
        "metadata": { "name": "kubeadm:get-nodes" },
        "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
    });
    writer.create_global::<ClusterRole>(role).await?;
    for (name, role, subject) in CLUSTER_BINDINGS {
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": API, "kind": "ClusterRole", "name": role },
            "subjects": [group(subject)],
        });
        writer.create_global::<ClusterRoleBinding>(binding).await?;
    }
    let proxier = json!({
        "metadata": { "name": "kubeadm:node-proxier" },
        "roleRef": { "apiGroup": API, "kind": "ClusterRole", "name": "system:node-proxier" },
        "subjects": [{ "kind": "ServiceAccount", "name": "kube-proxy", "namespace": "kube-system" }],
    });
    writer.create_global::<ClusterRoleBinding>(proxier).await?;
    for (namespace, name, config_map, groups) in READERS {
        let metadata = json!({ "name": name, "namespace": namespace });
        let rules = json!([{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [config_map], "verbs": ["get"],
        }]);
        writer
            .create_in::<Role>(namespace, json!({ "metadata": metadata, "rules": rules }))
            .await?;
        let binding = json!({
            "metadata": metadata,
            "roleRef": { "apiGroup": API, "kind": "Role", "name": name },
            "subjects": groups.iter().map(|name| group(name)).collect::<Vec<_>>(),
        });
        writer.create_in::<RoleBinding>(namespace, binding).await?;
    }
    Ok(())
}

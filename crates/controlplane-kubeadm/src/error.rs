//! What can go wrong in this provider.

use capi_runtime::{Class, Classify};

/// The errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server or the runtime.
    #[error(transparent)]
    Runtime(#[from] capi_runtime::Error),
    /// Keys, certificates or kubeconfigs.
    #[error(transparent)]
    Pki(#[from] cluster_pki::Error),
    /// A foreign object is not what its contract says.
    #[error(transparent)]
    Contract(#[from] capi_api::contract::FieldError),
    /// The infrastructure template cannot be used.
    #[error("cannot clone {kind} {name}: {reason}")]
    Template {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A Secret that should exist by now.
    #[error("Secret {name} is missing or incomplete; restore it, it cannot be generated again")]
    SecretMissing {
        /// Its name.
        name: String,
    },
    /// The Cluster has no endpoint yet.
    #[error("Cluster spec.controlPlaneEndpoint is not set")]
    NoEndpoint,
    /// An object of the name that a new Machine needs belongs to somebody else.
    #[error("{kind} {name} exists and belongs to another owner; delete it or rename the control plane")]
    NameTaken {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// kubeadm's stored configuration cannot be used.
    #[error("ConfigMap kube-system/kubeadm-config: {0}")]
    KubeadmConfig(String),
    /// A write in the workload cluster.
    #[error("workload cluster: {0}")]
    Workload(#[source] kube::Error),
    /// The client certificate for etcd cannot be used.
    #[error("cannot set up TLS for etcd: {0}")]
    Tls(#[source] std::io::Error),
    /// etcd.
    #[error(transparent)]
    Etcd(#[from] crate::workload::etcd::EtcdError),
}

impl Error {
    /// Whether the API server or a webhook does not want what was asked for.
    pub fn is_refusal(&self) -> bool {
        let Self::Runtime(error) = self else {
            return false;
        };
        error
            .status()
            .is_some_and(|status| matches!(status.code, 400 | 403 | 422))
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Runtime(error) => error.class(),
            Self::Template { .. } | Self::NoEndpoint | Self::SecretMissing { .. } => Class::Waiting,
            Self::Pki(_)
            | Self::Contract(_)
            | Self::NameTaken { .. }
            | Self::KubeadmConfig(_)
            | Self::Workload(_)
            | Self::Tls(_)
            | Self::Etcd(_) => Class::Transient,
        }
    }
}

//! What keeps a configuration from becoming user data: errors of the machinery, and troubles that the user can mend.

use capi_runtime::{Class, Classify};

/// Errors of this provider's machinery.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on the management cluster failed.
    #[error(transparent)]
    Runtime(#[from] capi_runtime::Error),
    /// An operation on the workload cluster failed.
    #[error("{what} of workload cluster {cluster}: {source}")]
    Workload {
        /// What was tried, with the object.
        what: String,
        /// `namespace/name` of the Cluster.
        cluster: String,
        /// The cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// A key or certificate could not be made.
    #[error(transparent)]
    Certificates(#[from] cluster_pki::Error),
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Runtime(error) => error.class(),
            Self::Workload { .. } | Self::Certificates(_) => Class::Transient,
        }
    }
}

/// Something that the user, or the object's owner, has to mend; its text goes into a condition. It never quotes contents.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// A Secret is missing.
    #[error("{field}: Secret {secret} does not exist; create it")]
    SecretMissing {
        /// The field that refers to it.
        field: String,
        /// `namespace/name`.
        secret: String,
    },
    /// A key of a Secret is missing or wrong.
    #[error("{field}: key {key} of Secret {secret} {problem}; correct the Secret")]
    SecretKey {
        /// The field that refers to it.
        field: String,
        /// `namespace/name`.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field of the KubeadmConfig cannot be used.
    #[error("{field} {problem}")]
    Field {
        /// The field's path.
        field: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// No Ignition can be rendered.
    #[error("{0}")]
    Ignition(String),
    /// No kubeadm configuration can be rendered.
    #[error("{0}")]
    Kubeadm(String),
}

impl From<crate::ignition::Error> for Trouble {
    fn from(error: crate::ignition::Error) -> Self {
        Self::Ignition(error.to_string())
    }
}

impl From<crate::kubeadm::Error> for Trouble {
    fn from(error: crate::kubeadm::Error) -> Self {
        Self::Kubeadm(error.to_string())
    }
}

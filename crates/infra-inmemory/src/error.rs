//! What can go wrong in this provider.

use capi_runtime::{Class, Classify, Key};

use crate::backend::EtcdError;

/// Why a reconcile or a call on the simulated world failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The management cluster.
    #[error(transparent)]
    Runtime(#[from] capi_runtime::Error),
    /// The simulated workload cluster's API server could not be started.
    #[error("simulated workload cluster {cluster}: {source}")]
    Build {
        /// The Cluster.
        cluster: Key,
        /// The cause.
        source: embedded_apiserver::BuildError,
    },
    /// A request to the simulated workload cluster failed.
    #[error("simulated workload cluster {cluster}: {what}: {}", capi_runtime::describe(.source))]
    Workload {
        /// The Cluster.
        cluster: Key,
        /// What was tried.
        what: String,
        /// The cause.
        source: kube::Error,
    },
    /// A call on a workload cluster or machine that the world does not hold.
    #[error("{0} is not part of the simulated world")]
    Unknown(String),
    /// An etcd member cannot join, start or vote.
    #[error("etcd on {node}: {source}")]
    Etcd {
        /// The Node.
        node: String,
        /// The cause.
        source: EtcdError,
    },
    /// All ports of the range are taken.
    #[error("no more free ports in the {0}-{1} range")]
    NoPorts(u16, u16),
    /// The endpoint could not be opened.
    #[error("endpoint {endpoint} of simulated workload cluster {cluster} cannot be opened: {source}")]
    Listen {
        /// The Cluster.
        cluster: Key,
        /// `host:port`.
        endpoint: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{what}: {source}")]
    Certificate {
        /// Whose.
        what: String,
        /// The cause.
        source: cluster_pki::Error,
    },
    /// TLS cannot be set up with the given certificates.
    #[error("TLS of {what}: {reason}")]
    Tls {
        /// Whose.
        what: String,
        /// The cause.
        reason: String,
    },
    /// A document could not be written as YAML or JSON.
    #[error("{what} cannot be written: {reason}")]
    Document {
        /// Which.
        what: &'static str,
        /// The cause.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Runtime(error) => error.class(),
            Self::Document { .. } => Class::Terminal,
            _ => Class::Transient,
        }
    }
}

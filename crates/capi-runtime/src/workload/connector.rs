//! How a kubeconfig becomes a connection.

use std::error::Error as StdError;

use async_trait::async_trait;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{key::Key, transport};

/// Why a connection could not be made.
pub type ConnectError = Box<dyn StdError + Send + Sync>;

/// A connection to the API server of a workload cluster.
#[derive(Clone)]
pub struct WorkloadConnection {
    /// For all ordinary requests and watches.
    pub client: Client,
    /// For requests that upgrade the connection (port-forward).
    pub upgrades: Client,
}

/// Makes connections to workload clusters. Simulations replace it by one that leads to servers in the same process.
#[async_trait]
pub trait WorkloadConnector: Send + Sync + 'static {
    /// A connection to the cluster that this kubeconfig describes. It need not be tried out: the caller probes it.
    async fn connect(&self, cluster: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError>;
}

/// Connects over the network: one HTTP/2 connection for requests and watches, HTTP/1.1 for upgrades.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpConnector;

#[async_trait]
impl WorkloadConnector for HttpConnector {
    async fn connect(&self, _cluster: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let (client, upgrades) = transport::workload_clients(config)?;
        Ok(WorkloadConnection { client, upgrades })
    }
}

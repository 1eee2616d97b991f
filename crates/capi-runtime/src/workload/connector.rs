//! How a kubeconfig becomes a connection.

use std::{error::Error as StdError, sync::Arc};

use async_trait::async_trait;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    key::Key,
    transport::{Requests, WorkloadLine},
};

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

    /// Like [`Self::connect`], for a connection that is kept for long and mostly idle.
    async fn keep(&self, cluster: &Key, kubeconfig: &str) -> Result<KeptConnection, ConnectError> {
        self.connect(cluster, kubeconfig)
            .await
            .map(|connection| KeptConnection(Arc::new(Kept::Clients(connection))))
    }
}

/// A connection that hands out clients when they are needed. Cloning shares it.
#[derive(Clone)]
pub struct KeptConnection(Arc<Kept>);

enum Kept {
    Clients(WorkloadConnection),
    Line(WorkloadLine),
}

impl KeptConnection {
    /// A client for ordinary requests.
    pub fn client(&self) -> Client {
        match &*self.0 {
            Kept::Clients(clients) => clients.client.clone(),
            Kept::Line(line) => line.client(),
        }
    }

    /// A client for requests that upgrade the connection (port-forward).
    pub fn upgrades(&self) -> Client {
        match &*self.0 {
            Kept::Clients(clients) => clients.upgrades.clone(),
            Kept::Line(line) => line.upgrades(),
        }
    }
}

impl Requests for KeptConnection {
    fn send(
        &self,
        request: http::Request<kube::client::Body>,
    ) -> futures::future::BoxFuture<'_, Result<http::Response<crate::transport::Answer>, kube::Error>> {
        match &*self.0 {
            Kept::Clients(clients) => Requests::send(&clients.client, request),
            Kept::Line(line) => line.send(request),
        }
    }
}

/// Connects over the network: one HTTP/2 connection for requests and watches, HTTP/1.1 for upgrades.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpConnector;

impl HttpConnector {
    async fn line(kubeconfig: &str) -> Result<WorkloadLine, ConnectError> {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(WorkloadLine::new(config)?)
    }
}

#[async_trait]
impl WorkloadConnector for HttpConnector {
    async fn connect(&self, _: &Key, kubeconfig: &str) -> Result<WorkloadConnection, ConnectError> {
        let line = Self::line(kubeconfig).await?;
        Ok(WorkloadConnection {
            client: line.client(),
            upgrades: line.upgrades(),
        })
    }

    async fn keep(&self, _: &Key, kubeconfig: &str) -> Result<KeptConnection, ConnectError> {
        let line = Self::line(kubeconfig).await?;
        Ok(KeptConnection(Arc::new(Kept::Line(line))))
    }
}

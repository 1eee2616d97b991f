//! Where workload clusters are reached: real sockets ([`Listeners`]) or names in this process ([`Registry`]).

mod listeners;
mod registry;

use std::{io, sync::Arc};

use async_trait::async_trait;
use embedded_apiserver::Server;
use rustls::ServerConfig;

pub use listeners::Listeners;
pub(crate) use listeners::refuse;
pub use registry::{Registry, RegistryConnector};

/// An address of a workload cluster's API.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') && !self.host.starts_with('[') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What answers at an endpoint.
pub trait Backend: Send + Sync + 'static {
    /// The API server, while the cluster exists.
    fn server(&self) -> Option<Server>;

    /// How connections are accepted; follows changes of the cluster's authority.
    fn tls(&self) -> Option<Arc<ServerConfig>>;

    /// The authority that clients must come from, PEM.
    fn client_authority(&self) -> Option<String>;
}

/// The network, as far as workload clusters need it.
#[async_trait]
pub trait Endpoints: Send + Sync + 'static {
    /// Keeps the port for this world; false if somebody else uses it. Connections to it are refused until it is opened.
    fn reserve(&self, port: u16) -> bool;

    /// Lets `backend` answer at `endpoint`; nothing happens if it does already.
    async fn open(&self, endpoint: &Endpoint, backend: Arc<dyn Backend>) -> io::Result<()>;

    /// Closes the endpoint and all connections to it; later ones are refused.
    fn close(&self, endpoint: &Endpoint);
}

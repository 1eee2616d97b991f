//! Clients of real API servers: one HTTP/2 connection for all requests and watches, and retries that know what may be
//! repeated.
//!
//! kube's own client speaks HTTP/1.1 only, with a connection per watch, and repeats creates that may have succeeded.

mod http2;
mod retry;

use std::sync::Arc;

use http::{Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use seams::{SharedRandomness, SystemRandomness};
use tower::{BoxError, ServiceBuilder};

use http2::{Http2, Speaks};
use retry::Retry;
pub use retry::RetryLimits;

/// Installs the cryptography all TLS of the process uses. Harmless if done before.
pub fn install_crypto() {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for the management cluster.
pub fn management_client(config: Config) -> Result<Client, kube::Error> {
    client(config, RetryLimits::default(), Arc::new(SystemRandomness))
}

/// Two clients for a workload cluster: for ordinary requests, which gives up sooner than that of the management cluster,
/// and for requests that upgrade the connection. They share what can be shared, as there are many such clusters.
pub(crate) fn workload_clients(config: Config) -> Result<(Client, Client), kube::Error> {
    let upgrades = http1_client(config.clone())?;
    let randomness = Arc::new(SystemRandomness);
    let ordinary = client_beside(upgrades.clone(), config, RetryLimits::short(), randomness)?;
    Ok((ordinary, upgrades))
}

/// A client with HTTP/1.1, as needed for requests that upgrade the connection.
fn http1_client(mut config: Config) -> Result<Client, kube::Error> {
    install_crypto();
    config.default_retry = false;
    Client::try_from(config)
}

/// A client over one HTTP/2 connection; over HTTP/1.1 if the server wants it so, or the way leads through a proxy.
pub fn client(
    config: Config,
    limits: RetryLimits,
    randomness: SharedRandomness,
) -> Result<Client, kube::Error> {
    client_beside(http1_client(config.clone())?, config, limits, randomness)
}

fn client_beside(
    http1: Client,
    config: Config,
    limits: RetryLimits,
    randomness: SharedRandomness,
) -> Result<Client, kube::Error> {
    let namespace = config.default_namespace.clone();
    let https = config.cluster_url.scheme_str() == Some("https");
    let choice = match config.proxy_url.is_none() && https {
        true => Choice {
            http2: Some(http2_client(&config)?),
            http1,
        },
        false => Choice { http2: None, http1 },
    };
    Ok(Client::new(Retry::new(choice, limits, randomness), namespace))
}

/// A client that sends through another one, with the limits and repetitions of [`client`].
pub fn retrying(client: Client, limits: RetryLimits, randomness: SharedRandomness) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Retry::new(client, limits, randomness), namespace)
}

fn http2_client(config: &Config) -> Result<(Client, Http2), kube::Error> {
    let connection = Http2::new(config)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connection.clone());
    Ok((
        ClientBuilder::new(service, config.default_namespace.clone()).build(),
        connection,
    ))
}

/// The two ways to send a request.
#[derive(Clone)]
struct Choice {
    http2: Option<(Client, Http2)>,
    http1: Client,
}

impl Choice {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let client = match &self.http2 {
            Some((client, connection)) => match connection.ensure().await? {
                Speaks::Http2 => client,
                Speaks::Http1Only => &self.http1,
            },
            None => &self.http1,
        };
        Ok(client.send(request).await?)
    }
}
